use super::*;
use crate::{
    batch::{Bitmap, Column, Values},
    probe::{EventType, Field},
    scope::Scope,
};

fn field(name: &str, logical: &str) -> Field {
    Field { name: name.into(), logical: logical.into(), nullable: false, attributes: vec![] }
}

/// One metric of each kind, all of scopes, with the label `family`; `node` is of the whole node; `peers` has a scope as label.
fn plan() -> Plan {
    let metric = |name: &str, kind, scoped| Metric {
        name: name.into(),
        help: "Help.".into(),
        kind,
        unit: String::new(),
        labels: vec![field("family", if name == "peers" { "scope" } else { "name" })],
        bounds: if kind == MetricKind::Histogram { vec![1.0, 2.0] } else { vec![] },
        queries: vec![],
        scoped,
        attributes: vec![],
    };
    Plan {
        metrics: vec![
            metric("counter", MetricKind::Counter, true),
            metric("tcp_inuse", MetricKind::Gauge, true),
            metric("histogram", MetricKind::Histogram, true),
            metric("state", MetricKind::GaugeHistogram, true),
            metric("info", MetricKind::Info, true),
            metric("unknown", MetricKind::Unknown, true),
            metric("node", MetricKind::Gauge, false),
            metric("peers", MetricKind::Gauge, true),
        ],
        events: vec![EventType {
            name: "RESET".into(),
            help: "Help.".into(),
            fields: vec![field("port", "port"), field("peer", "scope")],
            attributes: vec![],
        }],
        ..Plan::default()
    }
}

/// Handles 1 and 2 are known.
fn scopes() -> Scopes {
    let mut scopes = Scopes::default();
    for _ in 0..2 {
        scopes.add(Scope::default());
    }
    scopes
}

fn full(values: Values) -> Column {
    Column::full(values)
}

/// Two rows for `metric`.
fn samples(metric: u32, operation: Operation) -> Samples {
    Samples {
        metric,
        operation,
        scopes: Some(full(Values::U32(vec![1, 2]))),
        labels: vec![full(Values::Code { codes: vec![0, 1], names: vec!["v4".into(), "v6".into()] })],
        parts: None,
        values: full(Values::U64(vec![1, 1])),
    }
}

fn buckets(metric: u32) -> Buckets {
    let Samples { scopes, labels, .. } = samples(metric, Operation::Observe);
    Buckets { metric, scopes, labels, bounds: vec![0, 2], counts: vec![1, 1], sums: vec![0.5, 9.0] }
}

fn events() -> Events {
    Events {
        ty: 0,
        count: 2,
        answer: Some(1),
        rows: vec![4, 0],
        scopes: Some(full(Values::U32(vec![1, 2]))),
        fields: vec![full(Values::U32(vec![80, 443])), full(Values::U32(vec![1, 1]))],
    }
}

