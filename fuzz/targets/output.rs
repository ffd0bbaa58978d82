//! Any output of a guest, call after call: refused, or applied so that no page has a series twice.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use netsonde_core::{
    batch::{Bitmap, Column, Values},
    event::{Limit, Origin, Origins, Stamp, events, json, line},
    metric::{
        exposition::Page,
        format::Format,
        registry::{Limits, Now, Registry},
    },
    output::{Checked, Shape, check},
    probe::{Buckets, Call, CallKind, EventType, Events, Field, Metric, MetricKind, Operation, Output, Plan, Samples},
    scope::{Name, Scope, Scopes},
};
use std::{collections::HashSet, sync::Arc, time::Duration};

const KINDS: [MetricKind; 6] = [
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
    MetricKind::Info,
    MetricKind::Unknown,
];

#[derive(Debug)]
struct Calls(Vec<(Option<u32>, Output)>);

impl<'a> Arbitrary<'a> for Calls {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let calls = u.int_in_range(1..=4)?;
        (0..calls).map(|_| Ok((u.arbitrary()?, output(u)?))).collect::<Result<_>>().map(Calls)
    }
}

fn output(u: &mut Unstructured<'_>) -> Result<Output> {
    let mut output = Output::default();
    for _ in 0..u.int_in_range(0..=3)? {
        let rows = u.int_in_range(0..=5)?;
        let labels = (0..u.int_in_range(0..=2)?).map(|_| column(u, rows)).collect::<Result<_>>()?;
        output.samples.push(Samples {
            metric: u.int_in_range(0..=12)?,
            operation: *u.choose(&[Operation::Add, Operation::Total, Operation::Set, Operation::Observe])?,
            scopes: scopes(u, rows)?,
            labels,
            parts: if u.ratio(1, 3)? { Some(column(u, rows)?) } else { None },
            values: column(u, rows)?,
        });
    }
    if u.arbitrary()? {
        let rows = u.int_in_range(0..=3)?;
        output.buckets.push(Buckets {
            metric: u.int_in_range(0..=12)?,
            scopes: scopes(u, rows)?,
            labels: (0..u.int_in_range(0..=2)?).map(|_| column(u, rows)).collect::<Result<_>>()?,
            bounds: (0..rows).map(|_| u.int_in_range(0..=40)).collect::<Result<_>>()?,
            counts: (0..rows).map(|_| u.arbitrary()).collect::<Result<_>>()?,
            sums: (0..rows).map(|_| u.arbitrary()).collect::<Result<_>>()?,
        });
    }
    if u.arbitrary()? {
        let count = u.int_in_range(0..=3)?;
        let source = if u.arbitrary()? { Some(u.int_in_range(0..=1)?) } else { None };
        let rows = source.map_or(Ok(vec![]), |_| (0..count).map(|_| u.int_in_range(0..=3)).collect())?;
        output.events.push(Events {
            ty: if u.ratio(1, 20)? { 1 } else { 0 },
            count,
            answer: source,
            rows,
            scopes: scopes(u, count as usize)?,
            fields: (0..2).map(|_| column(u, count as usize)).collect::<Result<_>>()?,
        });
    }
    Ok(output)
}

fn scopes(u: &mut Unstructured<'_>, rows: usize) -> Result<Option<Column>> {
    if u.ratio(1, 3)? {
        return Ok(None);
    }
    let handles = (0..rows).map(|_| u.int_in_range(0..=5)).collect::<Result<_>>()?;
    Ok(Some(Column { values: Values::U32(handles), present: bits(u)? }))
}

/// Mostly with as many rows as it should have.
fn column(u: &mut Unstructured<'_>, rows: usize) -> Result<Column> {
    let rows = if u.ratio(1, 20)? { u.int_in_range(0..=6)? } else { rows };
    let values = match u.int_in_range(0..=6)? {
        0 => Values::U32((0..rows).map(|_| u.arbitrary()).collect::<Result<_>>()?),
        1 => Values::U64((0..rows).map(|_| u.arbitrary()).collect::<Result<_>>()?),
        2 => Values::S64((0..rows).map(|_| u.arbitrary()).collect::<Result<_>>()?),
        3 => Values::F64((0..rows).map(|_| u.arbitrary()).collect::<Result<_>>()?),
        4 => Values::Address((0..rows * 16).map(|_| u.arbitrary()).collect::<Result<_>>()?),
        5 => Values::Code {
            codes: (0..rows).map(|_| u.int_in_range(0..=3)).collect::<Result<_>>()?,
            names: (0..3).map(|_| u.arbitrary()).collect::<Result<_>>()?,
        },
        _ => Values::Blob {
            ends: (0..rows).map(|_| u.int_in_range(0..=9)).collect::<Result<_>>()?,
            bytes: u.arbitrary()?,
        },
    };
    Ok(Column { values, present: bits(u)? })
}

