//! Sockets that processes hold (`iter.socket`): each once, whoever holds it in whatever way, and in its own namespace.

use netsonde_tests::{agent::Agent, binary, netns::Netns, query::answer, traffic::Peer};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Output},
};

/// Sockets carry marks, by which they are known. Children end with their parent.
const PRELUDE: &str = "
import ctypes, signal, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
CLONE, EXIT = {'x86_64': (56, 60), 'aarch64': (220, 93)}[os.uname().machine]
CLONE_FILES, CLONE_NEWNET = 0x400, 0x40000000
kept = []

def keep(thing): kept.append(thing); return thing

def mark(s, m): s.setsockopt(socket.SOL_SOCKET, 36, base + m); return keep(s)

def made(m, family=socket.AF_INET, kind=socket.SOCK_DGRAM): return mark(socket.socket(family, kind), m)

def pair(*marks): return [mark(s, m) for s, m in zip(socket.socketpair(), marks)]

def end_with_parent(): libc.prctl(1, signal.SIGKILL)

def idle(): pass

# A process that does this and then nothing; with CLONE_FILES it has the same table of descriptors.
def child(run, flags=0):
    r, w = os.pipe()
    pid = libc.syscall(CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0) if flags else os.fork()
    if pid == 0:
        end_with_parent()
        try: run(); os.write(w, b'done')
        except BaseException as error: os.write(w, repr(error).encode())
        while True: signal.pause()
    said = os.read(r, 1000)
    assert said == b'done', said

# Threads that do this and then nothing.
def threads(count, run=idle):
    did = threading.Semaphore(0)
    def body(): run(); did.release(); time.sleep(1000)
    for _ in range(count): threading.Thread(target=body, daemon=True).start()
    for _ in range(count): did.acquire()

def own_table(run):
    assert libc.unshare(CLONE_FILES) == 0
    run()

# A process whose first thread ends, with two others.
def headless(run):
    r, w = os.pipe()
    def rest():
        end_with_parent(); run()
        until('the first thread has ended', lambda: ') Z ' in open('/proc/self/task/%d/stat' % os.getpid()).read())
        os.write(w, b'done'); time.sleep(1000)
    if os.fork() == 0:
        end_with_parent()
        threading.Thread(target=rest).start(); threading.Thread(target=time.sleep, args=(1000,)).start()
        libc.syscall(EXIT, 0)
    assert os.read(r, 10) == b'done'

def pass_on(way, s): socket.send_fds(way, [b'x'], [s.fileno()]); s.close()
";

/// Ways to hold sockets, each in a process of its own, and the marks of those that some descriptor leads to.
const WAYS: &[(&str, &str, &[u64])] = &[
    ("one descriptor", "made(1)", &[1]),
    ("several descriptors", "s = made(1); keep(os.dup(s.fileno())); keep(os.dup(s.fileno())); made(2)", &[1, 2]),
    ("a fork", "made(1); child(idle); child(lambda: child(idle))", &[1]),
    ("a fork, and one of the two has closed it", "s = made(1); t = made(2); child(s.close); t.close()", &[1, 2]),
    ("passed on, and closed here", "a, b = pair(1, 2); pass_on(a, made(3)); child(lambda: keep(socket.recv_fds(b, 1, 1)))", &[1, 2, 3]),
    ("passed on, and not taken yet", "a, b = pair(1, 2); pass_on(a, made(3))", &[1, 2]),
    ("passed on, and kept", "a, b = pair(1, 2); s = made(3); socket.send_fds(a, [b'x'], [s.fileno()])", &[1, 2, 3]),
    ("passed to itself", "a, b = pair(1, 2); pass_on(a, made(3)); keep(socket.recv_fds(b, 1, 1))", &[1, 2, 3]),
    ("threads", "made(1); threads(3); made(2)", &[1, 2]),
    ("a process with the same table", "made(1); child(idle, CLONE_FILES); made(2)", &[1, 2]),
    ("opened by a process with the same table", "child(lambda: made(1), CLONE_FILES)", &[1]),
    ("threads, and a process with the same table", "made(1); threads(3); child(idle, CLONE_FILES); made(2)", &[1, 2]),
    ("the same, that has threads", "made(1); child(lambda: threads(3), CLONE_FILES); made(2)", &[1, 2]),
    ("a thread with a table of its own", "made(1); threads(1, lambda: own_table(lambda: made(2))); made(3)", &[1, 2, 3]),
    ("two such threads", "threads(2, lambda: own_table(lambda: made(1))); made(2)", &[1, 1, 2]),
    ("more threads with the first one's table", "threads(2); threads(1, lambda: own_table(lambda: made(1))); made(2)", &[1, 2]),
    ("the first thread has ended", "headless(lambda: [made(1), keep(made(2).dup())])", &[1, 2]),
    (
        "another program",
        "s = made(1); t = made(2); s.set_inheritable(True); t.set_inheritable(True)
keep(subprocess.Popen(['sleep', '1000'], close_fds=False, preexec_fn=end_with_parent)); t.close()",
        &[1, 2],
    ),
    (
        "each family and type",
        "for m, (family, kind) in enumerate((f, k) for f in (socket.AF_INET, socket.AF_INET6) for k in (1, 2)): made(m, family, kind)
mark(socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), 4); mark(socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58), 5)
for m in (1, 2, 5): made(5 + m, socket.AF_UNIX, m)
mark(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0), 11); mark(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0), 12)
l = made(13, kind=1); l.bind(('127.0.0.1', 0)); l.listen(); mark(socket.create_connection(l.getsockname()), 14); mark(l.accept()[0], 15)",
        &[0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15],
    ),
];

