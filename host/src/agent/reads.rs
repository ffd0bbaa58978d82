//! Which columns of which tables must be read for all queries together: each table once, however many ask. It is read once more for each
//! choice of namespaces (rule 25), and sock_diag for each choice of sockets: whoever asks for less shall not pay for those who ask for all.

use crate::source::table::Read;
use netsonde_core::{query::Query, table::TableColumn};

/// Where a query finds its columns: which read, and which of its columns, in the query's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    pub read: usize,
    pub columns: Vec<usize>,
}

/// A read, and where it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub read: Read,
    /// In the namespaces that all of these give; without any, in every one.
    pub within: Vec<Subquery>,
}

/// A query that says where to read, over a read that is made everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    pub query: Query,
    pub binding: Binding,
}

/// The union of what queries need.
#[derive(Clone, Debug, Default)]
pub struct Reads(pub Vec<Asked>);

impl Reads {
    /// Adds what `query` needs.
    pub fn bind(&mut self, query: &Query) -> Binding {
        let subquery = |inner: &Query| Subquery { query: inner.clone(), binding: self.bind(inner) };
        let within: Vec<Subquery> = query.within.iter().map(subquery).collect();
        let wanted = Read::of(query);
        let same = |asked: &Asked| {
            let Asked { read, within: known } = asked;
            read.table == wanted.table && read.sockets == wanted.sockets && read.pass == wanted.pass && *known == within
        };
        let read = self.0.iter().position(same).unwrap_or_else(|| {
            self.0.push(Asked { read: Read { columns: Vec::new(), ..wanted }, within });
            self.0.len() - 1
        });
        let columns = query.columns.iter().map(|column| self.column(read, column)).collect();
        Binding { read, columns }
    }

    fn column(&mut self, read: usize, column: &TableColumn) -> usize {
        let columns = &mut self.0[read].read.columns;
        columns.iter().position(|have| have.name == column.name).unwrap_or_else(|| {
            columns.push(column.clone());
            columns.len() - 1
        })
    }
}
