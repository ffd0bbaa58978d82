//! Rows of streams that wait for their probe.

use super::super::streams::Stream;
use std::collections::VecDeque;

/// Rows that wait at most; the newest are dropped, and counted.
const MAX_ROWS: usize = 65_536;

/// Batches of rows, oldest first.
#[derive(Default)]
pub struct Waiting {
    batches: VecDeque<Stream>,
    rows: usize,
}

impl Waiting {
    /// Takes rows in. Gives how many there was no room for.
    pub fn push(&mut self, rows: Stream) -> usize {
        let count = rows.batch.rows;
        if self.rows + count > MAX_ROWS {
            return count;
        }
        self.rows += count;
        self.batches.push_back(rows);
        0
    }

    /// Rows that wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The rows for the next call: of each query the oldest batch, with its index in the plan, which `index` gives. And how many rows there
    /// were of queries that are no more.
    pub fn next(&mut self, index: impl Fn(&Stream) -> Option<usize>) -> (Vec<(usize, Stream)>, usize) {
        let mut next: Vec<(usize, Stream)> = Vec::new();
        let (mut kept, mut lost) = (VecDeque::new(), 0);
        for rows in std::mem::take(&mut self.batches) {
            match index(&rows) {
                None => lost += rows.batch.rows,
                Some(index) if next.iter().any(|(other, _)| *other == index) => kept.push_back(rows),
                Some(index) => next.push((index, rows)),
            }
        }
        self.batches = kept;
        self.rows = self.batches.iter().map(|rows| rows.batch.rows).sum();
        (next, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_core::batch::{Batch, Column};

    fn rows(hook: u32, rows: usize) -> Stream {
        let batch = Batch { rows, columns: Vec::new() };
        Stream { hook, probe: "p".into(), batch, times: vec![0; rows], scopes: Column::null(rows), stacks: Vec::new() }
    }

    #[test]
    fn a_call_has_one_batch_of_each_query_and_the_oldest_first() {
        let mut waiting = Waiting::default();
        for (hook, count) in [(7, 1), (8, 2), (7, 3), (9, 4)] {
            assert_eq!(waiting.push(rows(hook, count)), 0);
        }
        let index = |rows: &Stream| (rows.hook != 9).then_some(rows.hook as usize);
        let told = |next: Vec<(usize, Stream)>| next.iter().map(|(i, rows)| (*i, rows.batch.rows)).collect::<Vec<_>>();
        let (next, lost) = waiting.next(index);
        assert_eq!((told(next), lost), (vec![(7, 1), (8, 2)], 4), "9 is no more");
        let (next, lost) = waiting.next(index);
        assert_eq!((told(next), lost), (vec![(7, 3)], 0));
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_is_too_much_is_told() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.push(rows(1, MAX_ROWS)), 0);
        assert_eq!(waiting.push(rows(1, 5)), 5);
        waiting.next(|_| Some(0));
        assert_eq!(waiting.push(rows(1, 5)), 0, "there is room again");
    }
}
