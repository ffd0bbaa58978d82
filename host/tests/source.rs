//! Namespaces, procfs and sock_diag on the real kernel. Needs root, `ip`, `nsenter`, `nft` and `ss`; as anybody else every test says so and passes.
// Helpers are not tests for clippy; a failed one shall fail the test.
#![allow(clippy::unwrap_used)]

macro_rules! needs_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            eprintln!("\n!!! NOT TESTED: {}:{} makes network namespaces and needs root !!!\n", file!(), line!());
            return;
        }
    };
}

#[path = "source/diag.rs"]
mod diag;
#[path = "source/world.rs"]
mod world;

use netsonde::{
    scope::netns::{self, Walk},
    source::{
        proc::ProcSource,
        table::{Collected, Read},
    },
};
use netsonde_core::scope::{FoundNetns, Namespace, Scopes};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use world::{Netns, Process, eventually, failed, found, host_inode, lines, namespace, netns_of, soon, unique, walk};

const PAGE: u64 = 4096;

fn source(reads: &[(&str, &[&str])]) -> ProcSource {
    let mut source = ProcSource::new("/proc", PAGE);
    let catalogue = source.catalogue();
    let read = |(name, columns): &(&str, &[&str])| {
        let table = catalogue.table(name).unwrap_or_else(|| panic!("{name}: {:?}", catalogue.absent));
        let columns = columns.iter().map(|column| table.column(column).unwrap()).collect();
        Read { table: name.to_string(), columns, sockets: None, pass: None }
    };
    source.prepare(reads.iter().map(read).collect());
    source
}

fn collect(source: &mut ProcSource, namespaces: &[Namespace]) -> Collected {
    source.collect(namespaces, soon())
}

#[test]
fn namespaces_are_found_by_name_and_by_process() {
    needs_root!();
    let (idle, busy) = (Netns::new(), Netns::new());
    let process = busy.process();
    let unnamed = Process::start("exec unshare -n sleep 300", |pid| {
        netns_of(pid).is_some_and(|inode| netns_of(std::process::id()) != Some(inode))
    });

    let idle_found = found(idle.inode()).unwrap();
    assert_eq!(
        (idle_found.name.as_deref(), idle_found.path, idle_found.pids),
        (Some(&*idle.0), Some(idle.path()), vec![])
    );
    let busy_found = found(busy.inode()).unwrap();
    assert_eq!((busy_found.name.as_deref(), busy_found.pids), (Some(&*busy.0), vec![process.pid()]));
    let unnamed_found = found(netns_of(unnamed.pid()).unwrap()).unwrap();
    assert_eq!((unnamed_found.name, unnamed_found.path, unnamed_found.pids), (None, None, vec![unnamed.pid()]));

    let Walk { found, no_host, .. } = walk();
    assert_eq!(no_host, None);
    assert_eq!(found.iter().filter(|found| found.host).count(), 1);
    assert!(found[0].host && Some(found[0].inode) == host_inode() && !found[0].pids.is_empty());

    let mut scopes = Scopes::default();
    let namespaces = scopes.observe(found, Duration::ZERO, Duration::ZERO);
    let label = |inode| {
        let namespace = namespaces.iter().find(|namespace| namespace.inode == inode).unwrap();
        scopes.name(namespace.scope).unwrap()
    };
    assert_eq!(host_inode().map(label).as_deref(), Some("host"));
    assert_eq!(label(idle.inode()), idle.0);
    let inode = netns_of(unnamed.pid()).unwrap();
    assert_eq!(label(inode), inode.to_string());
}

#[test]
fn an_ordinary_file_among_the_names_is_no_namespace() {
    needs_root!();
    let folder = std::env::temp_dir().join(unique());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("left-over"), "").unwrap();
    let walk = netns::walk(Path::new("/proc"), &folder, None);
    let without = netns::walk(Path::new("/proc"), &folder.join("not-there"), None);
    fs::remove_dir_all(&folder).unwrap();
    assert!(walk.unwrap().found.iter().all(|found| found.name.is_none()));
    assert!(without.is_ok(), "a node without named namespaces has no such folder");
    let error = netns::walk(&folder, Path::new(netns::NAMED), None).unwrap_err().to_string();
    assert!(error.contains("list the processes in") && error.contains("proc_root"), "{error}");
}

