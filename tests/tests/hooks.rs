//! Columns of tracepoints against values that are known: every kind of them, from the live kernel.

use netsonde_tests::{
    Folder,
    netns::{Netns, Pair, run},
    query::Asked,
    traffic::Peer,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

const SERVERS: [&str; 2] = ["10.199.0.2", "fd99::2"];
const CLIENTS: [&str; 2] = ["10.199.0.1", "fd99::1"];

/// Of IPv4 and IPv6.
const FAMILIES: [u64; 2] = [2, 10];
const ANY: [&str; 2] = ["0.0.0.0", "::"];

/// A row has at least these values.
fn check(row: &Value, want: Value) {
    for (name, value) in want.as_object().unwrap() {
        assert_eq!(&row[name], value, "{name} in {row}");
    }
}

/// A number that `ss -ti` prints behind `key:`.
fn of_ss(text: &str, key: &str) -> u64 {
    let found = text.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix(':')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {key} in {text}"))
}

#[test]
fn a_sockets_columns_are_what_was_done_with_it() {
    let pair = Pair::new();
    let (mut client, mut server) = (Peer::new(&pair.a), Peer::new(&pair.b));
    client.run("open('/proc/self/comm', 'w').write('nst-client')");
    let cpu = client.number("max(os.sched_getaffinity(0))");
    client.run(&format!("os.sched_setaffinity(0, [{cpu}])"));
    let name = pair.a.name.as_str();
    let mut asked = Asked::rows_of(&format!(
        "SELECT time, cpu, pid, comm, name(netns) AS netns, name(owner) AS owner, protocol, name(protocol) AS protocol_name, family, \
         laddr, lport, raddr, rport, oldstate, name(oldstate, 'TCP_ESTABLISHED') AS old, name(newstate, 'TCP_ESTABLISHED') AS new, \
         sk.__sk_common.skc_dport AS be16, sk.__sk_common.skc_daddr AS be32, sk.__sk_common.skc_num AS u16, \
         sk.__sk_common.skc_v6_daddr AS in6_addr, sk.__sk_common.skc_reuse AS bits, sk.__sk_common.skc_ipv6only AS bit, \
         sk.sk_mark AS u32, sk.sk_peek_off AS signed, (sk::inet_sock).inet_sport AS cast_be16, (sk::tcp_sock).snd_cwnd AS cwnd, \
         (sk::udp_sock).encap_type AS other_cast, maybe(sk.nothing) AS missing, maybe(sk.nothing) IS NULL AS is_missing, \
         sk IS NULL AS no_socket, sk.sk_socket IS NULL AS orphan \
         FROM hook.inet_sock_set_state WHERE name(netns) = '{name}' AND name(newstate, 'TCP_ESTABLISHED') = 'SYN_SENT'"
    ));
    for (index, (to, from)) in SERVERS.into_iter().zip(CLIENTS).enumerate() {
        let (port, six) = (7100 + index as u64, index as u64);
        server.run(&format!("l = listen('{to}', {port})"));
        client.run(&format!("s = tcp('{to}')"));
        client.run("s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack('I', 0xfeedbeef))");
        if six == 1 {
            client.run("s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)");
            client.run("s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)");
        }
        client.run(&format!("s.bind((any('{to}'), 0)); lport = port(s)"));
        let times =
            client.numbers(&format!("[time.monotonic_ns(), s.connect(('{to}', {port})) or time.monotonic_ns()]"));
        let row = asked.row();
        let time = row["time"].as_u64().unwrap();
        assert!(times[0] <= time && time <= times[1], "{times:?}: {row}");
        check(
            &row,
            json!({
                "cpu": cpu, "pid": client.pid(), "comm": "nst-client", "netns": name, "owner": name,
                "protocol": 6, "protocol_name": "TCP", "family": FAMILIES[index],
                "laddr": from, "lport": client.number("lport"), "raddr": to, "rport": port,
                "oldstate": 7, "old": "CLOSE", "new": "SYN_SENT",
                "be16": port, "u16": client.number("lport"), "cast_be16": client.number("lport"),
                "bits": six, "bit": six, "u32": 0xfeed_beef_u32, "signed": -1, "cwnd": 10,
                "other_cast": null, "missing": null, "is_missing": true, "no_socket": false, "orphan": false,
            }),
        );
        if six == 1 {
            check(&row, json!({ "in6_addr": "fd99::2" }));
        } else {
            check(&row, json!({ "be32": u32::from_be_bytes([10, 199, 0, 2]) }));
        }
    }
}

#[test]
fn a_cast_socket_says_what_ss_says() {
    let pair = Pair::new();
    let (mut client, mut server) = (Peer::new(&pair.a), Peer::new(&pair.b));
    server.run("l = listen('10.199.0.2', 7200)");
    client.run("s = connect('10.199.0.2', 7200)");
    server.run("c = accept(l)");
    let mut asked = Asked::rows_of(&format!(
        "SELECT (sk::tcp_sock).snd_cwnd AS cwnd, (sk::tcp_sock).mss_cache AS mss, (sk::tcp_sock).bytes_acked AS bytes_acked, \
         (sk::inet_connection_sock).icsk_ca_ops.name AS algorithm, name(sk.__sk_common.skc_state, 'TCP_ESTABLISHED') AS state \
         FROM hook.inet_sock_set_state WHERE name(netns) = '{}' AND rport = 7200 \
         AND name(newstate, 'TCP_ESTABLISHED') = 'FIN_WAIT1'",
        pair.a.name
    ));
    client.run("s.sendall(b'x' * 300000)");
    server.run("n = 0\nwhile n < 300000: n += len(c.recv(65536))");
    // All is acknowledged: what the sender knows of the way does not change any more.
    client.run("import fcntl, termios");
    let outstanding = "struct.unpack('i', fcntl.ioctl(s, termios.TIOCOUTQ, b'0000'))[0] == 0";
    client.run(&format!("until('all is acknowledged', lambda: {outstanding})"));
    let ss = pair.a.run("ss", &["-Htin", "dport", "=", ":7200"]);
    client.run("s.close()");
    let row = asked.row();
    check(
        &row,
        json!({
            "cwnd": of_ss(&ss, "cwnd"), "mss": of_ss(&ss, "mss"), "bytes_acked": of_ss(&ss, "bytes_acked"),
            "state": "ESTABLISHED",
        }),
    );
    assert!(row["cwnd"].as_u64() > Some(10), "it has grown: {row}");
    let algorithm = pair.a.run("cat", &["/proc/sys/net/ipv4/tcp_congestion_control"]);
    assert_eq!(row["algorithm"], algorithm.trim());
}

#[test]
fn a_packets_columns_are_what_was_sent() {
    let pair = Pair::new();
    let name = pair.a.name.as_str();
    let mut client = Peer::new(&pair.a);
    let mut asked = Asked::rows_of(&format!(
        "SELECT name(netns) AS netns, name(owner) AS owner, name(protocol) AS protocol, family, saddr, sport, daddr, dport, \
         laddr, lport, raddr, rport, skb.len AS len, skb.dev.name AS device, skb.dev.name[0] AS element, \
         skb.dev.broadcast AS broadcast, name(skb.dev.reg_state, 'NETREG_REGISTERED') AS state, skb.dev.nd_net.net.ns.inum AS inode, \
         (skb.sk::inet_sock).inet_sport AS cast, skb.sk IS NULL AS no_socket \
         FROM hook.net_dev_queue WHERE name(netns) = '{name}' AND dport IN (7300, 7301)"
    ));
    let inode = fs::metadata(format!("/run/netns/{name}")).unwrap().ino();
    for (index, (to, from)) in SERVERS.into_iter().zip(CLIENTS).enumerate() {
        let port = 7300 + index as u64;
        let sport = client.number(&format!("send('{to}', {port}, 1, {})", 100 + index));
        let row = asked.row();
        check(
            &row,
            json!({
                "netns": name, "owner": name, "protocol": "UDP", "family": FAMILIES[index],
                "saddr": from, "sport": sport, "daddr": to, "dport": port,
                // The socket is not connected.
                "laddr": ANY[index], "lport": sport, "raddr": ANY[index], "rport": 0,
                // Ethernet, IPv4 or IPv6, UDP, and the text.
                "len": (14 + [20, 40][index] + 8 + 100 + index),
                "device": "veth0", "element": 118, "state": "REGISTERED", "inode": inode,
                "cast": sport, "no_socket": false,
            }),
        );
        assert!(row["broadcast"].as_str().unwrap().starts_with("ffffffffffff0000"), "Ethernet's: {row}");
    }
}

#[test]
fn without_a_socket_its_columns_are_null_and_without_a_packet_its() {
    let pair = Pair::new();
    let (mut client, mut server) = (Peer::new(&pair.a), Peer::new(&pair.b));
    let mut asked = Asked::rows_of(&format!(
        "SELECT sk IS NULL AS no_socket, skb IS NULL AS no_packet, saddr, sport, daddr, dport, laddr, lport, raddr, rport, \
         name(owner) AS owner, cgroup, name(protocol) AS protocol, family, name(reason) AS reason \
         FROM hook.tcp_send_reset WHERE name(netns) = '{}'",
        pair.b.name
    ));
    let sport = client.numbers("refused('10.199.0.2', 7400, 1)")[0];
    check(
        &asked.row(),
        json!({
            "no_socket": true, "no_packet": false, "saddr": "10.199.0.1", "sport": sport, "daddr": "10.199.0.2", "dport": 7400,
            "laddr": null, "lport": null, "raddr": null, "rport": null, "owner": null, "cgroup": null,
            "protocol": "TCP", "family": 2, "reason": "NO_SOCKET",
        }),
    );
    server.run("l = listen('fd99::2', 7401)");
    let sport = client.number("port(s := connect('fd99::2', 7401))");
    server.run("c = accept(l); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()");
    check(
        &asked.row(),
        json!({
            "no_socket": false, "no_packet": true, "saddr": null, "sport": null, "daddr": null, "dport": null,
            "laddr": "fd99::2", "lport": 7401, "raddr": "fd99::1", "rport": sport, "owner": pair.b.name,
            "protocol": "TCP", "family": 10,
        }),
    );
}

/// A cgroup of version 2, with the process that is put into it; it goes with the test.
struct Cgroup {
    path: PathBuf,
    mounted: Option<Folder>,
}

impl Cgroup {
    fn new() -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[2] == "cgroup2").then(|| PathBuf::from(words[1]))
        });
        let mounted = root.is_none().then(|| {
            let folder = Folder::new("cgroup");
            run("mount", &["-t", "cgroup2", "none", folder.path().to_str().unwrap()]);
            folder
        });
        let root = root.unwrap_or_else(|| mounted.as_ref().unwrap().path().to_owned());
        let path = root.join(netsonde_tests::unique("nst"));
        fs::create_dir(&path).unwrap();
        Self { path, mounted }
    }

    fn add(&self, pid: u32) {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
        if let Some(folder) = &self.mounted {
            run("umount", &["-l", folder.path().to_str().unwrap()]);
        }
    }
}

