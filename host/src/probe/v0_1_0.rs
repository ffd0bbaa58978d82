//! `netsonde:probe@0.1.0`: the generated types, and their way from and to `netsonde_core::probe`.

use super::limits::Budget;
use netsonde_core::{
    batch::{Batch, Bitmap, Column, Values},
    probe,
};
use wasmtime::component::{Component, HasSelf, Linker, bindgen};

bindgen!({ path: "../wit/0.1.0", world: "probe" });

use self::netsonde::probe::{
    host::{Host, Level},
    types as wit,
};
use exports::netsonde::probe::guest;

/// What a guest may import, and what it must export.
pub const IMPORTS: &[&str] = &["netsonde:probe/host@0.1.0", "netsonde:probe/types@0.1.0"];
pub const EXPORT: &str = "netsonde:probe/guest@0.1.0";

/// The interface of types has no functions.
impl wit::Host for Budget {}

impl Host for Budget {
    fn log(&mut self, level: Level, text: String) {
        let level = match level {
            Level::Debug => tracing::Level::DEBUG,
            Level::Info => tracing::Level::INFO,
            Level::Warn => tracing::Level::WARN,
            Level::Error => tracing::Level::ERROR,
        };
        Budget::log(self, level, &text);
    }
}

/// A guest that has an instance.
pub struct Guest(Probe);

impl Guest {
    /// Makes an instance with nothing but `log` to call.
    pub fn new(store: &mut wasmtime::Store<Budget>, component: &Component) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(store.engine());
        Probe::add_to_linker::<_, HasSelf<Budget>>(&mut linker, |budget| budget)?;
        Probe::instantiate(store, component, &linker).map(Self)
    }

    pub fn describe(
        &self,
        store: &mut wasmtime::Store<Budget>,
        settings: &str,
    ) -> wasmtime::Result<Result<probe::Plan, String>> {
        let plan = self.guest().call_describe(store, settings)?;
        Ok(plan.map(plan_from_wit))
    }

    pub fn start(
        &self,
        store: &mut wasmtime::Store<Budget>,
        states: &[probe::QueryState],
    ) -> wasmtime::Result<Result<(), String>> {
        let states: Vec<_> = states.iter().map(state_to_wit).collect();
        self.guest().call_start(store, &states)
    }

    pub fn process(
        &self,
        store: &mut wasmtime::Store<Budget>,
        call: probe::Call,
    ) -> wasmtime::Result<Result<probe::Output, String>> {
        let output = self.guest().call_process(store, &call_to_wit(call))?;
        Ok(output.map(output_from_wit))
    }

    fn guest(&self) -> &guest::Guest {
        self.0.netsonde_probe_guest()
    }
}

fn plan_from_wit(plan: wit::Plan) -> probe::Plan {
    let query = |query: wit::Query| probe::Query {
        name: query.name,
        sql: query.sql,
        optional: query.optional,
        attributes: query.attributes,
    };
    let event = |event: wit::EventType| probe::EventType {
        name: event.name,
        help: event.help,
        fields: event.fields.into_iter().map(field_from_wit).collect(),
        attributes: event.attributes,
    };
    probe::Plan {
        queries: plan.queries.into_iter().map(query).collect(),
        metrics: plan.metrics.into_iter().map(metric_from_wit).collect(),
        events: plan.events.into_iter().map(event).collect(),
        attributes: plan.attributes,
    }
}

fn metric_from_wit(metric: wit::Metric) -> probe::Metric {
    probe::Metric {
        name: metric.name,
        help: metric.help,
        kind: match metric.kind {
            wit::MetricKind::Counter => probe::MetricKind::Counter,
            wit::MetricKind::Gauge => probe::MetricKind::Gauge,
            wit::MetricKind::Histogram => probe::MetricKind::Histogram,
            wit::MetricKind::GaugeHistogram => probe::MetricKind::GaugeHistogram,
            wit::MetricKind::Info => probe::MetricKind::Info,
            wit::MetricKind::Unknown => probe::MetricKind::Unknown,
        },
        unit: metric.unit,
        labels: metric.labels.into_iter().map(field_from_wit).collect(),
        bounds: metric.bounds,
        queries: metric.queries,
        scoped: metric.scoped,
        attributes: metric.attributes,
    }
}

fn field_from_wit(field: wit::Field) -> probe::Field {
    probe::Field { name: field.name, logical: field.logical, nullable: field.nullable, attributes: field.attributes }
}

