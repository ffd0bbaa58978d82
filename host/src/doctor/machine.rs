//! The clock, CPUs, memory and limits of this process.

mod memory;

use super::{Check, kernel};
use rustix::process::{Resource, getrlimit};
use std::{fs, path::Path};

const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const CPUS: &str = "/sys/devices/system/cpu";

/// Clocks that are read in some ten nanoseconds, without leaving the CPU.
const FAST: [&str; 6] =
    ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource", "timebase"];

/// Descriptors that an agent with all its probes and some scrapers has open.
const FILES: u64 = 512;

/// Since this release BPF maps count against the memory limit, before it against RLIMIT_MEMLOCK.
const MEMCG: (u32, u32) = (5, 11);

pub fn look(proc_root: &Path) -> Vec<Check> {
    let mut checks = vec![clock(read(CLOCK).as_deref()), cpus(), memory::look(proc_root)];
    checks.push(files(getrlimit(Resource::Nofile).current));
    if kernel::running().is_some_and(|version| version < MEMCG) {
        checks.push(locked(getrlimit(Resource::Memlock).current));
    }
    checks
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn clock(source: Option<&str>) -> Check {
    match source {
        Some(source) if FAST.contains(&source) => Check::good("clock", source),
        Some(source) => Check::partly(
            "clock",
            format!("{source}, which is slow to read"),
            "CPU time: each run of a program in the kernel reads the clock, and a slow one takes up to a microsecond",
            "let the kernel use the CPU's own clock (clocksource=tsc), if it is stable on this machine",
        ),
        None => Check::partly(
            "clock",
            format!("cannot read {CLOCK}"),
            "nothing by itself; whether the clock is fast is not known",
            "mount sysfs under /sys",
        ),
    }
}

fn cpus() -> Check {
    let cpus = |kind: &str| read(&format!("{CPUS}/{kind}"));
    match (cpus("possible"), cpus("online")) {
        (Some(possible), Some(online)) => {
            Check::good("CPUs", format!("online: {online}; possible, which is what maps have room for: {possible}"))
        }
        _ => Check::missing(
            "CPUs",
            format!("cannot read {CPUS}/possible"),
            "hook.*: maps have a value for each CPU that may ever be there",
            "mount sysfs under /sys",
        ),
    }
}

fn files(limit: Option<u64>) -> Check {
    match limit {
        Some(limit) if limit < FILES => Check::partly(
            "open files",
            format!("at most {limit}"),
            "connections of scrapers and tables of busy nodes, when descriptors run out",
            format!("raise RLIMIT_NOFILE to {FILES} or more (LimitNOFILE=, ulimit -n)"),
        ),
        Some(limit) => Check::good("open files", format!("at most {limit}")),
        None => Check::good("open files", "unlimited"),
    }
}

fn locked(limit: Option<u64>) -> Check {
    match limit {
        Some(limit) => Check::partly(
            "locked memory",
            format!("at most {} MiB", limit >> 20),
            "hook.*, unless the agent has CAP_SYS_RESOURCE or CAP_IPC_LOCK: before Linux 5.11 BPF maps are locked memory",
            "raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity, ulimit -l unlimited)",
        ),
        None => Check::good("locked memory", "unlimited"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn slow_clocks_and_low_limits_are_told() {
        for (source, expected) in [
            (Some("tsc"), Verdict::Good),
            (Some("hpet"), Verdict::Partly),
            (Some("acpi_pm"), Verdict::Partly),
            (None, Verdict::Partly),
        ] {
            assert_eq!(clock(source).verdict, expected, "{source:?}");
        }
        for (limit, expected) in [(Some(256), Verdict::Partly), (Some(1024), Verdict::Good), (None, Verdict::Good)] {
            assert_eq!(files(limit).verdict, expected, "{limit:?}");
        }
        assert_eq!(locked(None).verdict, Verdict::Good);
        assert!(locked(Some(64 << 20)).found.contains("64 MiB"));
    }
}
