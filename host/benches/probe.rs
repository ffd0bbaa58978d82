//! What the sandbox costs: a call by rows, a module loaded cold and cached, the agent from its start to its first scrape.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

mod measure;

use netsonde::probe::{builtin, cache::Cache, engine::Engine, guest::Guest, limits::Limits, module::Module};
use netsonde_core::{
    batch::{Batch, Column, Values},
    config,
    probe::{Answer, Call, CallKind, Field, QueryState},
};
use std::{
    fs,
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const COLUMNS: [&str; 10] = [
    "netns",
    "name",
    "rx_bytes",
    "tx_bytes",
    "rx_packets",
    "tx_packets",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
];

fn main() {
    calls();
    loads();
    starts();
}

/// The probe `traffic`: ten columns in, eight metrics with three columns each out.
fn calls() {
    let engine = Engine::new(1).unwrap();
    let module = Module::from_bytes(&engine, "traffic", builtin::module("traffic").unwrap(), &Cache::none()).unwrap();
    let limits = Limits::from(&config::Limits::default());
    let mut guest = Guest::new(engine, "traffic", module, "{}".into(), limits);
    guest.describe().unwrap();
    let field =
        |name: &&str| Field { name: name.to_string(), logical: "count".into(), nullable: false, attributes: vec![] };
    guest.start(&[QueryState::Runs(COLUMNS.iter().map(field).collect())]).unwrap();
    for rows in [0, 100, 1_000, 10_000] {
        let batch = batch(rows);
        let what = format!("a call of `traffic`, {rows} rows (reference: the columns copied)");
        let copy = || {
            // In once, and out as eight times three columns.
            for _ in 0..4 {
                black_box(batch.clone());
            }
        };
        measure::compare(&what, 200, copy, || {
            let output = guest.process(call(batch.clone())).output.unwrap();
            assert_eq!(output.samples.len(), 8);
        });
    }
}

fn batch(rows: usize) -> Batch {
    let scopes = Column::full(Values::U32((1..=rows as u32).collect()));
    let names = Column::full(Values::Code { codes: vec![0; rows], names: vec!["eth0".into()] });
    let numbers = (2..COLUMNS.len()).map(|_| Column::full(Values::U64((0..rows as u64).collect())));
    Batch { rows, columns: [scopes, names].into_iter().chain(numbers).collect() }
}

fn call(batch: Batch) -> Call {
    let answers = vec![Answer { query: 0, result: Ok(batch), failed_scopes: vec![] }];
    Call { kind: CallKind::Collection, id: 1, monotonic_nanos: 0, unix_nanos: 0, answers, gone: vec![] }
}

fn loads() {
    let engine = Engine::new(1).unwrap();
    let bytes = builtin::module("sockstat").unwrap();
    let folder = Folder::new("load");
    let cache = Cache::open(&folder.0).unwrap();
    Module::from_bytes(&engine, "sockstat", bytes, &cache).unwrap();
    let load = |cache: &Cache| drop(Module::from_bytes(&engine, "sockstat", bytes, cache).unwrap());
    measure::compare(
        "loading `sockstat` from the cache (reference: compiling it)",
        5,
        || load(&Cache::none()),
        || load(&cache),
    );
}

/// Reference: a program that does nothing.
fn starts() {
    let nothing = || assert!(Command::new("true").status().unwrap().success());
    let folder = Folder::new("start");
    measure::compare("start to first scrape, nothing cached", 3, nothing, || {
        let _ = fs::remove_dir_all(&folder.0);
        first_scrape(&folder.0);
    });
    measure::compare("start to first scrape, compiled modules cached", 5, nothing, || first_scrape(&folder.0));
}

fn first_scrape(cache: &Path) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_netsonde"))
        .args(["run", "--listen", &address.to_string(), "--cache-folder"])
        .arg(cache)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        if let Ok(mut stream) = TcpStream::connect(address) {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut page = String::new();
            stream.read_to_string(&mut page).unwrap();
            assert!(page.contains("netsonde_sockstat_sockets_used"), "{page}");
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("netsonde-bench-{name}-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
