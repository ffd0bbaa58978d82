//! Families → metrics of OTLP.
//!
//! As <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/> says, but for gauge histograms, which it drops: they
//! are three gauges here, named as in Prometheus' text. Names are those of Prometheus, with `_total` and the unit: whoever writes them back for
//! it adds only what is not there.

use crate::sink::otlp::records::resource;
use netsonde_core::{
    metric::{
        histogram::Bounds,
        parse::{Data, Exemplar, Family, Histogram, Labels, Series},
        value,
    },
    probe::MetricKind,
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        self as proto, AggregationTemporality, Gauge, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, exemplar, metric, number_data_point,
    },
};
use prost::Message;
use std::time::Duration;

/// One request is closed when its points have so many bytes. Receivers take messages of 4 MiB over gRPC by default, and less memory is in use at
/// once.
const LARGEST: usize = 1 << 20;

/// A message, and how many points it has.
pub struct Request {
    pub message: ExportMetricsServiceRequest,
    pub points: u64,
}

/// Hands all series of `families` to `send`, as they were at the moment `at`, since the Unix epoch, on the node of this name.
///
/// # Errors
/// What `send` says; nothing more is handed to it then.
pub fn requests<E>(
    families: &[Family<'_>],
    node: &str,
    at: Duration,
    send: impl FnMut(Request) -> Result<(), E>,
) -> Result<(), E> {
    let mut requests = Requests { node, send, metrics: Vec::new(), bytes: 0, points: 0 };
    let at = nanos(at);
    for family in families {
        let series = family.series.iter();
        match family.kind {
            MetricKind::Histogram => {
                let points = series.filter_map(|series| histogram_point(series, at));
                requests.add(&Head::of(family, family.name.to_owned()), points, |data_points| {
                    let aggregation_temporality = AggregationTemporality::Cumulative.into();
                    metric::Data::Histogram(proto::Histogram { data_points, aggregation_temporality })
                })?;
            }
            MetricKind::GaugeHistogram => gauge_histogram(&mut requests, family, at)?,
            kind => {
                let points = series.filter_map(|series| number_point(series, at));
                requests.add(&Head::of(family, family.sample_name()), points, |points| numbers(kind, points))?;
            }
        }
    }
    requests.close()
}

/// An info is a sum: its value of 1 counts, when labels are aggregated away.
fn numbers(kind: MetricKind, data_points: Vec<NumberDataPoint>) -> metric::Data {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let is_monotonic = kind == MetricKind::Counter;
    match kind {
        MetricKind::Counter | MetricKind::Info => {
            metric::Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        }
        _ => metric::Data::Gauge(Gauge { data_points }),
    }
}

/// Buckets with what is below them, count and sum, as Prometheus' text has them.
fn gauge_histogram<E, F: FnMut(Request) -> Result<(), E>>(
    requests: &mut Requests<'_, F>,
    family: &Family<'_>,
    at: u64,
) -> Result<(), E> {
    let histograms = || {
        family.series.iter().filter_map(|series| match &series.data {
            Data::Histogram(histogram) => Some((series.labels, histogram)),
            Data::Value(_) => None,
        })
    };
    let gauge = |suffix| Head { kind: "gaugehistogram", ..Head::of(family, format!("{}{suffix}", family.name)) };
    let data = |points| numbers(MetricKind::Gauge, points);
    let buckets = histograms().flat_map(|(labels, histogram)| {
        let bounds = Bounds::new(&histogram.bounds);
        let mut below = 0u64;
        let mut points = Vec::with_capacity(histogram.counts.len());
        for (index, count) in histogram.counts.iter().enumerate() {
            below = below.saturating_add(*count);
            let le = bounds.texts().get(index).map_or("+Inf", String::as_str);
            let mut point = plain_point(labels, whole(below), at);
            point.attributes.push(attribute("le", le.to_owned()));
            points.push(point);
        }
        points
    });
    requests.add(&Head { unit: String::new(), ..gauge("_bucket") }, buckets, data)?;
    let count = |(labels, histogram): (_, &Histogram)| plain_point(labels, whole(histogram.count), at);
    requests.add(&Head { unit: String::new(), ..gauge("_gcount") }, histograms().map(count), data)?;
    let sum = |(labels, histogram): (_, &Histogram)| {
        plain_point(labels, number_data_point::Value::AsDouble(histogram.sum), at)
    };
    requests.add(&gauge("_gsum"), histograms().map(sum), data)
}

/// What all points of a metric have in common.
struct Head {
    name: String,
    help: String,
    unit: String,
    /// As in the page's `TYPE`.
    kind: &'static str,
}

impl Head {
    fn of(family: &Family<'_>, name: String) -> Self {
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::GaugeHistogram => "gaugehistogram",
            MetricKind::Info => "info",
            MetricKind::Unknown => "unknown",
        };
        Self { name, help: family.help.clone().into_owned(), unit: unit(family.unit), kind }
    }

    fn metric(&self, data: metric::Data) -> Metric {
        Metric {
            name: self.name.clone(),
            description: self.help.clone(),
            unit: self.unit.clone(),
            metadata: vec![attribute("prometheus.type", self.kind.to_owned())],
            data: Some(data),
        }
    }
}

