//! What the agent costs this machine, under the names that every Prometheus client uses.

use netsonde_core::{
    metric::exposition::Page,
    probe::MetricKind::{Counter, Gauge},
};
use rustix::{
    param::page_size,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};
use std::{fs, sync::LazyLock, time::SystemTime};

/// When this process began to count: within milliseconds of its start.
static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// To be called once when the agent starts.
pub fn started() {
    LazyLock::force(&STARTED);
}

/// Writes the `process_*` families. What cannot be read is left out.
pub fn write(page: &mut Page<'_>) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    page.family("process_cpu_seconds", Counter, "seconds", "CPU time of the agent, user and system")
        .sample(&[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    if let Some((virtual_bytes, resident_bytes)) = memory() {
        page.family("process_virtual_memory_bytes", Gauge, "bytes", "Address space of the agent")
            .sample(&[], virtual_bytes);
        page.family("process_resident_memory_bytes", Gauge, "bytes", "Memory of the agent").sample(&[], resident_bytes);
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // One of them is this folder.
        let open = descriptors.count().saturating_sub(1) as u64;
        page.family("process_open_fds", Gauge, "", "Descriptors that the agent has open").sample(&[], open);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        page.family("process_max_fds", Gauge, "", "Descriptors that the agent may have open").sample(&[], limit);
    }
    if let Ok(since) = STARTED.duration_since(SystemTime::UNIX_EPOCH) {
        page.family("process_start_time_seconds", Gauge, "seconds", "When the agent started, since the Unix epoch")
            .sample(&[], since.as_secs_f64());
    }
}

/// Address space and resident memory in bytes, from /proc/self/statm (pages; Documentation/filesystems/proc.rst).
fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let page_size = page_size() as u64;
    Some((pages.next()?? * page_size, pages.next()?? * page_size))
}
