//! The kernel's own objects: programs that answer queries over `iter.*`, each in a pass of its own.

mod tasks;

use super::hook::Owner;
use crate::bpf::{LoadError, PassError, Passing};
use netsonde_core::{
    batch::{Batch, Column},
    bpf::{
        compile::{Budget, CompileError, Compiled, compile},
        program::Writes,
        record::{Decoder, Scoping},
        totals::Totals,
    },
    query::Query,
    table::Hooks,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

pub use tasks::Tasks;

/// Number of a program; never used again.
pub type PassId = u32;

/// Programs that there may be.
const MAX_PROGRAMS: usize = 256;

/// What one pass may give; the rows are kept until they are columns.
const MAX_BYTES: usize = 256 << 20;

/// Why a query is not answered.
#[derive(Debug, thiserror::Error)]
pub enum IterError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("there are {MAX_PROGRAMS} programs already: run fewer probes over iter.*")]
    TooMany,
    #[error("its program is gone")]
    Gone,
    #[error("the pass gave more than {} MiB: ask for fewer rows by WHERE, or use GROUP BY", MAX_BYTES >> 20)]
    TooLarge,
    #[error(transparent)]
    Pass(#[from] PassError),
}

/// What a pass gave, for [`Query::run_pass`] or, with the value of each aggregate in each group, [`Query::run_groups`].
#[derive(Clone, Debug)]
pub struct Passed {
    pub owner: Owner,
    pub table: String,
    pub batch: Batch,
    pub partial: Option<Vec<Column>>,
    /// Values that did not fit into 64 bits, and are NULL therefore (rule 21).
    pub overflows: u64,
    /// Of this thread, without making columns of it.
    pub cpu: Duration,
}

/// All programs.
#[derive(Debug, Default)]
pub struct Passes {
    programs: Mutex<BTreeMap<PassId, Arc<Program>>>,
    last: AtomicU32,
}

/// A query over the kernel's objects.
#[derive(Debug)]
pub struct Program {
    owner: Owner,
    query: Query,
    compiled: Compiled,
    passing: Passing,
    /// One pass at a time: they share maps.
    passes: Mutex<()>,
}

impl Program {
    /// # Errors
    /// [`IterError`]. Nothing stays in the kernel then.
    pub fn load(owner: Owner, query: &Query) -> Result<Self, IterError> {
        // There are no tokens: a pass is asked for, and ends.
        let compiled = compile(query, Budget::default())?;
        let passing = Passing::load(&compiled.program)?;
        Ok(Self { owner, query: query.clone(), compiled, passing, passes: Mutex::new(()) })
    }

    /// Makes a pass.
    ///
    /// # Errors
    /// [`IterError`].
    pub fn pass(&self, deadline: Instant, scopes: &mut dyn Scoping) -> Result<Passed, IterError> {
        let _one_at_a_time = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let began = thread_time();
        let mut totals = Totals::default();
        let mut rows = Vec::new();
        let mut too_large = false;
        let mut row = |row: &[u8]| match rows.len() + row.len() <= MAX_BYTES {
            true => rows.extend_from_slice(row),
            false => too_large = true,
        };
        let mut group = |key: &[u8], values: &[u8]| totals.add(&self.compiled, key, values);
        let overflows = self.passing.pass(deadline, &mut row, &mut group)?;
        if too_large {
            return Err(IterError::TooLarge);
        }
        let cpu = thread_time().saturating_sub(began);
        let (batch, partial) = match self.compiled.program.writes {
            Writes::Groups { .. } => {
                let (batch, partial) = totals.rows(&self.query, &self.compiled, scopes);
                (batch, Some(partial))
            }
            Writes::Records { bytes } => {
                let mut decoder = Decoder::new(&self.compiled.cells, &self.query.columns, 0);
                rows.chunks_exact(bytes.max(1)).for_each(|row| decoder.push(row, scopes));
                (decoder.finish(), None)
            }
        };
        let (owner, table) = (self.owner.clone(), self.query.table.clone());
        Ok(Passed { owner, table, batch, partial, overflows, cpu })
    }

    /// Instructions of it.
    pub fn instructions(&self) -> usize {
        self.compiled.program.code.len()
    }
}

impl Passes {
    fn programs(&self) -> MutexGuard<'_, BTreeMap<PassId, Arc<Program>>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles and loads a query, unless there is a program for it already.
    ///
    /// # Errors
    /// [`IterError`].
    pub fn attach(&self, owner: Owner, query: &Query) -> Result<PassId, IterError> {
        let mut programs = self.programs();
        if let Some((&id, _)) = programs.iter().find(|(_, program)| program.owner == owner) {
            return Ok(id);
        }
        if programs.len() >= MAX_PROGRAMS {
            return Err(IterError::TooMany);
        }
        let program = Program::load(owner, query)?;
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(
            probe = program.owner.probe,
            query = program.owner.query,
            "A program of {} instructions is ready for passes of {}.",
            program.instructions(),
            program.query.table
        );
        programs.insert(id, Arc::new(program));
        Ok(id)
    }

    /// Ends a probe's programs, but for those of `keep`.
    pub fn keep(&self, probe: &str, keep: &[PassId]) {
        self.programs().retain(|id, program| program.owner.probe != probe || keep.contains(id));
    }

    /// Makes a pass; the programs stay free for others meanwhile.
    ///
    /// # Errors
    /// [`IterError`].
    pub fn pass(&self, id: PassId, deadline: Instant, scopes: &mut dyn Scoping) -> Result<Passed, IterError> {
        let program = self.programs().get(&id).cloned().ok_or(IterError::Gone)?;
        program.pass(deadline, scopes)
    }
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Inode of the first pid namespace (`PROC_PID_INIT_INO` in include/linux/proc_ns.h).
const FIRST_PID_NAMESPACE: u64 = 0xeffffffc;

/// Takes the tables of the kernel's objects away where passes would not see those of the whole node: they would be almost empty.
pub fn seeing(hooks: Hooks, proc_root: &Path) -> Hooks {
    match blindness(proc_root) {
        Some(why) => hooks.without_passes(why),
        None => hooks,
    }
}

/// Why passes would not see all: BPF iterators follow the pid namespace of whoever reads.
fn blindness(proc_root: &Path) -> Option<String> {
    let own = proc_root.join("self/ns/pid");
    let inode = match std::fs::metadata(&own) {
        Ok(about) => std::os::unix::fs::MetadataExt::ino(&about),
        Err(error) => return Some(format!("look at the agent's pid namespace, {}: {error}", own.display())),
    };
    (inode != FIRST_PID_NAMESPACE).then(|| {
        "the agent is in a pid namespace of its own, and BPF iterators show only the tasks in it: run it in the host's (hostPID: true)"
            .to_owned()
    })
}
