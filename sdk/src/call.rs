//! What a probe is called with: the rows of its queries, by column.

use crate::{
    Result,
    plan::Query,
    types::{self, Column, QueryState, Scope},
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
        let (index, answer) = self.answer(query)?;
        match &answer.result {
            types::ResultOfQuery::Rows(batch) => {
                Some(Rows { answer: index as u32, batch, names: self.columns.0.get(query.0 as usize)? })
            }
            types::ResultOfQuery::Failed(_) => None,
        }
    }

    /// Why `query` failed this time, for everybody. None too where this node cannot answer it at all.
    pub fn failure(&self, query: Query) -> Option<&str> {
        match &self.answer(query)?.1.result {
            types::ResultOfQuery::Rows(_) => None,
            types::ResultOfQuery::Failed(why) => Some(why),
        }
    }

    /// Whose rows of `query` are missing this time, as they could not be read.
    pub fn failed_scopes(&self, query: Query) -> &[Scope] {
        self.answer(query).map_or(&[], |(_, answer)| &answer.failed_scopes)
    }

    fn answer(&self, query: Query) -> Option<(usize, &types::Answer)> {
        self.wit.answers.iter().enumerate().find(|(_, answer)| answer.query == query.0)
    }

    /// Whether this is a collection's call: only there may gauges be set and totals given.
    pub fn is_collection(&self) -> bool {
        self.wit.kind == types::CallKind::Collection
    }

    /// Everything else: ids, times, scopes that are gone.
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
