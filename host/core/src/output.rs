//! Whether what a probe gave fits its plan and the call: checked whole before anything is applied (rule 3).

mod column;
mod error;

pub use error::{Given, OutputError, Owner, Place};

use crate::{
    metric::family::bound_count,
    probe::{Buckets, Call, CallKind, Events, Metric, MetricKind, Operation, Output, Plan, Samples},
    scope::Scopes,
};
use column::Columns;
use std::ops::Deref;

/// Rows of samples and buckets in one call.
pub const MAX_SAMPLES: usize = 131_072;
/// Events in one call.
pub const MAX_EVENTS: usize = 16_384;

/// An output that has passed `check`: every index, length, handle and number in it is what the interface allows.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'o>(&'o Output);

impl Deref for Checked<'_> {
    type Target = Output;

    fn deref(&self) -> &Output {
        self.0
    }
}

/// What an output may refer to of the call that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub kind: CallKind,
    /// Rows of each answer; none of one that failed.
    pub rows: Vec<usize>,
}

impl From<&Call> for Shape {
    fn from(call: &Call) -> Self {
        let rows = call.answers.iter().map(|answer| answer.result.as_ref().map_or(0, |batch| batch.rows)).collect();
        Self { kind: call.kind, rows }
    }
}

/// Checks `output` against the plan of its probe, the call, and the scopes that there are.
///
/// # Errors
/// The first thing that is wrong, by metric or event, column and row. Values given twice are found later, by `Registry::apply`.
pub fn check<'o>(output: &'o Output, plan: &Plan, shape: &Shape, scopes: &Scopes) -> Result<Checked<'o>, OutputError> {
    check_amounts(output)?;
    let mut columns = Columns::new(scopes);
    for samples in &output.samples {
        check_samples(samples, metric(plan, samples.metric)?, shape.kind, &mut columns)?;
    }
    for buckets in &output.buckets {
        check_buckets(buckets, metric(plan, buckets.metric)?, shape.kind, &mut columns)?;
    }
    for events in &output.events {
        check_events(events, plan, shape, &mut columns)?;
    }
    Ok(Checked(output))
}

fn check_amounts(output: &Output) -> Result<(), OutputError> {
    let samples = output.samples.iter().map(|samples| samples.values.len());
    let rows: usize = samples.chain(output.buckets.iter().map(|buckets| buckets.counts.len())).sum();
    if rows > MAX_SAMPLES {
        return Err(OutputError::TooManySamples { rows });
    }
    let events = output.events.iter().map(|events| u64::from(events.count)).sum();
    if events > MAX_EVENTS as u64 {
        return Err(OutputError::TooManyEvents { events });
    }
    Ok(())
}

fn metric(plan: &Plan, index: u32) -> Result<&Metric, OutputError> {
    plan.metrics.get(index as usize).ok_or(OutputError::NoMetric { index, metrics: plan.metrics.len() })
}

fn check_samples<'o>(
    samples: &'o Samples,
    metric: &Metric,
    call: CallKind,
    columns: &mut Columns<'o, '_>,
) -> Result<(), OutputError> {
    let owner = || Owner::Metric(metric.name.clone());
    let fits = match samples.operation {
        Operation::Add | Operation::Total => metric.kind == MetricKind::Counter,
        Operation::Set => matches!(metric.kind, MetricKind::Gauge | MetricKind::Info | MetricKind::Unknown),
        Operation::Observe => metric.kind == MetricKind::Histogram,
    };
    if !fits {
        return Err(OutputError::Operation { owner: owner(), given: samples.operation.into(), kind: metric.kind });
    }
    if call == CallKind::Stream && matches!(samples.operation, Operation::Set | Operation::Total) {
        return Err(OutputError::InStream { owner: owner(), given: samples.operation.into() });
    }
    if samples.parts.is_some() && samples.operation != Operation::Total {
        return Err(OutputError::Parts { owner: owner() });
    }
    let rows = samples.values.len();
    columns.values(&owner, &samples.values, metric.kind)?;
    columns.scopes(&owner, samples.scopes.as_ref(), metric.scoped, rows)?;
    columns.labels(&owner, &samples.labels, &metric.labels, rows)?;
    match &samples.parts {
        Some(parts) => columns.text(&owner, Place::Parts, parts, rows),
        None => Ok(()),
    }
}

fn check_buckets<'o>(
    buckets: &'o Buckets,
    metric: &Metric,
    call: CallKind,
    columns: &mut Columns<'o, '_>,
) -> Result<(), OutputError> {
    let owner = || Owner::Metric(metric.name.clone());
    let given = Given::Buckets;
    if !matches!(metric.kind, MetricKind::Histogram | MetricKind::GaugeHistogram) {
        return Err(OutputError::Operation { owner: owner(), given, kind: metric.kind });
    }
    // A gauge histogram's buckets are its state, like `set`.
    if call == CallKind::Stream && metric.kind == MetricKind::GaugeHistogram {
        return Err(OutputError::InStream { owner: owner(), given });
    }
    let rows = buckets.counts.len();
    for (place, len) in [(Place::Bounds, buckets.bounds.len()), (Place::Sums, buckets.sums.len())] {
        if len != rows {
            return Err(OutputError::Length { owner: owner(), place, rows: len, want: rows });
        }
    }
    let bounds = bound_count(metric);
    if let Some(row) = buckets.bounds.iter().position(|&bound| bound as usize > bounds) {
        let bound = buckets.bounds[row];
        return Err(OutputError::Bucket { owner: owner(), row, bound, bounds });
    }
    if let Some(row) = buckets.sums.iter().position(|sum| !sum.is_finite()) {
        let (place, value) = (Place::Sums, buckets.sums[row].into());
        return Err(OutputError::Value { owner: owner(), place, row, value, why: "it is not finite" });
    }
    columns.scopes(&owner, buckets.scopes.as_ref(), metric.scoped, rows)?;
    columns.labels(&owner, &buckets.labels, &metric.labels, rows)
}

fn check_events<'o>(
    events: &'o Events,
    plan: &Plan,
    shape: &Shape,
    columns: &mut Columns<'o, '_>,
) -> Result<(), OutputError> {
    let types = plan.events.len();
    let ty = plan.events.get(events.ty as usize).ok_or(OutputError::NoEvent { index: events.ty, types })?;
    let owner = || Owner::Event(ty.name.clone());
    let count = events.count as usize;
    let sources = match events.answer {
        None => 0,
        Some(_) => count,
    };
    if events.rows.len() != sources {
        return Err(OutputError::Length { owner: owner(), place: Place::Rows, rows: events.rows.len(), want: sources });
    }
    if let Some(answer) = events.answer {
        let answers = shape.rows.len();
        let rows = *shape.rows.get(answer as usize).ok_or(OutputError::NoAnswer { owner: owner(), answer, answers })?;
        if let Some(row) = events.rows.iter().position(|&source| source as usize >= rows) {
            let source_row = events.rows[row];
            return Err(OutputError::NoSourceRow { owner: owner(), row, source_row, answer, rows });
        }
    }
    if let Some(scopes) = &events.scopes {
        columns.handles(&owner, Place::Scopes, scopes, count)?;
    }
    columns.fields(&owner, &events.fields, &ty.fields, count)
}

#[cfg(test)]
mod tests;
