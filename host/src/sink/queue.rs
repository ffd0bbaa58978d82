//! The memory before a sink.

use super::Batch;
use netsonde_core::event::Event;
use std::{collections::VecDeque, sync::Arc};

/// Events that wait in memory for one sink, and their bytes. One batch is always taken.
pub const MAX_EVENTS: usize = 16_384;
pub const MAX_BYTES: usize = 32 << 20;

/// Events `from..` of a list that is shared with others.
#[derive(Clone, Debug)]
pub struct Part {
    pub events: Arc<[Event]>,
    pub from: usize,
    /// Memory that they count as.
    pub bytes: usize,
}

impl Part {
    pub fn rest(&self) -> &[Event] {
        &self.events[self.from..]
    }
}

/// First in, first out. What was taken still counts until it is let go.
#[derive(Debug, Default)]
pub struct Queue {
    parts: VecDeque<Part>,
    /// Of those that wait, and of those that were taken.
    events: usize,
    bytes: usize,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether it holds more than `quarters` of what it may.
    pub fn is_beyond(&self, quarters: usize) -> bool {
        self.events > MAX_EVENTS / 4 * quarters || self.bytes > MAX_BYTES / 4 * quarters
    }

    /// False if there is no room for them.
    pub fn push(&mut self, events: &Arc<[Event]>, bytes: usize) -> bool {
        if self.events > 0 && (self.events + events.len() > MAX_EVENTS || self.bytes + bytes > MAX_BYTES) {
            return false;
        }
        self.events += events.len();
        self.bytes += bytes;
        self.parts.push_back(Part { events: events.clone(), from: 0, bytes });
        true
    }

    /// The oldest.
    pub fn pop(&mut self) -> Option<Part> {
        self.parts.pop_front()
    }

    /// What was taken last goes back.
    pub fn put_back(&mut self, part: Part) {
        self.parts.push_front(part);
    }

    /// So much of what was taken is in this memory no more.
    pub fn let_go(&mut self, events: usize, bytes: usize) {
        self.events = self.events.saturating_sub(events);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The oldest, and as many behind them as go into one batch: those are copied, as most lists that come alone are short.
    pub fn take(&mut self, batch: Batch) -> Option<Part> {
        let first = self.pop()?;
        let (mut count, mut bytes) = (first.rest().len(), first.bytes);
        let mut more = 0;
        for part in &self.parts {
            if count + part.rest().len() > batch.events || bytes + part.bytes > batch.bytes {
                break;
            }
            count += part.rest().len();
            bytes += part.bytes;
            more += 1;
        }
        if more == 0 {
            return Some(first);
        }
        let mut events = Vec::with_capacity(count);
        events.extend_from_slice(first.rest());
        self.parts.drain(..more).for_each(|part| events.extend_from_slice(part.rest()));
        Some(Part { events: events.into(), from: 0, bytes })
    }
}
