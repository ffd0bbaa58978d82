//! What can be wrong with an output, in words that name the place.

use super::{MAX_EVENTS, MAX_SAMPLES};
use crate::{
    metric::value::Value,
    probe::{MetricKind, Operation},
    scope::ScopeId,
};
use std::fmt;
use thiserror::Error;

/// Why an output is refused, the whole of it.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum OutputError {
    #[error("{rows} rows of samples in one call; {MAX_SAMPLES} are allowed")]
    TooManySamples { rows: usize },
    #[error("{events} events in one call; {MAX_EVENTS} are allowed")]
    TooManyEvents { events: u64 },
    #[error("samples of metric {index}, but the plan has {metrics} metrics")]
    NoMetric { index: u32, metrics: usize },
    #[error("events of type {index}, but the plan has {types} types")]
    NoEvent { index: u32, types: usize },
    #[error("{owner}: {given} does not fit {}", taking(*.kind))]
    Operation { owner: Owner, given: Given, kind: MetricKind },
    #[error("{owner}: {given} in the call of a stream; states and totals belong to a collection's")]
    InStream { owner: Owner, given: Given },
    #[error("{owner}: parts are for `total` only")]
    Parts { owner: Owner },
    #[error("{owner}: it is of a scope, but its samples have no scopes")]
    ScopesMissing { owner: Owner },
    #[error("{owner}: it is of the whole node, but its samples have scopes")]
    ScopesGiven { owner: Owner },
    #[error("{owner} has {columns} {what} columns; the plan declares {declared}")]
    Columns { owner: Owner, what: &'static str, columns: usize, declared: usize },
    #[error("{owner}: {place} has {rows} rows, {} {want}", .owner.counted())]
    Length { owner: Owner, place: Place, rows: usize, want: usize },
    #[error("{owner}: {place} has {bytes} bytes of addresses, which is not 16 a row")]
    AddressBytes { owner: Owner, place: Place, bytes: usize },
    #[error("{owner}: {place} has {words} words of presence bits for {rows} rows")]
    Presence { owner: Owner, place: Place, words: usize, rows: usize },
    #[error("{owner}: {place} is of form {form}, but must be {want}")]
    Form { owner: Owner, place: Place, form: &'static str, want: &'static str },
    #[error("{owner}: {place}, row {row}: code {code} of {names} names")]
    Code { owner: Owner, place: Place, row: usize, code: u32, names: usize },
    #[error("{owner}: {place}, row {row}: ends at byte {end}, after {previous}, of {bytes} bytes")]
    BlobEnd { owner: Owner, place: Place, row: usize, end: u32, previous: u32, bytes: usize },
    #[error("{owner}: {place}: the rows end at byte {end}, but there are {bytes} bytes")]
    BlobRest { owner: Owner, place: Place, end: u32, bytes: usize },
    #[error("{owner}: {place}, row {row}: there is no scope with the handle {handle}")]
    Handle { owner: Owner, place: Place, row: usize, handle: ScopeId },
    #[error("{owner}: {place}, row {row}: {value} is refused: {why}")]
    Value { owner: Owner, place: Place, row: usize, value: Value, why: &'static str },
    #[error("{owner}: row {row} is of bucket {bound}, but there are {bounds} bounds")]
    Bucket { owner: Owner, row: usize, bound: u32, bounds: usize },
    #[error("{owner}: {given}, row {row}: its series had a value in this output already")]
    Twice { owner: Owner, given: Given, row: usize },
    #[error("{owner}: refers to answer {answer} of a call that has {answers}")]
    NoAnswer { owner: Owner, answer: u32, answers: usize },
    #[error("{owner}, event {row}: refers to row {source_row} of answer {answer}, which has {rows}")]
    NoSourceRow { owner: Owner, row: usize, source_row: u32, answer: u32, rows: usize },
}

/// What the output gives values for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Metric(String),
    Event(String),
}

impl Owner {
    /// What the rows of its columns are compared with.
    fn counted(&self) -> &'static str {
        match self {
            Owner::Metric(_) => "values have",
            Owner::Event(_) => "there should be",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Metric(name) => write!(f, "metric `{name}`"),
            Owner::Event(name) => write!(f, "event `{name}`"),
        }
    }
}

/// One of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Values,
    Scopes,
    Parts,
    Bounds,
    Sums,
    Rows,
    Label(String),
    Field(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Values => f.write_str("column `values`"),
            Place::Scopes => f.write_str("column `scopes`"),
            Place::Parts => f.write_str("column `parts`"),
            Place::Bounds => f.write_str("column `bounds`"),
            Place::Sums => f.write_str("column `sums`"),
            Place::Rows => f.write_str("column `rows`"),
            Place::Label(name) => write!(f, "label `{name}`"),
            Place::Field(name) => write!(f, "field `{name}`"),
        }
    }
}

/// How values are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    Samples(Operation),
    Buckets,
}

impl From<Operation> for Given {
    fn from(operation: Operation) -> Self {
        Given::Samples(operation)
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Given::Samples(Operation::Add) => "`add`",
            Given::Samples(Operation::Total) => "`total`",
            Given::Samples(Operation::Set) => "`set`",
            Given::Samples(Operation::Observe) => "`observe`",
            Given::Buckets => "buckets",
        })
    }
}

fn taking(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "a counter, which takes `add` and `total`",
        MetricKind::Gauge => "a gauge, which takes `set`",
        MetricKind::Histogram => "a histogram, which takes `observe` and buckets",
        MetricKind::GaugeHistogram => "a gauge histogram, which takes buckets",
        MetricKind::Info => "an info, which takes `set`",
        MetricKind::Unknown => "an unknown, which takes `set`",
    }
}
