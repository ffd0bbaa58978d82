//! In the kernel: what a run takes, and what comes before the first.

use crate::{
    byhand,
    load::{DROPS, Load, RESETS},
    measure::{
        self,
        kernel::{self, BTF, catalogue, number, told},
    },
};
use netsonde::{
    bpf::{Loaded, Ring, Shared},
    source::btf,
};
use netsonde_core::{
    bpf::{
        compile::{Budget, compile},
        enums::EnumNames,
        program::{Program, figure},
    },
    query::{Asker, Query, plan},
    table::{Catalogue, Hooks},
};
use rustix::fd::AsRawFd;
use std::{collections::BTreeSet, path::Path, time::Instant};

/// Nothing is kept back.
const ALL: Budget = Budget { rate: 1_000_000_000, burst: u32::MAX, stacks: 0 };
/// Nearly everything is: what a flood costs.
const NOTHING: Budget = Budget { rate: 1, burst: 1, stacks: 0 };
/// Nothing is, and each row has a stack.
const STACKS: Budget = Budget { stacks: 1_000_000_000, ..ALL };
const ROUNDS: usize = 5;
const ROUND_MILLIS: u64 = 250;

/// The name of a query without owners ends so.
const BY_NETNS: &str = " by netns";

/// The queries over tracepoints of the built-in probes: probe, name, text.
fn queries() -> Vec<(&'static str, String, String)> {
    let of = |probe: &'static str| kernel::queries(probe).into_iter().map(move |(name, sql)| (probe, name, sql));
    // What the hand-made ones do: they know nothing of owners.
    let by_netns =
        of("packet_loss").map(|(probe, name, sql)| (probe, format!("{name}{BY_NETNS}"), sql.replace("owner, ", "")));
    of("packet_loss").chain(by_netns).chain(of("tcp_reset")).collect()
}

pub fn starts() {
    measure::alone("the kernel's types read and looked through", 20, || drop(btf::read(Path::new(BTF)).unwrap()));
    let types = btf::read(Path::new(BTF)).unwrap();
    measure::alone("what the computed columns need of them", 20, || drop(Hooks::known(types.clone())));
    let (catalogue, (shared, _ring)) = (catalogue(), Shared::new(1 << 20).unwrap());
    for (probe, name, sql) in queries() {
        let what = |step| format!("{probe} {name}: {step}");
        measure::alone(&what("plan"), 20, || drop(plan(&sql, &catalogue, Asker::Probe).unwrap()));
        let query = plan(&sql, &catalogue, Asker::Probe).unwrap();
        measure::alone(&what("compile"), 20, || drop(compile(&query, ALL).unwrap()));
        let program = compile(&query, ALL).unwrap().program;
        measure::alone(&what("load, with its maps"), 20, || drop(Loaded::load(&program, 0, &shared).unwrap()));
        measure::alone(&what("the same, and attach"), 20, || {
            Loaded::load(&program, 0, &shared).unwrap().attach().unwrap();
        });
    }
}

/// A program with the kernel's own account of it.
struct Measured {
    loaded: Loaded,
    descriptor: i32,
    /// Nanoseconds a run, by round.
    nanos: Vec<f64>,
}

fn programs() -> BTreeSet<i32> {
    let told = kernel::descriptors("self").into_iter();
    let is_program = |told: &str| told.contains("\nprog_type:") && !told.contains("link_type");
    told.filter(|(_, told)| is_program(told)).map(|(descriptor, _)| descriptor).collect()
}

impl Measured {
    fn new(program: &Program, id: u32, shared: &Shared) -> Self {
        let before = programs();
        let loaded = Loaded::load(program, id, shared).unwrap();
        let descriptor = *programs().difference(&before).next().unwrap();
        Self { loaded, descriptor, nanos: Vec::new() }
    }

