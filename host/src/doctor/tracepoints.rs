//! The tracepoints that the built-in probes watch.

use super::Check;
use netsonde_core::table::{HOOK, Hooks};

/// Tracepoint, the probe that watches it, and since when it is there.
const USED: [(&str, &str, &str); 3] = [
    ("tcp_send_reset", "tcp_reset", "4.15"),
    ("tcp_receive_reset", "tcp_reset", "4.15"),
    ("kfree_skb", "packet_loss", "2.6.30"),
];

pub fn look(hooks: &Hooks) -> Vec<Check> {
    if let Hooks::Absent(_) = hooks {
        let probes = "the probes packet_loss and tcp_reset";
        return vec![Check::missing("all", "not known without BTF", probes, "see BTF")];
    }
    USED.into_iter().map(|(name, probe, since)| judge(hooks, name, probe, since)).collect()
}

fn judge(hooks: &Hooks, name: &str, probe: &str, since: &str) -> Check {
    match hooks.find(name) {
        Ok((hook, _)) => {
            let arguments: Vec<String> =
                hook.arguments.iter().map(|argument| format!("{} {}", argument.text, argument.name)).collect();
            Check::good(format!("{HOOK}{name}"), format!("({})", arguments.join(", ")))
        }
        Err(error) => Check::missing(
            format!("{HOOK}{name}"),
            error.message,
            format!("what the probe {probe} makes of it"),
            format!("run a kernel that has it (Linux {since} and later), built with CONFIG_NET and CONFIG_TRACEPOINTS"),
        ),
    }
}