/// In UCUM, as OpenTelemetry has units. What is counted stands in braces.
fn unit(unit: &str) -> String {
    match unit {
        "" => String::new(),
        "seconds" => "s".to_owned(),
        "bytes" => "By".to_owned(),
        "ratio" => "1".to_owned(),
        counted => format!("{{{counted}}}"),
    }
}

/// Puts points together to requests.
struct Requests<'n, F> {
    node: &'n str,
    send: F,
    metrics: Vec<Metric>,
    bytes: usize,
    points: u64,
}

impl<E, F: FnMut(Request) -> Result<(), E>> Requests<'_, F> {
    /// Adds a metric, in several requests if it is large.
    fn add<P: Message>(
        &mut self,
        head: &Head,
        points: impl Iterator<Item = P>,
        data: impl Fn(Vec<P>) -> metric::Data,
    ) -> Result<(), E> {
        let mut part = Vec::new();
        for point in points {
            self.bytes += point.encoded_len();
            self.points += 1;
            part.push(point);
            if self.bytes >= LARGEST {
                self.metrics.push(head.metric(data(std::mem::take(&mut part))));
                self.close()?;
            }
        }
        if !part.is_empty() {
            self.metrics.push(head.metric(data(part)));
        }
        Ok(())
    }

    /// Hands over what is there.
    fn close(&mut self) -> Result<(), E> {
        if self.metrics.is_empty() {
            return Ok(());
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let scope = InstrumentationScope { name: "netsonde".to_owned(), version, ..InstrumentationScope::default() };
        let metrics = std::mem::take(&mut self.metrics);
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
        let resource = Some(resource(self.node));
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, schema_url: String::new() }];
        let points = std::mem::take(&mut self.points);
        self.bytes = 0;
        (self.send)(Request { message: ExportMetricsServiceRequest { resource_metrics }, points })
    }
}

/// Where it is not known when a series began, 0 says so (opentelemetry/proto/metrics/v1, `start_time_unix_nano`).
fn started(series: &Series<'_>) -> u64 {
    series.created.map_or(0, nanos)
}

fn number_point(series: &Series<'_>, at: u64) -> Option<NumberDataPoint> {
    let Data::Value(value) = series.data else { return None };
    let value = match value {
        value::Value::U64(value) => whole(value),
        value::Value::S64(value) => number_data_point::Value::AsInt(value),
        value::Value::F64(value) => number_data_point::Value::AsDouble(value),
    };
    let exemplars = series.exemplars.iter().map(|exemplar| self::exemplar(exemplar, at)).collect();
    Some(NumberDataPoint { start_time_unix_nano: started(series), exemplars, ..plain_point(series.labels, value, at) })
}

fn plain_point(labels: Labels<'_>, value: number_data_point::Value, at: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(labels),
        time_unix_nano: at,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

/// OTLP's integers are signed: a larger one is a float, as it is to Prometheus.
fn whole(value: u64) -> number_data_point::Value {
    i64::try_from(value).map_or(number_data_point::Value::AsDouble(value as f64), number_data_point::Value::AsInt)
}

fn histogram_point(series: &Series<'_>, at: u64) -> Option<HistogramDataPoint> {
    let Data::Histogram(histogram) = &series.data else { return None };
    Some(HistogramDataPoint {
        attributes: attributes(series.labels),
        start_time_unix_nano: started(series),
        time_unix_nano: at,
        count: histogram.count,
        sum: Some(histogram.sum),
        bucket_counts: histogram.counts.clone(),
        explicit_bounds: histogram.bounds.clone(),
        exemplars: series.exemplars.iter().map(|exemplar| self::exemplar(exemplar, at)).collect(),
        ..HistogramDataPoint::default()
    })
}

fn exemplar(exemplar: &Exemplar<'_>, at: u64) -> proto::Exemplar {
    proto::Exemplar {
        filtered_attributes: attributes(exemplar.labels),
        time_unix_nano: exemplar.time.map_or(at, nanos),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
        ..proto::Exemplar::default()
    }
}

/// An empty label is none: nobody puts one in its place here.
fn attributes(labels: Labels<'_>) -> Vec<KeyValue> {
    labels
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| attribute(name, value.into_owned()))
        .collect()
}

fn attribute(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
