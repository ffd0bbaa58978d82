//! Queries: SQL text to a checked plan against the tables of this node, and the plan over rows.
//!
//! One `SELECT` over one table, by the rules 20 to 26. What is not supported is refused with its place in the text; nothing is
//! ever ignored.

mod arithmetic;
mod condition;
mod error;
pub(crate) mod expr;
mod filter;
mod from;
mod function;
pub(crate) mod gather;
mod group;
mod histogram;
mod kernel;
mod order;
mod path;
mod plan;
mod pushdown;
mod resolve;
mod shape;
mod source;
mod text;
mod within;

pub use error::{Kind, Position, QueryError};
pub use path::steps as path;
pub use plan::plan;
pub use text::MAX_BYTES;

use crate::{
    batch::{Batch, Column},
    bpf::hook::Hook,
    probe::Field,
    scope::{ScopeId, Scopes},
    table::{Per, TableColumn},
};
use expr::{Condition, Grouping, OrderKey, Output, Source, SourceId};
use std::{borrow::Cow, sync::Arc};

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
    /// Where the table is read at all: only in the namespaces that each of these gives (rule 25). They are answered first.
    pub within: Vec<Query>,
    /// What must be read of the table: each column once, in the order of first use.
    pub columns: Vec<TableColumn>,
    /// The columns of the result.
    pub fields: Vec<Field>,
    /// Of a tracepoint's table.
    pub hook: Option<Arc<Hook>>,
    /// One for each field.
    pub(crate) outputs: Vec<Output>,
    pub(crate) sources: Vec<Source>,
    pub(crate) filter: Option<Condition>,
    /// The part of a tracepoint's filter that is left for the host, as it is about what things are called.
    pub(crate) afterwards: Option<Condition>,
    pub(crate) grouping: Option<Grouping>,
    order: Vec<OrderKey>,
    limit: Option<usize>,
}

/// What things are called, which only the host knows.
pub trait Naming {
    fn scope(&self, scope: ScopeId) -> Option<String>;

    /// The symbol that an address of the kernel's code lies in.
    fn symbol(&self, _address: u64) -> Option<String> {
        None
    }
}

impl Naming for Scopes {
    fn scope(&self, scope: ScopeId) -> Option<String> {
        self.name(scope)
    }
}

impl<F: Fn(ScopeId) -> Option<String>> Naming for F {
    fn scope(&self, scope: ScopeId) -> Option<String> {
        self(scope)
    }
}

/// A query's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    pub batch: Batch,
    /// Sums and computed values that did not fit into 64 bits, and are NULL therefore. What the kernel computes it counts itself.
    pub overflows: u64,
}

impl Query {
    /// Answers the query from `rows` rows of its table.
    ///
    /// `columns` has one column for each of `self.columns`, in that order; one of another form or length than promised counts as NULL.
    /// `names` says what people call a scope; each is asked for once.
    pub fn run(&self, rows: usize, columns: &[&Column], names: &dyn Naming) -> Answered {
        let sources = source::columns(&self.sources, &self.columns, rows, columns, names);
        let selected = self.filter.as_ref().map(|filter| filter::select(filter, &sources.columns, rows));
        let overflows = sources.overflows(self.filter.as_ref(), selected.as_deref());
        let sources = sources.columns;
        let chosen = |selected: Option<Vec<u32>>| selected.unwrap_or_else(|| (0..rows as u32).collect());
        if let Some(grouping) = &self.grouping {
            let answered = self.groups(&sources, group::group(grouping, &sources, &chosen(selected)));
            return Answered { overflows: answered.overflows + overflows, ..answered };
        }
        let batch = match selected {
            None if self.order.is_empty() && self.limit.is_none_or(|limit| limit >= rows) => self.copy(&sources, rows),
            selected => self.finish(&sources, chosen(selected), &[]),
        };
        Answered { batch, overflows }
    }

    /// Whether its rows come as things happen, and not once a collection.
    pub fn is_stream(&self) -> bool {
        self.per == Per::Event && self.grouping.is_none()
    }

    /// Whether the kernel itself adds its rows up.
    pub fn grouping_is_in_kernel(&self) -> bool {
        self.per == Per::Event && self.grouping.is_some()
    }

    /// Whether a program in the kernel answers it, whenever it is asked.
    pub fn is_pass(&self) -> bool {
        self.per == Per::Pass
    }

    /// The columns whose names are symbols of the kernel: addresses, to be looked up all at once.
    pub fn symbol_columns(&self) -> Vec<usize> {
        let symbols = self.sources.iter().filter_map(|source| match source {
            Source::Symbol(of) => self.column_of(*of),
            _ => None,
        });
        symbols.collect()
    }

    /// Answers a stream from rows that the kernel has filtered. Tells of each row of the answer which one it was.
    pub fn run_stream(&self, rows: usize, columns: &[&Column], names: &dyn Naming) -> (Batch, Vec<u32>) {
        let sources = source::columns(&self.sources, &self.columns, rows, columns, names).columns;
        match &self.afterwards {
            None => (self.copy(&sources, rows), (0..rows as u32).collect()),
            Some(filter) => {
                let selected = filter::select(filter, &sources, rows);
                (self.finish(&sources, selected.clone(), &[]), selected)
            }
        }
    }

    /// Answers an aggregating query from groups that the kernel has made: `partial` has for each aggregate its value in each of `rows`
    /// groups. Some of them may be one group here, where names are equal.
    pub fn run_groups(&self, rows: usize, columns: &[&Column], partial: &[Column], names: &dyn Naming) -> Answered {
        let sources = source::columns(&self.sources, &self.columns, rows, columns, names).columns;
        let selected = match &self.afterwards {
            None => (0..rows as u32).collect(),
            Some(filter) => filter::select(filter, &sources, rows),
        };
        let Some(grouping) = &self.grouping else { return Answered::default() };
        self.groups(&sources, group::regroup(grouping, &sources, &selected, partial))
    }

    /// Answers a query from the rows of a pass, which the kernel has filtered.
    pub fn run_pass(&self, rows: usize, columns: &[&Column], names: &dyn Naming) -> Answered {
        let sources = source::columns(&self.sources, &self.columns, rows, columns, names).columns;
        let selected = match &self.afterwards {
            None => (0..rows as u32).collect(),
            Some(filter) => filter::select(filter, &sources, rows),
        };
        Answered { batch: self.finish(&sources, selected, &[]), overflows: 0 }
    }

    fn groups(&self, sources: &[Cow<Column>], groups: group::Groups) -> Answered {
        let batch = self.finish(sources, groups.first, &groups.aggregates);
        Answered { batch, overflows: groups.overflows }
    }

    /// The column of the table that a source is made of in the end; None if this node has none.
    pub(crate) fn column_of(&self, mut source: SourceId) -> Option<usize> {
        loop {
            match &self.sources[source] {
                Source::Table(column) => return Some(*column),
                other => source = other.of()?,
            }
        }
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
