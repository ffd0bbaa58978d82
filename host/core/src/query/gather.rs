//! Result columns from chosen rows.

use super::source::tidy;
use crate::batch::{Column, Values};

/// The whole column: a copy of its memory, no work by row.
pub(super) fn all(column: &Column) -> Column {
    match &column.present {
        None => Column::full(column.values.clone()),
        Some(bits) => tidy(column.values.clone(), |row| bits.get(row)),
    }
}

/// The column's values at `rows`.
pub(crate) fn some(column: &Column, rows: &[u32]) -> Column {
    let values = match &column.values {
        Values::U32(v) => Values::U32(pick(v, rows)),
        Values::U64(v) => Values::U64(pick(v, rows)),
        Values::S64(v) => Values::S64(pick(v, rows)),
        Values::F64(v) => Values::F64(pick(v, rows)),
        Values::Code { codes, names } => used(codes, names, rows, |row| column.has(row)),
        Values::Address(bytes) => {
            Values::Address(rows.iter().flat_map(|&row| &bytes[row as usize * 16..][..16]).copied().collect())
        }
        Values::Blob { ends, bytes } => blobs(ends, bytes, rows),
    };
    match &column.present {
        None => Column::full(values),
        Some(bits) => tidy(values, |index| bits.get(rows[index] as usize)),
    }
}

fn pick<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|&row| values[row as usize]).collect()
}

/// With a dictionary of what these rows have, in the order of first use: a probe must not see texts that its filter left out.
fn used(codes: &[u32], names: &[String], rows: &[u32], has: impl Fn(usize) -> bool) -> Values {
    const UNUSED: u32 = u32::MAX;
    let mut new_codes = vec![UNUSED; names.len()];
    let mut new_names = Vec::new();
    let code = |&row: &u32| {
        let row = row as usize;
        let Some(new) = new_codes.get_mut(codes[row] as usize).filter(|_| has(row)) else { return 0 };
        if *new == UNUSED {
            *new = new_names.len() as u32;
            new_names.push(names[codes[row] as usize].clone());
        }
        *new
    };
    let codes = rows.iter().map(code).collect();
    Values::Code { codes, names: new_names }
}

fn blobs(ends: &[u32], bytes: &[u8], rows: &[u32]) -> Values {
    let mut picked = Vec::new();
    let end = |&row: &u32| {
        let row = row as usize;
        let start = if row == 0 { 0 } else { ends[row - 1] };
        picked.extend_from_slice(&bytes[start as usize..ends[row] as usize]);
        picked.len() as u32
    };
    let ends = rows.iter().map(end).collect();
    Values::Blob { ends, bytes: picked }
}
