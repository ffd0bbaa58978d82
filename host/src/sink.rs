//! Sinks: where events go. Each has a thread and a bounded queue of its own, so that one that waits holds up nobody; what it cannot take is
//! counted.

pub mod file;
mod queue;
pub mod stdout;

use netsonde_core::{
    config::{self, Form},
    event::{Event, json, line},
};
use queue::Queue;
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// A place for events.
pub trait Sink: Send {
    /// As in the metrics' label `sink`.
    fn name(&self) -> &'static str;

    /// Before the first events: what can be told of a place that is not there.
    ///
    /// # Errors
    /// If events could not be delivered now. They are tried all the same.
    fn open(&mut self) -> Result<(), SinkError>;

    /// Delivers all of them. What went before is there when it returns.
    ///
    /// # Errors
    /// If that is not sure of each; they are counted as lost.
    fn deliver(&mut self, events: &[Event]) -> Result<(), SinkError>;
}

/// Why events were not delivered.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot open {} to append to it: {source}; its folder must exist and be writable: make it, or change `path`", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot write to {place}: {source}")]
    Write { place: String, source: io::Error },
    /// The other side cannot be reached, or says that it cannot take events now; `after`: not before so long.
    #[error("cannot deliver events to {place}: {why}")]
    Unavailable { place: String, why: String, after: Option<Duration> },
    /// The other side does not want these events, now or ever.
    #[error("{place} refuses events: {why}")]
    Refused { place: String, why: String },
}

/// Whether the same events may be delivered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Later,
    /// Not before so long.
    After(Duration),
    Never,
}

impl SinkError {
    pub fn retry(&self) -> Retry {
        match self {
            Self::Open { .. } | Self::Write { .. } | Self::Unavailable { after: None, .. } => Retry::Later,
            Self::Unavailable { after: Some(after), .. } => Retry::After(*after),
            Self::Refused { .. } => Retry::Never,
        }
    }
}

/// The sink that the configuration speaks of.
pub fn of(config: &config::Sink) -> Box<dyn Sink> {
    match config {
        config::Sink::Stdout(sink) => Box::new(stdout::Stdout::new(sink.form)),
        config::Sink::File(sink) => Box::new(file::File::new(sink.path.clone(), sink.form)),
    }
}

/// Writes events into `text`, whose content goes.
fn format(form: Form, events: &[Event], text: &mut Vec<u8>) {
    /// What a buffer keeps of its room: a batch of usual events takes less.
    const KEPT: usize = 1 << 20;
    text.clear();
    text.shrink_to(KEPT);
    for event in events {
        match form {
            Form::Line => line::write(event, text),
            Form::Json => json::write(event, text),
        }
    }
}

/// What became of the events that sinks were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By the sink's name.
    pub delivered: BTreeMap<&'static str, u64>,
    /// By probe and reason: `queue_full`, `write`, `ended`.
    pub dropped: BTreeMap<(Arc<str>, &'static str), u64>,
}

/// Counts of all sinks, and how many of them still work.
#[derive(Default)]
struct Ledger {
    counts: Mutex<Counts>,
    working: Mutex<usize>,
    ended: Condvar,
}

impl Ledger {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delivered(&self, sink: &'static str, events: usize) {
        *self.counts().delivered.entry(sink).or_default() += events as u64;
    }

    fn dropped(&self, events: &[Event], reason: &'static str) {
        let mut counts = self.counts();
        for events in events.chunk_by(|a, b| Arc::ptr_eq(&a.probe, &b.probe)) {
            *counts.dropped.entry((events[0].probe.clone(), reason)).or_default() += events.len() as u64;
        }
    }
}

/// All sinks of the agent.
#[derive(Default)]
pub struct Sinks {
    queues: Vec<Arc<Queue>>,
    ledger: Arc<Ledger>,
}

impl Sinks {
    /// Starts a thread for each.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(sinks: Vec<Box<dyn Sink>>) -> io::Result<Self> {
        let mut started = Self::default();
        for sink in sinks {
            let (queue, ledger) = (Arc::new(Queue::default()), started.ledger.clone());
            ledger.delivered(sink.name(), 0);
            started.queues.push(queue.clone());
            *ledger.working.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            thread::Builder::new().name(format!("sink {}", sink.name())).spawn(move || {
                work(sink, &queue, &ledger);
                *ledger.working.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
                ledger.ended.notify_all();
            })?;
        }
        Ok(started)
    }

    /// Gives events to every sink, without waiting.
    pub fn push(&self, batch: &Arc<[Event]>) {
        for queue in &self.queues {
            if let Err(refused) = queue.push(batch.clone()) {
                self.ledger.dropped(batch, refused.reason());
            }
        }
    }

    /// Takes no more events, and waits until those that are there are delivered, at most `wait`. Gives how many are not.
    pub fn drain(&self, wait: Duration) -> usize {
        self.queues.iter().for_each(|queue| queue.close());
        let until = Instant::now() + wait;
        let mut working = self.ledger.working.lock().unwrap_or_else(PoisonError::into_inner);
        while *working > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            working = self.ledger.ended.wait_timeout(working, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.queues.iter().map(|queue| queue.waiting()).sum()
    }

    pub fn counts(&self) -> Counts {
        self.ledger.counts().clone()
    }
}

fn work(mut sink: Box<dyn Sink>, queue: &Queue, ledger: &Ledger) {
    let name = sink.name();
    let mut last = String::new();
    let mut tell = |error: SinkError| {
        let why = error.to_string();
        // Once for each cause: a full disk would fill what is left of it with the log.
        if last != why {
            tracing::warn!(sink = name, "Events are lost: {why}");
            last = why;
        }
    };
    sink.open().unwrap_or_else(&mut tell);
    while let Some(batch) = queue.take() {
        match sink.deliver(&batch) {
            Ok(()) => ledger.delivered(name, batch.len()),
            Err(error) => {
                ledger.dropped(&batch, "write");
                tell(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
