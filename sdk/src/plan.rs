//! What a probe asks for and offers. Each part gives a handle, which later calls want back: an index cannot be mistaken.

use crate::types::{self, MetricKind};
use std::{marker::PhantomData, ops::RangeInclusive};

/// Handle of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query(pub(crate) u32);

/// Handle of a metric, with its kind: only what fits can be done with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric<K>(pub(crate) u32, PhantomData<K>);

/// Handle of a type of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event(pub(crate) u32);

/// Kind of a metric that only grows: [`Output::add`](crate::output::Output::add) an increase or give the kernel's running
/// [`total`](crate::output::Output::total).
#[derive(Debug, PartialEq, Eq)]
pub enum Counter {}
/// Kind of a metric that goes up and down, set anew in each collection.
#[derive(Debug, PartialEq, Eq)]
pub enum Gauge {}
/// Kind of a metric that counts observations by size: [`observe`](crate::output::Output::observe) them, or give
/// [`buckets`](crate::output::Output::buckets) that the kernel has counted since the last call.
#[derive(Debug, PartialEq, Eq)]
pub enum Histogram {}
/// Kind of a metric that tells how values are spread by size at this moment: [`buckets`](crate::output::Output::buckets), given anew in
/// each collection.
#[derive(Debug, PartialEq, Eq)]
pub enum GaugeHistogram {}

/// The kinds that have buckets.
pub trait Bucketed {}

impl Bucketed for Histogram {}
impl Bucketed for GaugeHistogram {}

impl<K> Clone for Metric<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Metric<K> {}

/// The plan under construction.
pub struct Plan {
    wit: types::Plan,
}

impl Default for Plan {
    fn default() -> Self {
        let wit = types::Plan { queries: Vec::new(), metrics: Vec::new(), events: Vec::new(), attributes: Vec::new() };
        Self { wit }
    }
}

impl Plan {
    /// A query without which the probe cannot run. `name` is the probe's own word for it.
    pub fn query(&mut self, name: &str, sql: &str) -> Query {
        self.push_query(name, sql, false)
    }

    /// A query that a kernel may be unable to answer: the probe then runs without its rows, and is shown as degraded.
    pub fn optional_query(&mut self, name: &str, sql: &str) -> Query {
        self.push_query(name, sql, true)
    }

    fn push_query(&mut self, name: &str, sql: &str, optional: bool) -> Query {
        let query = types::Query { name: name.into(), sql: sql.into(), optional, attributes: Vec::new() };
        self.wit.queries.push(query);
        Query(self.wit.queries.len() as u32 - 1)
    }

    /// A counter, without `_total` in its name: the host adds it. `help` is one sentence without a full stop.
    pub fn counter(&mut self, name: &str, help: &str) -> MetricBuilder<'_, Counter> {
        self.metric(name, help, MetricKind::Counter)
    }

    pub fn gauge(&mut self, name: &str, help: &str) -> MetricBuilder<'_, Gauge> {
        self.metric(name, help, MetricKind::Gauge)
    }

    /// A histogram. Its bounds are powers of two of its unit ([`powers_of_two`]), unless [`MetricBuilder::base2`] or
    /// [`MetricBuilder::bounds`] says otherwise.
    pub fn histogram(&mut self, name: &str, help: &str) -> MetricBuilder<'_, Histogram> {
        self.metric(name, help, MetricKind::Histogram)
    }

    /// A gauge histogram, with bounds as of [`histogram`](Self::histogram).
    pub fn gauge_histogram(&mut self, name: &str, help: &str) -> MetricBuilder<'_, GaugeHistogram> {
        self.metric(name, help, MetricKind::GaugeHistogram)
    }

    fn metric<K>(&mut self, name: &str, help: &str, kind: MetricKind) -> MetricBuilder<'_, K> {
        let metric = types::Metric {
            name: name.into(),
            help: help.into(),
            kind,
            unit: String::new(),
            labels: Vec::new(),
            bounds: Vec::new(),
            queries: Vec::new(),
            scoped: false,
            attributes: Vec::new(),
        };
        MetricBuilder { plan: self, metric, kind: PhantomData }
    }

    /// A type of event, as people know it (`TCPRESET_NOSOCK`), with the names and logical types of its fields.
    pub fn event(&mut self, name: &str, help: &str, fields: &[(&str, &str)]) -> Event {
        let fields = fields.iter().map(|(name, logical)| field(name, logical)).collect();
        self.wit.events.push(types::EventType { name: name.into(), help: help.into(), fields, attributes: Vec::new() });
        Event(self.wit.events.len() as u32 - 1)
    }

    /// Says that `counter` counts these events: each series then leads to the latest of its events. Each of the counter's labels has the value
    /// that stands here, else that of the event's field of the same name. The counter's scope must be the event's. Of several counters of one
    /// event the first counts.
    pub fn counts(&mut self, event: &Event, counter: &Metric<Counter>, labels: &[(&str, &str)]) {
        let counter = self.wit.metrics[counter.0 as usize].name.clone();
        let labels = labels.iter().map(|(name, value)| (format!("label:{name}"), (*value).to_owned()));
        self.wit.events[event.0 as usize]
            .attributes
            .extend([("counter".to_owned(), counter)].into_iter().chain(labels));
    }

    pub(crate) fn into_wit(self) -> types::Plan {
        self.wit
    }
}

