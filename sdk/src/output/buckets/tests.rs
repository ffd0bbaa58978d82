use super::*;
use crate::{
    prelude::*,
    test::{Harness, Spread, Table},
};

#[test]
fn rule_23_a_bucket_of_the_query_is_one_of_the_metric() {
    // Bucket, one, bounds, which.
    for (bucket, one, bounds, want) in [
        (0, 1.0, vec![1.0, 2.0, 4.0], 0),
        (1, 1.0, vec![1.0, 2.0, 4.0], 1),
        (2, 1.0, vec![1.0, 2.0, 4.0], 2),
        (3, 1.0, vec![1.0, 2.0, 4.0], 3),
        (64, 1.0, vec![1.0, 2.0, 4.0], 3),
        // Coarser ones take in several.
        (0, 1.0, vec![64.0, 256.0], 0),
        (6, 1.0, vec![64.0, 256.0], 0),
        (7, 1.0, vec![64.0, 256.0], 1),
        (8, 1.0, vec![64.0, 256.0], 1),
        (9, 1.0, vec![64.0, 256.0], 2),
        // 2^k microseconds, whichever way they were written down.
        (3, 1e-6, vec![4.0 / 1e6, 8.0 / 1e6, 16.0 / 1e6], 1),
        (40, 1e-6, vec![4.0 / 1e6, 8.0 / 1e6], 2),
        (20, 2f64.powi(-20), vec![0.5, 1.0, 2.0], 1),
    ] {
        assert_eq!(place(&bounds, one, bucket), Ok(want), "{bucket} of {one} in {bounds:?}");
    }
    for (bucket, one, bounds) in [(0, 1.0, vec![0.5, 1.0]), (2, 1.0, vec![3.0]), (11, 1e-6, vec![0.001, 0.002])] {
        let error = place(&bounds, one, bucket).unwrap_err();
        assert!(error.contains("bounds must be"), "{error}");
    }
}

/// Round-trip times, whose bounds are the unit's or as the settings say.
struct Rtt {
    rows: Query,
    gauge: Metric<GaugeHistogram>,
    counter: Metric<Histogram>,
    one: f64,
}

#[derive(serde::Deserialize)]
struct Settings {
    one: f64,
    own_bounds: bool,
}

impl Probe for Rtt {
    type Settings = Settings;

    fn new(settings: Settings, plan: &mut Plan) -> Result<Self> {
        let rows = plan.query("rtt", "SELECT netns, histogram(x) FROM iter.y GROUP BY netns");
        let mut gauge = plan.gauge_histogram("now", "Now").unit("seconds").label("kind").from(&[rows]);
        if settings.own_bounds {
            gauge = gauge.base2(settings.one, 0..=3);
        }
        let gauge = gauge.each_scope();
        let counter = plan.histogram("ever", "Ever").unit("bytes").node();
        Ok(Self { rows, gauge, counter, one: settings.one })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        let Some(rows) = call.rows(self.rows) else { return Ok(()) };
        out.buckets(&self.counter).histogram(&rows, 1.0)?;
        out.buckets(&self.gauge).scopes(rows.column("netns")?).label_text("tcp").histogram(&rows, self.one)
    }
}

fn rtt(settings: &str) -> Harness<Rtt> {
    Harness::new(settings).unwrap()
}

const EXACT: &str = r#"{"one": 9.5367431640625e-7, "own_bounds": false}"#;
const MICROS: &str = r#"{"one": 1e-6, "own_bounds": true}"#;

fn table() -> Table {
    Table::new(&["netns", "bucket", "count", "sum"])
        .row(&[&1, &0, &2, &1])
        .row(&[&1, &2, &3, &10])
        .row(&[&2, &2, &1, &4])
        .row(&[&1, &40, &1, &(1_i64 << 40)])
}

#[test]
fn rule_14_bounds_are_powers_of_two_of_the_unit() {
    let got = rtt(EXACT).collect(&[("rtt", table())]).unwrap();
    let one = 2f64.powi(-20);
    let spread = got.spread("now", Some(1), &["tcp"]).unwrap();
    assert_eq!(spread.buckets, [(one, 2), (4.0 * one, 3), (f64::INFINITY, 1)]);
    assert_eq!(spread.sum, ((1_i64 << 40) + 11) as f64 * one);
    assert_eq!(got.spread("now", Some(2), &["tcp"]), Some(Spread { buckets: vec![(4.0 * one, 1)], sum: 4.0 * one }));
    assert_eq!((got.spread("now", Some(3), &["tcp"]), got.spread("now", Some(1), &["udp"])), (None, None));
    assert_eq!(got.spread("ever", None, &[]).unwrap().buckets, [(64.0, 6), (f64::INFINITY, 1)]);
    assert_eq!(got.len(), 8);

    let declared = |metric: usize| rtt(EXACT).plan().metrics[metric].bounds.clone();
    let powers: Vec<f64> = (-20..=6).map(|k| 2f64.powi(k)).collect();
    assert_eq!((declared(0), declared(1).len()), (powers, 25));
}

#[test]
fn buckets_of_another_unit_bring_their_own_bounds() {
    let got = rtt(MICROS).collect(&[("rtt", table())]).unwrap();
    let spread = got.spread("now", Some(1), &["tcp"]).unwrap();
    assert_eq!(spread.buckets, [(1e-6, 2), (4e-6, 3), (f64::INFINITY, 1)]);
    // 2^k microseconds are no 2^j seconds, and that is told before there is a row.
    let mut wrong = rtt(r#"{"one": 1e-6, "own_bounds": false}"#);
    let error = wrong.collect(&[("rtt", Table::new(&["netns", "bucket", "count", "sum"]))]).err().unwrap();
    assert!(error.contains("`now`") && error.contains("lies within"), "{error}");
}

#[test]
fn a_row_without_a_bucket_is_told() {
    for bucket in [None, Some(65_u64)] {
        let rows = Table::new(&["netns", "bucket", "count", "sum"]).row(&[&1, &bucket, &1, &1]);
        let error = rtt(EXACT).collect(&[("rtt", rows)]).err().unwrap();
        assert!(error.contains("row 0"), "{error}");
    }
}

#[test]
fn a_gauge_histogram_in_a_stream_call_is_refused_as_the_host_would() {
    let error = rtt(EXACT).stream(&[("rtt", table())]).err().unwrap();
    assert!(error.contains("`now`") && error.contains("stream"), "{error}");
}
