mod budget;
mod exemplars;
mod foreign;
mod held;

use super::*;
use crate::{
    batch::{Bitmap, Column, Values},
    metric::{exposition::Page, format::Format},
    output::{self, OutputError, Shape},
    probe::{Buckets, CallKind, Field, Metric, MetricKind, Operation, Output, Samples},
    scope::{Name, Scope, Scopes},
};
use MetricKind::*;
use Operation::*;
use std::sync::Arc;

/// A registry with one probe `p`, and the scopes of a node.
pub(super) struct Node {
    pub registry: Registry,
    pub scopes: Scopes,
    pub plan: Plan,
    pub probe: ProbeId,
    pub now: Now,
}

/// A row: scope, label, value.
pub(super) type Row<'r> = (ScopeId, &'r str, f64);

impl Node {
    /// Metrics by name and kind; those of scopes have one label, `x`, unless `bare`.
    pub fn new(metrics: &[(&str, MetricKind)], series: usize) -> Self {
        Self::with(metrics, Limits { series, label_bytes: 16, ..Limits::default() }, |_| {})
    }

    pub fn with(metrics: &[(&str, MetricKind)], limits: Limits, change: impl Fn(&mut Metric)) -> Self {
        let metric = |&(name, kind): &(&str, MetricKind)| {
            let x = Field { name: "x".into(), logical: "text".into(), nullable: false, attributes: vec![] };
            let mut metric = Metric {
                name: name.into(),
                help: "Help.".into(),
                kind,
                unit: String::new(),
                labels: vec![x],
                bounds: if matches!(kind, Histogram | GaugeHistogram) { vec![1.0, 2.0] } else { vec![] },
                queries: vec![],
                scoped: true,
                attributes: vec![],
            };
            change(&mut metric);
            metric
        };
        let plan = Plan { metrics: metrics.iter().map(metric).collect(), ..Plan::default() };
        let mut registry = Registry::new();
        let now = at(1000);
        let probe = registry.add_probe("p", &plan, &[], limits, now).unwrap();
        Self { registry, scopes: Scopes::default(), plan, probe, now }
    }

    pub fn pod(&mut self, pod: &str) -> ScopeId {
        self.add(Name { namespace: "n".into(), pod: pod.into(), ..Name::default() }, None)
    }

    pub fn netns(&mut self, netns: &str) -> ScopeId {
        self.add(Name { netns: Some(netns.into()), ..Name::default() }, None)
    }

    pub fn add(&mut self, name: Name, held: Option<Duration>) -> ScopeId {
        let (first_seen, first_seen_unix) = (self.now.monotonic, self.now.unix);
        self.scopes.add(Scope { name: Arc::new(name), first_seen, first_seen_unix, held, ..Scope::default() })
    }

    pub fn kill(&mut self, scope: ScopeId) {
        self.scopes.gone(scope, self.now.monotonic);
        self.registry.scope_gone(scope);
    }

    pub fn apply(&mut self, output: Output) -> Result<Applied, OutputError> {
        let shape = Shape { kind: CallKind::Collection, rows: vec![] };
        let checked = output::check(&output, &self.plan, &shape, &self.scopes)?;
        self.registry.apply(self.probe, checked, &self.scopes, self.now)
    }

    pub fn give(&mut self, metric: u32, operation: Operation, rows: &[Row<'_>]) -> Result<Applied, OutputError> {
        self.apply(Output { samples: vec![samples(metric, operation, rows)], ..Output::default() })
    }

    /// Totals of parts, all of one scope and the label `a`.
    pub fn totals(&mut self, scope: ScopeId, parts: &[(&str, u64)]) -> Result<Applied, OutputError> {
        let rows: Vec<Row<'_>> = parts.iter().map(|_| (scope, "a", 0.0)).collect();
        let samples = Samples {
            parts: Some(texts(parts.iter().map(|(part, _)| *part))),
            values: Column::full(Values::U64(parts.iter().map(|(_, total)| *total).collect())),
            ..samples(0, Total, &rows)
        };
        self.apply(Output { samples: vec![samples], ..Output::default() })
    }

    pub fn page(&self, format: Format) -> String {
        let mut out = Vec::new();
        let mut page = Page::new(format, &mut out);
        self.registry.write(&mut page);
        page.finish();
        String::from_utf8(out).unwrap()
    }

    /// The samples of the page, sorted, without what is the same in all of them.
    pub fn lines(&self) -> Vec<String> {
        let page = self.page(Format::Text0_0_4);
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let mut lines: Vec<String> = lines
            .map(|line| {
                line.replace("netsonde_p_", "").replace("{namespace=\"n\",", "{").replace(",container=\"\"", "")
            })
            .collect();
        lines.sort();
        lines
    }
}

pub(super) fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), unix: Duration::from_secs(1_700_000_000 + seconds) }
}

