//! What the kernel counts itself: the groups of aggregating queries over tracepoints, until their probes have taken them in.

use super::{
    collector::Delivered,
    namespaces::Namespaces,
    slot::Slot,
    streams::{Names, Whose},
};
use crate::{
    bpf::kallsyms::Symbols,
    source::hook::{Figures, HookId, Hooks},
};
use netsonde_core::{
    batch::{Batch, Column},
    query::{Answered, Query},
    scope::Scopes,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The groups of all queries.
pub struct Counts {
    hooks: Arc<Hooks>,
    namespaces: Arc<Namespaces>,
    symbols: Mutex<Symbols>,
    /// Of this collection: groups, and the value of each aggregate in each.
    groups: HashMap<HookId, (Batch, Vec<Column>)>,
}

impl Counts {
    pub fn new(hooks: Arc<Hooks>, namespaces: Arc<Namespaces>, symbols: Symbols) -> Self {
        Self { hooks, namespaces, symbols: Mutex::new(symbols), groups: HashMap::new() }
    }

    /// Takes what is in the kernel; waits for it some milliseconds.
    pub fn collect(&self) {
        self.hooks.collect();
    }

    /// Gathers what there is for a probe, and why a query of it is not answered now.
    pub fn gather(&mut self, slot: &mut Slot) {
        let mut whose = Whose::new(&self.namespaces);
        let mut detached = vec![None; slot.queries.len()];
        for (index, query, hook) in slot.hooks() {
            detached[index] = self.hooks.detached(hook);
            if !query.is_stream()
                && let Some(groups) = self.hooks.groups(hook, &mut whose)
            {
                self.groups.insert(hook, groups);
            }
        }
        slot.detached = detached;
    }

    /// A query's rows.
    ///
    /// # Errors
    /// Why there are none.
    pub fn answer(&self, query: &Query, hook: HookId, scopes: &Scopes) -> Result<Answered, String> {
        // What was counted before its program was detached is still told.
        let Some((batch, partial)) = self.groups.get(&hook) else {
            return Err(self.hooks.detached(hook).unwrap_or_else(|| "nothing was counted".into()));
        };
        if let (0, Some(why)) = (batch.rows, self.hooks.detached(hook)) {
            return Err(why);
        }
        let mut symbols = self.symbols.lock().unwrap_or_else(PoisonError::into_inner);
        let names = Names::new(query, batch, &mut symbols);
        let columns: Vec<&Column> = batch.columns.iter().collect();
        Ok(query.run_groups(batch.rows, &columns, partial, &names.with(scopes)))
    }

    /// A probe's answer is on the page: what it was given begins anew.
    pub fn taken(&mut self, slot: &Slot, delivered: &Delivered) {
        for (index, query, hook) in slot.hooks() {
            let given = delivered.queries.iter().any(|(query, rows)| *query == index && rows.is_some());
            if given && !query.is_stream() {
                self.hooks.taken(hook);
                self.groups.remove(&hook);
            }
        }
    }

    pub fn figures(&self) -> Vec<Figures> {
        self.hooks.figures()
    }
}