fn check_in(kind: CallKind, output: &Output) -> Result<(), String> {
    let shape = Shape { kind, rows: vec![0, 5] };
    check(output, &plan(), &shape, &scopes()).map(|_| ()).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(output: Output, want: &str) {
    assert_eq!(check_in(CallKind::Collection, &output).unwrap_err(), want);
}

#[track_caller]
fn refused_samples(base: Samples, change: impl FnOnce(&mut Samples), want: &str) {
    let mut samples = base;
    change(&mut samples);
    refused(Output { samples: vec![samples], ..Output::default() }, want);
}

fn add() -> Samples {
    samples(0, Operation::Add)
}

fn set() -> Samples {
    samples(1, Operation::Set)
}

#[test]
fn what_fits_is_taken() {
    let mut total = samples(0, Operation::Total);
    total.parts = Some(full(Values::Blob { ends: vec![0, 4], bytes: b"eth0".to_vec() }));
    let mut absent = set();
    absent.scopes = Some(Column { values: Values::U32(vec![99, 1]), present: Some(Bitmap(vec![0b10])) });
    absent.values = Column { values: Values::F64(vec![f64::INFINITY, f64::NAN]), present: Some(Bitmap(vec![0b10])) };
    absent.labels[0] =
        Column { values: Values::Code { codes: vec![7, 0], names: vec!["".into()] }, ..absent.values.clone() };
    absent.labels[0].present = Some(Bitmap(vec![!1]));
    let mut null = set();
    null.scopes = Some(Column::null(2));
    let mut node = samples(6, Operation::Set);
    node.scopes = None;
    let mut peers = samples(7, Operation::Set);
    peers.labels = vec![full(Values::U32(vec![1, 2]))];
    let empty = Samples {
        scopes: Some(full(Values::U32(vec![]))),
        labels: vec![Column::null(0)],
        values: Column::null(0),
        ..set()
    };
    let output = Output {
        samples: vec![
            add(),
            total,
            set(),
            samples(2, Operation::Observe),
            samples(4, Operation::Set),
            samples(5, Operation::Set),
            absent,
            null,
            node,
            peers,
            empty,
        ],
        buckets: vec![buckets(2), buckets(3)],
        events: vec![events(), Events { answer: None, rows: vec![], ..events() }],
    };
    assert_eq!(check_in(CallKind::Collection, &output), Ok(()));
}

#[test]
fn rule_2_states_and_totals_are_for_collections() {
    for (metric, operation, is_good) in [
        (0, Operation::Add, true),
        (2, Operation::Observe, true),
        (0, Operation::Total, false),
        (1, Operation::Set, false),
    ] {
        let output = Output { samples: vec![samples(metric, operation)], ..Output::default() };
        assert_eq!(check_in(CallKind::Stream, &output).is_ok(), is_good, "{operation:?}");
    }
    for (metric, is_good) in [(2, true), (3, false)] {
        let output = Output { buckets: vec![buckets(metric)], ..Output::default() };
        assert_eq!(check_in(CallKind::Stream, &output).is_ok(), is_good);
    }
    let output = Output { samples: vec![set()], ..Output::default() };
    assert_eq!(
        check_in(CallKind::Stream, &output).unwrap_err(),
        "metric `tcp_inuse`: `set` in the call of a stream; states and totals belong to a collection's"
    );
}

#[test]
fn rule_3_operations_fit_the_kind() {
    use Operation::{Add, Observe, Set, Total};
    for (metric, fitting) in
        [(0, vec![Add, Total]), (1, vec![Set]), (2, vec![Observe]), (3, vec![]), (4, vec![Set]), (5, vec![Set])]
    {
        for operation in [Add, Total, Set, Observe] {
            let output = Output { samples: vec![samples(metric, operation)], ..Output::default() };
            let is_good = fitting.contains(&operation);
            assert_eq!(check_in(CallKind::Collection, &output).is_ok(), is_good, "{operation:?} of metric {metric}");
        }
        let output = Output { buckets: vec![buckets(metric)], ..Output::default() };
        assert_eq!(check_in(CallKind::Collection, &output).is_ok(), metric == 2 || metric == 3);
    }
    refused_samples(samples(1, Add), |_| {}, "metric `tcp_inuse`: `add` does not fit a gauge, which takes `set`");
}

#[test]
fn rule_3_columns_are_as_many_and_as_long_as_they_must_be() {
    refused_samples(
        set(),
        |samples| samples.labels[0] = Column::null(3),
        "metric `tcp_inuse`: label `family` has 3 rows, values have 2",
    );
    refused_samples(
        set(),
        |samples| samples.scopes = Some(Column::null(1)),
        "metric `tcp_inuse`: column `scopes` has 1 rows, values have 2",
    );
    refused_samples(
        samples(0, Operation::Total),
        |samples| samples.parts = Some(Column::null(0)),
        "metric `counter`: column `parts` has 0 rows, values have 2",
    );
    refused_samples(
        set(),
        |samples| samples.labels.clear(),
        "metric `tcp_inuse` has 0 label columns; the plan declares 1",
    );
    refused_samples(
        add(),
        |samples| samples.parts = Some(Column::null(2)),
        "metric `counter`: parts are for `total` only",
    );
    refused_samples(
        set(),
        |samples| samples.values.present = Some(Bitmap(vec![])),
        "metric `tcp_inuse`: column `values` has 0 words of presence bits for 2 rows",
    );
    let mut short = buckets(2);
    short.bounds.pop();
    refused(
        Output { buckets: vec![short], ..Output::default() },
        "metric `histogram`: column `bounds` has 1 rows, values have 2",
    );
    let mut short = buckets(2);
    short.sums.pop();
    refused(
        Output { buckets: vec![short], ..Output::default() },
        "metric `histogram`: column `sums` has 1 rows, values have 2",
    );
}

#[test]
fn rule_3_nothing_points_past_its_end() {
    refused_samples(set(), |samples| samples.metric = 8, "samples of metric 8, but the plan has 8 metrics");
    for (values, want) in [
        (Values::Code { codes: vec![0, 2], names: vec!["a".into(); 2] }, "label `family`, row 1: code 2 of 2 names"),
        (
            Values::Blob { ends: vec![3, 2], bytes: b"abc".to_vec() },
            "label `family`, row 1: ends at byte 2, after 3, of 3 bytes",
        ),
        (
            Values::Blob { ends: vec![3, 4], bytes: b"abc".to_vec() },
            "label `family`, row 1: ends at byte 4, after 3, of 3 bytes",
        ),
        (
            Values::Blob { ends: vec![0, 2], bytes: b"abc".to_vec() },
            "label `family`: the rows end at byte 2, but there are 3 bytes",
        ),
        (Values::Address(vec![0; 33]), "label `family` has 33 bytes of addresses, which is not 16 a row"),
        (Values::F64(vec![0.0; 2]), "label `family` is of form f64s, but must be integers, addresses, codes or blobs"),
    ] {
        refused_samples(set(), |samples| samples.labels[0] = full(values), &format!("metric `tcp_inuse`: {want}"));
    }
    let mut outside = buckets(2);
    outside.bounds[1] = 3;
    refused(
        Output { buckets: vec![outside], ..Output::default() },
        "metric `histogram`: row 1 is of bucket 3, but there are 2 bounds",
    );
    let mut outside = buckets(3);
    outside.bounds[1] = 22;
    refused(
        Output { buckets: vec![outside], ..Output::default() },
        "metric `state`: row 1 is of bucket 22, but there are 21 bounds",
    );
}

#[test]
fn rule_3_scopes_are_those_that_the_host_gave() {
    for (base, scopes, want) in [
        (set(), None, "metric `tcp_inuse`: it is of a scope, but its samples have no scopes"),
        (
            samples(6, Operation::Set),
            Some(full(Values::U32(vec![1, 2]))),
            "metric `node`: it is of the whole node, but its samples have scopes",
        ),
        (
            set(),
            Some(full(Values::U32(vec![1, 3]))),
            "metric `tcp_inuse`: column `scopes`, row 1: there is no scope with the handle 3",
        ),
        (
            set(),
            Some(full(Values::U64(vec![1, 2]))),
            "metric `tcp_inuse`: column `scopes` is of form u64s, but must be u32s, which scopes are",
        ),
    ] {
        refused_samples(base, |samples| samples.scopes = scopes, want);
    }
    refused_samples(
        samples(7, Operation::Set),
        |samples| samples.labels = vec![full(Values::U32(vec![9, 1]))],
        "metric `peers`: label `family`, row 0: there is no scope with the handle 9",
    );
}

#[test]
fn rule_9_values_are_such_as_the_kind_can_have() {
    for (base, values, want) in [
        (
            set(),
            Values::F64(vec![1.0, f64::INFINITY]),
            "metric `tcp_inuse`: column `values`, row 1: inf is refused: it is infinite",
        ),
        (
            add(),
            Values::F64(vec![f64::NAN, 1.0]),
            "metric `counter`: column `values`, row 0: NaN is refused: NaN is for gauges only",
        ),
        (
            add(),
            Values::S64(vec![1, -3]),
            "metric `counter`: column `values`, row 1: -3 is refused: a counter only grows",
        ),
        (
            add(),
            Values::F64(vec![1.0, -0.5]),
            "metric `counter`: column `values`, row 1: -0.5 is refused: a counter only grows",
        ),
        (
            samples(2, Operation::Observe),
            Values::F64(vec![f64::NAN, 1.0]),
            "metric `histogram`: column `values`, row 0: NaN is refused: NaN is for gauges only",
        ),
        (
            samples(4, Operation::Set),
            Values::U32(vec![1, 0]),
            "metric `info`: column `values`, row 1: 0 is refused: an info's value is 1",
        ),
        (
            samples(5, Operation::Set),
            Values::F64(vec![f64::NAN, 0.0]),
            "metric `unknown`: column `values`, row 0: NaN is refused: NaN is for gauges only",
        ),
        (
            set(),
            Values::Address(vec![0; 32]),
            "metric `tcp_inuse`: column `values` is of form addresses, but must be u32s, u64s, s64s or f64s",
        ),
    ] {
        refused_samples(base, |samples| samples.values = full(values), want);
    }
    let mut infinite = buckets(2);
    infinite.sums[0] = f64::NAN;
    refused(
        Output { buckets: vec![infinite], ..Output::default() },
        "metric `histogram`: column `sums`, row 0: NaN is refused: it is not finite",
    );
}

#[test]
fn rule_3_events_name_rows_that_there_are() {
    type Case<'c> = (&'c dyn Fn(&mut Events), &'c str);
    let cases: [Case<'_>; 9] = [
        (&|events| events.ty = 1, "events of type 1, but the plan has 1 types"),
        (&|events| events.answer = Some(2), "event `RESET`: refers to answer 2 of a call that has 2"),
        (&|events| events.rows[1] = 5, "event `RESET`, event 1: refers to row 5 of answer 1, which has 5"),
        (&|events| events.answer = Some(0), "event `RESET`, event 0: refers to row 4 of answer 0, which has 0"),
        (&|events| events.answer = None, "event `RESET`: column `rows` has 2 rows, there should be 0"),
        (&|events| events.count = 3, "event `RESET`: column `rows` has 2 rows, there should be 3"),
        (&|events| events.fields.truncate(1), "event `RESET` has 1 field columns; the plan declares 2"),
        (&|events| events.fields[0] = Column::null(1), "event `RESET`: field `port` has 1 rows, there should be 2"),
        (
            &|events| events.fields[1] = full(Values::U32(vec![1, 9])),
            "event `RESET`: field `peer`, row 1: there is no scope with the handle 9",
        ),
    ];
    for (change, want) in cases {
        let mut events = events();
        change(&mut events);
        refused(Output { events: vec![events], ..Output::default() }, want);
    }
}

#[test]
fn a_call_gives_no_more_than_it_may() {
    let rows = MAX_SAMPLES + 1;
    let many = Samples {
        scopes: Some(Column::null(rows)),
        labels: vec![Column::null(rows)],
        values: Column::null(rows),
        ..set()
    };
    refused(
        Output { samples: vec![many], ..Output::default() },
        "131073 rows of samples in one call; 131072 are allowed",
    );
    let many = Events { count: u32::MAX, ..events() };
    refused(
        Output { events: vec![many.clone(), many], ..Output::default() },
        "8589934590 events in one call; 16384 are allowed",
    );
}
