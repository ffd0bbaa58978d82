//! Passes over the kernel's objects: sockets once, however many descriptors lead to them, and tasks.

use super::{
    kernel::{self, NEW, Options},
    run::Machine,
    world::{BOUNDLESS, Names, Whose, World},
};
use crate::{
    batch::Column,
    bpf::{compile::compile, program::figure},
    query::{Asker, Kind, plan},
    table::{Catalogue, Hooks},
};
use std::sync::Arc;

/// A process with a table of descriptors of its own, and threads.
struct Process {
    task: u64,
    fd: u64,
}

impl World {
    fn process(&mut self, tgid: u64, threads: u64) -> Process {
        let (task, files, signal) =
            (self.object("task_struct"), self.object("files_struct"), self.object("signal_struct"));
        self.set(task, "task_struct", "tgid", tgid);
        self.set(task, "task_struct", "pid", tgid);
        self.set_bytes(task, "task_struct", "comm", b"nginx\0");
        self.set(task, "task_struct", "files", files);
        self.set(task, "task_struct", "signal", signal);
        self.set(files, "files_struct", "count", threads);
        self.set(signal, "signal_struct", "nr_threads", threads);
        Process { task, fd: 2 }
    }

    /// A file of this socket, with so many references beside that of the pass.
    fn file(&mut self, sock: u64, references: u64) -> u64 {
        let (file, socket) = (self.object("file"), self.object("socket"));
        self.set(socket, "socket", "sk", sock);
        self.machine.files.insert(file, socket);
        match self.has("file", "f_ref") {
            true => self.set(file, "file", "f_ref.refcnt.counter", references),
            false => self.set(file, "file", "f_count.counter", references + 1),
        }
        file
    }

    /// The pass comes to the next descriptor of a process.
    fn meet(&mut self, process: &mut Process, file: u64) {
        let (meta, seq) = (self.object("bpf_iter_meta"), self.object("seq_file"));
        self.set(meta, "bpf_iter_meta", "seq", seq);
        process.fd += 1;
        // The upper half of the descriptor's word may be anything.
        self.run(&[meta, process.task, 0xabcd_0000_0000 | process.fd, file]);
    }

    /// The pass comes to this socket with a process of its own.
    pub fn meet_once(&mut self, sock: u64) {
        let (mut process, file) = (self.process(77, 1), self.file(sock, 1));
        self.meet(&mut process, file);
    }

    fn tcp(&mut self, port: u16) -> u64 {
        let net = self.net(500, 4_026_531_840);
        self.socket(6, ("10.0.0.1", port), ("10.0.0.2", 80), net)
    }
}

const SOCKETS: u64 = 0xffff_ffff_8200_0000;
const PIPES: u64 = 0xffff_ffff_8200_0100;

/// A process with descriptors from 3 on: sockets and pipes, and an empty one.
struct Table {
    process: Process,
    files: Vec<u64>,
    socks: Vec<u64>,
    sockets: Vec<u64>,
}

impl Table {
    /// `kinds`: what each file's operations are, 0 where there is none. The table has room for `room` descriptors.
    fn new(world: &mut World, kinds: &[u64], room: u64) -> Self {
        let process = world.process(77, 1);
        let (tables, table, array) = (world.object("files_struct"), world.object("fdtable"), world.machine.object(512));
        world.set(process.task, "task_struct", "files", tables);
        world.set(tables, "files_struct", "fdt", table);
        world.set(table, "fdtable", "max_fds", room);
        world.set(table, "fdtable", "fd", array);
        let mut made = Self { process, files: Vec::new(), socks: Vec::new(), sockets: Vec::new() };
        for (&kind, fd) in kinds.iter().zip(3..) {
            let sock = world.tcp(1000 + fd as u16);
            let file = world.file(sock, 1);
            let socket = world.machine.files[&file];
            if kind != SOCKETS {
                world.machine.files.remove(&file);
            }
            world.set(file, "file", "f_op", kind);
            world.set(file, "file", "private_data", socket);
            world.machine.poke(array + 8 * fd, &if kind == 0 { 0 } else { file }.to_le_bytes());
            made.files.push(file);
            made.socks.push(sock);
            made.sockets.push(socket);
        }
        made
    }
}

