//! `netsonde query "SELECT ..."`: rows of the live kernel.

use super::{
    Failure, PlaceArgs, load,
    print::{self, Text},
};
use crate::source::proc::Read;
use netsonde_core::{
    batch::{Batch, Column, Values},
    query::{self, Asker},
    scope::{ScopeId, Scopes},
};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// A person waits as long as a collection may take.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Query {
    /// One SELECT; `netsonde tables` lists what can be asked
    sql: String,
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: PlaceArgs,
}

impl Query {
    pub fn run(self) -> Result<(), Failure> {
        let places = load::places(&self.places);
        let mut source = load::source(&places);
        let query = query::plan(&self.sql, &source.catalogue(), Asker::Person)
            .map_err(|error| Failure::wrong([error.render(&self.sql)]))?;

        let mut scopes = Scopes::default();
        let walked = load::namespaces(&places)?;
        let observed = scopes.observe(walked.found, Duration::ZERO, Duration::ZERO);
        source.prepare(vec![Read { table: query.table.clone(), columns: query.columns.clone() }]);
        let mut collected = source.collect(&observed.namespaces, Instant::now() + TIMEOUT);
        let table = collected.tables.pop().unwrap_or_else(|| Err("nothing was read".into()));
        let table = table.map_err(|why| Failure::failed(format!("cannot read {}: {why}", query.table)))?;
        for (scope, why) in &table.failed {
            let name = scopes.name(*scope).unwrap_or_default();
            print::warn(&format!("no rows of the namespace {name}: {why}"));
        }

        let names = |scope: ScopeId| scopes.name(scope);
        let columns: Vec<&Column> = table.batch.columns.iter().collect();
        let answered = query.run(table.batch.rows, &columns, &names);
        if answered.overflows > 0 {
            print::warn(&format!("{} sums do not fit into 64 bits, and are NULL", answered.overflows));
        }
        let head: Vec<&str> = query.fields.iter().map(|field| field.name.as_str()).collect();
        let is_scope: Vec<bool> = query.fields.iter().map(|field| field.logical == "scope").collect();
        let cell = |column: usize, row: usize| cell(&answered.batch, column, row, is_scope[column].then_some(&names));
        if self.json {
            let rows = (0..answered.batch.rows).map(|row| {
                Value::Object(
                    head.iter()
                        .enumerate()
                        .map(|(index, name)| (name.to_string(), cell(index, row)))
                        .collect::<Map<_, _>>(),
                )
            });
            print::json(&rows.collect());
        } else {
            let rows = (0..answered.batch.rows)
                .map(|row| (0..head.len()).map(|column| text(cell(column, row)).into()).collect());
            print::table(&head, rows.collect::<Vec<Vec<Text>>>());
        }
        Ok(())
    }
}

/// One value; a scope under the name that people know.
fn cell(batch: &Batch, column: usize, row: usize, names: Option<&dyn Fn(ScopeId) -> Option<String>>) -> Value {
    let column = &batch.columns[column];
    if !column.has(row) {
        return Value::Null;
    }
    match (&column.values, names) {
        (Values::U32(v), Some(names)) => names(v[row]).into(),
        (Values::U32(v), None) => v[row].into(),
        (Values::U64(v), _) => v[row].into(),
        (Values::S64(v), _) => v[row].into(),
        (Values::F64(v), _) => v[row].into(),
        (Values::Code { .. }, _) => column.text(row).into(),
        (Values::Address(_) | Values::Blob { .. }, _) => Value::Null,
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}
