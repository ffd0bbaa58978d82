//! The collection: one pass that reads every table, calls every probe, and applies what they say.
//!
//! One thread does it, for whoever asks: a scrape that comes while it works takes the same result, one that comes within `min_interval`
//! the last (rule 1).

mod answers;
mod streams;

use super::{
    board::Shared,
    counts::Counts,
    kernel::{Kernel, KernelError, Look, Wanted},
    reads::Reads,
    slot::{Planned, Slot},
    streams::Stream,
};
use crate::{bpf::kallsyms::Symbols, probe::guest::Processed};
use answers::Given;
use netsonde_core::{
    event::Origins,
    metric::registry::Now,
    output::Shape,
    probe::{Answer, Call, CallKind, Plan},
    retention::Retention,
    scope::ScopeId,
    table::Catalogue,
};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Somebody wants a page that is fresh.
pub struct Request {
    /// When the asker gives up.
    pub deadline: Instant,
    /// Whether it is a scrape: their rhythm decides how long dead scopes are kept.
    pub scrape: bool,
    pub reply: oneshot::Sender<()>,
}

/// What the collector is told.
pub enum Message {
    Collect(Request),
    /// Rows of a stream have come.
    Rows(Stream),
    /// A probe has answered.
    Answered,
    /// The runtimes have told of pods.
    Named,
}

/// How often, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// A page younger than this is fresh.
    pub min_interval: Duration,
    /// Without a request for this long, a collection happens anyway.
    pub idle_interval: Duration,
    /// A collection ends after this time at the latest.
    pub timeout: Duration,
}

/// Everything that a collection needs.
pub struct Collector {
    pub kernel: Kernel,
    pub slots: Vec<Slot>,
    pub catalogue: Catalogue,
    pub shared: Arc<Shared>,
    pub rhythm: Rhythm,
    /// What the kernel counts itself; None: no tracepoint can be asked here.
    counts: Option<Counts>,
    symbols: Symbols,
    wanted: Wanted,
    retention: Retention,
    calls: u64,
    /// Scopes that are no more since the last collection.
    gone: Vec<ScopeId>,
}

impl Collector {
    pub fn new(
        kernel: Kernel,
        counts: Option<Counts>,
        symbols: Symbols,
        slots: Vec<Slot>,
        catalogue: Catalogue,
        shared: Arc<Shared>,
        rhythm: Rhythm,
    ) -> Self {
        Self {
            kernel,
            counts,
            slots,
            catalogue,
            shared,
            rhythm,
            symbols,
            wanted: Wanted::default(),
            retention: Retention::default(),
            calls: 0,
            gone: Vec::new(),
        }
    }

    /// Works until all senders of `inbox` are gone.
    pub fn run(mut self, inbox: Receiver<Message>) {
        let (mut last, mut idle_since) = (None, Instant::now());
        loop {
            let idle = (idle_since + self.rhythm.idle_interval).saturating_duration_since(Instant::now());
            let idle = self.settle().map_or(idle, |wait| idle.min(wait));
            let first = match inbox.recv_timeout(idle) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut requests = Vec::new();
            for message in first.into_iter().chain(inbox.try_iter()) {
                match message {
                    Message::Collect(request) => requests.push(request),
                    Message::Rows(rows) => self.take_rows(rows),
                    Message::Answered | Message::Named => {}
                }
            }
            self.finish_streams(Instant::now());
            let is_idle = idle_since.elapsed() >= self.rhythm.idle_interval;
            if !requests.is_empty() || is_idle {
                idle_since = Instant::now();
                self.answer(requests, &mut last);
            }
            self.start_streams();
        }
    }

