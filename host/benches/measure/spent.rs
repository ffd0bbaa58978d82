//! What work takes: on the clock, and of the CPUs.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub wall: Duration,
    /// Of all threads of this process, and of the children that ended meanwhile.
    pub cpu: Duration,
}

impl Spent {
    pub fn by(run: impl FnOnce()) -> Self {
        let (began, cpu) = (Instant::now(), cpu());
        run();
        Self { wall: began.elapsed(), cpu: self::cpu().saturating_sub(cpu) }
    }

    /// The medians of both.
    pub fn median(each: &[Self]) -> Self {
        let median = |of: fn(&Self) -> Duration| {
            let mut each: Vec<Duration> = each.iter().map(of).collect();
            each.sort();
            each.get(each.len() / 2).copied().unwrap_or_default()
        };
        Self { wall: median(|spent| spent.wall), cpu: median(|spent| spent.cpu) }
    }
}

fn cpu() -> Duration {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    // SAFETY: numbers only, for which zeros are values.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: it writes one `rusage`.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) }, 0);
    let micros = |time: libc::timeval| Duration::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64);
    Duration::new(own.tv_sec as u64, own.tv_nsec as u32) + micros(usage.ru_utime) + micros(usage.ru_stime)
}