fn field_to_wit(field: &probe::Field) -> wit::Field {
    wit::Field {
        name: field.name.clone(),
        logical: field.logical.clone(),
        nullable: field.nullable,
        attributes: field.attributes.clone(),
    }
}

fn state_to_wit(state: &probe::QueryState) -> wit::QueryState {
    match state {
        probe::QueryState::Runs(fields) => wit::QueryState::Runs(fields.iter().map(field_to_wit).collect()),
        probe::QueryState::Absent(why) => wit::QueryState::Absent(why.clone()),
    }
}

fn call_to_wit(call: probe::Call) -> wit::Call {
    let answer = |answer: probe::Answer| wit::Answer {
        query: answer.query,
        result: match answer.result {
            Ok(batch) => wit::ResultOfQuery::Rows(batch_to_wit(batch)),
            Err(why) => wit::ResultOfQuery::Failed(why),
        },
        failed_scopes: answer.failed_scopes,
        attributes: Vec::new(),
    };
    wit::Call {
        kind: match call.kind {
            probe::CallKind::Collection => wit::CallKind::Collection,
            probe::CallKind::Stream => wit::CallKind::Stream,
        },
        id: call.id,
        monotonic_nanos: call.monotonic_nanos,
        unix_nanos: call.unix_nanos,
        answers: call.answers.into_iter().map(answer).collect(),
        gone: call.gone,
        attributes: Vec::new(),
    }
}

fn batch_to_wit(batch: Batch) -> wit::Batch {
    wit::Batch { rows: batch.rows as u32, columns: batch.columns.into_iter().map(column_to_wit).collect() }
}

fn column_to_wit(column: Column) -> wit::Column {
    let values = match column.values {
        Values::U32(v) => wit::Values::U32s(v),
        Values::U64(v) => wit::Values::U64s(v),
        Values::S64(v) => wit::Values::S64s(v),
        Values::F64(v) => wit::Values::F64s(v),
        Values::Address(v) => wit::Values::Addresses(v),
        Values::Code { codes, names } => wit::Values::Codes(wit::Coded { codes, names }),
        Values::Blob { ends, bytes } => wit::Values::Blobs(wit::Blobs { ends, bytes }),
    };
    wit::Column { values, present: column.present.map(|bits| bits.0) }
}

fn column_from_wit(column: wit::Column) -> Column {
    let values = match column.values {
        wit::Values::U32s(v) => Values::U32(v),
        wit::Values::U64s(v) => Values::U64(v),
        wit::Values::S64s(v) => Values::S64(v),
        wit::Values::F64s(v) => Values::F64(v),
        wit::Values::Addresses(v) => Values::Address(v),
        wit::Values::Codes(v) => Values::Code { codes: v.codes, names: v.names },
        wit::Values::Blobs(v) => Values::Blob { ends: v.ends, bytes: v.bytes },
    };
    Column { values, present: column.present.map(Bitmap) }
}

fn columns_from_wit(columns: Vec<wit::Column>) -> Vec<Column> {
    columns.into_iter().map(column_from_wit).collect()
}

fn output_from_wit(output: wit::Output) -> probe::Output {
    let samples = |samples: wit::Samples| probe::Samples {
        metric: samples.metric,
        operation: match samples.operation {
            wit::Operation::Add => probe::Operation::Add,
            wit::Operation::Total => probe::Operation::Total,
            wit::Operation::Set => probe::Operation::Set,
            wit::Operation::Observe => probe::Operation::Observe,
        },
        scopes: samples.scopes.map(column_from_wit),
        labels: columns_from_wit(samples.labels),
        parts: samples.parts.map(column_from_wit),
        values: column_from_wit(samples.values),
    };
    let buckets = |buckets: wit::Buckets| probe::Buckets {
        metric: buckets.metric,
        scopes: buckets.scopes.map(column_from_wit),
        labels: columns_from_wit(buckets.labels),
        bounds: buckets.bounds,
        counts: buckets.counts,
        sums: buckets.sums,
    };
    let events = |events: wit::Events| probe::Events {
        ty: events.type_,
        count: events.count,
        answer: events.answer,
        rows: events.rows,
        scopes: events.scopes.map(column_from_wit),
        fields: columns_from_wit(events.fields),
    };
    probe::Output {
        samples: output.samples.into_iter().map(samples).collect(),
        buckets: output.buckets.into_iter().map(buckets).collect(),
        events: output.events.into_iter().map(events).collect(),
    }
}