#[test]
fn cgroup_is_the_inode_of_the_cgroup_in_which_the_socket_was_opened() {
    let cgroup = Cgroup::new();
    let netns = Netns::new("cgroup");
    let mut peer = Peer::new(&netns);
    cgroup.add(peer.pid());
    let mut asked = Asked::rows_of(&format!(
        "SELECT cgroup FROM hook.inet_sock_set_state WHERE name(netns) = '{}' AND lport = 7500",
        netns.name
    ));
    peer.run("l = listen('127.0.0.1', 7500)");
    assert_eq!(asked.row()["cgroup"], fs::metadata(&cgroup.path).unwrap().ino());
    drop(peer);
}

#[test]
fn rows_are_shown_to_people_and_end_by_count_or_by_time() {
    let netns = Netns::new("shown");
    let mut peer = Peer::new(&netns);
    let sql = format!(
        "SELECT name(netns), daddr, dport FROM hook.net_dev_queue WHERE name(netns) = '{}' AND dport = 7600",
        netns.name
    );
    let asked = Asked::with(&sql, &["--count", "2", "--for", "1m"]);
    let sent = peer.number("send('127.0.0.1', 7600, 3)");
    let (code, lines) = asked.end();
    assert_eq!((code, lines.len()), (Some(0), 3), "a head and two of three rows, {sent}: {lines:?}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&lines[0]), ["name(netns)", "daddr", "dport"]);
    assert_eq!(words(&lines[2]), [netns.name.as_str(), "127.0.0.1", "7600"]);
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "no colour in a pipe");

    let asked = Asked::with(&sql, &["--json", "--for", "300ms"]);
    assert_eq!(asked.end(), (Some(0), vec![]), "nothing happened");
}
