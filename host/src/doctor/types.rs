//! The kernel's types (BTF), and what of the kernel the compiler of queries uses besides.

use super::Check;
use crate::source::btf::NoBtf;
use netsonde_core::{
    bpf::{btf::Btf, layout::Layout, pass},
    table::{Hooks, ITER},
};
use std::{path::Path, sync::Arc};

const NO_HOOKS: &str = "hook.*, and so every probe that watches tracepoints; proc.* works without";

pub fn look(path: &Path, types: &Result<Arc<Btf>, NoBtf>, hooks: &Hooks) -> Vec<Check> {
    let mut checks = vec![match types {
        Ok(btf) => {
            let tracepoints = hooks.names().len();
            Check::good("BTF", format!("{}: {} types, {tracepoints} tracepoints", path.display(), btf.count()))
        }
        Err(NoBtf::Unreadable { path, source }) => Check::missing(
            "BTF",
            format!("read {}: {source}", path.display()),
            NO_HOOKS,
            "run a kernel built with CONFIG_DEBUG_INFO_BTF, mount sysfs with /sys/kernel/btf, or let `btf` name a file of this kernel's types",
        ),
        Err(error @ NoBtf::Unusable { .. }) => Check::missing(
            "BTF",
            error.to_string(),
            NO_HOOKS,
            "let `btf` name a file of this kernel's types, such as /sys/kernel/btf/vmlinux",
        ),
    }];
    if let Hooks::Known { layout, .. } = hooks {
        checks.extend(features(layout));
        checks.extend(pass::NAMES.iter().map(|(name, _)| objects(hooks, name)));
    }
    checks
}

/// A table of the kernel's objects.
fn objects(hooks: &Hooks, name: &str) -> Check {
    let table = format!("{ITER}{name}");
    match hooks.find_pass(name) {
        Ok((hook, _)) => {
            let arguments: Vec<&str> = hook.arguments.iter().map(|argument| argument.name.as_str()).collect();
            Check::good(table, format!("({})", arguments.join(", ")))
        }
        Err(error) => {
            let lost = "the probes socket_memory and tcp_state; namespaces are looked for in procfs";
            Check::partly(
                table,
                error.message,
                lost,
                "run it with the host's pid namespace (hostPID: true), on Linux 5.8 or later",
            )
        }
    }
}

/// What a program is made of that not every kernel has.
fn features(layout: &Layout) -> Vec<Check> {
    let feature = |there: bool, name: &str, found: &str, lost: &str| match there {
        true => Check::good(name, found),
        false => Check::partly(name, "this kernel has none", lost, "run a newer kernel where that matters"),
    };
    vec![
        feature(
            layout.cast.is_some(),
            "bpf_rdonly_cast",
            "a path may cross types: (sk::tcp_sock).snd_cwnd",
            "casts in queries, and of a packet without a socket argument the socket's columns; it came with Linux 6.2",
        ),
        feature(
            layout.net.is_some(),
            "net_cookie",
            "namespaces have numbers that are never used again",
            "netns and owner of hook.*, and so the probes that tell their rows by namespace; it came with Linux 5.12",
        ),
        feature(
            layout.socket.is_some() && layout.packet.is_some(),
            "sockets and packets",
            "addresses and ports are where they are looked for",
            "addresses, ports, protocol and family of hook.*: struct sock or struct sk_buff is not as it is known here",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn each_feature_that_a_kernel_lacks_is_told_apart() {
        let none = Layout { packet: None, socket: None, net: None, device_net: None, task: None, cast: None };
        let verdicts = |layout: &Layout| features(layout).into_iter().map(|check| check.verdict).collect::<Vec<_>>();
        let (good, partly) = (Verdict::Good, Verdict::Partly);
        assert_eq!(verdicts(&none), [partly, partly, partly]);
        assert_eq!(verdicts(&Layout { cast: Some(1), ..none.clone() }), [good, partly, partly]);
        let net = Some(netsonde_core::bpf::layout::Net { cookie: 0, inum: 8 });
        assert_eq!(verdicts(&Layout { net, ..none }), [partly, good, partly]);
    }

    #[test]
    fn without_a_file_the_tracepoints_are_gone_and_procfs_is_not() {
        let path = Path::new("/nonexistent");
        let types = crate::source::btf::read(path);
        let checks = look(path, &types, &Hooks::Absent(String::new()));
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].verdict, Verdict::Missing);
        assert!(checks[0].found.contains("/nonexistent") && checks[0].todo.contains("CONFIG_DEBUG_INFO_BTF"));
        assert!(checks[0].lost.contains("hook.*") && checks[0].lost.contains("proc.* works"));
    }
}
