//! How many events a probe may make.

use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// A token bucket: so many a second, and at once at most what one second gives.
#[derive(Clone, Debug)]
pub struct Rate {
    per_second: u64,
    /// Tokens, in billionths: what one nanosecond gives is `per_second` of them.
    left: u64,
    last: Duration,
}

impl Rate {
    /// Full at the beginning, at the monotonic time `now`. More than 18 billion a second are so many.
    pub fn new(per_second: u64, now: Duration) -> Self {
        let per_second = per_second.min(u64::MAX / SECOND);
        Self { per_second, left: per_second * SECOND, last: now }
    }

    /// How many of `wanted` may pass now. A clock that goes back gives nothing.
    pub fn take(&mut self, wanted: u64, now: Duration) -> u64 {
        let passed = u64::try_from(now.saturating_sub(self.last).as_nanos()).unwrap_or(u64::MAX);
        self.last = self.last.max(now);
        let full = self.per_second * SECOND;
        self.left = self.left.saturating_add(passed.saturating_mul(self.per_second)).min(full);
        let granted = wanted.min(self.left / SECOND);
        self.left -= granted * SECOND;
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gives_what_it_should_and_no_more_is_kept() {
        let mut rate = Rate::new(1000, Duration::from_secs(5));
        for (millis, wanted, granted) in [
            (5000, 400, 400),
            (5000, 1000, 600),
            (5000, 1, 0),
            (5001, 5, 1),
            (5100, 1000, 99),
            (5050, 10, 0),
            (5100, 10, 0),
            (99_000, 5000, 1000),
            (99_500, u64::MAX, 500),
        ] {
            assert_eq!(rate.take(wanted, Duration::from_millis(millis)), granted, "{wanted} at {millis} ms");
        }
    }

    #[test]
    fn fractions_are_not_lost_and_nothing_overflows() {
        let mut slow = Rate::new(1, Duration::ZERO);
        let granted: u64 = (0..=10_000).map(|millis| slow.take(1, Duration::from_millis(millis))).sum();
        assert_eq!(granted, 11, "one at once and ten in ten seconds");
        let mut fast = Rate::new(u64::MAX, Duration::ZERO);
        assert!(fast.take(u64::MAX, Duration::MAX) > 18_000_000_000);
        assert_eq!(Rate::new(0, Duration::ZERO).take(1, Duration::MAX), 0);
    }
}
