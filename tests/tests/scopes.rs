//! Namespaces that go, and others that take over what was theirs: number, name, both.

use netsonde_tests::{
    agent::Agent,
    netns::{Netns, Process, run},
    page::Page,
    traffic::Peer,
    unique,
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

const CONFIG: &str =
    "probes: { sockstat: {}, socket_memory: {}, tcp_state: {}, traffic: { settings: { loopback: true } } }";
const RECEIVED: &str = "netsonde_traffic_receive_packets_total";

fn inode(netns: &str) -> u64 {
    fs::metadata(format!("/run/netns/{netns}")).unwrap().ino()
}

/// So many UDP sockets and listeners, and as many datagrams as there are sockets.
fn inhabit(netns: &Netns, sockets: usize, listeners: usize) -> Peer {
    let mut peer = Peer::new(netns);
    peer.run(&format!(
        "kept = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range({sockets})]
for s in kept: s.bind(('127.0.0.1', 0)); s.sendto(b'x', s.getsockname())
kept += [listen('127.0.0.1', 4800 + port) for port in range({listeners})]"
    ));
    peer
}

/// What the page says of a namespace: UDP sockets by sockstat and by the pass, listeners, packets.
fn told(page: &Page, netns: &str) -> [Option<f64>; 4] {
    [
        page.get("netsonde_sockstat_udp_inuse", &[("netns", netns), ("family", "ipv4")]),
        page.get("netsonde_socket_memory_sockets", &[("netns", netns), ("protocol", "udp"), ("family", "ipv4")]),
        page.get("netsonde_tcp_state_connections", &[("netns", netns), ("state", "listen"), ("family", "ipv4")]),
        page.get(RECEIVED, &[("netns", netns), ("device", "lo")]),
    ]
}

fn some(values: [f64; 4]) -> [Option<f64>; 4] {
    values.map(Some)
}

/// A new namespace of this inode. The kernel gives the lowest free number away: those that have another one stay meanwhile.
fn successor(number: u64) -> Option<Netns> {
    let mut others = Vec::new();
    for _ in 0..30 {
        let netns = Netns::new("later");
        if inode(&netns.name) == number {
            return Some(netns);
        }
        others.push(netns);
    }
    None
}

/// A namespace that ends after a look at it, and a new one of its inode. Another test may get the number first: then once more.
fn replaced(agent: &Agent, look: impl Fn(&Page, &str)) -> (String, Netns) {
    let replaced = (0..10).find_map(|_| {
        let first = Netns::new("first");
        let (name, number) = (first.name.clone(), inode(&first.name));
        let inhabitant = inhabit(&first, 7, 3);
        look(&agent.scrape(), &name);
        drop(inhabitant);
        first.delete();
        successor(number).map(|second| (name, second))
    });
    replaced.expect("a namespace gets the inode of one that has gone")
}

#[test]
fn rule_29_a_reused_inode_does_not_go_on_with_the_gauges_and_counters_of_the_old_one() {
    let agent = Agent::start(CONFIG);
    let (first, second) =
        replaced(&agent, |page, name| assert_eq!(told(page, name), some([7.0, 7.0, 3.0, 7.0]), "the first one"));
    let _inhabitant = inhabit(&second, 4, 2);
    let page = agent.scrape();
    assert_eq!(told(&page, &second.name), some([4.0, 4.0, 2.0, 4.0]), "the second one");
    // Rule 7: its counters stay for a while, its gauges do not.
    assert_eq!(told(&page, &first), [None, None, None, Some(7.0)]);
}

#[test]
fn rule_29_nor_does_one_that_has_the_old_ones_name_too() {
    let agent = Agent::start(CONFIG);
    let (name, later) = replaced(&agent, |page, name| assert_eq!(told(page, name), some([7.0, 7.0, 3.0, 7.0])));
    // The name, without a look in between.
    let inhabitant = inhabit(&later, 9, 1);
    run("ip", &["netns", "attach", &name, &inhabitant.pid().to_string()]);
    let second = Netns { name: name.clone() };
    assert_eq!(inode(&second.name), inode(&later.name));
    later.delete();
    let page = agent.scrape();
    // Rule 5: counters of the same labels add up, though the second has counted further than the first; gauges are the living one's.
    assert_eq!(told(&page, &name), some([9.0, 9.0, 1.0, 7.0 + 9.0]));
}

#[test]
fn a_name_given_anew_shows_the_living_ones_gauges() {
    let agent = Agent::start(CONFIG);
    let name = unique("nst-again");
    let mut packets = 0.0;
    for (sockets, listeners) in [(5, 2), (3, 0), (6, 1)] {
        let netns = Netns { name: name.clone() };
        run("ip", &["netns", "add", &name]);
        netns.run("ip", &["link", "set", "lo", "up"]);
        let _inhabitant = inhabit(&netns, sockets, listeners);
        packets += sockets as f64;
        let listening = (listeners > 0).then_some(listeners as f64);
        let sockets = Some(sockets as f64);
        assert_eq!(told(&agent.scrape(), &name), [sockets, sockets, listening, Some(packets)]);
    }
}

/// Namespaces come and go: each with its sockets, a connection and what is left of one, for a moment; several at a time. The inodes are
/// printed when it is told to end, and all are gone.
const CHURN: &str = "
import ctypes, os, select, signal, socket, struct, sys, fcntl, time
libc = ctypes.CDLL(None, use_errno=True)
def life():
    libc.prctl(1, signal.SIGKILL)
    assert libc.unshare(0x40000000) == 0
    kept = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    fcntl.ioctl(kept[0], 0x8914, struct.pack('16sh14x', b'lo', 1))
    for s in kept: s.bind(('127.0.0.1', 0)); s.sendto(b'x', s.getsockname())
    l = socket.create_server(('127.0.0.1', 80))
    for _ in range(3): kept.append(socket.create_connection(('127.0.0.1', 80)))
    kept[-1].close(); l.accept()[0].close()
    inode = os.stat('/proc/self/ns/net').st_ino
    time.sleep(0.05 + inode % 7 * 0.02)
    os.write(w, struct.pack('Q', inode))
    os._exit(0)
r, w = os.pipe()
living, begun = set(), 0
print('ready', flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    while len(living) < 6:
        pid = os.fork()
        if pid == 0: life()
        living.add(pid); begun += 1
    living.discard(os.wait()[0])
for pid in living: os.waitpid(pid, 0)
print(' '.join(str(struct.unpack('Q', os.read(r, 8))[0]) for _ in range(begun)), flush=True)
sys.stdin.readline()
";

/// Inodes of the namespaces that a process is in.
fn inhabited() -> BTreeSet<u64> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| Some(fs::metadata(entry.path().join("ns/net")).ok()?.ino())).collect()
}

