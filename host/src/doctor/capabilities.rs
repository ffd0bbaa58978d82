//! Which capabilities are there, and what each is for.

use super::Check;
use crate::bpf::capability::{Capabilities, Capability};
use rustix::io::Errno;
use std::{fs, path::Path};

/// The number of the first user namespace (`PROC_USER_INIT_INO` in include/linux/proc_ns.h), the same on every kernel.
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

pub fn look(proc_root: &Path, capabilities: &Result<Capabilities, Errno>) -> Vec<Check> {
    let mut checks = match capabilities {
        Ok(capabilities) => Capability::ALL.into_iter().map(|one| judge(one, *capabilities)).collect(),
        Err(error) => vec![Check::partly(
            "all",
            format!("capget(2): {error}"),
            "nothing by itself; which capabilities are there is not known",
            "allow capget(2) in the seccomp profile, to see more here",
        )],
    };
    let own = fs::read_link(proc_root.join("self/ns/user")).ok();
    checks.push(user_namespace(own.as_deref().and_then(Path::to_str)));
    checks
}

/// What needs the capability.
fn purpose(capability: Capability) -> &'static str {
    match capability {
        Capability::Bpf => "hook.*: maps and programs in the kernel",
        Capability::Perfmon => "hook.*: programs that read the kernel's memory",
        Capability::NetAdmin => {
            "the self-test, which brings a device up in a namespace of its own; the agent does not need it"
        }
        Capability::SysAdmin => {
            "netlink.sock_diag and kinds of devices in other namespaces, proc.net.* of those that have a name but no process, and the self-test"
        }
        Capability::SysPtrace => "proc.net.* of namespaces that only other users' processes are in",
        Capability::Syslog => {
            "names of the kernel's functions (name(location), stacks) where the kernel hides its addresses"
        }
    }
}

fn judge(capability: Capability, there: Capabilities) -> Check {
    let purpose = purpose(capability);
    if there.has(capability) {
        return Check::good(capability.name(), format!("there, for {purpose}"));
    }
    if there.allows(capability) {
        return Check::good(capability.name(), format!("CAP_SYS_ADMIN stands for it, for {purpose}"));
    }
    let todo = match capability {
        Capability::Bpf | Capability::Perfmon => {
            format!("give the agent {capability} (before Linux 5.8: CAP_SYS_ADMIN)")
        }
        Capability::NetAdmin => "give it to `netsonde doctor` with CAP_SYS_ADMIN, or run that as root".into(),
        _ => format!("give the agent {capability}, if that is wanted"),
    };
    Check::missing(capability.name(), "not there", purpose, todo)
}

fn user_namespace(own: Option<&str>) -> Check {
    let lost = "whatever needs capabilities, mostly: the kernel wants them in the first user namespace";
    match own {
        Some(FIRST_USER_NAMESPACE) => Check::good("user namespace", "the first one, where capabilities count"),
        Some(other) => Check::partly(
            "user namespace",
            format!("{other}, which is not the first one"),
            lost,
            "run the agent without a user namespace of its own (hostUsers: true, no --userns)",
        ),
        None => Check::partly(
            "user namespace",
            "/proc does not tell it",
            "nothing by itself; whether the capabilities count is not known",
            "see the self-test",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn each_capability_has_a_verdict_and_what_it_is_for() {
        let there = Capabilities::effective().unwrap();
        for capability in Capability::ALL {
            let check = judge(capability, there);
            assert_eq!(check.verdict == Verdict::Good, there.allows(capability), "{capability}");
            assert!(check.found.contains(purpose(capability)) || check.lost == purpose(capability), "{check:?}");
            assert!(check.verdict == Verdict::Good || check.todo.contains("give"), "{check:?}");
        }
    }

    #[test]
    fn capabilities_count_in_the_first_user_namespace_only() {
        for (own, expected) in [
            (Some("user:[4026531837]"), Verdict::Good),
            (Some("user:[4026532001]"), Verdict::Partly),
            (None, Verdict::Partly),
        ] {
            assert_eq!(user_namespace(own).verdict, expected, "{own:?}");
        }
    }
}
