//! What the collector writes and the pages read: the registry and the agent's own figures, under one lock.

use super::{
    collector::Delivered,
    events::{EventLog, Made},
    kernel::Look,
    ledger::{self, RowLedger},
    self_metrics::{self, Figures, QueryFigures},
    slot::{Health, Slot},
};
use crate::{
    probe::guest::{Fault, Processed},
    scope::{netns::hidden_message, watch::SourceState},
    source::hook::Hooks,
};
use netsonde_core::{
    ledger::Accounts,
    metric::{
        exposition::Page,
        family::FamilyError,
        format::Format,
        registry::{Limits, Now, ProbeId, Reason, Registry},
    },
    output,
    probe::{Output, Plan},
    scope::Scopes,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Shared by the collector, the kernel's thread and the pages. Lock `scopes` before `board`; the log of events locks itself, after both.
pub struct Shared {
    scopes: Arc<Mutex<Scopes>>,
    board: Mutex<Board>,
    events: Arc<EventLog>,
    rows: Arc<RowLedger>,
    /// Programs at tracepoints; None where there are none.
    hooks: Option<Arc<Hooks>>,
    clock: fn() -> (Duration, Duration),
}

impl Shared {
    /// `clock` gives the host's monotonic clock and the time since the Unix epoch.
    pub fn new(
        scopes: Arc<Mutex<Scopes>>,
        events: Arc<EventLog>,
        hooks: Option<Arc<Hooks>>,
        clock: fn() -> (Duration, Duration),
    ) -> Self {
        let rows = Arc::new(RowLedger::default());
        Self { scopes, board: Mutex::new(Board::new(events.clone(), rows.clone())), events, rows, hooks, clock }
    }

    /// The account of rows.
    pub fn rows(&self) -> &RowLedger {
        &self.rows
    }

    /// The account of every row and event at this moment.
    pub fn accounts(&self) -> Accounts {
        ledger::accounts(&self.events, &self.rows, self.hooks.as_deref())
    }

    pub fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    pub fn scopes(&self) -> MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn clock(&self) -> (Duration, Duration) {
        (self.clock)()
    }

    /// Takes a probe's metrics into the registry; the error lists all that is wrong with them.
    ///
    /// # Errors
    /// If a family is no good, or another probe has it.
    pub fn register(&self, probe: &str, plan: &Plan, sampled: &[bool], limits: Limits) -> Result<ProbeId, String> {
        let (monotonic, unix) = self.clock();
        self.board().registry.add_probe(probe, plan, sampled, limits, Now { monotonic, unix }).map_err(join)
    }
}

/// All that is wrong with a probe's metrics, in one line.
pub fn join(errors: Vec<FamilyError>) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

/// The page's content.
pub struct Board {
    pub(super) events: Arc<EventLog>,
    rows: Arc<RowLedger>,
    /// The position of the last event that the counters know.
    pub(super) exemplified: u64,
    pub registry: Registry,
    pub figures: Figures,
    /// One line a probe, for people and for `/probes`.
    pub status: Vec<Status>,
    /// Namespaces that could not be read in the last collection (rule 4).
    pub failed: Vec<Failed>,
    /// Why none of the namespaces is known to be the host's.
    pub no_host: Option<String>,
}

/// Namespaces that one collection logs at most, when they fail.
const MAX_LOGGED: usize = 8;

/// A namespace that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub netns: String,
    pub why: String,
}

/// How a probe is, in words and figures.
#[derive(Clone, Debug)]
pub struct Status {
    pub name: String,
    pub module: String,
    pub digest: String,
    pub health: Health,
    pub why: String,
    pub queries: Vec<QueryStatus>,
    pub series: usize,
    pub cpu: Duration,
    pub memory: usize,
}

#[derive(Clone, Debug)]
pub struct QueryStatus {
    pub name: String,
    pub sql: String,
    pub up: bool,
    pub absent: Option<String>,
    pub rows: u64,
}

