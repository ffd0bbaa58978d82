//! Whose the sockets of the real kernel are: a process in a cgroup of its own, and this one. Needs root, and fails as anybody else.
// Helpers are not tests for clippy; a failed one shall fail the test.
#![allow(clippy::unwrap_used)]

use netsonde::{
    scope::cgroup::{Cgroups, ROOT},
    source::{
        btf,
        hook::{Hooks, Limits, Owner, Rows},
        iter::Program,
    },
};
use netsonde_core::{
    batch::{Batch, Column, Values},
    bpf::{
        compile::Budget,
        record::{NetnsKey, OwnerKey, Scoping},
    },
    query::{Asker, Query, plan},
    scope::ScopeId,
    table::{self, Catalogue},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let types = btf::read(Path::new("/sys/kernel/btf/vmlinux")).unwrap();
    Catalogue { hooks: table::Hooks::known(types), ..Catalogue::default() }
});

fn planned(sql: &str) -> (Owner, Query) {
    let query = plan(sql, &CATALOGUE, Asker::Probe).unwrap_or_else(|error| panic!("{}", error.render(sql)));
    (Owner { probe: "test".into(), query: sql.into(), sql: sql.into(), stack: false }, query)
}

/// Gives each owner a number, and remembers it.
#[derive(Default)]
struct Seen(Vec<OwnerKey>);

impl Scoping for Seen {
    fn netns(&mut self, _: NetnsKey) -> ScopeId {
        ScopeId::MAX
    }

    fn owner(&mut self, owner: OwnerKey) -> ScopeId {
        let at = self.0.iter().position(|known| *known == owner);
        at.unwrap_or_else(|| {
            self.0.push(owner);
            self.0.len() - 1
        }) as ScopeId
    }
}

impl Seen {
    /// The cgroups in the first column.
    fn cgroups(&self, batch: &Batch) -> Vec<Option<u64>> {
        let column = &batch.columns[0];
        let Values::U32(owners) = &column.values else { panic!("owners are scopes") };
        (0..batch.rows).map(|row| column.has(row).then(|| self.0[owners[row] as usize].cgroup)).collect()
    }
}

/// Set for the other process.
const ACT: &str = "NETSONDE_TEST_ACT";

/// A cgroup with a process in it that does what it is told.
struct Other {
    folder: PathBuf,
    number: u64,
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Other {
    fn new(test: &str) -> Self {
        let cgroups = Cgroups::open(Path::new(ROOT), Path::new("/proc")).unwrap();
        let folder = cgroups.root().join(format!("netsonde-owners-{test}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}; run this test as root", folder.display()));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "act", "--nocapture"])
            .env(ACT, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let number = fs::metadata(&folder).unwrap().ino();
        let other = Self { folder, number, child, says };
        fs::write(other.folder.join("cgroup.procs"), other.child.id().to_string()).unwrap();
        other
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
    }

