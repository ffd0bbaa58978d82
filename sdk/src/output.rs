//! What a probe gives back: samples by column where a column of the rows will do as it is, or one by one.

use crate::{
    call::Rows,
    column::Dictionary,
    plan::{Bucketed, Counter, Event, Gauge, Histogram, Metric},
    types::{self, Column, Operation, Scope, Values},
};
use std::rc::Rc;

mod buckets;

pub use buckets::Buckets;

/// The samples and events of one call.
pub struct Output {
    /// Of the plan.
    metrics: Rc<[types::Metric]>,
    samples: Vec<types::Samples>,
    rows: Vec<RowSamples>,
    buckets: Vec<types::Buckets>,
    events: Vec<types::Events>,
}

impl Output {
    pub(crate) fn new(metrics: Rc<[types::Metric]>) -> Self {
        Self { metrics, samples: Vec::new(), rows: Vec::new(), buckets: Vec::new(), events: Vec::new() }
    }

    /// Increases of a counter, by column.
    pub fn add(&mut self, metric: &Metric<Counter>) -> Samples<'_> {
        self.columns(metric.0, Operation::Add)
    }

    /// Running totals of the kernel's, by column: the host makes the counter of them, over restarts of either side.
    pub fn total(&mut self, metric: &Metric<Counter>) -> Samples<'_> {
        self.columns(metric.0, Operation::Total)
    }

    /// Values of a gauge, by column. What is not set again in the next collection is gone.
    pub fn set(&mut self, metric: &Metric<Gauge>) -> Samples<'_> {
        self.columns(metric.0, Operation::Set)
    }

    /// Observations of a histogram, by column.
    pub fn observe(&mut self, metric: &Metric<Histogram>) -> Samples<'_> {
        self.columns(metric.0, Operation::Observe)
    }

    /// Buckets that were counted elsewhere, as by `histogram(x)` in a query: an increase for a histogram, the state for a gauge histogram.
    pub fn buckets<K: Bucketed>(&mut self, metric: &Metric<K>) -> Buckets<'_> {
        Buckets::new(self, metric.0)
    }

    fn columns(&mut self, metric: u32, operation: Operation) -> Samples<'_> {
        Samples { out: self, metric, operation, scopes: None, labels: Vec::new(), parts: None }
    }

    /// One increase of a counter. `scope` is None for a metric of the node.
    pub fn add_one(&mut self, metric: &Metric<Counter>, scope: Option<Scope>, labels: &[&str], value: f64) {
        self.one(metric.0, Operation::Add, scope, labels, value);
    }

    /// One value of a gauge.
    pub fn set_one(&mut self, metric: &Metric<Gauge>, scope: Option<Scope>, labels: &[&str], value: f64) {
        self.one(metric.0, Operation::Set, scope, labels, value);
    }

    /// One observation of a histogram.
    pub fn observe_one(&mut self, metric: &Metric<Histogram>, scope: Option<Scope>, labels: &[&str], value: f64) {
        self.one(metric.0, Operation::Observe, scope, labels, value);
    }

    fn one(&mut self, metric: u32, operation: Operation, scope: Option<Scope>, labels: &[&str], value: f64) {
        let found = self.rows.iter().position(|rows| {
            rows.metric == metric && rows.operation == operation && rows.scopes.is_some() == scope.is_some()
        });
        let index = found.unwrap_or_else(|| {
            self.rows.push(RowSamples::new(metric, operation, scope.is_some(), labels.len()));
            self.rows.len() - 1
        });
        self.rows[index].push(scope, labels, value);
    }

    /// Events of one type, one for each of `indices` of `rows`: time, scope, stack and process come from there. What follows gives the
    /// fields, in the type's order. Without indices there are no events.
    pub fn events(&mut self, event: &Event, rows: &Rows<'_>, indices: Vec<u32>) -> Events<'_> {
        self.events.push(types::Events {
            type_: event.0,
            count: indices.len() as u32,
            answer: Some(rows.answer),
            rows: indices,
            scopes: None,
            fields: Vec::new(),
            extras: Vec::new(),
        });
        let last = self.events.len() - 1;
        Events { wit: &mut self.events[last] }
    }

    pub(crate) fn into_wit(mut self) -> types::Output {
        self.samples.extend(self.rows.into_iter().map(RowSamples::into_wit));
        self.events.retain(|events| events.count > 0);
        types::Output { samples: self.samples, buckets: self.buckets, events: self.events }
    }
}

