//! The processes and namespaces that can be seen.

use super::Check;
use crate::{
    bpf::capability::{Capabilities, Capability},
    scope::netns::{Walk, walk},
};
use netsonde_core::config::Config;
use rustix::io::Errno;
use std::{fs, io, path::Path};

/// The number of the first pid namespace (`PROC_PID_INIT_INO` in include/linux/proc_ns.h), the same on every kernel.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

pub fn look(config: &Config, capabilities: &Result<Capabilities, Errno>) -> Vec<Check> {
    let root = &config.proc_root;
    if let Err(error) = fs::read_link(root.join("self")) {
        return vec![no_procfs(root, &error)];
    }
    let mut checks = match walk(root, &config.netns_folder, config.host_netns.as_deref()) {
        Ok(walk) => {
            let may = capabilities.as_ref().is_ok_and(|there| there.allows(Capability::SysPtrace));
            vec![namespaces(&walk), processes(walk.hidden, may), host(&walk)]
        }
        Err(error) => vec![Check::missing(
            "namespaces",
            error.to_string(),
            "proc.net.*, and names of namespaces in all other tables",
            "let proc_root name the folder where the node's procfs is mounted",
        )],
    };
    let link = |path: &str| fs::read_link(root.join(path)).ok().and_then(|link| link.to_str().map(str::to_owned));
    let status = fs::read_to_string(root.join("self/status")).unwrap_or_default();
    checks.push(pid_namespace(root, link("self/ns/pid").as_deref(), link("1/ns/pid").as_deref(), levels(&status)));
    checks
}

/// Every procfs that shows the reader has a link to it.
fn no_procfs(root: &Path, error: &io::Error) -> Check {
    Check::missing(
        "proc_root",
        format!("{} shows no process of this agent: {error}", root.display()),
        "proc.*, and names of namespaces in all other tables",
        "let proc_root name the folder where procfs is mounted: in a container the node's, of its own or an outer pid namespace",
    )
}

fn namespaces(walk: &Walk) -> Check {
    let named = walk.found.iter().filter(|found| found.name.is_some()).count();
    let all = walk.found.len();
    let found =
        format!("{all} network namespace{}, {named} of them named by `ip netns`", if all == 1 { "" } else { "s" });
    Check::good("namespaces", found)
}

fn processes(hidden: usize, may: bool) -> Check {
    let found = format!("{hidden} may not be looked at");
    let lost =
        "proc.net.* of namespaces that only those are in; in other tables such a namespace has a number for a name";
    match (hidden, may) {
        (0, _) => Check::good("processes", "all may be looked at"),
        (_, false) => Check::partly("processes", found, lost, "give the agent CAP_SYS_PTRACE"),
        (_, true) => Check::partly(
            "processes",
            format!("{found}, in spite of CAP_SYS_PTRACE"),
            lost,
            "nothing, where such processes protect themselves; or see the security module's policy and user namespaces",
        ),
    }
}

fn host(walk: &Walk) -> Check {
    match (&walk.no_host, walk.found.iter().find(|found| found.host)) {
        (None, Some(host)) => Check::good("host's namespace", format!("known: {}", host.inode)),
        (why, _) => Check::partly(
            "host's namespace",
            why.clone().unwrap_or_else(|| "not found".into()),
            "the name `host`: the namespace has a number instead",
            "give the agent CAP_SYS_PTRACE, or let `host_netns` name a file that stands for it",
        ),
    }
}

/// In how many pid namespaces a process is, seen from where procfs was mounted: `NSpid` of its status.
fn levels(status: &str) -> usize {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.map_or(0, |pids| pids.split_whitespace().count())
}

/// Whose processes are under `root`. `own` and `first` are the links of this process and of process 1, if they could be read.
fn pid_namespace(root: &Path, own: Option<&str>, first: Option<&str>, levels: usize) -> Check {
    const NAME: &str = "pid namespace";
    let root = root.display();
    let lost = "proc.net.* of namespaces whose processes are all outside of it";
    let todo = "run the agent in the node's pid namespace (hostPID: true, --pid=host), or mount the node's /proc and set proc_root to it";
    match (own, first) {
        (Some(FIRST_PID_NAMESPACE), _) => Check::good(NAME, "the node's"),
        (_, Some(FIRST_PID_NAMESPACE)) => Check::good(NAME, format!("its own; {root} shows the node's processes")),
        (None, _) => Check::partly(NAME, format!("{root}/self/ns/pid cannot be read"), format!("perhaps {lost}"), todo),
        (_, None) if levels > 1 => Check::partly(
            NAME,
            format!("its own; {root} shows the processes of an outer one, perhaps not of all"),
            format!("perhaps {lost}"),
            "give the agent CAP_SYS_PTRACE, to know more here",
        ),
        _ => Check::partly(NAME, format!("its own; under {root} only its processes can be seen"), lost, todo),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn whose_processes_are_seen_is_said_only_where_it_is_known() {
        let root = Path::new("/proc");
        let (node, nested) = (Some("pid:[4026531836]"), Some("pid:[4026532177]"));
        for (own, first, levels, verdict, found) in [
            (node, node, 1, Verdict::Good, "the node's"),
            (node, None, 1, Verdict::Good, "the node's"),
            (nested, node, 2, Verdict::Good, "shows the node's processes"),
            (nested, None, 2, Verdict::Partly, "perhaps not of all"),
            (nested, nested, 1, Verdict::Partly, "only its processes"),
            (nested, None, 1, Verdict::Partly, "only its processes"),
            (None, None, 0, Verdict::Partly, "cannot be read"),
        ] {
            let check = pid_namespace(root, own, first, levels);
            assert_eq!(check.verdict, verdict, "{own:?} {first:?} {levels}");
            assert!(check.found.contains(found), "{own:?} {first:?} {levels}: {}", check.found);
        }
    }

    #[test]
    fn a_folder_that_is_no_procfs_is_told_once() {
        let config = Config { proc_root: "/nonexistent".into(), ..Config::default() };
        let checks = look(&config, &Capabilities::effective());
        assert_eq!(checks.len(), 1);
        assert!(checks[0].verdict == Verdict::Missing && checks[0].found.contains("/nonexistent"), "{checks:?}");
    }

    #[test]
    fn levels_are_counted_from_status() {
        assert_eq!(levels("Name:\tx\nNSpid:\t4021\t7\nNSpgid:\t1\n"), 2);
        assert_eq!(levels("NSpid:\t1\n"), 1);
        assert_eq!(levels(""), 0);
    }

    #[test]
    fn hidden_processes_need_another_remedy_where_the_capability_is_there() {
        assert_eq!(processes(0, false).verdict, Verdict::Good);
        assert_eq!(processes(3, false).todo, "give the agent CAP_SYS_PTRACE");
        assert!(processes(3, true).found.contains("in spite of CAP_SYS_PTRACE"));
    }
}
