//! What streams have written into the ring, gathered into batches.

use super::{HookId, Hooks};
use crate::bpf::{BpfError, Ring};
use netsonde_core::{
    batch::{Batch, Column, ColumnBuilder},
    bpf::{
        compile::Compiled,
        program::Writes,
        record::{Decoder, Scoping, Stacks, head, netns, word},
    },
    query::Query,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// A batch is given on when it has so many rows, or its first row has waited so long.
const BATCH_ROWS: usize = 1024;
const BATCH_WAIT: Duration = Duration::from_millis(100);

/// The reader comes back in this interval while there are rows: a wake-up for each would cost more than the row.
const INTERVAL: Duration = Duration::from_millis(10);

/// One look at the ring takes no more, and no longer.
const DRAIN_RECORDS: usize = 65_536;
const DRAIN_TIME: Duration = Duration::from_millis(50);

/// The one reader of the ring.
pub struct Reader {
    ring: Ring,
    gathered: BTreeMap<HookId, Gathered>,
    /// Rows of programs that have gone, since it was last asked.
    gone: Vec<(HookId, u64)>,
}

/// Records of one program, as they came.
struct Gathered {
    since: Instant,
    bytes: Vec<u8>,
    /// Of each record: its time, and where it begins and ends.
    records: Vec<(u64, u32, u32)>,
}

/// Rows of a query's table, in the order of time.
pub struct Rows {
    pub hook: HookId,
    pub query: Arc<Query>,
    /// A column for each of the query's `columns`.
    pub batch: Batch,
    /// CLOCK_MONOTONIC in nanoseconds, by row.
    pub times: Vec<u64>,
    /// The namespace, by row; NULL where none was at hand.
    pub scopes: Column,
    /// Where the kernel was, by row.
    pub stacks: Stacks,
}

impl Reader {
    pub(super) fn new(ring: Ring) -> Self {
        Self { ring, gathered: BTreeMap::new(), gone: Vec::new() }
    }

    /// Whether nothing is gathered that is not due yet.
    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty()
    }

    /// Rows that nobody can read any more, as their programs have gone, since this was last asked.
    pub fn take_gone(&mut self) -> Vec<(HookId, u64)> {
        std::mem::take(&mut self.gone)
    }

    /// Waits for rows, at most so long, and gives those that are due. An empty answer means: ask again.
    ///
    /// # Errors
    /// If the kernel does not let the ring be waited for.
    pub fn read(&mut self, hooks: &Hooks, wait: Duration, whose: &mut dyn Scoping) -> Result<Vec<Rows>, BpfError> {
        if self.gathered.is_empty() && !self.ring.wait(wait)? {
            return Ok(Vec::new());
        }
        thread::sleep(INTERVAL);
        let now = Instant::now();
        let gathered = &mut self.gathered;
        self.ring.drain(DRAIN_RECORDS, now + DRAIN_TIME, |record| gather(gathered, record, now));
        let due = |gathered: &Gathered| {
            gathered.records.len() >= BATCH_ROWS || now.saturating_duration_since(gathered.since) >= BATCH_WAIT
        };
        let ids: Vec<HookId> = self.gathered.iter().filter(|(_, gathered)| due(gathered)).map(|(&id, _)| id).collect();
        let mut rows = Vec::new();
        for id in ids {
            let Some(gathered) = self.gathered.remove(&id) else { continue };
            let Some((query, compiled)) = hooks.meaning(id) else {
                // The program has gone in between, and nobody knows any more what its rows mean.
                self.gone.push((id, gathered.records.len() as u64));
                continue;
            };
            rows.extend(gathered.decode(id, &query, &compiled, whose));
        }
        Ok(rows)
    }
}

fn gather(all: &mut BTreeMap<HookId, Gathered>, record: &[u8], now: Instant) {
    let id = word(record, head::ID as usize) as u32;
    let gathered = all.entry(id).or_insert_with(|| Gathered {
        since: now,
        bytes: Vec::new(),
        records: Vec::with_capacity(BATCH_ROWS),
    });
    let begin = gathered.bytes.len() as u32;
    gathered.bytes.extend_from_slice(record);
    gathered.records.push((word(record, head::TIME as usize), begin, gathered.bytes.len() as u32));
}

impl Gathered {
    /// In batches. Rule 15: rows of several CPUs lie in the ring as they were reserved; they are given in the order of their time.
    fn decode(mut self, id: HookId, query: &Arc<Query>, compiled: &Compiled, whose: &mut dyn Scoping) -> Vec<Rows> {
        self.records.sort_by_key(|(time, ..)| *time);
        let row_bytes = match compiled.program.writes {
            Writes::Records { bytes } => bytes,
            Writes::Groups { .. } => usize::MAX,
        };
        let batch = |records: &[(u64, u32, u32)]| {
            let mut decoder = Decoder::new(&compiled.cells, &query.columns, head::PRESENT as usize);
            let mut scopes = ColumnBuilder::u32();
            let mut stacks = Stacks::default();
            for &(_, begin, end) in records {
                let record = &self.bytes[begin as usize..end as usize];
                decoder.push(record, whose);
                stacks.push(record, row_bytes);
                match netns(record, head::NETNS as usize) {
                    Some(netns) => scopes.push_u64(whose.netns(netns).into()),
                    None => scopes.push_null(),
                }
            }
            Rows {
                hook: id,
                query: query.clone(),
                batch: decoder.finish(),
                times: records.iter().map(|(time, ..)| *time).collect(),
                scopes: scopes.finish(),
                stacks,
            }
        };
        self.records.chunks(BATCH_ROWS).map(batch).collect()
    }
}
