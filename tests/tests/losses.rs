//! Lost packets: each is counted once, by reason and class, in the namespace where it was lost, and told with where that was.

use netsonde_tests::{
    agent::Agent,
    netns::{Netns, Pair},
    traffic::Peer,
};
use serde_json::Value;
use std::{collections::HashSet, fs, sync::LazyLock};

const PACKETS: &str = "netsonde_packet_loss_packets_total";
const CONFIG: &str = "node: node-7\nprobes: { packet_loss: {} }";

/// Of `Pair::b`, with that of `Pair::a`.
const ADDRESSES: [(&str, &str); 2] = [("10.199.0.2", "10.199.0.1"), ("fd99::2", "fd99::1")];
const DROPPED: u64 = 5555;
const CLOSED: u64 = 5556;

/// The names of this kernel's functions.
static SYMBOLS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap();
    symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
});

/// Events of datagrams from these ports, and all others of a port of ours.
fn to_port(agent: &Agent, port: u64) -> Vec<Value> {
    agent.events("PACKETLOSS").into_iter().filter(|event| event["fields"]["dport"] == port).collect()
}

fn check_event(event: &Value, netns: &str, want: &[(&str, Value)]) {
    assert_eq!((&event["netns"], &event["node"]), (&Value::from(netns), &Value::from("node-7")), "{event}");
    for (name, value) in want {
        assert_eq!(event["fields"][name], *value, "{name} in {event}");
    }
    // Whatever function of this kernel it is, it is one, and no address.
    let place = event["fields"]["place"].as_str().unwrap_or_else(|| panic!("no place in {event}"));
    let function = place.split('+').next().unwrap();
    assert!(SYMBOLS.contains(function), "{place} is no symbol of this kernel");
}

#[test]
fn a_rule_that_drops_is_counted_to_the_datagram_there_and_nowhere_else() {
    let (pair, other) = (Pair::new(), Netns::new("quiet"));
    let b = pair.b.name.as_str();
    pair.b.drop_udp(DROPPED);
    let mut client = Peer::new(&pair.a);
    let agent = Agent::start(CONFIG);
    agent.until_attached(2);

    const EACH: u64 = 150;
    for (to, from) in ADDRESSES {
        let before = agent.page().get(PACKETS, &[("netns", b), ("reason", "NETFILTER_DROP")]).unwrap_or(0.0);
        let port = client.number(&format!("send('{to}', {DROPPED}, {EACH})"));
        let labels = [("netns", b), ("class", "policy"), ("reason", "NETFILTER_DROP"), ("protocol", "UDP")];
        agent.until_counted(PACKETS, &labels, before + EACH as f64);
        assert_eq!(agent.page().find(PACKETS, &[("netns", b), ("reason", "NETFILTER_DROP")]).count(), 1);

        let of_port = |event: &&Value| event["fields"]["sport"] == port;
        // Rows come up to a tenth of a second after their counter.
        agent.wait_until("there is an event for each datagram", |agent| {
            to_port(agent, DROPPED).iter().filter(of_port).count() as u64 >= EACH
        });
        let told = to_port(&agent, DROPPED);
        let told: Vec<&Value> = told.iter().filter(of_port).collect();
        assert_eq!(told.len() as u64, EACH, "an event for each datagram");
        for event in told {
            let fields = [
                ("protocol", "UDP".into()),
                ("saddr", from.into()),
                ("sport", port.into()),
                ("daddr", to.into()),
                ("dport", DROPPED.into()),
                ("reason", "NETFILTER_DROP".into()),
                ("class", "policy".into()),
            ];
            check_event(event, b, &fields);
        }
    }
    let page = agent.page();
    for netns in [&pair.a.name, &other.name] {
        assert_eq!(page.find(PACKETS, &[("netns", netns), ("protocol", "UDP")]).count(), 0, "{netns}");
    }
}