    /// Brings onto the page what waited for names that are final now (rule 6). Gives how long until a name is not waited for any more.
    fn settle(&self) -> Option<Duration> {
        let (now, _) = self.shared.clock();
        let mut scopes = self.shared.scopes();
        scopes.give_up(now);
        let settled = scopes.take_settled();
        if !settled.is_empty() {
            let mut board = self.shared.board();
            for &scope in &settled {
                // A container that goes on as its namespace must not put its states in the place of the namespace's.
                if scopes.get(scope).is_some_and(|scope| scope.gone.is_some()) {
                    board.registry.scope_gone(scope);
                }
                board.registry.settle_scope(scope, &scopes);
            }
        }
        let events = self.shared.events();
        events.settle(&scopes, now);
        let due = events.next_due().map(|due| due.saturating_sub(now));
        scopes.next_settling(now).into_iter().chain(due).min()
    }

    fn answer(&mut self, requests: Vec<Request>, last: &mut Option<Instant>) {
        let (now, _) = self.shared.clock();
        if requests.iter().any(|request| request.scrape) {
            self.retention.scraped(now);
        }
        if last.is_none_or(|last| last.elapsed() >= self.rhythm.min_interval) {
            let latest = Instant::now() + self.rhythm.timeout;
            self.collect(requests.iter().map(|request| request.deadline).fold(latest, Instant::min));
            *last = Some(Instant::now());
        }
        for request in requests {
            // Whoever asked may have gone.
            let _ = request.reply.send(());
        }
    }

    /// One collection, which ends at `deadline`: what is not done by then has failed for this one.
    pub fn collect(&mut self, deadline: Instant) {
        let began = Instant::now();
        self.slots.iter_mut().for_each(Slot::discard_late);
        // A collection's call goes before those of streams (rule 32), but not into the middle of one.
        self.finish_streams(deadline);
        self.advance();
        let look = self.look(deadline);
        self.calls += 1;
        let delivered = self.call_probes(&look, deadline);
        // Only who was called now: one that is still at an earlier call holds nobody up.
        let called = self.slots.iter_mut().zip(&delivered);
        let answers = called.map(|(slot, delivered)| delivered.as_ref().and_then(|_| slot.answer(deadline))).collect();
        self.apply(&look, delivered, answers, began);
        if let Ok(Look { catalogue: Some(catalogue), .. }) = look {
            self.replan(catalogue);
        }
    }

    /// Reads the tables, and at the same time takes what the kernel has counted: each waits for the kernel.
    fn look(&mut self, deadline: Instant) -> Result<Look, KernelError> {
        let (kernel, wanted) = (&self.kernel, self.wanted.clone());
        let look = match &self.counts {
            None => kernel.look(wanted, deadline),
            Some(counts) => thread::scope(|scope| {
                let counting = scope.spawn(|| counts.collect());
                let look = kernel.look(wanted, deadline);
                // It has no result, and a panic there is logged by then.
                let _ = counting.join();
                look
            }),
        };
        if let Some(counts) = &mut self.counts {
            self.slots.iter_mut().for_each(|slot| counts.gather(slot));
        }
        look
    }

    /// Goes on with the start of probes, so that those that are ready take part.
    pub fn advance(&mut self) {
        self.advance_within(super::slot::START_GRACE);
    }

    /// The same, waiting longer: when the agent starts.
    pub fn advance_within(&mut self, wait: Duration) {
        let (shared, catalogue) = (&self.shared, &self.catalogue);
        let mut planned = false;
        for slot in &mut self.slots {
            let limits = slot.spec.series;
            let mut register = |name: &str, plan: &Plan, sampled: &[bool]| shared.register(name, plan, sampled, limits);
            planned |= slot.advance(catalogue, &mut register, wait);
        }
        if planned {
            self.bind();
        }
    }

    fn replan(&mut self, catalogue: Catalogue) {
        tracing::info!("The tables of this node have changed.");
        self.catalogue = catalogue;
        let (shared, catalogue) = (&self.shared, &self.catalogue);
        for slot in &mut self.slots {
            let limits = slot.spec.series;
            slot.replan(catalogue, &mut |name, plan, sampled| shared.register(name, plan, sampled, limits));
        }
        self.bind();
    }

    fn bind(&mut self) {
        let mut reads = Reads::default();
        for slot in &mut self.slots {
            slot.bind(&mut reads);
        }
        let passes = self.slots.iter().flat_map(Slot::passes).collect();
        self.wanted = Wanted { reads: Arc::new(reads.0), passes: Arc::new(passes) };
    }

