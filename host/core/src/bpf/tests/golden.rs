//! Listings of programs, as they were last looked at. `UPDATE_GOLDEN=1` writes the files anew.

use super::{kernel, world::planned};
use crate::bpf::{
    compile::{Budget, compile},
    listing::listing,
};

/// Every listing by the name of its file, and the query.
pub const QUERIES: &[(&str, &str)] = &[
    (
        "tcp_reset_sent",
        "SELECT owner, netns, name(maybe(reason)) AS reason, sk IS NULL AS no_socket, skb IS NULL AS active, count(*) AS resets \
         FROM hook.tcp_send_reset GROUP BY owner, netns, maybe(reason), sk IS NULL, skb IS NULL",
    ),
    ("tcp_reset_received", "SELECT owner, netns, count(*) AS resets FROM hook.tcp_receive_reset GROUP BY owner, netns"),
    (
        "tcp_reset_sent_rows",
        "SELECT owner, netns, name(maybe(reason)) AS reason, sk IS NULL AS no_socket, skb IS NULL AS active, \
         saddr, sport, daddr, dport, laddr, lport, raddr, rport FROM hook.tcp_send_reset",
    ),
    ("tcp_reset_received_rows", "SELECT owner, netns, laddr, lport, raddr, rport FROM hook.tcp_receive_reset"),
    (
        "packet_loss_drops",
        "SELECT owner, netns, name(protocol) AS protocol, name(reason) AS reason, name(location) AS place, count(*) AS packets \
         FROM hook.kfree_skb WHERE name(reason) NOT IN ('SKB_NOT_DROPPED_YET', maybe('SKB_CONSUMED')) \
         GROUP BY owner, netns, protocol, reason, location",
    ),
    (
        "packet_loss_rows",
        "SELECT owner, netns, name(protocol) AS protocol, saddr, sport, daddr, dport, name(reason) AS reason, \
         name(location) AS place FROM hook.kfree_skb \
         WHERE name(reason) NOT IN ('SKB_NOT_DROPPED_YET', maybe('SKB_CONSUMED'), maybe('SOCKET_CLOSE'), maybe('GONE'))",
    ),
    (
        "shared_pointers",
        "SELECT skb.dev.ifindex, skb.dev.mtu, skb.dev.upper.ifindex AS upper, skb.dev.upper.name AS upper_name, skb.len \
         FROM hook.kfree_skb WHERE skb.dev.group > 0",
    ),
    (
        "casts",
        "SELECT (sk::tcp_sock).snd_cwnd, (sk::tcp_sock).srtt_us, (sk::inet_sock).inet_sport, (sk::unix_sock).peer IS NULL \
         FROM hook.tcp_retransmit_skb WHERE (sk::tcp_sock).bytes_acked > 1000",
    ),
    (
        "bits_and_arrays",
        "SELECT dev.bits, dev.more, dev.minus, dev.on, dev.long_bits, dev.queues[2].depth, dev.queues[0].dropped, \
         dev.weights[1], dev.dev_addr, dev.short_name, dev.name FROM hook.timer",
    ),
    ("far_away", "SELECT far.there, far.text, far.wire FROM hook.odd"),
    (
        "where_and_or_not",
        "SELECT time FROM hook.odd WHERE (big = 1 OR NOT (signed < -3 AND dev.ifindex <> 4)) AND (flag OR NOT (tiny = 1 OR tiny = 2))",
    ),
    (
        "where_in",
        "SELECT time FROM hook.odd WHERE big IN (1, 5000000000, 18446744073709551615) AND tiny NOT IN (-1, 2, NULL, 1000)",
    ),
    (
        "where_texts",
        "SELECT time FROM hook.odd WHERE comm = 'nginx: worker' OR dev.name NOT IN ('lo', 'eth0') OR dev.short_name <> 'abcde'",
    ),
    (
        "where_addresses",
        "SELECT netns FROM hook.kfree_skb WHERE saddr = '10.0.0.1' OR daddr NOT IN ('fd00::1', '10.0.0.2')",
    ),
    (
        "where_is_null",
        "SELECT time FROM hook.odd WHERE dev IS NULL OR dev.upper IS NOT NULL AND NOT (far.text IS NULL)",
    ),
    (
        "where_columns",
        "SELECT time FROM hook.odd WHERE big > count AND signed <= tiny AND big = signed AND dev.ifindex <> dev.mtu",
    ),
    (
        "aggregates",
        "SELECT dev.ifindex, sum(big), min(signed), max(count), count(dev.mtu), sum(tiny), min(big), max(signed) \
         FROM hook.odd GROUP BY dev.ifindex",
    ),
    (
        "arithmetic",
        "SELECT 1000 * dev.mtu / count, dev.ifindex - tiny * signed, 10 * big > 9 * dev.mtu AS full, (signed % 7) IS NULL \
         FROM hook.odd WHERE big + count > dev.mtu AND -signed < 5",
    ),
    ("histogram", "SELECT dev.ifindex, histogram(signed) FROM hook.odd WHERE flag GROUP BY dev.ifindex"),
    ("pass_rows", "SELECT netns, lport, fd, (sk::tcp_sock).snd_cwnd FROM iter.socket WHERE sk.sk_type = 1 AND pid > 1"),
    (
        "pass_groups",
        "SELECT netns, protocol, count(*), sum(sk.sk_mark), max(sk.sk_err) FROM iter.socket GROUP BY netns, protocol",
    ),
    ("pass_of_tasks", "SELECT netns, count(*) FROM iter.task GROUP BY netns"),
    ("owner_rows", "SELECT netns, owner, lport FROM hook.kfree_skb WHERE owner IS NOT NULL"),
    ("owner_groups", "SELECT owner, count(*), sum(sk.sk_mark) FROM iter.socket GROUP BY owner"),
    ("computed", "SELECT owner, cgroup, family, protocol, cpu, pid, comm FROM hook.tcp_retransmit_skb"),
];

