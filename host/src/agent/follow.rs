//! `/events`: the recent ones, and for those who follow each new one.

use super::events::EventLog;
use crate::http::{
    Feed,
    query::{EventsQuery, Since},
};
use bytes::Bytes;
use netsonde_core::event::{Event, json};
use std::{future::Future, pin::Pin, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// Events that are looked at, and written, at once: few enough to hold up nobody else on the thread.
const STEP: usize = 256;

/// One reader of the log. It holds no events: whoever reads slowly misses those that the log forgets meanwhile, and is told how many.
pub struct Reader {
    log: Arc<EventLog>,
    latest: watch::Receiver<u64>,
    query: EventsQuery,
    /// The sequence up to which it has been told.
    seen: u64,
    end: End,
}

enum End {
    /// With the event of this sequence.
    At(u64),
    /// Never by itself: it follows, and has this place among those who do.
    Never(#[expect(dead_code, reason = "given back when the reader goes")] OwnedSemaphorePermit),
}

impl Reader {
    /// Of those who follow, `place` is theirs for as long as they do.
    pub fn new(log: Arc<EventLog>, query: EventsQuery, place: Option<OwnedSemaphorePermit>) -> Self {
        let latest = log.follow();
        let last = *latest.borrow();
        let since = match query.since {
            Some(Since::Id(id)) if id.run == log.run() => id.seq.min(last),
            // Of another run, which this one does not know how much of was seen.
            Some(Since::Id(_)) => 0,
            Some(Since::Seq(seq)) if seq <= last => seq,
            Some(Since::Seq(_)) => 0,
            // What is no longer there was not asked for.
            None => log.since(0, 0).missed,
        };
        let seen = match query.limit {
            Some(limit) => log.before_newest(limit, since, |event| wants(&query, event)),
            None => since,
        };
        Self { log, latest, query, seen, end: place.map_or(End::At(last), End::Never) }
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
        if since.missed > 0 {
            json::write_missed(since.missed, &mut text);
        }
        for event in since.events.iter().filter(|event| wants(&self.query, event)) {
            json::write(event, &mut text);
        }
        self.seen = since.events.last().map_or(self.seen + since.missed, |event| event.id.seq);
        text
    }
}

fn wants(query: &EventsQuery, event: &Event) -> bool {
    let any = |wanted: &[String], have: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == have);
    any(&query.types, &event.ty) && any(&query.probes, &event.probe)
}

impl Feed for Reader {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + '_>> {
        Box::pin(self.read())
    }
}
