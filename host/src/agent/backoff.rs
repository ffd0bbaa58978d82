//! When a probe that fell is started again: after one second, then twice as long each time.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Calls in a row that must go well before a fall counts as the first one again.
const HEALTHY_CALLS: u32 = 8;

#[derive(Debug, Default)]
pub struct Backoff {
    falls: u32,
    good_calls: u32,
}

impl Backoff {
    /// It fell at `now`. Gives the moment of the next try.
    pub fn fell(&mut self, now: Instant) -> Instant {
        let delay = FIRST.saturating_mul(1 << self.falls.min(16)).min(LONGEST);
        self.falls += 1;
        self.good_calls = 0;
        now + delay
    }

    /// A call went well.
    pub fn went_well(&mut self) {
        self.good_calls = self.good_calls.saturating_add(1);
        if self.good_calls >= HEALTHY_CALLS {
            self.falls = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_five_minutes_and_health_resets_it() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let delays: Vec<u64> = (0..10).map(|_| (backoff.fell(now) - now).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        backoff.went_well();
        assert_eq!((backoff.fell(now) - now).as_secs(), 300, "one good call is not health");
        for _ in 0..HEALTHY_CALLS {
            backoff.went_well();
        }
        assert_eq!((backoff.fell(now) - now).as_secs(), 1);
    }
}
