//! Buckets that were counted elsewhere, on their way into a histogram.

use super::{Label, Output};
use crate::{
    Result,
    call::Rows,
    types::{self, Column},
};

/// The last bucket of `histogram(x)`: x has 64 bits.
const LAST: u64 = 64;

/// Buckets of one metric; [`histogram`](Self::histogram) or [`counts`](Self::counts) completes them.
///
/// A query with `histogram(x)` has the columns `bucket`, `count` and `sum`: bucket k holds what is above 2^(k-1) and not above 2^k, bucket 0
/// all up to 1. What an x of 1 is in the metric's unit says which bound that is:
///
/// ```
/// # use netsonde_sdk::prelude::*;
/// # struct Probe_ { rtt: Query, seconds: Metric<GaugeHistogram> }
/// /// What an x of 1 is, in seconds.
/// const ONE: f64 = 1.0 / (1 << 20) as f64;
///
/// # impl Probe for Probe_ {
/// # type Settings = NoSettings;
/// # fn new(_: NoSettings, plan: &mut Plan) -> Result<Self> {
/// // Microseconds × 2^20 / 10^6, rounded up.
/// let rtt = plan.query("rtt", "SELECT netns, histogram((x * 16384 + 15624) / 15625) FROM iter.y GROUP BY netns");
/// let seconds = plan.gauge_histogram("rtt", "Round-trip times").unit("seconds").from(&[rtt]).each_scope();
/// # Ok(Self { rtt, seconds })
/// # }
/// # fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
/// # let Some(rows) = call.rows(self.rtt) else { return Ok(()) };
/// out.buckets(&self.seconds).scopes(rows.column("netns")?).histogram(&rows, ONE)?;
/// # Ok(())
/// # }
/// # }
/// ```
///
/// Bounds should be powers of two of the *metric's* unit: then they are the same in every probe, and agree with Prometheus' native
/// histograms. The kernel has microseconds where a metric has seconds, and 2^k microseconds are no power of two of a second. So let the query
/// count in the smallest bound, 2^-20 seconds: microseconds × 16384 / 15625, nanoseconds × 2048 / 1953125, milliseconds × 131072 / 125. Add
/// one less than the divisor before dividing, so that what is a little above a bound does not fall below it.
///
/// Where that is not possible, the query counts in its own unit and the metric takes its bounds from there, with
/// [`base2`](crate::plan::MetricBuilder::base2): `.base2(1e-6, 4..=24)` and `.histogram(&rows, 1e-6)`. Such buckets are exact too, but
/// cannot be added to those of others.
#[must_use = "buckets are part of the output only after `histogram` or `counts`"]
pub struct Buckets<'a> {
    out: &'a mut Output,
    metric: u32,
    scopes: Option<Column>,
    labels: Vec<Label>,
}

impl<'a> Buckets<'a> {
    pub(super) fn new(out: &'a mut Output, metric: u32) -> Self {
        Self { out, metric, scopes: None, labels: Vec::new() }
    }

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

    /// The rows of a query with `histogram(x)`, where an x of 1 is `one` in the metric's unit.
    ///
    /// # Errors
    /// If a bound of the metric lies within one of the query's buckets, whether there are rows of it or not: nobody could say how many of
    /// them are below it. If a row has no bucket.
    pub fn histogram(self, rows: &Rows<'_>, one: f64) -> Result<()> {
        let metric = &self.out.metrics[self.metric as usize];
        let places = (0..=LAST)
            .map(|bucket| place(&metric.bounds, one, bucket as i32))
            .collect::<Result<Vec<u32>>>()
            .map_err(|why| format!("the buckets of `{}`: {why}", metric.name))?;
        let (bucket, count, sum) = (rows.column("bucket")?, rows.column("count")?, rows.column("sum")?);
        let place = |row| {
            let place = bucket.u64(row).and_then(|bucket| places.get(bucket as usize));
            place.copied().ok_or_else(|| format!("row {row} of a histogram has no bucket from 0 to {LAST}"))
        };
        let bounds = (0..rows.len()).map(place).collect::<Result<_>>()?;
        let counts = (0..rows.len()).map(|row| count.u64(row).unwrap_or(0)).collect();
        let sums = (0..rows.len()).map(|row| sum.f64(row).unwrap_or(0.0) * one).collect();
        self.counts(bounds, counts, sums);
        Ok(())
    }

    /// Row by row: the index of a bound of the metric (one past the last is infinity), how many there were in that bucket, and what they sum
    /// up to in the metric's unit. Rows of one series and bucket add up.
    pub fn counts(self, bounds: Vec<u32>, counts: Vec<u64>, sums: Vec<f64>) {
        self.out.buckets.push(types::Buckets {
            metric: self.metric,
            scopes: self.scopes,
            labels: Label::into_columns(self.labels, counts.len()),
            bounds,
            counts,
            sums,
            extras: Vec::new(),
        });
    }
}

/// Which of the metric's buckets takes in all of a bucket of the query.
fn place(bounds: &[f64], one: f64, bucket: i32) -> Result<u32> {
    let upper = one * 2f64.powi(bucket);
    let lower = if bucket == 0 { f64::NEG_INFINITY } else { upper / 2.0 };
    let place = bounds.partition_point(|&bound| bound < upper);
    match bounds[..place].last() {
        Some(&bound) if bound > lower => {
            Err(format!("the bound {bound} lies within what was counted as up to {upper}; bounds must be {one} × 2^k"))
        }
        _ => Ok(place as u32),
    }
}

#[cfg(test)]
mod tests;
