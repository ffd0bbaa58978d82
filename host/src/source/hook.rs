//! Tracepoints: programs that answer queries from within the kernel, each belonging to one probe and one text (rule 18).

mod cost;
mod reader;

use crate::bpf::{BpfError, LoadError, Loaded, MAX_PROGRAMS, Ring, Shared};
use cost::Cost;
use netsonde_core::{
    batch::{Batch, Column},
    bpf::{
        compile::{Budget, CompileError, Compiled, compile},
        program::{FIGURES, figure},
        record::Scoping,
        totals::Totals,
    },
    query::Query,
    table::HOOK,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

pub use reader::{Reader, Rows};

/// Number of a program, from 0; used again some time after it has gone.
pub type HookId = u32;

/// What programs may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Of the ring that all streams share: a power of two.
    pub ring_bytes: u32,
    /// Of each stream; stacks only of those whose owner wants them.
    pub rows: Budget,
    /// Of each program, as a share of one core.
    pub cpu: f64,
}

/// Whose query it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub probe: String,
    /// The probe's own word for the query.
    pub query: String,
    pub sql: String,
    /// Whether rows come with the kernel's stack.
    pub stack: bool,
}

/// Why a query is not answered.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("there are {MAX_PROGRAMS} programs already: run fewer probes at tracepoints")]
    TooMany,
}

/// All programs. The lock on them is never held while others are asked for something.
pub struct Hooks {
    shared: Shared,
    limits: Limits,
    programs: Mutex<BTreeMap<HookId, Program>>,
    /// What programs have done that are no more.
    former: Mutex<Former>,
    /// Where the search for a free number begins: what a program has left in the ring must not be taken for another's.
    next: AtomicU32,
}

/// A query in the kernel.
struct Program {
    owner: Owner,
    query: Arc<Query>,
    compiled: Arc<Compiled>,
    loaded: Loaded,
    totals: Totals,
    cost: Cost,
    /// Of the kernel's, in bytes: all of it is there from the start.
    memory: u64,
}

/// Programs that are no more.
#[derive(Default)]
struct Former {
    /// What each query's programs have done in all.
    counts: BTreeMap<Owner, ([u64; FIGURES], bool)>,
    /// Whose a number was, until it is another's: rows may still be in the ring.
    owners: BTreeMap<HookId, Owner>,
}

/// What a query's programs have done since the agent started.
#[derive(Clone, Debug)]
pub struct Figures {
    pub owner: Owner,
    pub tracepoint: String,
    /// Whether it gives rows, not counts.
    pub is_stream: bool,
    /// As `program::figure` numbers them.
    pub counts: [u64; FIGURES],
    /// Runs that the kernel left out, as the program was running on that CPU already.
    pub missed: u64,
    /// An estimate: the time of the runs that were timed, times how many there were for each of those.
    pub cpu: Duration,
    /// Groups that found no room in the host.
    pub groups_dropped: u64,
    pub memory: u64,
    /// Why it does not run at the moment.
    pub detached: Option<String>,
}

impl Hooks {
    /// Makes the maps that programs share, and the reader of the ring.
    ///
    /// # Errors
    /// If the kernel gives no maps: mostly for want of CAP_BPF.
    pub fn new(limits: Limits) -> Result<(Self, Reader), BpfError> {
        let (shared, ring): (Shared, Ring) = Shared::new(limits.ring_bytes)?;
        let (programs, former, next) = (Mutex::default(), Mutex::default(), AtomicU32::new(0));
        Ok((Self { shared, limits, programs, former, next }, Reader::new(ring)))
    }

