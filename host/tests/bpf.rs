//! Programs, maps and the ring on the real kernel. Needs root (CAP_BPF, CAP_PERFMON), and fails as anybody else.
// Helpers are not tests for clippy; a failed one shall fail the test.
#![allow(clippy::unwrap_used)]

#[path = "bpf/assemble.rs"]
mod assemble;
#[path = "bpf/groups.rs"]
mod groups;

use assemble::{Code, thread_id, trigger};
use netsonde::bpf::{BpfError, Drained, LoadError, Loaded, MAX_PROGRAMS, Ring, Shared, kallsyms::Symbols};
use netsonde_core::bpf::program::{FIGURES, Map, Patch, Program, Writes, figure};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::{
    fs,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const RECORDS: Writes = Writes::Records { bytes: 16 };
const GROUPS: Writes = Writes::Groups { key_bytes: 8, value_bytes: 8 };
const RING: u32 = 64 << 10;

/// Longer than anything here takes, also on a machine with other work.
const LONG: Duration = Duration::from_secs(60);

fn shared(ring_bytes: u32) -> (Shared, Ring) {
    Shared::new(ring_bytes).unwrap_or_else(|error| panic!("these tests load BPF programs, run them as root: {error}"))
}

fn attached(program: &Program, id: u32, shared: &Shared) -> Loaded {
    let mut loaded = Loaded::load(program, id, shared)
        .unwrap_or_else(|error| panic!("these tests load BPF programs, run them as root: {error}"));
    loaded.attach().unwrap();
    loaded
}

/// A program that counts how often the calling thread triggers it.
fn counter() -> Program {
    let mut code = Code::of_threads(&[thread_id()]);
    code.count(figure::RUNS);
    code.program(RECORDS)
}

/// A program that writes a record each time.
fn recorder() -> Program {
    let mut code = Code::of_threads(&[thread_id()]);
    code.count(figure::RUNS);
    code.record(figure::RING_FULL);
    code.program(RECORDS)
}

fn triggered(times: usize) {
    (0..times).for_each(|_| trigger());
}

fn runs(count: u64) -> [u64; FIGURES] {
    let mut figures = [0; FIGURES];
    figures[figure::RUNS] = count;
    figures
}

/// All records, each as the program's number and the thread's.
fn records(ring: &mut Ring) -> Vec<(u64, u64)> {
    let mut records = Vec::new();
    let drained = ring.drain(usize::MAX, Instant::now() + LONG, |record| {
        let (words, rest) = record.as_chunks::<8>();
        assert_eq!((words.len(), rest), (2, &[][..]));
        records.push((u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])));
    });
    assert_eq!(drained, Drained { records: records.len(), emptied: true });
    records
}

#[test]
fn a_program_runs_from_attach_to_detach_or_drop() {
    let (shared, _ring) = shared(RING);
    let program = counter();
    let mut one = Loaded::load(&program, 0, &shared).unwrap();
    triggered(10);
    assert_eq!(shared.figures(0).unwrap(), runs(0), "loaded, not attached");

    one.attach().unwrap();
    one.attach().unwrap();
    triggered(1_000);
    let two = attached(&program, MAX_PROGRAMS - 1, &shared);
    triggered(500);
    assert_eq!(shared.figures(0).unwrap(), runs(1_500));
    assert_eq!(shared.figures(MAX_PROGRAMS - 1).unwrap(), runs(500));
    assert_eq!(shared.figures(1).unwrap(), runs(0), "nobody's");
    assert_eq!(two.missed(), Some(0));

    one.detach();
    triggered(10);
    assert_eq!(shared.figures(0).unwrap(), runs(1_500), "detached");
    drop(two);
    triggered(10);
    assert_eq!(
        shared.figures(MAX_PROGRAMS - 1).unwrap(),
        runs(510),
        "ran while the other was detached, not when dropped"
    );

    shared.clear_figures(0).unwrap();
    assert_eq!(shared.figures(0).unwrap(), runs(0));
    assert_eq!(shared.figures(MAX_PROGRAMS - 1).unwrap(), runs(510), "the other's stay");
    one.attach().unwrap();
    triggered(3);
    assert_eq!(shared.figures(0).unwrap(), runs(3), "attached again");
}

#[test]
fn figures_are_summed_over_cpus() {
    let (shared, _ring) = shared(RING);
    let program = counter();
    let _loaded = attached(&program, 5, &shared);
    let home = rustix::thread::sched_getaffinity(None).unwrap();
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| home.is_set(cpu)).collect();
    for &cpu in &cpus {
        let mut only = rustix::thread::CpuSet::new();
        only.set(cpu);
        rustix::thread::sched_setaffinity(None, &only).unwrap();
        triggered(100);
    }
    rustix::thread::sched_setaffinity(None, &home).unwrap();
    assert_eq!(shared.figures(5).unwrap(), runs(100 * cpus.len() as u64));
}

