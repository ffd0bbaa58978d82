//! Aggregates at a tracepoint of the real kernel, until somebody has taken them in. Needs root.

#![allow(clippy::unwrap_used)]

use netsonde::source::{
    btf,
    hook::{HookId, Hooks, Limits, Owner},
};
use netsonde_core::{
    batch::Values,
    bpf::{compile::Budget, record::NetnsKey},
    query::{Asker, plan},
    table::{self, Catalogue},
};
use std::{path::Path, process::Command, thread};

/// What this thread alone is called: others fork, too.
const NAME: &str = "netsonde-rule3";

fn fork(times: usize) {
    let forks = move || (0..times).for_each(|_| assert!(Command::new("true").status().unwrap().success()));
    thread::Builder::new().name(NAME.into()).spawn(forks).unwrap().join().unwrap();
}

/// What a probe would be given now.
fn given(hooks: &Hooks, hook: HookId) -> u64 {
    hooks.collect();
    let (_, partial) = hooks.groups(hook, &mut |_: NetnsKey| 0).unwrap();
    match &partial[0].values {
        Values::U64(counts) => counts.iter().sum(),
        other => panic!("no counts: {other:?}"),
    }
}

#[test]
fn rule_3_counts_advance_only_when_they_were_taken_in() {
    let types = btf::read(Path::new("/sys/kernel/btf/vmlinux")).unwrap();
    let catalogue = Catalogue { hooks: table::Hooks::known(types), ..Catalogue::default() };
    let sql = format!("SELECT count(*) AS n FROM hook.sched_process_fork WHERE comm = '{NAME}'");
    let query = plan(&sql, &catalogue, Asker::Probe).unwrap();
    let limits = Limits { ring_bytes: 64 << 10, rows: Budget::default(), cpu: 1.0 };
    let (hooks, _reader) = Hooks::new(limits).expect("this test loads BPF programs: run it as root");
    let owner = Owner { probe: "test".into(), query: "forks".into(), sql, stack: false };
    let hook = hooks.attach(owner.clone(), &query).unwrap();

    fork(5);
    assert_eq!(given(&hooks, hook), 5);
    fork(3);
    assert_eq!(given(&hooks, hook), 8, "nobody has taken the five in");
    assert_eq!(hooks.attach(owner, &query).unwrap(), hook, "rule 18: the same text keeps its program");
    assert_eq!(given(&hooks, hook), 8);
    hooks.taken(hook);
    assert_eq!(given(&hooks, hook), 0, "they are given once");
    fork(2);
    assert_eq!(given(&hooks, hook), 2);
}
