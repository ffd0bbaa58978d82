//! Queries over the kernel's objects: one pass.

use super::{Query, TIMEOUT, warn_of_overflows};
use crate::{
    agent::{kernel::Places, passes, streams::Whose},
    bpf::kallsyms::Symbols,
    cli::{Failure, load},
    source::{
        hook::Owner,
        iter::{IterError, Program},
    },
};
use netsonde_core::{query, table::Hooks};
use std::time::Instant;

impl Query {
    pub(super) fn run_pass(&self, query: &query::Query, places: Places, hooks: &Hooks) -> Result<(), Failure> {
        let owner = Owner { probe: "query".into(), query: "query".into(), sql: self.sql.clone(), stack: false };
        let program = Program::load(owner, query).map_err(|error| match error {
            IterError::Compile(_) => Failure::wrong([error]),
            error => Failure::failed(error),
        })?;
        let mut symbols = Symbols::new(&places.proc_root);
        let namespaces = load::namespaces(places, &self.places, hooks);
        let walked = namespaces.look().map_err(Failure::failed)?;
        load::warn_of(&walked);
        let mut whose = Whose::new(&namespaces);
        let passed = program.pass(Instant::now() + TIMEOUT, &mut whose);
        let passed = passed.map_err(|error| Failure::failed(format!("cannot read {}: {error}", query.table)))?;
        let scopes = namespaces.scopes();
        let answered = passes::answer(query, &passed, &mut symbols, &scopes);
        warn_of_overflows(answered.overflows);
        self.print(&query.fields, &answered.batch, &scopes);
        Ok(())
    }
}
