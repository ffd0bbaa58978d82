//! What the groups of an aggregating query have come to since a probe last took them in: added up over CPUs, and over collections that the
//! probe did not answer.

use super::{
    compile::{Compiled, OVERFLOWED, Partial},
    program::Writes,
    record::{Decoder, Scoping, word},
};
use crate::{
    batch::{Batch, Bitmap, Column, Values},
    query::Query,
};
use std::collections::HashMap;

/// Groups that are kept for one query. The kernel's maps have fewer; more come together only while a probe does not take them in.
pub const MAX_GROUPS: usize = 65_536;

/// The groups of one query.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    groups: HashMap<Box<[u8]>, Box<[u64]>, foldhash::fast::RandomState>,
    dropped: u64,
}

impl Totals {
    /// Adds what the kernel has for one group: its value on each CPU, one after the other, each of the program's `value_bytes`.
    pub fn add(&mut self, compiled: &Compiled, key: &[u8], values: &[u8]) {
        let Writes::Groups { value_bytes, .. } = compiled.program.writes else { return };
        let words = value_bytes / 8;
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(key) {
            self.dropped += 1;
            return;
        }
        // A key that is known needs no memory.
        let total = match self.groups.get_mut(key) {
            Some(total) => total,
            None => self.groups.entry(key.into()).or_insert_with(|| vec![0; words].into()),
        };
        for value in values.chunks_exact(value_bytes) {
            let value = |at: usize| word(value, 8 * at);
            compiled.partials.iter().for_each(|partial| partial.join(total, value));
        }
    }

    /// The probe has taken in what [`rows`](Self::rows) gave.
    pub fn clear(&mut self) {
        self.groups.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Groups that there was no room for, since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// The groups as rows of the query's table, and the value of each aggregate in each: what [`Query::run_groups`] takes.
    pub fn rows(&self, query: &Query, compiled: &Compiled, scopes: &mut dyn Scoping) -> (Batch, Vec<Column>) {
        let mut keys = Decoder::new(&compiled.cells, &query.columns, 0);
        self.groups.keys().for_each(|key| keys.push(key, scopes));
        let values: Vec<&[u64]> = self.groups.values().map(AsRef::as_ref).collect();
        let partials = compiled.partials.iter().map(|partial| partial.column(&values)).collect();
        (keys.finish(), partials)
    }
}

impl Partial {
    /// Adds the value of one CPU to a total.
    fn join(self, total: &mut [u64], value: impl Fn(usize) -> u64) {
        match self {
            Partial::Nothing { .. } => {}
            Partial::Count(at) => total[at] += value(at),
            Partial::Sum { word, signed } => {
                let (sum, fits) = add(total[word + 1], value(word + 1), signed);
                let mark = (total[word] | value(word)) & OVERFLOWED | if fits { 0 } else { OVERFLOWED };
                total[word] = ((total[word] & !OVERFLOWED) + (value(word) & !OVERFLOWED)) | mark;
                total[word + 1] = sum;
            }
            Partial::Min { word, signed } => keep(total, word, value, |a, b| less(a, b, signed)),
            Partial::Max { word, signed } => keep(total, word, value, |a, b| less(b, a, signed)),
        }
    }

    fn column(self, totals: &[&[u64]]) -> Column {
        let (word, signed) = match self {
            Partial::Nothing { counted: true } => return Column::full(Values::U64(vec![0; totals.len()])),
            Partial::Nothing { counted: false } => return Column::null(totals.len()),
            Partial::Count(at) => return Column::full(Values::U64(totals.iter().map(|total| total[at]).collect())),
            Partial::Sum { word, signed } | Partial::Min { word, signed } | Partial::Max { word, signed } => {
                (word, signed)
            }
        };
        let mut present = Bitmap::zeros(totals.len());
        for (row, total) in totals.iter().enumerate() {
            // A sum with the mark is none.
            present.set(row, (1..OVERFLOWED).contains(&total[word]));
        }
        let values = totals.iter().map(|total| total[word + 1]);
        let values = match signed {
            true => Values::S64(values.map(|value| value as i64).collect()),
            false => Values::U64(values.collect()),
        };
        Column { values, present: Some(present) }
    }
}

/// The sum, and whether it fits.
fn add(a: u64, b: u64, signed: bool) -> (u64, bool) {
    let overflows = if signed { (a as i64).overflowing_add(b as i64).1 } else { a.overflowing_add(b).1 };
    (a.wrapping_add(b), !overflows)
}

/// Takes another value, if it is the better one, or the first.
fn keep(total: &mut [u64], word: usize, value: impl Fn(usize) -> u64, better: impl Fn(u64, u64) -> bool) {
    if value(word) == 0 {
        return;
    }
    if total[word] == 0 || better(value(word + 1), total[word + 1]) {
        total[word + 1] = value(word + 1);
    }
    total[word] += value(word);
}

fn less(a: u64, b: u64, signed: bool) -> bool {
    if signed { (a as i64) < b as i64 } else { a < b }
}
