//! The series of one metric, the scopes that feed them, and the last totals of their parts.

mod series;
mod settle;

pub(super) use series::{Data, State};

use crate::{
    metric::{exemplar::Exemplar, value::Value},
    scope::ScopeId,
};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use series::Series;
use slab::Slab;
use smallvec::SmallVec;
use std::{collections::HashSet, hash::BuildHasher, time::Duration};

/// Index of a member or part, in four bytes: memory ends long before they do.
pub(super) type Index = u32;

/// A key. Most fit in: to compare one must not cost a cache miss.
type Bytes = SmallVec<[u8; 24]>;

/// What one scope (0: none) gives to a series. It is found by the scope and the final texts of the labels.
struct Member {
    scope: ScopeId,
    key: Bytes,
    series: usize,
    parts: u32,
    /// Whether anything but totals came from it.
    added: bool,
    /// The output that has it, and the one that has it with labels that were not changed: numbers of outputs.
    seen: u64,
    seen_unchanged: u64,
}

/// The last total of one part.
struct Part {
    member: Index,
    /// Tells labels and parts apart that became equal when they were cut.
    identity: u64,
    name: Bytes,
    last: Value,
    seen: Duration,
    output: u64,
}

pub(super) struct Store {
    states: bool,
    hasher: RandomState,
    members: Slab<Member>,
    by_row: HashTable<Index>,
    series: Slab<Series>,
    by_labels: HashTable<usize>,
    parts: Slab<Part>,
    by_part: HashTable<Index>,
    hints: Vec<Index>,
    /// Series that are not `beyond`, and parts but for the first of each series.
    used: usize,
    limit: usize,
}

impl Store {
    /// `limit` bounds series and parts; `states`: whether it is of gauges.
    pub fn new(limit: usize, states: bool) -> Self {
        Self {
            states,
            hasher: RandomState::default(),
            members: Slab::new(),
            by_row: HashTable::new(),
            series: Slab::new(),
            by_labels: HashTable::new(),
            parts: Slab::new(),
            by_part: HashTable::new(),
            hints: Vec::new(),
            used: 0,
            limit,
        }
    }

    pub fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    /// Series to show in `collection`.
    pub fn visible(&self, collection: u64) -> impl Iterator<Item = &Series> {
        let is_visible = move |series: &&Series| series.data.is_visible(collection) && !series.is_held();
        self.series.iter().map(|(_, series)| series).filter(is_visible)
    }

    /// The member of a row. `hint` is what it might be: it spares the hash and the jump into the table.
    pub fn find(&self, scope: ScopeId, key: &[u8], hint: Index) -> Option<Index> {
        if self.members.get(hint as usize).is_some_and(|member| member.scope == scope && *member.key == *key) {
            return Some(hint);
        }
        let hash = self.hasher.hash_one((scope, key));
        let is_it = |&index: &Index| {
            let member = &self.members[index as usize];
            member.scope == scope && *member.key == *key
        };
        self.by_row.find(hash, is_it).copied()
    }

    /// What `row` of the last output was of: mostly, the next one has the same rows in the same order.
    pub fn hint(&self, row: usize) -> Index {
        self.hints.get(row).copied().unwrap_or(Index::MAX)
    }

    /// Keeps what the rows of an output are of, for the next one; no more of them than there are members and parts.
    pub fn keep_hints(&mut self, targets: &[Index]) {
        let most = self.members.len() + self.parts.len();
        self.hints.clear();
        self.hints.extend_from_slice(&targets[..targets.len().min(most)]);
    }

    /// Makes a member for a row that has none. Its series is made too unless it is there already, for another scope; none if the budget is
    /// used up, unless `beyond`.
    pub fn admit(&mut self, row: (ScopeId, &[u8]), labels: String, data: Data, beyond: bool) -> Option<Index> {
        let hash = self.hasher.hash_one(labels.as_str());
        let known = self.by_labels.find(hash, |&index| *self.series[index].labels == *labels).copied();
        let series = match known {
            Some(series) => series,
            None if self.is_full() && !beyond => return None,
            None => {
                self.used += usize::from(!beyond);
                let series = Series { labels: labels.into(), data, members: 0, parts: 0, beyond, exemplar: None };
                let index = self.series.insert(series);
                let (hasher, all) = (&self.hasher, &self.series);
                self.by_labels.insert_unique(hash, index, |&index| hasher.hash_one(&*all[index].labels));
                index
            }
        };
        self.series[series].members += 1;
        Some(self.insert_member(row, series))
    }

