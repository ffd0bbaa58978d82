//! The ledger of rows and events, stage by stage: what `/ledger`, `netsonde ledger` and the metrics show.

use super::events::EventLog;
use crate::{
    sink::Counts,
    source::hook::{Figures, Hooks},
};
use netsonde_core::{
    bpf::program::figure,
    ledger::{Account, Accounts, Stage},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Rows of streams on their way from the ring to the probe, by probe. Whoever moves rows says so here; what waits is told by where it waits.
#[derive(Default)]
pub struct RowLedger(Mutex<BTreeMap<String, Rows>>);

/// One probe's.
#[derive(Clone, Default)]
pub struct Rows {
    /// Taken out of the ring.
    drained: u64,
    /// Taken out of the ring, and of a program that had gone by then.
    program_gone: u64,
    /// On their way from the ring's reader to the collector.
    pub passing: u64,
    /// Without those that wait.
    queue: Account,
    /// In the probe's queue.
    queued: u64,
    guest: Account,
    /// In the call that the probe is at.
    called: u64,
}

impl RowLedger {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Rows>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, probe: &str, change: impl FnOnce(&mut Rows)) {
        let mut rows = self.rows();
        match rows.get_mut(probe) {
            Some(rows) => change(rows),
            None => change(rows.entry(probe.to_owned()).or_default()),
        }
    }

    /// Rows were taken out of the ring for the probe; `chosen` of them go on to it, the others do not fit the query.
    pub fn drained(&self, probe: &str, rows: u64, chosen: u64) {
        self.of(probe, |of| {
            of.drained += rows;
            of.queue.produced += chosen;
            of.passing += chosen;
        });
    }

    /// Rows were taken out of the ring whose program has gone.
    pub fn program_gone(&self, probe: &str, rows: u64) {
        self.of(probe, |of| of.program_gone += rows);
    }

    /// Rows that were drained are dropped before they reached the probe's queue.
    pub fn not_passed(&self, probe: &str, rows: u64, reason: &'static str) {
        self.of(probe, |of| {
            of.passing -= rows;
            of.queue.drop(reason, rows);
        });
    }

    /// Rows have reached the probe's queue, where `queued` are now; so many did not find room there.
    pub fn passed(&self, probe: &str, rows: u64, queued: usize, full: u64) {
        self.of(probe, |of| {
            of.passing -= rows;
            of.queue.drop("full", full);
            of.queued = queued as u64;
        });
    }

    /// The probe is called with rows of its queue, where `queued` are left. So many were of queries that are no more.
    pub fn called(&self, probe: &str, rows: u64, queued: usize, query_gone: u64) {
        self.of(probe, |of| {
            of.queue.delivered += rows;
            of.queue.drop("query_gone", query_gone);
            of.queued = queued as u64;
            of.guest.produced += rows;
            of.called = rows;
        });
    }

    /// The call of a stream has ended: its answer was taken in, or its rows are lost.
    pub fn answered(&self, probe: &str, rows: u64, lost: Option<&'static str>) {
        self.of(probe, |of| {
            of.called = 0;
            match lost {
                None => of.guest.delivered += rows,
                Some(reason) => of.guest.drop(reason, rows),
            }
        });
    }
}

impl Rows {
    /// The accounts of its stages. `programs` are those of the probe in the kernel.
    fn accounts<'f>(&self, programs: impl Iterator<Item = &'f Figures>) -> [(Stage, Account); 3] {
        let mut kernel = Account { delivered: self.drained, ..Account::default() };
        kernel.drop("program_gone", self.program_gone);
        for Figures { counts, .. } in programs {
            kernel.produced += counts[figure::SUBMITTED] + counts[figure::SUPPRESSED] + counts[figure::RING_FULL];
            kernel.drop("suppressed", counts[figure::SUPPRESSED]);
            kernel.drop("ring_full", counts[figure::RING_FULL]);
        }
        let queue = Account { waiting: self.passing + self.queued, ..self.queue.clone() };
        let guest = Account { waiting: self.called, ..self.guest.clone() };
        [(Stage::Kernel, kernel), (Stage::Queue, queue), (Stage::Guest, guest)]
    }
}

/// All accounts now. Downstream first, so that no stage seems to have been given less than it has delivered.
pub fn accounts(events: &EventLog, rows: &RowLedger, hooks: Option<&Hooks>) -> Accounts {
    let (budget, sinks) = events.accounts();
    let rows = rows.rows().clone();
    let programs = hooks.map(Hooks::figures).unwrap_or_default();
    let mut accounts = Accounts::new();
    let mut probes: Vec<&str> = rows.keys().map(String::as_str).collect();
    probes.extend(programs.iter().filter(|program| program.is_stream).map(|program| program.owner.probe.as_str()));
    probes.sort_unstable();
    probes.dedup();
    for probe in probes {
        let of_probe = programs.iter().filter(|program| program.is_stream && program.owner.probe == probe);
        let name: Arc<str> = probe.into();
        for (stage, account) in rows.get(probe).cloned().unwrap_or_default().accounts(of_probe) {
            accounts.insert((name.clone(), stage), account);
        }
    }
    accounts.extend(budget.into_iter().map(|(probe, account)| ((probe, Stage::Budget), account)));
    accounts.extend(of_sinks(sinks));
    accounts
}

fn of_sinks(counts: Counts) -> impl Iterator<Item = ((Arc<str>, Stage), Account)> {
    counts.accounts.into_iter().map(|((sink, probe), account)| ((probe, Stage::Sink(sink)), account))
}

/// As `/ledger` tells it.
pub fn json(accounts: &Accounts, node: &str) -> Value {
    let stage = |((probe, stage), account): (&(Arc<str>, Stage), &Account)| {
        json!({
            "probe": &**probe,
            "stage": stage.as_str(),
            "sink": stage.sink(),
            "of": if matches!(stage, Stage::Kernel | Stage::Queue | Stage::Guest) { "rows" } else { "events" },
            "produced": account.produced,
            "resumed": account.resumed,
            "delivered": account.delivered,
            "dropped": account.dropped,
            "waiting": account.waiting,
            "difference": account.difference() as i64,
        })
    };
    let difference: i128 = accounts.values().map(|account| account.difference().abs()).sum();
    json!({
        "node": node,
        "stages": accounts.iter().map(stage).collect::<Vec<_>>(),
        "difference": difference as i64,
    })
}