    fn programs(&self) -> MutexGuard<'_, BTreeMap<HookId, Program>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn former(&self) -> MutexGuard<'_, Former> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles, loads and attaches a query, unless it runs already: the same text keeps its program.
    ///
    /// # Errors
    /// [`HookError`]. Nothing stays in the kernel then.
    pub fn attach(&self, owner: Owner, query: &Query) -> Result<HookId, HookError> {
        let mut programs = self.programs();
        if let Some((&id, _)) = programs.iter().find(|(_, program)| program.owner == owner) {
            return Ok(id);
        }
        let stacks = if owner.stack { self.limits.rows.stacks } else { 0 };
        let compiled = compile(query, Budget { stacks, ..self.limits.rows })?;
        let first = self.next.load(Ordering::Relaxed);
        let mut ids = (first..first + MAX_PROGRAMS).map(|id| id % MAX_PROGRAMS);
        let id = ids.find(|id| !programs.contains_key(id)).ok_or(HookError::TooMany)?;
        self.next.store((id + 1) % MAX_PROGRAMS, Ordering::Relaxed);
        let mut loaded = Loaded::load(&compiled.program, id, &self.shared)?;
        if let Err(error) = self.shared.clear_figures(id) {
            tracing::warn!("The figures of a program are those of the one before it, too: {error}");
        }
        loaded.attach()?;
        let memory = loaded.memory();
        tracing::debug!(
            probe = owner.probe,
            query = owner.query,
            "A program of {} instructions is attached to {}.",
            compiled.program.code.len(),
            compiled.program.table
        );
        self.former().owners.remove(&id);
        programs.insert(
            id,
            Program {
                owner,
                query: Arc::new(query.clone()),
                compiled: Arc::new(compiled),
                loaded,
                totals: Totals::default(),
                cost: Cost::new(Instant::now()),
                memory,
            },
        );
        Ok(id)
    }

    /// Detaches a probe's programs, but for those of `keep`.
    pub fn detach_others(&self, probe: &str, keep: &[HookId]) {
        let mut programs = self.programs();
        let go: Vec<HookId> = programs
            .iter()
            .filter(|(id, program)| program.owner.probe == probe && !keep.contains(id))
            .map(|(&id, _)| id)
            .collect();
        for id in go {
            let Some(mut program) = programs.remove(&id) else { continue };
            program.loaded.detach();
            let counts = self.shared.figures(id).unwrap_or_default();
            let mut former = self.former();
            let (sums, _) =
                former.counts.entry(program.owner.clone()).or_insert(([0; FIGURES], program.query.is_stream()));
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            former.owners.insert(id, program.owner);
        }
    }

    /// Whose query it is, or was.
    pub fn owner(&self, id: HookId) -> Option<Owner> {
        let living = self.programs().get(&id).map(|program| program.owner.clone());
        living.or_else(|| self.former().owners.get(&id).cloned())
    }

    /// The query that it answers, and how to read what it writes.
    fn meaning(&self, id: HookId) -> Option<(Arc<Query>, Arc<Compiled>)> {
        self.programs().get(&id).map(|program| (program.query.clone(), program.compiled.clone()))
    }

    /// Whether it runs; if not, why.
    pub fn detached(&self, id: HookId) -> Option<String> {
        match self.programs().get(&id) {
            Some(program) => program.cost.why().map(str::to_owned),
            None => Some("its program is gone".into()),
        }
    }

    /// Takes what the kernel has counted into the totals of each query, and looks at what each program costs.
    ///
    /// Waits until the kernel has let go of the maps, some milliseconds.
    pub fn collect(&self) {
        let aggregates = self.programs().values().any(|program| program.query.grouping_is_in_kernel());
        if aggregates {
            match self.shared.flip() {
                Ok(quiet) => self.take_groups(quiet),
                Err(error) => {
                    tracing::warn!("What the kernel has counted stays there until the next collection: {error}")
                }
            }
        }
        self.check_costs(Instant::now());
    }

    fn take_groups(&self, quiet: usize) {
        for program in self.programs().values_mut() {
            let Program { loaded, totals, compiled, .. } = program;
            if let Err(error) = loaded.take_groups(quiet, |key, values| totals.add(compiled, key, values)) {
                tracing::warn!(
                    probe = program.owner.probe,
                    "Some counts stay in the kernel until a later collection: {error}"
                );
            }
        }
    }