fn bits(u: &mut Unstructured<'_>) -> Result<Option<Bitmap>> {
    Ok(if u.ratio(1, 3)? { Some(Bitmap(u.arbitrary()?)) } else { None })
}

/// Each kind of metric, of the node and of scopes.
fn plan() -> Plan {
    let label = || Field { name: "label".into(), logical: "text".into(), nullable: true, attributes: vec![] };
    let metric = |(index, (kind, scoped)): (usize, (MetricKind, bool))| Metric {
        name: format!("m{index}"),
        help: "Fuzzed".into(),
        kind,
        unit: String::new(),
        labels: if index % 3 == 0 { vec![] } else { vec![label()] },
        bounds: vec![],
        queries: vec![],
        scoped,
        attributes: vec![],
    };
    let kinds = KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]);
    let fields = vec![label(), Field { name: "peer".into(), logical: "scope".into(), ..label() }];
    let event = EventType { name: "EVENT".into(), help: "Fuzzed".into(), fields, attributes: vec![] };
    Plan { queries: vec![], metrics: kinds.enumerate().map(metric).collect(), events: vec![event], attributes: vec![] }
}

fn scope(name: &str) -> Scope {
    Scope { name: Arc::new(Name { netns: Some(name.into()), ..Name::default() }), ..Scope::default() }
}

/// Every event in every form is one line, and is read back.
fn write_events(output: Checked<'_>, plan: &Plan, scopes: &Scopes) {
    let call =
        Call { kind: CallKind::Collection, id: 1, monotonic_nanos: 5, unix_nanos: 7, answers: vec![], gone: vec![] };
    let handles = Column::full(Values::U32(vec![1, 2, 9]));
    let origins = Origins::new(
        &call,
        vec![Origin { times: Some(vec![0, u64::MAX]), scopes: Some(handles), ..Origin::default() }],
    );
    let stamp = Stamp { node: "n".into(), probe: "p".into() };
    for event in events(output, plan, &origins, scopes, &stamp, Limit { granted: 2, over: 1 }).events {
        let mut forms = [Vec::new(), Vec::new()];
        line::write(&event, &mut forms[0]);
        json::write(&event, &mut forms[1]);
        for text in forms.map(|form| String::from_utf8(form).unwrap()) {
            assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
            assert!(!text.starts_with('{') || json::read(&text).is_ok(), "{text}");
        }
    }
}

fuzz_target!(|calls: Calls| {
    let mut scopes = Scopes::default();
    for name in ["host", "a", "a", "b"] {
        scopes.add(scope(name));
    }
    let plan = plan();
    let mut registry = Registry::new();
    let now = |seconds| Now { monotonic: Duration::from_secs(seconds), unix: Duration::from_secs(1_000_000 + seconds) };
    let id = registry
        .add_probe("fuzz", &plan, &[], Limits { series: 4, label_bytes: 16, ..Limits::default() }, now(0))
        .unwrap();
    let shape = Shape { kind: CallKind::Collection, rows: vec![3] };
    for (index, (gone, output)) in calls.0.into_iter().enumerate() {
        let now = now(index as u64 * 100);
        registry.begin_collection();
        if let Ok(checked) = check(&output, &plan, &shape, &scopes) {
            let _ = registry.apply(id, checked, &scopes, now);
            write_events(checked, &plan, &scopes);
        }
        if let Some(gone) = gone.filter(|gone| (1..5).contains(gone)) {
            registry.scope_gone(gone);
            registry.forget_scope(gone);
        }
        registry.expire_parts(now);
        for format in [Format::negotiate(None), Format::negotiate(Some("application/openmetrics-text"))] {
            let mut page = Vec::new();
            let mut writer = Page::new(format, &mut page);
            registry.write(&mut writer);
            writer.finish();
            let page = String::from_utf8(page).unwrap();
            let mut seen = HashSet::new();
            for line in page.lines().filter(|line| !line.starts_with('#')) {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(seen.insert(series), "{series} stands twice");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
});
