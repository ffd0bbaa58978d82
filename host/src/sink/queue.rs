//! The queue before a sink.

use netsonde_core::event::Event;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Events that wait for one sink, and their memory in bytes. One batch is always taken.
pub const MAX_EVENTS: usize = 16_384;
const MAX_BYTES: usize = 32 << 20;

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    Closed,
}

impl Refused {
    /// As in the metrics' label `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Refused::Full => "queue_full",
            Refused::Closed => "ended",
        }
    }
}

/// Batches from many, for one.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    /// Of those that wait, and of the one that was taken last.
    events: usize,
    bytes: usize,
    taken: Option<(usize, usize)>,
    closed: bool,
}

struct Batch {
    events: Arc<[Event]>,
    bytes: usize,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch, without waiting.
    pub fn push(&self, events: Arc<[Event]>) -> Result<(), Refused> {
        let bytes = events.iter().map(Event::bytes).sum();
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.events > 0 && (state.events + events.len() > MAX_EVENTS || state.bytes + bytes > MAX_BYTES) {
            return Err(Refused::Full);
        }
        state.events += events.len();
        state.bytes += bytes;
        state.batches.push_back(Batch { events, bytes });
        self.more.notify_one();
        Ok(())
    }

    /// The next batch; until the one after is asked for, it still counts as waiting. None once the queue is closed and empty.
    pub fn take(&self) -> Option<Arc<[Event]>> {
        let mut state = self.state();
        if let Some((events, bytes)) = state.taken.take() {
            state.events -= events;
            state.bytes -= bytes;
        }
        loop {
            if let Some(batch) = state.batches.pop_front() {
                state.taken = Some((batch.events.len(), batch.bytes));
                return Some(batch.events);
            }
            if state.closed {
                return None;
            }
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more; what waits can still be taken.
    pub fn close(&self) {
        self.state().closed = true;
        self.more.notify_all();
    }

    /// Events that nobody has dealt with yet.
    pub fn waiting(&self) -> usize {
        self.state().events
    }
}
