//! sock_diag: the table against what `ss` says in the same namespace.

use crate::world::{Netns, eventually, failed, found, lines, namespace, run, soon, unique};
use netsonde::{
    agent::{reads::Reads, tables::Tables},
    source::{
        diag::DiagSource,
        table::{Collected, Read},
    },
};
use netsonde_core::{
    query::{Asker, plan},
    scope::{Namespace, ScopeId},
    table::{Catalogue, Hooks},
};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketType},
};
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How `ss` writes the states, by their numbers.
const STATES: [(&str, u64); 11] = [
    ("ESTAB", 1),
    ("SYN-SENT", 2),
    ("SYN-RECV", 3),
    ("FIN-WAIT-1", 4),
    ("FIN-WAIT-2", 5),
    ("TIME-WAIT", 6),
    ("UNCONN", 7),
    ("CLOSE-WAIT", 8),
    ("LAST-ACK", 9),
    ("LISTEN", 10),
    ("CLOSING", 11),
];

/// The table for queries.
fn source(queries: &[&str]) -> DiagSource {
    let mut source = DiagSource::new("/proc");
    let catalogue = Catalogue { tables: vec![source.table().unwrap()], ..Catalogue::default() };
    let read = |sql: &&str| Read::of(&plan(sql, &catalogue, Asker::Person).unwrap());
    source.prepare(queries.iter().map(read).collect());
    source
}

fn namespaces(netns: &[&Netns]) -> Vec<Namespace> {
    netns.iter().zip(1..).map(|(netns, scope)| namespace(scope, found(netns.inode()).unwrap())).collect()
}

/// Sockets in every state that stays for a while.
struct Sockets {
    _bound: OwnedFd,
    _listeners: [TcpListener; 3],
    _streams: Vec<TcpStream>,
}

impl Sockets {
    /// Makes them in the namespace of the calling thread. No SYN-ACK may come from port 999.
    fn new() -> Self {
        let bound = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&bound, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let [v4, v6, silent] = ["127.0.0.1:0", "[::]:0", "127.0.0.1:999"].map(|at| TcpListener::bind(at).unwrap());
        let mut streams = Vec::new();
        let connect = |listener: &TcpListener, to: &str| {
            let client = TcpStream::connect((to, listener.local_addr().unwrap().port())).unwrap();
            (client, listener.accept().unwrap().0)
        };
        let (mut client, server) = connect(&v4, "127.0.0.1");
        client.write_all(b"three").unwrap();
        streams.extend([client, server]);
        for to in ["127.0.0.1", "::1"] {
            streams.extend(<[TcpStream; 2]>::from(connect(&v6, to)));
        }
        // FIN_WAIT2 and CLOSE_WAIT.
        let (client, mut server) = connect(&v4, "127.0.0.1");
        client.shutdown(Shutdown::Write).unwrap();
        server.read_exact(&mut [0]).unwrap_err();
        streams.extend([client, server]);
        // TIME_WAIT, for whoever closed first.
        let (client, mut server) = connect(&v4, "127.0.0.1");
        drop(client);
        server.read_exact(&mut [0]).unwrap_err();
        drop(server);
        // One that nobody accepts.
        streams.push(TcpStream::connect(v4.local_addr().unwrap()).unwrap());
        // A request, whose client has given up.
        let to: SocketAddr = silent.local_addr().unwrap();
        TcpStream::connect_timeout(&to, Duration::from_millis(50)).unwrap_err();
        thread::sleep(Duration::from_millis(50));
        Self { _bound: bound, _listeners: [v4, v6, silent], _streams: streams }
    }
}

/// A namespace with all of them.
fn populated() -> (Netns, Sockets) {
    let netns = Netns::new();
    run(&format!(
        "ip netns exec {} nft 'table inet f {{ chain o {{ type filter hook output priority 0; \
         tcp sport 999 tcp flags & (syn | ack) == syn | ack drop; }}; }}'",
        netns.0
    ));
    let sockets = netns.inside(Sockets::new);
    (netns, sockets)
}

