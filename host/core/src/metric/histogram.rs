//! Histograms: counts by bucket, and the bounds between them.

use std::sync::Arc;

/// Counts of observations by bucket, and their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    pub bounds: Arc<Bounds>,
    /// By bucket, each for itself; one more than there are bounds, the last up to infinity.
    pub counts: Box<[u64]>,
    pub sum: f64,
}

impl Histogram {
    pub fn new(bounds: Arc<Bounds>) -> Self {
        let counts = vec![0; bounds.values().len() + 1].into();
        Self { bounds, counts, sum: 0.0 }
    }

    /// Counts one value. NaN is in no bucket and changes nothing.
    pub fn observe(&mut self, value: f64) {
        if !value.is_nan() {
            // Upper bounds are inclusive: the first that is not below the value.
            let bucket = self.bounds.values().partition_point(|&bound| bound < value);
            self.add(bucket, 1, value);
        }
    }

    /// Adds `count` observations to `bucket`, which together make `sum`. Counts saturate, sums stay finite, an unknown bucket is the last.
    pub fn add(&mut self, bucket: usize, count: u64, sum: f64) {
        let last = self.counts.len() - 1;
        let slot = &mut self.counts[bucket.min(last)];
        *slot = slot.saturating_add(count);
        self.sum = (self.sum + sum).clamp(f64::MIN, f64::MAX);
    }

    /// Adds what another one of the same bounds has.
    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum = (self.sum + other.sum).clamp(f64::MIN, f64::MAX);
    }

    /// Back to nothing observed.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.sum = 0.0;
    }
}

/// Finite upper bounds, inclusive, rising, and how the page writes them.
#[derive(Debug, PartialEq)]
pub struct Bounds {
    values: Box<[f64]>,
    texts: Box<[String]>,
}

impl Bounds {
    pub fn new(values: &[f64]) -> Self {
        Self { values: values.into(), texts: values.iter().map(|&bound| canonical(bound)).collect() }
    }

    /// Rule 14: powers of two of the unit, so that they agree with native histograms of schema 0. Seconds from a microsecond to a minute,
    /// bytes from 64 to a gibibyte, anything else up to a million.
    pub fn of_unit(unit: &str) -> Self {
        let exponents = match unit {
            "seconds" => -20..=6,
            "bytes" => 6..=30,
            _ => 0..=20,
        };
        Self::new(&exponents.map(|exponent| 2f64.powi(exponent)).collect::<Vec<_>>())
    }

    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The value of the label `le` for each bound.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

/// A finite number as OpenMetrics wants it in `le` (its "Canonical Numbers"): the shortest digits that give the same `f64`, in Go's `%g`,
/// with `.0` where it would look like an integer. Prometheus 3 writes bounds like this too, so that a bound is one series in every format.
fn canonical(bound: f64) -> String {
    let scientific = format!("{bound:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if bound != 0.0 && !(-4..=5).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{bound}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_14_bounds_are_powers_of_two_and_inclusive() {
        let mut histogram = Histogram::new(Arc::new(Bounds::new(&[1.0, 2.0, 4.0])));
        for value in [-1.0, 1.0, 1.5, 2.0, 4.0, 4.1, f64::NAN] {
            histogram.observe(value);
        }
        assert_eq!(*histogram.counts, [2, 2, 1, 1]);
        assert_eq!(histogram.sum, 11.6);
        for unit in ["seconds", "bytes", "", "packets"] {
            for pair in Bounds::of_unit(unit).values().windows(2) {
                assert_eq!(pair[1], pair[0] * 2.0, "{unit}");
            }
        }
        assert!(Bounds::of_unit("seconds").values().contains(&1.0));
    }

    #[test]
    fn sums_and_counts_stay_finite() {
        let mut histogram = Histogram::new(Arc::new(Bounds::new(&[1.0])));
        histogram.add(9, u64::MAX, f64::MAX);
        histogram.add(1, 1, f64::MAX);
        assert_eq!((*histogram.counts).to_vec(), [0, u64::MAX]);
        assert_eq!(histogram.sum, f64::MAX);
    }

    /// The right side is what Go's `strconv.FormatFloat(x, 'g', -1, 64)` gives, with `.0` for integers.
    #[test]
    fn bounds_are_written_as_openmetrics_wants_them() {
        for (bound, want) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.25, "0.25"),
            (-2.0, "-2.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (2f64.powi(-20), "9.5367431640625e-07"),
            (524288.0, "524288.0"),
            (1e6, "1e+06"),
            (2f64.powi(30), "1.073741824e+09"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(canonical(bound), want);
        }
    }
}
