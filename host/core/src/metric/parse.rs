//! The page read back: the agent's own OpenMetrics text as families and series, for systems that are pushed to.
//!
//! It reads what [`super::exposition`] writes, which is less than OpenMetrics allows: the labels of a histogram's lines are those of its series
//! with `le` behind them, the lines of a series follow each other, and samples have no timestamps. Anything else is an error. Texts are
//! borrowed from the page.

mod line;
#[cfg(test)]
mod tests;

pub use line::Labels;

use super::value::Value;
use crate::probe::MetricKind;
use line::{Line, metadata, unescape};
use std::{borrow::Cow, time::Duration};
use thiserror::Error;

/// A family that has series.
#[derive(Clone, Debug, PartialEq)]
pub struct Family<'p> {
    /// As OpenMetrics has it: without `_total`, `_info`, ...
    pub name: &'p str,
    pub kind: MetricKind,
    /// Empty if it has none.
    pub unit: &'p str,
    pub help: Cow<'p, str>,
    pub series: Vec<Series<'p>>,
}

impl Family<'_> {
    /// What Prometheus calls its samples, those of a histogram without their endings.
    pub fn sample_name(&self) -> String {
        format!("{}{}", self.name, super::exposition::sample_suffix(self.kind))
    }
}

/// One series; a histogram is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Series<'p> {
    pub labels: Labels<'p>,
    pub data: Data,
    /// Since the Unix epoch: when a counter or histogram began, if that is known.
    pub created: Option<Duration>,
    /// In the page's order: one of a counter, one a bucket.
    pub exemplars: Vec<Exemplar<'p>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Value(Value),
    Histogram(Histogram),
}

/// A histogram as it is on the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Finite upper bounds, inclusive, rising.
    pub bounds: Vec<f64>,
    /// By bucket, each for itself; one more than there are bounds, the last up to infinity.
    pub counts: Vec<u64>,
    pub count: u64,
    pub sum: f64,
}

/// One of those that were counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar<'p> {
    pub labels: Labels<'p>,
    pub value: f64,
    /// Since the Unix epoch, if it is told.
    pub time: Option<Duration>,
}

/// A line that is not as the exposition writes it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the page cannot be read: {what}; this is a bug of netsonde: report it with the line")]
pub struct ParseError {
    /// Counts from 1; 0 is the page as a whole.
    pub line: usize,
    pub what: &'static str,
}

/// All families of a page, in its order.
///
/// # Errors
/// At the first line that is not understood, and if the page does not end in `# EOF`.
pub fn parse(page: &str) -> Result<Vec<Family<'_>>, ParseError> {
    let mut families: Vec<Family<'_>> = Vec::new();
    let mut lines = (1..).zip(page.split_terminator('\n'));
    for (line, text) in lines.by_ref() {
        let wrong = |what| ParseError { line, what };
        if text == "# EOF" {
            return if lines.next().is_none() { Ok(families) } else { Err(wrong("something follows the end")) };
        }
        if let Some(text) = text.strip_prefix("# ") {
            describe(&mut families, text).map_err(wrong)?;
        } else {
            let family = families.last_mut().ok_or_else(|| wrong("a sample without a family"))?;
            family.take(Line::parse(text).map_err(wrong)?).map_err(wrong)?;
        }
    }
    Err(ParseError { line: 0, what: "it does not end in `# EOF`" })
}

/// Takes a line of metadata. `TYPE` comes first, and begins a family.
fn describe<'p>(families: &mut Vec<Family<'p>>, text: &'p str) -> Result<(), &'static str> {
    let (what, name, value) = metadata(text).ok_or("neither a sample nor metadata")?;
    if what == "TYPE" {
        let kind = kind(value).ok_or("an unknown type")?;
        families.push(Family { name, kind, unit: "", help: Cow::Borrowed(""), series: Vec::new() });
        return Ok(());
    }
    let family = families.last_mut().filter(|family| family.name == name).ok_or("metadata of another family")?;
    match what {
        "UNIT" => family.unit = value,
        "HELP" => family.help = unescape(value),
        _ => return Err("unknown metadata"),
    }
    Ok(())
}