impl Board {
    pub fn new(events: Arc<EventLog>, rows: Arc<RowLedger>) -> Self {
        let (registry, figures) = (Registry::default(), Figures::default());
        Self { events, rows, exemplified: 0, registry, figures, status: Vec::new(), failed: Vec::new(), no_host: None }
    }

    /// What was seen of the kernel. What may not be seen is logged when it changes.
    pub fn note_look(&mut self, look: &Look, scopes: &Scopes) {
        for (source, seconds) in &look.collected.durations {
            self.figures.source_read(source, *seconds);
        }
        let own = look.collected.passed.iter();
        look.passed.values().flatten().chain(own).for_each(|passed| self.figures.note_pass(passed));
        let failed: Vec<Failed> = look
            .failed_scopes()
            .into_iter()
            .map(|(scope, why)| Failed { netns: scopes.name(scope).unwrap_or_default(), why: why.to_owned() })
            .collect();
        for failed in failed.iter().filter(|failed| !self.failed.contains(failed)).take(MAX_LOGGED) {
            tracing::warn!(netns = failed.netns, "Cannot read a network namespace: {}", failed.why);
        }
        if look.hidden > 0 && self.figures.hidden == 0 {
            tracing::warn!("{}", hidden_message(look.hidden));
        }
        if look.no_host != self.no_host
            && let Some(why) = &look.no_host
        {
            tracing::warn!("{why}");
        }
        self.figures.namespaces = look.namespaces;
        self.figures.failed_namespaces = failed.len();
        self.figures.hidden = look.hidden;
        self.no_host.clone_from(&look.no_host);
        self.failed = failed;
    }

    /// Brings one probe's answer onto the page, or counts what is lost without it. `delivered` is None where it was not called. Tells
    /// whether it is there.
    pub fn apply(
        &mut self,
        slot: &mut Slot,
        delivered: Option<&Delivered>,
        processed: Option<Processed>,
        scopes: &Scopes,
        now: Now,
    ) -> bool {
        let applied = delivered.is_some_and(|delivered| {
            self.figures.dropped(&slot.spec.name, "query", "overflow", delivered.overflows);
            let lost = match processed {
                None => Some("late"),
                Some(processed) => self.apply_processed(slot, delivered, processed, scopes, now).err(),
            };
            if let Some(reason) = lost {
                self.figures.dropped(&slot.spec.name, "guest", reason, delivered.rows());
            }
            lost.is_none()
        });
        self.note_queries(slot, delivered, applied);
        applied
    }

    /// The same of a call of a stream, whose rows are lost if it went wrong (rule 16).
    pub fn apply_stream(
        &mut self,
        slot: &mut Slot,
        delivered: &Delivered,
        processed: Option<Processed>,
        scopes: &Scopes,
        now: Now,
    ) {
        let lost = match processed {
            None => Some("late"),
            Some(processed) => self.apply_processed(slot, delivered, processed, scopes, now).err(),
        };
        self.rows.answered(&slot.spec.name, delivered.rows(), lost);
        if let Some(reason) = lost {
            return self.figures.dropped(&slot.spec.name, "guest", reason, delivered.rows());
        }
        let figures = self.figures.probe(&slot.spec.name);
        for (query, rows) in &delivered.queries {
            if let Some(figures) = figures.queries.get_mut(*query) {
                figures.rows += rows.unwrap_or(0) as u64;
            }
        }
    }

