use super::*;
use crate::prelude::*;
use std::net::IpAddr;

/// Splits a stream by size, and is as wrong as its settings say.
struct Split {
    rows: Query,
    small: crate::plan::Event,
    large: crate::plan::Event,
    gauge: Metric<Gauge>,
    settings: Settings,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Settings {
    sets: bool,
    forgets_a_field: bool,
    short_field: bool,
}

impl Probe for Split {
    type Settings = Settings;

    fn new(settings: Settings, plan: &mut Plan) -> Result<Self> {
        let fields = [("kind", "text"), ("saddr", "address"), ("size", "bytes"), ("error", "count"), ("name", "name")];
        Ok(Self {
            rows: plan.query("sizes", "SELECT netns, saddr, size, error, name FROM hook.x"),
            small: plan.event("SMALL", "A small one", &fields),
            large: plan.event("LARGE", "A large one", &fields),
            gauge: plan.gauge("gauge", "A gauge").node(),
            settings,
        })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        let Some(rows) = call.rows(self.rows) else { return Ok(()) };
        let size = rows.column("size")?;
        let (large, small): (Vec<u32>, Vec<u32>) =
            (0..rows.len() as u32).partition(|&row| size.u64(row as usize) > Some(100));
        for (event, indices) in [(&self.small, small), (&self.large, large)] {
            let count = indices.len();
            let events = out.events(event, &rows, indices).text("IP").field(rows.column("saddr")?).field(size);
            let events = match self.settings.short_field {
                true => events.column(Column::texts(vec![Some("x"); count - 1])),
                false => events.field(rows.column("error")?),
            };
            if !self.settings.forgets_a_field {
                events.field(rows.column("name")?);
            }
        }
        if self.settings.sets {
            out.set_one(&self.gauge, None, &[], 1.0);
        }
        Ok(())
    }
}

fn table() -> Table {
    let (v4, v6) = (IpAddr::from([10, 0, 0, 1]), "2001:db8::1".parse::<IpAddr>().unwrap());
    Table::new(&["netns", "saddr", "size", "error", "name"])
        .row(&[&1, &v4, &10, &-5, &"a"])
        .row(&[&1, &v6, &1000, &0_i64, &"b"])
        .row(&[&2, &None::<IpAddr>, &20, &None::<u64>, &None::<&str>])
        .row(&[&2, &v6, &2000, &7, &"a"])
}

#[test]
fn several_types_of_one_batch_have_their_own_rows() {
    let got = Harness::<Split>::new("{}").unwrap().stream(&[("sizes", table())]).unwrap();
    let lines: Vec<String> = got.events().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "SMALL sizes[0] kind=IP saddr=10.0.0.1 size=10 error=-5 name=a",
            "SMALL sizes[2] kind=IP size=20",
            "LARGE sizes[1] kind=IP saddr=2001:db8::1 size=1000 error=0 name=b",
            "LARGE sizes[3] kind=IP saddr=2001:db8::1 size=2000 error=7 name=a",
        ]
    );
    assert_eq!(got.events()[0].get("saddr"), Some("10.0.0.1"));
    assert_eq!(got.events()[1].get("saddr"), None);
}

#[test]
fn a_type_without_events_is_not_in_the_output() {
    let rows = Table::new(&["netns", "saddr", "size", "error", "name"]).row(&[&1, &None::<u64>, &1, &0, &"a"]);
    let got = Harness::<Split>::new("{}").unwrap().stream(&[("sizes", rows)]).unwrap();
    assert_eq!((got.output.events.len(), got.events().len()), (1, 1));
}