impl World {
    /// Whether something of the object has been read in the last run.
    fn has_read(&self, object: u64) -> bool {
        self.machine.loads.iter().any(|at| (object..object + 0x100).contains(at))
    }

    /// Which of the files, their `struct socket` and their `struct sock` has been read.
    fn has_read_of(&self, table: &Table) -> [Vec<bool>; 3] {
        [&table.files, &table.sockets, &table.socks].map(|of| of.iter().map(|&object| self.has_read(object)).collect())
    }
}

#[test]
fn a_pass_looks_ahead_in_the_next_sockets_step_by_step() {
    let mut world = World::new(COUNT);
    let mut table = Table::new(&mut world, &[SOCKETS; 6], 64);
    world.meet(&mut table.process, table.files[0]);
    // This one, and the next ones each a step less far. A file is looked at before its socket is.
    let [files, sockets, socks] = world.has_read_of(&table);
    assert_eq!(files, [true, true, true, true, false, false]);
    assert_eq!(sockets, [true, true, true, false, false, false]);
    assert_eq!(socks, [true, true, false, false, false, false]);
}

#[test]
fn what_is_no_socket_is_not_looked_into() {
    let mut world = World::new(COUNT);
    let mut table = Table::new(&mut world, &[SOCKETS, PIPES, PIPES, 0, SOCKETS], 64);
    world.meet(&mut table.process, table.files[0]);
    let [_, sockets, socks] = world.has_read_of(&table);
    assert_eq!((sockets, socks), (vec![true, false, false, false, false], vec![true, false, false, false, false]));
    // Of an empty place there is nothing to be read at all.
    let mut table = Table::new(&mut world, &[SOCKETS, 0, 0, 0], 64);
    world.meet(&mut table.process, table.files[0]);
    assert_eq!(world.has_read_of(&table)[0], [true, false, false, false]);
}

#[test]
fn a_pass_does_not_look_beyond_the_end_of_a_table() {
    for (room, looks) in [(6, false), (7, true)] {
        let mut world = World::new(COUNT);
        let mut table = Table::new(&mut world, &[SOCKETS; 4], room);
        world.meet(&mut table.process, table.files[0]);
        assert_eq!(world.has_read_of(&table)[0], [true, looks, looks, looks], "descriptor 3 of {room}");
    }
}

#[test]
fn each_cache_line_of_a_socket_is_looked_ahead_at_once() {
    let mut world = World::new("SELECT lport, netns, (sk::tcp_sock).snd_cwnd, (sk::tcp_sock).srtt_us FROM iter.socket");
    let mut table = Table::new(&mut world, &[SOCKETS; 4], 64);
    world.meet(&mut table.process, table.files[0]);
    let sock = table.socks[1];
    let mut lines: Vec<u64> =
        world.machine.loads.iter().filter(|at| (sock..sock + 0x100).contains(at)).map(|at| (at - sock) / 64).collect();
    let far = (world.place(sock, "tcp_sock", "snd_cwnd") - sock) / 64;
    lines.sort_unstable();
    assert_eq!(lines, [0, far]);
}

const ROWS: &str = "SELECT name(netns), lport, pid, comm, fd FROM iter.socket";
const COUNT: &str = "SELECT protocol, count(*), sum(sk.sk_mark) FROM iter.socket GROUP BY protocol";

#[test]
fn a_row_tells_the_socket_its_namespace_and_who_holds_it() {
    let mut world = World::new(ROWS);
    let sock = world.tcp(1234);
    let (mut process, file) = (world.process(77, 1), world.file(sock, 1));
    world.meet(&mut process, file);
    assert_eq!(world.handed_out(), ["ns500 1234 77 nginx 3"]);
}

#[test]
fn the_end_of_a_pass_and_files_that_are_no_sockets_give_nothing() {
    for sql in [ROWS, COUNT] {
        let mut world = World::new(sql);
        let mut process = world.process(77, 1);
        let plain = world.object("file");
        world.meet(&mut process, plain);
        world.meet(&mut process, 0);
        let closed = world.file(0, 1);
        world.meet(&mut process, closed);
        assert!(world.machine.seq.is_empty() && world.machine.groups(0).is_empty(), "{sql}");
    }
}

