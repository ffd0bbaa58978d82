//! When a delivery that failed is tried again: after half a second, then twice as long each time, never in step with others.

use super::Retry;
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// What the other side asks for is honoured up to this.
const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure; `chance` is any number. Up to a quarter less or more, but never less than was asked for.
    pub fn failed(&mut self, retry: Retry, chance: u64) -> Duration {
        let delay = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        let percent = 75 + (chance % 51) as u32;
        let delay = delay * percent / 100;
        match retry {
            Retry::After(asked) => delay.max(asked.min(LONGEST_ASKED)),
            Retry::Later | Retry::Never => delay,
        }
    }

    pub fn went_well(&mut self) {
        self.failures = 0;
    }
}

/// Any number: the standard library seeds its hash maps with the kernel's random bytes, and another seed each.
pub fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_half_a_minute_and_a_success_resets_it() {
        let mut backoff = Backoff::default();
        let mut next = |chance| backoff.failed(Retry::Later, chance).as_millis();
        let delays: Vec<u128> = (0..8).map(|_| next(25)).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!((next(0), next(50)), (22_500, 37_500), "a quarter less, a quarter more");
        backoff.went_well();
        assert_eq!(backoff.failed(Retry::Later, 25).as_millis(), 500);
    }

    #[test]
    fn what_the_other_side_asks_for_is_honoured_within_reason() {
        for (asked, want) in [(0, 0), (7, 7), (600, 600), (1_000_000, 15 * 60)] {
            let delay = Backoff::default().failed(Retry::After(Duration::from_secs(asked)), 25);
            assert_eq!(delay, Duration::from_secs(want).max(FIRST), "{asked} s");
        }
    }

    #[test]
    fn chance_differs() {
        assert_ne!(chance(), chance());
    }
}
