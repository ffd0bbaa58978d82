//! The events of the last while: what `/events` shows, and what those who follow read from.

use super::Event;
use std::{collections::VecDeque, ops::Deref, sync::Arc};

/// How many events are kept, and their memory in bytes.
pub const MAX_EVENTS: usize = 4096;
pub const MAX_BYTES: usize = 8 << 20;

/// One event of a batch, which lives as long as any of its events is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    batch: Arc<[Event]>,
    index: usize,
}

impl Deref for Kept {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.batch[self.index]
    }
}

/// What [`Recent::since`] gives.
#[derive(Clone, Debug, Default)]
pub struct Since {
    /// In their order.
    pub events: Vec<Kept>,
    /// Events before the first of them that are no longer there.
    pub missed: u64,
}

/// The last events of this run, without a gap in their sequence.
#[derive(Debug)]
pub struct Recent {
    kept: VecDeque<Kept>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
    last: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self::new(MAX_EVENTS, MAX_BYTES)
    }
}

impl Recent {
    pub fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { kept: VecDeque::new(), bytes: 0, max_events, max_bytes, last: 0 }
    }

    /// Takes events that follow those before; the oldest go when there are too many.
    pub fn push(&mut self, batch: &Arc<[Event]>) {
        for index in 0..batch.len() {
            let kept = Kept { batch: batch.clone(), index };
            self.bytes += kept.bytes();
            self.last = kept.id.seq;
            self.kept.push_back(kept);
        }
        while self.kept.len() > self.max_events || self.bytes > self.max_bytes {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// The sequence of the last event that was taken; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// At most `limit` of the events after the sequence `seq`, the oldest first.
    pub fn since(&self, seq: u64, limit: usize) -> Since {
        let oldest = self.kept.front().map_or(self.last + 1, |kept| kept.id.seq);
        let wanted = seq.saturating_add(1);
        let skip = usize::try_from(wanted.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let events = self.kept.range(skip.min(self.kept.len())..).take(limit).cloned();
        Since { events: events.collect(), missed: oldest.saturating_sub(wanted) }
    }

    /// The sequence after which the newest `limit` events begin that are wanted, not before `seq`.
    pub fn before_newest(&self, limit: usize, seq: u64, wanted: impl Fn(&Event) -> bool) -> u64 {
        let newest = self.kept.iter().rev().take_while(|kept| kept.id.seq > seq);
        match limit.checked_sub(1) {
            None => self.last.max(seq),
            Some(others) => newest.filter(|kept| wanted(kept)).nth(others).map_or(seq, |kept| kept.id.seq - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;

    fn batch(range: std::ops::Range<u64>) -> Arc<[Event]> {
        range.map(event).collect()
    }

    fn since(recent: &Recent, seq: u64, limit: usize) -> (Vec<u64>, u64) {
        let since = recent.since(seq, limit);
        (since.events.iter().map(|kept| kept.id.seq).collect(), since.missed)
    }

    #[test]
    fn the_oldest_go_and_whoever_is_behind_is_told() {
        let mut recent = Recent::new(4, usize::MAX);
        assert_eq!(since(&recent, 0, 9), (vec![], 0));
        recent.push(&batch(1..4));
        assert_eq!(since(&recent, 0, 9), (vec![1, 2, 3], 0));
        recent.push(&batch(4..7));
        for (seq, limit, want) in [
            (0, 9, (vec![3, 4, 5, 6], 2)),
            (1, 2, (vec![3, 4], 1)),
            (2, 9, (vec![3, 4, 5, 6], 0)),
            (5, 9, (vec![6], 0)),
            (6, 9, (vec![], 0)),
            (u64::MAX, 9, (vec![], 0)),
        ] {
            assert_eq!(since(&recent, seq, limit), want, "{seq} {limit}");
        }
        recent.push(&batch(7..100));
        assert_eq!(since(&recent, 6, 9), (vec![96, 97, 98, 99], 89), "a batch larger than all that is kept");
    }

    #[test]
    fn memory_is_bounded_and_an_event_beyond_it_is_missed() {
        let size = event(1).bytes();
        let mut recent = Recent::new(100, 3 * size);
        recent.push(&batch(1..6));
        assert_eq!(since(&recent, 0, 9), (vec![3, 4, 5], 2));
        let mut tiny = Recent::new(100, size - 1);
        tiny.push(&batch(1..3));
        assert_eq!((since(&tiny, 0, 9), tiny.bytes, tiny.last()), ((vec![], 2), 0, 2));
    }

    #[test]
    fn the_newest_that_are_wanted_are_found() {
        let mut recent = Recent::new(10, usize::MAX);
        recent.push(&batch(1..21));
        let even = |event: &Event| event.id.seq.is_multiple_of(2);
        for (limit, seq, want) in [(2, 0, 17), (0, 0, 20), (0, 50, 50), (100, 0, 0), (100, 13, 13), (1, 20, 20)] {
            assert_eq!(recent.before_newest(limit, seq, even), want, "{limit} after {seq}");
        }
    }
}