    fn insert_member(&mut self, (scope, key): (ScopeId, &[u8]), series: usize) -> Index {
        let member = Member { scope, key: key.into(), series, parts: 0, added: false, seen: 0, seen_unchanged: 0 };
        let index = self.members.insert(member) as Index;
        let (hasher, all) = (&self.hasher, &self.members);
        let rehash = |&index: &Index| {
            let member = &all[index as usize];
            hasher.hash_one((member.scope, &*member.key))
        };
        self.by_row.insert_unique(hasher.hash_one((scope, key)), index, rehash);
        index
    }

    /// Notes that `output` has this member. False if it had it before, with the same labels.
    pub fn mark(&mut self, member: Index, output: u64, unchanged: bool) -> bool {
        let member = &mut self.members[member as usize];
        member.seen = output;
        !unchanged || std::mem::replace(&mut member.seen_unchanged, output) != output
    }

    /// Notes that `output` has this part. False if it had it before.
    pub fn mark_part(&mut self, part: Index, output: u64) -> bool {
        std::mem::replace(&mut self.parts[part as usize].output, output) != output
    }

    fn series_of(&mut self, member: Index) -> &mut Series {
        &mut self.series[self.members[member as usize].series]
    }

    /// Gives the series with these labels an exemplar, if there is one.
    pub fn note(&mut self, labels: &str, exemplar: Exemplar) {
        let hash = self.hasher.hash_one(labels);
        if let Some(&series) = self.by_labels.find(hash, |&index| *self.series[index].labels == *labels) {
            self.series[series].note(exemplar);
        }
    }

    /// Adds an increase to a counter.
    pub fn add(&mut self, member: Index, increase: Value) {
        self.members[member as usize].added = true;
        if let Data::Counter { value, .. } = &mut self.series_of(member).data {
            value.add(increase);
        }
    }

    /// Sets a gauge. Of scopes with equal labels the newest counts.
    pub fn set(&mut self, member: Index, new: Value, collection: u64) {
        let owner = self.members[member as usize].scope;
        if let Data::Gauge { value, state } = &mut self.series_of(member).data
            && state.take(owner, collection)
        {
            *value = new;
        }
    }

    /// Adds observations to a histogram; `bucket` none: one of the value `sum`.
    pub fn observe(&mut self, member: Index, bucket: Option<(usize, u64)>, sum: f64) {
        self.members[member as usize].added = true;
        if let Data::Histogram { histogram, .. } = &mut self.series_of(member).data {
            match bucket {
                Some((bucket, count)) => histogram.add(bucket, count, sum),
                None => histogram.observe(sum),
            }
        }
    }

    /// Adds to a gauge histogram's state, which begins anew with each output. Of scopes with equal labels the newest counts.
    pub fn set_bucket(&mut self, member: Index, bucket: (usize, u64), sum: f64, collection: u64, serial: u64) {
        let scope = self.members[member as usize].scope;
        if let Data::GaugeHistogram { histogram, state, output } = &mut self.series_of(member).data {
            let before = *state;
            if state.take(scope, collection) {
                if before.owner != scope || *output != serial {
                    histogram.clear();
                }
                *output = serial;
                histogram.add(bucket.0, bucket.1, sum);
            }
        }
    }

    /// The part of a row, if it is `hint`.
    pub fn find_part_at(&self, hint: Index, row: (ScopeId, &[u8]), identity: u64, name: &[u8]) -> Option<Index> {
        let part = self.parts.get(hint as usize)?;
        let member = self.members.get(part.member as usize)?;
        let is_it = (member.scope, &*member.key) == row && (part.identity, &*part.name) == (identity, name);
        is_it.then_some(hint)
    }

    /// The part of a member.
    pub fn find_part(&self, member: Index, identity: u64, name: &[u8]) -> Option<Index> {
        let is_it = |&index: &Index| {
            let part = &self.parts[index as usize];
            part.member == member && part.identity == identity && *part.name == *name
        };
        self.by_part.find(self.hasher.hash_one((member, identity, name)), is_it).copied()
    }

    /// Takes the next total of a part: what it grew by is added to the series.
    pub fn advance(&mut self, part: Index, total: Value, now: Duration) {
        let part = &mut self.parts[part as usize];
        let increase = total.since(part.last);
        (part.last, part.seen) = (total, now);
        let series = self.members[part.member as usize].series;
        self.series[series].data.add_total(increase);
    }

