//! Which process is in which network namespace, in one pass over the kernel's tasks.

use super::{IterError, Program};
use crate::source::hook::Owner;
use netsonde_core::{
    batch::{Batch, Values},
    bpf::record::NetnsKey,
    query::{self, Asker, QueryError},
    scope::{FoundNetns, ScopeId, WITNESSES},
    table::{Catalogue, Hooks},
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The first thread of each process; where that has ended, and so left its namespace, the others. Procfs knows threads by their numbers, too.
const SQL: &str =
    "SELECT task.pid, netns FROM iter.task WHERE task.pid = task.tgid OR task.group_leader.nsproxy IS NULL";

/// A pass takes a microsecond a task.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the kernel's tasks cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Iter(#[from] IterError),
}

/// Asks the kernel's tasks.
#[derive(Debug)]
pub struct Tasks(Program);

impl Tasks {
    /// # Errors
    /// [`TasksError`]: then procfs has to be walked.
    pub fn new(hooks: &Hooks) -> Result<Self, TasksError> {
        let catalogue = Catalogue { hooks: hooks.clone(), ..Catalogue::default() };
        let query = query::plan(SQL, &catalogue, Asker::Probe)?;
        let owner = Owner { probe: "namespaces".into(), query: "tasks".into(), sql: SQL.into(), stack: false };
        Ok(Self(Program::load(owner, &query)?))
    }

    /// Every namespace that a process is in, with the first of these processes.
    ///
    /// # Errors
    /// [`IterError`].
    pub fn look(&self) -> Result<Vec<FoundNetns>, IterError> {
        let mut numbers: HashMap<NetnsKey, ScopeId> = HashMap::new();
        let mut found: Vec<FoundNetns> = Vec::new();
        let mut number = |netns: NetnsKey| {
            *numbers.entry(netns).or_insert_with(|| {
                let NetnsKey { cookie, inode } = netns;
                found.push(FoundNetns { inode, cookie: Some(cookie), ..Default::default() });
                found.len() as ScopeId - 1
            })
        };
        let Batch { rows, columns } = self.0.pass(Instant::now() + PATIENCE, &mut number)?.batch;
        // Behind them are the columns that only its WHERE looks at.
        if let [pids, netns, ..] = &columns[..]
            && let (Values::S64(pid), Values::U32(number)) = (&pids.values, &netns.values)
        {
            for row in (0..rows).filter(|&row| netns.has(row)) {
                let pids = &mut found[number[row] as usize].pids;
                if pids.len() < WITNESSES {
                    pids.push(pid[row] as u32);
                }
            }
        }
        Ok(found)
    }
}