#[test]
fn rule_7_namespaces_that_go_while_they_are_read_break_nothing_and_leave_no_gauges() {
    const PROBES: [&str; 4] = ["sockstat", "socket_memory", "tcp_state", "traffic"];
    let agent = Agent::start(&format!("{CONFIG}\ncollection: {{ min_interval: 1ms }}"));
    let mut churn = Process::piped("python3", &["-u", "-c", CHURN]);
    churn.wait_for_line();
    let mut named = BTreeSet::new();
    let (began, mut scrapes) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(5) {
        let netns = Netns::new("brief");
        let inhabitant = netns.spawn("sleep", &["1000"]);
        named.insert(netns.name.clone());
        let (page, deleted) = std::thread::scope(|scope| {
            let scrape = scope.spawn(|| agent.page());
            let delete = scope.spawn(|| drop((inhabitant, netns)));
            (scrape.join().unwrap(), delete.join())
        });
        deleted.unwrap();
        scrapes += 1;
        for probe in PROBES {
            assert_eq!(page.value("netsonde_probe_up", &[("probe", probe)]), 1.0, "{probe}, scrape {scrapes}");
        }
        let down: Vec<_> = page.find("netsonde_query_up", &[]).filter(|sample| sample.value != 1.0).collect();
        assert!(down.is_empty(), "scrape {scrapes}: {down:?}");
        assert!(told(&page, "host").iter().any(Option::is_some), "the host is there, scrape {scrapes}");
    }
    churn.tell("");
    let gone: BTreeSet<u64> = churn.wait_for_line().split(' ').map(|inode| inode.parse().unwrap()).collect();
    assert!(scrapes >= 10 && gone.len() >= 5, "{scrapes} scrapes, {} namespaces", gone.len());

    // Others may have got such a number since, or get it while we look.
    let before = inhabited();
    agent.wait_until("nothing is left of them", |agent| {
        let page = agent.page();
        let after = inhabited();
        let counters = |name: &str| name.ends_with("_total") || name.ends_with("_created");
        let left = page.0.iter().filter(|sample| !counters(&sample.name)).filter(|sample| {
            let netns = sample.labels.get("netns").map_or("", String::as_str);
            let dead = |inode: &u64| gone.contains(inode) && !before.contains(inode) && !after.contains(inode);
            named.contains(netns) || netns.parse().is_ok_and(|inode| dead(&inode))
        });
        left.count() == 0
    });
}
