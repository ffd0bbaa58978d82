//! How long a dead scope's counters stay: long enough that every scraper has seen their last value.

use std::{collections::VecDeque, time::Duration};

/// Rule 7: the least and the most, and how far back scrapes count.
const LEAST: Duration = Duration::from_secs(5 * 60);
const MOST: Duration = Duration::from_secs(10 * 60);
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// Gaps that are remembered: one a second fills the window.
const MAX_GAPS: usize = 900;

/// The gaps between scrapes of the last 15 minutes.
#[derive(Debug, Default)]
pub struct Retention {
    last: Option<Duration>,
    gaps: VecDeque<(Duration, Duration)>,
}

impl Retention {
    /// A scrape came at `now`, on the host's monotonic clock. Several scrapers at once look like one with short gaps.
    pub fn scraped(&mut self, now: Duration) {
        if let Some(last) = self.last {
            let gap = now.saturating_sub(last);
            if gap < Duration::from_secs(1) {
                return;
            }
            self.gaps.push_back((now, gap));
            if self.gaps.len() > MAX_GAPS {
                self.gaps.pop_front();
            }
        }
        self.last = Some(now);
    }

    /// How long after its end a scope's counters go.
    pub fn keep(&mut self, now: Duration) -> Duration {
        while self.gaps.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW) {
            self.gaps.pop_front();
        }
        let longest = self.gaps.iter().map(|(_, gap)| *gap).max().unwrap_or_default();
        (longest * 2).clamp(LEAST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep_after(scrapes: &[u64], now: u64) -> u64 {
        let mut retention = Retention::default();
        for &at in scrapes {
            retention.scraped(Duration::from_secs(at));
        }
        retention.keep(Duration::from_secs(now)).as_secs()
    }

    #[test]
    fn rule_7_five_minutes_or_twice_the_longest_interval_up_to_ten_minutes() {
        assert_eq!(keep_after(&[], 0), 300, "nobody scrapes");
        assert_eq!(keep_after(&[0, 15, 30], 31), 300, "often");
        assert_eq!(keep_after(&[0, 200, 400], 401), 400, "each 200 s");
        assert_eq!(keep_after(&[0, 800], 801), 600, "rarely: ten minutes at most");
        assert_eq!(keep_after(&[0, 200, 215, 230], 1200), 300, "the long interval is more than 15 minutes ago");
    }

    #[test]
    fn two_scrapers_at_the_same_moment_leave_no_gap() {
        assert_eq!(keep_after(&[0, 200, 200, 400, 400], 401), 400);
    }
}