/// A metric under construction; [`each_scope`](Self::each_scope) or [`node`](Self::node) completes it.
#[must_use = "a metric is part of the plan only after `each_scope` or `node`"]
pub struct MetricBuilder<'a, K> {
    plan: &'a mut Plan,
    metric: types::Metric,
    kind: PhantomData<K>,
}

impl<K> MetricBuilder<'_, K> {
    /// Base unit: `bytes`, `seconds`. It becomes part of the name.
    pub fn unit(mut self, unit: &str) -> Self {
        self.metric.unit = unit.into();
        self
    }

    /// Adds a label with text or numbers. Who it is (`netns`, `namespace`, `pod`) the host adds by itself.
    pub fn label(mut self, name: &str) -> Self {
        self.metric.labels.push(field(name, "text"));
        self
    }

    /// Adds labels that tell of somebody else, by a column that says who: `peer` becomes `peer_namespace`, `peer_pod`, `peer_node` and
    /// `peer_type`, empty where nobody is known.
    pub fn label_scope(mut self, name: &str) -> Self {
        self.metric.labels.push(field(name, "scope"));
        self
    }

    /// Upper bounds of a histogram's buckets, `one` × 2^k for each of these k: those of a query's `histogram(x)` where an x of 1 is `one` in
    /// the metric's unit. At most 64.
    pub fn base2(self, one: f64, exponents: RangeInclusive<i32>) -> Self {
        let bounds: Vec<f64> = exponents.map(|exponent| one * 2f64.powi(exponent)).collect();
        self.bounds(&bounds)
    }

    /// Upper bounds of a histogram's buckets, inclusive, rising, in the unit. At most 64.
    pub fn bounds(mut self, bounds: &[f64]) -> Self {
        self.metric.bounds = bounds.to_vec();
        self
    }

    /// The exact name of another system's metric, to be on the page as it is: nothing is put before or behind it. The host takes that only
    /// of a probe that the configuration chose by `compat`.
    pub fn family(self, name: &str) -> Self {
        self.attribute("family", name)
    }

    /// The form in which labels tell whose a series is: `cadvisor`, for `container`, `id`, `image`, `name`, `namespace` and `pod`, of those only
    /// whom cAdvisor in a kubelet shows. The host takes that only of a probe that the configuration chose by `compat`.
    pub fn scope_labels(self, form: &str) -> Self {
        self.attribute("scope-labels", form)
    }

    fn attribute(mut self, name: &str, value: &str) -> Self {
        self.metric.attributes.push((name.into(), value.into()));
        self
    }

    /// The queries that its values come from.
    pub fn from(mut self, queries: &[Query]) -> Self {
        self.metric.queries = queries.iter().map(|query| query.0).collect();
        self
    }

    /// Every sample belongs to somebody: a namespace, a pod.
    pub fn each_scope(mut self) -> Metric<K> {
        self.metric.scoped = true;
        self.finish()
    }

    /// Samples are of the node as a whole.
    pub fn node(self) -> Metric<K> {
        self.finish()
    }

    fn finish(mut self) -> Metric<K> {
        // Written down, as what the host would take is the host's to change, and buckets are told by their index.
        let has_buckets = matches!(self.metric.kind, MetricKind::Histogram | MetricKind::GaugeHistogram);
        if has_buckets && self.metric.bounds.is_empty() {
            self.metric.bounds = powers_of_two(&self.metric.unit);
        }
        self.plan.wit.metrics.push(self.metric);
        Metric(self.plan.wit.metrics.len() as u32 - 1, PhantomData)
    }
}

/// The bounds of a histogram that declares none: powers of two of its unit, so that they agree with Prometheus' native histograms of schema
/// 0. Seconds from 2^-20 (about a microsecond) to 2^6, bytes from 2^6 to 2^30, anything else from 1 to 2^20.
pub fn powers_of_two(unit: &str) -> Vec<f64> {
    let exponents = match unit {
        "seconds" => -20..=6,
        "bytes" => 6..=30,
        _ => 0..=20,
    };
    exponents.map(|exponent| 2f64.powi(exponent)).collect()
}

fn field(name: &str, logical: &str) -> types::Field {
    types::Field { name: name.into(), logical: logical.into(), nullable: true, attributes: Vec::new() }
}