#[test]
fn a_set_in_a_stream_call_is_refused_as_the_host_would() {
    let mut probe = Harness::<Split>::new(r#"{"sets": true}"#).unwrap();
    let error = probe.stream(&[("sizes", table())]).err().unwrap();
    assert!(error.contains("gauge") && error.contains("stream"), "{error}");
    assert!(probe.collect(&[("sizes", table())]).is_ok());
}

#[test]
#[should_panic(expected = "4 columns of fields")]
fn a_forgotten_field_is_found() {
    Harness::<Split>::new(r#"{"forgets_a_field": true}"#).unwrap().stream(&[("sizes", table())]).unwrap().events();
}

#[test]
#[should_panic(expected = "rows of the field error")]
fn a_field_with_too_few_rows_is_found() {
    Harness::<Split>::new(r#"{"short_field": true}"#).unwrap().stream(&[("sizes", table())]).unwrap().events();
}

#[test]
#[should_panic(expected = "column `n` has Number(1) among cells of another form")]
fn cells_of_different_forms_are_found() {
    let rows = Table::new(&["n"]).row(&[&"a"]).row(&[&1]);
    let _ = rows.batch();
}

/// Says who failed, and gives gauges as its settings say.
struct Sums {
    rows: Query,
    gauge: Metric<Gauge>,
    failed: Metric<Gauge>,
    down: Metric<Gauge>,
    settings: Wrong,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Wrong {
    adds_up: bool,
    forgets_the_scope: bool,
    forgets_a_label: bool,
}

impl Probe for Sums {
    type Settings = Wrong;

    fn new(settings: Wrong, plan: &mut Plan) -> Result<Self> {
        Ok(Self {
            rows: plan.query("sums", "SELECT netns, x, n FROM proc.y"),
            gauge: plan.gauge("gauge", "A gauge").label("x").each_scope(),
            failed: plan.gauge("failed", "Scopes that failed").each_scope(),
            down: plan.gauge("down", "Everything failed").node(),
            settings,
        })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        let failed = Column::scopes(call.failed_scopes(self.rows).iter().map(|&scope| Some(scope)));
        out.set(&self.failed).scopes(&failed).values(&Column::numbers(vec![Some(1.0); failed.rows()]));
        if let Some(why) = call.failure(self.rows) {
            out.set_one(&self.down, None, &[], why.len() as f64);
        }
        let Some(rows) = call.rows(self.rows) else { return Ok(()) };
        let n = rows.column("n")?;
        let values = Column::numbers((0..rows.len()).map(|row| if self.settings.adds_up { None } else { n.f64(row) }));
        let mut samples = out.set(&self.gauge);
        if !self.settings.forgets_the_scope {
            samples = samples.scopes(rows.column("netns")?);
        }
        if !self.settings.forgets_a_label {
            samples = samples.label(rows.column("x")?);
        }
        samples.values(&values);
        Ok(())
    }
}

fn sums(settings: &str, rows: Table) -> Result<Gathered> {
    Harness::<Sums>::new(settings).unwrap().collect(&[("sums", rows)])
}

fn twice() -> Table {
    Table::new(&["netns", "x", "n"]).row(&[&1, &"a", &1]).row(&[&2, &"a", &2]).row(&[&1, &"a", &3])
}

#[test]
fn rule_9_a_gauge_that_is_set_twice_is_refused_as_the_host_would() {
    let error = sums("{}", twice()).err().unwrap();
    assert!(error.contains("`gauge` of scope Some(1)") && error.contains("twice"), "{error}");
    let known =
        Table::new(&["netns", "x", "n"]).row(&[&1, &"a", &1]).row(&[&1, &"b", &2]).row(&[&None::<u64>, &"a", &4]);
    let got = sums("{}", known).unwrap();
    assert_eq!((got.get("gauge", Some(1), &["b"]), got.get("gauge", None, &["a"])), (Some(2.0), Some(4.0)));
    // A row without a value is no sample.
    assert!(sums(r#"{"adds_up": true}"#, twice()).unwrap().is_empty());
}

#[test]
fn columns_that_do_not_fit_the_plan_are_refused_as_the_host_would() {
    for (settings, want) in [("forgets_the_scope", "no column of scopes"), ("forgets_a_label", "0 labels of 1")] {
        let error = sums(&format!(r#"{{"{settings}": true}}"#), twice()).err().unwrap();
        assert!(error.contains("`gauge`") && error.contains(want), "{error}");
    }
}

#[test]
fn what_could_not_be_read_is_told_by_scope_or_whole() {
    let rows = Table::new(&["netns", "x", "n"]).row(&[&1, &"a", &1]).failed_scope(7).failed_scope(8);
    let got = sums("{}", rows).unwrap();
    assert_eq!((got.get("failed", Some(8), &[]), got.get("gauge", Some(1), &["a"])), (Some(1.0), Some(1.0)));
    assert_eq!(got.get("down", None, &[]), None);
    let got = sums("{}", twice().failed("why")).unwrap();
    assert_eq!((got.get("down", None, &[]), got.len()), (Some(3.0), 1));
    let absent = Harness::<Sums>::new("{}").unwrap().collect(&[]).unwrap();
    assert!(absent.is_empty());
}
