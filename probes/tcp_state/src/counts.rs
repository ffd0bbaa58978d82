//! How many connections each namespace has by state and family, from the pass over processes' sockets and the kernel's own dumps.

use netsonde_sdk::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// include/net/tcp_states.h. The kernel's dumps tell a request (12) as `syn_recv`.
const STATES: [(u64, &str); 11] = [
    (1, "established"),
    (2, "syn_sent"),
    (SYN_RECV, "syn_recv"),
    (4, "fin_wait1"),
    (FIN_WAIT2, "fin_wait2"),
    (TIME_WAIT, "time_wait"),
    (7, "close"),
    (8, "close_wait"),
    (9, "last_ack"),
    (10, "listen"),
    (11, "closing"),
];
const SYN_RECV: u64 = 3;
const FIN_WAIT2: u64 = 5;
const TIME_WAIT: u64 = 6;

/// States in which there are sockets that no process can hold.
pub const REST: &[u64] = &[SYN_RECV, FIN_WAIT2, TIME_WAIT];
/// States whose sockets are in the kernel's table: all but CLOSE.
pub const HASHED: &[u64] = &[1, 2, SYN_RECV, 4, FIN_WAIT2, TIME_WAIT, 8, 9, 10, 11];

/// As the label has it. Empty where only the sum of both is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Inet,
    Inet6,
    NotTold,
}

impl Family {
    fn of(number: Option<u64>) -> Self {
        match number {
            Some(2) => Family::Inet,
            Some(10) => Family::Inet6,
            _ => Family::NotTold,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Family::Inet => "ipv4",
            Family::Inet6 => "ipv6",
            Family::NotTold => "",
        }
    }
}

/// As the label `state` has it.
fn state_name(state: u64) -> Option<&'static str> {
    STATES.iter().find(|(number, _)| *number == state).map(|(_, name)| *name)
}

#[derive(Default)]
pub struct Counts(BTreeMap<(Option<Scope>, u64, Family), f64>);

impl Counts {
    /// Adds the sockets that processes hold.
    ///
    /// # Errors
    /// If the rows lack a column.
    pub fn hold(&mut self, rows: &Rows<'_>) -> Result<()> {
        let states: Vec<u64> = STATES.iter().map(|(state, _)| *state).collect();
        self.add(rows, &states)
    }

    /// Drops the counts of `states` where `query` failed, for one namespace or for all: better none than too few.
    pub fn forget(&mut self, call: &Call, query: Query, states: &[u64]) {
        let (all, some) = (call.failure(query).is_some(), call.failed_scopes(query));
        let failed = |scope: &Option<Scope>| all || scope.is_some_and(|scope| some.contains(&scope));
        self.0.retain(|(scope, state, _), _| !failed(scope) || !states.contains(state));
    }

    /// Takes a dump's counts of `states` for those of the namespaces in it: a dump sees sockets with and without a process.
    ///
    /// # Errors
    /// If the rows lack a column.
    pub fn replace(&mut self, dump: &Rows<'_>, states: &[u64]) -> Result<()> {
        let netns = dump.column("netns")?;
        let told: BTreeSet<Option<Scope>> = (0..dump.len()).map(|row| netns.scope(row)).collect();
        self.0.retain(|(scope, state, _), _| !told.contains(scope) || !states.contains(state));
        self.add(dump, states)
    }

    /// Adds what is known of sockets that no process can hold where they cannot be looked at: how many, of no family. What is left of a
    /// connection in FIN_WAIT2 is among TIME_WAIT then, as in /proc/net/sockstat.
    ///
    /// # Errors
    /// If the rows lack a column.
    pub fn estimate(&mut self, rows: &Rows<'_>) -> Result<()> {
        let netns = rows.column("netns")?;
        for (column, state) in [("tw", TIME_WAIT), ("requests", SYN_RECV)] {
            let column = rows.column(column)?;
            for row in 0..rows.len() {
                if let Some(count) = column.f64(row).filter(|&count| count > 0.0) {
                    *self.0.entry((netns.scope(row), state, Family::NotTold)).or_default() += count;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, rows: &Rows<'_>, states: &[u64]) -> Result<()> {
        let (netns, family, state) = (rows.column("netns")?, rows.column("family")?, rows.column("state")?);
        let connections = rows.column("connections")?;
        for row in 0..rows.len() {
            let Some(state) = state.u64(row).filter(|state| states.contains(state)) else { continue };
            let group = (netns.scope(row), state, Family::of(family.u64(row)));
            *self.0.entry(group).or_default() += connections.f64(row).unwrap_or(0.0);
        }
        Ok(())
    }

    pub fn show(&self, gauge: &Metric<Gauge>, out: &mut Output) {
        let groups = || self.0.keys();
        out.set(gauge)
            .scopes(&Column::scopes(groups().map(|(scope, ..)| *scope)))
            .label(&Column::texts(groups().map(|(_, state, _)| state_name(*state))))
            .label(&Column::texts(groups().map(|(.., family)| Some(family.label()))))
            .values(&Column::numbers(self.0.values().map(|count| Some(*count))));
    }
}