/// What `ss` says: state, queues and ports. It leaves sockets out that are only bound.
fn ss(netns: &Netns) -> Vec<String> {
    let port = |address: &str| address.rsplit(':').next().unwrap().replace('*', "0");
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let state = STATES.iter().find(|(name, _)| *name == words[0]).unwrap().1;
        format!("{state} {} {} {} {}", words[1], words[2], port(words[3]), port(words[4]))
    };
    let mut lines: Vec<String> = run(&format!("ip netns exec {} ss -tanH", netns.0)).lines().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn sockets_are_those_that_ss_shows() {
    needs_root!();
    // Once through a process, once by its name.
    for with_process in [true, false] {
        let (netns, _sockets) = populated();
        let _process = with_process.then(|| netns.process());
        let mut source = source(&[
            "SELECT state, rqueue, wqueue, lport, rport FROM netlink.sock_diag WHERE state <> 7",
            "SELECT netns, state, inode, raddr, family, timer FROM netlink.sock_diag",
        ]);
        let Collected { tables, durations, .. } = source.collect(&namespaces(&[&netns]), soon());
        let mut rows = lines(&tables[0]);
        rows.sort();
        assert_eq!(rows, ss(&netns));
        let mut rows = lines(&tables[1]);
        rows.iter_mut().for_each(|row| {
            let words: Vec<&str> = row.split(' ').collect();
            let holder = if words[2] == "0" { "nobody" } else { "somebody" };
            *row = [words[0], words[1], holder, words[3], words[4], words[5]].join(" ");
        });
        // Only kernels since 6.8 tell of the one that is only bound.
        rows.retain(|row| row != "1 7 somebody 0.0.0.0 2 0");
        rows.sort();
        let expected = [
            "1 1 nobody 127.0.0.1 2 0",
            "1 1 somebody 127.0.0.1 10 0",
            "1 1 somebody 127.0.0.1 2 0",
            "1 1 somebody 127.0.0.1 2 0",
            "1 1 somebody 127.0.0.1 2 0",
            "1 1 somebody 127.0.0.1 2 0",
            "1 1 somebody ::1 10 0",
            "1 1 somebody ::1 10 0",
            "1 10 somebody 0.0.0.0 2 0",
            "1 10 somebody 0.0.0.0 2 0",
            "1 10 somebody :: 10 0",
            "1 3 nobody 127.0.0.1 2 1",
            "1 5 somebody 127.0.0.1 2 0",
            "1 6 nobody 127.0.0.1 2 3",
            "1 8 somebody 127.0.0.1 2 0",
        ];
        assert_eq!(rows, expected);
        assert!(matches!(durations[..], [("sock_diag", seconds)] if seconds > 0.0));
    }
}

#[test]
fn a_filter_by_state_leaves_what_it_would_leave_of_all_rows() {
    needs_root!();
    let (netns, _sockets) = populated();
    let ask = |sql: &str| {
        let mut rows = lines(&source(&[sql]).collect(&namespaces(&[&netns]), soon()).tables[0]);
        rows.sort();
        rows
    };
    let all = ask("SELECT state, lport, rport, inode FROM netlink.sock_diag");
    for state in 0..=14 {
        let asked = ask(&format!("SELECT state, lport, rport, inode FROM netlink.sock_diag WHERE state = {state}"));
        let expected: Vec<String> =
            all.iter().filter(|row| row.split(' ').next() == Some(&state.to_string())).cloned().collect();
        // What the kernel gives is not filtered here.
        assert_eq!(asked, expected, "state {state}");
    }
    for (family, listeners) in [(2, 2), (10, 1)] {
        let asked = ask(&format!("SELECT state FROM netlink.sock_diag WHERE state = 10 AND family = {family}"));
        assert_eq!(asked.len(), listeners, "family {family}");
    }
}

