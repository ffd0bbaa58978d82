//! What the kernel tells of the acts: rows as they come, and counts.

use super::{
    Trouble,
    acts::{Act, What, now},
    room::Room,
};
use crate::source::hook::{HookId, Hooks, Limits, Owner, Reader, Rows};
use netsonde_core::{
    batch::{Batch, Column, Values},
    bpf::{
        compile::Budget,
        record::{NetnsKey, Scoping},
    },
    query::{self, Asker, Query},
    scope::ScopeId,
    table::Catalogue,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How long rows are waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

const LIMITS: Limits = Limits { ring_bytes: 1 << 20, rows: Budget { rate: 1000, burst: 1000, stacks: 0 }, cpu: 1.0 };

/// The handle of the test's namespace, and of all others.
const OURS: ScopeId = 1;
const OTHERS: ScopeId = 0;

/// A tracepoint that is watched.
struct Table {
    name: &'static str,
    filter: &'static str,
    /// Whether an act sets it off; the last word is whether the tracepoint tells its reason.
    expects: fn(What, bool) -> bool,
}

const TABLES: [Table; 2] = [
    Table {
        name: "hook.tcp_send_reset",
        filter: "",
        // Before Linux 6.10, which brought the argument `reason`, a reset for no socket did not pass here.
        expects: |what, reasoned| what == What::Abort || what == What::ClosedPort && reasoned,
    },
    Table {
        name: "hook.kfree_skb",
        filter: " WHERE name(reason) = 'NO_SOCKET'",
        expects: |what, _| what == What::ClosedPort || what == What::Datagram,
    },
];

/// What came of one tracepoint.
#[derive(Clone, Debug)]
pub struct Watched {
    pub table: &'static str,
    /// Why this kernel cannot be asked; nothing is expected then.
    pub absent: Option<String>,
    pub expected: Vec<Expected>,
    /// What its aggregate counted in the test's namespace.
    pub counted: u64,
    /// Runs that the kernel left out, of the node's.
    pub missed: u64,
}

#[derive(Clone, Debug)]
pub struct Expected {
    pub act: Act,
    pub seen: Option<Seen>,
}

/// How long after the act its row was made, and was here.
#[derive(Clone, Debug)]
pub struct Seen {
    pub in_kernel: Duration,
    pub here: Duration,
}

impl Watched {
    pub fn unseen(&self) -> usize {
        self.expected.iter().filter(|expected| expected.seen.is_none()).count()
    }
}

/// A tracepoint's two queries, and what has come so far.
struct Watch {
    rows: Query,
    counts: Query,
    ids: Option<(HookId, HookId)>,
    expects: fn(What, bool) -> bool,
    reasoned: bool,
}

impl Watch {
    fn plan(table: &Table, catalogue: &Catalogue) -> Result<Self, String> {
        let Table { name, filter, expects } = table;
        let plan = |select: &str, group: &str| {
            let sql = format!("SELECT {select} FROM {name}{filter}{group}");
            query::plan(&sql, catalogue, Asker::Probe).map_err(|error| error.to_string())
        };
        let rows = plan("netns, sport, dport, lport, rport", "")?;
        let reasoned = rows.hook.iter().any(|hook| hook.arguments.iter().any(|argument| argument.name == "reason"));
        let counts = plan("netns, count(*) AS n", " GROUP BY netns")?;
        Ok(Self { rows, counts, ids: None, expects: *expects, reasoned })
    }

    fn attach(&mut self, hooks: &Hooks, table: &str) -> Result<(), Trouble> {
        let owner = |query: &str| Owner {
            probe: "doctor".into(),
            query: format!("{table} {query}"),
            sql: String::new(),
            stack: false,
        };
        self.ids = Some((hooks.attach(owner("rows"), &self.rows)?, hooks.attach(owner("counts"), &self.counts)?));
        Ok(())
    }
}

/// Attaches programs, acts in a namespace of its own, and waits for what comes of it. Gives that namespace's inode, too.
///
/// # Errors
/// If this cannot be done here, or goes wrong. Nothing stays: neither programs nor the namespace.
pub fn watch(proc_root: &Path, catalogue: &Catalogue) -> Result<(u64, Vec<Watched>), Trouble> {
    let mut watches = TABLES.each_ref().map(|table| Watch::plan(table, catalogue));
    let (hooks, mut reader) = Hooks::new(LIMITS)?;
    for (watch, table) in watches.iter_mut().zip(&TABLES) {
        if let Ok(watch) = watch {
            watch.attach(&hooks, table.name)?;
        }
    }
    let room = Room::open(proc_root)?;
    let acts = room.act()?;
    let mut watched: Vec<Watched> =
        watches.iter().zip(&TABLES).map(|(watch, table)| expected(table.name, watch, &acts)).collect();
    // Packets may still be on their way: the namespace stays until they have arrived.
    let mut scope = |netns: NetnsKey| if netns.inode == room.inode { OURS } else { OTHERS };
    wait(&hooks, &mut reader, &watches, &mut watched, &mut scope)?;
    hooks.collect();
    for (watch, watched) in watches.iter().zip(&mut watched) {
        if let Ok(Watch { counts, ids: Some((_, id)), .. }) = watch {
            watched.counted = counted(&hooks, *id, counts, &mut scope);
            let figures = hooks.figures();
            let ours = figures.iter().filter(|figures| figures.owner.query.starts_with(watched.table));
            watched.missed = ours.map(|figures| figures.missed).sum();
        }
    }
    Ok((room.inode, watched))
}

fn expected(table: &'static str, watch: &Result<Watch, String>, acts: &[Act]) -> Watched {
    let expects = |act: &&Act| watch.as_ref().is_ok_and(|watch| (watch.expects)(act.what, watch.reasoned));
    let expected = acts.iter().filter(expects).map(|act| Expected { act: act.clone(), seen: None });
    Watched { table, absent: watch.as_ref().err().cloned(), expected: expected.collect(), counted: 0, missed: 0 }
}

/// Until every row is there, or the patience is over.
fn wait(
    hooks: &Hooks,
    reader: &mut Reader,
    watches: &[Result<Watch, String>],
    watched: &mut [Watched],
    scopes: &mut dyn Scoping,
) -> Result<(), Trouble> {
    let until = Instant::now() + PATIENCE;
    while watched.iter().any(|watched| watched.unseen() > 0) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        for rows in reader.read(hooks, left, scopes)? {
            let is_its = |watch: &Result<Watch, String>| matches!(watch, Ok(Watch { ids: Some((id, _)), .. }) if *id == rows.hook);
            if let Some(index) = watches.iter().position(is_its) {
                note(&rows, &mut watched[index].expected, now());
            }
        }
    }
    Ok(())
}

