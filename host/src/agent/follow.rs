//! `/events`: the recent ones, and for those who follow each new one.

use super::events::EventLog;
use crate::http::{
    Feed,
    query::{EventsQuery, Since},
};
use bytes::Bytes;
use netsonde_core::event::{
    json,
    recorder::{self, Recorded},
};
use std::{future::Future, pin::Pin, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// Events that are looked at, and written, at once: few enough to hold up nobody else on the thread.
const STEP: usize = 256;

/// One reader of the log. It holds no events: whoever reads slowly misses those that the log forgets meanwhile, and is told how many.
pub struct Reader {
    log: Arc<EventLog>,
    latest: watch::Receiver<u64>,
    query: EventsQuery,
    /// The position up to which it has been told.
    seen: u64,
    /// Events that are no longer there, of which it has not been told.
    missed: u64,
    end: End,
}

enum End {
    /// With the event at this position.
    At(u64),
    /// Never by itself: it follows, and has this place among those who do.
    Never(#[expect(dead_code, reason = "given back when the reader goes")] OwnedSemaphorePermit),
}

impl Reader {
    /// Of those who follow, `place` is theirs for as long as they do.
    pub fn new(log: Arc<EventLog>, query: EventsQuery, place: Option<OwnedSemaphorePermit>) -> Self {
        let latest = log.follow();
        let last = *latest.borrow();
        let (since, missed) = match query.since {
            Some(Since::Id(id)) if id.run == log.run() => log.position_of(id.seq),
            Some(Since::Seq(seq)) if seq <= log.last_seq() => log.position_of(seq),
            // Of another run, which this one does not know how much of was seen.
            Some(Since::Id(_) | Since::Seq(_)) => log.position_of(0),
            // What is no longer there was not asked for.
            None => (log.since(0, 0).missed, 0),
        };
        let seen = match query.limit {
            Some(limit) => log.before_newest(limit, since, |event| query.filter.wants(event)),
            None => since,
        };
        // Of those that are passed over, nothing more is told.
        let missed = if seen == since { missed } else { 0 };
        Self { log, latest, query, seen, missed, end: place.map_or(End::At(last), End::Never) }
    }

    async fn read(&mut self) -> Option<Bytes> {
        loop {
            if matches!(self.end, End::At(end) if self.seen >= end) {
                return None;
            }
            let text = self.step();
            if !text.is_empty() {
                return Some(text.into());
            }
            if matches!(self.end, End::Never(_)) {
                let seen = self.seen;
                self.latest.wait_for(|latest| *latest > seen).await.ok()?;
            }
        }
    }

    /// The next events that are wanted, if there are some among those looked at.
    fn step(&mut self) -> Vec<u8> {
        let since = self.log.since(self.seen, STEP);
        let mut text = Vec::new();
        let missed = since.missed + std::mem::take(&mut self.missed);
        if missed > 0 {
            json::write_missed(missed, &mut text);
        }
        for event in since.events.iter().filter(|event| self.query.filter.wants(event)) {
            json::write(event, &mut text);
        }
        self.seen = since.position;
        text
    }
}

/// What the flight recorder had, a piece at a time.
pub struct Records(std::vec::IntoIter<Recorded>);

impl Records {
    pub fn new(recorded: Vec<Recorded>) -> Self {
        Self(recorded.into_iter())
    }

    async fn read(&mut self) -> Option<Bytes> {
        let mut text = Vec::new();
        self.0.by_ref().take(STEP).for_each(|recorded| recorder::write(&recorded, &mut text));
        (!text.is_empty()).then(|| text.into())
    }
}

impl Feed for Records {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + '_>> {
        Box::pin(self.read())
    }
}

impl Feed for Reader {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + '_>> {
        Box::pin(self.read())
    }
}
