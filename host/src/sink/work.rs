//! The thread of one sink: takes what is next, delivers it, and tries again what could not be delivered.

use super::{
    Batch, Retry, Sink, SinkError, Told,
    account::Fate,
    backoff::{Backoff, chance},
    lane::{Lane, Next},
};
use netsonde_core::event::Event;
use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

/// Refusals of one batch after which what is refused is not split any more.
const MAX_REFUSALS: usize = 64;

/// Works until all is delivered after the lane was closed, or until its end.
pub fn run(mut sink: Box<dyn Sink>, lane: &Lane) {
    let mut worker =
        Worker { lane, batch: sink.batch(), backoff: Backoff::default(), told: Told::default(), failed: false };
    if let Err(error) = sink.open() {
        worker.tell("Events wait", &error);
    }
    loop {
        match lane.next(worker.batch) {
            Next::Deliver { events, from, spilled } => worker.deliver(&mut *sink, &events[from..], spilled),
            Next::Reopen => sink.reopen(),
            Next::End => break,
        }
    }
    lane.over(|state| state.work_over = true);
}

struct Worker<'l> {
    lane: &'l Lane,
    batch: Batch,
    backoff: Backoff,
    told: Told,
    failed: bool,
}

impl Worker<'_> {
    fn deliver(&mut self, sink: &mut dyn Sink, events: &[Event], spilled: bool) {
        // Of this run they cannot be old: it is the clock that has jumped.
        let (oldest, is_earlier) = (if spilled { self.oldest() } else { 0 }, self.lane.is_of_earlier_run());
        let is_old = |event: &Event| event.unix_nanos < oldest && is_earlier(event);
        for events in events.chunk_by(|a, b| is_old(a) == is_old(b)) {
            if is_old(&events[0]) {
                self.lane.passed(events.len(), Fate::Dropped("too_old"));
                continue;
            }
            if let Err(error) = self.split(sink, events) {
                self.tell("Events wait", &error);
                self.failed = true;
                let delay = self.backoff.failed(error.retry(), chance());
                return self.lane.failed(&error, delay);
            }
        }
    }

    /// Events of an earlier run from before this are too old to be delivered from the spill.
    fn oldest(&self) -> u64 {
        let max_age = self.lane.settings.as_ref().map_or(Duration::MAX, |settings| settings.max_age);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        now.checked_sub(max_age).map_or(0, |oldest| oldest.as_nanos() as u64)
    }

    /// Delivers them in pieces of the right size; what is refused goes again in halves, until the bad ones are alone.
    fn split(&mut self, sink: &mut dyn Sink, events: &[Event]) -> Result<(), SinkError> {
        let mut refusals = 0;
        let mut todo: Vec<Range<usize>> = Vec::new();
        let mut done = 0;
        while done < events.len() {
            let piece = todo.pop().unwrap_or_else(|| done..done + piece(&events[done..], self.batch));
            let count = piece.len();
            match sink.deliver(&events[piece.clone()]) {
                Ok(()) => {
                    self.lane.passed(count, Fate::Delivered);
                    self.went_well();
                }
                Err(error) if error.retry() != Retry::Never => return Err(error),
                // It has the others: which ones, it does not say.
                Err(error @ SinkError::Partly { refused, .. }) => {
                    let refused = refused.min(count);
                    self.lane.passed(count - refused, Fate::Delivered);
                    self.lane.passed(refused, Fate::Dropped("refused"));
                    self.went_well();
                    self.tell("Events are lost", &error);
                }
                Err(_) if count > 1 && refusals < MAX_REFUSALS => {
                    refusals += 1;
                    let middle = piece.start + count / 2;
                    todo.extend([middle..piece.end, piece.start..middle]);
                    continue;
                }
                Err(error) => {
                    refusals += 1;
                    self.lane.passed(count, Fate::Dropped("refused"));
                    self.tell("Events are lost", &error);
                }
            }
            done = piece.end;
        }
        Ok(())
    }

    fn went_well(&mut self) {
        self.backoff.went_well();
        if std::mem::take(&mut self.failed) {
            self.told = Told::default();
            tracing::info!(sink = &*self.lane.name, "Events are delivered again.");
        }
    }

    /// Once for each cause: a full disk would fill what is left of it with the log.
    fn tell(&mut self, what: &str, error: &SinkError) {
        let why = error.to_string();
        if self.told.is_new(&why) {
            tracing::warn!(sink = &*self.lane.name, "{what}: {why}");
        }
    }
}

/// How many of the first events go into one batch.
fn piece(events: &[Event], batch: Batch) -> usize {
    let mut bytes = 0;
    let fits = events.iter().take(batch.events).take_while(|event| {
        bytes += event.bytes();
        bytes <= batch.bytes
    });
    fits.count().max(1)
}
