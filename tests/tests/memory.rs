//! What sockets hold in memory: each number of `socket_memory` against what the kernel says in the same namespace, by `ss` and procfs.

use netsonde_tests::{
    agent::Agent,
    netns::Netns,
    page::Page,
    ss::{Socket, sockets},
    traffic::Peer,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Sockets with something in them, for both families. Nobody reads but where it says so.
const SOCKETS: &str = "
kept = []
def keep(s): kept.append(s); return s

def fill(s, size, to=None):
    s.setblocking(False)
    try:
        while True: s.send(b'x' * size)
    except BlockingIOError: pass

def udp(address, buffer=None):
    u = keep(socket.socket(family(address), socket.SOCK_DGRAM))
    if buffer: u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    u.bind((address, 0)); u.connect(u.getsockname()); return u

for address in ('127.0.0.1', '::1'):
    l = keep(listen(address, 5000))
    # The one's send buffer is full, as the other does not read; and a little the other way.
    c = keep(tcp(address)); c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30000); c.connect((address, 5000))
    keep(accept(l)).send(b'x' * 20000); fill(c, 5000)
    # The same with buffers that grow.
    c = keep(connect(address, 5000)); keep(accept(l)); fill(c, 100000)
    # Half of it is read.
    c = keep(connect(address, 5000)); c.send(b'x' * 10000); keep(accept(l)).recv(5000)
    # Nothing is there.
    keep(connect(address, 5000)); keep(accept(l))
    # A buffer that has run over; one with room; one of which most is read already, and its account is not settled yet.
    u = udp(address, 4000); [u.send(b'x' * 200) for _ in range(60)]
    u = udp(address); [u.send(b'x' * 100) for _ in range(7)]
    u = udp(address); [u.send(b'x' * 1000) for _ in range(10)]; [u.recv(2000) for _ in range(8)]
    # Raw sockets get the refusals of datagrams to nobody.
    keep(socket.socket(family(address), socket.SOCK_RAW, 58 if ':' in address else 1))
    send(address, 9, 5); send(address, 9, 5)

for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    a, b = map(keep, socket.socketpair(type=kind)); a.send(b'x' * 1000)
a, b = map(keep, socket.socketpair()); fill(a, 5000)

def mptcp(address):
    s = keep(socket.socket(family(address), socket.SOCK_STREAM, 262)); s.settimeout(20); return s

for address in ('127.0.0.1', '::1') if os.path.exists('/proc/sys/net/mptcp/enabled') else ():
    l = mptcp(address); l.bind((address, 5100)); l.listen(1)
    c = mptcp(address); c.connect((address, 5100)); d = keep(accept(l)); c.send(b'x' * 10000); fill(d, 5000)

n = keep(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)); n.bind((os.getpid(), 0x10))
p = keep(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))); p.bind(('lo', 0x88b5))
[p.send(bytes(12) + b'\\x88\\xb5' + b'x' * 100) for _ in range(5)]
";

