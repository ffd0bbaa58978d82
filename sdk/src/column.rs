//! Columns: reading one row by row, whatever form it came in, and making new ones.

use crate::types::{Blobs, Coded, Column, Scope, Values};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

/// Reading a column row by row, whatever form it came in.
impl Column {
    /// How many rows.
    pub fn rows(&self) -> usize {
        match &self.values {
            Values::U32s(v) => v.len(),
            Values::U64s(v) => v.len(),
            Values::S64s(v) => v.len(),
            Values::F64s(v) => v.len(),
            Values::Addresses(v) => v.len() / 16,
            Values::Codes(v) => v.codes.len(),
            Values::Blobs(v) => v.ends.len(),
        }
    }

    /// Whether `row` has a value.
    pub fn has(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|bits| bits.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1))
    }

    /// A whole number that is not negative.
    pub fn u64(&self, row: usize) -> Option<u64> {
        self.has(row).then_some(())?;
        match &self.values {
            Values::U32s(v) => v.get(row).copied().map(u64::from),
            Values::U64s(v) => v.get(row).copied(),
            Values::S64s(v) => v.get(row).copied().and_then(|value| value.try_into().ok()),
            _ => None,
        }
    }

    /// A whole number.
    pub fn s64(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::S64s(v) => v.get(row).copied().filter(|_| self.has(row)),
            _ => self.u64(row)?.try_into().ok(),
        }
    }

    /// Any number.
    pub fn f64(&self, row: usize) -> Option<f64> {
        match &self.values {
            Values::F64s(v) => v.get(row).copied().filter(|_| self.has(row)),
            Values::S64s(_) => self.s64(row).map(|value| value as f64),
            _ => self.u64(row).map(|value| value as f64),
        }
    }

    /// A truth value, such as that of `sk IS NULL`.
    pub fn bool(&self, row: usize) -> Option<bool> {
        self.u64(row).map(|value| value != 0)
    }

    /// Who: a handle to hand back, as it is.
    pub fn scope(&self, row: usize) -> Option<Scope> {
        self.u64(row)?.try_into().ok()
    }

    /// An address: IPv4 where it is a mapped one.
    pub fn address(&self, row: usize) -> Option<IpAddr> {
        match &self.values {
            Values::Addresses(bytes) if self.has(row) => {
                let bytes: &[u8; 16] = bytes.as_chunks().0.get(row)?;
                Some(IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical())
            }
            _ => None,
        }
    }

    /// A text of the dictionary.
    pub fn text(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Codes(coded) if self.has(row) => {
                coded.names.get(*coded.codes.get(row)? as usize).map(String::as_str)
            }
            _ => None,
        }
    }
}

/// Making columns.
impl Column {
    /// A column in which every row has a value.
    pub fn full(values: Values) -> Self {
        Self { values, present: None }
    }

    /// One text for all rows.
    pub fn text_in_each(text: String, rows: usize) -> Self {
        Self::full(Values::Codes(Coded { codes: vec![0; rows], names: vec![text] }))
    }

