//! Whatever is asked of a tracepoint or of the kernel's objects is refused here, or accepted by the kernel's verifier: a refusal of the verifier's is a bug of ours.
//!
//! Needs root, and fails as anybody else. `QUERIES=20000 SEED=7 cargo test ... verifier` looks further than the tests of each day.
// Helpers are not tests for clippy; a failed one shall fail the test.
#![allow(clippy::unwrap_used)]

#[path = "verifier/queries.rs"]
mod queries;

use netsonde::bpf::{Loaded, Passing, Ring, Shared};
use netsonde_core::{
    bpf::{
        btf::Btf,
        compile::{Budget, Compiled, compile},
        hook::Hook,
        layout::Layout,
        listing::listing,
    },
    query::{Asker, plan},
    table::{Catalogue, Hooks},
};
use queries::{Kernel, Random};
use std::{
    fs,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

/// More than this, and the verifier walks ways that it should not have to.
const SLOW: Duration = Duration::from_millis(200);

static BTF: LazyLock<Arc<Btf>> =
    LazyLock::new(|| Arc::new(Btf::parse(fs::read("/sys/kernel/btf/vmlinux").unwrap()).unwrap()));

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Of this thread: a wall clock would tell of the machine's other work.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Has the verifier look at random queries, as a kernel would answer them that has what `change` leaves.
fn look(change: fn(&mut Layout)) {
    let mut layout = Layout::of(&BTF);
    change(&mut layout);
    let layout = Arc::new(layout);
    let hooks = Hooks::Known { btf: BTF.clone(), layout: layout.clone(), blind: None };
    let catalogue = Catalogue { hooks, ..Catalogue::default() };
    let names = Hook::names(&BTF);
    let kernel = Kernel { btf: &BTF, layout: &layout, names: &names };
    let (shared, _ring): (Shared, Ring) = Shared::new(64 << 10)
        .unwrap_or_else(|error| panic!("these tests load BPF programs, run them as root: {error}"));

    let (seed, count) = (number("SEED", 1), number("QUERIES", 150));
    let (mut planned, mut compiled, mut slowest, mut refused) = (0, 0, Duration::ZERO, Vec::new());
    let mut passes = Vec::new();
    for index in 0..count {
        // Each has a seed of its own, and can be had again alone.
        let sql = queries::query(&kernel, &mut Random(seed.wrapping_mul(1_000_000_007).wrapping_add(index)));
        let Ok(query) = plan(&sql, &catalogue, Asker::Probe) else { continue };
        planned += 1;
        let Ok(Compiled { program, .. }) =
            compile(&query, Budget { stacks: 100 * (index % 2) as u32, ..Budget::default() })
        else {
            continue;
        };
        // Every other one of them takes stacks, too.
        compiled += 1;
        let began = cpu_time();
        let loaded = match query.is_pass() {
            true => Passing::load(&program).map(|passing| passes.push((sql.clone(), passing))),
            false => Loaded::load(&program, 0, &shared).map(drop),
        };
        let took = cpu_time() - began;
        slowest = slowest.max(took);
        if took > SLOW {
            println!("seed {seed}, query {index}: {} instructions load in {took:.0?}: {sql}", program.code.len());
        }
        if let Err(error) = loaded {
            println!("seed {seed}, query {index}: {sql}\n{}\n{error}\n", listing(&program));
            refused.push(index);
        }
    }
    println!(
        "seed {seed}: of {count} queries {planned} make sense, {compiled} are programs, {} are refused; the slowest takes {slowest:.1?}",
        refused.len()
    );
    assert!(refused.is_empty(), "seed {seed}: the verifier refuses {refused:?}, see above");
    assert!(compiled * 2 > count, "most queries shall get as far as the kernel");
    // What the verifier takes also runs to its end.
    for (sql, passing) in &passes {
        let passed = passing.pass(Instant::now() + Duration::from_secs(10), &mut |_| (), &mut |_, _| ());
        passed.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert!(passes.len() as u64 * 20 > count, "some of them shall be passes");
}

#[test]
fn the_verifier_takes_every_program() {
    look(|_| ());
}

#[test]
fn the_verifier_takes_every_program_without_casts() {
    look(|layout| layout.cast = None);
}

#[test]
fn the_verifier_takes_every_program_without_cookies_and_other_late_things() {
    look(|layout| {
        layout.net = None;
        layout.device_net = None;
        if let Some(socket) = &mut layout.socket {
            (socket.cgroup, socket.inet_sport) = (None, None);
        }
    });
}
