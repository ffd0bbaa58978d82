//! `netsonde query "SELECT ..."`: rows of the live kernel.

mod cell;
mod hook;
mod pass;

use super::{
    Failure, PlaceArgs, load,
    print::{self, Text},
};
use crate::agent::{kernel::Places, reads::Reads, streams::Whose};
use cell::{json, text};
use netsonde_core::{
    batch::{Batch, Column},
    probe::Field,
    query::{self, Asker},
    scope::Scopes,
    table::{Hooks, Per},
};
use serde_json::Value;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// A person waits as long as a collection may take.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Query {
    /// One SELECT; `netsonde tables` lists what can be asked
    sql: String,
    /// Print the rows as JSON; those of a stream as one object a line
    #[arg(long)]
    json: bool,
    /// Of a tracepoint: go on until Ctrl-C
    #[arg(long, conflicts_with = "for")]
    follow: bool,
    /// Of a tracepoint: end after this time [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = netsonde_core::config::parse_time)]
    r#for: Option<Duration>,
    /// Of a stream: end after so many rows
    #[arg(long, value_name = "ROWS")]
    count: Option<usize>,
    /// The kernel's types, for tracepoints
    #[arg(long, value_name = "FILE", default_value = load::BTF)]
    btf: PathBuf,
    #[command(flatten)]
    places: PlaceArgs,
}

impl Query {
    pub fn run(self) -> Result<(), Failure> {
        let places = load::places(&self.places);
        let catalogue = load::catalogue(&places, &self.btf);
        let query = query::plan(&self.sql, &catalogue, Asker::Person)
            .map_err(|error| Failure::wrong([error.render(&self.sql)]))?;
        if query.per == Per::Event {
            return self.run_hook(&query, places, &catalogue.hooks);
        }
        if self.follow || self.r#for.is_some() || self.count.is_some() {
            let message =
                format!("{} is read once: --follow, --for and --count are for tracepoints (hook.*)", query.table);
            return Err(Failure::wrong([message]));
        }
        if query.per == Per::Pass {
            self.run_pass(&query, places, &catalogue.hooks)
        } else {
            self.run_table(&query, &catalogue.hooks, places)
        }
    }

    fn run_table(&self, query: &query::Query, hooks: &Hooks, places: Places) -> Result<(), Failure> {
        let scopes = Arc::new(Mutex::new(Scopes::default()));
        let mut tables = load::tables(&places, hooks, scopes.clone());
        let namespaces = load::namespaces_of(places, &self.places, hooks, scopes);
        let walked = namespaces.look().map_err(Failure::failed)?;
        load::warn_of(&walked);
        let (mut whose, names) = (Whose::new(&namespaces), |scope| namespaces.scopes().name(scope));
        let mut reads = Reads::default();
        let binding = reads.bind(query);
        tables.prepare(&reads.0);
        let mut collected = tables.collect(&walked.namespaces, &names, &mut whose, Instant::now() + TIMEOUT);
        let scopes = namespaces.scopes();
        let table = collected.tables.swap_remove(binding.read);
        let table = table.map_err(|why| Failure::failed(format!("cannot read {}: {why}", query.table)))?;
        for (scope, why) in &table.failed {
            let name = scopes.name(*scope).unwrap_or_default();
            print::warn(&format!("no rows of the namespace {name}: {why}"));
        }
        let columns: Vec<&Column> = binding.columns.iter().map(|&column| &table.batch.columns[column]).collect();
        let answered = query.run(table.batch.rows, &columns, &*scopes);
        warn_of_overflows(answered.overflows + table.overflows);
        self.print(&query.fields, &answered.batch, &scopes);
        Ok(())
    }

    /// All rows at once.
    fn print(&self, fields: &[Field], batch: &Batch, scopes: &Scopes) {
        if self.json {
            let rows = (0..batch.rows).map(|row| json(fields, batch, row, scopes));
            return print::json(&Value::Array(rows.collect()));
        }
        let head: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let cells = |row| (0..fields.len()).map(|column| text(fields, batch, column, row, scopes).into()).collect();
        print::table(&head, (0..batch.rows).map(cells).collect::<Vec<Vec<Text>>>());
    }
}

fn warn_of_overflows(overflows: u64) {
    if overflows > 0 {
        print::warn(&format!("{overflows} values do not fit into 64 bits, and are NULL"));
    }
}