#[test]
fn values_are_what_the_kernel_says_inside() {
    needs_root!();
    // One is read through a process, the other by its name.
    for with_process in [true, false] {
        let netns = Netns::new();
        let _process = with_process.then(|| netns.process());
        let _sockets = netns.inside(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(&[7; 1000]).unwrap();
            server.read_exact(&mut [0; 1000]).unwrap();
            // A refused connection: a reset is sent.
            TcpStream::connect("127.0.0.1:1").unwrap_err();
            (listener, client, server, UdpSocket::bind("127.0.0.1:0").unwrap())
        });
        let namespaces = [namespace(9, found(netns.inode()).unwrap())];
        let mut source = source(&[
            ("proc.net.sockstat", &["netns", "TCP.inuse", "UDP.inuse", "sockets.used"]),
            ("proc.net.snmp", &["Tcp.CurrEstab", "Tcp.OutRsts", "Tcp.PassiveOpens", "Tcp.MaxConn"]),
            ("proc.net.dev", &["netns", "name", "kind", "rx_bytes", "tx_packets"]),
            ("proc.net.snmp.long", &["netns", "key", "value"]),
            ("proc.net.netstat.long", &["netns", "key", "value"]),
            ("proc.net.snmp6.long", &["netns", "key", "value"]),
            ("proc.net.sockstat6", &["netns", "TCP6.inuse"]),
        ]);
        // The last acknowledgement may still be under way.
        thread::sleep(Duration::from_millis(100));
        let Collected { tables, durations, .. } = collect(&mut source, &namespaces);
        assert!(tables.iter().all(|table| failed(table).is_empty()), "{tables:?}");
        assert_eq!(lines(&tables[0]), ["9 3 1 4"]);
        assert_eq!(lines(&tables[1]), ["2 1 1 -1"]);
        let dev = netns.cat("dev");
        let numbers: Vec<&str> = dev.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(lines(&tables[2]), [format!("9 lo NULL {} {}", numbers[1], numbers[10])]);
        for (table, file) in [(&tables[3], "snmp"), (&tables[4], "netstat")] {
            assert_eq!(lines(table), pairs(&netns.cat(file)), "{file}");
        }
        let snmp6 = netns.cat("snmp6");
        let expected: Vec<String> =
            snmp6.lines().map(|line| format!("9 {}", line.split_whitespace().collect::<Vec<_>>().join(" "))).collect();
        assert_eq!(lines(&tables[5]), expected);
        assert_eq!(lines(&tables[6]), ["9 0"]);
        let names: Vec<&str> = durations.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["sockstat", "sockstat6", "snmp", "snmp6", "netstat", "dev"], "each file once");
        assert!(durations.iter().all(|(_, seconds)| *seconds > 0.0));
    }
}

/// `snmp` or `netstat` as rows of the long form, read in the plainest way.
fn pairs(text: &str) -> Vec<String> {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let pair = |pair: &[Vec<&str>]| {
        let (keys, values) = (pair[0].clone(), pair[1].clone());
        let row = move |(key, value): (&str, &str)| {
            format!("9 {}.{key} {}", keys[0].trim_end_matches(':'), if value == "-1" { "NULL" } else { value })
        };
        pair[0][1..].iter().copied().zip(values[1..].to_vec()).map(row).collect::<Vec<_>>()
    };
    lines.chunks(2).flat_map(pair).collect()
}

#[test]
fn tables_of_the_node_are_read_once_with_or_without_the_hosts_namespace() {
    needs_root!();
    let host = walk().found.into_iter().find(|found| found.host).unwrap();
    let mut source = source(&[
        ("proc.sockstat", &["TCP.orphan", "TCP.alloc", "TCP.mem", "UDP.mem"]),
        ("proc.softnet_stat", &["cpu", "processed"]),
        ("proc.net.sockstat", &["netns"]),
    ]);
    let cpus = fs::read_to_string("/proc/net/softnet_stat").unwrap().lines().count();
    for namespaces in [vec![namespace(3, host)], vec![]] {
        let Collected { tables, .. } = collect(&mut source, &namespaces);
        let sockstat = lines(&tables[0]);
        let numbers: Vec<u64> = sockstat[0].split(' ').map(|number| number.parse().unwrap()).collect();
        assert_eq!((sockstat.len(), numbers[2] % PAGE), (1, 0), "memory is in bytes");
        assert_eq!(lines(&tables[1]).len(), cpus);
        assert_eq!(lines(&tables[2]).len(), namespaces.len());
    }
}

#[test]
fn rule_4_a_namespace_that_is_gone_fails_alone() {
    needs_root!();
    let (stays, goes) = (Netns::new(), Netns::new());
    let (_process, ends) = (stays.process(), goes.process());
    let namespaces = [(1, &goes), (2, &stays)].map(|(scope, netns)| namespace(scope, found(netns.inode()).unwrap()));
    let mut source =
        source(&[("proc.net.sockstat", &["netns", "TCP.inuse"]), ("proc.net.dev", &["netns", "name", "kind"])]);
    drop((ends, goes));
    for table in collect(&mut source, &namespaces).tables {
        assert_eq!(lines(&table).len(), 1, "{table:?}");
        assert!(lines(&table)[0].starts_with("2 "));
        assert!(matches!(failed(&table), [(1, why)] if why.contains("/run/netns/")), "{table:?}");
    }
    assert!(found(namespaces[0].inode).is_none_or(|found| found.name.is_none()));
}

