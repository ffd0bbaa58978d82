//! ORDER BY and LIMIT, for people.

use super::{expr::OrderKey, source::number};
use crate::batch::{Column, Values};
use std::cmp::Ordering;

/// The order in which `count` results are to be shown. `column` gives for a key its column, and `row` the row in it of a result.
pub(super) fn order<'a>(
    keys: &[OrderKey],
    count: usize,
    column: impl Fn(&OrderKey) -> (&'a Column, Option<&'a [u32]>),
) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    if keys.is_empty() {
        return order;
    }
    let ranks: Vec<(&OrderKey, Vec<Option<i128>>)> = keys
        .iter()
        .map(|key| {
            let (column, rows) = column(key);
            (key, ranks(column, rows, count))
        })
        .collect();
    // Stable: results that are equal stay as they came.
    order.sort_by(|&a, &b| {
        let each = ranks.iter().map(|(key, ranks)| compare(key, ranks[a as usize], ranks[b as usize]));
        each.fold(Ordering::Equal, Ordering::then)
    });
    order
}

fn compare(key: &OrderKey, a: Option<i128>, b: Option<i128>) -> Ordering {
    let null_is_first = |first: bool| if first { Ordering::Less } else { Ordering::Greater };
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => null_is_first(key.nulls_first),
        (Some(_), None) => null_is_first(!key.nulls_first),
        (Some(a), Some(b)) if key.descending => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
    }
}

/// Numbers that stand in the order of the column's values: texts are ordered by their bytes, once for a dictionary.
fn ranks(column: &Column, rows: Option<&[u32]>, count: usize) -> Vec<Option<i128>> {
    let row_of = |result: usize| rows.map_or(result, |rows| rows[result] as usize);
    match &column.values {
        Values::Code { codes, names } => {
            let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
            sorted.sort_unstable();
            let rank_of: Vec<i128> =
                names.iter().map(|name| sorted.partition_point(|other| *other < name.as_str()) as i128).collect();
            let rank = |row: usize| column.has(row).then(|| rank_of.get(codes[row] as usize).copied()).flatten();
            (0..count).map(|result| rank(row_of(result))).collect()
        }
        _ => (0..count).map(|result| number(column, row_of(result))).collect(),
    }
}