const ROWS: &str = "SELECT name(netns) AS netns, name(owner) AS owner, pid, comm, fd, file.f_inode.i_ino AS inode, \
                    sk.sk_mark AS mark, family, protocol, lport, sk.sk_type AS kind FROM iter.socket";

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}"))
}

/// The rows of one namespace.
fn rows_of(netns: &str) -> Vec<Value> {
    answer(&format!("{ROWS} WHERE name(netns) = '{netns}'"))
}

/// Whether a descriptor of this process, or of one of its threads, leads to the socket: what `/proc` says.
fn holds(pid: u64, fd: u64, inode: u64) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let links = threads.flatten().filter_map(|thread| fs::read_link(thread.path().join(format!("fd/{fd}"))).ok());
    links.into_iter().any(|link| link.to_str() == Some(&format!("socket:[{inode}]")))
}

#[test]
fn a_socket_is_told_once_in_whatever_way_it_is_held() {
    let netns = Netns::new("holders");
    let mut peers = Vec::new();
    let mut want = Vec::new();
    for (index, (way, code, marks)) in WAYS.iter().enumerate() {
        let base = 100 * (index as u64 + 1);
        let mut peer = Peer::new(&netns);
        peer.run(&format!("base = {base}\n{PRELUDE}"));
        peer.run(code);
        want.extend(marks.iter().map(|mark| (base + mark, *way)));
        peers.push(peer);
    }
    let way = |mark: u64| WAYS[mark as usize / 100 - 1].0;

    let rows = rows_of(&netns.name);
    let mut have: Vec<(u64, &str)> = rows.iter().map(|row| (number(row, "mark"), way(number(row, "mark")))).collect();
    have.sort_unstable();
    assert_eq!(have, want);
    for row in &rows {
        let (pid, way) = (number(row, "pid"), way(number(row, "mark")));
        assert!(holds(pid, number(row, "fd"), number(row, "inode")), "{way}: {row}");
        assert_eq!(row["comm"], fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim_end(), "{way}");
    }
    let sleeping = rows.iter().find(|row| way(number(row, "mark")) == "another program" && row["comm"] == "sleep");
    assert_eq!(sleeping.map(|row| number(row, "mark") % 100), Some(2), "only that program holds it");

    // And summed up in the kernel.
    let sums = answer(
        "SELECT name(netns) AS netns, count(*) AS sockets, sum(sk.sk_mark) AS marks FROM iter.socket GROUP BY netns",
    );
    let sum: Vec<_> = sums.iter().filter(|row| row["netns"] == *netns.name).collect();
    assert_eq!(sum.len(), 1, "{sums:?}");
    let marks: u64 = want.iter().map(|(mark, _)| mark).sum();
    assert_eq!((number(sum[0], "sockets"), number(sum[0], "marks")), (want.len() as u64, marks));
}

/// A process that opens sockets in a namespace of their own, and goes back. Gives that namespace's inode.
fn left_behind(peer: &mut Peer) -> u64 {
    peer.run(&format!("base = 7000\n{PRELUDE}"));
    peer.run("home = os.open('/proc/self/ns/net', os.O_RDONLY)\nassert libc.unshare(CLONE_NEWNET) == 0");
    let inode = peer.number("os.stat('/proc/self/ns/net').st_ino");
    peer.run(
        "l = made(1, socket.AF_INET6, 1); l.bind(('::', 4000)); l.listen(); made(2).bind(('127.0.0.1', 4001)); made(3)",
    );
    peer.run("assert libc.setns(home, 0) == 0\nmade(4)");
    inode
}

