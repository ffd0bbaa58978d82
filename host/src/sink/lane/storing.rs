//! From memory to the spill.

use super::{Hand, Lane};
use crate::sink::{
    account::Place,
    queue::Part,
    spill::{Found, Lines, Spill, SpillError},
};
use netsonde_core::event::Event;
use std::{sync::Arc, time::Instant};

impl Lane {
    /// What is in hand goes to the spill as well, unless it is there.
    pub(super) fn store_hand(&self) {
        let mut held = self.spill();
        let Some(spill) = held.as_mut() else { return };
        let state = self.state();
        let Some(part) = state.hand.as_ref().filter(|hand| hand.ends.is_none()).map(|hand| hand.part.clone()) else {
            return;
        };
        if state.ended {
            return;
        }
        drop(state);
        self.store_in_front(spill, &part);
    }

    /// Puts what is in hand into the spill as well.
    fn store_in_front(&self, spill: &mut Spill, part: &Part) {
        let mut lines = Lines::default();
        lines.write(part.rest());
        let stored = spill.put_in_front(&lines);
        let mut state = self.state();
        state.spill.bytes = spill.bytes();
        match stored {
            Ok(Some(ends)) => {
                let rest: Arc<[Event]> = part.rest().into();
                state.flows.moved(&rest, Place::Hand, Place::Spill);
                let counted = state.hand.as_ref().map_or(0, |hand| hand.counted);
                state.queue.let_go(counted, part.bytes);
                let part = Part { events: rest, from: 0, bytes: 0 };
                state.hand = Some(Hand { part, counted: 0, ends: Some(ends) });
            }
            Ok(None) => state.spill.is_full = true,
            Err(error) => {
                drop(state);
                self.disk_failed(&error);
            }
        }
    }

    /// Moves the oldest events of memory behind those of the spill.
    pub fn store(&self, lines: &mut Lines) {
        if let Some(spill) = self.spill().as_mut() {
            self.store_next(spill, lines);
        }
        self.deliver.notify_one();
    }

    /// False if nothing more can be stored.
    fn store_next(&self, spill: &mut Spill, lines: &mut Lines) -> bool {
        let mut state = self.state();
        let Some(part) = state.queue.pop() else { return false };
        state.flows.moved(part.rest(), Place::Queue, Place::Moving);
        drop(state);
        lines.write(part.rest());
        let stored = spill.append(lines);
        let count = *stored.as_ref().unwrap_or(&0);
        let (gone, left) = part.rest().split_at(count);
        let mut state = self.state();
        state.flows.moved(gone, Place::Moving, Place::Spill);
        state.flows.moved(left, Place::Moving, Place::Queue);
        state.spill.bytes = spill.bytes();
        if spill.is_dirty() && state.spill.dirty_since.is_none() {
            state.spill.dirty_since = Some(Instant::now());
        }
        state.spill.is_full = stored.is_ok() && !left.is_empty();
        if left.is_empty() {
            state.queue.let_go(count, part.bytes);
            return true;
        }
        state.queue.let_go(count, 0);
        state.queue.put_back(Part { from: part.from + count, ..part });
        if let Err(error) = stored {
            state.spill.pause_until = Some(Instant::now() + super::DISK_PAUSE);
            drop(state);
            self.disk_failed(&error);
        }
        false
    }

    /// The end: all that is not delivered goes to the spill.
    pub fn store_all(&self, lines: &mut Lines) {
        let mut held = self.spill();
        let mut state = self.state();
        state.ended = true;
        self.deliver.notify_one();
        let part = state.hand.as_ref().filter(|hand| hand.ends.is_none()).map(|hand| hand.part.clone());
        drop(state);
        let Some(spill) = held.as_mut() else { return };
        if let Some(part) = part {
            self.store_in_front(spill, &part);
        }
        while self.store_next(spill, lines) {}
    }

    /// Gives the spill to this lane, or tells why there is none.
    pub fn opened(&self, opened: Result<(Spill, Found), SpillError>) {
        let mut held = self.spill();
        let mut state = self.state();
        state.spill.is_looked_at = true;
        self.deliver.notify_one();
        match opened {
            Ok((spill, found)) => {
                found.events.iter().for_each(|(probe, count)| state.flows.resumed(probe, *count));
                state.spill.is_open = true;
                state.spill.bytes = spill.bytes();
                *held = Some(spill);
                let count: u64 = found.events.values().sum();
                if count > 0 {
                    tracing::info!(sink = &*self.name, "{count} events of an earlier run are delivered first.");
                }
                if found.torn > 0 {
                    tracing::warn!(
                        sink = &*self.name,
                        "The last event in the spill was not written whole; its {} bytes are cut off.",
                        found.torn
                    );
                }
            }
            Err(error) => {
                drop(state);
                self.disk_failed(&error);
            }
        }
    }

    /// Says so once for each cause.
    pub fn disk_failed(&self, error: &SpillError) {
        let why = error.to_string();
        if self.state().spill.told.is_new(&why) {
            tracing::warn!(sink = &*self.name, "Events wait in memory only: {why}.");
        }
    }
}
