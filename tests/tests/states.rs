//! TCP connections in every state, held by a process or not, of both families: as many as `ss` shows in the same namespace.

use netsonde_tests::{
    agent::Agent,
    netns::{Netns, Pair},
    page::Page,
    query::answer,
    ss::{Socket, sockets},
    traffic::Peer,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

/// As `ss` has them, and as the label `state` does.
const STATES: [(&str, &str); 10] = [
    ("LISTEN", "listen"),
    ("ESTAB", "established"),
    ("SYN-SENT", "syn_sent"),
    ("SYN-RECV", "syn_recv"),
    ("FIN-WAIT-1", "fin_wait1"),
    ("FIN-WAIT-2", "fin_wait2"),
    ("CLOSE-WAIT", "close_wait"),
    ("CLOSING", "closing"),
    ("LAST-ACK", "last_ack"),
    ("TIME-WAIT", "time_wait"),
];

const FAMILIES: [(&str, &str, u64); 2] = [("ipv4", "-4", 2), ("ipv6", "-6", 10)];

/// Where the server listens, where it is and where the client is. A socket of IPv6 may carry IPv4, too.
const WAYS: [[&str; 3]; 3] =
    [["10.199.0.2", "10.199.0.2", "10.199.0.1"], ["fd99::2", "fd99::2", "fd99::1"], ["::", "10.199.0.2", "10.199.0.1"]];

/// From now on nothing of the connection gets through.
const CUT: &str = "table inet cut { set ports { type inet_service; }
 chain in { type filter hook input priority 0; tcp sport @ports drop; tcp dport @ports drop; }
 }";

const PRELUDE: &str = "
kept = []
def keep(s): kept.append(s); return s
def begin(address, port): s = keep(tcp(address)); s.setblocking(False); s.connect_ex((address, port)); return s
def fill(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30000); s.setblocking(False)
    try:
        while True: s.send(b'x' * 10000)
    except BlockingIOError: pass
def state(s): return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
# Sockets that are in no table of the kernel's are not shown by ss.
def closed(family): return sum(s.fileno() >= 0 and s.family == family and state(s) == 7 for s in kept)
def until_state(s, n): until('state %d' % n, lambda: state(s) == n)
";