#[test]
fn a_namespace_that_only_sockets_hold_goes_by_its_inode() {
    let netns = Netns::new("home");
    let mut peer = Peer::new(&netns);
    let inode = left_behind(&mut peer).to_string();
    let rows = |netns: &str| {
        let row = |row: Value| (number(&row, "mark"), row["lport"].as_u64(), number(&row, "pid"));
        rows_of(netns).into_iter().map(row).collect::<BTreeSet<_>>()
    };
    let pid = u64::from(peer.pid());
    let want = [(7001, Some(4000), pid), (7002, Some(4001), pid), (7003, Some(0), pid)];
    assert_eq!(rows(&inode), BTreeSet::from(want));
    assert_eq!(rows(&netns.name), BTreeSet::from([(7004, Some(0), pid)]), "where the process is");

    // The agent tells of it too, for as long as there is one.
    let agent = Agent::start("probes: { socket_memory: {} }");
    const SOCKETS: &str = "netsonde_socket_memory_sockets";
    let udp = |netns| [("netns", netns), ("protocol", "udp"), ("family", "ipv4")];
    let page = agent.page();
    assert_eq!(page.value(SOCKETS, &udp(&inode)), 2.0);
    assert_eq!(page.value(SOCKETS, &[("netns", &inode), ("protocol", "tcp"), ("family", "ipv6")]), 1.0);
    assert_eq!(page.value(SOCKETS, &udp(&netns.name)), 1.0);
    peer.run("for s in kept[:3]: s.close()");
    let page = agent.scrape();
    assert_eq!(page.find(SOCKETS, &[("netns", &inode)]).count(), 0);
    assert_eq!(page.value(SOCKETS, &udp(&netns.name)), 1.0);
}

/// Filters, and what they mean to a row.
type Meaning = fn(&Value) -> bool;
const FILTERS: &[(&str, Meaning)] = &[
    ("protocol = 17", |row| row["protocol"] == 17),
    ("name(protocol) = 'TCP' AND sk.sk_type = 1", |row| row["protocol"] == 6 && row["kind"] == 1),
    ("family = 10", |row| row["family"] == 10),
    ("family IN (2, 10) AND NOT protocol = 17", |row| {
        [2, 10].contains(&number(row, "family")) && !row["protocol"].is_null() && row["protocol"] != 17
    }),
    ("protocol IS NULL", |row| row["protocol"].is_null()),
    ("lport > 5000 AND lport < 5004", |row| row["lport"].as_u64().is_some_and(|port| 5000 < port && port < 5004)),
    ("lport = 5002 OR sk.sk_mark % 2 = 1", |row| row["lport"] == 5002 || number(row, "mark") % 2 == 1),
    ("comm = 'nst-holder'", |row| row["comm"] == "nst-holder"),
    ("comm <> 'nst-holder' AND fd > 4", |row| row["comm"] != "nst-holder" && number(row, "fd") > 4),
    ("sk.sk_mark >= 1000", |row| number(row, "mark") >= 1000),
];

