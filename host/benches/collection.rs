//! A full scrape without compression, 300 namespaces (`NAMESPACES=N` for another number), against a bare loop that opens, reads and closes
//! the same files. Needs root, for the namespaces.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

mod measure;

use netsonde::{
    agent::{
        self,
        board::Shared,
        collector::{Collector, Rhythm},
        events::EventLog,
        kernel::{Kernel, Places},
        namespaces::Namespaces,
        slot::Slot,
        tables::Tables,
    },
    bpf::kallsyms::Symbols,
    probe::{cache::Cache, engine::Engine},
    scope::netns::{NAMED, walk},
    sink::Sinks,
};
use netsonde_core::{config::Config, metric::format::Format, scope::Scopes, table::Hooks};
use std::{
    fs::File,
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant, SystemTime},
};

/// What the built-in probes read.
const FILES: [&str; 4] = ["sockstat", "sockstat6", "snmp", "dev"];

fn main() {
    let count = std::env::var("NAMESPACES").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    let namespaces = Held::new(count);
    let mut collector = collector();
    let deadline = || Instant::now() + Duration::from_secs(30);
    collector.collect(deadline());
    let series: usize = collector.shared.board().status.iter().map(|status| status.series).sum();
    println!("{count} namespaces, built-in probes, {series} series");

    let pids = namespaces.pids();
    let mut buffer = vec![0; 1 << 16];
    measure::compare(
        "a collection, tables to page",
        30,
        || bare_loop(&pids, &mut buffer),
        || {
            collector.collect(deadline());
            let page = collector.shared.board().page(Format::negotiate(None), &collector.shared.accounts(), &[]);
            assert!(page.len() > 1000);
        },
    );
    measure::compare(
        "finding the namespaces",
        30,
        || bare_loop(&pids, &mut buffer),
        || {
            walk(Path::new("/proc"), Path::new(NAMED), None).unwrap();
        },
    );
    let shared = collector.shared.clone();
    measure::compare(
        "writing the page",
        30,
        || bare_loop(&pids, &mut buffer),
        || {
            shared.board().page(Format::negotiate(None), &shared.accounts(), &[]);
        },
    );
    let board = shared.board();
    let wasm: Duration = board.status.iter().map(|status| status.cpu).sum();
    let collections = board.status.first().map_or(0, |status| status.queries[0].rows) / (count as u64 + 1);
    println!("CPU time of the probes' calls, of all probes: {:.2?} a collection", wasm / collections.max(1) as u32);
}

fn bare_loop(pids: &[u32], buffer: &mut [u8]) {
    for pid in pids {
        for file in FILES {
            let mut file = File::open(format!("/proc/{pid}/net/{file}")).unwrap();
            while file.read(buffer).unwrap() > 0 {}
        }
    }
}

/// The agent's own collector, as `agent.rs` wires it, without threads around it.
fn collector() -> Collector {
    let config = Config::default();
    let scopes = Arc::new(Mutex::new(Scopes::default()));
    let events = Arc::new(EventLog::new(&config, "bench", Duration::ZERO, Sinks::default(), None));
    let shared = Arc::new(Shared::new(scopes.clone(), events, None, clock));
    let tables = Tables::new(Path::new("/proc"), &Hooks::default());
    let catalogue = tables.catalogue();
    let places = Places { proc_root: "/proc".into(), netns_folder: NAMED.into(), host_netns: None };
    let namespaces = Arc::new(Namespaces::new(places, scopes, None, None, clock));
    let kernel = Kernel::start(namespaces, tables, Arc::default(), catalogue.clone()).unwrap();
    let specs = agent::specs(&config);
    let engine = Engine::new(specs.len()).unwrap();
    let slots: Vec<Slot> = agent::load(specs, &engine, &Cache::none(), &agent::nobody());
    let second = Duration::from_secs(1);
    let rhythm = Rhythm { min_interval: second, idle_interval: second, timeout: second };
    let mut collector =
        Collector::new(kernel, None, Symbols::new(Path::new("/proc")), slots, catalogue, shared, rhythm);
    collector.advance_within(Duration::from_secs(5));
    collector
}

fn clock() -> (Duration, Duration) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    (START.elapsed(), SystemTime::UNIX_EPOCH.elapsed().unwrap())
}

/// Namespaces without a name, each held by a process that sleeps.
struct Held(Vec<Child>);

impl Held {
    fn new(count: usize) -> Self {
        let hold = || {
            let child =
                Command::new("unshare").args(["-n", "sh", "-c", "echo; exec sleep 600"]).stdout(Stdio::piped()).spawn();
            let mut child = child.unwrap();
            // The line comes from inside.
            assert_eq!(child.stdout.as_mut().unwrap().read(&mut [0]).unwrap(), 1, "these benches need root");
            child
        };
        Self((0..count).map(|_| hold()).collect())
    }

    fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}
