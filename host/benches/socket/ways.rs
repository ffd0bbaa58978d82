//! Ways to learn of the same sockets, taken in turn: on a machine that is busy with other things all suffer alike, and the ratios stay.

use crate::measure::{
    kernel::{self, Account},
    spent::Spent,
    table::{Table, nanos},
};
use netsonde::source::{hook::Owner, iter::Program};
use netsonde_core::{
    bpf::record::NetnsKey,
    query::{Asker, plan},
    scope::ScopeId,
    table::Catalogue,
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

const ROUNDS: usize = 7;

/// Rows, each with thirteen columns.
const WRITTEN_OUT: &str = "SELECT netns, protocol, family, laddr, lport, raddr, rport, sk.__sk_common.skc_state, sk.sk_rcvbuf, \
     sk.sk_backlog.rmem_alloc.counter, sk.sk_sndbuf, sk.sk_wmem_queued, sk.sk_drops.counter FROM iter.socket";

/// The queries, and what they are called here. The others are measured by the first.
pub fn queries() -> Vec<(&'static str, String)> {
    let of = |probe: &str, name: &str| {
        let mut queries = kernel::queries(probe).into_iter();
        queries.find(|(query, _)| query == name).unwrap().1
    };
    vec![
        ("socket_memory's query", of("socket_memory", "sockets")),
        ("tcp_state's query", of("tcp_state", "held")),
        ("count(*)", "SELECT count(*) FROM iter.socket".into()),
        ("rows of 13 columns", WRITTEN_OUT.into()),
    ]
}

pub struct Way<'a> {
    pub what: String,
    /// How many sockets it tells of.
    pub sockets: f64,
    run: Box<dyn FnMut() + 'a>,
    cold: Vec<Spent>,
    warm: Vec<Spent>,
    /// Nanoseconds in the program itself.
    program: Option<f64>,
    instructions: Option<usize>,
}

impl<'a> Way<'a> {
    pub fn new(what: impl Into<String>, sockets: f64, run: impl FnMut() + 'a) -> Self {
        let (what, run) = (what.into(), Box::new(run));
        Self { what, sockets, run, cold: Vec::new(), warm: Vec::new(), program: None, instructions: None }
    }
}

/// A query's loaded program.
pub struct Pass {
    what: &'static str,
    program: Program,
    account: Account,
}

impl Pass {
    pub fn all(catalogue: &Catalogue) -> Vec<Self> {
        queries().into_iter().map(|(what, sql)| Self::new(what, &sql, catalogue)).collect()
    }

    pub fn new(what: &'static str, sql: &str, catalogue: &Catalogue) -> Self {
        let query = plan(sql, catalogue, Asker::Probe).unwrap_or_else(|error| panic!("{}", error.render(sql)));
        let owner = Owner { probe: "bench".into(), query: what.into(), sql: sql.into(), stack: false };
        let (program, account) = Account::of_pass(|| Program::load(owner, &query).unwrap());
        Self { what, program, account }
    }

    /// One pass, with the columns that are made of it.
    pub fn run(&self) {
        let mut scopes: HashMap<NetnsKey, ScopeId> = HashMap::new();
        let mut scope = |netns: NetnsKey| {
            let next = scopes.len() as ScopeId;
            *scopes.entry(netns).or_insert(next)
        };
        self.program.pass(Instant::now() + Duration::from_secs(60), &mut scope).unwrap();
    }

    /// What a pass takes while nobody holds the sockets.
    pub fn idle(&self) -> Spent {
        Spent::median(&(0..ROUNDS).map(|_| Spent::by(|| self.run())).collect::<Vec<_>>())
    }

    pub fn way(&self, sockets: f64) -> Way<'_> {
        let instructions = Some(self.program.instructions());
        Way { instructions, ..Way::new(self.what, sockets, || self.run()) }
    }

    /// Nanoseconds in the program, a pass, by the kernel's own account.
    fn inside(&self) -> f64 {
        let mut each: Vec<u64> = (0..ROUNDS)
            .map(|_| {
                let before = self.account.spent().0;
                self.run();
                self.account.spent().0 - before
            })
            .collect();
        each.sort_unstable();
        each[ROUNDS / 2] as f64
    }

    pub fn memory(&self) -> (&'static str, u64, u64) {
        let (program, maps) = self.account.memory();
        (self.what, program, maps)
    }
}

/// More than the caches hold. Between two collections others work, and leave nothing of a node's sockets there.
const SWEPT: usize = 64 << 20;

fn sweep(memory: &mut [u8]) {
    memory.chunks_exact_mut(64).for_each(|line| line[0] = line[0].wrapping_add(1));
}

/// Goes all ways in turn, each with empty caches and then at once again, and has the kernel take the time of the passes' programs afterwards, as that costs time itself. The first ways
/// are those of `passes`.
pub fn go(ways: &mut [Way<'_>], passes: &[Pass]) {
    let mut memory = vec![1; SWEPT];
    for round in 0..=ROUNDS {
        for way in &mut *ways {
            sweep(&mut memory);
            let (cold, warm) = (Spent::by(&mut way.run), Spent::by(&mut way.run));
            if round > 0 {
                way.cold.push(cold);
                way.warm.push(warm);
            }
        }
    }
    let _stats = kernel::stats();
    for (way, pass) in ways.iter_mut().zip(passes) {
        way.program = Some(pass.inside());
    }
}

/// A line for each way, by socket. The ratios are those to the first way's CPU.
pub fn print(ways: &[Way<'_>], idle: &[Spent]) {
    let heads =
        ["", "sockets", "wall", "wall each", "CPU each", "ratio", "at once: CPU", "ratio", "program", "instructions"];
    let mut table = Table::new(&heads);
    let each = |way: &Way<'_>, time: Duration| time.as_nanos() as f64 / way.sockets;
    let cpu = |way: &Way<'_>| [&way.cold, &way.warm].map(|spent| each(way, Spent::median(spent).cpu));
    let first = cpu(&ways[0]);
    for way in ways {
        let (wall, [cold, warm]) = (Spent::median(&way.cold).wall, cpu(way));
        table.row([
            way.what.clone(),
            format!("{:.0}", way.sockets),
            nanos(wall.as_nanos() as f64),
            nanos(each(way, wall)),
            nanos(cold),
            format!("{:.2}", cold / first[0]),
            nanos(warm),
            format!("{:.2}", warm / first[1]),
            way.program.map_or(String::new(), |program| nanos(program / way.sockets)),
            way.instructions.map_or(String::new(), |instructions| instructions.to_string()),
        ]);
    }
    table.print();
    let idle: Vec<String> = idle.iter().map(|spent| nanos(spent.cpu.as_nanos() as f64)).collect();
    println!("  CPU of the passes before there were these sockets: {}", idle.join(", "));
}