    /// Over its share of a core a program is detached, and tried again later.
    fn check_costs(&self, now: Instant) {
        for (&id, program) in self.programs().iter_mut() {
            let Ok(counts) = self.shared.figures(id) else { continue };
            let was = program.cost.why().is_some();
            program.cost.look(counts[figure::RUNS], estimate(&counts), self.limits.cpu, now);
            let (probe, query) = (&program.owner.probe, &program.owner.query);
            match (was, program.cost.why()) {
                (false, Some(why)) => {
                    tracing::warn!(probe, query, "{why}");
                    program.loaded.detach();
                }
                (true, None) => match program.loaded.attach() {
                    Ok(()) => tracing::info!(probe, query, "The query's program is attached again."),
                    Err(error) => tracing::warn!(probe, query, "{error}"),
                },
                _ => {}
            }
        }
    }

    /// The groups of an aggregating query since its probe last took them in, with the value of each aggregate. By
    /// whoever calls [`collect`](Self::collect), and nobody else.
    pub fn groups(&self, id: HookId, scopes: &mut dyn Scoping) -> Option<(Batch, Vec<Column>)> {
        let (query, compiled, totals) = {
            let mut programs = self.programs();
            let program = programs.get_mut(&id)?;
            (program.query.clone(), program.compiled.clone(), std::mem::take(&mut program.totals))
        };
        // Not under the lock: to find a namespace others are asked, who may be asking here.
        let rows = totals.rows(&query, &compiled, scopes);
        if let Some(program) = self.programs().get_mut(&id) {
            program.totals = totals;
        }
        Some(rows)
    }

    /// The probe has taken the groups in: they begin anew (rule 3).
    pub fn taken(&self, id: HookId) {
        if let Some(program) = self.programs().get_mut(&id) {
            program.totals.clear();
        }
    }

    /// What all queries' programs have done, those that are no more included.
    pub fn figures(&self) -> Vec<Figures> {
        let mut programs = self.programs();
        let former = self.former().counts.clone();
        let gone = former.iter().filter(|(owner, _)| !programs.values().any(|program| program.owner == **owner));
        let gone: Vec<Figures> =
            gone.map(|(owner, &(counts, stream))| Figures::of_gone(owner, counts, stream)).collect();
        let figures = |(&id, program): (&HookId, &mut Program)| {
            let mut counts = self.shared.figures(id).ok()?;
            if let Some((before, _)) = former.get(&program.owner) {
                counts.iter_mut().zip(before).for_each(|(count, before)| *count += before);
            }
            Some(Figures {
                is_stream: program.query.is_stream(),
                owner: program.owner.clone(),
                tracepoint: program.query.table.strip_prefix(HOOK).unwrap_or(&program.query.table).to_owned(),
                counts,
                missed: program.loaded.missed().unwrap_or(0),
                cpu: estimate(&counts),
                groups_dropped: program.totals.take_dropped(),
                memory: program.memory,
                detached: program.cost.why().map(str::to_owned),
            })
        };
        programs.iter_mut().filter_map(figures).chain(gone).collect()
    }
}

impl Figures {
    fn of_gone(owner: &Owner, counts: [u64; FIGURES], is_stream: bool) -> Self {
        Self {
            owner: owner.clone(),
            tracepoint: String::new(),
            is_stream,
            counts,
            missed: 0,
            cpu: estimate(&counts),
            groups_dropped: 0,
            memory: 0,
            detached: Some("its program is gone".into()),
        }
    }
}

/// How long all runs took, from those that were timed.
fn estimate(counts: &[u64; FIGURES]) -> Duration {
    let timed = counts[figure::TIMED].max(1);
    let nanos = u128::from(counts[figure::NANOS]) * u128::from(counts[figure::RUNS]) / u128::from(timed);
    Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
}
