//! Native tests of a probe: rows in, samples out, without a host and without WASM.
//!
//! ```no_run
//! # use netsonde_sdk::{prelude::*, test::{Harness, Table}};
//! # fn check<P: Probe>() {
//! let mut probe = Harness::<P>::new("{}").unwrap();
//! let rows = Table::new(&["netns", "n"]).row(&[&1, &7]);
//! let samples = probe.collect(&[("overflows", rows)]).unwrap();
//! assert_eq!(samples.get("overflows", Some(1), &[]), Some(7.0));
//! # }
//! ```

use crate::{
    Probe, Result, Running, describe, process, start,
    types::{self, Coded, Column, Values},
};

/// A probe as the host would hold it.
pub struct Harness<P> {
    running: Option<Running<P>>,
    plan: types::Plan,
    calls: u64,
}

impl<P: Probe> Harness<P> {
    /// Makes the probe from its settings (JSON).
    ///
    /// # Errors
    /// What the probe says of its settings.
    pub fn new(settings: &str) -> Result<Self> {
        let mut running = None;
        let plan = describe(&mut running, settings)?;
        Ok(Self { running, plan, calls: 0 })
    }

    pub fn plan(&self) -> &types::Plan {
        &self.plan
    }

    /// One collection. A query that `tables` does not name is absent.
    ///
    /// # Errors
    /// What the probe returned as one; a query that it does not have.
    pub fn collect(&mut self, tables: &[(&str, Table)]) -> Result<Gathered> {
        if let Some((name, _)) =
            tables.iter().find(|(name, _)| !self.plan.queries.iter().any(|query| query.name == *name))
        {
            return Err(format!("the probe has no query `{name}`"));
        }
        let table = |query: &types::Query| tables.iter().find(|(name, _)| query.name == *name).map(|(_, table)| table);
        let states = self.plan.queries.iter().map(|query| match table(query) {
            Some(table) => types::QueryState::Runs(table.fields()),
            None => types::QueryState::Absent("not part of this test".into()),
        });
        start(&mut self.running, states.collect())?;
        self.calls += 1;
        let answers = self.plan.queries.iter().enumerate().filter_map(|(index, query)| {
            let result = types::ResultOfQuery::Rows(table(query)?.batch());
            Some(types::Answer { query: index as u32, result, failed_scopes: Vec::new(), attributes: Vec::new() })
        });
        let call = types::Call {
            kind: types::CallKind::Collection,
            id: self.calls,
            monotonic_nanos: 0,
            unix_nanos: 0,
            answers: answers.collect(),
            gone: Vec::new(),
            attributes: Vec::new(),
        };
        let output = process(&mut self.running, call)?;
        Ok(Gathered { plan: self.plan.clone(), output })
    }
}

/// A value of a [`Table`]: whole numbers and texts, and `None::<u64>` for NULL.
pub trait Cell {
    fn number(&self) -> Option<u64> {
        None
    }

    fn text(&self) -> Option<&str> {
        None
    }
}

impl Cell for i32 {
    fn number(&self) -> Option<u64> {
        (*self).try_into().ok()
    }
}

impl Cell for u64 {
    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

impl Cell for Option<u64> {
    fn number(&self) -> Option<u64> {
        *self
    }
}

impl Cell for &str {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

/// Rows of a query, as a test writes them down.
#[derive(Clone)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Vec<(Option<u64>, Option<String>)>>,
}

impl Table {
    pub fn new(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| name.to_string()).collect(), columns: vec![Vec::new(); names.len()] }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not as many cells as the table has columns.
    pub fn row(mut self, cells: &[&dyn Cell]) -> Self {
        assert_eq!(cells.len(), self.columns.len(), "a row of {} cells in a table of {:?}", cells.len(), self.names);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push((cell.number(), cell.text().map(str::to_owned)));
        }
        self
    }

    fn fields(&self) -> Vec<types::Field> {
        let field = |name: &String| types::Field {
            name: name.clone(),
            logical: "count".into(),
            nullable: true,
            attributes: Vec::new(),
        };
        self.names.iter().map(field).collect()
    }

    fn batch(&self) -> types::Batch {
        let rows = self.columns.first().map_or(0, Vec::len);
        types::Batch { rows: rows as u32, columns: self.columns.iter().map(|cells| column(cells)).collect() }
    }
}

fn column(cells: &[(Option<u64>, Option<String>)]) -> Column {
    let is_text = cells.iter().any(|(_, text)| text.is_some());
    let mut present = vec![0_u64; cells.len().div_ceil(64)];
    for (row, (number, text)) in cells.iter().enumerate() {
        if number.is_some() || text.is_some() {
            present[row / 64] |= 1 << (row % 64);
        }
    }
    let values = if is_text {
        let names = cells.iter().map(|(_, text)| text.clone().unwrap_or_default()).collect();
        Values::Codes(Coded { codes: (0..cells.len() as u32).collect(), names })
    } else {
        Values::U64s(cells.iter().map(|(number, _)| number.unwrap_or(0)).collect())
    };
    Column { values, present: Some(present) }
}

/// What the probe gave.
pub struct Gathered {
    plan: types::Plan,
    pub output: types::Output,
}

impl Gathered {
    /// The sum of the samples of `metric` with this scope and these labels; None if there is none.
    pub fn get(&self, metric: &str, scope: Option<u32>, labels: &[&str]) -> Option<f64> {
        let index = self.plan.metrics.iter().position(|have| have.name == metric)?;
        let mut found = None;
        for samples in self.output.samples.iter().filter(|samples| samples.metric as usize == index) {
            for row in 0..samples.values.rows() {
                let same_scope = samples.scopes.as_ref().and_then(|scopes| scopes.scope(row)) == scope;
                let same_labels = samples.labels.len() == labels.len()
                    && samples.labels.iter().zip(labels).all(|(have, want)| label(have, row) == *want);
                if let (true, true, Some(value)) = (same_scope, same_labels, samples.values.f64(row)) {
                    found = Some(found.unwrap_or(0.0) + value);
                }
            }
        }
        found
    }

    /// How many samples there are in all.
    pub fn len(&self) -> usize {
        let present =
            |samples: &types::Samples| (0..samples.values.rows()).filter(|&row| samples.values.has(row)).count();
        self.output.samples.iter().map(present).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn label(column: &Column, row: usize) -> String {
    match (column.text(row), column.s64(row)) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => String::new(),
    }
}
