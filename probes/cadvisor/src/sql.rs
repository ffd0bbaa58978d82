//! The queries. States are those of include/net/tcp_states.h; a raw socket may have TCP's protocol, so its type is looked at as well.

/// Sockets that processes hold, in one pass: those of TCP, and those of UDP that are bound, as only these are in /proc/net/udp. What the sums
/// are is in net/ipv4/udp.c (`udp4_format_sock`); since Linux 6.18 UDP counts its drops by NUMA node.
pub fn held() -> String {
    let numa = |node: u32| format!("(maybe(sk.sk_drop_counters.drops{node}.counter) + 4294967296) % 4294967296");
    format!(
        "SELECT netns, family, protocol, sk.__sk_common.skc_state AS state, count(*) AS sockets, \
         sum(sk.sk_backlog.rmem_alloc.counter) AS receive, sum(maybe((sk::udp_sock).forward_deficit)) AS deficit, \
         sum(sk.sk_wmem_alloc.refs.counter - 1) AS send, sum((sk.sk_drops.counter + 4294967296) % 4294967296) AS drops, \
         sum({} + {}) AS numa_drops FROM iter.socket \
         WHERE protocol = 6 AND sk.sk_type = 1 OR protocol = 17 AND sk.sk_type = 2 AND sk.__sk_common.skc_num <> 0 \
         GROUP BY netns, family, protocol, state",
        numa(0),
        numa(1)
    )
}

/// Every namespace, what it has in the kernel's table of TCP sockets, and how much of it processes hold.
pub const NODE: &str = "SELECT netns, inuse, owned, tw, requests FROM node.tcp";

/// SYN_RECV, FIN_WAIT2 and TIME_WAIT: requests have the first, and what is left of a closed connection has one of the others.
pub const REST: &str = "SELECT netns, family, state, count(*) AS sockets FROM netlink.sock_diag WHERE state IN (3, 5, 6) \
     AND netns IN (SELECT netns FROM node.tcp WHERE inuse <= owned AND (tw > 0 OR requests > 0)) \
     GROUP BY netns, family, state";

/// Every state but CLOSE.
pub const WHOLE: &str = "SELECT netns, family, state, count(*) AS sockets FROM netlink.sock_diag WHERE state <> 7 \
     AND netns IN (SELECT netns FROM node.tcp WHERE inuse > owned) GROUP BY netns, family, state";
