//! When a runtime is asked again.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};
use tokio::time::Instant;

/// After somebody appeared whom nobody knows: a sandbox is listed only when it is complete, which takes a while.
const BURST: [u64; 5] = [0, 100, 300, 700, 1500];
/// After something happened; more may happen at once.
const SOON: Duration = Duration::from_millis(50);
/// Even if nothing happened, or nobody told.
const UNTOLD: Duration = Duration::from_secs(10);
const TOLD: Duration = Duration::from_secs(60);
/// Between two listings, at least: so that a busy node spends no more than a fifth of its time on them.
const REST: u32 = 4;
const LONGEST_REST: Duration = Duration::from_millis(500);

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// The listings to come.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Vec<Instant>,
    untold: Instant,
    not_before: Instant,
}

impl Schedule {
    /// The first one is due now.
    pub fn new(now: Instant) -> Self {
        Self { due: vec![now], untold: now, not_before: now }
    }

    pub fn next(&self) -> Instant {
        self.due.iter().fold(self.untold, |first, due| first.min(*due)).max(self.not_before)
    }

    /// Somebody appeared whom nobody knows.
    pub fn burst(&mut self, now: Instant) {
        BURST.iter().for_each(|millis| self.at(now + Duration::from_millis(*millis)));
    }

    /// Something happened.
    pub fn soon(&mut self, now: Instant) {
        self.at(now + SOON);
    }

    /// One that is due shortly before that is as good.
    pub fn at(&mut self, when: Instant) {
        if !self.due.iter().any(|due| *due <= when && when - *due < SOON) {
            self.due.push(when);
        }
    }

    /// What was due when the listing began is done.
    pub fn listed(&mut self, began: Instant, ended: Instant, follows: bool) {
        self.due.retain(|due| *due > began);
        self.untold = ended + if follows { TOLD } else { UNTOLD };
        self.not_before = ended + ((ended - began) * REST).clamp(SOON, LONGEST_REST);
    }
}

/// How long to wait after failures: twice as long each time, and never all agents of a cluster at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub fn failed(&mut self) -> Duration {
        let delay = FIRST_DELAY.saturating_mul(1 << self.failures.min(16)).min(LONGEST_DELAY);
        self.failures += 1;
        // The hasher's keys are random.
        let random = RandomState::new().build_hasher().finish() % 1024;
        delay / 2 + delay * u32::try_from(random).unwrap_or(0) / 2048
    }

    pub fn went_well(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Listings that take `takes` each, from `start` on, until `end`: when they begin, in milliseconds.
    fn begins(schedule: &mut Schedule, start: Instant, takes: u64, end: u64) -> Vec<u128> {
        let mut begins = Vec::new();
        loop {
            let next = schedule.next();
            if next > start + Duration::from_millis(end) {
                return begins;
            }
            begins.push((next - start).as_millis());
            schedule.listed(next, next + Duration::from_millis(takes), false);
        }
    }

    #[test]
    fn after_somebody_unknown_it_is_asked_at_once_and_for_a_while() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.listed(start, start, false);
        schedule.burst(start + Duration::from_secs(1));
        schedule.burst(start + Duration::from_millis(1001));
        assert_eq!(begins(&mut schedule, start, 1, 9000), [1000, 1100, 1300, 1700, 2500]);
    }

    #[test]
    fn without_news_it_is_asked_all_the_same_and_more_seldom_if_it_tells() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        assert_eq!(begins(&mut schedule, start, 0, 35_000), [0, 10_000, 20_000, 30_000]);
        schedule.listed(start, start, true);
        assert_eq!(schedule.next(), start + TOLD);
    }

    #[test]
    fn however_much_happens_a_fifth_of_the_time_is_enough() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for millis in 0..2000 {
            schedule.soon(start + Duration::from_millis(millis));
            schedule.burst(start + Duration::from_millis(millis));
        }
        assert!(schedule.due.len() < 100, "{}", schedule.due.len());
        let fast = begins(&mut schedule, start, 1, 2000).len();
        assert!(fast <= 40, "{fast}");
        let mut schedule = Schedule::new(start);
        (0..2000).for_each(|millis| schedule.soon(start + Duration::from_millis(millis)));
        assert_eq!(begins(&mut schedule, start, 100, 1900), [0, 500, 1000, 1500]);
    }

    #[test]
    fn the_delay_doubles_up_to_fifteen_seconds_with_jitter() {
        let mut backoff = Backoff::default();
        for millis in [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000] {
            let delay = backoff.failed().as_millis();
            assert!(delay * 2 >= millis && delay <= millis, "{delay} of {millis}");
        }
        backoff.went_well();
        assert!(backoff.failed() <= FIRST_DELAY);
        let delays: std::collections::HashSet<Duration> = (0..50)
            .map(|_| {
                let mut backoff = Backoff { failures: 9 };
                backoff.failed()
            })
            .collect();
        assert!(delays.len() > 10, "{delays:?}");
    }
}
