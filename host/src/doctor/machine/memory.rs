//! How much memory there is, and how much of it this process's cgroup may use.

use super::super::Check;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The agent takes some 40 MB with the built-in probes on a small node; maps in the kernel, more namespaces and the probes' own memory come
/// on top.
const ENOUGH: u64 = 128 << 20;

const CGROUPS: &str = "/sys/fs/cgroup";

/// The first hierarchy's files say "no limit" with a number near the largest.
const NO_LIMIT: u64 = 1 << 62;

pub fn look(proc_root: &Path) -> Check {
    let meminfo = fs::read_to_string(proc_root.join("meminfo")).unwrap_or_default();
    let cgroup = fs::read_to_string(proc_root.join("self/cgroup")).unwrap_or_default();
    judge(total(&meminfo), limit(&cgroup, &|path| fs::read_to_string(path).ok()))
}

fn judge(total: Option<u64>, limit: Option<u64>) -> Check {
    let total = total.map_or_else(|| "not known".into(), |bytes| format!("{} MiB", bytes >> 20));
    match limit {
        Some(limit) if limit < ENOUGH => Check::partly(
            "memory",
            format!("the node's: {total}; the cgroup's limit is {} MiB", limit >> 20),
            "the agent, when the limit is reached: maps in the kernel and each probe's memory count against it",
            format!("let the limit be {} MiB or more", ENOUGH >> 20),
        ),
        Some(limit) => Check::good("memory", format!("the node's: {total}; the cgroup's limit is {} MiB", limit >> 20)),
        None => Check::good("memory", format!("the node's: {total}; no limit of a cgroup was found")),
    }
}

/// Bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// The lowest limit of the cgroups that `/proc/self/cgroup` names, and of those above them (Documentation/admin-guide/cgroup-v2.rst, and
/// cgroup-v1/memory.rst).
fn limit(cgroup: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut limits = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (mount, file) = match controllers {
            "" => (CGROUPS.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (format!("{CGROUPS}/memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let path = PathBuf::from(path.trim_start_matches('/'));
        limits.extend(path.ancestors().filter_map(|folder| {
            let text = read(&Path::new(&mount).join(folder).join(file))?;
            text.trim().parse::<u64>().ok().filter(|&bytes| bytes < NO_LIMIT)
        }));
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::{super::super::Verdict, *};

    #[test]
    fn the_lowest_limit_of_all_levels_counts() {
        let files = [
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "536870912\n"),
            ("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "104857600\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let read =
            |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
        for (cgroup, expected) in [
            ("0::/a/b\n", Some(512 << 20)),
            ("0::/\n", None),
            ("9:cpu,memory:/x/y\n8:pids:/a\n", Some(100 << 20)),
            ("4:memory:/\n0::/a\n", Some(512 << 20)),
            ("nonsense\n", None),
        ] {
            assert_eq!(limit(cgroup, &read), expected, "{cgroup}");
        }
    }

    #[test]
    fn a_low_limit_is_told_with_what_is_enough() {
        assert_eq!(total("MemTotal:        2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert_eq!(judge(None, None).verdict, Verdict::Good);
        assert_eq!(judge(Some(1 << 30), Some(ENOUGH)).verdict, Verdict::Good);
        let low = judge(Some(1 << 30), Some(32 << 20));
        assert!(low.verdict == Verdict::Partly && low.found.contains("32 MiB") && low.todo.contains("128 MiB"));
    }
}