pub(super) fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> Column {
    let names: Vec<String> = texts.map(str::to_owned).collect();
    Column::full(Values::Code { codes: (0..names.len() as u32).collect(), names })
}

pub(super) fn samples(metric: u32, operation: Operation, rows: &[Row<'_>]) -> Samples {
    let values: Vec<f64> = rows.iter().map(|row| row.2).collect();
    let is_whole = values.iter().all(|value| value.fract() == 0.0 && *value >= 0.0);
    let values = match is_whole {
        true => Values::U64(values.iter().map(|&value| value as u64).collect()),
        false => Values::F64(values),
    };
    Samples {
        metric,
        operation,
        scopes: Some(Column::full(Values::U32(rows.iter().map(|row| row.0).collect()))),
        labels: vec![texts(rows.iter().map(|row| row.1))],
        parts: None,
        values: Column::full(values),
    }
}

fn buckets(metric: u32, rows: &[(ScopeId, &str, u32, u64)]) -> Output {
    let buckets = Buckets {
        metric,
        scopes: Some(Column::full(Values::U32(rows.iter().map(|row| row.0).collect()))),
        labels: vec![texts(rows.iter().map(|row| row.1))],
        bounds: rows.iter().map(|row| row.2).collect(),
        counts: rows.iter().map(|row| row.3).collect(),
        sums: rows.iter().map(|row| row.3 as f64).collect(),
    };
    Output { buckets: vec![buckets], ..Output::default() }
}

fn assert_lines(node: &Node, want: &[&str]) {
    assert_eq!(node.lines(), want);
}

#[test]
fn rule_2_gauges_not_set_in_this_collection_are_absent_and_counters_stay() {
    let mut node = Node::new(&[("g", Gauge), ("c", Counter)], 10);
    let pod = node.pod("a");
    node.give(0, Set, &[(pod, "a", 1.0), (pod, "b", 2.0)]).unwrap();
    node.give(1, Add, &[(pod, "a", 3.0)]).unwrap();
    node.registry.begin_collection();
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 3"#]);
    node.give(0, Set, &[(pod, "b", 5.0)]).unwrap();
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 3"#, r#"g{pod="a",x="b"} 5"#]);
    assert_eq!(node.registry.series(node.probe), 2);
}

#[test]
fn rule_3_an_output_with_one_wrong_row_changes_nothing() {
    let mut node = Node::new(&[("g", Gauge), ("c", Counter)], 10);
    let pod = node.pod("a");
    node.give(0, Set, &[(pod, "a", 1.0)]).unwrap();
    let before = node.page(Format::OpenMetrics1_0_0(None));
    let good = samples(1, Add, &[(pod, "a", 3.0)]);
    for twice in [[(pod, "a", 7.0), (pod, "a", 7.0)], [(pod, "new", 7.0), (pod, "new", 7.0)]] {
        let output = Output { samples: vec![good.clone(), samples(0, Set, &twice)], ..Output::default() };
        assert!(node.apply(output).is_err());
        assert_eq!(node.page(Format::OpenMetrics1_0_0(None)), before);
    }
    // What a refused output has seen is no duplicate later.
    node.give(0, Set, &[(pod, "a", 2.0), (pod, "new", 2.0)]).unwrap();
    assert_lines(&node, &[r#"g{pod="a",x="a"} 2"#, r#"g{pod="a",x="new"} 2"#]);
}

#[test]
fn rule_5_scopes_with_equal_labels_are_one_series() {
    let mut node = Node::new(&[("c", Counter), ("g", Gauge), ("h", Histogram)], 10);
    let (old, new) = (node.pod("a"), node.pod("a"));
    node.give(0, Add, &[(old, "a", 1.0), (new, "a", 2.0)]).unwrap();
    node.give(1, Set, &[(new, "a", 20.0), (old, "a", 10.0)]).unwrap();
    node.give(2, Observe, &[(old, "a", 1.0), (new, "a", 2.0)]).unwrap();
    let counters = [
        r#"c_total{pod="a",x="a"} 3"#,
        r#"h_bucket{pod="a",x="a",le="+Inf"} 2"#,
        r#"h_bucket{pod="a",x="a",le="1.0"} 1"#,
        r#"h_bucket{pod="a",x="a",le="2.0"} 2"#,
        r#"h_count{pod="a",x="a"} 2"#,
        r#"h_sum{pod="a",x="a"} 3.0"#,
    ];
    let lines = node.lines();
    assert!(lines.contains(&r#"g{pod="a",x="a"} 20"#.to_owned()), "the newest one's gauge: {lines:?}");
    node.kill(old);
    assert!(node.lines().contains(&r#"g{pod="a",x="a"} 20"#.to_owned()));
    assert_eq!(node.give(1, Set, &[(old, "a", 30.0)]).unwrap().count(Reason::ScopeGone), 1);
    node.registry.forget_scope(old);
    node.kill(new);
    assert_eq!(node.lines(), counters);
    node.registry.forget_scope(new);
    assert_lines(&node, &[]);
}

#[test]
fn rule_5_a_pod_made_anew_goes_on_counting_from_its_own_totals() {
    let mut node = Node::new(&[("c", Counter)], 10);
    let old = node.pod("a");
    node.totals(old, &[("eth0", 1000)]).unwrap();
    node.kill(old);
    let new = node.pod("a");
    node.totals(new, &[("eth0", 5)]).unwrap();
    node.totals(new, &[("eth0", 7)]).unwrap();
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 1007"#]);
    node.registry.forget_scope(old);
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 1007"#]);
}

#[test]
fn rule_7_a_dead_scopes_gauges_go_at_once_and_its_counters_when_it_is_forgotten() {
    let mut node = Node::new(&[("c", Counter), ("g", Gauge), ("a", GaugeHistogram)], 10);
    let (pod, other) = (node.pod("a"), node.pod("b"));
    node.give(0, Add, &[(pod, "a", 1.0), (other, "a", 1.0)]).unwrap();
    node.give(1, Set, &[(pod, "a", 1.0), (other, "a", 1.0)]).unwrap();
    node.apply(buckets(2, &[(pod, "a", 0, 1)])).unwrap();
    node.kill(pod);
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 1"#, r#"c_total{pod="b",x="a"} 1"#, r#"g{pod="b",x="a"} 1"#]);
    node.registry.forget_scope(pod);
    assert_lines(&node, &[r#"c_total{pod="b",x="a"} 1"#, r#"g{pod="b",x="a"} 1"#]);
}

#[test]
fn rule_9_given_twice_by_one_scope_is_an_error() {
    let mut node = Node::new(&[("g", Gauge)], 10);
    let (old, new) = (node.pod("a"), node.pod("a"));
    let error = node.give(0, Set, &[(old, "a", 1.0), (new, "a", 1.0), (new, "a", 1.0)]).unwrap_err();
    let want = "metric `g`: `set`, row 2: its series had a value in this output already";
    assert_eq!(error.to_string(), want);
    let split = Output { samples: vec![samples(0, Set, &[(old, "a", 1.0)]); 2], ..Output::default() };
    assert!(node.apply(split).is_err(), "also in two lists of one output");

    let mut node = Node::new(&[("c", Counter)], 10);
    let pod = node.pod("a");
    for _ in 0..2 {
        assert!(node.totals(pod, &[("eth0", 1), ("eth0", 1)]).is_err(), "of a new and of a known part");
        node.totals(pod, &[("eth0", 1), ("eth1", 1)]).unwrap();
    }
}

#[test]
fn rule_9_what_is_added_sums_up() {
    let mut node = Node::new(&[("c", Counter), ("h", Histogram), ("a", GaugeHistogram)], 10);
    let pod = node.pod("a");
    for _ in 0..2 {
        node.give(0, Add, &[(pod, "a", 1.0), (pod, "a", 2.0)]).unwrap();
        node.apply(buckets(1, &[(pod, "a", 2, 1), (pod, "a", 2, 2)])).unwrap();
        // The buckets of a gauge histogram are its state: they sum up within one output only.
        node.apply(buckets(2, &[(pod, "a", 0, 1), (pod, "a", 0, 2)])).unwrap();
    }
    let lines = node.lines();
    for want in [
        r#"c_total{pod="a",x="a"} 6"#,
        r#"h_count{pod="a",x="a"} 6"#,
        r#"h_sum{pod="a",x="a"} 6.0"#,
        r#"a_gcount{pod="a",x="a"} 3"#,
        r#"a_gsum{pod="a",x="a"} 3.0"#,
    ] {
        assert!(lines.contains(&want.to_owned()), "{want} in {lines:?}");
    }
}

#[test]
fn rule_10_totals_are_taken_by_part_and_survive_resets() {
    let mut node = Node::new(&[("c", Counter)], 10);
    let pod = node.pod("a");
    for (parts, want) in [
        (vec![("eth0", 100), ("eth1", 10)], 110),
        (vec![("eth0", 101), ("eth1", 10)], 111),
        (vec![("eth0", 4), ("eth1", 11)], 116),
        (vec![("eth0", 5)], 117),
        (vec![("eth0", 5), ("eth1", 12)], 118),
    ] {
        node.totals(pod, &parts).unwrap();
        assert_lines(&node, &[&format!(r#"c_total{{pod="a",x="a"}} {want}"#)]);
    }
}

#[test]
fn rule_10_a_part_is_kept_for_five_minutes() {
    let mut node = Node::new(&[("c", Counter)], 10);
    let pod = node.pod("a");
    node.totals(pod, &[("eth0", 100), ("eth1", 1)]).unwrap();
    node.now = at(1299);
    node.registry.expire_parts(node.now);
    node.totals(pod, &[("eth0", 101), ("eth1", 1)]).unwrap();
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 102"#]);
    node.now = at(1500);
    node.totals(pod, &[("eth1", 1)]).unwrap();
    node.now = at(1598);
    node.registry.expire_parts(node.now);
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 102"#]);
    node.totals(pod, &[("eth0", 102)]).unwrap();
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 103"#]);
    node.now = at(1800);
    node.registry.expire_parts(node.now);
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 103"#]);
    node.now = at(1898);
    node.registry.expire_parts(node.now);
    assert_lines(&node, &[]);
}

#[test]
fn rule_10_a_living_scopes_series_goes_with_its_last_part_but_a_dead_ones_stays() {
    let mut node = Node::new(&[("c", Counter)], 2);
    let (living, dead) = (node.pod("a"), node.pod("b"));
    node.give(0, Total, &[(living, "a", 1.0), (dead, "a", 1.0)]).unwrap();
    node.kill(dead);
    node.now = at(1300);
    node.registry.expire_parts(node.now);
    assert_lines(&node, &[r#"c_total{pod="b",x="a"} 1"#]);
    node.registry.forget_scope(dead);
    let applied = node.give(0, Total, &[(living, "b", 1.0), (living, "c", 1.0), (living, "d", 1.0)]).unwrap();
    assert_eq!((applied.samples, applied.count(Reason::SeriesBudget)), (2, 1), "the budget is free again");
}

#[test]
fn rule_10_a_series_to_which_was_added_stays_without_parts() {
    let mut node = Node::new(&[("c", Counter)], 2);
    let pod = node.pod("a");
    node.give(0, Add, &[(pod, "a", 1.0)]).unwrap();
    node.give(0, Total, &[(pod, "a", 5.0)]).unwrap();
    node.registry.expire_parts(at(2000));
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 6"#]);
}

#[test]
fn rule_11_created_is_when_counting_began() {
    let mut node = Node::new(&[("c", Counter), ("h", Histogram)], 10);
    let early = node.pod("a");
    node.now = at(2000);
    let late = node.pod("b");
    node.now = at(3000);
    node.give(0, Add, &[(early, "add", 1.0), (late, "add", 1.0)]).unwrap();
    node.give(0, Total, &[(late, "total", 1.0)]).unwrap();
    node.give(1, Observe, &[(late, "observe", 1.0)]).unwrap();
    let page = node.page(Format::OpenMetrics1_0_0(None));
    let created: Vec<&str> = page.lines().filter(|line| line.contains("_created")).collect();
    assert_eq!(
        created,
        [
            r#"netsonde_p_c_created{namespace="n",pod="a",container="",x="add"} 1700001000.000"#,
            r#"netsonde_p_c_created{namespace="n",pod="b",container="",x="add"} 1700002000.000"#,
            r#"netsonde_p_h_created{namespace="n",pod="b",container="",x="observe"} 1700002000.000"#,
        ]
    );
}

#[test]
fn rule_11_the_first_total_is_taken_whole() {
    let mut node = Node::new(&[("c", Counter)], 10);
    let pod = node.pod("a");
    node.totals(pod, &[("", u64::MAX - 1)]).unwrap();
    node.totals(pod, &[("", u64::MAX)]).unwrap();
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 18446744073709551615"#]);
}

#[test]
fn rule_12_a_refused_probe_leaves_nothing_behind() {
    let mut node = Node::new(&[("g", Gauge)], 10);
    let plan = node.plan.clone();
    let errors = node.registry.add_probe("p", &plan, &[], Limits::default(), at(0)).unwrap_err();
    assert!(errors[0].to_string().contains("metric `g` of probe `p` has it too"));
    node.registry.add_probe("q", &plan, &[], Limits::default(), at(0)).unwrap();
}

#[test]
fn a_series_says_who_it_is_of() {
    let limits = Limits::default();
    let mut node = Node::with(&[("of_scope", Gauge), ("of_node", Gauge)], limits, |metric| {
        metric.scoped = metric.name == "of_scope";
    });
    let (host, pod) = (node.netns("host"), node.pod("a"));
    let mut of_scope = samples(0, Set, &[(host, "\"1\"", 1.0), (pod, "2", 1.0), (99, "3", 1.0), (pod, "4", 1.0)]);
    if let Some(scopes) = &mut of_scope.scopes {
        scopes.present = Some(Bitmap(vec![0b1011]));
    }
    of_scope.values.present = Some(Bitmap(vec![0b0111]));
    of_scope.labels[0].present = Some(Bitmap(vec![0b0101]));
    let of_node = Samples { scopes: None, ..samples(1, Set, &[(0, "4", 1.0)]) };
    let applied = node.apply(Output { samples: vec![of_scope, of_node], ..Output::default() }).unwrap();
    assert_eq!(applied.samples, 4);
    assert_lines(
        &node,
        &[
            r#"of_node{x="4"} 1"#,
            r#"of_scope{namespace="",pod="",x="3"} 1"#,
            r#"of_scope{netns="host",namespace="",pod="",x="\"1\""} 1"#,
            r#"of_scope{pod="a",x=""} 1"#,
        ],
    );
}

#[test]
fn a_label_may_be_a_scope() {
    let mut node = Node::with(&[("flows", Counter)], Limits::default(), |metric| {
        metric.labels[0].logical = "scope".into();
    });
    let (host, pod) = (node.netns("host"), node.pod("a"));
    let mut flows = samples(0, Add, &[(pod, "", 1.0), (pod, "", 2.0), (pod, "", 3.0)]);
    flows.labels = vec![Column { values: Values::U32(vec![host, pod, 0]), present: Some(Bitmap(vec![0b011])) }];
    node.apply(Output { samples: vec![flows], ..Output::default() }).unwrap();
    assert_lines(
        &node,
        &[
            r#"flows_total{pod="a",x_namespace="",x_pod="",x_node="",x_type=""} 3"#,
            r#"flows_total{pod="a",x_namespace="",x_pod="",x_node="",x_type="netns"} 1"#,
            r#"flows_total{pod="a",x_namespace="n",x_pod="a",x_node="",x_type="pod"} 2"#,
        ],
    );
}

#[test]
fn rule_9_two_peers_that_look_the_same_are_no_duplicates() {
    let mut node = Node::with(&[("delay", Gauge)], Limits::default(), |metric| {
        metric.labels[0].logical = "scope".into();
    });
    let (pod, one, two) = (node.pod("a"), node.netns("4026531840"), node.netns("4026532000"));
    for (peers, is_good) in [([one, two], true), ([one, one], false)] {
        let labels = vec![Column::full(Values::U32(peers.to_vec()))];
        let delays = Samples { labels, ..samples(0, Set, &[(pod, "", 1.0), (pod, "", 2.0)]) };
        assert_eq!(node.apply(Output { samples: vec![delays], ..Output::default() }).is_ok(), is_good);
    }
}

#[test]
fn rule_7_a_refused_part_takes_nothing_from_a_dead_scope() {
    let mut node = Node::new(&[("c", Counter)], 1);
    let (old, new) = (node.pod("a"), node.pod("a"));
    node.give(0, Total, &[(old, "a", 1.0)]).unwrap();
    node.kill(old);
    node.now = at(1300);
    node.registry.expire_parts(node.now);
    node.give(0, Total, &[(new, "a", 2.0)]).unwrap();
    let (total, add) = (samples(0, Total, &[(old, "a", 4.0)]), samples(0, Add, &[(old, "a", 8.0)]));
    let applied = node.apply(Output { samples: vec![total, add], ..Output::default() }).unwrap();
    assert_eq!((applied.samples, applied.count(Reason::PartBudget)), (1, 1));
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 11"#]);
}
