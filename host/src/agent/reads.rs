//! Which columns of which tables must be read for all queries together: each table once, however many ask.

use crate::source::proc::Read;
use netsonde_core::{query::Query, table::TableColumn};

/// Where a query finds its columns: which read, and which of its columns, in the query's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    pub read: usize,
    pub columns: Vec<usize>,
}

/// The union of what queries need.
#[derive(Clone, Debug, Default)]
pub struct Reads(pub Vec<Read>);

impl Reads {
    /// Adds what `query` needs.
    pub fn bind(&mut self, query: &Query) -> Binding {
        let read = self.0.iter().position(|read| read.table == query.table).unwrap_or_else(|| {
            self.0.push(Read { table: query.table.clone(), columns: Vec::new() });
            self.0.len() - 1
        });
        let columns = query.columns.iter().map(|column| self.column(read, column)).collect();
        Binding { read, columns }
    }

    fn column(&mut self, read: usize, column: &TableColumn) -> usize {
        let columns = &mut self.0[read].columns;
        columns.iter().position(|have| have.name == column.name).unwrap_or_else(|| {
            columns.push(column.clone());
            columns.len() - 1
        })
    }
}
