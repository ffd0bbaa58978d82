//! Sinks: where events go. Each has a thread, a bounded memory and a spill on disk of its own, so that one that waits holds up nobody; what
//! cannot be kept is counted.

mod account;
mod auth;
mod backoff;
pub mod fault;
pub mod file;
pub mod grpc;
pub mod http;
mod lane;
pub mod loki;
pub mod otlp;
mod proto;
mod queue;
#[cfg(test)]
mod server;
pub mod spill;
pub mod stdout;
mod store;
mod tls;
mod work;

use account::Place;
use lane::Lane;
use netsonde_core::{
    config::{self, Config, Form},
    event::{Event, json, line},
    ledger::Account,
};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How long the end waits for the disk, after the time for deliveries.
const STORE_WAIT: Duration = Duration::from_secs(5);

/// A place for events. All is called on the sink's own thread, which may wait, but not for ever: who waits for a network has a time limit.
pub trait Sink: Send {
    /// What the configuration calls it: the metrics' label `sink`.
    fn name(&self) -> &str;

    /// What it wants of one delivery.
    fn batch(&self) -> Batch {
        Batch::default()
    }

    /// Before the first events: what can be told of a place that is not there.
    ///
    /// # Errors
    /// If events could not be delivered now. They are tried all the same.
    fn open(&mut self) -> Result<(), SinkError>;

    /// Where that is, for people.
    fn place(&self) -> String {
        self.name().to_owned()
    }

    /// Does what a delivery does, without an event: nothing is kept of it.
    ///
    /// # Errors
    /// If events could not be delivered now.
    fn check(&mut self) -> Result<(), SinkError> {
        self.open()
    }

    /// Delivers all of them. What went before is there when it returns.
    ///
    /// # Errors
    /// If that is not sure of each. [`SinkError::retry`] tells whether all of them are given once more; of several that are refused each
    /// half is, until those that are not wanted are alone.
    fn deliver(&mut self, events: &[Event]) -> Result<(), SinkError>;

    /// Somebody has moved what it writes to (SIGHUP): it is opened anew before the next delivery.
    fn reopen(&mut self) {}
}

/// What one delivery holds at most; it holds one event at least. Fewer are delivered when no more wait: nobody lingers for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub events: usize,
    /// As [`Event::bytes`] counts, which is more than most forms of an event take.
    pub bytes: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { events: 1024, bytes: 4 << 20 }
    }
}

/// Why events were not delivered.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot open {} to append to it: {source}; its folder must exist and be writable: make it, or change `path`", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot put {} aside: {source}; its folder must be writable", path.display())]
    Rotate { path: PathBuf, source: io::Error },
    #[error("cannot write to {place}: {source}")]
    Write { place: String, source: io::Error },
    /// The other side cannot be reached, or says that it cannot take events now; `after`: not before so long.
    #[error("cannot deliver events to {place}: {why}")]
    Unavailable { place: String, why: String, after: Option<Duration> },
    /// The other side does not want these events, now or ever.
    #[error("{place} refuses events: {why}")]
    Refused { place: String, why: String },
    /// It has taken all of them but so many, and does not say which. None of them may be sent again: that would double the others.
    #[error("{place} has taken these events but for {refused}: {why}")]
    Partly { place: String, refused: usize, why: String },
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
            Self::Open { .. } | Self::Rotate { .. } | Self::Write { .. } => Retry::Later,
            Self::Unavailable { after: None, .. } => Retry::Later,
            Self::Unavailable { after: Some(after), .. } => Retry::After(*after),
            Self::Refused { .. } | Self::Partly { .. } => Retry::Never,
        }
    }
}

/// The sink that the configuration speaks of, if events go there.
pub fn of(config: &config::Sink) -> Option<Box<dyn Sink>> {
    let name = config.name();
    Some(match config {
        config::Sink::Stdout(sink) => Box::new(stdout::Stdout::new(name, sink.form)),
        config::Sink::File(sink) => Box::new(file::File::new(name, sink)),
        config::Sink::Loki(sink) => Box::new(loki::Loki::new(name, sink)),
        config::Sink::Otlp(sink) if sink.logs => Box::new(otlp::Otlp::new(name, sink)),
        config::Sink::Otlp(_) | config::Sink::OpenFalcon(_) => return None,
    })
}

