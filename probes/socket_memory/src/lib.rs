//! Probe `socket_memory`: what the sockets of each container, or else network namespace, hold in memory, and how full they are.

use netsonde_sdk::prelude::*;
use sums::{Amounts, Protocol, Sums};

mod sums;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// From how many percent of its limit on a socket is counted as full.
    full: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { full: 90 }
    }
}

/// SYN_SENT, CLOSE or LISTEN: what the sequence numbers of such a socket are apart tells of no bytes.
const UNCONNECTED: &str =
    "(sk.__sk_common.skc_state - 2) * (sk.__sk_common.skc_state - 7) * (sk.__sk_common.skc_state - 10) = 0";

/// How many of the columns are keys.
const KEYS: usize = 8;

/// Where 32 bits wrap, and half of it.
const WRAP: i64 = 1 << 32;
const HALF: i64 = 1 << 31;

/// Of a counter of 32 bits, which the kernel's type calls signed.
fn unsigned(counter: &str) -> String {
    format!("({counter} + {WRAP}) % {WRAP}")
}

/// How far one of TCP's sequence numbers is before another. They wrap; and as the socket goes on while it is read, the second may have
/// overtaken the first, which must not come out as 4 GiB.
fn distance(first: &str, second: &str) -> String {
    let (first, second) = (format!("maybe((sk::tcp_sock).{first})"), format!("maybe((sk::tcp_sock).{second})"));
    format!("({first} - {second} + {}) % {WRAP} - {HALF}", WRAP + HALF)
}

/// One pass over the sockets that processes hold. What the columns are is in net/core/sock.c (`sk_get_meminfo`), net/ipv4/tcp_diag.c and
/// net/ipv4/udp_diag.c; `sums` makes sense of them by protocol, as a column does not mean the same in each.
fn sql(full: u32) -> String {
    let receive = "sk.sk_backlog.rmem_alloc.counter";
    // It counts one for the socket itself.
    let send = "(sk.sk_wmem_alloc.refs.counter - 1)";
    let is_full = |used: &str, limit: &str| format!("100 * {used} > {full} * sk.{limit}");
    let share = |used: &str, limit: &str| format!("max(1000 * {used} / sk.{limit})");
    // Since Linux 6.18 UDP counts its drops by NUMA node.
    let numa = |node: u32| unsigned(&format!("maybe(sk.sk_drop_counters.drops{node}.counter)"));
    let columns = [
        ("owner", "owner".into()),
        ("family", "family".into()),
        ("protocol", "protocol".into()),
        ("kind", "sk.sk_type".into()),
        ("unconnected", UNCONNECTED.into()),
        ("receive_full", is_full(receive, "sk_rcvbuf")),
        ("queue_full", is_full("sk.sk_wmem_queued", "sk_sndbuf")),
        ("send_full", is_full(send, "sk_sndbuf")),
        ("sockets", "count(*)".into()),
        ("receive", format!("sum({receive})")),
        ("deficit", "sum(maybe((sk::udp_sock).forward_deficit))".into()),
        ("queue", "sum(sk.sk_wmem_queued)".into()),
        ("send", format!("sum{send}")),
        ("forward_alloc", "sum(sk.sk_forward_alloc)".into()),
        ("backlog", "sum(sk.sk_backlog.len)".into()),
        ("receive_share", share(receive, "sk_rcvbuf")),
        ("queue_share", share("sk.sk_wmem_queued", "sk_sndbuf")),
        ("send_share", share(send, "sk_sndbuf")),
        ("drops", format!("sum({})", unsigned("sk.sk_drops.counter"))),
        ("numa_drops", format!("sum({} + {})", numa(0), numa(1))),
        ("unread", format!("sum({})", distance("rcv_nxt", "copied_seq"))),
        ("unsent", format!("sum({})", distance("write_seq", "snd_nxt"))),
        ("unacked", format!("sum({})", distance("snd_nxt", "snd_una"))),
    ];
    let column = |(name, what): &(&str, String)| match what == name {
        true => what.clone(),
        false => format!("{what} AS {name}"),
    };
    let keys: Vec<&str> = columns[..KEYS].iter().map(|(name, _)| *name).collect();
    let columns: Vec<String> = columns.iter().map(column).collect();
    format!("SELECT {} FROM iter.socket GROUP BY {}", columns.join(", "), keys.join(", "))
}

