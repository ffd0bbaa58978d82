//! Passes over the kernel's own sockets and tasks, as their reader sees them. Needs root, and fails as anybody else.
// Helpers are not tests for clippy; a failed one shall fail the test.
#![allow(clippy::unwrap_used)]

use netsonde::bpf::{PassError, Passing};
use netsonde_core::{
    batch::{Batch, Values},
    bpf::{
        btf::Btf,
        compile::{Budget, Compiled, compile},
        record::{Decoder, word},
    },
    query::{Asker, Query, plan},
    table::{Catalogue, Hooks},
};
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    Catalogue { hooks: Hooks::known(Arc::new(Btf::parse(types).unwrap())), ..Catalogue::default() }
});

fn ready(sql: &str) -> (Query, Compiled, Passing) {
    let query = plan(sql, &CATALOGUE, Asker::Probe).unwrap_or_else(|error| panic!("{}", error.render(sql)));
    let compiled = compile(&query, Budget::default()).unwrap();
    let passing = Passing::load(&compiled.program)
        .unwrap_or_else(|error| panic!("these tests load BPF programs, run them as root: {error}"));
    (query, compiled, passing)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// The sockets of this process by the inodes of their files, and how often each was told; `each` is called between rows.
fn told(query: &str, mut each: impl FnMut(usize)) -> BTreeMap<u64, usize> {
    let (query, compiled, passing) = ready(query);
    let mut decoder = Decoder::new(&compiled.cells, &query.columns, 0);
    let mut row = |row: &[u8]| {
        decoder.push(row, &mut |_| 0);
        each(decoder.rows());
    };
    passing.pass(soon(), &mut row, &mut |_, _| ()).unwrap();
    let Batch { columns, .. } = decoder.finish();
    let Values::U64(inodes) = &columns[0].values else { panic!("inodes are numbers") };
    inodes.iter().fold(BTreeMap::new(), |mut told, inode| {
        *told.entry(*inode).or_default() += 1;
        told
    })
}

fn inode(socket: &impl AsFd) -> u64 {
    rustix::fs::fstat(socket).unwrap().st_ino
}

/// More rows than the kernel's buffer holds: it stops in the middle, and goes on when the reader comes again. Half of the sockets have to be
/// remembered; others come and go meanwhile.
#[test]
fn a_reader_that_sleeps_is_told_every_socket_once() {
    let sockets: Vec<UdpSocket> = (0..3_000).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let copies: Vec<OwnedFd> = sockets.iter().step_by(2).map(|socket| rustix::io::dup(socket).unwrap()).collect();
    let done = AtomicBool::new(false);
    let sql =
        format!("SELECT sk.sk_socket.file.f_inode.i_ino AS inode FROM iter.socket WHERE pid = {}", std::process::id());
    let mut slept = 0;
    let told = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(UdpSocket::bind("127.0.0.1:0"));
            }
        });
        let told = told(&sql, |rows| {
            if rows % 500 == 0 {
                thread::sleep(Duration::from_millis(20));
                slept += 1;
            }
        });
        done.store(true, Ordering::Relaxed);
        told
    });
    assert!(slept >= 6);
    for (index, socket) in sockets.iter().enumerate() {
        assert_eq!(told.get(&inode(socket)), Some(&1), "socket {index} of {}", sockets.len());
    }
    drop(copies);
}

#[test]
fn rows_and_groups_tell_the_same_pass_after_pass() {
    // An address of their own: other tests of this process open and close sockets meanwhile.
    let address = Ipv4Addr::new(127, 98, 7, 6);
    let sockets: Vec<UdpSocket> = (0..100).map(|_| UdpSocket::bind((address, 0)).unwrap()).collect();
    let _copies: Vec<OwnedFd> = sockets.iter().map(|socket| rustix::io::dup(socket).unwrap()).collect();
    let of_mine =
        format!("pid = {} AND sk.__sk_common.skc_rcv_saddr = {} AND lport > 0", std::process::id(), u32::from(address));
    let rows =
        told(&format!("SELECT sk.sk_socket.file.f_inode.i_ino AS inode FROM iter.socket WHERE {of_mine}"), |_| ());
    let (_, compiled, passing) = ready(&format!("SELECT count(*) FROM iter.socket WHERE {of_mine}"));
    assert_eq!(compiled.partials.len(), 1);
    for pass in 0..3 {
        let mut counts = Vec::new();
        passing.pass(soon(), &mut |_| (), &mut |_, value| counts.push(word(value, 0))).unwrap();
        assert_eq!(counts, [rows.len() as u64], "pass {pass}: nothing is left over from the one before");
    }
    assert!(rows.len() == 100 && rows.values().all(|times| *times == 1), "{rows:?}");
}

#[test]
fn a_pass_that_is_late_says_so_and_leaves_nothing_behind() {
    let (_, _, passing) = ready("SELECT count(*) FROM iter.task");
    let late = passing.pass(Instant::now(), &mut |_| (), &mut |_, _| ());
    assert!(matches!(late, Err(PassError::Late)), "{late:?}");
    let mut groups = 0;
    passing.pass(soon(), &mut |_| (), &mut |_, _| groups += 1).unwrap();
    assert_eq!(groups, 1);
}

#[test]
fn rule_21_what_does_not_fit_into_64_bits_is_counted() {
    let (_, _, passing) = ready("SELECT count(task.tgid * 9223372036854775807) FROM iter.task WHERE task.tgid > 1");
    let mut groups = Vec::new();
    let overflows = passing.pass(soon(), &mut |_| (), &mut |_, value| groups.push(word(value, 0))).unwrap();
    assert!(overflows > 1, "{overflows}");
    assert_eq!(groups, [0], "all of them are NULL");
}
