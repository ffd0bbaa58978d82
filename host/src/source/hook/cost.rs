//! What a program may cost: over its share of a core it is detached, and tried again after a while that grows.

use std::time::{Duration, Instant};

/// The share is looked at over so long: a burst is no reason to go blind.
const WINDOW: Duration = Duration::from_secs(10);

/// A program that was detached is tried again after this long, then after twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A program's cost over time.
#[derive(Debug)]
pub(super) struct Cost {
    /// When the window began, and what the program had cost by then.
    began: Instant,
    spent: Duration,
    runs: u64,
    pause: Duration,
    detached: Option<(String, Instant)>,
}

impl Cost {
    pub fn new(now: Instant) -> Self {
        Self { began: now, spent: Duration::ZERO, runs: 0, pause: FIRST_PAUSE, detached: None }
    }

    /// Why the program must not run now.
    pub fn why(&self) -> Option<&str> {
        self.detached.as_ref().map(|(why, _)| why.as_str())
    }

    /// Takes what the program has done and cost in all. `share` of a core is allowed.
    pub fn look(&mut self, runs: u64, spent: Duration, share: f64, now: Instant) {
        if let Some((_, until)) = self.detached {
            if now < until {
                return;
            }
            self.detached = None;
            (self.began, self.spent, self.runs) = (now, spent, runs);
            return;
        }
        let window = now.saturating_duration_since(self.began);
        if window < WINDOW {
            return;
        }
        let used = spent.saturating_sub(self.spent).as_secs_f64() / window.as_secs_f64();
        if used > share {
            let why = format!(
                "its program took {:.1} % of a core over {:.0} s, in {:.0} runs a second; {} % are allowed (`hooks: {{ cpu: ... }}`): it is \
                 detached for {} s",
                used * 100.0,
                window.as_secs_f64(),
                (runs - self.runs) as f64 / window.as_secs_f64(),
                // The setting has two decimals.
                (share * 10_000.0).round() / 100.0,
                self.pause.as_secs()
            );
            self.detached = Some((why, now + self.pause));
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        (self.began, self.spent, self.runs) = (now, spent, runs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        cost: Cost,
        start: Instant,
        spent: Duration,
    }

    impl Case {
        fn new() -> Self {
            let start = Instant::now();
            Self { cost: Cost::new(start), start, spent: Duration::ZERO }
        }

        /// At so many seconds the program has cost so many milliseconds more; gives whether it may run.
        fn at(&mut self, seconds: u64, more: u64) -> bool {
            self.spent += Duration::from_millis(more);
            self.cost.look(1000 * seconds, self.spent, 0.01, self.start + Duration::from_secs(seconds));
            self.cost.why().is_none()
        }
    }

    #[test]
    fn a_program_over_its_share_is_detached_and_tried_again_later() {
        let mut case = Case::new();
        assert!(case.at(10, 90), "0.9 % of a core");
        assert!(!case.at(20, 110), "1.1 %");
        let why = case.cost.why().unwrap();
        assert!(why.contains("1.1 % of a core") && why.contains("; 1 % are allowed"), "{why}");
        assert!(!case.at(79, 0));
        assert!(case.at(80, 0), "after a minute");
        assert!(!case.at(90, 200));
        assert!(!case.at(209, 0));
        assert!(case.at(210, 0), "after two");
    }

    #[test]
    fn a_burst_is_seen_over_the_window() {
        let mut case = Case::new();
        assert!(case.at(1, 50), "too early to say");
        assert!(case.at(10, 0), "0.5 % over ten seconds");
    }
}
