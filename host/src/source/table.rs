//! What is asked of a table that is read, and what comes of it.

use super::iter::Passed;
use netsonde_core::{
    batch::Batch,
    diag::{self, Sockets},
    query::Query,
    scope::ScopeId,
    table::TableColumn,
};
use std::sync::Arc;

/// What somebody wants of one table: columns as its [`netsonde_core::table::Table::column`] gives them.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub table: String,
    pub columns: Vec<TableColumn>,
    /// Of sock_diag: which sockets.
    pub sockets: Option<Sockets>,
    /// Of the kernel's objects: the query that a pass answers.
    pub pass: Option<Arc<Query>>,
}

impl Read {
    /// A read for `query` alone.
    pub fn of(query: &Query) -> Self {
        let sockets = (query.table == diag::TABLE).then(|| Sockets::of(query));
        let pass = query.is_pass().then(|| Arc::new(query.clone()));
        Self { table: query.table.clone(), columns: query.columns.clone(), sockets, pass }
    }
}

/// Rows of one table, namespace after namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableRows {
    /// The columns of the [`Read`], in its order.
    pub batch: Batch,
    /// Namespaces whose rows are missing, and why.
    pub failed: Vec<(ScopeId, String)>,
    /// Values that did not fit into 64 bits in the queries that said where to read (rule 25).
    pub overflows: u64,
}

/// What one collection gave.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// In the order of the reads; an error if the whole table failed.
    pub tables: Vec<Result<TableRows, String>>,
    /// Seconds spent on each source that was wanted (a file of `/proc/PID/net`, sock_diag), over all namespaces.
    pub durations: Vec<(&'static str, f64)>,
    /// The passes that tables of the host's own have taken, without their rows.
    pub passed: Vec<Passed>,
}

pub(super) const LATE: &str = "not read before the collection's deadline";