#[test]
fn records_come_in_order_with_their_programs_number() {
    let (shared, mut ring) = shared(RING);
    let me = u64::from(thread_id());
    let _one = attached(&recorder(), 1, &shared);
    assert!(!ring.wait(Duration::from_millis(1)).unwrap(), "nothing was written yet");
    triggered(3);
    assert!(ring.wait(Duration::ZERO).unwrap());
    assert_eq!(records(&mut ring), [(1, me); 3]);
    assert!(!ring.wait(Duration::ZERO).unwrap(), "all is read");

    let _two = attached(&recorder(), 200, &shared);
    triggered(500);
    let mut all = records(&mut ring);
    assert_eq!(all.len(), 1_000);
    // Programs run in the order in which they were attached.
    assert!(all.chunks(2).all(|pair| pair == [(1, me), (200, me)]), "{all:?}");
    all.dedup_by_key(|record| record.1);
    assert_eq!(all.len(), 1);
}

#[test]
fn a_record_ends_the_waiting() {
    let (shared, ring) = shared(RING);
    let (send_program, program) = mpsc::channel();
    let (attach, is_attached) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            send_program.send(recorder()).unwrap();
            if is_attached.recv().is_ok() {
                // So that the other waits already, most probably.
                thread::sleep(Duration::from_millis(50));
                trigger();
            }
        });
        // Moved in here: should this fail, the other hears of it.
        let attach = attach;
        let _loaded = attached(&program.recv().unwrap(), 1, &shared);
        let begin = Instant::now();
        attach.send(()).unwrap();
        assert!(ring.wait(LONG).unwrap());
        assert!(begin.elapsed() < LONG);
    });
}

#[test]
fn a_drain_keeps_to_its_limits() {
    let (shared, mut ring) = shared(RING);
    let _loaded = attached(&recorder(), 1, &shared);
    triggered(10);
    let later = Instant::now() + LONG;
    assert_eq!(ring.drain(4, later, |_| ()), Drained { records: 4, emptied: false });
    assert_eq!(ring.drain(0, later, |_| ()), Drained { records: 0, emptied: false });
    assert_eq!(ring.drain(100, Instant::now(), |_| ()), Drained { records: 0, emptied: false }, "no time");
    assert_eq!(ring.drain(100, later, |_| ()), Drained { records: 6, emptied: true });

    // The reader passes the tracepoint for each record, so that there always is one more.
    trigger();
    let drained = ring.drain(usize::MAX, Instant::now() + Duration::from_millis(100), |_| trigger());
    assert!(!drained.emptied, "{drained:?}");
    assert_eq!(ring.drain(1_000, later, |_| trigger()), Drained { records: 1_000, emptied: false });
}

#[test]
fn rule_17_records_that_do_not_fit_into_the_ring_are_counted() {
    const TRIGGERS: usize = 1_000;
    let (shared, mut ring) = shared(rustix::param::page_size() as u32);
    let _loaded = attached(&recorder(), 9, &shared);
    triggered(TRIGGERS);
    let lost = |shared: &Shared| shared.figures(9).unwrap()[figure::RING_FULL] as usize;
    let first = records(&mut ring).len();
    assert!(first > 0 && lost(&shared) > 0);
    assert_eq!(first + lost(&shared), TRIGGERS);

    // There is room again.
    let before = lost(&shared);
    triggered(10);
    assert_eq!((records(&mut ring).len(), lost(&shared)), (10, before));
    assert_eq!(shared.figures(9).unwrap()[figure::RUNS] as usize, TRIGGERS + 10);
}

#[test]
fn a_refusal_shows_what_the_verifier_said_last() {
    let (shared, _ring) = shared(RING);
    let mut code = Code::of_threads(&[1]);
    code.op(0x79, 2, 7, 0, 0); // r2 = *(u64 *)(r7 + 0), but r7 is a number
    let error = Loaded::load(&code.program(RECORDS), 1, &shared).unwrap_err();
    let LoadError::Refused { table, lines, .. } = &error else { panic!("{error}") };
    assert_eq!(*table, format!("hook.{}", assemble::TRACEPOINT));
    assert!((1..=12).contains(&lines.len()), "{error}");
    assert!(lines.iter().any(|line| line.contains("R7 invalid mem access")), "{error}");
    assert!(error.to_string().contains("R7 invalid mem access"), "{error}");

    let mut program = counter();
    program.attach_btf_id = u32::MAX;
    let error = Loaded::load(&program, 1, &shared).unwrap_err();
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");

    let mut program = counter();
    program.code = vec![program.code[0]; 1_000_001];
    program.patches.clear();
    let error = Loaded::load(&program, 1, &shared).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { instructions: 1_000_001, .. }), "{error}");
}

