//! One output of a probe becomes values of series.
//!
//! Two passes. The first finds the series of every row and whatever is given twice, and changes nothing that anyone can see; it may refuse
//! the output. The second changes values, and cannot fail (rule 3).

use super::{
    Limits, Metric, Now, ProbeId, Registry, cadvisor,
    labels::{Encoder, Who, handle, held_labels, other_key, render},
    store::{Data, Index, State},
};
use crate::{
    batch::Column,
    metric::{
        family::{Family, ScopeLabels},
        histogram::Histogram,
        value::Value,
    },
    output::{Checked, Given, OutputError, Owner},
    probe::{Buckets, MetricKind, Operation, Samples},
    scope::{ScopeId, Scopes},
};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::{collections::HashSet, hash::BuildHasher, time::Duration};

/// A row that has no value.
const ABSENT: Index = Index::MAX;
/// A row whose series, or part, is not there yet.
const NEW: Index = Index::MAX - 1;

/// Why a sample is not on the page, or not as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The metric has as many series as it may: a new one was left out.
    SeriesBudget,
    /// The same; its value is in the series whose labels are `other`.
    SeriesOther,
    /// A total's part was left out, because the budget is used up.
    PartBudget,
    /// A label was longer than its limit: the value is in the series with the cut one.
    LabelCut,
    /// A gauge of a scope that died meanwhile.
    ScopeGone,
}

impl Reason {
    pub const ALL: [Reason; 5] =
        [Reason::SeriesBudget, Reason::SeriesOther, Reason::PartBudget, Reason::LabelCut, Reason::ScopeGone];

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::SeriesBudget => "series_budget",
            Reason::SeriesOther => "series_other",
            Reason::PartBudget => "part_budget",
            Reason::LabelCut => "label_cut",
            Reason::ScopeGone => "scope_gone",
        }
    }
}

/// What became of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows whose value is in a series now.
    pub samples: u64,
    counts: [u64; Reason::ALL.len()],
}

impl Applied {
    /// How many rows had this happen to them.
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    fn add(&mut self, reason: Reason) {
        self.counts[reason as usize] += 1;
    }
}

/// The labels of a new series: until its scope has its name they are no page's.
fn labels(who: Who<'_>, family: &Family, scope: ScopeId, key: &[u8]) -> String {
    match who.scope() {
        Some(who) if who.held.is_some() => held_labels(scope, key),
        _ => render(who, &family.labels, key),
    }
}

/// Buffers that outputs use one after the other.
#[derive(Default)]
pub(super) struct Scratch {
    encoder: Encoder,
    /// For each row of the output: the member, or with totals the part, that it is of.
    targets: Vec<Index>,
    /// Rows that no member or part could be marked for, by 128 bits of hash: a set of keys might be larger than the output itself.
    seen: HashTable<(u64, u64)>,
    hashers: (RandomState, RandomState),
}

impl Scratch {
    fn clear(&mut self) {
        self.encoder.shrink();
        self.targets.clear();
        self.targets.shrink_to(16_384);
        self.seen.clear();
        self.seen.shrink_to(1024, |&(hash, _)| hash);
    }

    /// Whether this row of the encoder has been here before in this output.
    fn is_first(&mut self, metric: u32, scope: ScopeId) -> bool {
        let encoder = &self.encoder;
        let row = (metric, scope, encoder.change.identity, encoder.key.as_slice(), encoder.part.as_slice());
        let hash = (self.hashers.0.hash_one(row), self.hashers.1.hash_one(row));
        if self.seen.find(hash.0, |&other| other == hash).is_some() {
            return false;
        }
        self.seen.insert_unique(hash.0, hash, |&(hash, _)| hash);
        true
    }
}

/// Samples or buckets, as far as they are alike.
struct Rows<'o> {
    metric: u32,
    given: Given,
    scopes: Option<&'o Column>,
    labels: &'o [Column],
    parts: Option<&'o Column>,
    amounts: Amounts<'o>,
}

