//! Rows, column by column: what tables are filled into, queries turn around, and probes get and give.

use hashbrown::HashTable;
use std::hash::BuildHasher;

/// The values of one column, in the form in which the machine holds them. The same cases as `values` in the probe interface.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    U32(Vec<u32>),
    U64(Vec<u64>),
    S64(Vec<i64>),
    F64(Vec<f64>),
    /// 16 bytes a row; IPv4 as `::ffff:a.b.c.d`.
    Address(Vec<u8>),
    /// Few different texts, many rows: `names[codes[row]]`.
    Code {
        codes: Vec<u32>,
        names: Vec<String>,
    },
    /// Row `i` is `bytes[ends[i - 1]..ends[i]]`.
    Blob {
        ends: Vec<u32>,
        bytes: Vec<u8>,
    },
}

impl Values {
    /// Rows, as far as the form tells: 16 bytes of an address are one.
    pub fn len(&self) -> usize {
        match self {
            Values::U32(v) => v.len(),
            Values::U64(v) => v.len(),
            Values::S64(v) => v.len(),
            Values::F64(v) => v.len(),
            Values::Address(v) => v.len() / 16,
            Values::Code { codes, .. } => codes.len(),
            Values::Blob { ends, .. } => ends.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One column. Where `present` has a clear bit the value is meaningless.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub values: Values,
    /// None: every row has a value.
    pub present: Option<Bitmap>,
}

impl Column {
    /// A column in which every row has a value.
    pub fn full(values: Values) -> Self {
        Self { values, present: None }
    }

    /// A column of `rows` rows that are all NULL.
    pub fn null(rows: usize) -> Self {
        Self { values: Values::U64(vec![0; rows]), present: Some(Bitmap::zeros(rows)) }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `row` has a value.
    pub fn has(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|bits| bits.get(row))
    }

    /// The values at `rows`, in that order.
    pub fn pick(&self, rows: &[u32]) -> Self {
        crate::query::gather::some(self, rows)
    }

    /// The text of `row`, if this is a column of codes and the row has one.
    pub fn text(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Code { codes, names } if self.has(row) => names.get(*codes.get(row)? as usize).map(String::as_str),
            _ => None,
        }
    }
}

/// Rows of one query (or of one table, as far as it was asked for). All columns have `rows` rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub rows: usize,
    pub columns: Vec<Column>,
}

/// Bit `i % 64` of word `i / 64` belongs to row `i`, as in the probe interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap(pub Vec<u64>);

impl Bitmap {
    pub fn zeros(bits: usize) -> Self {
        Self(vec![0; bits.div_ceil(64)])
    }

    /// Clear beyond the end, so that a short bitmap from outside cannot be read past.
    pub fn get(&self, bit: usize) -> bool {
        self.0.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Sets or clears `bit`, growing as needed.
    pub fn set(&mut self, bit: usize, value: bool) {
        let word = bit / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let mask = 1 << (bit % 64);
        if value { self.0[word] |= mask } else { self.0[word] &= !mask }
    }
}

/// Fills one column, a value at a time. A text is stored once, however many rows have it.
#[derive(Debug)]
pub struct ColumnBuilder {
    values: Values,
    present: Bitmap,
    nulls: usize,
    texts: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
}

impl ColumnBuilder {
    fn new(values: Values) -> Self {
        Self {
            values,
            present: Bitmap::default(),
            nulls: 0,
            texts: HashTable::new(),
            hasher: foldhash::fast::FixedState::default(),
        }
    }

    pub fn u32() -> Self {
        Self::new(Values::U32(Vec::new()))
    }

    pub fn u64() -> Self {
        Self::new(Values::U64(Vec::new()))
    }

    pub fn s64() -> Self {
        Self::new(Values::S64(Vec::new()))
    }

    pub fn text() -> Self {
        Self::new(Values::Code { codes: Vec::new(), names: Vec::new() })
    }

    pub fn address() -> Self {
        Self::new(Values::Address(Vec::new()))
    }

