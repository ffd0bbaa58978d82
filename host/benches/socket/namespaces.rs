//! Many namespaces with a few sockets each.

use crate::{
    hold::Held,
    measure::kernel::catalogue,
    one::{run, ss},
    ways::{self, Pass, Way},
};
use netsonde::{
    agent::{kernel::Places, namespaces::Namespaces},
    scope::netns::NAMED,
    source::{diag::DiagSource, iter::Tasks, table::Read},
};
use netsonde_core::{
    query::{Asker, plan},
    scope::{Namespace, Scopes},
    table::{Catalogue, Hooks},
};
use std::{
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant, SystemTime},
};

pub const NAMESPACES: usize = 300;
const SOCKETS: usize = 8;
/// `ss` is run in so many of them: in all it would take too long.
const LOOKED_INTO: usize = 30;

pub fn many() {
    let passes = Pass::all(&catalogue());
    let idle: Vec<_> = passes.iter().map(Pass::idle).collect();
    let held = Held::namespaces(NAMESPACES, SOCKETS);
    // With the two that listen.
    let each = (SOCKETS + 2) as f64;
    println!("{NAMESPACES} namespaces with {each} sockets each");
    let mut dumps = Dumps::of(&held);
    let mut whole = Dumps::of(&held);
    whole
        .prepare("SELECT netns, state, count(*) FROM netlink.sock_diag WHERE state IN (3, 5, 6) GROUP BY netns, state");
    let pids: Vec<u32> = held.pids().into_iter().step_by(NAMESPACES / LOOKED_INTO).collect();
    let sockets = NAMESPACES as f64 * each;
    let mut ways: Vec<Way<'_>> = passes.iter().map(|pass| pass.way(sockets)).collect();
    ways.extend([
        Way::new("netlink.sock_diag in each", sockets, || assert!(dumps.dump() > NAMESPACES)),
        Way::new("the same, states 3, 5, 6", sockets, || _ = whole.dump()),
        Way::new(format!("ss -tna in {}", pids.len()), pids.len() as f64 * each, || {
            pids.iter().for_each(|&pid| run(&mut ss(pid, "-tna")));
        }),
    ]);
    ways::go(&mut ways, &passes);
    ways::print(&ways, &idle);
}

/// The namespaces of the node, as the agent looks for them.
pub fn looking(tasks: bool) -> Namespaces {
    let places = Places { proc_root: "/proc".into(), netns_folder: NAMED.into(), host_netns: None };
    let tasks = tasks.then(|| Tasks::new(&catalogue().hooks).unwrap());
    Namespaces::new(places, Arc::new(Mutex::new(Scopes::default())), tasks, None, clock)
}

fn clock() -> (Duration, Duration) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    (START.elapsed(), SystemTime::UNIX_EPOCH.elapsed().unwrap())
}

/// Dumps of TCP's sockets in the namespaces of these processes, as the agent makes them: with `setns`, for IPv4 and IPv6.
pub struct Dumps {
    source: DiagSource,
    namespaces: Vec<Namespace>,
}

impl Dumps {
    pub fn of(held: &Held) -> Self {
        let pids = held.pids();
        let mut namespaces = looking(false).look().unwrap().namespaces;
        namespaces.retain(|namespace| namespace.pids.iter().any(|pid| pids.contains(pid)));
        let mut dumps = Self { source: DiagSource::new("/proc"), namespaces };
        dumps.prepare("SELECT netns, family, state, count(*) FROM netlink.sock_diag GROUP BY netns, family, state");
        dumps
    }

    pub fn prepare(&mut self, sql: &str) {
        let tables = vec![self.source.table().unwrap()];
        let catalogue = Catalogue { tables, hooks: Hooks::default(), ..Catalogue::default() };
        let query = plan(sql, &catalogue, Asker::Probe).unwrap_or_else(|error| panic!("{}", error.render(sql)));
        self.source.prepare(vec![Read::of(&query)]);
    }

    /// How many sockets there were.
    pub fn dump(&mut self) -> usize {
        let collected = self.source.collect(&self.namespaces, Instant::now() + Duration::from_secs(60));
        let table = collected.tables.into_iter().next().unwrap().unwrap();
        assert!(table.failed.is_empty(), "{:?}", table.failed);
        table.batch.rows
    }
}