    /// Nanoseconds and runs, by the kernel.
    fn spent(&self) -> (u64, u64) {
        let told = told(self.descriptor);
        (number(&told, "run_time_ns").unwrap(), number(&told, "run_cnt").unwrap())
    }

    fn round(&mut self, load: &str, ring: &mut Ring) {
        let (nanos, runs) = self.spent();
        self.loaded.attach().unwrap();
        Load::start(load, ROUND_MILLIS).wait();
        self.loaded.detach();
        ring.drain(usize::MAX, Instant::now() + std::time::Duration::from_secs(10), |_| ());
        let (nanos, runs) = (self.spent().0 - nanos, self.spent().1 - runs);
        self.nanos.push(nanos as f64 / runs.max(1) as f64);
    }

    fn median(&mut self) -> f64 {
        self.nanos.sort_by(f64::total_cmp);
        self.nanos[self.nanos.len() / 2]
    }
}

/// The hand-made program of the same effect, where there is one.
fn by_hand(name: &str, sql: &str, query: &Query, catalogue: &Catalogue) -> Option<Program> {
    let Hooks::Known { btf, layout, .. } = &catalogue.hooks else { return None };
    let reasons = EnumNames::of(btf, btf.enum_with("SKB_CONSUMED")?);
    // Of the quoted names in the text, those that are reasons.
    let quoted = sql.split('\'').skip(1).step_by(2);
    let no_drop: Vec<i32> = quoted.filter_map(|name| Some(reasons.value(name)? as i32)).collect();
    let hook = query.hook.as_deref()?;
    match name.strip_suffix(BY_NETNS)? {
        "drops" => Some(byhand::drops(hook, layout, &no_drop)),
        "drop_rows" => Some(byhand::drop_rows(hook, layout, &no_drop)),
        _ => None,
    }
}

pub fn runs() {
    let stats = kernel::stats();
    assert!(stats.as_raw_fd() >= 0);
    let catalogue = catalogue();
    let (shared, mut ring) = Shared::new(256 << 20).unwrap();
    println!("a run in the kernel, by its own account, both ways of reading the clock included:");
    for (probe, name, sql) in queries() {
        let query = plan(&sql, &catalogue, Asker::Probe).unwrap();
        let load = if probe == "tcp_reset" { RESETS } else { DROPS };
        let program = compile(&query, ALL).unwrap().program;
        let hand = by_hand(&name, &sql, &query, &catalogue);
        shared.clear_figures(0).unwrap();
        let mut ours = Measured::new(&program, 0, &shared);
        let mut reference = hand.as_ref().map(|hand| Measured::new(hand, 1, &shared));
        for _ in 0..ROUNDS {
            if let Some(reference) = &mut reference {
                reference.round(load, &mut ring);
            }
            ours.round(load, &mut ring);
        }
        let figures = shared.figures(0).unwrap();
        let estimate = figures[figure::NANOS] as f64 / figures[figure::TIMED].max(1) as f64;
        let (nanos, length) = (ours.median(), program.code.len());
        print!(
            "{:<24} {nanos:>6.0} ns, {length:>3} instructions; own estimate {estimate:.0} ns",
            format!("{probe} {name}")
        );
        if let (Some(mut reference), Some(hand)) = (reference, hand) {
            let (reference, length_by_hand) = (reference.median(), hand.code.len());
            let ratios = (nanos / reference, length as f64 / length_by_hand as f64);
            print!("   by hand {reference:.0} ns, {length_by_hand}   ratio {:.2}, {:.2}", ratios.0, ratios.1);
        }
        println!();
        if query.is_stream() && !name.ends_with(BY_NETNS) {
            for (what, budget) in [("kept back", NOTHING), ("with its stack", STACKS)] {
                let program = compile(&query, budget).unwrap().program;
                let mut measured = Measured::new(&program, 0, &shared);
                (0..ROUNDS).for_each(|_| measured.round(load, &mut ring));
                println!("  the same, {what:<15} {:>6.0} ns", measured.median());
            }
        }
    }
}