fn kind(text: &str) -> Option<MetricKind> {
    Some(match text {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "gaugehistogram" => MetricKind::GaugeHistogram,
        "info" => MetricKind::Info,
        "unknown" => MetricKind::Unknown,
        _ => return None,
    })
}

impl<'p> Family<'p> {
    /// Takes one line of samples.
    fn take(&mut self, line: Line<'p>) -> Result<(), &'static str> {
        let suffix = line.name.strip_prefix(self.name).ok_or("a sample of another family")?;
        match (self.kind, suffix) {
            (MetricKind::Counter, "_total")
            | (MetricKind::Info, "_info")
            | (MetricKind::Gauge | MetricKind::Unknown, "") => {
                let exemplars = line.exemplar.into_iter().collect();
                let data = Data::Value(line.value);
                self.series.push(Series { labels: line.labels, data, created: None, exemplars });
                Ok(())
            }
            (MetricKind::Counter | MetricKind::Histogram, "_created") => {
                self.last(line.labels)?.created = Some(line.seconds()?);
                Ok(())
            }
            (MetricKind::Histogram | MetricKind::GaugeHistogram, "_bucket") => self.bucket(line),
            (MetricKind::Histogram, "_sum") | (MetricKind::GaugeHistogram, "_gsum") => {
                self.histogram(line.labels)?.sum = line.value.as_f64();
                Ok(())
            }
            (MetricKind::Histogram, "_count") | (MetricKind::GaugeHistogram, "_gcount") => {
                let Value::U64(count) = line.value else { return Err("a count that is no whole number") };
                self.histogram(line.labels)?.count = count;
                Ok(())
            }
            _ => Err("a sample whose name does not end as its family's type wants"),
        }
    }

    /// Takes a bucket, which counts those below it too, and begins a new series if it is the first.
    fn bucket(&mut self, line: Line<'p>) -> Result<(), &'static str> {
        let (labels, bound) = line.labels.split_bound().ok_or("a bucket without `le` as its last label")?;
        let Value::U64(sum) = line.value else { return Err("a bucket that is no whole number") };
        let bound: f64 = bound.parse().map_err(|_| "a bound that is no number")?;
        // The last bucket of all is the one up to infinity: what follows it is the next series.
        let is_open = |series: &Series<'_>| match &series.data {
            Data::Histogram(histogram) => series.labels == labels && histogram.counts.len() == histogram.bounds.len(),
            Data::Value(_) => false,
        };
        if !self.series.last().is_some_and(is_open) {
            let data = Data::Histogram(Histogram::default());
            self.series.push(Series { labels, data, created: None, exemplars: Vec::new() });
        }
        let Some(Series { data: Data::Histogram(histogram), exemplars, .. }) = self.series.last_mut() else {
            return Err("a bucket among values");
        };
        // `count` is that of the buckets so far, until the line that says it.
        let count = sum.checked_sub(histogram.count).ok_or("a bucket with fewer than the one before")?;
        histogram.count = sum;
        histogram.counts.push(count);
        if bound.is_finite() {
            if histogram.bounds.last().is_some_and(|last| *last >= bound) {
                return Err("bounds that do not rise");
            }
            histogram.bounds.push(bound);
        }
        exemplars.extend(line.exemplar);
        Ok(())
    }

    /// The series of the line before, which this one belongs to.
    fn last(&mut self, labels: Labels<'p>) -> Result<&mut Series<'p>, &'static str> {
        self.series.last_mut().filter(|series| series.labels == labels).ok_or("a line of another series than the last")
    }

    fn histogram(&mut self, labels: Labels<'p>) -> Result<&mut Histogram, &'static str> {
        match &mut self.last(labels)?.data {
            Data::Histogram(histogram) => Ok(histogram),
            Data::Value(_) => Err("a histogram's line among values"),
        }
    }
}