/// Values by protocol, family and name of a metric.
type Told = BTreeMap<(&'static str, &'static str, &'static str), f64>;

const METRICS: [&str; 13] = [
    "sockets",
    "receive_bytes",
    "send_bytes",
    "forward_alloc_bytes",
    "backlog_bytes",
    "receive_fullest_ratio",
    "send_fullest_ratio",
    "receive_full_sockets",
    "send_full_sockets",
    "drops",
    "tcp_unread_bytes",
    "tcp_unsent_bytes",
    "tcp_unacked_bytes",
];

const GROUPS: [(&str, &str); 9] = [
    ("tcp", "ipv4"),
    ("tcp", "ipv6"),
    ("udp", "ipv4"),
    ("udp", "ipv6"),
    ("raw", "ipv4"),
    ("raw", "ipv6"),
    ("unix", ""),
    ("netlink", ""),
    ("packet", ""),
];

/// What `ss` says, added up as the probe's README has it.
fn of_ss(protocol: &'static str, family: &'static str, sockets: &[Socket], full: u64, told: &mut Told) {
    let tcp = protocol == "tcp";
    let (used, send) = ("r", if tcp || protocol == "mptcp" { "w" } else { "t" });
    let sum = |value: &dyn Fn(&Socket) -> u64| sockets.iter().map(value).sum::<u64>() as f64;
    let memory = |name: &'static str| sum(&|socket| socket.memory[name]);
    // In thousandths, cut off.
    let fullest = |used: &str, limit: &str| {
        let share = |socket: &Socket| 1000 * socket.memory[used] / socket.memory[limit];
        sockets.iter().map(share).max().unwrap() as f64 / 1000.0
    };
    let full = |used: &str, limit: &str| {
        sockets.iter().filter(|socket| 100 * socket.memory[used] > full * socket.memory[limit]).count() as f64
    };
    let connected = |value: fn(&Socket) -> u64| sum(&|socket| if socket.state == "LISTEN" { 0 } else { value(socket) });
    let mut tell = |metric, value| told.insert((protocol, family, metric), value);
    tell("sockets", sockets.len() as f64);
    // What UDP has handed out is not in its queue any more.
    tell("receive_bytes", if protocol == "udp" { sum(&|socket| socket.receive_queue) } else { memory("r") });
    tell("send_bytes", memory(send));
    tell("forward_alloc_bytes", memory("f"));
    tell("backlog_bytes", memory("bl"));
    tell("receive_fullest_ratio", fullest(used, "rb"));
    tell("send_fullest_ratio", fullest(send, "tb"));
    tell("receive_full_sockets", full(used, "rb"));
    tell("send_full_sockets", full(send, "tb"));
    tell("drops", memory("d"));
    if tcp {
        tell("tcp_unread_bytes", connected(|socket| socket.receive_queue));
        tell("tcp_unsent_bytes", connected(|socket| socket.not_sent));
        tell("tcp_unacked_bytes", connected(|socket| socket.send_queue - socket.not_sent));
    }
}

/// The lines of a file as in `/proc/net/udp`: how many, and the sums of received memory and of drops.
fn of_proc(netns: &Netns, file: &str) -> (f64, f64, f64) {
    let text = netns.kernel(file);
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let received = |row: &Vec<&str>| u64::from_str_radix(row[4].split_once(':').unwrap().1, 16).unwrap();
    let drops = |row: &Vec<&str>| row.last().unwrap().parse::<u64>().unwrap();
    let sum = |value: &dyn Fn(&Vec<&str>) -> u64| rows.iter().map(value).sum::<u64>() as f64;
    (rows.len() as f64, sum(&received), sum(&drops))
}

fn has_mptcp() -> bool {
    Path::new("/proc/sys/net/mptcp/enabled").exists()
}

/// All that the kernel says.
fn kernel(netns: &Netns, pid: u32, full: u64) -> Told {
    let mut told = Told::new();
    for (family, option, six) in [("ipv4", "-4", ""), ("ipv6", "-6", "6")] {
        let mut tcp = sockets(netns, &["-tanmi", option]);
        // What carries MPTCP is the kernel's own.
        tcp.retain(|socket| !socket.carries_mptcp);
        of_ss("tcp", family, &tcp, full, &mut told);
        of_ss("udp", family, &sockets(netns, &["-uanm", option]), full, &mut told);
        if has_mptcp() {
            of_ss("mptcp", family, &sockets(netns, &["-Manm", option]), full, &mut told);
        }
        let (count, received, drops) = of_proc(netns, &format!("udp{six}"));
        for (metric, value) in [("sockets", count), ("receive_bytes", received), ("drops", drops)] {
            assert_eq!(told[&("udp", family, metric)], value, "ss and /proc/net/udp{six}: {metric}");
        }
        let (count, received, drops) = of_proc(netns, &format!("raw{six}"));
        for (metric, value) in [("sockets", count), ("receive_bytes", received), ("drops", drops)] {
            told.insert(("raw", family, metric), value);
        }
    }
    of_ss("unix", "", &sockets(netns, &["-xanm"]), full, &mut told);
    of_ss("packet", "", &sockets(netns, &["-0anm"]), full, &mut told);
    // The kernel has sockets of its own there, and `ss` has one. One that listens to a group is shown twice.
    let mut netlink = sockets(netns, &["-f", "netlink", "-anm"]);
    netlink.retain(|socket| socket.local.ends_with(&format!(":{pid}")));
    netlink.dedup();
    of_ss("netlink", "", &netlink, full, &mut told);
    told
}

/// The same of a page, of a metric that `like` has.
fn page_says(page: &Page, netns: &str, like: &Told) -> Told {
    let value = |&(protocol, family, metric): &(&'static str, &'static str, &'static str)| {
        let name = format!("netsonde_socket_memory_{metric}");
        let all = [("netns", netns), ("family", family), ("protocol", protocol)];
        let labels = if metric.starts_with("tcp_") { &all[..2] } else { &all[..] };
        Some(((protocol, family, metric), page.get(&name, labels)?))
    };
    like.keys().filter_map(value).collect()
}

/// Looks until the kernel says the same before and after a page, and the page does: timers run. Gives what they say.
fn agreed(agent: &Agent, netns: &Netns, pid: u32, full: u64) -> Told {
    let began = Instant::now();
    loop {
        let before = kernel(netns, pid, full);
        let told = page_says(&agent.page(), &netns.name, &before);
        let after = kernel(netns, pid, full);
        if before == told && told == after {
            return told;
        }
        if began.elapsed() > Duration::from_secs(15) {
            let differ: Vec<_> = before
                .iter()
                .filter(|(key, value)| told.get(key) != Some(value))
                .map(|(key, value)| format!("{key:?}: {:?}, the kernel says {value}", told.get(key)))
                .collect();
            panic!("{}", if differ.is_empty() { "the kernel is not quiet".into() } else { differ.join("\n") });
        }
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn memory_and_bytes_of_every_kind_of_socket_are_what_the_kernel_says() {
    let netns = Netns::new("memory");
    let mut peer = Peer::new(&netns);
    peer.run(SOCKETS);
    // What netlink tells of, unread.
    netns.run("ip", &["route", "add", "blackhole", "10.1.0.0/16"]);
    netns.run("ip", &["addr", "add", "10.2.0.1/32", "dev", "lo"]);
    let full = 80;
    let agent = Agent::start(&format!(
        "probes: {{ socket_memory: {{ settings: {{ full: {full} }} }} }}\ncollection: {{ min_interval: 1ms }}"
    ));
    let told = agreed(&agent, &netns, peer.pid(), full);

    // Lest nothing be compared with nothing.
    let value = |protocol, family, metric| told[&(protocol, family, metric)];
    for (protocol, family) in GROUPS {
        assert!(value(protocol, family, "sockets") > 0.0, "{protocol} {family}");
        let metric = if protocol == "unix" { "send_bytes" } else { "receive_bytes" };
        assert!(value(protocol, family, metric) > 0.0, "{protocol} {family} {metric}");
    }
    for family in ["ipv4", "ipv6"] {
        for metric in ["tcp_unread_bytes", "tcp_unsent_bytes", "send_bytes", "send_full_sockets", "forward_alloc_bytes"]
        {
            assert!(value("tcp", family, metric) > 0.0, "{family} {metric}");
        }
        assert_eq!(value("udp", family, "receive_full_sockets"), 1.0, "{family}");
        assert!(value("udp", family, "drops") >= 20.0, "{family}");
    }
    assert!(value("unix", "", "send_full_sockets") >= 1.0);
    if has_mptcp() {
        for (family, metric) in [("ipv4", "receive_bytes"), ("ipv6", "receive_bytes"), ("ipv4", "send_bytes")] {
            assert!(value("mptcp", family, metric) > 0.0, "MPTCP over {family} {metric}");
        }
    }
    let udp: f64 = sockets(&netns, &["-uanm"]).iter().map(|socket| socket.memory["r"] as f64).sum();
    let queued = value("udp", "ipv4", "receive_bytes") + value("udp", "ipv6", "receive_bytes");
    assert!(udp > queued, "some of what was read is on the account: {udp} and {queued}");
    let shown = told.keys().map(|(.., metric)| *metric).collect::<BTreeSet<_>>();
    assert_eq!(shown, METRICS.into());
    let series = agent.page().0.into_iter().filter(|sample| {
        sample.name.starts_with("netsonde_socket_memory_") && sample.labels.get("netns") == Some(&netns.name)
    });
    // Of raw ones `ss` tells only three.
    assert_eq!(series.count(), told.len() + 2 * 7);

    // Closed, they are no more; and with them the namespace's series.
    peer.run("for s in kept: s.close()");
    let page = agent.scrape();
    assert_eq!(page.find("netsonde_socket_memory_sockets", &[("netns", &netns.name)]).count(), 0);
}

#[test]
fn sockets_nearly_full_are_counted_by_the_configured_share() {
    let netns = Netns::new("full");
    let mut peer = Peer::new(&netns);
    // UDP sockets, fuller by about a tenth each.
    peer.run(
        "kept = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(11)]
for tenths, s in enumerate(kept):
    s.bind(('::1', 0)); limit = s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    for _ in range(tenths * limit // 10 // 4352): s.sendto(b'x' * 3000, s.getsockname())",
    );
    let used: Vec<(u64, u64)> =
        sockets(&netns, &["-uanm"]).iter().map(|socket| (socket.memory["r"], socket.memory["rb"])).collect();
    assert_eq!((used.len(), used.iter().filter(|(used, _)| *used == 0).count()), (11, 1), "{used:?}");
    for full in [1, 30, 55, 90, 100] {
        let config = format!("probes: {{ socket_memory: {{ settings: {{ full: {full} }} }} }}");
        let page = Agent::start(&config).page();
        let labels = [("netns", netns.name.as_str()), ("protocol", "udp"), ("family", "ipv6")];
        let have = page.value("netsonde_socket_memory_receive_full_sockets", &labels);
        let want = used.iter().filter(|(used, limit)| 100 * used > full * limit).count() as f64;
        assert_eq!(have, want, "of {used:?} over {full} %");
    }
}