    /// Takes the first total of a part, whole. False, and nothing is changed, if the budget is used up.
    pub fn begin_part(&mut self, member: Index, identity: u64, name: &[u8], total: Value, now: Duration) -> bool {
        let full = self.is_full();
        let series = &mut self.series[self.members[member as usize].series];
        if series.parts > 0 {
            if full {
                return false;
            }
            self.used += 1;
        }
        series.parts += 1;
        series.data.add_total(total);
        self.members[member as usize].parts += 1;
        let part = Part { member, identity, name: name.into(), last: total, seen: now, output: 0 };
        let index = self.parts.insert(part) as Index;
        let (hasher, all) = (&self.hasher, &self.parts);
        let rehash = |&index: &Index| all[index as usize].hash(hasher);
        self.by_part.insert_unique(all[index as usize].hash(hasher), index, rehash);
        true
    }

    /// Removes gauges that were last set before `collection`.
    pub fn forget_states_before(&mut self, collection: u64) {
        if !self.states {
            return;
        }
        self.remove_members(|_, series| series.data.state().is_some_and(|state| state.collection < collection));
    }

    /// Makes room: removes gauges that were set neither in `collection` nor in `output`.
    pub fn forget_states_not_in(&mut self, collection: u64, output: u64) {
        let is_stale = |series: &Series| series.data.state().is_some_and(|state| state.collection < collection);
        self.remove_members(|member, series| member.seen != output && is_stale(series));
    }

    /// Removes the gauges of a scope.
    pub fn remove_states_of(&mut self, scope: ScopeId) {
        if !self.states {
            return;
        }
        self.remove_members(|member, _| member.scope == scope);
        for (_, series) in &mut self.series {
            if let Some(state) = series.data.state_mut()
                && state.owner == scope
            {
                *state = State::default();
            }
        }
    }

    /// Removes all that a scope alone has.
    pub fn remove_scope(&mut self, scope: ScopeId) {
        let parts = self.parts.iter().filter(|(_, part)| self.members[part.member as usize].scope == scope);
        let parts: Vec<usize> = parts.map(|(index, _)| index).collect();
        for part in parts {
            self.remove_part(part);
        }
        self.remove_members(|member, _| member.scope == scope);
    }

    /// Removes parts last seen at `before` or earlier, and members that had nothing else and whose scope lives.
    pub fn expire_parts(&mut self, before: Duration, gone: &HashSet<ScopeId>) {
        let expired = self.parts.iter().filter(|(_, part)| part.seen <= before);
        let expired: Vec<usize> = expired.map(|(index, _)| index).collect();
        for part in expired {
            let member = self.remove_part(part);
            if !gone.contains(&self.members[member as usize].scope) {
                self.remove_idle(member);
            }
        }
    }

    fn remove_part(&mut self, index: usize) -> Index {
        let part = self.parts.remove(index);
        if let Ok(entry) = self.by_part.find_entry(part.hash(&self.hasher), |&other| other as usize == index) {
            entry.remove();
        }
        let member = &mut self.members[part.member as usize];
        member.parts -= 1;
        let series = &mut self.series[member.series];
        series.parts -= 1;
        self.used -= usize::from(series.parts > 0);
        part.member
    }

    /// Removes a member to which nothing was added and that has no parts.
    pub fn remove_idle(&mut self, member: Index) {
        let idle = &self.members[member as usize];
        if idle.parts == 0 && !idle.added {
            self.remove_member(member as usize);
        }
    }

    /// Removes members, none of which may have parts.
    fn remove_members(&mut self, which: impl Fn(&Member, &Series) -> bool) {
        let chosen = self.members.iter().filter(|(_, member)| which(member, &self.series[member.series]));
        let chosen: Vec<usize> = chosen.map(|(index, _)| index).collect();
        for member in chosen {
            self.remove_member(member);
        }
    }

    fn remove_member(&mut self, index: usize) {
        let member = self.members.remove(index);
        let hash = self.hasher.hash_one((member.scope, &*member.key));
        if let Ok(entry) = self.by_row.find_entry(hash, |&other| other as usize == index) {
            entry.remove();
        }
        let series = &mut self.series[member.series];
        series.members -= 1;
        if series.members > 0 {
            return;
        }
        let series = self.series.remove(member.series);
        let hash = self.hasher.hash_one(&*series.labels);
        if let Ok(entry) = self.by_labels.find_entry(hash, |&other| other == member.series) {
            entry.remove();
        }
        self.used -= usize::from(!series.beyond);
    }
}

impl Part {
    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((self.member, self.identity, &*self.name))
    }
}

#[cfg(test)]
mod consistency;