/// A socket that is met twice, with the thread `pid` of the process 77. So many more tasks than its threads have its table of descriptors.
#[derive(Debug)]
struct Twice {
    references: u64,
    sharers: i64,
    threads: u64,
    pid: u64,
}

const ALONE: Twice = Twice { references: 1, sharers: 0, threads: 1, pid: 77 };

/// What the query says of it, and how many sockets the program has remembered.
fn met_twice(options: Options, sql: &str, socket: &Twice) -> (Vec<String>, usize) {
    let mut world = World::on(options, sql, BOUNDLESS);
    let sock = world.tcp(1234);
    let (mut process, file) = (world.process(77, socket.threads), world.file(sock, socket.references));
    let files = world.object("files_struct");
    world.set(files, "files_struct", "count", socket.threads.strict_add_signed(socket.sharers));
    world.set(process.task, "task_struct", "files", files);
    world.set(process.task, "task_struct", "pid", socket.pid);
    world.meet(&mut process, file);
    world.meet(&mut process, file);
    world.collect(0);
    let rows = if world.machine.seq.is_empty() { world.grouped() } else { world.handed_out() };
    (rows, world.machine.seen.len())
}

#[test]
fn a_socket_is_told_once_however_many_descriptors_lead_to_it() {
    for options in [NEW, Options { file_ref: false, ..NEW }] {
        for socket in [
            // Duplicated, or passed to another process.
            Twice { references: 2, ..ALONE },
            Twice { references: 5, threads: 3, ..ALONE },
            // Its process shares its table with another process.
            Twice { sharers: 1, ..ALONE },
            Twice { sharers: 1, threads: 4, ..ALONE },
            // A thread has a table of its own: another process may have taken its place.
            Twice { sharers: -1, threads: 4, ..ALONE },
            // The first thread has ended: the others are all asked.
            Twice { sharers: -1, threads: 3, pid: 78, ..ALONE },
        ] {
            let what = format!("{options:?}, {socket:?}");
            let (rows, seen) = met_twice(options, ROWS, &socket);
            assert_eq!((rows, seen), (vec!["ns500 1234 77 nginx 3".to_owned()], 1), "{what}");
            let (rows, seen) = met_twice(options, COUNT, &socket);
            assert_eq!((rows, seen), (vec!["6 1 0".to_owned()], 1), "{what}");
        }
    }
}

#[test]
fn what_only_one_descriptor_leads_to_need_not_be_remembered() {
    for options in [NEW, Options { file_ref: false, ..NEW }] {
        for threads in [1, 4] {
            // That it is met twice all the same cannot be, and shows that nobody looked.
            let (rows, seen) = met_twice(options, COUNT, &Twice { threads, ..ALONE });
            assert_eq!((rows, seen), (vec!["6 2 0".to_owned()], 0), "{options:?}, {threads} threads");
        }
    }
}

#[test]
fn a_row_that_found_the_readers_buffer_full_comes_again() {
    let mut world = World::new(ROWS);
    let (a, b) = (world.tcp(1), world.tcp(2));
    let (mut process, shared, other) = (world.process(77, 1), world.file(a, 3), world.file(b, 1));
    world.machine.seq_room = 0;
    world.meet(&mut process, shared);
    assert!(world.machine.seen.is_empty(), "what was not written was not met");
    world.machine.seq_room = 2;
    [shared, shared, other].into_iter().for_each(|file| world.meet(&mut process, file));
    assert_eq!(world.handed_out(), ["ns500 1 77 nginx 4", "ns500 2 77 nginx 6"]);
}

#[test]
fn rule_17_a_socket_that_cannot_be_remembered_is_counted() {
    let mut world = World::new(COUNT);
    let sock = world.tcp(1);
    let (mut process, file) = (world.process(77, 1), world.file(sock, 2));
    world.machine.seen_room = 0;
    world.meet(&mut process, file);
    assert_eq!(world.machine.figure(figure::MAP_FULL), 1);
}

#[test]
fn a_filter_is_tested_before_a_socket_is_remembered() {
    let mut world = World::new("SELECT lport FROM iter.socket WHERE lport > 1000 AND name(netns) = 'ns500'");
    let (low, high) = (world.tcp(80), world.tcp(2000));
    let (mut process, low, high) = (world.process(77, 1), world.file(low, 2), world.file(high, 2));
    [low, low, high, high].into_iter().for_each(|file| world.meet(&mut process, file));
    assert_eq!((world.handed_out(), world.machine.seen.len()), (vec!["2000".to_owned()], 1));
}