    /// Gives every probe that runs its answers. Returns, by slot, what it was given.
    fn call_probes(&mut self, look: &Result<Look, KernelError>, deadline: Instant) -> Vec<Option<Delivered>> {
        let (monotonic, unix) = self.shared.clock();
        let mut scopes = self.shared.scopes();
        self.gone = scopes.take_gone();
        let late = Instant::now() >= deadline;
        let mut delivered = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            if !slot.runs() || late {
                delivered.push(None);
                continue;
            }
            let mut given = Given { look, counts: self.counts.as_ref(), symbols: &mut self.symbols, scopes: &scopes };
            let (answers, overflows) = given.answers(&slot.queries);
            let call = Call {
                kind: CallKind::Collection,
                id: self.calls,
                monotonic_nanos: monotonic.as_nanos() as u64,
                unix_nanos: unix.as_nanos() as u64,
                answers,
                gone: self.gone.clone(),
            };
            delivered.push(Some(Delivered::of(&call, overflows, slot)));
            slot.call(call);
        }
        delivered
    }

    /// Brings all outputs onto the page at once: a scrape sees this collection or the last one, never half of each.
    fn apply(
        &mut self,
        look: &Result<Look, KernelError>,
        delivered: Vec<Option<Delivered>>,
        answers: Vec<Option<Processed>>,
        began: Instant,
    ) {
        let (monotonic, unix) = self.shared.clock();
        let now = Now { monotonic, unix };
        let keep = self.retention.keep(monotonic);
        // The walk may have named new ones: this page has them already.
        self.settle();
        let mut scopes = self.shared.scopes();
        let mut board = self.shared.board();
        board.registry.begin_collection();
        self.gone.iter().for_each(|&scope| board.registry.scope_gone(scope));
        match look {
            Ok(look) => board.note_look(look, &scopes),
            Err(error) => tracing::warn!("No table could be read in this collection: {error}"),
        }
        for ((slot, delivered), processed) in self.slots.iter_mut().zip(delivered).zip(answers) {
            let applied = board.apply(slot, delivered.as_ref(), processed, &scopes, now);
            // Rule 3: what the kernel has counted begins anew once it is on the page.
            if let (true, Some(counts), Some(delivered)) = (applied, &mut self.counts, &delivered) {
                counts.taken(slot, delivered);
            }
        }
        for scope in scopes.dead_since(monotonic.saturating_sub(keep)) {
            board.registry.forget_scope(scope);
            scopes.forget(scope);
        }
        board.registry.expire_parts(now);
        if let Some(counts) = &self.counts {
            board.figures.note_hooks(counts.figures());
        }
        board.collected(began, &self.slots);
    }
}

/// What a probe was given in this collection.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// What its output may refer to.
    pub shape: Shape,
    /// The plan's query of each answer, and how many rows it gave; None: it failed.
    pub queries: Vec<(usize, Option<usize>)>,
    /// Sums that did not fit into 64 bits, and are NULL therefore (rule 21).
    pub overflows: u64,
    /// When and who its rows are of, if the probe makes events.
    pub origins: Origins,
}

impl Delivered {
    pub fn of(call: &Call, overflows: u64, slot: &Slot) -> Self {
        let query = |answer: &Answer| (answer.query as usize, answer.result.as_ref().ok().map(|batch| batch.rows));
        let fields = |query: u32| match slot.queries.get(query as usize) {
            Some(Planned::Runs(query, _) | Planned::Hooked(query, _) | Planned::Passed(query, _)) => {
                query.fields.as_slice()
            }
            Some(Planned::Absent(_)) | None => &[],
        };
        let origins = if slot.plan.events.is_empty() { Origins::default() } else { Origins::of_tables(call, fields) };
        Self { shape: Shape::from(call), queries: call.answers.iter().map(query).collect(), overflows, origins }
    }

    /// Rows of all queries.
    pub fn rows(&self) -> u64 {
        self.queries.iter().filter_map(|(_, rows)| *rows).map(|rows| rows as u64).sum()
    }
}
