//! When metrics are pushed.

use std::time::Duration;

/// Every `interval`, `phase` after its multiples since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// At least a second.
    pub interval: Duration,
    pub phase: Duration,
}

impl Rhythm {
    /// At the multiples themselves, as a system that keeps one value for each step wants it.
    pub fn aligned(interval: Duration) -> Self {
        Self { interval, phase: Duration::ZERO }
    }

    /// A phase of `name`'s own, so that not all nodes of a cluster push at once, and each at an even pace.
    pub fn spread(interval: Duration, name: &str) -> Self {
        // FNV-1a, and then SplitMix64's last steps: names of nodes differ at their ends, and only the lowest bits by that.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let hash = hash ^ (hash >> 31);
        let part = (hash >> 11) as f64 / (1u64 << 53) as f64;
        Self { interval, phase: interval.mul_f64(part) }
    }

    /// The next moment after `now`, and after the `last` one: a clock that runs a little behind may still stand before that. Both are since
    /// the Unix epoch.
    pub fn next(self, now: Duration, last: Option<Duration>) -> Duration {
        let last = last.filter(|last| *last >= now && *last - now < self.interval);
        let after = last.unwrap_or(now);
        let interval = self.interval.max(Duration::from_secs(1)).as_nanos();
        let phase = self.phase.as_nanos() % interval;
        let since = (after.as_nanos() + interval - phase) % interval;
        let left = interval - since;
        after + Duration::new((left / 1_000_000_000) as u64, (left % 1_000_000_000) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn moments_are_on_the_grid_and_none_comes_twice() {
        let minute = Rhythm::aligned(ms(60_000));
        let late = Rhythm { interval: ms(15_000), phase: ms(4_000) };
        for (rhythm, now, last, want) in [
            (minute, 0, None, 60_000),
            (minute, 119_999, None, 120_000),
            (minute, 120_000, None, 180_000),
            // The clock is a little behind: that moment was.
            (minute, 119_990, Some(120_000), 180_000),
            (minute, 120_300, Some(120_000), 180_000),
            // A push took too long: what was missed is not made up for.
            (minute, 250_000, Some(120_000), 300_000),
            // The clock was put back by hours: it is not waited for.
            (minute, 5_000, Some(7_200_000), 60_000),
            (late, 0, None, 4_000),
            (late, 4_000, None, 19_000),
            (late, 18_999, Some(4_000), 19_000),
        ] {
            assert_eq!(rhythm.next(ms(now), last.map(ms)), ms(want), "{rhythm:?} {now} {last:?}");
        }
    }

    #[test]
    fn nodes_have_phases_of_their_own() {
        let phases: Vec<Duration> =
            (0..100).map(|node| Rhythm::spread(ms(10_000), &format!("worker-{node}")).phase).collect();
        for tenth in 0..10 {
            let within = |phase: &&Duration| phase.as_secs() == tenth;
            assert!(phases.iter().filter(within).count() >= 2, "{phases:?}");
        }
    }
}
