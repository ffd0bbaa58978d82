//! Queries over tracepoints: rows as they come, or groups after a while.

use super::{
    Query,
    cell::{json, text},
    warn_of_overflows,
};
use crate::{
    agent::{
        kernel::Places,
        namespaces::Namespaces,
        streams::{Names, Whose},
    },
    bpf::kallsyms::Symbols,
    cli::{Failure, load, print},
    source::hook::{Figures, HookError, Hooks, Limits, Owner, Reader},
};
use netsonde_core::{
    batch::{Batch, Column},
    bpf::{compile::Budget, program::figure},
    query,
    scope::Scopes,
    table,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long without a word of it.
const DEFAULT: Duration = Duration::from_secs(5);

/// A person reads no more.
const LIMITS: Limits =
    Limits { ring_bytes: 8 << 20, rows: Budget { rate: 10_000, burst: 10_000, stacks: 0 }, cpu: 1.0 };

impl Query {
    pub(super) fn run_hook(
        &self,
        query: &query::Query,
        places: Places,
        hooks_of: &table::Hooks,
    ) -> Result<(), Failure> {
        let (hooks, reader) = Hooks::new(LIMITS).map_err(Failure::failed)?;
        let namespaces = load::namespaces(places.clone(), &self.places, hooks_of);
        let walked = namespaces.look().map_err(Failure::failed)?;
        load::warn_of(&walked);
        let symbols = Symbols::new(&places.proc_root);
        let owner = Owner { probe: "query".into(), query: "query".into(), sql: self.sql.clone(), stack: false };
        hooks.attach(owner, query).map_err(|error| match error {
            HookError::Compile(_) => Failure::wrong([error]),
            error => Failure::failed(error),
        })?;
        let until = (!self.follow).then(|| Instant::now() + self.r#for.unwrap_or(DEFAULT));
        if until.is_some() && self.r#for.is_none() && self.count.is_none() && print::is_terminal() {
            print::warn("for 5 s; --follow goes on, --for 1m takes longer");
        }
        if query.is_stream() {
            self.stream(query, &hooks, reader, &namespaces, symbols, until)?;
        } else if let Some(until) = until {
            thread::sleep(until.saturating_duration_since(Instant::now()));
            self.groups(query, &hooks, &namespaces, symbols);
        } else {
            return Err(Failure::wrong(["groups are told at an end: use --for, such as --for 1m"]));
        }
        hooks.figures().iter().for_each(warn_of_losses);
        Ok(())
    }

    fn groups(&self, query: &query::Query, hooks: &Hooks, namespaces: &Namespaces, mut symbols: Symbols) {
        hooks.collect();
        let mut whose = Whose::new(namespaces);
        let Some((batch, partial)) = hooks.groups(0, &mut whose) else { return };
        let names = Names::new(query, &batch, &mut symbols);
        let columns: Vec<&Column> = batch.columns.iter().collect();
        let scopes = namespaces.scopes();
        let answered = query.run_groups(batch.rows, &columns, &partial, &names.with(&scopes));
        warn_of_overflows(answered.overflows);
        self.print(&query.fields, &answered.batch, &scopes);
    }

    fn stream(
        &self,
        query: &query::Query,
        hooks: &Hooks,
        mut reader: Reader,
        namespaces: &Namespaces,
        mut symbols: Symbols,
        until: Option<Instant>,
    ) -> Result<(), Failure> {
        let mut whose = Whose::new(namespaces);
        let mut lines = Lines::new(query);
        let mut left = self.count.unwrap_or(usize::MAX);
        while left > 0 {
            let wait = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            let all = reader.read(hooks, wait, &mut whose).map_err(Failure::failed)?;
            for rows in &all {
                let names = Names::new(query, &rows.batch, &mut symbols);
                let columns: Vec<&Column> = rows.batch.columns.iter().collect();
                let scopes = namespaces.scopes();
                let (batch, _) = query.run_stream(rows.batch.rows, &columns, &names.with(&scopes));
                let shown = batch.rows.min(left);
                left -= shown;
                self.print_rows(&mut lines, query, &batch, shown, &scopes);
            }
            // Rows that are there already are shown, also when the time is over.
            if all.is_empty() && reader.is_empty() && until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        Ok(())
    }

    fn print_rows(&self, lines: &mut Lines, query: &query::Query, batch: &Batch, rows: usize, scopes: &Scopes) {
        if self.json {
            return (0..rows).for_each(|row| print::out(&json(&query.fields, batch, row, scopes).to_string()));
        }
        let cells =
            |row| (0..query.fields.len()).map(|column| text(&query.fields, batch, column, row, scopes)).collect();
        lines.print((0..rows).map(cells).collect());
    }
}

/// Rows that are aligned with those before, as far as can be foreseen.
struct Lines {
    head: Vec<String>,
    widths: Vec<usize>,
    begun: bool,
}

impl Lines {
    fn new(query: &query::Query) -> Self {
        let head: Vec<String> = query.fields.iter().map(|field| field.name.clone()).collect();
        Self { widths: head.iter().map(String::len).collect(), head, begun: false }
    }

    fn print(&mut self, rows: Vec<Vec<String>>) {
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.len());
            }
        }
        if !self.begun && !rows.is_empty() {
            self.begun = true;
            print::out(&print::paint(&self.line(&self.head), print::HEAD));
        }
        rows.iter().for_each(|row| print::out(&self.line(row)));
    }

    fn line(&self, cells: &[String]) -> String {
        let cells = cells.iter().zip(&self.widths);
        let line: Vec<String> = cells.map(|(cell, &width)| format!("{:width$}", print::printable(cell))).collect();
        line.join("  ").trim_end().to_owned()
    }
}

/// What did not arrive, and why.
fn warn_of_losses(figures: &Figures) {
    let lost = [
        (figure::SUPPRESSED, "rows were kept back, more than 10,000 a second of a namespace"),
        (figure::RING_FULL, "rows found the ring full"),
        (figure::MAP_FULL, "rows found no room for another group"),
        (figure::MAP_ERROR, "rows could not be added to their group"),
        (figure::OVERFLOW, "values do not fit into 64 bits, and are NULL"),
    ];
    for (figure, what) in lost {
        if figures.counts[figure] > 0 {
            print::warn(&format!("{} {what}", figures.counts[figure]));
        }
    }
    if figures.missed > 0 {
        print::warn(&format!("{} passings were missed, as they interrupted another one", figures.missed));
    }
}
