//! The queries of a probe's plan on this node: which of them are answered, and by whom.

use super::Slot;
use crate::{
    agent::reads::{Binding, Reads},
    source::{
        hook::{HookId, Owner},
        iter::PassId,
    },
};
use netsonde_core::{
    config::GUARDED_TABLES,
    probe::QueryState,
    query::{self, Asker, Kind, Query, QueryError},
    table::{Catalogue, Per},
};

/// A query of the plan on this node.
#[derive(Clone, Debug)]
pub enum Planned {
    /// Where its columns are is known once the reads of all probes are.
    Runs(Box<Query>, Binding),
    /// Over a tracepoint, by this program.
    Hooked(Box<Query>, HookId),
    /// Over the kernel's objects, by a pass of this program.
    Passed(Box<Query>, PassId),
    Absent(String),
}

impl Slot {
    /// Whether each query is one at all: a text that no node could answer is the probe's fault.
    pub(super) fn check_queries(&self, catalogue: &Catalogue) -> Result<(), String> {
        let wrong =
            self.plan.queries.iter().filter_map(|query| match query::plan(&query.sql, catalogue, Asker::Probe) {
                Err(error) if error.kind == Kind::Text => Some(format!("query `{}`: {error}", query.name)),
                _ => None,
            });
        let mut wrong: Vec<String> = wrong.collect();
        for (index, query) in self.plan.queries.iter().enumerate() {
            if self.plan.queries[..index].iter().any(|before| before.name == query.name) {
                wrong.push(format!("two queries are named `{}`", query.name));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    pub(super) fn plan_queries(&mut self, catalogue: &Catalogue) {
        let planned = |query: &netsonde_core::probe::Query| match query::plan(&query.sql, catalogue, Asker::Probe) {
            Ok(checked) if self.guarded(&checked).is_some() => {
                let (name, table) = (&self.spec.name, self.guarded(&checked).unwrap_or_default());
                Planned::Absent(format!(
                    "{table} tells names and labels of pods; who wants the probe to know them says `allow: [{table}]` under \
                     `probes.{name}`"
                ))
            }
            Ok(checked) if checked.per == Per::Event => self.hook(query, checked),
            Ok(checked) if checked.per == Per::Pass => self.pass(query, checked),
            Ok(checked) => Planned::Runs(Box::new(checked), Binding::default()),
            Err(error @ QueryError { .. }) => Planned::Absent(error.to_string()),
        };
        let queries: Vec<Planned> = self.plan.queries.iter().map(planned).collect();
        self.queries = queries;
        self.detached = vec![None; self.queries.len()];
        let hooks: Vec<HookId> = self.hooks().map(|(_, _, id)| id).collect();
        let passes: Vec<PassId> = self.passes().collect();
        self.host.programs.keep(&self.spec.name, &hooks, &passes);
    }

    /// The first table that a query asks, also to choose namespaces, without being allowed to.
    fn guarded<'q>(&self, query: &'q Query) -> Option<&'q str> {
        let mut tables = [query].into_iter().chain(&query.within).map(|query| query.table.as_str());
        let is_allowed = |table: &str| self.spec.allow.iter().any(|allowed| allowed == table);
        tables.find(|table| GUARDED_TABLES.contains(table) && !is_allowed(table))
    }

    fn owner(&self, query: &netsonde_core::probe::Query, checked: &Query) -> Owner {
        let (probe, stack) = (self.spec.name.clone(), self.spec.stack && checked.is_stream());
        Owner { probe, query: query.name.clone(), sql: query.sql.clone(), stack }
    }

    fn pass(&self, query: &netsonde_core::probe::Query, checked: Query) -> Planned {
        match self.host.programs.ready(self.owner(query, &checked), &checked) {
            Ok(id) => Planned::Passed(Box::new(checked), id),
            Err(why) => Planned::Absent(why),
        }
    }

    fn hook(&self, query: &netsonde_core::probe::Query, checked: Query) -> Planned {
        match self.host.programs.attach(self.owner(query, &checked), &checked) {
            Ok(id) => Planned::Hooked(Box::new(checked), id),
            Err(why) => Planned::Absent(why),
        }
    }

    /// Ends the programs of a probe that does not run.
    pub(super) fn let_go(&mut self) {
        for planned in &mut self.queries {
            if let Planned::Hooked(..) | Planned::Passed(..) = planned {
                *planned = Planned::Absent("its probe does not run".into());
            }
        }
        self.host.programs.keep(&self.spec.name, &[], &[]);
    }

    /// The queries over tracepoints: index in the plan, query, program.
    pub fn hooks(&self) -> impl Iterator<Item = (usize, &Query, HookId)> {
        self.queries.iter().enumerate().filter_map(|(index, planned)| match planned {
            Planned::Hooked(query, id) => Some((index, query.as_ref(), *id)),
            Planned::Runs(..) | Planned::Passed(..) | Planned::Absent(_) => None,
        })
    }

    /// The passes that the probe's queries take.
    pub fn passes(&self) -> impl Iterator<Item = PassId> {
        self.queries.iter().filter_map(|planned| match planned {
            Planned::Passed(_, id) => Some(*id),
            Planned::Runs(..) | Planned::Hooked(..) | Planned::Absent(_) => None,
        })
    }

    /// Whether a query's rows come by themselves.
    pub fn is_streamed(&self, query: usize) -> bool {
        self.detached.get(query).is_some_and(Option::is_none)
            && self.hooks().any(|(index, hook, _)| index == query && hook.is_stream())
    }

    /// Whether each metric is fed by a stream.
    pub(super) fn sampled(&self) -> Vec<bool> {
        let is_stream = |&query: &u32| self.hooks().any(|(index, hook, _)| index == query as usize && hook.is_stream());
        self.plan.metrics.iter().map(|metric| metric.queries.iter().any(is_stream)).collect()
    }

    /// Why a query without which the probe does not run cannot be answered here.
    pub(super) fn missing(&self) -> Option<String> {
        let queries = self.plan.queries.iter().zip(&self.queries);
        let mut missing = queries.filter_map(|(query, planned)| match planned {
            Planned::Absent(why) if !query.optional => Some(format!("query `{}`: {why}", query.name)),
            _ => None,
        });
        missing.next()
    }

    pub(super) fn states(&self) -> Vec<QueryState> {
        let state = |planned: &Planned| match planned {
            Planned::Runs(query, _) | Planned::Hooked(query, _) | Planned::Passed(query, _) => {
                QueryState::Runs(query.fields.clone())
            }
            Planned::Absent(why) => QueryState::Absent(why.clone()),
        };
        self.queries.iter().map(state).collect()
    }

    /// Tells the probe's queries where their columns are.
    pub fn bind(&mut self, reads: &mut Reads) {
        for planned in &mut self.queries {
            if let Planned::Runs(query, binding) = planned {
                *binding = reads.bind(query);
            }
        }
    }

    /// Why the plan's query `index` cannot be answered on this node.
    pub fn absent(&self, index: usize) -> Option<String> {
        match self.queries.get(index)? {
            Planned::Absent(why) => Some(why.clone()),
            Planned::Runs(..) | Planned::Hooked(..) | Planned::Passed(..) => None,
        }
    }
}
