//! GROUP BY and the aggregates, column by column and in linear time.

use super::{
    expr::{Aggregate, Grouping, SourceId},
    source::{number, tidy},
};
use crate::batch::{Column, Values};
use hashbrown::HashTable;
use std::{borrow::Cow, collections::HashMap, hash::BuildHasher};

/// Groups, in the order in which their first rows were seen.
pub(super) struct Groups {
    /// The first row of each group, except for the one group of a query without GROUP BY, which may have none.
    pub first: Vec<u32>,
    /// One value for each group and aggregate.
    pub aggregates: Vec<Column>,
    /// Sums that did not fit into 64 bits.
    pub overflows: u64,
}

pub(super) fn group(grouping: &Grouping, sources: &[Cow<Column>], rows: &[u32]) -> Groups {
    let (first, group_of) = groups_of(grouping, sources, rows);
    let mut groups = Groups { first, aggregates: Vec::new(), overflows: 0 };
    let members = Members { rows, group_of: &group_of, groups: groups.first.len() };
    for aggregate in &grouping.aggregates {
        let column = match *aggregate {
            Aggregate::Rows => members.count(|_| true),
            Aggregate::Count(source) => members.count(|row| sources[source].has(row)),
            Aggregate::Min(source) => members.fold(&sources[source], i128::min, &mut groups.overflows),
            Aggregate::Max(source) => members.fold(&sources[source], i128::max, &mut groups.overflows),
            // 2^32 values of 64 bits cannot overflow 128: only the sum as a whole may be too large, whatever the order of rows.
            Aggregate::Sum(source) => members.fold(&sources[source], |a, b| a + b, &mut groups.overflows),
        };
        groups.aggregates.push(column);
    }
    groups
}

/// The same of rows that are groups themselves: `partial` has for each aggregate its value in each row.
pub(super) fn regroup(grouping: &Grouping, sources: &[Cow<Column>], rows: &[u32], partial: &[Column]) -> Groups {
    let (first, group_of) = groups_of(grouping, sources, rows);
    let mut groups = Groups { first, aggregates: Vec::new(), overflows: 0 };
    let members = Members { rows, group_of: &group_of, groups: groups.first.len() };
    for (aggregate, values) in grouping.aggregates.iter().zip(partial) {
        let overflows = &mut groups.overflows;
        let column = match aggregate {
            // Of no rows there are none, not NULL.
            Aggregate::Rows | Aggregate::Count(_) => {
                let sum = members.fold(values, |a, b| a + b, overflows);
                if rows.is_empty() { Column::full(sum.values) } else { sum }
            }
            Aggregate::Sum(_) => members.fold(values, |a, b| a + b, overflows),
            Aggregate::Min(_) => members.fold(values, i128::min, overflows),
            Aggregate::Max(_) => members.fold(values, i128::max, overflows),
        };
        groups.aggregates.push(column);
    }
    groups
}

fn groups_of(grouping: &Grouping, sources: &[Cow<Column>], rows: &[u32]) -> (Vec<u32>, Vec<u32>) {
    if grouping.keys.is_empty() {
        return (vec![rows.first().copied().unwrap_or(0)], vec![0; rows.len()]);
    }
    assign(&grouping.keys, sources, rows)
}

/// The first row of each group, and the group of each row.
fn assign(keys: &[SourceId], sources: &[Cow<Column>], rows: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let hasher = foldhash::fast::RandomState::default();
    let lanes: Vec<Vec<Option<u64>>> = keys.iter().map(|&key| lane(&sources[key], rows)).collect();
    let mut hashes = vec![0u64; rows.len()];
    for lane in &lanes {
        hashes.iter_mut().zip(lane).for_each(|(hash, value)| *hash = hasher.hash_one((*hash, value)));
    }
    let mut table: HashTable<u32> = HashTable::new();
    // For each group the index of its first row in `rows`.
    let mut first: Vec<u32> = Vec::new();
    let mut group_of = Vec::with_capacity(rows.len());
    for (index, &hash) in hashes.iter().enumerate() {
        let same = |&group: &u32| {
            let other = first[group as usize] as usize;
            lanes.iter().all(|lane| lane[other] == lane[index])
        };
        let group = match table.find(hash, same) {
            Some(&group) => group,
            None => {
                let group = first.len() as u32;
                first.push(index as u32);
                table.insert_unique(hash, group, |&group| hashes[first[group as usize] as usize]);
                group
            }
        };
        group_of.push(group);
    }
    (first.into_iter().map(|index| rows[index as usize]).collect(), group_of)
}

