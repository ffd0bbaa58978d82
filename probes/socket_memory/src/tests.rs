use super::*;
use netsonde_sdk::test::{Cell, Gathered, Harness, Table};

const TCP: [i64; 3] = [2, 1, 6];
const TCP6: [i64; 3] = [10, 1, 6];
const UDP: [i64; 3] = [2, 2, 17];
const NULL: Option<i64> = None;

const COLUMNS: [&str; 23] = [
    "owner",
    "family",
    "kind",
    "protocol",
    "unconnected",
    "receive_full",
    "queue_full",
    "send_full",
    "sockets",
    "receive",
    "deficit",
    "queue",
    "send",
    "forward_alloc",
    "backlog",
    "receive_share",
    "queue_share",
    "send_share",
    "drops",
    "numa_drops",
    "unread",
    "unsent",
    "unacked",
];

fn probe(settings: &str) -> Harness<SocketMemory> {
    Harness::new(settings).unwrap()
}

fn table() -> Table {
    Table::new(&COLUMNS)
}

/// A row of one socket of [family, type, protocol], NULL where the kernel has nothing of the kind, and else 0 but for `values`.
fn row(table: Table, owner: i64, [family, kind, protocol]: [i64; 3], values: &[(&str, i64)]) -> Table {
    let value = |name: &&str| match values.iter().find(|(given, _)| given == name) {
        Some((_, value)) => Some(*value),
        None => match *name {
            "owner" => Some(owner),
            "family" => Some(family),
            "kind" => Some(kind),
            // Computed of sockets of the internet alone.
            "protocol" => [2, 10].contains(&family).then_some(protocol),
            "deficit" | "numa_drops" => (protocol == 17).then_some(0),
            "unread" | "unsent" | "unacked" => (protocol == 6).then_some(0),
            "sockets" => Some(1),
            _ => Some(0),
        },
    };
    let cells: Vec<Option<i64>> = COLUMNS.iter().map(value).collect();
    let cells: Vec<&dyn Cell> = cells.iter().map(|cell| cell as &dyn Cell).collect();
    table.row(&cells)
}

fn collect(rows: Table) -> Gathered {
    probe("{}").collect(&[("sockets", rows)]).unwrap()
}

