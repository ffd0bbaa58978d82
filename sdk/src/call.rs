//! What a probe is called with: the rows of its queries, by column.

use crate::{
    Result,
    plan::Query,
    types::{self, Column, QueryState, Values},
};

/// The names of each query's columns, as the host gave them in `start`.
#[derive(Clone, Default)]
pub(crate) struct Columns(Vec<Vec<String>>);

impl Columns {
    pub(crate) fn new(queries: Vec<QueryState>) -> Self {
        let names = |state| match state {
            QueryState::Runs(fields) => fields.into_iter().map(|field| field.name).collect(),
            QueryState::Absent(_) => Vec::new(),
        };
        Self(queries.into_iter().map(names).collect())
    }
}

/// One call: a collection's answers, or the rows of a stream.
pub struct Call<'a> {
    wit: types::Call,
    columns: &'a Columns,
}

impl<'a> Call<'a> {
    pub(crate) fn new(wit: types::Call, columns: &'a Columns) -> Self {
        Self { wit, columns }
    }

    /// The rows of `query`. None where this node cannot answer it, where it failed this time, or where this call is not about it.
    pub fn rows(&self, query: Query) -> Option<Rows<'_>> {
        let answer = self.wit.answers.iter().position(|answer| answer.query == query.0)?;
        match &self.wit.answers[answer].result {
            types::ResultOfQuery::Rows(batch) => {
                Some(Rows { answer: answer as u32, batch, names: self.columns.0.get(query.0 as usize)? })
            }
            types::ResultOfQuery::Failed(_) => None,
        }
    }

    /// Whether this is a collection's call: only there may gauges be set and totals given.
    pub fn is_collection(&self) -> bool {
        self.wit.kind == types::CallKind::Collection
    }

    /// Everything else: ids, times, scopes that failed or are gone.
    pub fn wit(&self) -> &types::Call {
        &self.wit
    }
}

/// Rows of one query.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub(crate) answer: u32,
    batch: &'a types::Batch,
    names: &'a [String],
}

impl<'a> Rows<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.batch.rows as usize
    }

    pub fn is_empty(&self) -> bool {
        self.batch.rows == 0
    }

    /// The column called `name`: an alias, or the text in the query.
    ///
    /// # Errors
    /// If the query has no such column, with those that it has.
    pub fn column(&self, name: &str) -> Result<&'a Column> {
        let index = self.names.iter().position(|have| have == name);
        index
            .and_then(|index| self.batch.columns.get(index))
            .ok_or_else(|| format!("the query has no column `{name}`, only {}", self.names.join(", ")))
    }
}

/// Reading a column row by row, whatever form it came in.
impl Column {
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

    /// Who: a handle to hand back, as it is.
    pub fn scope(&self, row: usize) -> Option<types::Scope> {
        self.u64(row)?.try_into().ok()
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
