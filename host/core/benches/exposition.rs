//! The page of 100,000 series, and the outputs that fill it.
//!
//! References in the same run: copying the finished page (nothing can write it faster), and copying the columns of the output.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use divan::{Bencher, black_box, counter::ItemsCount};
use netsonde_core::{
    batch::{Column, Values},
    metric::{
        exposition::Page,
        format::Format,
        registry::{Limits, Now, ProbeId, Registry},
    },
    output::{self, Shape},
    probe::{CallKind, Field, Metric, MetricKind, Operation, Output, Plan, Samples},
    scope::{Name, Scope, Scopes},
};
use std::{sync::Arc, time::Duration};

const NOW: Now = Now { monotonic: Duration::from_secs(1000), unix: Duration::from_secs(1_700_000_000) };

fn main() {
    divan::main();
}

/// A node with one probe: each of its metrics has a series for each scope and device.
struct Node {
    registry: Registry,
    scopes: Scopes,
    plan: Plan,
    probe: ProbeId,
    output: Output,
}

impl Node {
    fn new(scopes: u32, metrics: usize, devices: usize, operation: Operation) -> Self {
        let mut known = Scopes::default();
        let handles: Vec<u32> = (0..scopes).map(|number| known.add(pod(number))).collect();
        let kind = if operation == Operation::Set { MetricKind::Gauge } else { MetricKind::Counter };
        let plan = Plan { metrics: (0..metrics).map(|number| metric(number, kind)).collect(), ..Plan::default() };
        let samples = (0..metrics as u32).map(|metric| samples(metric, operation, &handles, devices)).collect();
        let output = Output { samples, ..Output::default() };
        let mut registry = Registry::new();
        let limits = Limits { series: 1_000_000, ..Limits::default() };
        let probe = registry.add_probe("traffic", &plan, &[], limits, NOW).unwrap();
        let mut node = Self { registry, scopes: known, plan, probe, output };
        node.apply();
        node
    }

    fn apply(&mut self) {
        let shape = Shape { kind: CallKind::Collection, rows: vec![] };
        let checked = output::check(&self.output, &self.plan, &shape, &self.scopes).unwrap();
        self.registry.apply(self.probe, checked, &self.scopes, NOW).unwrap();
    }

    fn page(&self, format: Format, out: &mut Vec<u8>) {
        let mut page = Page::new(format, out);
        self.registry.write(&mut page);
        page.finish();
    }
}

fn pod(number: u32) -> Scope {
    Scope {
        name: Arc::new(Name {
            namespace: format!("team-{}", number % 7).into(),
            pod: format!("checkout-7d9c6b{number:04}-x2x4q").into(),
            ..Name::default()
        }),
        first_seen: NOW.monotonic,
        first_seen_unix: NOW.unix,
        ..Scope::default()
    }
}

fn metric(number: usize, kind: MetricKind) -> Metric {
    let device = Field { name: "device".into(), logical: "name".into(), nullable: false, attributes: vec![] };
    Metric {
        name: format!("received_{number}"),
        help: "Bytes received.".into(),
        kind,
        unit: "bytes".into(),
        labels: vec![device],
        bounds: vec![],
        queries: vec![],
        scoped: true,
        attributes: vec![],
    }
}

fn samples(metric: u32, operation: Operation, scopes: &[u32], devices: usize) -> Samples {
    let rows = scopes.len() * devices;
    let names = (0..devices).map(|device| format!("eth{device}")).collect();
    Samples {
        metric,
        operation,
        scopes: Some(Column::full(Values::U32((0..rows).map(|row| scopes[row / devices]).collect()))),
        labels: vec![Column::full(Values::Code {
            codes: (0..rows).map(|row| (row % devices) as u32).collect(),
            names,
        })],
        parts: None,
        values: Column::full(Values::U64((0..rows as u64).map(|row| row * 1_234_567).collect())),
    }
}

#[divan::bench_group(name = "page_of_100000_series")]
mod page {
    use super::*;

    fn node() -> Node {
        Node::new(500, 20, 10, Operation::Add)
    }

    #[divan::bench]
    fn prometheus_text(bencher: Bencher<'_, '_>) {
        write(bencher, Format::Text0_0_4);
    }

    #[divan::bench]
    fn openmetrics_with_created(bencher: Bencher<'_, '_>) {
        write(bencher, Format::OpenMetrics1_0_0(None));
    }

    /// Into a buffer that is used again, as the server does.
    fn write(bencher: Bencher<'_, '_>, format: Format) {
        let node = node();
        let mut out = Vec::new();
        bencher.counter(ItemsCount::new(100_000usize)).bench_local(|| {
            out.clear();
            node.page(format, &mut out);
            out.len()
        });
    }

    #[divan::bench]
    fn reference_copy_of_the_text(bencher: Bencher<'_, '_>) {
        let mut page = Vec::new();
        node().page(Format::Text0_0_4, &mut page);
        let mut out = Vec::with_capacity(page.len());
        bencher.counter(ItemsCount::new(100_000usize)).bench_local(|| {
            out.clear();
            out.extend_from_slice(black_box(&page));
            out.len()
        });
    }
}

#[divan::bench_group(name = "collection_of_300_scopes_20_metrics")]
mod collection {
    use super::*;

    #[divan::bench(args = [Operation::Add, Operation::Total, Operation::Set])]
    fn check_and_apply(bencher: Bencher<'_, '_>, operation: Operation) {
        let mut node = Node::new(300, 20, 1, operation);
        bencher.counter(ItemsCount::new(6_000usize)).bench_local(|| {
            node.registry.begin_collection();
            node.apply();
        });
    }

    #[divan::bench]
    fn check_alone(bencher: Bencher<'_, '_>) {
        let node = Node::new(300, 20, 1, Operation::Add);
        let shape = Shape { kind: CallKind::Collection, rows: vec![] };
        bencher
            .counter(ItemsCount::new(6_000usize))
            .bench_local(|| output::check(&node.output, &node.plan, &shape, &node.scopes).is_ok());
    }

    #[divan::bench]
    fn reference_copy_of_the_columns(bencher: Bencher<'_, '_>) {
        let node = Node::new(300, 20, 1, Operation::Add);
        bencher.counter(ItemsCount::new(6_000usize)).bench_local(|| node.output.clone());
    }
}