    pub fn blob() -> Self {
        Self::new(Values::Blob { ends: Vec::new(), bytes: Vec::new() })
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Appends a number. One that the column's form cannot hold is NULL.
    pub fn push_u64(&mut self, value: u64) {
        let row = self.len();
        let fits = match &mut self.values {
            Values::U32(v) => u32::try_from(value).map(|value| v.push(value)).is_ok(),
            Values::U64(v) => {
                v.push(value);
                true
            }
            Values::S64(v) => i64::try_from(value).map(|value| v.push(value)).is_ok(),
            _ => false,
        };
        if fits { self.present.set(row, true) } else { self.push_null() }
    }

    /// Appends a number that may be negative. One that the column's form cannot hold is NULL.
    pub fn push_s64(&mut self, value: i64) {
        match (&mut self.values, u64::try_from(value)) {
            (Values::S64(v), _) => {
                v.push(value);
                let row = self.len() - 1;
                self.present.set(row, true);
            }
            (_, Ok(value)) => self.push_u64(value),
            (_, Err(_)) => self.push_null(),
        }
    }

    /// Appends a text. Bytes that are no UTF-8 become U+FFFD. In a column of numbers it is NULL.
    pub fn push_text(&mut self, text: &[u8]) {
        let row = self.len();
        let Values::Code { codes, names } = &mut self.values else { return self.push_null() };
        let hash = self.hasher.hash_one(text);
        let code = match self.texts.find(hash, |&code| names[code as usize].as_bytes() == text) {
            Some(&code) => code,
            None => {
                let code = names.len() as u32;
                names.push(String::from_utf8_lossy(text).into_owned());
                let hasher = &self.hasher;
                self.texts.insert_unique(hash, code, |&code| hasher.hash_one(names[code as usize].as_bytes()));
                code
            }
        };
        codes.push(code);
        self.present.set(row, true);
    }

    /// Appends an address, IPv4 as `::ffff:a.b.c.d`. In a column of another form it is NULL.
    pub fn push_address(&mut self, address: &[u8; 16]) {
        let row = self.len();
        let Values::Address(bytes) = &mut self.values else { return self.push_null() };
        bytes.extend_from_slice(address);
        self.present.set(row, true);
    }

    /// Appends bytes. In a column of another form they are NULL.
    pub fn push_blob(&mut self, blob: &[u8]) {
        let row = self.len();
        let Values::Blob { ends, bytes } = &mut self.values else { return self.push_null() };
        bytes.extend_from_slice(blob);
        ends.push(bytes.len() as u32);
        self.present.set(row, true);
    }

    pub fn push_null(&mut self) {
        let row = self.len();
        match &mut self.values {
            Values::U32(v) => v.push(0),
            Values::U64(v) => v.push(0),
            Values::S64(v) => v.push(0),
            Values::F64(v) => v.push(0.0),
            Values::Address(v) => v.extend_from_slice(&[0; 16]),
            Values::Code { codes, .. } => codes.push(0),
            Values::Blob { ends, bytes } => ends.push(bytes.len() as u32),
        }
        self.present.set(row, false);
        self.nulls += 1;
    }

    /// Drops all rows from `rows` on: what a file gave before it turned out to be broken.
    pub fn truncate(&mut self, rows: usize) {
        for row in rows..self.len() {
            if !self.present.get(row) {
                self.nulls -= 1;
            }
        }
        match &mut self.values {
            Values::U32(v) => v.truncate(rows),
            Values::U64(v) => v.truncate(rows),
            Values::S64(v) => v.truncate(rows),
            Values::F64(v) => v.truncate(rows),
            Values::Address(v) => v.truncate(rows * 16),
            Values::Code { codes, .. } => codes.truncate(rows),
            Values::Blob { ends, bytes } => {
                ends.truncate(rows);
                bytes.truncate(ends.last().map_or(0, |&end| end as usize));
            }
        }
        self.present.0.truncate(rows.div_ceil(64));
    }

    /// The column, without a bitmap if every row has a value.
    pub fn finish(self) -> Column {
        Column { values: self.values, present: (self.nulls > 0).then_some(self.present) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_stored_once_and_nulls_are_told_apart() {
        let mut builder = ColumnBuilder::text();
        for text in ["lo", "eth0", "lo"] {
            builder.push_text(text.as_bytes());
        }
        builder.push_null();
        let column = builder.finish();
        assert_eq!(column.values, Values::Code { codes: vec![0, 1, 0, 0], names: vec!["lo".into(), "eth0".into()] });
        assert_eq!(
            (0..4).map(|row| column.text(row)).collect::<Vec<_>>(),
            [Some("lo"), Some("eth0"), Some("lo"), None]
        );
    }

    #[test]
    fn truncate_takes_rows_and_their_nulls_away() {
        let mut builder = ColumnBuilder::u64();
        builder.push_u64(7);
        builder.push_null();
        builder.push_u64(8);
        builder.truncate(1);
        assert_eq!(builder.finish(), Column::full(Values::U64(vec![7])));
    }

    #[test]
    fn what_does_not_fit_is_null() {
        let mut builder = ColumnBuilder::s64();
        builder.push_s64(-1);
        builder.push_u64(u64::MAX);
        let column = builder.finish();
        assert!(column.has(0) && !column.has(1));
    }
}