enum Step {
    /// What the server does with its listener `l` and its end `c`, the client with its end `s`.
    Server(&'static str),
    Client(&'static str),
    /// What the server sends does not arrive any more, or what the client sends.
    CutServer,
    CutClient,
}
use Step::{Client, CutClient, CutServer, Server};

const LISTEN: Step = Server("l = keep(listen(bound, port))");
const CONNECT: Step = Client("s = keep(connect(to, port))");
const ACCEPT: Step = Server("c = keep(accept(l))");
const SHUT_CLIENT: Step = Client("s.shutdown(socket.SHUT_WR)");
const SHUT_SERVER: Step = Server("c.shutdown(socket.SHUT_WR)");
const CLOSE_SERVER: Step = Server("c.close()");
const AT_END: Step = Server("assert c.recv(1) == b''");

/// What the two do, one act a port; and the state of the server's end.
const ACTS: &[(&str, &[Step])] = &[
    ("LISTEN", &[LISTEN]),
    ("ESTAB", &[LISTEN, CONNECT, ACCEPT]),
    // Nobody has accepted these.
    ("ESTAB", &[LISTEN, CONNECT]),
    ("CLOSE-WAIT", &[LISTEN, CONNECT, SHUT_CLIENT]),
    ("ESTAB", &[Server("l = keep(listen(bound, port)); l.listen(1)"), CONNECT, CONNECT, Client("begin(to, port)")]),
    // The server closes first; then also the client.
    ("FIN-WAIT-2", &[LISTEN, CONNECT, ACCEPT, SHUT_SERVER]),
    ("FIN-WAIT-2", &[LISTEN, CONNECT, ACCEPT, CLOSE_SERVER]),
    (
        "FIN-WAIT-2",
        &[LISTEN, CONNECT, ACCEPT, Server("c.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 110); c.close()")],
    ),
    ("TIME-WAIT", &[LISTEN, CONNECT, ACCEPT, CLOSE_SERVER, Client("assert s.recv(1) == b''; s.close()")]),
    // The client closes first.
    ("CLOSE-WAIT", &[LISTEN, CONNECT, ACCEPT, SHUT_CLIENT, AT_END]),
    ("LAST-ACK", &[LISTEN, CONNECT, ACCEPT, SHUT_CLIENT, AT_END, CutServer, SHUT_SERVER]),
    ("LAST-ACK", &[LISTEN, CONNECT, ACCEPT, SHUT_CLIENT, AT_END, CutServer, CLOSE_SERVER]),
    // Nobody answers.
    ("FIN-WAIT-1", &[LISTEN, CONNECT, ACCEPT, CutClient, SHUT_SERVER]),
    ("FIN-WAIT-1", &[LISTEN, CONNECT, ACCEPT, CutClient, CLOSE_SERVER]),
    ("SYN-RECV", &[LISTEN, CutServer, Client("begin(to, port)")]),
    ("SYN-SENT", &[CutServer, Server("begin(other, port)")]),
    // It is closed, and there is still something to send.
    ("FIN-WAIT-1", &[LISTEN, CONNECT, ACCEPT, Server("fill(c); c.close()")]),
    // Both close at the same time.
    ("CLOSING", &[LISTEN, CONNECT, ACCEPT, CutServer, SHUT_SERVER, SHUT_CLIENT, Server("until_state(c, 11)")]),
    ("CLOSING", &[LISTEN, CONNECT, ACCEPT, CutServer, CLOSE_SERVER, Client("s.close()")]),
    // Bound, not even that, and reset by the other side.
    ("", &[Server("keep(tcp(bound)).bind((bound, port)); keep(tcp(bound))")]),
    (
        "",
        &[
            LISTEN,
            CONNECT,
            ACCEPT,
            Client("s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()"),
            Server("until_reset(c)"),
        ],
    ),
];

fn first_port(way: usize) -> usize {
    4100 + 100 * way
}

/// A pair of namespaces after all acts in all ways.
struct Stage {
    pair: Pair,
    client: Peer,
    server: Peer,
}

impl Stage {
    fn new() -> Self {
        let pair = Pair::new();
        for netns in [&pair.a, &pair.b] {
            netns.nft(CUT);
        }
        let (mut client, mut server) = (Peer::new(&pair.a), Peer::new(&pair.b));
        client.run(PRELUDE);
        server.run(PRELUDE);
        for (way, [bound, to, other]) in WAYS.into_iter().enumerate() {
            for (index, (_, steps)) in ACTS.iter().enumerate() {
                let port = first_port(way) + index;
                client.run(&format!("to, port = '{to}', {port}"));
                server.run(&format!("bound, other, port = '{bound}', '{other}', {port}"));
                let cut = |netns: &Netns| netns.nft(&format!("add element inet cut ports {{ {port} }}"));
                for step in *steps {
                    match step {
                        Server(code) => drop(server.run(code)),
                        Client(code) => drop(client.run(code)),
                        CutServer => cut(&pair.a),
                        CutClient => cut(&pair.b),
                    }
                }
            }
        }
        Self { pair, client, server }
    }

    fn sides(&mut self) -> [(&Netns, &mut Peer); 2] {
        [(&self.pair.a, &mut self.client), (&self.pair.b, &mut self.server)]
    }
}

/// Sockets by state and family.
type Counts = BTreeMap<(String, String), f64>;

fn add(counts: &mut Counts, state: &str, family: &str, more: f64) {
    if more > 0.0 {
        *counts.entry((state.to_owned(), family.to_owned())).or_default() += more;
    }
}

fn of_family(netns: &Netns, option: &str) -> Vec<Socket> {
    let mut sockets = sockets(netns, &["-taneo", option]);
    // A newer `ss` may show sockets that are bound; they are counted elsewhere.
    sockets.retain(|socket| socket.state != "UNCONN");
    sockets
}

/// What `ss` shows in a namespace, and the sockets in CLOSE of the only process in it.
fn kernel(netns: &Netns, peer: &mut Peer, shown: impl Fn(&Socket) -> bool) -> Counts {
    let mut counts = Counts::new();
    for (family, option, number) in FAMILIES {
        for socket in of_family(netns, option).iter().filter(|socket| shown(socket)) {
            let (_, state) = STATES.iter().find(|(ss, _)| *ss == socket.state).unwrap_or_else(|| panic!("{socket:?}"));
            add(&mut counts, state, family, 1.0);
        }
        add(&mut counts, "close", family, peer.number(&format!("closed({number})")) as f64);
    }
    counts
}

fn page_says(page: &Page, netns: &str) -> Counts {
    let key = |labels: &BTreeMap<String, String>| (labels["state"].clone(), labels["family"].clone());
    let of = [("netns", netns)];
    let found = page.find("netsonde_tcp_state_connections", &of);
    found.map(|sample| (key(&sample.labels), sample.value)).collect()
}

/// Whether no process holds it, of those in the kernel's table: not TIME_WAIT, and no request.
fn is_unowned(socket: &Socket) -> bool {
    socket.inode == 0 && socket.state != "SYN-RECV" && !is_rest(socket)
}

/// What is left of a connection; also of one in FIN_WAIT2.
fn is_rest(socket: &Socket) -> bool {
    socket.timer == "timewait"
}

/// Looks until the kernel says the same before and after the page, and the page does: timers run. Gives the page.
fn until_agreed(agent: &Agent, netns: &Netns, mut kernel: impl FnMut() -> Counts) -> Page {
    let began = Instant::now();
    loop {
        let before = kernel();
        let page = agent.page();
        let told = page_says(&page, &netns.name);
        if before == told && told == kernel() {
            return page;
        }
        let differ = || before.iter().filter(|(key, value)| told.get(key) != Some(value)).collect::<Vec<_>>();
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "in {}, of what the kernel says {:?} differs from {told:?}",
            netns.name,
            differ()
        );
        thread::sleep(Duration::from_millis(200));
    }
}

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}"))
}

