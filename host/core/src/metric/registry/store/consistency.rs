//! What must hold in a store after every step.

use super::*;
use std::collections::HashMap;

impl Store {
    #[track_caller]
    pub fn assert_consistent(&self) {
        let (mut members, mut parts) = (HashMap::<usize, u32>::new(), HashMap::<Index, u32>::new());
        for (_, part) in &self.parts {
            *parts.entry(part.member).or_default() += 1;
        }
        let mut parts_of_series = HashMap::<usize, u32>::new();
        for (index, member) in &self.members {
            assert_eq!(self.find(member.scope, &member.key, Index::MAX), Some(index as Index));
            assert_eq!(member.parts, parts.get(&(index as Index)).copied().unwrap_or(0));
            *members.entry(member.series).or_default() += 1;
            *parts_of_series.entry(member.series).or_default() += member.parts;
        }
        let mut used = 0;
        for (index, series) in &self.series {
            assert_eq!(Some(&series.members), members.get(&index));
            assert_eq!(Some(&series.parts), parts_of_series.get(&index));
            used += usize::from(!series.beyond) + series.parts.saturating_sub(1) as usize;
        }
        assert_eq!(self.used, used);
        assert!(used <= self.limit);
        let indexed = (self.by_row.len(), self.by_labels.len(), self.by_part.len());
        assert_eq!(indexed, (self.members.len(), self.series.len(), self.parts.len()));
    }
}