    /// A text, or none, for each row.
    pub fn texts<'t>(texts: impl IntoIterator<Item = Option<&'t str>>) -> Self {
        let mut dictionary = Dictionary::default();
        let mut missing = Vec::new();
        for (row, text) in texts.into_iter().enumerate() {
            match text {
                Some(text) => dictionary.push(text),
                None => {
                    dictionary.codes.push(0);
                    missing.push(row);
                }
            }
        }
        let rows = dictionary.codes.len();
        Self { values: dictionary.into_values(), present: bits(rows, |row| missing.binary_search(&row).is_err()) }
    }

    /// A number, or none, for each row.
    pub fn numbers(numbers: impl IntoIterator<Item = Option<f64>>) -> Self {
        let numbers: Vec<Option<f64>> = numbers.into_iter().collect();
        let present = bits(numbers.len(), |row| numbers[row].is_some());
        Self { values: Values::F64s(numbers.into_iter().map(Option::unwrap_or_default).collect()), present }
    }

    /// Whose each row is; None is nobody that is known.
    pub fn scopes(scopes: impl IntoIterator<Item = Option<Scope>>) -> Self {
        let scopes: Vec<Option<Scope>> = scopes.into_iter().collect();
        let present = bits(scopes.len(), |row| scopes[row].is_some());
        Self { values: Values::U32s(scopes.into_iter().map(Option::unwrap_or_default).collect()), present }
    }

    /// Scopes of this column, and in rows where it has none those of the other: `owner`, which only sockets have, else `netns`.
    pub fn scopes_or(&self, other: &Self) -> Self {
        Self::scopes((0..self.rows()).map(|row| self.scope(row).or_else(|| other.scope(row))))
    }

    /// The column's values at `rows`, in that order; a row may be taken more than once. A row without a value, or past the end, gives one
    /// without a value. Of the dictionary only the names in use are kept.
    pub fn pick(&self, rows: &[u32]) -> Self {
        let end = self.rows();
        let has = |row: u32| (row as usize) < end && self.has(row as usize);
        let values = match &self.values {
            Values::U32s(v) => Values::U32s(gather(v, rows)),
            Values::U64s(v) => Values::U64s(gather(v, rows)),
            Values::S64s(v) => Values::S64s(gather(v, rows)),
            Values::F64s(v) => Values::F64s(gather(v, rows)),
            Values::Addresses(v) => Values::Addresses(gather::<[u8; 16]>(v.as_chunks().0, rows).into_flattened()),
            Values::Codes(v) => Values::Codes(gather_coded(v, rows, has)),
            Values::Blobs(v) => Values::Blobs(gather_blobs(v, rows, has)),
        };
        Self { values, present: bits(rows.len(), |row| has(rows[row])) }
    }
}

/// A bit for each row; none where all are set.
pub(crate) fn bits(rows: usize, set: impl Fn(usize) -> bool) -> Option<Vec<u64>> {
    let mut words = vec![0; rows.div_ceil(64)];
    let mut count = 0;
    for row in (0..rows).filter(|&row| set(row)) {
        words[row / 64] |= 1 << (row % 64);
        count += 1;
    }
    (count < rows).then_some(words)
}

fn gather<T: Copy + Default>(values: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|&row| values.get(row as usize).copied().unwrap_or_default()).collect()
}

/// Gathers without comparing texts: each old code is renumbered when it is first met.
fn gather_coded(coded: &Coded, rows: &[u32], has: impl Fn(u32) -> bool) -> Coded {
    let mut renumbered = vec![None; coded.names.len()];
    let mut names = Vec::new();
    let code = |&row: &u32| {
        // The code of a row without a value means nothing.
        let Some(old) = has(row).then(|| coded.codes[row as usize] as usize).filter(|&old| old < renumbered.len())
        else {
            return 0;
        };
        *renumbered[old].get_or_insert_with(|| {
            names.push(coded.names[old].clone());
            names.len() as u32 - 1
        })
    };
    Coded { codes: rows.iter().map(code).collect(), names }
}

fn gather_blobs(blobs: &Blobs, rows: &[u32], has: impl Fn(u32) -> bool) -> Blobs {
    let mut bytes = Vec::new();
    let end = |&row: &u32| {
        if has(row) {
            let row = row as usize;
            let start = if row == 0 { 0 } else { blobs.ends[row - 1] };
            bytes.extend_from_slice(blobs.bytes.get(start as usize..blobs.ends[row] as usize).unwrap_or_default());
        }
        bytes.len() as u32
    };
    Blobs { ends: rows.iter().map(end).collect(), bytes }
}

/// Texts, row by row, as codes.
#[derive(Default)]
pub(crate) struct Dictionary {
    codes: Vec<u32>,
    names: Vec<String>,
    known: HashMap<String, u32>,
}

impl Dictionary {
    pub(crate) fn push(&mut self, text: &str) {
        let code = match self.known.get(text) {
            Some(&code) => code,
            None => {
                let code = self.names.len() as u32;
                self.names.push(text.into());
                self.known.insert(text.into(), code);
                code
            }
        };
        self.codes.push(code);
    }

    pub(crate) fn into_values(self) -> Values {
        Values::Codes(Coded { codes: self.codes, names: self.names })
    }
}

#[cfg(test)]
mod tests;
