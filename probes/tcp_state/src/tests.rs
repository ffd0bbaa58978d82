use super::*;
use netsonde_sdk::test::{Gathered, Harness, Table};

const NULL: Option<u64> = None;

const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

fn probe(settings: &str) -> Harness<TcpState> {
    Harness::new(settings).unwrap()
}

/// Without the columns of listeners.
fn collect(tables: &[(&str, Table)]) -> Gathered {
    probe(r#"{"listeners": false}"#).collect(tables).unwrap()
}

fn counts(rows: &[[i64; 4]]) -> Table {
    rows.iter().fold(Table::new(&["netns", "family", "state", "connections"]), |table, row| {
        table.row(&[&row[0], &row[1], &row[2], &row[3]])
    })
}

fn node(rows: &[[i64; 5]]) -> Table {
    rows.iter().fold(Table::new(&["netns", "inuse", "owned", "tw", "requests"]), |table, row| {
        table.row(&[&row[0], &row[1], &row[2], &row[3], &row[4]])
    })
}

/// What is there of a namespace: state, family and how many.
fn shown(got: &Gathered, scope: u32) -> Vec<String> {
    let mut shown = Vec::new();
    for state in STATES {
        for family in ["ipv4", "ipv6", ""] {
            if let Some(count) = got.get("connections", Some(scope), &[state, family]) {
                shown.push(format!("{state} {family} {count}"));
            }
        }
    }
    shown
}

#[test]
fn every_state_has_the_kernels_name() {
    let rows: Vec<_> = (0..11).map(|state| [1, if state % 2 == 0 { 2 } else { 10 }, state + 1, 100 + state]).collect();
    let got = collect(&[("held", counts(&rows))]);
    for (state, row) in STATES.iter().zip(rows) {
        let family = if row[1] == 2 { "ipv4" } else { "ipv6" };
        assert_eq!(got.get("connections", Some(1), &[state, family]), Some(row[3] as f64), "{state}");
    }
    assert_eq!(got.len(), 11);
}

#[test]
fn a_dump_replaces_what_no_process_can_hold() {
    // Namespace 1 has TIME_WAIT and requests; 2 has neither, and is not in the dump.
    let held = counts(&[[1, 2, 1, 5], [1, 2, 5, 2], [1, 10, 3, 1], [2, 2, 1, 7], [2, 2, 5, 3]]);
    let rest = counts(&[[1, 2, 6, 40], [1, 10, 6, 2], [1, 2, 5, 9], [1, 2, 3, 8]]);
    let got = collect(&[("held", held), ("rest", rest), ("whole", counts(&[])), ("node", node(&[[1, 7, 7, 42, 8]]))]);
    assert_eq!(
        shown(&got, 1),
        ["established ipv4 5", "syn_recv ipv4 8", "fin_wait2 ipv4 9", "time_wait ipv4 40", "time_wait ipv6 2"]
    );
    assert_eq!(shown(&got, 2), ["established ipv4 7", "fin_wait2 ipv4 3"]);
}

#[test]
fn a_whole_dump_replaces_all_but_close() {
    let held = counts(&[[1, 2, 1, 5], [1, 2, 7, 2], [1, 10, 7, 1], [1, 2, 10, 1], [1, 2, 8, 6], [2, 2, 1, 1]]);
    // CLOSE in a dump is a socket that is bound only: it is among those of the pass.
    let whole = counts(&[[1, 2, 1, 9], [1, 2, 10, 1], [1, 2, 4, 3], [1, 2, 9, 4], [1, 2, 6, 20], [1, 2, 7, 77]]);
    let got = collect(&[("held", held), ("rest", counts(&[])), ("whole", whole)]);
    assert_eq!(
        shown(&got, 1),
        [
            "established ipv4 9",
            "fin_wait1 ipv4 3",
            "time_wait ipv4 20",
            "close ipv4 2",
            "close ipv6 1",
            "last_ack ipv4 4",
            "listen ipv4 1"
        ]
    );
    assert_eq!(shown(&got, 2), ["established ipv4 1"]);
}

#[test]
fn a_namespace_in_both_dumps_takes_the_whole_one() {
    let held = counts(&[[1, 2, 1, 5]]);
    let got =
        collect(&[("held", held), ("rest", counts(&[[1, 2, 6, 3]])), ("whole", counts(&[[1, 2, 6, 4], [1, 2, 1, 6]]))]);
    assert_eq!(shown(&got, 1), ["established ipv4 6", "time_wait ipv4 4"]);
}

#[test]
fn rule_4_what_could_not_be_read_is_absent_for_that_namespace_alone() {
    let held: Vec<_> = (1..=3).flat_map(|netns| [[netns, 2, 1, 5], [netns, 2, 5, 2], [netns, 2, 7, 1]]).collect();
    let rest = counts(&[[1, 2, 6, 9]]).failed_scope(2);
    let whole = counts(&[]).failed_scope(3);
    let got = collect(&[("held", counts(&held)), ("rest", rest), ("whole", whole)]);
    assert_eq!(shown(&got, 1), ["established ipv4 5", "time_wait ipv4 9", "close ipv4 1"]);
    assert_eq!(shown(&got, 2), ["established ipv4 5", "close ipv4 1"]);
    assert_eq!(shown(&got, 3), ["close ipv4 1"]);

    // Whether a namespace is to be dumped was not known.
    let tables = [("held", counts(&held)), ("rest", counts(&[])), ("whole", counts(&[]))];
    let got = collect(&[&tables[..], &[("node", node(&[[1, 5, 5, 0, 0]]).failed_scope(2))]].concat());
    assert_eq!(shown(&got, 1), ["established ipv4 5", "fin_wait2 ipv4 2", "close ipv4 1"]);
    assert_eq!(shown(&got, 2), ["close ipv4 1"]);
}

#[test]
fn rule_2_a_dump_that_failed_leaves_its_states_absent() {
    let held = counts(&[[1, 2, 1, 5], [1, 2, 5, 2], [1, 2, 7, 1], [2, 2, 1, 4]]);
    let whole = || counts(&[[2, 2, 1, 6], [2, 2, 6, 8]]);
    let got = collect(&[("held", held.clone()), ("rest", counts(&[]).failed("x")), ("whole", whole())]);
    assert_eq!(shown(&got, 1), ["established ipv4 5", "close ipv4 1"]);
    assert_eq!(shown(&got, 2), ["established ipv4 6", "time_wait ipv4 8"]);

    // What the other dump has told is still true.
    let rest = counts(&[[1, 2, 6, 3]]);
    let got = collect(&[("held", held.clone()), ("rest", rest), ("whole", whole().failed("x"))]);
    assert_eq!(shown(&got, 1), ["time_wait ipv4 3", "close ipv4 1"]);

    // Without the pass there is what the dumps tell.
    let tables = [("held", held.failed("x")), ("rest", counts(&[])), ("whole", whole())];
    let got = collect(&tables);
    assert_eq!(
        (shown(&got, 1), shown(&got, 2)),
        (vec![], vec!["established ipv4 6".into(), "time_wait ipv4 8".into()])
    );
}

#[test]
fn where_nothing_can_be_dumped_the_totals_are_of_no_family() {
    let tables =
        [("held", counts(&[[1, 2, 1, 5], [1, 10, 3, 1]])), ("node", node(&[[1, 7, 6, 42, 8], [2, 0, 0, 0, 0]]))];
    let want = ["established ipv4 5", "syn_recv ipv6 1", "syn_recv  8", "time_wait  42"];
    let got = collect(&tables);
    assert_eq!(shown(&got, 1), want);
    assert!(shown(&got, 2).is_empty());
    // The same where nobody asked for it.
    let got = probe(r#"{"listeners": false, "unowned": false}"#).collect(&tables).unwrap();
    assert_eq!(shown(&got, 1), want);
    assert_eq!(got.get("unowned", Some(1), &[]), Some(1.0));
}

#[test]
fn sockets_without_a_process_are_counted() {
    let got = collect(&[("node", node(&[[1, 9, 4, 3, 2], [2, 4, 4, 0, 0], [3, 4, 5, 0, 0]])), ("rest", counts(&[]))]);
    for (scope, want) in [(1, 5.0), (2, 0.0), (3, 0.0)] {
        assert_eq!(got.get("unowned", Some(scope), &[]), Some(want), "{scope}");
    }
}

#[test]
fn listeners_are_shown_by_port() {
    let names = ["netns", "family", "state", "connections", "port", "queue", "queue_limit", "queue_share"];
    let held = Table::new(&names)
        // An accepted connection has its listener's limit, and no queue.
        .row(&[&1, &2, &1, &30, &0, &0, &3840, &0])
        .row(&[&1, &2, &10, &1, &80, &64, &128, &500])
        .row(&[&1, &10, &10, &4, &80, &3, &512, &23])
        .row(&[&1, &2, &10, &1, &8080, &0, &0, &NULL])
        .row(&[&2, &2, &10, &1, &80, &1, &4, &250]);
    let got = probe("{}").collect(&[("held", held)]).unwrap();
    for (scope, labels, queue, limit, share) in [
        (1, ["80", "ipv4"], 64.0, 128.0, Some(0.5)),
        (1, ["80", "ipv6"], 3.0, 512.0, Some(0.023)),
        // A limit of 0 has no share.
        (1, ["8080", "ipv4"], 0.0, 0.0, None),
        (2, ["80", "ipv4"], 1.0, 4.0, Some(0.25)),
    ] {
        assert_eq!(got.get("accept_queue", Some(scope), &labels), Some(queue), "{labels:?}");
        assert_eq!(got.get("accept_queue_limit", Some(scope), &labels), Some(limit), "{labels:?}");
        assert_eq!(got.get("accept_queue_fullest", Some(scope), &labels), share, "{labels:?}");
    }
    // The states are the same, whatever their ports.
    assert_eq!(shown(&got, 1), ["established ipv4 30", "listen ipv4 2", "listen ipv6 4"]);
    assert_eq!(got.len(), 4 + 4 + 4 + 3);
}

#[test]
fn rule_14_round_trip_times_are_counted_in_powers_of_two_of_a_second() {
    let rtt = Table::new(&["netns", "bucket", "count", "sum"])
        .row(&[&1, &0, &1, &1])
        .row(&[&1, &4, &2, &20])
        .row(&[&1, &20, &3, &3_000_000])
        .row(&[&1, &25, &1, &(1_i64 << 25)]);
    let mut probe = probe(r#"{"rtt": true}"#);
    let got = probe.collect(&[("rtt", rtt)]).unwrap();
    let spread = got.spread("rtt", Some(1), &[]).unwrap();
    assert_eq!(spread.buckets, [(2f64.powi(-16), 3), (1.0, 3), (f64::INFINITY, 1)]);
    assert_eq!(spread.sum, (3_000_021 + (1 << 25)) as f64 * RTT_ONE);

    // 16 units of 2^-20 s are 122.07 eighths of a microsecond: a time above the bound is not counted below it.
    assert!(sql::RTT.contains("srtt_us * 2048 + 15624) / 15625"));
    let counted = |eighths: u64| (eighths * 2048).div_ceil(15625);
    for (eighths, want) in
        [(1, 1), (7, 1), (8, 2), (122, 16), (123, 17), (8_000_000, 1 << 20), (8_000_001, (1 << 20) + 1)]
    {
        assert_eq!(counted(eighths), want, "{eighths}");
    }
}

#[test]
fn without_rows_there_is_nothing() {
    assert!(probe("{}").collect(&[]).unwrap().is_empty());
    assert!(collect(&[("held", counts(&[])), ("rest", counts(&[])), ("whole", counts(&[]))]).is_empty());
}

#[test]
fn a_namespace_that_is_not_known_is_nobodys() {
    let held = Table::new(&["netns", "family", "state", "connections"]).row(&[&NULL, &2, &1, &5]);
    let got = collect(&[("held", held), ("rest", counts(&[]).failed_scope(1)), ("whole", counts(&[]))]);
    assert_eq!(got.get("connections", None, &["established", "ipv4"]), Some(5.0));
}

#[test]
fn the_plan_is_what_the_readme_says() {
    let probe = probe(r#"{"rtt": true}"#);
    let queries: Vec<_> = probe.plan().queries.iter().map(|query| (query.name.as_str(), query.optional)).collect();
    assert_eq!(queries, [("held", false), ("node", true), ("rest", true), ("whole", true), ("rtt", true)]);
    assert_eq!(
        probe.plan().queries[0].sql,
        "SELECT netns, family, sk.__sk_common.skc_state AS state, count(*) AS connections, \
         sk.__sk_common.skc_num * (sk.__sk_common.skc_state / 10) * (10 / sk.__sk_common.skc_state) AS port, \
         sum(sk.sk_ack_backlog) AS queue, sum(sk.sk_max_ack_backlog) AS queue_limit, \
         max(1000 * sk.sk_ack_backlog / sk.sk_max_ack_backlog) AS queue_share FROM iter.socket \
         WHERE protocol = 6 AND sk.sk_type = 1 GROUP BY netns, family, state, port"
    );
    assert!((1_u64..=13).all(|state| (state / 10 * (10 / state) == 1) == (state == 10)), "only listeners have a port");
    let readme = include_str!("../README.md");
    for metric in &probe.plan().metrics {
        let unit = if metric.unit.is_empty() { String::new() } else { format!("_{}", metric.unit) };
        let name = format!("`netsonde_tcp_state_{}{unit}`", metric.name);
        assert!(readme.contains(&name) && metric.scoped, "{name}");
    }
    for state in STATES {
        assert!(readme.contains(&format!("`{state}`")), "{state}");
    }
}

#[test]
fn settings_leave_queries_out() {
    for (settings, want) in [
        ("{}", &["held", "node", "rest", "whole"][..]),
        (r#"{"unowned": false}"#, &["held", "node"]),
        (r#"{"listeners": false}"#, &["held", "node", "rest", "whole"]),
        (r#"{"unowned": false, "rtt": true}"#, &["held", "node", "rtt"]),
    ] {
        let probe = probe(settings);
        let names: Vec<_> = probe.plan().queries.iter().map(|query| query.name.as_str()).collect();
        assert_eq!(names, want, "{settings}");
        assert_eq!(probe.plan().queries[0].sql.contains("port"), !settings.contains("listeners"), "{settings}");
        assert_eq!(probe.plan(), self::probe(settings).plan(), "{settings}");
    }
}

#[test]
fn settings_that_make_no_sense_are_told() {
    for (settings, want) in [(r#"{"listener": true}"#, "listener"), (r#"{"rtt": "yes"}"#, "settings")] {
        let error = Harness::<TcpState>::new(settings).err().expect(settings);
        assert!(error.contains(want), "{settings}: {error}");
    }
}
