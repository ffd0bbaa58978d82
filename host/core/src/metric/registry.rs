//! Every series of every probe. It outlives the probes' instances, so a trap or an update resets no counter; "now" comes as an argument.

mod apply;
mod cadvisor;
mod exemplar;
mod labels;
mod store;

pub use apply::{Applied, Reason};

use super::{
    exposition::Page,
    family::{Family, FamilyError, Names, families},
};
use crate::{
    event::counted::{Counted, counted},
    probe::{EventType, MetricKind, Plan},
    scope::{ScopeId, Scopes},
};
use apply::Scratch;
use labels::{Who, render};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use store::Store;

/// For how long a part's last total is kept after it was last given (rule 10).
pub const PART_LIFETIME: Duration = Duration::from_secs(300);

/// One moment, on both of the host's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_MONOTONIC.
    pub monotonic: Duration,
    /// Since the Unix epoch.
    pub unix: Duration,
}

/// What a probe's metrics may take up (rule 33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series of each metric. A series of kernel totals counts once for each of its parts.
    pub series: usize,
    /// UTF-8 bytes of a label's value, at least 3.
    pub label_bytes: usize,
    /// Whether they may have another system's names and labels: the configuration chose the probe by `compat` (rule 13).
    pub foreign: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { series: 10_000, label_bytes: 256, foreign: false }
    }
}

/// A probe's place in the registry that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeId(usize);

/// The series of all probes.
#[derive(Default)]
pub struct Registry {
    names: Names,
    probes: Vec<Probe>,
    /// Dead scopes whose counters are still on the page.
    gone: HashSet<ScopeId>,
    /// Counts collections; gauges say in which one they were set. 0 is none.
    collection: u64,
    outputs: u64,
    scratch: Scratch,
    /// The labels of an event's series, in a buffer that is used again and again.
    exemplar_labels: String,
}

struct Probe {
    attached: Now,
    limits: Limits,
    metrics: Vec<Metric>,
    /// The counters of its types of events.
    counted: HashMap<String, Counted>,
}

struct Metric {
    name: String,
    family: Family,
    store: Store,
}

impl Registry {
    pub fn new() -> Self {
        Self { collection: 1, ..Self::default() }
    }

    /// Takes a probe's metrics in, before its first output. `sampled` says of each metric, in the plan's order, whether it is fed by
    /// stream queries (rule 8); missing ones are not. `now` is when the probe was attached.
    ///
    /// # Errors
    /// Everything that is wrong with its metrics' names, labels and bounds, also names that another probe has. Nothing is kept then.
    pub fn add_probe(
        &mut self,
        name: &str,
        plan: &Plan,
        sampled: &[bool],
        limits: Limits,
        now: Now,
    ) -> Result<ProbeId, Vec<FamilyError>> {
        let families = families(name, plan, sampled, limits.foreign)?;
        self.names.take(name, plan, &families)?;
        let metric = |(metric, family): (&crate::probe::Metric, Family)| Metric {
            name: metric.name.clone(),
            store: Store::new(limits.series, !matches!(family.kind, MetricKind::Counter | MetricKind::Histogram)),
            family,
        };
        let metrics = plan.metrics.iter().zip(families).map(metric).collect();
        // What is wrong with one was told when the plan's events were checked.
        let counted_of = |ty: &EventType| Some((ty.name.clone(), counted(plan, ty).ok()??));
        let counted = plan.events.iter().filter_map(counted_of).collect();
        self.probes.push(Probe { attached: now, limits, metrics, counted });
        Ok(ProbeId(self.probes.len() - 1))
    }

    /// Begins a collection: gauges are off the page from now on unless they are set again (rule 2).
    pub fn begin_collection(&mut self) {
        self.collection += 1;
        for store in self.stores() {
            store.0.forget_states_before(store.1 - 1);
        }
    }

    /// A scope is dead: its gauges go, its counters stay until `forget_scope` (rule 7).
    pub fn scope_gone(&mut self, scope: ScopeId) {
        self.gone.insert(scope);
        for (store, _) in self.stores() {
            store.remove_states_of(scope);
        }
    }

    /// A scope's name is final: what was held back of it is on the page from now on (rule 6).
    pub fn settle_scope(&mut self, scope: ScopeId, scopes: &Scopes) {
        for metric in self.probes.iter_mut().flat_map(|probe| &mut probe.metrics) {
            let who = Who::new(metric.family.scoped, scope, scopes);
            metric.store.settle(scope, |key| render(who, &metric.family.labels, key));
        }
    }

    /// A dead scope's counters go, but for series that another scope shares (rule 7).
    pub fn forget_scope(&mut self, scope: ScopeId) {
        self.gone.remove(&scope);
        for (store, _) in self.stores() {
            store.remove_scope(scope);
        }
    }

    /// Forgets the last totals of parts not seen for `PART_LIFETIME` (rule 10). A series of a living scope goes with the last of its
    /// parts: of a device that is no more, and whose place in the budget others need.
    pub fn expire_parts(&mut self, now: Now) {
        let Some(before) = now.monotonic.checked_sub(PART_LIFETIME) else { return };
        for probe in &mut self.probes {
            for metric in &mut probe.metrics {
                metric.store.expire_parts(before, &self.gone);
            }
        }
    }

    /// How many series of a probe are on the page. A histogram is one.
    pub fn series(&self, probe: ProbeId) -> usize {
        let metrics = self.probes.get(probe.0).map_or(&[][..], |probe| &probe.metrics);
        metrics.iter().map(|metric| metric.store.visible(self.collection).count()).sum()
    }

    /// Writes all families that have series, by probe and in the order of its plan.
    pub fn write(&self, page: &mut Page<'_>) {
        for metric in self.probes.iter().flat_map(|probe| &probe.metrics) {
            let family = &metric.family;
            let mut page = match family.foreign {
                true => page.foreign(&family.name, family.kind, &family.help),
                false => page.family(&family.name, family.kind, &family.unit, &family.help),
            };
            for series in metric.store.visible(self.collection) {
                series.write(&mut page);
            }
        }
    }

    /// All stores, each with the current collection.
    fn stores(&mut self) -> impl Iterator<Item = (&mut Store, u64)> {
        let collection = self.collection;
        let metrics = self.probes.iter_mut().flat_map(|probe| &mut probe.metrics);
        metrics.map(move |metric| (&mut metric.store, collection))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