    /// The error is the reason under which the call's rows are counted as lost.
    fn apply_processed(
        &mut self,
        slot: &mut Slot,
        delivered: &Delivered,
        processed: Processed,
        scopes: &Scopes,
        now: Now,
    ) -> Result<(), &'static str> {
        self.note_run(&slot.spec.name, &processed);
        let output = processed.output.map_err(|fault| match fault {
            Fault::Said { .. } => "error",
            _ => "trap",
        })?;
        self.check_and_apply(slot, delivered, &output, scopes, now).map_err(|why| {
            slot.refused(why);
            "refused"
        })?;
        slot.went_well();
        Ok(())
    }

    fn check_and_apply(
        &mut self,
        slot: &Slot,
        delivered: &Delivered,
        output: &Output,
        scopes: &Scopes,
        now: Now,
    ) -> Result<(), String> {
        let name = &slot.spec.name;
        let Some(id) = slot.registered else { return Err("the probe has no metrics registered".into()) };
        let checked = output::check(output, &slot.plan, &delivered.shape, scopes).map_err(|error| error.to_string())?;
        let applied = self.registry.apply(id, checked, scopes, now).map_err(|error| error.to_string())?;
        for reason in Reason::ALL {
            self.figures.dropped(name, "budget", reason.as_str(), applied.count(reason));
        }
        for events in &output.events {
            self.figures.probe(name).happened(&slot.plan.events[events.ty as usize].name, events.count.into());
        }
        let (per_second, plan, origins) = (slot.spec.events, &slot.plan, &delivered.origins);
        let made = Made { probe: name, per_second, plan, output: checked, origins };
        let over = self.events.add(&made, scopes, now.monotonic);
        self.figures.dropped(name, "budget", "events", over);
        Ok(())
    }

    fn note_run(&mut self, name: &str, processed: &Processed) {
        self.figures.ran(name, processed.wall, processed.cpu, processed.memory);
        self.figures.dropped(name, "log", "lines", processed.log_dropped);
    }

    fn note_queries(&mut self, slot: &Slot, delivered: Option<&Delivered>, applied: bool) {
        let delivered = delivered.map_or(&[][..], |delivered| &delivered.queries);
        let figures = self.figures.probe(&slot.spec.name);
        figures.up = applied;
        // There from the start: what comes into being with its first event has no increase to be seen.
        for ty in &slot.plan.events {
            figures.happened(&ty.name, 0);
        }
        figures.queries.resize_with(slot.plan.queries.len(), QueryFigures::default);
        for (index, (query, figures)) in slot.plan.queries.iter().zip(&mut figures.queries).enumerate() {
            figures.name.clone_from(&query.name);
            let rows = delivered.iter().find(|(query, _)| *query == index).and_then(|(_, rows)| *rows);
            figures.up = applied && (rows.is_some() || slot.is_streamed(index));
            if applied {
                figures.rows += rows.unwrap_or(0) as u64;
            }
        }
    }

    /// A collection that began at `began` is complete.
    pub fn collected(&mut self, began: Instant, slots: &[Slot]) {
        self.note_exemplars(slots);
        self.figures.collected(began.elapsed());
        self.note_status(slots);
    }

    /// Writes down how every probe is.
    pub fn note_status(&mut self, slots: &[Slot]) {
        self.status = slots.iter().map(|slot| self.status_of(slot)).collect();
    }

    fn status_of(&self, slot: &Slot) -> Status {
        let (health, why) = slot.health();
        let figures = self.figures.probes.get(&slot.spec.name);
        let queries = slot.plan.queries.iter().enumerate().map(|(index, query)| {
            let figures = figures.and_then(|figures| figures.queries.get(index));
            QueryStatus {
                name: query.name.clone(),
                sql: query.sql.clone(),
                up: figures.is_some_and(|figures| figures.up),
                absent: slot.absent(index),
                rows: figures.map_or(0, |figures| figures.rows),
            }
        });
        Status {
            name: slot.spec.name.clone(),
            module: slot.spec.source.to_string(),
            digest: slot.digest.clone(),
            health,
            why,
            queries: queries.collect(),
            series: slot.registered.map_or(0, |id| self.registry.series(id)),
            cpu: figures.map_or(Duration::ZERO, |figures| figures.cpu),
            memory: figures.map_or(0, |figures| figures.memory),
        }
    }

    /// The whole page in `format`. `accounts` are the ledger's, and `sources` are asked for pods.
    pub fn page(&self, format: Format, accounts: &Accounts, sources: &[SourceState]) -> Vec<u8> {
        let mut body = Vec::new();
        let mut page = Page::new(format, &mut body);
        self.registry.write(&mut page);
        self.figures.write(&mut page, &self.events.sink_counts(), self.events.waiting(), sources);
        self_metrics::ledger::write(accounts, &mut page);
        page.finish();
        body
    }
}
