//! Each number on the page against what the kernel says in the same namespace, with real sockets and real traffic.

use netsonde_tests::{
    agent::Agent,
    netns::{Netns, Pair, Process, run},
    page::Page,
};
use std::collections::BTreeSet;

/// Opens sockets of every kind, prints `ready`, and holds them until it is told to end.
const SOCKETS: &str = "
import socket, sys
kept = []
def sock(family, kind, proto=0):
    s = socket.socket(family, kind, proto); kept.append(s); return s
for port in range(5001, 5004):
    s = sock(socket.AF_INET, socket.SOCK_STREAM); s.bind(('127.0.0.1', port)); s.listen(8)
s = sock(socket.AF_INET6, socket.SOCK_STREAM); s.bind(('::1', 5010)); s.listen(8)
for i in range(2):
    c = sock(socket.AF_INET, socket.SOCK_STREAM); c.connect(('127.0.0.1', 5001))
c = sock(socket.AF_INET6, socket.SOCK_STREAM); c.connect(('::1', 5010))
for port in range(5021, 5026):
    s = sock(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', port))
for port in range(5031, 5033):
    s = sock(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::1', port))
sock(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
# A connection that ends here stays in TIME_WAIT.
a = socket.socket(); a.bind(('127.0.0.1', 5050)); a.listen(1)
b = socket.socket(); b.connect(('127.0.0.1', 5050)); d, _ = a.accept()
d.close(); b.close(); a.close()
print('ready')
sys.stdin.readline()
";

/// The number behind `key` in the line that begins with `line`, as in sockstat.
fn of_line(text: &str, line: &str, key: &str) -> f64 {
    let words: Vec<&str> = text.lines().find(|l| l.starts_with(line)).unwrap().split_whitespace().collect();
    let at = words.iter().position(|word| *word == key).unwrap();
    words[at + 1].parse().unwrap()
}

/// The number below `key` in a pair of lines, as in snmp.
fn of_pair(text: &str, protocol: &str, key: &str) -> f64 {
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let at = lines.next().unwrap().split_whitespace().position(|word| word == key).unwrap();
    lines.next().unwrap().split_whitespace().nth(at).unwrap().parse().unwrap()
}

fn family_gauges(page: &Page, netns: &str) -> Vec<(String, f64)> {
    let names = ["tcp_inuse", "udp_inuse", "udplite_inuse", "raw_inuse", "frag_inuse", "frag_memory_bytes"];
    let mut gauges = Vec::new();
    for name in names {
        for family in ["ipv4", "ipv6"] {
            let value = page.get(&format!("netsonde_sockstat_{name}"), &[("netns", netns), ("family", family)]);
            gauges.extend(value.map(|value| (format!("{name} {family}"), value)));
        }
    }
    gauges
}

#[test]
fn sockets_are_counted_as_the_kernel_counts_them_there() {
    let netns = Netns::new("sockets");
    let _sockets = netns.python(SOCKETS);
    let agent = Agent::start("probes: { sockstat: {} }");
    let page = agent.scrape();
    let (v4, v6, snmp) = (netns.kernel("sockstat"), netns.kernel("sockstat6"), netns.kernel("snmp"));

    let name = netns.name.as_str();
    let value = |metric: &str| {
        page.value(&format!("netsonde_sockstat_{metric}"), &[("netns", name), ("pod", ""), ("namespace", "")])
    };
    assert_eq!(value("sockets_used"), of_line(&v4, "sockets:", "used"));
    assert_eq!(value("tcp_time_wait"), of_line(&v4, "TCP:", "tw"));
    assert_eq!(value("tcp_established"), of_pair(&snmp, "Tcp:", "CurrEstab"));
    for (gauge, have) in family_gauges(&page, name) {
        let (metric, family) = gauge.split_once(' ').unwrap();
        let (protocol, key) = metric.split_once('_').unwrap();
        let (text, six) = if family == "ipv4" { (&v4, "") } else { (&v6, "6") };
        let key = key.trim_end_matches("_bytes");
        assert_eq!(have, of_line(text, &format!("{}{six}:", protocol.to_uppercase()), key), "{gauge}");
    }
    // And against what was opened, lest both be wrong together.
    assert_eq!(value("tcp_established"), 6.0, "three connections, both ends here");
    assert_eq!(value("tcp_time_wait"), 1.0);
    let family = |metric: &str, family| {
        page.value(&format!("netsonde_sockstat_{metric}"), &[("netns", name), ("family", family)])
    };
    assert_eq!(family("tcp_inuse", "ipv4"), 3.0 + 4.0, "listeners and both ends of two connections");
    assert_eq!(family("tcp_inuse", "ipv6"), 1.0 + 2.0);
    assert_eq!((family("udp_inuse", "ipv4"), family("udp_inuse", "ipv6")), (5.0, 2.0));
    assert_eq!(family("raw_inuse", "ipv4"), 1.0);
}

#[test]
fn what_is_of_the_whole_node_has_no_namespace() {
    let _netns = Netns::new("node");
    let agent = Agent::start("probes: { sockstat: {} }");
    let page = agent.page();
    for metric in ["tcp_orphan", "tcp_alloc", "tcp_memory_bytes", "udp_memory_bytes"] {
        let name = format!("netsonde_sockstat_{metric}");
        let samples: Vec<_> = page.find(&name, &[]).collect();
        assert_eq!(samples.len(), 1, "{metric}: {samples:?}");
        assert!(samples[0].labels.is_empty(), "{samples:?}");
    }
    let pages = of_line(&run("cat", &["/proc/net/sockstat"]), "TCP:", "mem");
    let page_size: f64 = run("getconf", &["PAGESIZE"]).trim().parse().unwrap();
    let have = page.value("netsonde_sockstat_tcp_memory_bytes", &[]);
    assert_eq!(have % page_size, 0.0);
    assert!((have - pages * page_size).abs() <= 64.0 * page_size, "{have} bytes, the kernel says {pages} pages");
}

#[test]
fn traffic_is_counted_as_the_kernel_counts_it_there() {
    let pair = Pair::new();
    let agent = Agent::start("probes: { traffic: {} }");
    let dev = |netns: &Netns, column: usize| -> f64 {
        let text = netns.kernel("dev");
        let line = text.lines().find(|line| line.trim_start().starts_with("veth0:")).unwrap().to_owned();
        line.split_once(':').unwrap().1.split_whitespace().nth(column).unwrap().parse().unwrap()
    };
    let before = dev(&pair.a, 8);
    pair.a.run(
        "python3",
        &[
            "-c",
            "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(200): s.sendto(b'x' * 1000, ('10.199.0.2', 9))
",
        ],
    );
    assert!(dev(&pair.a, 8) - before >= 200.0 * 1000.0, "the traffic did not flow");

    // Neighbour discovery may send a packet at any time: the truth lies between two looks.
    let columns = [
        ("receive_bytes", 0),
        ("receive_packets", 1),
        ("receive_errors", 2),
        ("receive_drops", 3),
        ("transmit_bytes", 8),
        ("transmit_packets", 9),
        ("transmit_errors", 10),
        ("transmit_drops", 11),
    ];
    let look = |netns: &Netns| columns.map(|(_, column)| dev(netns, column));
    let (low_a, low_b) = (look(&pair.a), look(&pair.b));
    let page = agent.scrape();
    let (high_a, high_b) = (look(&pair.a), look(&pair.b));
    for (netns, low, high) in [(&pair.a, low_a, high_a), (&pair.b, low_b, high_b)] {
        for (index, (name, _)) in columns.iter().enumerate() {
            let labels = [("netns", netns.name.as_str()), ("device", "veth0")];
            let have = page.value(&format!("netsonde_traffic_{name}_total"), &labels);
            assert!(
                low[index] <= have && have <= high[index],
                "{name} in {}: {have} of {}..{}",
                netns.name,
                low[index],
                high[index]
            );
        }
    }
    let lo = page.find("netsonde_traffic_receive_bytes_total", &[("device", "lo")]).count();
    assert_eq!(lo, 0, "`lo` was not asked for");
}

#[test]
fn host_ends_of_veth_pairs_are_left_out_unless_asked() {
    let netns = Netns::new("veth");
    let host_end = format!("nst{}", std::process::id() % 100_000);
    run("ip", &["link", "add", &host_end, "type", "veth", "peer", "name", "eth0", "netns", &netns.name]);
    let page = Agent::start("probes: { traffic: {} }").page();
    let devices = |page: &Page, netns: &str| -> Vec<String> {
        page.find("netsonde_traffic_receive_bytes_total", &[("netns", netns)])
            .map(|sample| sample.labels["device"].clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    assert!(!devices(&page, "host").contains(&host_end));
    assert_eq!(devices(&page, &netns.name), ["eth0"]);
    let page = Agent::start("probes: { traffic: { settings: { host_veth: true, loopback: true } } }").page();
    assert!(devices(&page, "host").contains(&host_end));
    assert_eq!(devices(&page, &netns.name), ["eth0", "lo"]);
    let peer = |netns, device, kind| {
        let labels = [("netns", netns), ("device", device), ("peer_pod", ""), ("peer_type", kind)];
        page.get("netsonde_traffic_receive_bytes_total", &labels).is_some()
    };
    assert!(peer("host", host_end.as_str(), "netns") && peer(&netns.name, "eth0", "netns") && peer("host", "lo", ""));
}

#[test]
fn a_namespace_without_a_name_goes_by_its_inode() {
    let mut process = Process::piped("unshare", &["-n", "sh", "-c", "readlink /proc/self/ns/net; read x"]);
    let link = process.wait_for_line();
    let inode = link.trim_start_matches("net:[").trim_end_matches(']');
    let page = Agent::start("probes: { sockstat: {} }").page();
    assert!(page.get("netsonde_sockstat_sockets_used", &[("netns", inode)]).is_some(), "no {inode}");
}