/// The rows' values of one key as numbers that are equal where the values are; None is NULL.
fn lane(column: &Column, rows: &[u32]) -> Vec<Option<u64>> {
    let rows = rows.iter().map(|&row| row as usize);
    match &column.values {
        Values::Code { codes, names } => {
            let first = first_of_each(names);
            let code = |row: usize| first.get(codes[row] as usize).map(|&code| code.into());
            rows.map(|row| if column.has(row) { code(row) } else { None }).collect()
        }
        // 16 bytes and more do not fit into a lane: each different value gets a number.
        Values::Address(_) | Values::Blob { .. } => numbered(column, rows),
        // Within one column all values have the same sign and width: their bits tell them apart.
        _ => rows.map(|row| number(column, row).map(|value| value as u64)).collect(),
    }
}

fn numbered(column: &Column, rows: impl Iterator<Item = usize>) -> Vec<Option<u64>> {
    let mut known: HashMap<&[u8], u64, foldhash::fast::RandomState> = HashMap::default();
    rows.map(|row| {
        let next = known.len() as u64;
        octets(column, row).map(|value| *known.entry(value).or_insert(next))
    })
    .collect()
}

/// The bytes of an address or of a blob; None is NULL.
fn octets(column: &Column, row: usize) -> Option<&[u8]> {
    column.has(row).then_some(())?;
    match &column.values {
        Values::Address(bytes) => bytes.get(row * 16..row * 16 + 16),
        Values::Blob { ends, bytes } => {
            let start = if row == 0 { 0 } else { ends[row - 1] };
            bytes.get(start as usize..ends[row] as usize)
        }
        _ => None,
    }
}

/// For each code the first one with the same text: a dictionary may hold a text twice.
fn first_of_each(names: &[String]) -> Vec<u32> {
    let mut first: HashMap<&str, u32, foldhash::fast::RandomState> = HashMap::default();
    names.iter().zip(0..).map(|(name, code)| *first.entry(name).or_insert(code)).collect()
}

struct Members<'a> {
    rows: &'a [u32],
    group_of: &'a [u32],
    groups: usize,
}

impl Members<'_> {
    fn each(&self) -> impl Iterator<Item = (usize, usize)> {
        self.rows.iter().zip(self.group_of).map(|(&row, &group)| (row as usize, group as usize))
    }

    fn count(&self, counts: impl Fn(usize) -> bool) -> Column {
        let mut values = vec![0u64; self.groups];
        self.each().for_each(|(row, group)| values[group] += u64::from(counts(row)));
        Column::full(Values::U64(values))
    }

    /// Folds the values that are not NULL, in the column's own sign; NULL where there is none, or where the result does not fit.
    fn fold(&self, column: &Column, join: impl Fn(i128, i128) -> i128, overflows: &mut u64) -> Column {
        let mut folded: Vec<Option<i128>> = vec![None; self.groups];
        for (row, group) in self.each() {
            if let Some(value) = number(column, row) {
                folded[group] = Some(folded[group].map_or(value, |so_far| join(so_far, value)));
            }
        }
        let signed = matches!(column.values, Values::S64(_));
        let fits = |value: i128| if signed { i64::try_from(value).is_ok() } else { u64::try_from(value).is_ok() };
        for value in &mut folded {
            if value.is_some_and(|value| !fits(value)) {
                *value = None;
                *overflows += 1;
            }
        }
        let values = folded.iter().map(|value| value.unwrap_or(0));
        let values = match signed {
            true => Values::S64(values.map(|value| value as i64).collect()),
            false => Values::U64(values.map(|value| value as u64).collect()),
        };
        tidy(values, |group| folded[group].is_some())
    }
}
