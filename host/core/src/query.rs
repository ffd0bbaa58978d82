//! Queries: SQL text to a checked plan against the tables of this node, and the plan over rows.
//!
//! One `SELECT` over one table, by the rules 20 to 26. What is not supported is refused with its place in the text; nothing is
//! ever ignored.

mod condition;
mod error;
mod expr;
mod filter;
mod gather;
mod group;
mod order;
mod plan;
mod resolve;
mod shape;
mod source;
mod text;

pub use error::{Kind, Position, QueryError};
pub use plan::plan;
pub use text::MAX_BYTES;

use crate::{
    batch::{Batch, Column},
    probe::Field,
    scope::ScopeId,
    table::{Per, TableColumn},
};
use expr::{Condition, Grouping, OrderKey, Output, Source};
use std::borrow::Cow;

/// Who asks: `SELECT *`, `ORDER BY` and `LIMIT` are for people only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    Probe,
    Person,
}

/// A query that this node can answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub table: String,
    pub per: Per,
    /// What must be read of the table: each column once, in the order of first use.
    pub columns: Vec<TableColumn>,
    /// The columns of the result.
    pub fields: Vec<Field>,
    /// One for each field.
    outputs: Vec<Output>,
    sources: Vec<Source>,
    filter: Option<Condition>,
    grouping: Option<Grouping>,
    order: Vec<OrderKey>,
    limit: Option<usize>,
}

/// A query's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    pub batch: Batch,
    /// Sums that did not fit into 64 bits, and are NULL therefore.
    pub overflows: u64,
}

impl Query {
    /// Answers the query from `rows` rows of its table.
    ///
    /// `columns` has one column for each of `self.columns`, in that order; one of another form or length than promised counts as NULL.
    /// `names` says what people call a scope; each is asked for once.
    pub fn run(&self, rows: usize, columns: &[&Column], names: &dyn Fn(ScopeId) -> Option<String>) -> Answered {
        let sources = source::columns(&self.sources, &self.columns, rows, columns, names);
        let selected = self.filter.as_ref().map(|filter| filter::select(filter, &sources, rows));
        if let Some(grouping) = &self.grouping {
            let selected = selected.unwrap_or_else(|| (0..rows as u32).collect());
            let groups = group::group(grouping, &sources, &selected);
            let batch = self.finish(&sources, groups.first, &groups.aggregates);
            return Answered { batch, overflows: groups.overflows };
        }
        let batch = match selected {
            None if self.order.is_empty() && self.limit.is_none_or(|limit| limit >= rows) => self.copy(&sources, rows),
            selected => self.finish(&sources, selected.unwrap_or_else(|| (0..rows as u32).collect()), &[]),
        };
        Answered { batch, overflows: 0 }
    }

    fn copy(&self, sources: &[Cow<Column>], rows: usize) -> Batch {
        let columns = self.outputs.iter().map(|output| match output {
            Output::Source(source) => gather::all(&sources[*source]),
            Output::Aggregate(_) => Column::null(rows),
        });
        Batch { rows, columns: columns.collect() }
    }

    /// Result `i` is row `rows[i]` of the sources, and row `i` of the aggregates.
    fn finish(&self, sources: &[Cow<Column>], rows: Vec<u32>, aggregates: &[Column]) -> Batch {
        let column = |key: &OrderKey| match key.by {
            Output::Source(source) => (sources[source].as_ref(), Some(rows.as_slice())),
            Output::Aggregate(index) => (&aggregates[index], None),
        };
        let mut order = order::order(&self.order, rows.len(), column);
        order.truncate(self.limit.unwrap_or(usize::MAX));
        let source_rows: Vec<u32> = order.iter().map(|&result| rows[result as usize]).collect();
        let columns = self.outputs.iter().map(|output| match output {
            Output::Source(source) => gather::some(&sources[*source], &source_rows),
            Output::Aggregate(index) => gather::some(&aggregates[*index], &order),
        });
        Batch { rows: order.len(), columns: columns.collect() }
    }
}

#[cfg(test)]
mod tests;