/// All sinks of the configuration, each with its spill. Says so if one that is no more has left events there.
pub fn all(config: &Config) -> Vec<(Box<dyn Sink>, Option<spill::Settings>)> {
    let config::Spill { folder, size, max_age } = &config.spill;
    let with_spill = |sink: &config::Sink| {
        let size = sink.common().spill.unwrap_or(*size);
        let settings = spill::Settings { folder: folder.clone(), size, max_age: *max_age };
        Some((of(sink)?, (size > 0).then_some(settings)))
    };
    let names: Vec<&str> = config.sinks.iter().map(config::Sink::name).collect();
    for name in spill::left_behind(folder, &names) {
        let place = folder.join(&name);
        tracing::warn!(
            "Events wait in {} for a sink `{name}`, which the configuration does not have.",
            place.display()
        );
    }
    config.sinks.iter().filter_map(with_spill).collect()
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

/// What was said last, so as to say it once.
#[derive(Default)]
struct Told(String);

impl Told {
    fn is_new(&mut self, why: &str) -> bool {
        let is_new = self.0 != why;
        if is_new {
            self.0 = why.to_owned();
        }
        is_new
    }
}

/// What became of the events that sinks were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By the names of sink and probe. Those of one sink are of one moment.
    pub accounts: BTreeMap<(Arc<str>, Arc<str>), Account>,
    /// By name, also those that have had no events.
    pub sinks: BTreeMap<Arc<str>, SinkFigures>,
}

impl Counts {
    /// What all sinks together dropped, by probe and reason.
    pub fn dropped(&self) -> BTreeMap<(Arc<str>, &'static str), u64> {
        let mut dropped = BTreeMap::new();
        for ((_, probe), account) in &self.accounts {
            for (reason, count) in &account.dropped {
                *dropped.entry((probe.clone(), *reason)).or_default() += count;
            }
        }
        dropped
    }
}

/// How one sink fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkFigures {
    /// Of its accounts together.
    pub delivered: u64,
    pub waiting: u64,
    /// Those of `waiting` that are on disk, and the bytes that its spill has there.
    pub spilled: u64,
    pub spill_bytes: u64,
    /// Deliveries that failed and were, or are to be, tried again.
    pub retries: u64,
    /// Why the last delivery failed; None after one that went well.
    pub last_error: Option<String>,
}

/// All sinks of the agent.
#[derive(Default)]
pub struct Sinks {
    lanes: Vec<Arc<Lane>>,
}

impl Sinks {
    /// Starts a thread for each, and one for each spill.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(sinks: Vec<(Box<dyn Sink>, Option<spill::Settings>)>) -> io::Result<Self> {
        let mut started = Self::default();
        for (sink, settings) in sinks {
            let lane = Arc::new(Lane::new(sink.name().into(), settings));
            started.lanes.push(lane.clone());
            if lane.settings.is_some() {
                let lane = lane.clone();
                thread::Builder::new().name(format!("spill {}", lane.name)).spawn(move || store::run(&lane))?;
            }
            thread::Builder::new().name(format!("sink {}", lane.name)).spawn(move || work::run(sink, &lane))?;
        }
        Ok(started)
    }

    /// Gives events to every sink, without waiting.
    pub fn push(&self, batch: &Arc<[Event]>) {
        if self.lanes.is_empty() || batch.is_empty() {
            return;
        }
        let bytes = batch.iter().map(Event::bytes).sum();
        self.lanes.iter().for_each(|lane| lane.push(batch, bytes));
    }

    /// Whatever sinks write to is opened anew: somebody may have moved it (SIGHUP).
    pub fn reopen(&self) {
        self.lanes.iter().for_each(|lane| lane.reopen());
    }

    /// Takes no more events, and waits until those that are there are delivered, at most `wait`. What is left then goes to the spill; gives how
    /// many events are neither delivered nor there.
    pub fn drain(&self, wait: Duration) -> usize {
        self.lanes.iter().for_each(|lane| lane.close());
        let until = Instant::now() + wait;
        self.lanes.iter().for_each(|lane| lane.wait_for_work(until));
        let until = Instant::now() + STORE_WAIT;
        for lane in &self.lanes {
            lane.end();
        }
        self.lanes.iter().for_each(|lane| lane.wait_for_store(until));
        let mut lost = 0;
        for lane in &self.lanes {
            let state = lane.state();
            lost += state.unsaved();
            let stored = state.flows.at(Place::Spill);
            if stored > 0 {
                tracing::info!(sink = &*lane.name, "{stored} events stay in the spill, for the agent's next run.");
            }
        }
        lost as usize
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for lane in &self.lanes {
            let state = lane.state();
            let mut figures = SinkFigures {
                spilled: state.flows.at(Place::Spill),
                spill_bytes: state.spill.bytes,
                retries: state.retries,
                last_error: state.last_error.clone(),
                ..SinkFigures::default()
            };
            for (probe, account) in state.flows.accounts() {
                figures.delivered += account.delivered;
                figures.waiting += account.waiting;
                counts.accounts.insert((lane.name.clone(), probe.clone()), account);
            }
            counts.sinks.insert(lane.name.clone(), figures);
        }
        counts
    }
}

#[cfg(test)]
mod tests;
