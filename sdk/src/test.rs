//! Native tests of a probe: rows in, samples and events out, without a host and without WASM.
//!
//! ```no_run
//! # use netsonde_sdk::{prelude::*, test::{Harness, Table}};
//! # use std::net::IpAddr;
//! # fn check<P: Probe>() {
//! let mut probe = Harness::<P>::new("{}").unwrap();
//! let rows = Table::new(&["netns", "n"]).row(&[&1, &7]);
//! let got = probe.collect(&[("overflows", rows)]).unwrap();
//! assert_eq!(got.get("overflows", Some(1), &[]), Some(7.0));
//!
//! let rows = Table::new(&["netns", "laddr"]).row(&[&1, &IpAddr::from([10, 0, 0, 1])]);
//! let got = probe.stream(&[("overflow_rows", rows)]).unwrap();
//! assert_eq!(got.events()[0].to_string(), "OVERFLOW overflow_rows[0] laddr=10.0.0.1");
//! # }
//! ```

mod check;
mod gathered;
mod table;

pub use gathered::{Event, Gathered, Spread};
pub use table::{Cell, Datum, Table};

use crate::{
    Probe, Result, Running, describe, process, start,
    types::{self, CallKind},
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
    /// What the probe returned as one; a query that it does not have; samples or buckets that the host would refuse.
    pub fn collect(&mut self, tables: &[(&str, Table)]) -> Result<Gathered> {
        self.call(CallKind::Collection, tables)
    }

    /// Rows of stream queries. A query that `tables` does not name is absent.
    ///
    /// # Errors
    /// As of [`collect`](Self::collect); a gauge that was set or a total that was given, which the host would refuse here.
    pub fn stream(&mut self, tables: &[(&str, Table)]) -> Result<Gathered> {
        let got = self.call(CallKind::Stream, tables)?;
        check::stream(&self.plan, &got.output)?;
        Ok(got)
    }

    fn call(&mut self, kind: CallKind, tables: &[(&str, Table)]) -> Result<Gathered> {
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
        let answers: Vec<types::Answer> = self
            .plan
            .queries
            .iter()
            .enumerate()
            .filter_map(|(index, query)| Some(table(query)?.answer(index)))
            .collect();
        let sources = gathered::sources(&self.plan, &answers);
        let call = types::Call {
            kind,
            id: self.calls,
            monotonic_nanos: 0,
            unix_nanos: 0,
            answers,
            gone: Vec::new(),
            attributes: Vec::new(),
        };
        let output = process(&mut self.running, call)?;
        check::output(&self.plan, &output)?;
        Ok(Gathered { plan: self.plan.clone(), output, sources })
    }
}

#[cfg(test)]
mod tests;