/// Samples of one metric, by column; [`values`](Self::values) completes them.
#[must_use = "samples are part of the output only after `values`"]
pub struct Samples<'a> {
    out: &'a mut Output,
    metric: u32,
    operation: Operation,
    scopes: Option<Column>,
    labels: Vec<Label>,
    parts: Option<Column>,
}

enum Label {
    Column(Column),
    Text(String),
}

impl Label {
    fn into_columns(labels: Vec<Self>, rows: usize) -> Vec<Column> {
        let column = |label| match label {
            Label::Column(column) => column,
            Label::Text(text) => Column::text_in_each(text, rows),
        };
        labels.into_iter().map(column).collect()
    }
}

impl Samples<'_> {
    /// Whose: the `netns` column of the rows. Left out for a metric of the node.
    pub fn scopes(mut self, column: &Column) -> Self {
        self.scopes = Some(column.clone());
        self
    }

    /// The next label, row by row.
    pub fn label(mut self, column: &Column) -> Self {
        self.labels.push(Label::Column(column.clone()));
        self
    }

    /// The next label, the same in every row.
    pub fn label_text(mut self, text: &str) -> Self {
        self.labels.push(Label::Text(text.into()));
        self
    }

    /// With totals: which part of the series (a CPU, a queue). Parts of one series add up.
    pub fn parts(mut self, column: &Column) -> Self {
        self.parts = Some(column.clone());
        self
    }

    /// The values. A row without one gives no sample.
    pub fn values(self, column: &Column) {
        self.out.samples.push(types::Samples {
            metric: self.metric,
            operation: self.operation,
            scopes: self.scopes,
            labels: Label::into_columns(self.labels, column.rows()),
            parts: self.parts,
            values: column.clone(),
            extras: Vec::new(),
        });
    }
}

/// Events of one type: their fields, in the type's order.
pub struct Events<'a> {
    wit: &'a mut types::Events,
}

impl Events<'_> {
    /// The next field: a column of the source rows, of which each event takes its own row. Where that has no value the field is left out.
    pub fn field(self, column: &Column) -> Self {
        let picked = column.pick(&self.wit.rows);
        self.wit.fields.push(picked);
        self
    }

    /// The next field, the same text in each event.
    pub fn text(self, text: &str) -> Self {
        let column = Column::text_in_each(text.into(), self.wit.rows.len());
        self.wit.fields.push(column);
        self
    }

    /// The next field, from a column made for it: one row an event.
    pub fn column(self, column: Column) -> Self {
        self.wit.fields.push(column);
        self
    }
}

/// Samples that were given one by one, gathered by column.
struct RowSamples {
    metric: u32,
    operation: Operation,
    scopes: Option<Vec<Scope>>,
    labels: Vec<Dictionary>,
    values: Vec<f64>,
}

impl RowSamples {
    fn new(metric: u32, operation: Operation, scoped: bool, labels: usize) -> Self {
        let labels = (0..labels).map(|_| Dictionary::default()).collect();
        Self { metric, operation, scopes: scoped.then(Vec::new), labels, values: Vec::new() }
    }

    fn push(&mut self, scope: Option<Scope>, labels: &[&str], value: f64) {
        if let (Some(scopes), Some(scope)) = (&mut self.scopes, scope) {
            scopes.push(scope);
        }
        for (dictionary, label) in self.labels.iter_mut().zip(labels) {
            dictionary.push(label);
        }
        self.values.push(value);
    }

    fn into_wit(self) -> types::Samples {
        types::Samples {
            metric: self.metric,
            operation: self.operation,
            scopes: self.scopes.map(|scopes| Column::full(Values::U32s(scopes))),
            labels: self.labels.into_iter().map(|label| Column::full(label.into_values())).collect(),
            parts: None,
            values: Column::full(Values::F64s(self.values)),
            extras: Vec::new(),
        }
    }
}
