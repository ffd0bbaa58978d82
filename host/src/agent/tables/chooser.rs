//! A pass over the kernel's objects that says where other tables are read (rule 25).

use crate::source::{
    hook::Owner,
    iter::{Passed, Program},
    table::TableRows,
};
use netsonde_core::{batch::Batch, bpf::record::Scoping, query::Query};
use std::{sync::Arc, time::Instant};

#[derive(Debug)]
pub struct Chooser {
    /// Its number among the reads.
    pub number: usize,
    pub query: Arc<Query>,
    program: Result<Program, String>,
}

impl Chooser {
    pub fn load(number: usize, query: Arc<Query>) -> Self {
        let owner = Owner { probe: "host".into(), query: "within".into(), sql: String::new(), stack: false };
        let program = Program::load(owner, &query).map_err(|error| error.to_string());
        Self { number, query, program }
    }

    pub fn renumbered(self, number: usize) -> Self {
        Self { number, ..self }
    }

    /// Makes the pass: a row for each namespace that the kernel has found.
    ///
    /// # Errors
    /// Why there are none.
    pub fn rows(&self, scopes: &mut dyn Scoping, deadline: Instant) -> Result<(TableRows, Passed), String> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        let mut passed = program.pass(deadline, scopes).map_err(|error| error.to_string())?;
        let batch: Batch = std::mem::take(&mut passed.batch);
        Ok((TableRows { batch, failed: Vec::new(), overflows: passed.overflows }, passed))
    }
}