#[test]
fn rule_30_a_process_that_left_the_namespace_is_not_believed() {
    needs_root!();
    let (old, new) = (Netns::new(), Netns::new());
    new.inside(|| std::mem::forget(UdpSocket::bind("127.0.0.1:0").unwrap()));
    let command = format!(
        "exec nsenter --net={} sh -c 'read line; exec nsenter --net={} sleep 300'",
        old.path().display(),
        new.path().display()
    );
    let mut leaves = Process::start(&command, |pid| netns_of(pid) == Some(old.inode()));
    let before = found(old.inode()).unwrap();
    assert_eq!(before.pids, [leaves.pid()]);
    leaves.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(eventually(|| netns_of(leaves.pid()) == Some(new.inode())));

    let mut source = source(&[("proc.net.sockstat", &["netns", "UDP.inuse"])]);
    let mut read = |found: FoundNetns| collect(&mut source, &[namespace(5, found)]).tables.remove(0);
    assert_eq!(lines(&read(before.clone())), ["5 0"], "the name leads there too");
    let stays = old.process();
    let second = FoundNetns { pids: vec![leaves.pid(), stays.pid()], path: None, ..before.clone() };
    assert_eq!(lines(&read(second)), ["5 0"], "another process leads there");
    let table = read(FoundNetns { path: None, ..before });
    assert_eq!(lines(&table), Vec::<String>::new(), "the figures of another namespace");
    assert!(matches!(failed(&table), [(5, why)] if why.contains("has left the namespace")), "{table:?}");
    assert_eq!(lines(&read(found(new.inode()).unwrap())), ["5 1"], "where it is now");
}

#[test]
fn rule_30_no_namespace_is_pinned_between_collections() {
    needs_root!();
    for with_process in [true, false] {
        let (witness, goes) = (Netns::new(), Netns::new());
        let device = unique();
        witness.ip(&format!("link add {device} type veth peer name peer netns {}", goes.0));
        let process = with_process.then(|| goes.process());
        let namespaces = [namespace(1, found(goes.inode()).unwrap())];
        let mut source = source(&[("proc.net.sockstat", &["netns"]), ("proc.net.dev", &["name", "kind"])]);
        for _ in 0..3 {
            assert_eq!(lines(&collect(&mut source, &namespaces).tables[1]), ["lo NULL", "peer veth"]);
        }
        assert!(witness.cat("dev").contains(&device));
        drop((process, goes));
        assert!(eventually(|| !witness.cat("dev").contains(&device)), "the namespace of the other end is still there");
        assert_eq!(failed(&collect(&mut source, &namespaces).tables[0]).len(), 1);
    }
}

#[test]
fn kinds_of_devices_follow_the_devices() {
    needs_root!();
    let netns = Netns::new();
    let _process = netns.process();
    netns.ip("link add br0 type bridge");
    netns.ip("link add v0 type veth peer name v1");
    let namespaces = [namespace(1, found(netns.inode()).unwrap())];
    let mut source = source(&[("proc.net.dev", &["name", "kind"])]);
    let mut kinds = || {
        let mut lines = lines(&collect(&mut source, &namespaces).tables[0]);
        lines.sort();
        lines
    };
    assert_eq!(kinds(), ["br0 bridge", "lo NULL", "v0 veth", "v1 veth"]);
    netns.ip("link del v0");
    netns.ip("link add br1 type bridge");
    assert_eq!(kinds(), ["br0 bridge", "br1 bridge", "lo NULL"]);
}

