use super::*;
use netsonde_sdk::test::{Gathered, Harness, Table};

const NULL: Option<u64> = None;
const TCP: u64 = 6;
const UDP: u64 = 17;

fn probe() -> Harness<Cadvisor> {
    Harness::new("{}").unwrap()
}

fn collect(tables: &[(&str, Table)]) -> Gathered {
    probe().collect(tables).unwrap()
}

/// Namespace, inuse, owned, tw, requests.
fn node(rows: &[[i64; 5]]) -> Table {
    rows.iter().fold(Table::new(&["netns", "inuse", "owned", "tw", "requests"]), |table, row| {
        table.row(&[&row[0], &row[1], &row[2], &row[3], &row[4]])
    })
}

/// TCP sockets that processes hold: namespace, family, state, how many.
fn held(rows: &[[i64; 4]]) -> Table {
    let names =
        ["netns", "family", "protocol", "state", "sockets", "receive", "deficit", "send", "drops", "numa_drops"];
    rows.iter().fold(Table::new(&names), |table, row| {
        table.row(&[&row[0], &row[1], &TCP, &row[2], &row[3], &7, &NULL, &7, &7, &NULL])
    })
}

fn dump(rows: &[[i64; 4]]) -> Table {
    rows.iter().fold(Table::new(&["netns", "family", "state", "sockets"]), |table, row| {
        table.row(&[&row[0], &row[1], &row[2], &row[3]])
    })
}

/// What is there of a namespace's TCP: those that are not 0, and how many states are told.
fn tcp(got: &Gathered, metric: &str, scope: u32) -> (Vec<String>, usize) {
    let told = TCP_STATES.map(|state| Some((state, got.get(metric, Some(scope), &[state])?)));
    let some = told.iter().flatten().filter(|(_, count)| *count != 0.0);
    (some.map(|(state, count)| format!("{state} {count}")).collect(), told.iter().flatten().count())
}

