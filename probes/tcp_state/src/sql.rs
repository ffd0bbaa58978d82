//! The queries. States are those of include/net/tcp_states.h; a raw socket may have TCP's protocol, so its type is looked at as well.

/// Sockets that processes hold, in one pass.
///
/// The listeners are among them, and their ports too are worth a column, but not those of connections, of which there are too many. In
/// whole numbers state / 10 × 10 / state is 1 for LISTEN (10), and 0 for every other state.
pub fn held(listeners: bool) -> String {
    let (columns, key) = match listeners {
        true => (
            ", sk.__sk_common.skc_num * (sk.__sk_common.skc_state / 10) * (10 / sk.__sk_common.skc_state) AS port, \
             sum(sk.sk_ack_backlog) AS queue, sum(sk.sk_max_ack_backlog) AS queue_limit, \
             max(1000 * sk.sk_ack_backlog / sk.sk_max_ack_backlog) AS queue_share",
            ", port",
        ),
        false => ("", ""),
    };
    format!(
        "SELECT netns, family, sk.__sk_common.skc_state AS state, count(*) AS connections{columns} FROM iter.socket \
         WHERE protocol = 6 AND sk.sk_type = 1 GROUP BY netns, family, state{key}"
    )
}

/// What namespaces have in the kernel's table, and how much of it processes hold.
pub const NODE: &str = "SELECT netns, inuse, owned, tw, requests FROM node.tcp";

/// SYN_RECV, FIN_WAIT2 and TIME_WAIT: requests have the first, and what is left of a closed connection has one of the others.
pub const REST: &str = "SELECT netns, family, state, count(*) AS connections FROM netlink.sock_diag WHERE state IN (3, 5, 6) \
     AND netns IN (SELECT netns FROM node.tcp WHERE inuse <= owned AND (tw > 0 OR requests > 0)) \
     GROUP BY netns, family, state";

/// Every state but CLOSE: such a socket is in no table, only the pass sees it.
pub const WHOLE: &str = "SELECT netns, family, state, count(*) AS connections FROM netlink.sock_diag WHERE state <> 7 \
     AND netns IN (SELECT netns FROM node.tcp WHERE inuse > owned) GROUP BY netns, family, state";

/// The kernel has eighths of microseconds; counted in 2^-20 seconds, rounded up: × 2^20 / 8,000,000. Before the first measurement it is 0.
pub const RTT: &str = "SELECT netns, histogram(((sk::tcp_sock).srtt_us * 2048 + 15624) / 15625) FROM iter.socket \
     WHERE protocol = 6 AND sk.sk_type = 1 AND sk.__sk_common.skc_state = 1 AND (sk::tcp_sock).srtt_us > 0 GROUP BY netns";