/// Name, help, unit of a gauge, and what it shows.
type Shown = (&'static str, &'static str, &'static str, fn(&Amounts) -> Option<f64>);

const OF_ALL: &[Shown] = &[
    ("sockets", "Open sockets", "", |of| of.sockets),
    ("receive", "Memory of what was received and not read yet", "bytes", |of| of.receive()),
    ("send", "Memory of what waits to be sent or, with TCP, to be acknowledged", "bytes", |of| of.send()),
    ("forward_alloc", "Memory that sockets have reserved and do not use", "bytes", |of| of.forward_alloc),
    ("backlog", "Memory of packets that wait for a program to let go of its socket", "bytes", |of| of.backlog),
    ("receive_fullest", "Receive memory of the fullest socket, of its limit", "ratio", |of| of.receive_share()),
    ("send_fullest", "Send memory of the fullest socket, of its limit", "ratio", |of| of.send_share()),
    ("receive_full_sockets", "Sockets whose receive memory is nearly used up", "", |of| of.receive_full),
    ("send_full_sockets", "Sockets whose send memory is nearly used up", "", |of| of.send_full()),
    ("drops", "Packets dropped by the sockets that are open now; it falls as they are closed", "", |of| of.drops),
];

const OF_TCP: &[Shown] = &[
    ("tcp_unread", "Bytes that TCP has received and programs have not read", "bytes", |of| of.unread),
    ("tcp_unsent", "Bytes that programs have written and TCP has not sent yet", "bytes", |of| of.unsent),
    ("tcp_unacked", "Bytes that TCP has sent and the other side has not acknowledged", "bytes", |of| of.unacked),
];

pub struct SocketMemory {
    sockets: Query,
    of_all: Vec<Metric<Gauge>>,
    of_tcp: Vec<Metric<Gauge>>,
}

impl Probe for SocketMemory {
    type Settings = Settings;

    fn new(settings: Settings, plan: &mut Plan) -> Result<Self> {
        if !(1..=100).contains(&settings.full) {
            return Err(format!("full: {} is no percentage from 1 to 100", settings.full));
        }
        let sockets = plan.query("sockets", &sql(settings.full));
        let mut gauges = |shown: &[Shown], labels: &[&str]| {
            let gauge = |(name, help, unit, _): &Shown| {
                let gauge = plan.gauge(name, help).unit(unit).from(&[sockets]);
                labels.iter().fold(gauge, |gauge, label| gauge.label(label)).each_scope()
            };
            shown.iter().map(gauge).collect()
        };
        let (of_all, of_tcp) = (gauges(OF_ALL, &["protocol", "family"]), gauges(OF_TCP, &["family"]));
        Ok(Self { sockets, of_all, of_tcp })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        let Some(rows) = call.rows(self.sockets) else { return Ok(()) };
        let sums = Sums::of(&rows)?;
        let (scopes, protocols, families) = sums.labels(|_| true);
        for (gauge, (.., value)) in self.of_all.iter().zip(OF_ALL) {
            out.set(gauge).scopes(&scopes).label(&protocols).label(&families).values(&sums.values(|_| true, *value));
        }
        let (scopes, _, families) = sums.labels(Protocol::is_tcp);
        for (gauge, (.., value)) in self.of_tcp.iter().zip(OF_TCP) {
            out.set(gauge).scopes(&scopes).label(&families).values(&sums.values(Protocol::is_tcp, *value));
        }
        Ok(())
    }
}

netsonde_sdk::export!(SocketMemory);

#[cfg(test)]
mod tests;