#[test]
fn a_datagram_to_a_port_where_nobody_listens_is_a_loss() {
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    let mut client = Peer::new(&pair.a);
    let agent = Agent::start(CONFIG);
    agent.until_attached(2);
    let mut sent = 0.0;
    for (to, from) in ADDRESSES {
        let port = client.number(&format!("send('{to}', {CLOSED}, 7)"));
        sent += 7.0;
        let labels = [("netns", b), ("class", "loss"), ("reason", "NO_SOCKET"), ("protocol", "UDP")];
        agent.until_counted(PACKETS, &labels, sent);
        let told: Vec<Value> =
            to_port(&agent, CLOSED).into_iter().filter(|event| event["fields"]["sport"] == port).collect();
        assert_eq!(told.len(), 7);
        for event in &told {
            let fields = [
                ("protocol", "UDP".into()),
                ("saddr", from.into()),
                ("daddr", to.into()),
                ("reason", "NO_SOCKET".into()),
                ("class", "loss".into()),
            ];
            check_event(event, b, &fields);
        }
    }
}

#[test]
fn rule_27_a_datagram_that_finds_no_room_is_of_the_receivers_namespace() {
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    let (mut client, mut server) = (Peer::new(&pair.a), Peer::new(&pair.b));
    let agent = Agent::start(CONFIG);
    agent.until_attached(2);
    server.run("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)");
    server.run("u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304); u.bind(('10.199.0.2', 5557))");
    client.run("send('10.199.0.2', 5557, 50, 500)");
    // What was let in is there to be read: all others were lost.
    let count = "n = 0\ntry:\n    while u.recv(9999, socket.MSG_DONTWAIT): n += 1\nexcept BlockingIOError: pass";
    agent.wait_until("all datagrams have come or are counted", |agent| {
        let lost = agent.page().get(PACKETS, &[("netns", b), ("reason", "SOCKET_RCVBUFF")]).unwrap_or(0.0);
        lost >= 40.0
    });
    server.run(count);
    let came = server.number("n") as f64;
    assert!((1.0..50.0).contains(&came), "{came} of 50 were let in");
    let labels = [("netns", b), ("class", "loss"), ("reason", "SOCKET_RCVBUFF"), ("protocol", "UDP")];
    agent.until_counted(PACKETS, &labels, 50.0 - came);
    assert_eq!(agent.page().find(PACKETS, &[("netns", &pair.a.name), ("reason", "SOCKET_RCVBUFF")]).count(), 0);
}

#[test]
fn rule_34_what_is_part_of_normal_life_is_counted_and_makes_no_event() {
    let netns = Netns::new("normal");
    let name = netns.name.as_str();
    let mut peer = Peer::new(&netns);
    let agent = Agent::start(CONFIG);
    agent.until_attached(2);
    // What a Unix socket has not read when it is closed.
    peer.run("x, y = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)");
    peer.run("[x.send(b'never read') for _ in range(9)]; y.close()");
    // After it, something that does make an event: when that is there, the others would be.
    peer.run(&format!("send('127.0.0.1', {CLOSED}, 1)"));
    agent.wait_until("the later event is there", |agent| !agent.events_of("PACKETLOSS", name).is_empty());
    agent.until_counted(PACKETS, &[("netns", name), ("class", "normal"), ("reason", "SOCKET_CLOSE")], 9.0);
    let told = agent.events_of("PACKETLOSS", name);
    assert!(told.iter().all(|event| event["fields"]["reason"] == "NO_SOCKET"), "{told:?}");
    assert_eq!(agent.page().find(PACKETS, &[("netns", name), ("reason", "SOCKET_CLOSE")]).count(), 1, "of one class");
}

#[test]
fn rule_34_the_lists_are_settings_and_move_a_reason_from_class_to_class() {
    let netns = Netns::new("lists");
    let name = netns.name.as_str();
    let mut peer = Peer::new(&netns);
    let agent = Agent::start("probes: { packet_loss: { settings: { normal: [NO_SOCKET], policy: [SOCKET_CLOSE] } } }");
    agent.until_attached(2);
    peer.run(&format!("send('127.0.0.1', {CLOSED}, 3)"));
    peer.run("x, y = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)");
    peer.run("x.send(b'never read'); y.close()");
    agent.until_counted(PACKETS, &[("netns", name), ("class", "normal"), ("reason", "NO_SOCKET")], 3.0);
    agent.until_counted(PACKETS, &[("netns", name), ("class", "policy"), ("reason", "SOCKET_CLOSE")], 1.0);
    agent.wait_until("the event is there", |agent| !agent.events_of("PACKETLOSS", name).is_empty());
    let told = agent.events_of("PACKETLOSS", name);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["fields"]["reason"], &told[0]["fields"]["class"]), (&"SOCKET_CLOSE".into(), &"policy".into()));
}
