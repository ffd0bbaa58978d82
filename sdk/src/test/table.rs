//! Rows as a test writes them down.

use crate::{
    column::bits,
    types::{self, Column, Scope, Values},
};
use std::net::IpAddr;

/// What a cell holds, and with it the form of its column.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    Null,
    Number(u64),
    Signed(i64),
    Bool(bool),
    Address(IpAddr),
    Text(String),
}

/// A value of a [`Table`]: a number, a truth value, an address, a text, and `None::<u64>` for NULL.
pub trait Cell {
    fn datum(&self) -> Datum;
}

impl Cell for i32 {
    fn datum(&self) -> Datum {
        i64::from(*self).datum()
    }
}

impl Cell for i64 {
    fn datum(&self) -> Datum {
        u64::try_from(*self).map_or(Datum::Signed(*self), Datum::Number)
    }
}

impl Cell for u64 {
    fn datum(&self) -> Datum {
        Datum::Number(*self)
    }
}

impl Cell for bool {
    fn datum(&self) -> Datum {
        Datum::Bool(*self)
    }
}

impl Cell for IpAddr {
    fn datum(&self) -> Datum {
        Datum::Address(*self)
    }
}

impl Cell for &str {
    fn datum(&self) -> Datum {
        Datum::Text((*self).to_owned())
    }
}

impl<C: Cell> Cell for Option<C> {
    fn datum(&self) -> Datum {
        self.as_ref().map_or(Datum::Null, Cell::datum)
    }
}

/// Rows of a query, as a test writes them down.
#[derive(Clone)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Vec<Datum>>,
    failed_scopes: Vec<Scope>,
    failure: Option<String>,
}

impl Table {
    pub fn new(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|name| name.to_string()).collect(),
            columns: vec![Vec::new(); names.len()],
            failed_scopes: Vec::new(),
            failure: None,
        }
    }

    /// The rows of this one could not be read.
    pub fn failed_scope(mut self, scope: Scope) -> Self {
        self.failed_scopes.push(scope);
        self
    }

    /// The table could not be read at all: its rows do not arrive.
    pub fn failed(mut self, why: &str) -> Self {
        self.failure = Some(why.to_owned());
        self
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not as many cells as the table has columns.
    pub fn row(mut self, cells: &[&dyn Cell]) -> Self {
        assert_eq!(cells.len(), self.columns.len(), "a row of {} cells in a table of {:?}", cells.len(), self.names);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell.datum());
        }
        self
    }

    pub(super) fn fields(&self) -> Vec<types::Field> {
        let field = |name: &String| types::Field {
            name: name.clone(),
            logical: "count".into(),
            nullable: true,
            attributes: Vec::new(),
        };
        self.names.iter().map(field).collect()
    }

    pub(super) fn answer(&self, query: usize) -> types::Answer {
        let result = match &self.failure {
            Some(why) => types::ResultOfQuery::Failed(why.clone()),
            None => types::ResultOfQuery::Rows(self.batch()),
        };
        types::Answer { query: query as u32, result, failed_scopes: self.failed_scopes.clone(), attributes: Vec::new() }
    }

    pub(super) fn batch(&self) -> types::Batch {
        let rows = self.columns.first().map_or(0, Vec::len);
        let columns = self.names.iter().zip(&self.columns).map(|(name, cells)| column(name, cells)).collect();
        types::Batch { rows: rows as u32, columns }
    }
}

/// A column in the form that the host would give it; one that is always NULL is `u64s`.
fn column(name: &str, cells: &[Datum]) -> Column {
    let wrong = |cell: &Datum| -> ! { panic!("column `{name}` has {cell:?} among cells of another form") };
    let decisive = cells.iter().find(|cell| !matches!(cell, Datum::Null | Datum::Number(_)));
    let values = match decisive {
        None | Some(Datum::Null | Datum::Number(_)) => {
            let number = |cell: &Datum| if let Datum::Number(number) = cell { *number } else { 0 };
            Values::U64s(cells.iter().map(number).collect())
        }
        Some(Datum::Signed(_)) => {
            let number = |cell: &Datum| match cell {
                Datum::Signed(number) => *number,
                Datum::Number(number) => i64::try_from(*number).unwrap_or_else(|_| wrong(cell)),
                Datum::Null => 0,
                cell => wrong(cell),
            };
            Values::S64s(cells.iter().map(number).collect())
        }
        Some(Datum::Bool(_)) => {
            let bit = |cell: &Datum| match cell {
                Datum::Bool(bit) => u32::from(*bit),
                Datum::Null => 0,
                cell => wrong(cell),
            };
            Values::U32s(cells.iter().map(bit).collect())
        }
        Some(Datum::Address(_)) => {
            let octets = |cell: &Datum| match cell {
                Datum::Address(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
                Datum::Address(IpAddr::V6(v6)) => v6.octets(),
                Datum::Null => [0; 16],
                cell => wrong(cell),
            };
            Values::Addresses(cells.iter().flat_map(octets).collect())
        }
        Some(Datum::Text(_)) => {
            return Column::texts(cells.iter().map(|cell| match cell {
                Datum::Text(text) => Some(text.as_str()),
                Datum::Null => None,
                cell => wrong(cell),
            }));
        }
    };
    Column { values, present: bits(cells.len(), |row| cells[row] != Datum::Null) }
}