#[test]
fn each_protocol_has_its_own_account() {
    let values = [
        ("receive", 5000),
        ("queue", 700),
        ("send", 300),
        ("forward_alloc", 4096),
        ("backlog", 60),
        ("receive_share", 250),
        ("queue_share", 125),
        ("send_share", 500),
        ("drops", 3),
        ("sockets", 2),
    ];
    let with = |more: &[(&'static str, i64)]| [&values[..], more].concat();
    let rows = row(table(), 1, TCP, &with(&[("unread", 100), ("unsent", 200), ("unacked", 400)]));
    let rows = row(rows, 1, UDP, &with(&[("deficit", 1000), ("numa_drops", 44)]));
    let rows = row(rows, 2, [1, 1, 0], &values);
    let got = collect(rows);
    for (metric, tcp, udp, unix) in [
        ("sockets", 2.0, 2.0, 2.0),
        // Of UDP without what has been read already.
        ("receive", 5000.0, 4000.0, 5000.0),
        // TCP has a queue; the others have only what is on its way.
        ("send", 700.0, 300.0, 300.0),
        ("forward_alloc", 4096.0, 4096.0, 4096.0),
        ("backlog", 60.0, 60.0, 60.0),
        ("receive_fullest", 0.25, 0.25, 0.25),
        ("send_fullest", 0.125, 0.5, 0.5),
        ("receive_full_sockets", 0.0, 0.0, 0.0),
        ("send_full_sockets", 0.0, 0.0, 0.0),
        // Both places where a kernel may count them.
        ("drops", 3.0, 47.0, 3.0),
    ] {
        let have = |scope, labels| got.get(metric, Some(scope), labels);
        assert_eq!(have(1, &["tcp", "ipv4"]), Some(tcp), "{metric}");
        assert_eq!(have(1, &["udp", "ipv4"]), Some(udp), "{metric}");
        assert_eq!(have(2, &["unix", ""]), Some(unix), "{metric}");
    }
    for (metric, want) in [("tcp_unread", 100.0), ("tcp_unsent", 200.0), ("tcp_unacked", 400.0)] {
        assert_eq!(got.get(metric, Some(1), &["ipv4"]), Some(want), "{metric}");
    }
    assert_eq!(got.len(), 3 * 10 + 3);
}

#[test]
fn protocols_are_told_apart_by_family_type_and_number() {
    for (socket, want) in [
        (TCP, ["tcp", "ipv4"]),
        (TCP6, ["tcp", "ipv6"]),
        (UDP, ["udp", "ipv4"]),
        ([10, 2, 17], ["udp", "ipv6"]),
        ([2, 1, 262], ["mptcp", "ipv4"]),
        // A raw socket may carry TCP's number.
        ([2, 3, 6], ["raw", "ipv4"]),
        ([10, 3, 58], ["raw", "ipv6"]),
        ([2, 2, 1], ["other", "ipv4"]),
        ([2, 2, 136], ["other", "ipv4"]),
        ([2, 1, 132], ["other", "ipv4"]),
        ([1, 2, 0], ["unix", ""]),
        ([16, 3, 6], ["netlink", ""]),
        ([17, 3, 0], ["packet", ""]),
        ([40, 1, 0], ["other", ""]),
    ] {
        let got = collect(row(table(), 1, socket, &[("receive", 9)]));
        assert_eq!(got.get("sockets", Some(1), &want), Some(1.0), "{socket:?}");
        let tcp = if want[0] == "tcp" { Some(0.0) } else { None };
        assert_eq!(got.get("tcp_unread", Some(1), &[want[1]]), tcp, "{socket:?}");
    }
}

#[test]
fn rule_9_rows_of_one_series_are_added_up() {
    let rows = row(table(), 1, [2, 3, 1], &[("receive", 10), ("receive_share", 100)]);
    let rows = row(rows, 1, [2, 3, 255], &[("receive", 30), ("receive_share", 700), ("sockets", 4)]);
    let rows = row(rows, 1, [2, 3, 89], &[("receive", 2), ("receive_share", 20)]);
    let got = collect(rows);
    for (metric, want) in [("sockets", 6.0), ("receive", 42.0), ("receive_fullest", 0.7)] {
        assert_eq!(got.get(metric, Some(1), &["raw", "ipv4"]), Some(want), "{metric}");
    }
    assert_eq!(got.len(), 10);
}

#[test]
fn full_sockets_are_counted_by_direction() {
    let rows = row(table(), 1, TCP, &[("sockets", 10)]);
    let rows = row(rows, 1, TCP, &[("sockets", 3), ("receive_full", 1)]);
    let rows = row(rows, 1, TCP, &[("sockets", 2), ("queue_full", 1), ("send_full", 1)]);
    let rows = row(rows, 1, TCP, &[("sockets", 1), ("receive_full", 1), ("queue_full", 1)]);
    // Only one's queue is full: that is none of UDP's limits.
    let rows = row(rows, 1, UDP, &[("sockets", 5), ("send_full", 1)]);
    let rows = row(rows, 1, UDP, &[("sockets", 7), ("queue_full", 1)]);
    let got = collect(rows);
    for (labels, sockets, receive, send) in [(["tcp", "ipv4"], 16.0, 4.0, 3.0), (["udp", "ipv4"], 12.0, 0.0, 5.0)] {
        assert_eq!(got.get("sockets", Some(1), &labels), Some(sockets), "{labels:?}");
        assert_eq!(got.get("receive_full_sockets", Some(1), &labels), Some(receive), "{labels:?}");
        assert_eq!(got.get("send_full_sockets", Some(1), &labels), Some(send), "{labels:?}");
    }
}

#[test]
fn sequence_numbers_of_unconnected_sockets_are_no_bytes() {
    let wild = [("unread", 1 << 30), ("unsent", -(1 << 30)), ("unacked", 1 << 30)];
    let rows = row(table(), 1, TCP, &[&wild[..], &[("unconnected", 1)]].concat());
    let alone = collect(rows.clone());
    let both = collect(row(rows, 1, TCP, &[("unread", 5), ("unsent", -3), ("unacked", 7)]));
    for (metric, want) in [("tcp_unread", 5.0), ("tcp_unsent", 0.0), ("tcp_unacked", 7.0)] {
        assert_eq!(alone.get(metric, Some(1), &["ipv4"]), Some(0.0), "{metric}");
        // A socket that worked while it was read is a little below nothing.
        assert_eq!(both.get(metric, Some(1), &["ipv4"]), Some(want), "{metric}");
    }
}

#[test]
fn rule_2_what_a_kernel_cannot_tell_is_absent() {
    // Before Linux 6.2 a socket cannot be looked at as TCP's or UDP's.
    let cells = |[family, kind, protocol]: [i64; 3]| -> Vec<Option<i64>> {
        let value = |name: &&str| match *name {
            "family" => Some(family),
            "kind" => Some(kind),
            "protocol" => Some(protocol),
            "deficit" | "numa_drops" | "unread" | "unsent" | "unacked" | "receive_share" => NULL,
            _ => Some(1),
        };
        COLUMNS.iter().map(value).collect()
    };
    let add = |table: Table, socket| {
        let cells = cells(socket);
        table.row(&cells.iter().map(|cell| cell as &dyn Cell).collect::<Vec<_>>())
    };
    let got = collect(add(add(table(), TCP), UDP));
    for metric in ["tcp_unread", "tcp_unsent", "tcp_unacked"] {
        assert_eq!(got.get(metric, Some(1), &["ipv4"]), None, "{metric}");
    }
    assert_eq!(got.get("receive", Some(1), &["udp", "ipv4"]), None);
    assert_eq!(got.get("receive", Some(1), &["tcp", "ipv4"]), Some(1.0));
    assert_eq!(got.get("drops", Some(1), &["udp", "ipv4"]), Some(1.0));
    // A socket whose limit is 0 has no share of it.
    assert_eq!(got.get("receive_fullest", Some(1), &["tcp", "ipv4"]), None);
    assert_eq!(got.get("send_fullest", Some(1), &["tcp", "ipv4"]), Some(0.001));
}

#[test]
fn an_owner_that_is_not_known_is_nobodys() {
    let got = collect(table().row(&{
        let cells: Vec<&dyn Cell> =
            COLUMNS.iter().map(|name| if *name == "owner" { &NULL } else { &1 as &dyn Cell }).collect();
        cells
    }));
    assert_eq!(got.get("sockets", None, &["unix", ""]), Some(1.0));
}

#[test]
fn without_rows_there_is_nothing() {
    assert!(probe("{}").collect(&[]).unwrap().is_empty());
    assert!(collect(table()).is_empty());
    assert!(collect(row(table(), 1, TCP, &[]).failed("no BPF")).is_empty());
}

#[test]
fn the_plan_is_what_the_readme_says() {
    let probe = probe("{}");
    let [query] = &probe.plan().queries[..] else { panic!("one query") };
    assert_eq!((query.name.as_str(), query.optional), ("sockets", false));
    assert_eq!(
        query.sql,
        "SELECT owner, family, protocol, sk.sk_type AS kind, \
         (sk.__sk_common.skc_state - 2) * (sk.__sk_common.skc_state - 7) * (sk.__sk_common.skc_state - 10) = 0 AS unconnected, \
         100 * sk.sk_backlog.rmem_alloc.counter > 90 * sk.sk_rcvbuf AS receive_full, \
         100 * sk.sk_wmem_queued > 90 * sk.sk_sndbuf AS queue_full, \
         100 * (sk.sk_wmem_alloc.refs.counter - 1) > 90 * sk.sk_sndbuf AS send_full, \
         count(*) AS sockets, sum(sk.sk_backlog.rmem_alloc.counter) AS receive, \
         sum(maybe((sk::udp_sock).forward_deficit)) AS deficit, sum(sk.sk_wmem_queued) AS queue, \
         sum(sk.sk_wmem_alloc.refs.counter - 1) AS send, sum(sk.sk_forward_alloc) AS forward_alloc, \
         sum(sk.sk_backlog.len) AS backlog, \
         max(1000 * sk.sk_backlog.rmem_alloc.counter / sk.sk_rcvbuf) AS receive_share, \
         max(1000 * sk.sk_wmem_queued / sk.sk_sndbuf) AS queue_share, \
         max(1000 * (sk.sk_wmem_alloc.refs.counter - 1) / sk.sk_sndbuf) AS send_share, \
         sum((sk.sk_drops.counter + 4294967296) % 4294967296) AS drops, \
         sum((maybe(sk.sk_drop_counters.drops0.counter) + 4294967296) % 4294967296 \
         + (maybe(sk.sk_drop_counters.drops1.counter) + 4294967296) % 4294967296) AS numa_drops, \
         sum((maybe((sk::tcp_sock).rcv_nxt) - maybe((sk::tcp_sock).copied_seq) + 6442450944) % 4294967296 - 2147483648) AS unread, \
         sum((maybe((sk::tcp_sock).write_seq) - maybe((sk::tcp_sock).snd_nxt) + 6442450944) % 4294967296 - 2147483648) AS unsent, \
         sum((maybe((sk::tcp_sock).snd_nxt) - maybe((sk::tcp_sock).snd_una) + 6442450944) % 4294967296 - 2147483648) AS unacked \
         FROM iter.socket GROUP BY owner, family, protocol, kind, unconnected, receive_full, queue_full, send_full"
    );
    let named = |name: &str| COLUMNS.contains(&name);
    assert!(query.sql.split(" AS ").skip(1).all(|rest| named(rest.split([',', ' ']).next().unwrap())));
    let readme = include_str!("../README.md");
    for metric in &probe.plan().metrics {
        let unit = if metric.unit.is_empty() { String::new() } else { format!("_{}", metric.unit) };
        let name = format!("`netsonde_socket_memory_{}{unit}`", metric.name);
        assert!(readme.contains(&name) && metric.scoped, "{name}");
    }
}

#[test]
fn distances_survive_a_wrap_and_an_overtaking_read() {
    // As `distance` writes it down.
    let distance = |a: i64, b: i64| (a - b + WRAP + HALF) % WRAP - HALF;
    for (a, b, want) in
        [(5, 5, 0), (9, 5, 4), (3, u32::MAX.into(), 4), (5, 9, -4), (u32::MAX.into(), 3, -4), (1 << 30, 0, 1 << 30)]
    {
        assert_eq!(distance(a, b), want, "{a} - {b}");
    }
}

#[test]
fn settings_that_make_no_sense_are_told() {
    for (settings, want) in [
        (r#"{"ful": 80}"#, "ful"),
        (r#"{"full": 0}"#, "full: 0 is no percentage"),
        (r#"{"full": 101}"#, "full: 101 is no percentage"),
        (r#"{"full": -1}"#, "settings"),
        (r#"{"full": "90%"}"#, "settings"),
    ] {
        let error = Harness::<SocketMemory>::new(settings).err().expect(settings);
        assert!(error.contains(want), "{settings}: {error}");
    }
    assert!(probe(r#"{"full": 75}"#).plan().queries[0].sql.contains("> 75 * sk.sk_rcvbuf AS receive_full"));
    assert_eq!(probe("{}").plan(), probe(r#"{"full": 90}"#).plan());
}
