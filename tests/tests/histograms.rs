//! `histogram(x)` over the kernel's sockets (rules 14 and 23): the same as buckets made of its rows, and on the page.

use netsonde_tests::{agent::Agent, netns::Netns, query::answer, traffic::Peer};
use serde_json::Value;
use std::collections::BTreeMap;

const PAIRS: usize = 20;

/// Connections at rest, whose round-trip times do not change any more.
fn connected(netns: &Netns) -> Peer {
    let mut peer = Peer::new(netns);
    peer.run(&format!(
        "import time
listener = socket.create_server(('127.0.0.1', 4731), backlog=64)
pairs = []
for n in range({PAIRS}):
    one = socket.create_connection(('127.0.0.1', 4731))
    other, _ = listener.accept()
    for _ in range(n):
        one.sendall(b'x')
        other.recv(1)
        other.sendall(b'y')
        one.recv(1)
    pairs.append((one, other))
time.sleep(0.3)"
    ));
    peer
}

/// Bucket k holds what is above 2^(k-1) and not above 2^k; the first one all up to 1.
fn bucket(x: u64) -> u64 {
    (0..64).find(|k| x <= 1 << k).unwrap_or(64)
}

#[test]
fn rule_23_a_histogram_is_that_of_the_rows() {
    let netns = Netns::new("hist");
    let _peer = connected(&netns);
    let of = format!("FROM iter.socket WHERE sk.__sk_common.skc_state = 1 AND name(netns) = '{}'", netns.name);
    for x in ["(sk::tcp_sock).srtt_us / 8", "lport", "sk.sk_rcvbuf", "(sk::tcp_sock).snd_cwnd - 5", "sk.sk_ack_backlog"]
    {
        let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{x}: {row}"));
        let mut expected: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for row in answer(&format!("SELECT {x} AS x, netns {of}")) {
            let x = number(&row, "x");
            let (count, sum) = expected.entry(bucket(x)).or_default();
            (*count, *sum) = (*count + 1, *sum + x);
        }
        assert_eq!(expected.values().map(|(count, _)| count).sum::<u64>(), 2 * PAIRS as u64, "{x}");
        let told = answer(&format!("SELECT netns, histogram({x}) {of} GROUP BY netns"));
        let told = told.iter().map(|row| (number(row, "bucket"), (number(row, "count"), number(row, "sum"))));
        assert_eq!(told.collect::<BTreeMap<_, _>>(), expected, "{x}");
    }
}

#[test]
fn rule_14_round_trip_times_are_on_the_page_as_a_gauge_histogram() {
    let netns = Netns::new("rtt");
    let _peer = connected(&netns);
    let agent = Agent::start("probes: { tcp_state: { settings: { rtt: true } } }");
    let rows = answer(&format!(
        "SELECT (sk::tcp_sock).srtt_us AS eighths, netns FROM iter.socket \
         WHERE sk.__sk_common.skc_state = 1 AND name(netns) = '{}'",
        netns.name
    ));
    let seconds: Vec<f64> = rows.iter().map(|row| row["eighths"].as_f64().unwrap() / 8e6).collect();
    let page = agent.page();
    let of = [("netns", netns.name.as_str())];
    assert_eq!(page.value("netsonde_tcp_state_rtt_seconds_gcount", &of), seconds.len() as f64);
    // Each is rounded up to 2^-20 seconds, and by no more.
    let (sum, exact) = (page.value("netsonde_tcp_state_rtt_seconds_gsum", &of), seconds.iter().sum::<f64>());
    let rounding = seconds.len() as f64 / f64::from(1 << 20);
    assert!((exact..=exact + rounding).contains(&sum), "{sum}, and the rows come to {exact}");
    let buckets: Vec<_> = page.find("netsonde_tcp_state_rtt_seconds_bucket", &of).collect();
    assert!(buckets.len() > 10);
    for sample in buckets {
        let le = &sample.labels["le"];
        let bound: f64 = le.replace("+Inf", "inf").parse().unwrap();
        let below = seconds.iter().filter(|&&rtt| rtt <= bound).count();
        assert_eq!(sample.value, below as f64, "le {le}: {seconds:?}");
    }
}