#[test]
fn connections_in_every_state_are_counted_as_the_kernel_shows_them() {
    let mut stage = Stage::new();
    let config = |settings: &str| {
        format!("probes: {{ tcp_state: {{ settings: {settings} }} }}\ncollection: {{ min_interval: 1ms }}")
    };
    let whole = Agent::start(&config("{}"));
    for ((netns, peer), least) in stage.sides().into_iter().zip([1, 9]) {
        let page = until_agreed(&whole, netns, || kernel(netns, peer, |_| true));
        let all: Vec<Socket> = FAMILIES.iter().flat_map(|(_, option, _)| of_family(netns, option)).collect();
        let unowned = all.iter().filter(|socket| is_unowned(socket)).count();
        assert!(unowned >= least * WAYS.len(), "{unowned} sockets that no process holds in {}", netns.name);
        assert_eq!(page.value("netsonde_tcp_state_unowned", &[("netns", &netns.name)]), unowned as f64);
    }
    check_listeners(&whole.page(), &stage.pair.b);

    // Lest nothing be compared with nothing: each act has come to what it should.
    let page = page_says(&whole.page(), &stage.pair.b.name);
    for (state, label) in STATES.iter().filter(|(state, _)| *state != "LISTEN") {
        for (way, family) in [(0, "ipv4"), (1, "ipv6"), (2, "ipv6")] {
            let here = |socket: &&Socket| {
                let port = socket.local.rsplit_once(':').unwrap().1.parse::<usize>().unwrap();
                socket.state == *state && (first_port(way)..first_port(way + 1)).contains(&port)
            };
            let acts = ACTS.iter().filter(|(act, _)| act == state).count();
            let have = of_family(&stage.pair.b, if family == "ipv4" { "-4" } else { "-6" });
            // Where the server connects it has any port.
            let expected = if *state == "SYN-SENT" { 0 } else { acts };
            assert!(have.iter().filter(here).count() >= expected, "{state} of {family}: {have:?}");
            assert!(page.contains_key(&((*label).to_owned(), family.to_owned())), "{label} of {family}: {page:?}");
        }
    }
    for family in ["ipv4", "ipv6"] {
        assert!(page[&("close".to_owned(), family.to_owned())] >= 3.0, "{page:?}");
    }

    // Only what processes hold, and what the kernel's own counts tell of the rest.
    drop(whole);
    let held = Agent::start(&config("{ unowned: false }"));
    for (netns, peer) in stage.sides() {
        until_agreed(&held, netns, || {
            let mut counts = kernel(netns, peer, |socket| socket.inode != 0);
            let all: Vec<Socket> = FAMILIES.iter().flat_map(|(_, option, _)| of_family(netns, option)).collect();
            add(&mut counts, "time_wait", "", all.iter().filter(|socket| is_rest(socket)).count() as f64);
            add(&mut counts, "syn_recv", "", all.iter().filter(|socket| socket.state == "SYN-RECV").count() as f64);
            counts
        });
    }
}

/// What waits at listeners, by port and family.
fn check_listeners(page: &Page, netns: &Netns) {
    let mut ports = 0;
    for (family, option, _) in FAMILIES {
        for listener in sockets(netns, &["-ltn", option]) {
            let port = listener.local.rsplit_once(':').unwrap().1;
            let labels = [("netns", netns.name.as_str()), ("port", port), ("family", family)];
            let value = |metric: &str| page.value(&format!("netsonde_tcp_state_{metric}"), &labels);
            assert_eq!(value("accept_queue"), listener.receive_queue as f64, "{listener:?}");
            assert_eq!(value("accept_queue_limit"), listener.send_queue as f64, "{listener:?}");
            let share = 1000 * listener.receive_queue / listener.send_queue;
            assert_eq!(value("accept_queue_fullest_ratio"), share as f64 / 1000.0, "{listener:?}");
            ports += 1;
        }
    }
    let of = [("netns", netns.name.as_str())];
    assert_eq!(page.find("netsonde_tcp_state_accept_queue", &of).count(), ports);
    let full = page.find("netsonde_tcp_state_accept_queue_fullest_ratio", &of);
    assert_eq!(full.filter(|sample| sample.value == 2.0).count(), WAYS.len(), "two wait where one may");
}

