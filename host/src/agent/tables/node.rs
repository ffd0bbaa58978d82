//! `node.tcp`: what each namespace has in the kernel's table of TCP sockets, beside what processes hold of it. Where the first is more,
//! there is what no descriptor shows: orphans, and connections that nobody has accepted.

use crate::source::{
    hook::Owner,
    iter::{IterError, Passed, Program},
    table::{Read, TableRows},
};
use netsonde_core::{
    batch::{Batch, Column, ColumnBuilder, Values},
    bpf::record::Scoping,
    query::{self, Asker},
    scope::ScopeId,
    table::{Catalogue, Hooks, Logical, Per, Table, TableColumn, Type},
};
use std::{collections::BTreeMap, time::Instant};

pub const TABLE: &str = "node.tcp";

/// TCP sockets that are hashed, and of those the listeners (10) with what waits at them: requests, and connections to be accepted.
const SQL: &str = "SELECT netns, sk.__sk_common.skc_state AS state, count(*) AS owned, \
     sum((sk::inet_connection_sock).icsk_accept_queue.qlen.counter) AS requests, sum(sk.sk_ack_backlog) AS backlog \
     FROM iter.socket WHERE protocol = 6 AND sk.sk_type = 1 AND sk.__sk_common.skc_state <> 7 \
     GROUP BY netns, sk.__sk_common.skc_state";

const LISTEN: u64 = 10;

/// What is read of procfs for it: table and columns. The second is absent without IPv6.
const READS: [(&str, &[&str]); 2] =
    [("proc.net.sockstat", &["netns", "TCP.inuse", "TCP.tw"]), ("proc.net.sockstat6", &["netns", "TCP6.inuse"])];

const COLUMNS: [(&str, &str); 5] = [
    ("inuse", "TCP sockets in the kernel's table, IPv4 and IPv6, without TIME_WAIT"),
    ("owned", "those of them that a process holds"),
    ("tw", "what is left of closed connections: TIME_WAIT, and FIN_WAIT2 without an owner"),
    ("requests", "half-open connections at listeners"),
    ("backlog", "connections that wait to be accepted"),
];

/// The table, for people and planners.
pub fn table() -> Table {
    let counts = COLUMNS.iter().map(|(name, help)| TableColumn::new(*name, Type::U64, Logical::Count).help(*help));
    let netns = TableColumn::new("netns", Type::Scope, Logical::Scope).help("the network namespace");
    Table {
        name: TABLE.to_owned(),
        help: "TCP sockets of each namespace, and how many of them processes hold".to_owned(),
        source: "proc.net.sockstat, proc.net.sockstat6 and a pass over iter.socket".to_owned(),
        per: Per::Node,
        columns: [netns].into_iter().chain(counts).collect(),
        open_prefixes: Vec::new(),
        elsewhere: Vec::new(),
    }
}

/// The reads of procfs that it needs on this node.
pub fn reads(proc: &Catalogue) -> Vec<Read> {
    let read = |(table, names): (&str, &[&str])| {
        let found = proc.table(table)?;
        let columns = names.iter().map(|name| found.column(name)).collect::<Option<_>>()?;
        Some(Read { table: table.to_owned(), columns, sockets: None, pass: None })
    };
    READS.into_iter().filter_map(read).collect()
}

/// Makes the pass.
#[derive(Debug)]
pub struct Pass {
    program: Program,
    fields: query::Query,
}

/// Why there is no program for the pass.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Query(#[from] query::QueryError),
    #[error(transparent)]
    Iter(#[from] IterError),
}

#[derive(Clone, Copy, Default)]
struct Counts {
    inuse: u64,
    owned: u64,
    tw: u64,
    requests: u64,
    backlog: u64,
}

impl Pass {
    /// # Errors
    /// [`NodeError`]: then there is no such table.
    pub fn load(hooks: &Hooks) -> Result<Self, NodeError> {
        let catalogue = Catalogue { hooks: hooks.clone(), ..Catalogue::default() };
        let fields = query::plan(SQL, &catalogue, Asker::Probe)?;
        let owner = Owner { probe: "host".into(), query: TABLE.into(), sql: SQL.into(), stack: false };
        Ok(Self { program: Program::load(owner, &fields)?, fields })
    }

    /// Makes a pass, and puts it beside the tables of [`reads`]. `columns` are those that are wanted of it.
    ///
    /// # Errors
    /// Why the whole table fails.
    pub fn rows(
        &self,
        proc: &[&Result<TableRows, String>],
        columns: &[TableColumn],
        deadline: Instant,
        scopes: &mut dyn Scoping,
    ) -> Result<(TableRows, Passed), String> {
        let mut counts: BTreeMap<ScopeId, Counts> = BTreeMap::new();
        let mut failed = Vec::new();
        for (index, table) in proc.iter().enumerate() {
            let table = table.as_ref().map_err(Clone::clone)?;
            failed.extend(table.failed.iter().cloned());
            for (scope, [first, second]) in numbers(&table.batch) {
                let counts = counts.entry(scope).or_default();
                counts.inuse += first;
                counts.tw += if index == 0 { second } else { 0 };
            }
        }
        let passed =
            self.program.pass(deadline, scopes).map_err(|error| format!("a pass over iter.socket: {error}"))?;
        let batch = self.answer(&passed);
        for (scope, [state, owned, requests, backlog]) in numbers(&batch) {
            // One that has come since the files were read is told next time.
            let Some(counts) = counts.get_mut(&scope) else { continue };
            counts.owned += owned;
            if state == LISTEN {
                (counts.requests, counts.backlog) = (counts.requests + requests, counts.backlog + backlog);
            }
        }
        counts.retain(|scope, _| !failed.iter().any(|(failed, _)| failed == scope));
        Ok((TableRows { batch: batch_of(&counts, columns), failed, overflows: passed.overflows }, passed))
    }

    fn answer(&self, passed: &Passed) -> Batch {
        let columns: Vec<&Column> = passed.batch.columns.iter().collect();
        let partial = passed.partial.as_deref().unwrap_or_default();
        self.fields.run_groups(passed.batch.rows, &columns, partial, &|_: ScopeId| None).batch
    }
}

/// The rows of a table whose first column is the namespace, and the others are numbers; what is not there is 0.
fn numbers<const N: usize>(batch: &Batch) -> impl Iterator<Item = (ScopeId, [u64; N])> {
    let scope = |row| match batch.columns.first() {
        Some(column @ Column { values: Values::U32(scopes), .. }) if column.has(row) => Some(scopes[row]),
        _ => None,
    };
    let number = move |row: usize, at: usize| match batch.columns.get(1 + at) {
        Some(column) if column.has(row) => match &column.values {
            Values::U64(values) => values[row],
            Values::S64(values) => u64::try_from(values[row]).unwrap_or(0),
            _ => 0,
        },
        _ => 0,
    };
    (0..batch.rows).filter_map(move |row| Some((scope(row)?, std::array::from_fn(|at| number(row, at)))))
}

fn batch_of(counts: &BTreeMap<ScopeId, Counts>, columns: &[TableColumn]) -> Batch {
    let column = |wanted: &TableColumn| {
        let mut column: ColumnBuilder = wanted.ty.builder();
        for (scope, counts) in counts {
            column.push_u64(match wanted.name.as_str() {
                "inuse" => counts.inuse,
                "owned" => counts.owned,
                "tw" => counts.tw,
                "requests" => counts.requests,
                "backlog" => counts.backlog,
                _ => u64::from(*scope),
            });
        }
        column.finish()
    };
    Batch { rows: counts.len(), columns: columns.iter().map(column).collect() }
}
