//! Series of scopes that have got their names (rule 6).

use super::{Series, Store};
use crate::scope::ScopeId;
use std::hash::BuildHasher;

impl Store {
    /// Brings the series of a scope onto the page that were held until its name was final; `labels` gives those of a key. One whose labels
    /// another scope has too is merged with that one's (rule 5).
    pub fn settle(&mut self, scope: ScopeId, labels: impl Fn(&[u8]) -> String) {
        let is_held = |series: usize| self.series[series].is_held();
        let held = self.members.iter().filter(|(_, member)| member.scope == scope && is_held(member.series));
        let held: Vec<usize> = held.map(|(index, _)| index).collect();
        for index in held {
            let labels = labels(&self.members[index].key);
            let hash = self.hasher.hash_one(labels.as_str());
            let known = self.by_labels.find(hash, |&index| *self.series[index].labels == *labels).copied();
            let own = self.members[index].series;
            self.unlist(own);
            match known {
                None => {
                    self.series[own].labels = labels.into();
                    let (hasher, all) = (&self.hasher, &self.series);
                    self.by_labels.insert_unique(hash, own, |&index| hasher.hash_one(&*all[index].labels));
                }
                Some(known) => {
                    let held = self.series.remove(own);
                    self.used -= held.takes();
                    self.used -= self.series[known].takes();
                    self.series[known].merge(held);
                    self.used += self.series[known].takes();
                    self.members[index].series = known;
                }
            }
        }
    }

    /// Takes a series out of those that are found by their labels.
    fn unlist(&mut self, series: usize) {
        let hash = self.hasher.hash_one(&*self.series[series].labels);
        if let Ok(entry) = self.by_labels.find_entry(hash, |&other| other == series) {
            entry.remove();
        }
    }
}

impl Series {
    /// Its share of the budget.
    fn takes(&self) -> usize {
        usize::from(!self.beyond) + self.parts.saturating_sub(1) as usize
    }
}
