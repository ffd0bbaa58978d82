//! What passes between host and probe, without WIT: a WIT version's generated types are turned into these and never leave their file.
//!
//! The meaning of each item is told once, in `wit/0.1.0/types.wit`.

use crate::{
    batch::{Batch, Column},
    scope::ScopeId,
};

pub type Attributes = Vec<(String, String)>;

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub logical: String,
    pub nullable: bool,
    pub attributes: Attributes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub name: String,
    pub sql: String,
    pub optional: bool,
    pub attributes: Attributes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Info,
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub name: String,
    pub help: String,
    pub kind: MetricKind,
    pub unit: String,
    pub labels: Vec<Field>,
    pub bounds: Vec<f64>,
    pub queries: Vec<u32>,
    pub scoped: bool,
    pub attributes: Attributes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventType {
    pub name: String,
    pub help: String,
    pub fields: Vec<Field>,
    pub attributes: Attributes,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub queries: Vec<Query>,
    pub metrics: Vec<Metric>,
    pub events: Vec<EventType>,
    pub attributes: Attributes,
}

#[derive(Clone, Debug, PartialEq)]
pub enum QueryState {
    Runs(Vec<Field>),
    Absent(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub query: u32,
    pub result: Result<Batch, String>,
    pub failed_scopes: Vec<ScopeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Collection,
    Stream,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub kind: CallKind,
    pub id: u64,
    pub monotonic_nanos: u64,
    pub unix_nanos: u64,
    pub answers: Vec<Answer>,
    pub gone: Vec<ScopeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Total,
    Set,
    Observe,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    pub metric: u32,
    pub operation: Operation,
    pub scopes: Option<Column>,
    pub labels: Vec<Column>,
    pub parts: Option<Column>,
    pub values: Column,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    pub metric: u32,
    pub scopes: Option<Column>,
    pub labels: Vec<Column>,
    pub bounds: Vec<u32>,
    pub counts: Vec<u64>,
    pub sums: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    pub ty: u32,
    pub count: u32,
    pub answer: Option<u32>,
    pub rows: Vec<u32>,
    pub scopes: Option<Column>,
    pub fields: Vec<Column>,
}

/// What a call gave, as it came from the guest: nothing in it has been checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    pub samples: Vec<Samples>,
    pub buckets: Vec<Buckets>,
    pub events: Vec<Events>,
}