#[test]
fn rule_25_only_namespaces_with_sockets_that_no_process_holds_are_asked_for_all() {
    let (pair, quiet, left) = (Pair::new(), Netns::new("quiet"), Netns::new("left"));
    let (mut client, mut server, mut alone, mut past) =
        (Peer::new(&pair.a), Peer::new(&pair.b), Peer::new(&quiet), Peer::new(&left));
    // In `b` one waits to be accepted, `quiet` holds all that it has, `left` has something in TIME_WAIT besides.
    server.run("l = listen('fd99::2', 80)");
    client.run("s = connect('fd99::2', 80)");
    for peer in [&mut alone, &mut past] {
        peer.run("l = listen('127.0.0.1', 80); s = connect('127.0.0.1', 80); c = accept(l)");
    }
    past.run("c.close(); s.close(); c = connect('127.0.0.1', 80); s = accept(l)");

    let of = |rows: Vec<Value>, netns: &Netns| rows.into_iter().find(|row| row["netns"] == *netns.name);
    let node = || answer("SELECT name(netns) AS netns, inuse, owned, tw, requests, backlog FROM node.tcp");
    let figures = |netns| {
        let row = of(node(), netns).unwrap();
        ["inuse", "owned", "tw", "requests", "backlog"].map(|name| number(&row, name))
    };
    assert_eq!(figures(&pair.a), [1, 1, 0, 0, 0]);
    assert_eq!(figures(&pair.b), [2, 1, 0, 0, 1]);
    assert_eq!(figures(&quiet), [3, 3, 0, 0, 0]);
    assert_eq!(figures(&left), [3, 3, 1, 0, 0]);

    let asked = |which: &str| -> BTreeSet<String> {
        let rows = answer(&format!(
            "SELECT name(netns) AS netns, count(*) AS sockets FROM netlink.sock_diag \
             WHERE netns IN (SELECT netns FROM node.tcp WHERE {which}) GROUP BY netns"
        ));
        let ours = [&pair.a, &pair.b, &quiet, &left].map(|netns| netns.name.clone());
        let name = |row: &Value| row["netns"].as_str().unwrap().to_owned();
        rows.iter().map(name).filter(|name| ours.contains(name)).collect()
    };
    assert_eq!(asked("inuse > owned"), BTreeSet::from([pair.b.name.clone()]));
    assert_eq!(asked("inuse <= owned AND (tw > 0 OR requests > 0)"), BTreeSet::from([left.name.clone()]));

    // The probe, which asks so, tells the same as `ss` of all of them.
    let agent = Agent::start("probes: { tcp_state: {} }\ncollection: { min_interval: 1ms }");
    for (netns, peer) in [(&pair.a, &mut client), (&pair.b, &mut server), (&quiet, &mut alone), (&left, &mut past)] {
        peer.run(&format!("{PRELUDE}\nkept = []"));
        until_agreed(&agent, netns, || kernel(netns, peer, |_| true));
    }
}

#[test]
fn listeners_that_share_a_port_are_added_up_and_the_fullest_is_told() {
    let netns = Netns::new("shared");
    let mut peer = Peer::new(&netns);
    // Of several, one has more to accept than the others; and one may not have any wait.
    peer.run(
        "kept = []
for address in ('127.0.0.1', '::1'):
    for backlog in (30, 40, 60):
        l = tcp(address); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); l.bind((address, 80)); l.listen(backlog); kept.append(l)
    kept += [connect(address, 80) for _ in range(25)]
    l = tcp(address); l.bind((address, 81)); l.listen(0); kept.append(l)",
    );
    let page = Agent::start("probes: { tcp_state: {} }").page();
    for (family, option, _) in FAMILIES {
        let listeners: Vec<Socket> = sockets(&netns, &["-ltn", option]);
        let at_80 = || listeners.iter().filter(|listener| listener.local.ends_with(":80"));
        let value = |metric: &str, port| {
            let labels = [("netns", netns.name.as_str()), ("port", port), ("family", family)];
            page.get(&format!("netsonde_tcp_state_{metric}"), &labels)
        };
        assert_eq!(at_80().count(), 3);
        assert_eq!(value("accept_queue", "80"), Some(25.0));
        assert_eq!(value("accept_queue_limit", "80"), Some(130.0));
        let fullest = at_80().map(|listener| 1000 * listener.receive_queue / listener.send_queue).max().unwrap();
        assert_eq!(value("accept_queue_fullest_ratio", "80"), Some(fullest as f64 / 1000.0), "{listeners:?}");
        assert_eq!(value("accept_queue", "81"), Some(0.0));
        assert_eq!(value("accept_queue_limit", "81"), Some(0.0));
        assert_eq!(value("accept_queue_fullest_ratio", "81"), None, "of no limit");
    }
}