#[derive(Clone, Copy)]
enum Amounts<'o> {
    Values(&'o Column),
    Buckets(&'o Buckets),
}

impl<'o> From<&'o Samples> for Rows<'o> {
    fn from(samples: &'o Samples) -> Self {
        Self {
            metric: samples.metric,
            given: samples.operation.into(),
            scopes: samples.scopes.as_ref(),
            labels: &samples.labels,
            parts: samples.parts.as_ref(),
            amounts: Amounts::Values(&samples.values),
        }
    }
}

impl<'o> From<&'o Buckets> for Rows<'o> {
    fn from(buckets: &'o Buckets) -> Self {
        Self {
            metric: buckets.metric,
            given: Given::Buckets,
            scopes: buckets.scopes.as_ref(),
            labels: &buckets.labels,
            parts: None,
            amounts: Amounts::Buckets(buckets),
        }
    }
}

impl Rows<'_> {
    fn len(&self) -> usize {
        match self.amounts {
            Amounts::Values(column) => column.len(),
            Amounts::Buckets(buckets) => buckets.counts.len(),
        }
    }

    fn has(&self, row: usize) -> bool {
        match self.amounts {
            Amounts::Values(column) => column.has(row),
            Amounts::Buckets(_) => true,
        }
    }

    /// The value of samples.
    fn value(&self, row: usize) -> Value {
        match self.amounts {
            Amounts::Values(column) => Value::of(&column.values, row).unwrap_or(Value::ZERO),
            Amounts::Buckets(_) => Value::ZERO,
        }
    }
}

impl Registry {
    /// Applies an output whole, or not at all. `output` was checked against the plan with which the probe was added.
    ///
    /// # Errors
    /// A `set` on a series, or a `total` on a part of one, that the same scope has given already in this output (rule 9).
    pub fn apply(
        &mut self,
        probe: ProbeId,
        output: Checked<'_>,
        scopes: &Scopes,
        now: Now,
    ) -> Result<Applied, OutputError> {
        self.outputs += 1;
        self.scratch.clear();
        let Some(probe) = self.probes.get_mut(probe.0) else { return Ok(Applied::default()) };
        let mut pass = Pass {
            scratch: &mut self.scratch,
            limits: probe.limits,
            scopes,
            gone: &self.gone,
            attached: probe.attached,
            now: now.monotonic,
            collection: self.collection,
            output: self.outputs,
            applied: Applied::default(),
        };
        let metrics = probe.metrics.len();
        let rows = || output.samples.iter().map(Rows::from).chain(output.buckets.iter().map(Rows::from));
        for rows in rows() {
            let index = rows.metric;
            let metric = probe.metrics.get_mut(index as usize).ok_or(OutputError::NoMetric { index, metrics })?;
            pass.find(metric, &rows)?;
        }
        let mut next = 0;
        for rows in rows() {
            if let Some(metric) = probe.metrics.get_mut(rows.metric as usize) {
                pass.change(metric, &rows, next);
            }
            next += rows.len();
        }
        Ok(pass.applied)
    }
}

/// What one output is applied with.
struct Pass<'r> {
    scratch: &'r mut Scratch,
    limits: Limits,
    scopes: &'r Scopes,
    gone: &'r HashSet<ScopeId>,
    attached: Now,
    now: Duration,
    collection: u64,
    output: u64,
    applied: Applied,
}