    /// The number of this name that it says next.
    fn hear(&mut self, name: &str) -> u16 {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.says.read_line(&mut line).unwrap() > 0, "it ended without saying {name}");
            // The test harness writes before it, without a line's end.
            if let Some((_, number)) = line.trim_end().rsplit_once(&format!("{name}=")) {
                return number.parse().unwrap();
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The other process.
#[test]
#[ignore = "run by the others"]
fn act() {
    if std::env::var_os(ACT).is_none() {
        return;
    }
    let mut told = std::io::stdin().lines().map_while(Result::ok);
    assert_eq!(told.next().as_deref(), Some("open"));
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("\ntcp={}\nudp={}", tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
    if told.next().as_deref() != Some("accept") {
        return;
    }
    let (mut accepted, _) = tcp.accept().unwrap();
    // Closed with a byte that was not read: a reset.
    assert_eq!(accepted.read(&mut [0]).unwrap(), 1);
    drop(accepted);
    // Nobody reads what comes to the other.
    assert_eq!(told.next(), None);
}

/// Number of the cgroup that this process is in.
fn own() -> u64 {
    let cgroups = Cgroups::open(Path::new(ROOT), Path::new("/proc")).unwrap();
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
    fs::metadata(cgroups.root().join(path)).unwrap().ino()
}

/// All rows of a query's table that come within a while, and each of their owners' cgroups.
fn cgroups_by_query(
    hooks: &Hooks,
    reader: &mut netsonde::source::hook::Reader,
    expected: usize,
) -> BTreeMap<u32, Vec<Option<u64>>> {
    let mut all: BTreeMap<u32, Vec<Option<u64>>> = BTreeMap::new();
    let until = Instant::now() + Duration::from_secs(10);
    while all.len() < expected && Instant::now() < until {
        let mut seen = Seen::default();
        for Rows { hook, batch, scopes, .. } in reader.read(hooks, Duration::from_millis(200), &mut seen).unwrap() {
            assert!((0..batch.rows).all(|row| scopes.has(row)), "each has a namespace");
            all.entry(hook).or_default().extend(seen.cgroups(&batch));
        }
    }
    all
}

#[test]
fn resets_and_drops_are_those_of_the_cgroup_that_made_the_socket() {
    let mut other = Other::new("events");
    other.tell("open");
    let (tcp, udp) = (other.hear("tcp"), other.hear("udp"));
    let limits = Limits { ring_bytes: 1 << 20, rows: Budget::default(), cpu: 1.0 };
    let (hooks, mut reader) = Hooks::new(limits).expect("this test loads BPF programs: run it as root");
    let attached = [
        format!("hook.tcp_send_reset WHERE lport = {tcp}"),
        format!("hook.tcp_receive_reset WHERE rport = {tcp}"),
        format!("hook.kfree_skb WHERE dport = {udp} AND name(reason) = 'SOCKET_RCVBUFF'"),
    ]
    .map(|of| {
        let attach = |sql: &str| {
            let (owner, query) = planned(sql);
            hooks.attach(owner, &query).unwrap()
        };
        (
            attach(&format!("SELECT owner, pid FROM {of}")),
            attach(&format!("SELECT owner, count(*) AS n FROM {of} GROUP BY owner")),
        )
    });

    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, tcp)).unwrap();
    client.write_all(b"xy").unwrap();
    other.tell("accept");
    assert!(client.read(&mut [0]).is_err(), "it was reset");
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..2000 {
        sender.send_to(&[0; 1000], (Ipv4Addr::LOCALHOST, udp)).unwrap();
    }

    let rows = cgroups_by_query(&hooks, &mut reader, attached.len());
    hooks.collect();
    for ((stream, groups), expected) in attached.into_iter().zip([other.number, own(), other.number]) {
        let of_stream = rows.get(&stream).unwrap_or_else(|| panic!("no rows of {:?}", hooks.owner(stream)));
        assert!(of_stream.iter().all(|cgroup| *cgroup == Some(expected)), "{of_stream:?}, not {expected}");
        let mut seen = Seen::default();
        let (batch, partial) = hooks.groups(groups, &mut seen).unwrap();
        assert_eq!(seen.cgroups(&batch), [Some(expected)], "one group");
        let Values::U64(counts) = &partial[0].values else { panic!("counts are numbers") };
        assert!(counts[0] >= of_stream.len() as u64);
    }
    assert_ne!(other.number, own());
}

#[test]
fn a_pass_tells_the_cgroup_of_each_socket_that_is_held() {
    let mut other = Other::new("pass");
    other.tell("open");
    let (tcp, udp) = (other.hear("tcp"), other.hear("udp"));
    let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = ours.local_addr().unwrap().port();
    let soon = Instant::now() + Duration::from_secs(30);

    let of = format!("FROM iter.socket WHERE lport IN ({tcp}, {udp}, {port}) AND raddr IN ('0.0.0.0', '::')");
    let (owner, query) = planned(&format!("SELECT owner, lport, cgroup {of}"));
    let mut seen = Seen::default();
    let batch = Program::load(owner, &query).unwrap().pass(soon, &mut seen).unwrap().batch;
    let number = |column: &Column, row: usize| match &column.values {
        Values::U64(numbers) => numbers[row],
        other => panic!("no numbers: {other:?}"),
    };
    for (row, cgroup) in seen.cgroups(&batch).into_iter().enumerate() {
        let expected = if number(&batch.columns[1], row) == u64::from(port) { own() } else { other.number };
        assert_eq!((cgroup, number(&batch.columns[2], row)), (Some(expected), expected), "row {row}");
    }
    assert_eq!(batch.rows, 3);

    let (owner, query) = planned(&format!("SELECT owner, count(*) AS n {of} GROUP BY owner"));
    let mut seen = Seen::default();
    let passed = Program::load(owner, &query).unwrap().pass(soon, &mut seen).unwrap();
    let mut counts = BTreeMap::new();
    for (row, cgroup) in seen.cgroups(&passed.batch).into_iter().enumerate() {
        counts.insert(cgroup.unwrap(), number(&passed.partial.as_ref().unwrap()[0], row));
    }
    assert_eq!(counts, BTreeMap::from([(own(), 1), (other.number, 2)]));
    let netns: Vec<NetnsKey> = seen.0.iter().map(|owner| owner.netns).collect();
    assert!(netns.iter().all(|netns| *netns == seen.0[0].netns && netns.cookie != 0), "{netns:?}");
}
