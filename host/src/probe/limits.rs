//! What a guest may use: memory, time, lines in the log. Checked from outside, so no guest can miss it.

use netsonde_core::config;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};
use wasmtime::ResourceLimiter;

/// Functions that the tables of one probe may name.
const TABLE_ELEMENTS: usize = 100_000;

/// Lines and bytes of log that one call may write.
const LOG_LINES: u32 = 16;
const LOG_LINE_BYTES: usize = 4096;

/// The limits of one probe, from its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory.
    pub memory: usize,
    /// CPU time of one call.
    pub cpu: Duration,
    /// Wall time of one call: on a busy node a guest may wait for a core without being at fault.
    pub wall: Duration,
}

impl From<&config::Limits> for Limits {
    fn from(limits: &config::Limits) -> Self {
        Self { memory: limits.memory as usize, cpu: limits.deadline, wall: limits.wall }
    }
}

/// What one store is held to, and what it has used.
pub struct Budget {
    probe: String,
    limits: Limits,
    memory: usize,
    call: Option<Began>,
    log_lines: u32,
    log_dropped: u64,
    last_error: Option<String>,
}

struct Began {
    wall: Instant,
    cpu: Duration,
}

impl Budget {
    pub fn new(probe: &str, limits: Limits) -> Self {
        Self { probe: probe.to_owned(), limits, memory: 0, call: None, log_lines: 0, log_dropped: 0, last_error: None }
    }

    /// A call begins: its time runs from here, on this thread.
    pub fn begin(&mut self) {
        self.call = Some(Began { wall: Instant::now(), cpu: thread_cpu() });
        self.log_lines = 0;
        self.last_error = None;
    }

    /// The call is over. Gives what it took: CPU and wall time.
    pub fn end(&mut self) -> (Duration, Duration) {
        let Some(began) = self.call.take() else { return (Duration::ZERO, Duration::ZERO) };
        (thread_cpu().saturating_sub(began.cpu), began.wall.elapsed())
    }

    /// Called by each tick of the clock while the guest runs.
    ///
    /// # Errors
    /// When the call's time is up: the guest is stopped by it.
    pub fn on_tick(&self) -> Result<(), OutOfTime> {
        let Some(began) = &self.call else { return Ok(()) };
        let cpu = thread_cpu().saturating_sub(began.cpu);
        if cpu >= self.limits.cpu {
            return Err(OutOfTime { used: cpu, of: "CPU time", limit: self.limits.cpu, key: "deadline" });
        }
        let wall = began.wall.elapsed();
        if wall >= self.limits.wall {
            return Err(OutOfTime { used: wall, of: "wall time", limit: self.limits.wall, key: "wall" });
        }
        Ok(())
    }

    /// Bytes of linear memory that the guest has now.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Takes a line for the log. A panic's message comes this way: the last error is remembered for the trap that follows.
    pub fn log(&mut self, level: tracing::Level, text: &str) {
        if self.log_lines >= LOG_LINES {
            self.log_dropped += 1;
            return;
        }
        self.log_lines += 1;
        let text = cut(text, LOG_LINE_BYTES).escape_debug().to_string();
        let probe = self.probe.as_str();
        match level {
            tracing::Level::ERROR => {
                tracing::error!(probe, "{text}");
                self.last_error = Some(text);
            }
            tracing::Level::WARN => tracing::warn!(probe, "{text}"),
            tracing::Level::INFO => tracing::info!(probe, "{text}"),
            _ => tracing::debug!(probe, "{text}"),
        }
    }

    /// Lines that were dropped since the last time this was asked.
    pub fn take_log_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.log_dropped)
    }

    /// What the guest said last before it fell.
    pub fn take_last_error(&mut self) -> Option<String> {
        self.last_error.take()
    }
}

/// A call took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("stopped after {used:.1?} of {of}; the limit is {limit:?} (`limits: {{ {key}: ... }}`)")]
pub struct OutOfTime {
    used: Duration,
    of: &'static str,
    limit: Duration,
    key: &'static str,
}

/// A guest wanted more memory than it may have.
#[derive(Debug, thiserror::Error)]
#[error("wanted {wanted} bytes of memory; the limit is {limit} (`limits: {{ memory: ... }}`)")]
struct OutOfMemory {
    wanted: usize,
    limit: usize,
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.memory.saturating_add(desired.saturating_sub(current));
        if wanted > self.limits.memory {
            return Err(OutOfMemory { wanted, limit: self.limits.memory }.into());
        }
        self.memory = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The beginning of `text`, at most `bytes` long, cut at a character.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory: 100, cpu: Duration::ZERO, wall: Duration::from_secs(1) };

    #[test]
    fn rule_32_the_deadline_is_of_cpu_time() {
        let mut budget = Budget::new("p", LIMITS);
        assert!(budget.on_tick().is_ok(), "no call, no deadline");
        budget.begin();
        let error = budget.on_tick().unwrap_err().to_string();
        assert!(error.contains("CPU time") && error.contains("deadline"), "{error}");
    }

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut budget = Budget::new("p", LIMITS);
        assert!(budget.memory_growing(0, 60, None).unwrap());
        assert!(budget.memory_growing(0, 60, None).is_err());
        assert_eq!(budget.memory(), 60);
    }

    #[test]
    fn log_lines_beyond_the_limit_are_counted() {
        let mut budget = Budget::new("p", LIMITS);
        budget.begin();
        for _ in 0..20 {
            budget.log(tracing::Level::DEBUG, "x");
        }
        assert_eq!(budget.take_log_dropped(), 4);
        assert_eq!(cut("aé", 2), "a");
    }
}