#[test]
fn rule_13_names_kinds_labels_and_help_are_the_upstreams() {
    let probe = probe();
    let readme = include_str!("../README.md");
    for (metric, (name, family, help, _, is_tcp)) in probe.plan().metrics.iter().zip(GAUGES) {
        assert_eq!((metric.name.as_str(), metric.help.as_str()), (*name, *help));
        let want = [("family", *family), ("scope-labels", "cadvisor")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(metric.attributes, want);
        assert_eq!(metric.labels[0].name, if *is_tcp { "tcp_state" } else { "udp_state" });
        assert_eq!(format!("{:?}", metric.kind), "MetricKind::Gauge");
        assert!(metric.scoped && metric.unit.is_empty());
        assert!(readme.contains(&format!("`{family}`")), "{family}");
    }
    for state in TCP_STATES.iter().chain(&UDP_STATES) {
        assert!(readme.contains(&format!("`{state}`")), "{state}");
    }
}

#[test]
fn every_namespace_has_every_state_also_where_there_is_nothing() {
    let got = collect(&[("node", node(&[[1, 0, 0, 0, 0], [2, 1, 1, 0, 0]])), ("held", held(&[[2, 2, 10, 1]]))]);
    assert_eq!(got.len(), 2 * (2 * 11 + 2 * 4));
    assert_eq!(tcp(&got, "tcp_usage", 1), (vec![], 11));
    assert_eq!(tcp(&got, "tcp_usage", 2), (vec!["listen 1".into()], 11));
    assert_eq!(tcp(&got, "tcp6_usage", 2), (vec![], 11));
    for state in UDP_STATES {
        assert_eq!(got.get("udp_usage", Some(1), &[state]), Some(0.0), "{state}");
        assert_eq!(got.get("udp6_usage", Some(1), &[state]), Some(0.0), "{state}");
    }
}

#[test]
fn each_state_is_counted_by_the_sockets_family() {
    let rows: Vec<_> = (1..=11).flat_map(|state| [[1, 2, state, 100 + state], [1, 10, state, 200 + state]]).collect();
    let got = collect(&[("node", node(&[[1, 0, 0, 0, 0]])), ("held", held(&rows))]);
    for (index, state) in TCP_STATES.iter().enumerate() {
        // One in CLOSE is in no table of the kernel's.
        let want = |first: f64| Some(if *state == "close" { 0.0 } else { first + index as f64 });
        assert_eq!(got.get("tcp_usage", Some(1), &[state]), want(101.0), "{state}");
        assert_eq!(got.get("tcp6_usage", Some(1), &[state]), want(201.0), "{state}");
    }
}

#[test]
fn udp_is_summed_over_the_bound_sockets() {
    let names =
        ["netns", "family", "protocol", "state", "sockets", "receive", "deficit", "send", "drops", "numa_drops"];
    let held = Table::new(&names)
        .row(&[&1, &2, &UDP, &7, &3, &1000, &400, &50, &5, &NULL])
        .row(&[&1, &2, &UDP, &1, &2, &10, &NULL, &0, &1, &40])
        // Read while it works: the kernel's account may be a little behind.
        .row(&[&1, &10, &UDP, &7, &1, &100, &300, &-1, &0, &0]);
    let got = collect(&[("node", node(&[[1, 0, 0, 0, 0]])), ("held", held)]);
    for (metric, want) in [("udp_usage", [5.0, 46.0, 610.0, 50.0]), ("udp6_usage", [1.0, 0.0, 0.0, 0.0])] {
        let got = UDP_STATES.map(|state| got.get(metric, Some(1), &[state]).unwrap());
        assert_eq!(got, want, "{metric}");
    }
    assert_eq!(tcp(&got, "tcp_usage", 1), (vec![], 11));
}

#[test]
fn dumps_take_the_place_of_what_the_pass_cannot_tell() {
    let node = node(&[[1, 7, 7, 42, 8], [2, 9, 1, 0, 0], [3, 1, 1, 0, 0]]);
    let held = held(&[[1, 2, 1, 5], [1, 2, 5, 2], [1, 10, 3, 1], [2, 2, 1, 1], [2, 2, 7, 4], [3, 2, 1, 1]]);
    let rest = dump(&[[1, 2, 6, 40], [1, 10, 6, 2], [1, 2, 5, 9], [1, 2, 3, 8]]);
    let whole = dump(&[[2, 2, 1, 9], [2, 2, 4, 3], [2, 2, 7, 77], [2, 10, 10, 1]]);
    let got = collect(&[("node", node), ("held", held), ("rest", rest), ("whole", whole)]);
    let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    for (metric, scope, want) in [
        ("tcp_usage", 1, &["established 5", "synrecv 8", "finwait2 9", "timewait 40"][..]),
        ("tcp6_usage", 1, &["timewait 2"]),
        ("tcp_usage", 2, &["established 9", "finwait1 3"]),
        ("tcp6_usage", 2, &["listen 1"]),
        ("tcp_usage", 3, &["established 1"]),
    ] {
        assert_eq!(tcp(&got, metric, scope), (texts(want), 11), "{metric} of {scope}");
    }
}

#[test]
fn rule_2_what_is_not_known_is_absent_where_it_matters() {
    // Namespace 1 needs nothing, 2 has TIME_WAIT, 3 an orphan.
    let tables = || {
        let node = node(&[[1, 1, 1, 0, 0], [2, 1, 1, 6, 0], [3, 2, 1, 0, 0]]);
        [("node", node), ("held", held(&[[1, 2, 1, 1], [2, 2, 1, 1], [3, 2, 1, 1]]))]
    };
    let one = || vec!["established 1".to_owned()];
    // No dump on this node, or all of them failed.
    let failed = [("rest", dump(&[]).failed("x")), ("whole", dump(&[]).failed("x"))];
    for more in [&[][..], &failed] {
        let got = collect(&[&tables()[..], more].concat());
        assert_eq!(tcp(&got, "tcp_usage", 1), (one(), 11));
        assert_eq!(tcp(&got, "tcp_usage", 2), (one(), 8));
        assert_eq!(tcp(&got, "tcp_usage", 3), (vec![], 1));
        assert_eq!(got.get("udp_usage", Some(3), &["listen"]), Some(0.0));
    }
    // One namespace could not be entered, the other is told.
    let more = [("rest", dump(&[[2, 2, 6, 6]])), ("whole", dump(&[]).failed_scope(3))];
    let got = collect(&[&tables()[..], &more].concat());
    assert_eq!(tcp(&got, "tcp_usage", 2), (vec!["established 1".into(), "timewait 6".into()], 11));
    assert_eq!(tcp(&got, "tcp_usage", 3), (vec![], 1));
}

#[test]
fn rule_4_a_namespace_that_could_not_be_read_is_absent_whole() {
    let nodes = node(&[[1, 0, 0, 0, 0]]).failed_scope(2);
    let got = collect(&[("node", nodes), ("held", held(&[[2, 2, 1, 1]]))]);
    assert_eq!((got.len(), tcp(&got, "tcp_usage", 2)), (30, (vec![], 0)));
    let nodes = || node(&[[1, 0, 0, 0, 0], [2, 0, 0, 0, 0]]);
    assert_eq!(collect(&[("node", nodes()), ("held", held(&[[1, 2, 1, 1]]).failed_scope(2))]).len(), 30);
    assert!(collect(&[("node", nodes()), ("held", held(&[]).failed("x"))]).is_empty());
    assert!(collect(&[("node", nodes().failed("x")), ("held", held(&[]))]).is_empty());
    assert!(collect(&[]).is_empty());
}

#[test]
fn sockets_that_are_nobodys_are_left_out() {
    let names =
        ["netns", "family", "protocol", "state", "sockets", "receive", "deficit", "send", "drops", "numa_drops"];
    let held = Table::new(&names).row(&[&NULL, &2, &TCP, &1, &5, &0, &0, &0, &0, &0]);
    let got = collect(&[("node", node(&[[1, 0, 0, 0, 0]])), ("held", held)]);
    assert_eq!((got.len(), tcp(&got, "tcp_usage", 1)), (30, (vec![], 11)));
}