#[test]
fn a_program_that_is_not_complete_is_refused_before_the_kernel_sees_it() {
    let (shared, _ring) = shared(RING);
    let refused = |id, change: &dyn Fn(&mut Program)| {
        let mut program = counter();
        change(&mut program);
        let error = Loaded::load(&program, id, &shared).unwrap_err();
        assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
        error.to_string()
    };
    assert!(refused(MAX_PROGRAMS, &|_| ()).contains("its number 256 is not below 256"));
    assert!(refused(1, &|program| program.patches.push((0, Patch::Map(Map::Groups(0))))).contains("no Map(Groups(0))"));
    assert!(refused(1, &|program| program.patches.push((9_999, Patch::Id))).contains("behind its end"));
    for writes in [Writes::Groups { key_bytes: 0, value_bytes: 8 }, Writes::Groups { key_bytes: 8, value_bytes: 0 }] {
        assert!(refused(1, &|program| program.writes = writes).contains("no key or no value"));
    }
}

#[test]
fn maps_that_cannot_be_made_say_why() {
    for bytes in [0, 1, 2_048, 5_000, 12_288] {
        let error = Shared::new(bytes).unwrap_err();
        assert!(matches!(error, BpfError::RingBytes { .. }), "{error}");
    }
    let (shared, _ring) = shared(RING);
    let mut program = counter();
    // More than the kernel lets a value have on one CPU.
    program.writes = Writes::Groups { key_bytes: 8, value_bytes: 1 << 20 };
    let error = Loaded::load(&program, 1, &shared).unwrap_err();
    assert!(matches!(&error, LoadError::Map { source: BpfError::Map { map: "netsonde_group0", .. }, .. }), "{error}");
}

/// What `work` gives on a thread with these capabilities only.
fn with<T: Send>(effective: CapabilitySet, work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        let now = capabilities(None).unwrap();
        set_capabilities(None, CapabilitySets { effective, ..now }).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[test]
fn missing_capabilities_are_named() {
    let (shared, _ring) = shared(RING);
    let program = counter();
    let load = || Loaded::load(&program, 1, &shared).map(drop).map_err(|error| error.to_string());
    let make = || Shared::new(RING).map(drop).map_err(|error| error.to_string());
    let start = "load a BPF program for hook.task_rename: not permitted (EPERM), the agent lacks ";

    let error = with(CapabilitySet::BPF, load).unwrap_err();
    assert!(error.starts_with(&format!("{start}CAP_PERFMON; give it CAP_PERFMON")), "{error}");
    with(CapabilitySet::BPF, make).unwrap();

    let error = with(CapabilitySet::PERFMON, load).unwrap_err();
    assert!(error.starts_with(&format!("{start}CAP_BPF; ")), "{error}");

    let error = with(CapabilitySet::NET_ADMIN, load).unwrap_err();
    assert!(error.starts_with(&format!("{start}CAP_BPF and CAP_PERFMON; ")), "{error}");

    with(CapabilitySet::BPF | CapabilitySet::PERFMON, load).unwrap();
    with(CapabilitySet::SYS_ADMIN, load).unwrap();

    // Where the system lets anybody use maps, there is nothing to refuse.
    if fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap().trim() != "0" {
        let error = with(CapabilitySet::PERFMON, make).unwrap_err();
        assert!(error.starts_with("make the BPF map netsonde_ring of 65536 bytes: not permitted (EPERM)"), "{error}");
        assert!(error.contains("lacks CAP_BPF;"), "{error}");
    }
}

#[test]
fn names_are_those_of_the_running_kernel() {
    let kallsyms = fs::read_to_string("/proc/kallsyms").unwrap();
    let line = kallsyms.lines().find(|line| line.ends_with(" T tcp_v4_rcv")).unwrap();
    let address = u64::from_str_radix(&line[..16], 16).unwrap();
    assert_ne!(address, 0, "run these tests as root, with kernel.kptr_restrict below 2");
    let mut symbols = Symbols::new(Path::new("/proc"));
    let names = symbols.names(&[0, address + 1, address, address + 1]);
    let names: Vec<_> = names.iter().map(Option::as_deref).collect();
    assert_eq!(names, [None, Some("tcp_v4_rcv"), Some("tcp_v4_rcv"), Some("tcp_v4_rcv")]);
    assert!(symbols.why_none().is_none());
}

#[test]
fn without_syslog_names_are_hidden_and_that_is_told() {
    let restrict = fs::read_to_string("/proc/sys/kernel/kptr_restrict").unwrap();
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if restrict.trim() == "0" && paranoid.trim().parse::<i32>().unwrap() <= 1 {
        return; // This system shows addresses to everybody.
    }
    let mut symbols = Symbols::new(Path::new("/proc"));
    let names = with(CapabilitySet::BPF, || symbols.names(&[u64::MAX]));
    assert_eq!(names, [None]);
    assert!(symbols.why_none().unwrap().to_string().contains("CAP_SYSLOG"));
}
