//! cAdvisor's metrics under its names, against the files that it would read in the same namespace (rule 13).

use netsonde_tests::{
    agent::{Agent, command},
    http,
    netns::Netns,
    page::Page,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// In the order of the kernel's numbers, which begin at 1.
const TCP: [&str; 11] = [
    "established",
    "synsent",
    "synrecv",
    "finwait1",
    "finwait2",
    "timewait",
    "close",
    "closewait",
    "lastack",
    "listen",
    "closing",
];
const UDP: [&str; 4] = ["listen", "dropped", "rxqueued", "txqueued"];

/// Sockets of both families in several states, some that no process holds, and some that are in no table.
const SOCKETS: &str = "
import socket, sys
kept = []
def keep(s): kept.append(s); return s
def listen(family, address, port):
    l = keep(socket.socket(family)); l.bind((address, port)); l.listen(8); return l
def connect(family, address, port):
    s = keep(socket.socket(family)); s.connect((address, port)); return s
def pair(l, family, address):
    c = connect(family, address, l.getsockname()[1]); return c, keep(l.accept()[0])
for family, address, other in ((socket.AF_INET, '127.0.0.1', 5001), (socket.AF_INET6, '::1', 5002)):
    l = listen(family, address, other)
    pair(l, family, address)
    pair(l, family, address)[1].close()
    c, s = pair(l, family, address); c.close(); s.close()
    connect(family, address, other); connect(family, address, other)
both = listen(socket.AF_INET6, '::', 5003)
pair(both, socket.AF_INET, '127.0.0.1')
keep(socket.socket()); keep(socket.socket()).bind(('127.0.0.1', 5004))
for family, address, packets in ((socket.AF_INET, '127.0.0.1', 100), (socket.AF_INET6, '::1', 3)):
    u = keep(socket.socket(family, socket.SOCK_DGRAM)); u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)
    u.bind((address, 5005))
    c = keep(socket.socket(family, socket.SOCK_DGRAM))
    for i in range(packets): c.sendto(b'x' * 1000, (address, 5005))
    keep(socket.socket(family, socket.SOCK_DGRAM))
print('ready')
sys.stdin.readline()
";

/// A node without pods whose namespace is small enough to know all of it.
fn config(netns: &Netns, compat: &str) -> String {
    let name = &netns.name;
    format!("host_netns: /run/netns/{name}\npods: {{ cri: none, docker: none }}\nprobes: {{}}\ncompat: [{compat}]")
}

/// What cAdvisor makes of a file: lines by state, or for UDP the sums of all lines.
fn read(netns: &Netns, file: &str) -> Vec<f64> {
    let text = netns.kernel(file);
    let lines = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let number = |text: &str, radix| u64::from_str_radix(text, radix).unwrap() as f64;
    if file.starts_with("tcp") {
        let mut counts = vec![0.0; TCP.len()];
        lines.for_each(|words| counts[number(words[3], 16) as usize - 1] += 1.0);
        return counts;
    }
    let mut sums = vec![0.0; UDP.len()];
    for words in lines {
        let (tx, rx) = words[4].split_once(':').unwrap();
        let more = [1.0, number(words[12], 10), number(rx, 16), number(tx, 16)];
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    sums
}

fn shown(page: &Page, file: &str) -> Vec<f64> {
    let (label, states) = if file.starts_with("tcp") { ("tcp_state", &TCP[..]) } else { ("udp_state", &UDP[..]) };
    let name = format!("container_network_{file}_usage_total");
    states.iter().map(|state| page.value(&name, &[("id", "/"), (label, state)])).collect()
}

#[test]
fn rule_13_sockets_are_what_cadvisor_would_read() {
    let netns = Netns::new("cadvisor");
    let _sockets = netns.python(SOCKETS);
    let agent = Agent::start(&config(&netns, "cadvisor"));
    for file in ["tcp", "tcp6", "udp", "udp6"] {
        let same = (0..20).find_map(|_| {
            let before = read(&netns, file);
            let page = agent.scrape();
            (before == read(&netns, file)).then(|| (before, shown(&page, file)))
        });
        let (want, have) = same.expect("the namespace is at rest");
        assert_eq!(have, want, "{file}");
        assert!(want.iter().filter(|count| **count > 0.0).count() >= 2, "{file}: {want:?}");
    }
    let page = agent.scrape();
    let samples: Vec<_> = page.find("container_network_tcp_usage_total", &[]).collect();
    assert_eq!(samples.len(), TCP.len(), "nobody but the node has a name here: {samples:?}");
    let labels: BTreeSet<&str> = samples[0].labels.keys().map(|label| label.as_str()).collect();
    let want = ["container", "id", "image", "name", "namespace", "pod", "tcp_state"];
    assert_eq!(labels, BTreeSet::from(want));
    assert!(
        want.iter().filter(|label| !matches!(**label, "id" | "tcp_state")).all(|l| samples[0].labels[*l].is_empty())
    );

    for accept in ["text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"] {
        let text = http::get(&agent.address, "/metrics", &[("Accept", accept)]).text();
        assert!(text.contains("# TYPE container_network_tcp_usage_total gauge\n"), "{text}");
        assert!(
            text.contains("# HELP container_network_tcp_usage_total tcp connection usage statistic for container\n")
        );
    }
}

#[test]
fn rule_13_devices_are_what_cadvisor_would_read() {
    let netns = Netns::new("cadvisor");
    netns.run("ip", &["link", "add", "eth0", "type", "veth", "peer", "name", "veth9"]);
    netns.run("ip", &["link", "add", "docker0", "type", "bridge"]);
    for device in ["eth0", "veth9", "docker0"] {
        netns.run("ip", &["link", "set", device, "up"]);
    }
    let agent = Agent::start(&config(&netns, "cadvisor-traffic"));
    let sent = || -> f64 {
        let text = netns.kernel("dev");
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:")).unwrap().to_owned();
        line.split_whitespace().nth(8).unwrap().parse().unwrap()
    };
    let (low, page, high) = (sent(), agent.scrape(), sent());
    let name = "container_network_transmit_bytes_total";
    let have = page.value(name, &[("id", "/"), ("interface", "eth0")]);
    assert!(low <= have && have <= high, "{have} of {low}..{high}");
    assert_eq!(page.find(name, &[]).count(), 1, "no other device is shown, and no other namespace");
    let text =
        http::get(&agent.address, "/metrics", &[("Accept", "application/openmetrics-text;version=1.0.0")]).text();
    assert!(text.contains("# TYPE container_network_transmit_bytes counter\n"), "{text}");
}

#[test]
fn rule_13_it_is_off_unless_the_configuration_says_so() {
    let (_, out, errors) = command(&["probe", "list", "--json"]);
    let probes: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}"));
    let selected = |name: &str| {
        let probe = probes.as_array().unwrap().iter().find(|probe| probe["name"] == name);
        probe.unwrap_or_else(|| panic!("no {name} in {out}"))["selected"].as_bool().unwrap()
    };
    assert_eq!(["sockstat", "cadvisor", "cadvisor_traffic"].map(selected), [true, false, false]);

    let folder = netsonde_tests::Folder::new("compat");
    let file = folder.write("netsonde.yaml", "probes: { cadvisor_traffic: {} }\n");
    let (code, out, errors) = command(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 2, "{out}{errors}");
    assert!((out + &errors).contains("the configuration chooses by `compat`"), "{errors}");
}