#[test]
fn rule_1_sockets_not_asked_for_before_the_deadline_have_failed() {
    needs_root!();
    let netns = Netns::new();
    let mut source = source(&["SELECT netns FROM netlink.sock_diag"]);
    let tables = source.collect(&namespaces(&[&netns]), Instant::now()).tables;
    assert_eq!(failed(&tables[0]), [(1, "not read before the collection's deadline".to_owned())]);
}

#[test]
fn rule_4_sockets_of_a_namespace_that_is_gone_fail_alone() {
    needs_root!();
    let (stays, goes) = (Netns::new(), Netns::new());
    let namespaces = namespaces(&[&goes, &stays]);
    let _listener = stays.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
    drop(goes);
    let table = source(&["SELECT netns, state FROM netlink.sock_diag"]).collect(&namespaces, soon()).tables.remove(0);
    assert_eq!(lines(&table), ["2 10"]);
    assert!(matches!(failed(&table), [(1, why)] if why.contains("/run/netns/")), "{table:?}");
}

#[test]
fn rule_30_no_namespace_is_pinned_by_asking_for_sockets() {
    needs_root!();
    for with_process in [true, false] {
        let (witness, goes) = (Netns::new(), Netns::new());
        let device = unique();
        witness.ip(&format!("link add {device} type veth peer name peer netns {}", goes.0));
        let process = with_process.then(|| goes.process());
        let mut source = source(&["SELECT netns FROM netlink.sock_diag"]);
        assert_eq!(failed(&source.collect(&namespaces(&[&goes]), soon()).tables[0]), []);
        assert!(witness.cat("dev").contains(&device));
        drop((process, goes));
        assert!(eventually(|| !witness.cat("dev").contains(&device)), "the namespace of the other end is still there");
    }
}

#[test]
fn without_privileges_sockets_of_other_namespaces_say_why_not() {
    needs_root!();
    let netns = Netns::new();
    let look = || {
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        source(&["SELECT netns FROM netlink.sock_diag"]).collect(&namespaces(&[&netns]), soon()).tables.remove(0)
    };
    let table = thread::scope(|scope| scope.spawn(look).join().unwrap());
    assert!(
        matches!(failed(&table), [(1, why)] if why.contains("setns") && why.contains("CAP_SYS_ADMIN")),
        "{table:?}"
    );
}

#[test]
fn rule_25_sockets_are_asked_for_only_where_the_subquery_says() {
    needs_root!();
    let (busy, quiet, gone) = (Netns::new(), Netns::new(), Netns::new());
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let _busy = busy.inside(|| [listen(), listen()]);
    let _quiet = quiet.inside(listen);
    let namespaces = namespaces(&[&busy, &quiet, &gone]);
    drop(gone);
    let mut tables = Tables::new(Path::new("/proc"), &Hooks::default());
    let mut ask = |condition: &str| {
        let sql = format!("SELECT netns, name(state) FROM netlink.sock_diag WHERE state = 10{condition}");
        let query = plan(&sql, &tables.catalogue(), Asker::Probe).unwrap();
        let mut reads = Reads::default();
        let binding = reads.bind(&query);
        tables.prepare(&reads.0);
        let mut collected = tables.collect(&namespaces, &|_: ScopeId| None, &mut |_| unreachable!("no pass"), soon());
        collected.tables.swap_remove(binding.read)
    };
    let table = ask("");
    assert_eq!((lines(&table), failed(&table)[0].0), (["1 10", "1 10", "2 10"].map(str::to_owned).to_vec(), 3));
    let table = ask(" AND netns IN (SELECT netns FROM proc.net.sockstat WHERE TCP.inuse > 1)");
    assert_eq!(lines(&table), ["1 10", "1 10"]);
    let [(3, why)] = failed(&table) else { panic!("{table:?}") };
    assert!(why.starts_with("proc.net.sockstat, which says where to read, has failed: "), "{why}");
    let table = ask(" AND netns IN (SELECT netns FROM proc.net.sockstat WHERE TCP.inuse > 99)");
    assert_eq!(lines(&table), [""; 0]);
}