/// Finds the acts that rows of the test's namespace are about.
fn note(rows: &Rows, expected: &mut [Expected], here: u64) {
    let columns: Vec<&Column> = rows.batch.columns.iter().collect();
    let (batch, chosen) = rows.query.run_stream(rows.batch.rows, &columns, &|_: ScopeId| None);
    for (row, &origin) in chosen.iter().enumerate() {
        if number(&batch, 0, row) != Some(OURS.into()) {
            continue;
        }
        let time = rows.times[origin as usize];
        // From the packet, and of a reset by a socket from that.
        let from = number(&batch, 1, row).or_else(|| number(&batch, 3, row));
        let to = number(&batch, 2, row).or_else(|| number(&batch, 4, row));
        let is_it = |expected: &&mut Expected| {
            let Act { from: its_from, to: its_to, .. } = expected.act;
            (from, to) == (Some(its_from.into()), Some(its_to.into()))
        };
        if let Some(Expected { act, seen }) = expected.iter_mut().find(is_it) {
            let after = |time: u64| Duration::from_nanos(time.saturating_sub(act.at));
            seen.get_or_insert(Seen { in_kernel: after(time), here: after(here) });
        }
    }
}

fn counted(hooks: &Hooks, id: HookId, query: &Query, scopes: &mut dyn Scoping) -> u64 {
    let Some((groups, partial)) = hooks.groups(id, scopes) else { return 0 };
    let columns: Vec<&Column> = groups.columns.iter().collect();
    let batch = query.run_groups(groups.rows, &columns, &partial, &|_: ScopeId| None).batch;
    let ours = (0..batch.rows).filter(|&row| number(&batch, 0, row) == Some(OURS.into()));
    ours.filter_map(|row| number(&batch, 1, row)).sum()
}

fn number(batch: &Batch, column: usize, row: usize) -> Option<u64> {
    let column = batch.columns.get(column).filter(|column| column.has(row))?;
    match &column.values {
        Values::U32(values) => values.get(row).map(|&value| value.into()),
        Values::U64(values) => values.get(row).copied(),
        Values::S64(values) => values.get(row).and_then(|&value| value.try_into().ok()),
        _ => None,
    }
}