#[test]
fn the_other_ends_of_veths_are_found_in_every_namespace() {
    needs_root!();
    let (host, one, two, unknown) = (Netns::new(), Netns::new(), Netns::new(), Netns::new());
    // One is read through a process, the others by name.
    let _process = one.process();
    for (name, peer, netns) in
        [("v1", "eth0", &one.0), ("v2", "eth0", &two.0), ("v3", "eth0", &unknown.0), ("v4", "v5", &host.0)]
    {
        host.ip(&format!("link add {name} type veth peer name {peer} netns {netns}"));
    }
    host.ip("link add br0 type bridge");
    // Both ends have the same number.
    one.ip(&format!("link add same index 77 type veth peer name same index 77 netns {}", two.0));
    let namespaces =
        [(1, &host), (2, &one), (3, &two)].map(|(scope, netns)| namespace(scope, found(netns.inode()).unwrap()));
    // One table wants peers and kinds, another peers alone, and a third neither.
    let mut source = source(&[
        ("proc.net.dev", &["netns", "name", "kind", "peer"]),
        ("proc.net.dev", &["netns", "name", "peer"]),
        ("proc.net.dev", &["netns", "name"]),
    ]);
    let expected = [
        "1 br0 bridge NULL",
        "1 lo NULL NULL",
        "1 v1 veth 2",
        "1 v2 veth 3",
        "1 v3 veth NULL",
        "1 v4 veth 1",
        "1 v5 veth 1",
        "2 eth0 veth 1",
        "2 lo NULL NULL",
        "2 same veth 3",
        "3 eth0 veth 1",
        "3 lo NULL NULL",
        "3 same veth 2",
    ];
    // The second time by what was asked in the first one.
    for _ in 0..2 {
        let tables = collect(&mut source, &namespaces).tables;
        let [both, peers, neither] = [0, 1, 2].map(|table| {
            assert_eq!(failed(&tables[table]), []);
            let mut lines = lines(&tables[table]);
            lines.sort();
            lines
        });
        assert_eq!(both, expected);
        let without = |columns: &[usize]| {
            expected.map(|line| {
                let words = line.split(' ').enumerate().filter(|(column, _)| !columns.contains(column));
                words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(peers, without(&[2]));
        assert_eq!(neither, without(&[2, 3]));
    }
    // Another pair takes its place, and another namespace.
    host.ip("link del v1");
    host.ip(&format!("link add v9 type veth peer name eth1 netns {}", two.0));
    let lines = lines(&collect(&mut source, &namespaces).tables[1]);
    assert!(["1 v9 3", "1 v2 3", "3 eth1 1"].iter().all(|line| lines.contains(&(*line).to_owned())), "{lines:?}");
}

#[test]
fn a_long_list_of_devices_is_read_to_its_end() {
    needs_root!();
    let netns = Netns::new();
    let _process = netns.process();
    let batch: String =
        (0..100).map(|i| format!("link add long-name-a{i} type veth peer name long-name-b{i}\n")).collect();
    let mut ip = Command::new("ip").args(["-n", &netns.0, "-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success());
    assert!(netns.cat("dev").len() > 3 * PAGE as usize);
    let mut source = source(&[("proc.net.dev", &["name", "kind"])]);
    let tables = collect(&mut source, &[namespace(1, found(netns.inode()).unwrap())]).tables;
    let lines = lines(&tables[0]);
    assert_eq!(lines.len(), 201);
    assert_eq!(lines.iter().filter(|line| line.ends_with(" veth")).count(), 200);
}

#[test]
fn rule_1_what_is_not_read_before_the_deadline_has_failed() {
    needs_root!();
    let namespaces: Vec<Namespace> =
        walk().found.into_iter().zip(1..).map(|(found, id)| namespace(id, found)).collect();
    let mut source = source(&[("proc.net.sockstat", &["netns"]), ("proc.sockstat", &["TCP.alloc"])]);
    let tables = source.collect(&namespaces, Instant::now()).tables;
    assert_eq!(failed(&tables[0]).len(), namespaces.len());
    assert!(failed(&tables[0]).iter().all(|(_, why)| why == "not read before the collection's deadline"));
    assert_eq!(tables[1], Err("not read before the collection's deadline".into()));
    assert!(failed(&collect(&mut source, &namespaces).tables[0]).len() < namespaces.len(), "the next one is as ever");
}

#[test]
fn without_privileges_the_host_is_known_and_the_rest_says_why_not() {
    needs_root!();
    let named = Netns::new();
    let look = || {
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let walk = walk();
        let mut source = source(&[("proc.net.sockstat", &["netns"]), ("proc.net.dev", &["name", "kind"])]);
        let mut scopes = Scopes::default();
        let namespaces = scopes.observe(walk.found.clone(), Duration::ZERO, Duration::ZERO);
        let tables = collect(&mut source, &namespaces).tables;
        (walk, namespaces, tables)
    };
    let (walk, namespaces, tables) = thread::scope(|scope| scope.spawn(look).join().unwrap());
    assert_eq!(walk.no_host, None);
    assert!(walk.hidden > 0, "processes of root may not be looked at");
    let host = namespaces.iter().find(|namespace| namespace.host).unwrap();
    assert_eq!(Some(host.inode), host_inode());
    assert!(lines(&tables[0]).contains(&host.scope.to_string()), "{tables:?}");
    let closed = namespaces.iter().find(|namespace| namespace.inode == named.inode()).unwrap();
    let (_, why) = failed(&tables[0]).iter().find(|(scope, _)| *scope == closed.scope).unwrap();
    assert!(why.contains("CAP_SYS_ADMIN"), "{why}");
    assert!(lines(&tables[1]).iter().any(|line| line == "lo NULL"));
}