#[test]
fn rows_filters_and_aggregates_agree() {
    let netns = Netns::new("agree");
    let mut peers = [Peer::new(&netns), Peer::new(&netns)];
    for (index, peer) in peers.iter_mut().enumerate() {
        let (base, comm) = (900 * (index + 1), ["nst-holder", "nst-other"][index]);
        peer.run(&format!("base = {base}\n{PRELUDE}\nopen('/proc/self/comm', 'w').write('{comm}')"));
        peer.run(
            "for m in range(60):
    family, kind = (socket.AF_INET, socket.AF_INET6)[m % 2], (1, 2)[m // 2 % 2]
    s = made(m, family, kind)
    if m >= 40: s.bind((('127.0.0.1', '::1')[m % 2], base // 900 * 500 + 4460 + m))
made(70, socket.AF_UNIX, 2); made(71, socket.AF_NETLINK, 3); mark(socket.socket(socket.AF_INET, 3, 1), 72)
child(idle); threads(2)
for m in range(80, 100): made(m)",
        );
    }
    let all = rows_of(&netns.name);
    assert_eq!(all.len(), 2 * 83);
    for (filter, means) in FILTERS {
        let want: Vec<&Value> = all.iter().filter(|row| means(row)).collect();
        assert!(!want.is_empty() && want.len() < all.len(), "{filter} is no filter");
        let have = answer(&format!("{ROWS} WHERE name(netns) = '{}' AND ({filter})", netns.name));
        assert_eq!(have.len(), want.len(), "{filter}");
        let other: Vec<&Value> = have.iter().filter(|row| !want.contains(row)).collect();
        assert!(other.is_empty(), "{filter}: {other:?}");

        let sums = answer(&format!(
            "SELECT name(netns) AS netns, family, protocol, count(*) AS rows, count(lport) AS ports, sum(sk.sk_mark) AS marks, \
             min(lport) AS low, max(lport) AS high FROM iter.socket WHERE {filter} GROUP BY netns, family, protocol"
        ));
        let sums: Vec<&Value> = sums.iter().filter(|row| row["netns"] == *netns.name).collect();
        let groups: BTreeSet<String> = want.iter().map(|row| group(row)).collect();
        assert_eq!(sums.iter().map(|row| group(row)).collect::<BTreeSet<_>>(), groups, "{filter}");
        for sum in sums {
            let of: Vec<&&Value> = want.iter().filter(|row| group(row) == group(sum)).collect();
            let ports = || of.iter().filter_map(|row| row["lport"].as_u64());
            let marks: u64 = of.iter().map(|row| number(row, "mark")).sum();
            assert_eq!((number(sum, "rows"), number(sum, "marks")), (of.len() as u64, marks), "{filter}: {sum}");
            assert_eq!(number(sum, "ports"), ports().count() as u64, "{filter}: {sum}");
            assert_eq!((sum["low"].as_u64(), sum["high"].as_u64()), (ports().min(), ports().max()), "{filter}: {sum}");
        }
    }
}

fn group(row: &Value) -> String {
    format!("{} {} {}", row["netns"], row["family"], row["protocol"])
}

#[test]
fn of_those_who_hold_a_socket_the_filter_chooses() {
    let netns = Netns::new("chosen");
    let mut peer = Peer::new(&netns);
    peer.run(&format!("base = 0\n{PRELUDE}\nmade(1); child(lambda: open('/proc/self/comm', 'w').write('nst-child'))"));
    let child = answer(&format!("{ROWS} WHERE name(netns) = '{}' AND comm = 'nst-child'", netns.name));
    let others = answer(&format!("{ROWS} WHERE name(netns) = '{}' AND comm <> 'nst-child'", netns.name));
    assert_eq!((child.len(), others.len()), (1, 1), "{child:?} {others:?}");
    assert_eq!(
        (number(&others[0], "pid"), number(&others[0], "inode")),
        (peer.pid().into(), number(&child[0], "inode"))
    );
}

/// `netsonde` in a pid namespace of its own, with the host's procfs or with one of its own.
fn apart(own_proc: bool, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]);
    command.args(own_proc.then_some("--mount-proc"));
    command.arg(binary()).args(args);
    command
}

#[test]
fn without_the_hosts_pid_namespace_passes_are_refused_not_almost_empty() {
    for own_proc in [false, true] {
        for sql in ["SELECT pid, comm FROM iter.socket", "SELECT count(*) FROM iter.task"] {
            let Output { status, stdout, stderr } = apart(own_proc, &["query", sql]).output().unwrap();
            let errors = String::from_utf8_lossy(&stderr);
            assert!(!status.success(), "{sql}");
            assert_eq!(String::from_utf8_lossy(&stdout), "", "{sql}");
            for part in ["this node cannot give iter.", "pid namespace of its own", "hostPID: true"] {
                assert!(errors.contains(part), "{sql}: {errors}");
            }
        }
        let agent = Agent::start_with("probes: { sockstat: {}, socket_memory: {} }", |file| {
            apart(own_proc, &["run", "--config", file.to_str().unwrap()])
        });
        let page = agent.page();
        let up = |probe| page.value("netsonde_probe_up", &[("probe", probe)]);
        assert_eq!((up("sockstat"), up("socket_memory")), (1.0, 0.0), "{}", agent.probe("socket_memory"));
        assert!(page.0.iter().all(|sample| !sample.name.starts_with("netsonde_socket_memory_")));
        let why = agent.probe("socket_memory").to_string();
        assert!(why.contains("pid namespace of its own"), "{why}");
    }
}

#[test]
fn rule_25_a_table_is_read_where_sockets_say() {
    let (with, without) = (Netns::new("with"), Netns::new("without"));
    let (mut one, mut other) = (Peer::new(&with), Peer::new(&without));
    one.run("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 4725))");
    other.run("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 4726))");
    let both = format!("name(netns) IN ('{}', '{}')", with.name, without.name);
    for (filter, names) in [
        ("lport = 4725".to_owned(), vec![&with.name]),
        (format!("lport > 0 AND {both}"), vec![&with.name, &without.name]),
        ("lport = 4725 AND lport = 4726".to_owned(), vec![]),
    ] {
        let of = format!("SELECT netns FROM iter.socket WHERE {filter}");
        let rows =
            answer(&format!("SELECT netns, UDP.inuse AS udp FROM proc.net.sockstat WHERE netns IN ({of}) AND {both}"));
        let mut told: Vec<&str> = rows.iter().map(|row| row["netns"].as_str().unwrap()).collect();
        told.sort_unstable();
        let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(told, names, "{filter}");
        assert!(rows.iter().all(|row| row["udp"] == 1), "{rows:?}");
    }
}