#[test]
fn tasks_tell_their_namespace() {
    let mut world = World::new(
        "SELECT netns IS NULL, name(netns), pid FROM iter.task WHERE task.pid = task.tgid ORDER BY pid DESC",
    );
    let (net, meta) = (world.net(501, 11), world.object("bpf_iter_meta"));
    let seq = world.object("seq_file");
    world.set(meta, "bpf_iter_meta", "seq", seq);
    for (pid, tgid, with_net) in [(7, 7, true), (8, 7, true), (9, 9, false)] {
        let (Process { task, .. }, proxy) = (world.process(tgid, 1), world.object("nsproxy"));
        world.set(task, "task_struct", "pid", pid);
        world.set(proxy, "nsproxy", "net_ns", net);
        world.set(task, "task_struct", "nsproxy", if with_net { proxy } else { 0 });
        world.run(&[meta, task]);
    }
    assert_eq!(world.handed_out(), ["1 NULL 9", "0 ns501 7"]);
}

#[test]
fn rule_26_what_a_pass_cannot_tell_is_refused() {
    let refused = |catalogue: &Catalogue, sql: &str| {
        let error = plan(sql, catalogue, Asker::Person).expect_err(sql);
        (error.message, error.kind)
    };
    let new = kernel::catalogue(NEW);
    let absent = |message: &str| (message.to_owned(), Kind::Absent);
    assert_eq!(
        refused(&new, "SELECT time FROM iter.socket"),
        absent("`time` cannot be told at iter.socket: a pass has no time and no CPU of its own")
    );
    assert_eq!(
        refused(&new, "SELECT saddr FROM iter.socket"),
        absent("`saddr` cannot be told at iter.socket: no argument is a packet")
    );
    assert_eq!(
        refused(&new, "SELECT netns FROM iter.sockets"),
        absent("there is no table iter.sockets; did you mean `socket`?")
    );
    let old = kernel::catalogue(Options { iterators: false, ..NEW });
    assert_eq!(
        refused(&old, "SELECT netns FROM iter.task"),
        absent("this kernel cannot give iter.task: it has no such BPF iterator (Linux 5.8)")
    );
    let hooks = Hooks::known(Arc::new(kernel::btf(NEW))).without_passes("it is blind".into());
    let blind = Catalogue { hooks, ..Catalogue::default() };
    assert_eq!(refused(&blind, "SELECT netns FROM iter.task"), absent("this node cannot give iter.task: it is blind"));
    assert!(plan("SELECT netns FROM hook.kfree_skb", &blind, Asker::Person).is_ok());
}

#[test]
fn rule_25_a_pass_tells_each_namespace_once_that_a_table_is_read_in() {
    let mut catalogue = kernel::catalogue(NEW);
    catalogue.tables.push(crate::diag::table());
    let sql = "SELECT state FROM netlink.sock_diag WHERE netns IN (SELECT netns FROM iter.socket WHERE sk.sk_mark > 5)";
    let inner = plan(sql, &catalogue, Asker::Probe).unwrap().within.remove(0);
    let mut world = World::new("SELECT netns, count(*) FROM iter.socket WHERE sk.sk_mark > 5 GROUP BY netns");
    world.compiled = compile(&inner, BOUNDLESS).unwrap();
    world.machine = Machine::new(&world.compiled.program);
    world.query = inner;
    let mut process = world.process(77, 1);
    for (cookie, mark) in [(500, 6), (500, 7), (501, 5), (502, 6)] {
        let net = world.net(cookie, cookie);
        let sock = world.socket(6, ("10.0.0.1", 1), ("10.0.0.2", 2), net);
        world.set(sock, "sock", "sk_mark", mark);
        let file = world.file(sock, 1);
        world.meet(&mut process, file);
    }
    world.collect(0);
    let (batch, _) = world.totals.rows(&world.query, &world.compiled, &mut Whose);
    let columns: Vec<&Column> = batch.columns.iter().collect();
    assert_eq!(world.query.namespaces(batch.rows, &columns, &Names), (vec![500, 502], 0));
}