fn text(sql: &str, options: kernel::Options) -> String {
    let catalogue = kernel::catalogue(options);
    let program =
        || compile(&planned(sql, &catalogue), Budget::default()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let (once, again) = (program(), program());
    assert_eq!(once, again, "the same query gives the same program");
    format!("# {sql}\n# {:?}\n{}", once.program.writes, listing(&once.program))
}

#[track_caller]
fn compare(name: &str, listing: &str) {
    let path = format!("{}/src/bpf/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, listing).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    // A program is long: the first line that differs says more than two of them.
    if let Some((at, (now, before))) = listing.lines().zip(golden.lines()).enumerate().find(|(_, (a, b))| a != b) {
        panic!("{name}.txt, line {}: `{now}`, was `{before}` (UPDATE_GOLDEN=1 rewrites it)", at + 1);
    }
    assert_eq!(listing.lines().count(), golden.lines().count(), "{name}.txt (UPDATE_GOLDEN=1 rewrites it)");
}

#[test]
fn programs_are_as_they_were() {
    for (name, sql) in QUERIES {
        compare(name, &text(sql, kernel::NEW));
    }
}

#[test]
fn programs_for_kernels_without_a_cast_are_as_they_were() {
    for name in ["tcp_reset_sent_rows", "packet_loss_rows", "packet_loss_drops", "owner_rows"] {
        let (_, sql) = QUERIES.iter().find(|(other, _)| *other == name).unwrap();
        compare(&format!("{name}_without_cast"), &text(sql, kernel::WITHOUT_CAST));
    }
}

#[test]
fn a_kernel_without_the_argument_gets_the_same_query() {
    let (_, sql) = QUERIES[0];
    compare("tcp_reset_sent_without_reason", &text(sql, kernel::Options { reason: false, ..kernel::NEW }));
}

#[test]
fn every_golden_file_has_a_query() {
    let folder = format!("{}/src/bpf/tests/golden", env!("CARGO_MANIFEST_DIR"));
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".txt").trim_end_matches("_without_cast").trim_end_matches("_without_reason");
        assert!(QUERIES.iter().any(|(known, _)| *known == name), "{name}");
    }
}
