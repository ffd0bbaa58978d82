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

impl Kept {
    /// All events of a batch.
    pub fn all(batch: &Arc<[Event]>) -> impl Iterator<Item = Self> {
        (0..batch.len()).map(|index| Self { batch: batch.clone(), index })
    }
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
    /// That of the last of them.
    pub position: u64,
}

/// The last events of this run, in the order in which they were handed to the sinks.
///
/// Each has a position, which grows by 1 from 1 on. Sequences of ids grow, too, but with gaps, and one that stands for several goes on later
/// than its id says.
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
        for kept in Kept::all(batch) {
            self.bytes += kept.bytes();
            self.last += 1;
            self.kept.push_back(kept);
        }
        while self.kept.len() > self.max_events || self.bytes > self.max_bytes {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// The position of the last event that was taken; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The position of the oldest one that is still there.
    fn oldest(&self) -> u64 {
        self.last + 1 - self.kept.len() as u64
    }

    /// At most `limit` of the events after `position`, the oldest first.
    pub fn since(&self, position: u64, limit: usize) -> Since {
        let (oldest, wanted) = (self.oldest(), position.saturating_add(1));
        let skip = usize::try_from(wanted.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let events: Vec<Kept> = self.kept.range(skip.min(self.kept.len())..).take(limit).cloned().collect();
        let before = position.max(oldest - 1);
        Since { position: before + events.len() as u64, events, missed: oldest.saturating_sub(wanted) }
    }

    /// The position of the event whose id has this sequence, or of the last one before it; and how many events between that one and the
    /// oldest that is still there may be missing.
    pub fn position_of(&self, seq: u64) -> (u64, u64) {
        let at = self.kept.iter().rposition(|kept| kept.id.seq == seq);
        if let Some(at) = at.or_else(|| self.kept.iter().rposition(|kept| kept.id.seq <= seq)) {
            return (self.oldest() + at as u64, 0);
        }
        let next = self.kept.front().map_or(seq + 1, |kept| kept.id.seq);
        (self.oldest() - 1, next.saturating_sub(seq.saturating_add(1)))
    }

    /// The position after which the newest `limit` events begin that are wanted, not before `position`.
    pub fn before_newest(&self, limit: usize, position: u64, wanted: impl Fn(&Event) -> bool) -> u64 {
        let newest = (self.oldest()..=self.last).rev().zip(self.kept.iter().rev());
        let newest = newest.take_while(|(at, _)| *at > position);
        match limit.checked_sub(1) {
            None => self.last.max(position),
            Some(others) => newest.filter(|(_, kept)| wanted(kept)).nth(others).map_or(position, |(at, _)| at - 1),
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
    fn an_event_is_found_by_its_id_where_ids_have_gaps_and_one_comes_late() {
        let mut recent = Recent::new(4, usize::MAX);
        for seq in [2, 5, 9, 4, 12] {
            recent.push(&batch(seq..seq + 1));
        }
        for (seq, want) in [(1, (1, 3)), (2, (1, 2)), (4, (4, 0)), (5, (2, 0)), (9, (3, 0)), (10, (4, 0)), (12, (5, 0))]
        {
            assert_eq!(recent.position_of(seq), want, "{seq}");
        }
        assert_eq!(Recent::new(4, usize::MAX).position_of(7), (0, 0));
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