impl Pass<'_> {
    /// The first pass over the rows of one metric.
    fn find(&mut self, metric: &mut Metric, rows: &Rows<'_>) -> Result<(), OutputError> {
        self.prepare(rows);
        let is_once = matches!(rows.given, Given::Samples(Operation::Set | Operation::Total));
        let first = self.scratch.targets.len();
        for row in 0..rows.len() {
            // Whom the other system does not show has no series here either: that is no loss.
            if !rows.has(row) || self.is_hidden(metric, rows, row) {
                self.scratch.targets.push(ABSENT);
                continue;
            }
            let (target, is_first) = self.find_row(metric, rows, row, is_once);
            // Rule 6: nothing is lost, as a state and a total come again.
            if is_once && self.scratch.encoder.held {
                self.scratch.targets.push(ABSENT);
                continue;
            }
            if is_once && !is_first {
                return Err(OutputError::Twice { owner: Owner::Metric(metric.name.clone()), given: rows.given, row });
            }
            if self.scratch.encoder.change.cut {
                self.applied.add(Reason::LabelCut);
            }
            self.scratch.targets.push(target);
        }
        metric.store.keep_hints(&self.scratch.targets[first..]);
        Ok(())
    }

    fn is_hidden(&self, metric: &Metric, rows: &Rows<'_>, row: usize) -> bool {
        metric.family.scoped == ScopeLabels::Cadvisor && !cadvisor::shows(handle(rows.scopes, row), self.scopes)
    }

    /// The member, or with totals the part, of a row, and whether this is the first row of it. The latter only if `is_once`.
    fn find_row(&mut self, metric: &mut Metric, rows: &Rows<'_>, row: usize, is_once: bool) -> (Index, bool) {
        let scope = self.encode(metric, rows, row);
        let store = &mut metric.store;
        let hint = store.hint(row);
        let Encoder { change, key, part, .. } = &self.scratch.encoder;
        if rows.given == Given::Samples(Operation::Total) {
            let find_part = |member| store.find_part(member, change.identity, part);
            let known = store
                .find_part_at(hint, (scope, key), change.identity, part)
                .or_else(|| store.find(scope, key, Index::MAX).and_then(find_part));
            return match known {
                Some(part) => (part, store.mark_part(part, self.output)),
                None => (NEW, self.scratch.is_first(rows.metric, scope)),
            };
        }
        match store.find(scope, key, hint) {
            Some(member) => {
                let unchanged = change.identity == 0;
                let is_first = store.mark(member, self.output, unchanged);
                (member, is_first && (unchanged || !is_once || self.scratch.is_first(rows.metric, scope)))
            }
            None => (NEW, !is_once || self.scratch.is_first(rows.metric, scope)),
        }
    }

    /// The second pass over the rows of one metric, whose targets begin at `first`.
    fn change(&mut self, metric: &mut Metric, rows: &Rows<'_>, first: usize) {
        if self.scratch.targets[first..first + rows.len()].contains(&NEW) {
            self.prepare(rows);
        }
        let mut has_made_room = false;
        for row in 0..rows.len() {
            let target = match self.scratch.targets[first + row] {
                ABSENT => continue,
                target => target,
            };
            let is_state = !matches!(metric.family.kind, MetricKind::Counter | MetricKind::Histogram);
            if is_state && self.gone.contains(&handle(rows.scopes, row)) {
                self.applied.add(Reason::ScopeGone);
                continue;
            }
            if target == NEW && is_state && metric.store.is_full() && !std::mem::replace(&mut has_made_room, true) {
                metric.store.forget_states_not_in(self.collection, self.output);
            }
            let outcome = match rows.given {
                Given::Samples(Operation::Total) => self.total(metric, rows, row, target),
                _ => self.change_row(metric, rows, row, target),
            };
            match outcome {
                Ok(()) => self.applied.samples += 1,
                Err(reason) => self.applied.add(reason),
            }
        }
    }

    fn total(&mut self, metric: &mut Metric, rows: &Rows<'_>, row: usize, part: Index) -> Result<(), Reason> {
        if part != NEW {
            metric.store.advance(part, rows.value(row), self.now);
            return Ok(());
        }
        let (scope, known) = self.member(metric, rows, row);
        let member = match known {
            Some(member) => member,
            None => self.admit(metric, scope).ok_or(Reason::SeriesBudget)?,
        };
        let Encoder { change, part, .. } = &self.scratch.encoder;
        if metric.store.begin_part(member, change.identity, part, rows.value(row), self.now) {
            return Ok(());
        }
        if known.is_none() {
            metric.store.remove_idle(member);
        }
        Err(Reason::PartBudget)
    }

    fn change_row(&mut self, metric: &mut Metric, rows: &Rows<'_>, row: usize, target: Index) -> Result<(), Reason> {
        let member = match target {
            NEW => self.member_or_other(metric, rows, row)?,
            member => member,
        };
        let store = &mut metric.store;
        match (rows.given, rows.amounts) {
            (Given::Samples(Operation::Add), _) => store.add(member, rows.value(row)),
            (Given::Samples(Operation::Observe), _) => store.observe(member, None, rows.value(row).as_f64()),
            (_, Amounts::Values(_)) => store.set(member, rows.value(row), self.collection),
            (_, Amounts::Buckets(buckets)) => {
                let bucket = (buckets.bounds[row] as usize, buckets.counts[row]);
                match metric.family.kind {
                    MetricKind::Histogram => store.observe(member, Some(bucket), buckets.sums[row]),
                    _ => store.set_bucket(member, bucket, buckets.sums[row], self.collection, self.output),
                }
            }
        }
        Ok(())
    }

    /// The member of a row that had none when the first pass was made, or the `other` of its scope (rule 33).
    fn member_or_other(&mut self, metric: &mut Metric, rows: &Rows<'_>, row: usize) -> Result<Index, Reason> {
        let (scope, member) = self.member(metric, rows, row);
        if let Some(member) = member.or_else(|| self.admit(metric, scope)) {
            return Ok(member);
        }
        let Metric { family, store, .. } = metric;
        let may_collapse = matches!(family.kind, MetricKind::Counter | MetricKind::Histogram);
        if !may_collapse || family.labels.is_empty() {
            return Err(Reason::SeriesBudget);
        }
        self.applied.add(Reason::SeriesOther);
        let key = other_key(&family.labels);
        if let Some(other) = store.find(scope, &key, Index::MAX) {
            return Ok(other);
        }
        let who = Who::new(family.scoped, scope, self.scopes);
        let labels = labels(who, family, scope, &key);
        let data = self.data(metric, who);
        metric.store.admit((scope, &key), labels, data, true).ok_or(Reason::SeriesBudget)
    }

    /// Makes a member for the row in the encoder, if the budget allows.
    fn admit(&self, metric: &mut Metric, scope: ScopeId) -> Option<Index> {
        let who = Who::new(metric.family.scoped, scope, self.scopes);
        let key = &self.scratch.encoder.key;
        let labels = labels(who, &metric.family, scope, key);
        let data = self.data(metric, who);
        metric.store.admit((scope, key), labels, data, false)
    }

    /// A new series' value. It began at 0 when the probe was attached, or when its scope was first seen (rule 11).
    fn data(&self, metric: &Metric, who: Who<'_>) -> Data {
        let created = match who.scope() {
            Some(scope) if scope.first_seen > self.attached.monotonic => scope.first_seen_unix,
            _ => self.attached.unix,
        };
        let histogram = || Box::new(Histogram::new(metric.family.bounds.clone()));
        match metric.family.kind {
            MetricKind::Counter => Data::Counter { value: Value::ZERO, created: Some(created) },
            MetricKind::Histogram => Data::Histogram { histogram: histogram(), created },
            MetricKind::GaugeHistogram => {
                Data::GaugeHistogram { histogram: histogram(), state: State::default(), output: 0 }
            }
            MetricKind::Gauge | MetricKind::Info | MetricKind::Unknown => {
                Data::Gauge { value: Value::ZERO, state: State::default() }
            }
        }
    }

    fn prepare(&mut self, rows: &Rows<'_>) {
        self.scratch.encoder.prepare(self.limits.label_bytes, rows.labels.iter().chain(rows.parts));
    }

    /// Encodes a row that had no member when the first pass was made, and looks whether it has one now.
    fn member(&mut self, metric: &Metric, rows: &Rows<'_>, row: usize) -> (ScopeId, Option<Index>) {
        let scope = self.encode(metric, rows, row);
        (scope, metric.store.find(scope, &self.scratch.encoder.key, Index::MAX))
    }

    fn encode(&mut self, metric: &Metric, rows: &Rows<'_>, row: usize) -> ScopeId {
        self.scratch.encoder.encode(row, &metric.family.labels, rows.labels, self.scopes);
        self.scratch.encoder.encode_part(row, rows.parts);
        handle(rows.scopes, row)
    }
}
