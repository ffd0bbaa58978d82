//! One series and its value.

use super::super::labels::HELD;
use crate::{
    metric::{exemplar::Exemplar, exposition::FamilyPage, histogram::Histogram, value::Value},
    scope::ScopeId,
};
use std::time::Duration;

/// One series of the page.
pub struct Series {
    /// Rendered once: `pod="a",device="eth0"`.
    pub labels: Box<str>,
    pub data: Data,
    /// How many scopes feed it; more than one where their labels are equal (rule 5).
    pub members: u32,
    pub parts: u32,
    /// An `other`, which exists only because the budget was used up, and is not counted in it.
    pub beyond: bool,
    /// The latest of the events that it counts. Few series have one.
    pub exemplar: Option<Box<Exemplar>>,
}

pub enum Data {
    /// `created` since the Unix epoch, where the value began at 0 then.
    Counter {
        value: Value,
        created: Option<Duration>,
    },
    Histogram {
        histogram: Box<Histogram>,
        created: Duration,
    },
    Gauge {
        value: Value,
        state: State,
    },
    GaugeHistogram {
        histogram: Box<Histogram>,
        state: State,
        output: u64,
    },
}

/// Whose state a gauge shows, and of which collection.
#[derive(Clone, Copy, Default)]
pub struct State {
    pub owner: ScopeId,
    pub collection: u64,
}

impl Series {
    /// Whether it waits for its scope's name (rule 6).
    pub fn is_held(&self) -> bool {
        self.labels.starts_with(HELD)
    }

    /// Takes another one in, of a scope with equal labels (rule 5).
    pub fn merge(&mut self, other: Series) {
        self.members += other.members;
        self.parts += other.parts;
        other.exemplar.into_iter().for_each(|other| self.note(*other));
        self.data.merge(other.data);
    }

    /// Takes an exemplar, unless it has a later one.
    pub fn note(&mut self, exemplar: Exemplar) {
        match &mut self.exemplar {
            Some(own) => **own = own.later(exemplar),
            None => self.exemplar = Some(Box::new(exemplar)),
        }
    }

    pub fn write(&self, page: &mut FamilyPage<'_, '_>) {
        match &self.data {
            Data::Counter { value, created } => {
                page.sample_of(&self.labels, *value, *created, self.exemplar.as_deref().copied());
            }
            Data::Gauge { value, .. } => page.sample_of(&self.labels, *value, None, None),
            Data::Histogram { histogram, created } => page.histogram_of(&self.labels, histogram, Some(*created)),
            Data::GaugeHistogram { histogram, .. } => page.histogram_of(&self.labels, histogram, None),
        }
    }
}

impl Data {
    /// Counters add up, of states the newest scope's counts. Both are of one metric.
    fn merge(&mut self, other: Data) {
        match (self, other) {
            (Data::Counter { value, created }, Data::Counter { value: more, created: other }) => {
                value.add(more);
                *created = created.filter(|_| other.is_some());
            }
            (Data::Histogram { histogram, .. }, Data::Histogram { histogram: more, .. }) => histogram.merge(&more),
            (own @ (Data::Gauge { .. } | Data::GaugeHistogram { .. }), other) => {
                let rank = |data: &Data| data.state().map(|state| (state.collection, state.owner));
                if rank(&other) > rank(own) {
                    *own = other;
                }
            }
            (Data::Counter { .. } | Data::Histogram { .. }, _) => {}
        }
    }

    pub fn is_visible(&self, collection: u64) -> bool {
        self.state().is_none_or(|state| state.collection == collection)
    }

    pub fn state(&self) -> Option<State> {
        match self {
            Data::Counter { .. } | Data::Histogram { .. } => None,
            Data::Gauge { state, .. } | Data::GaugeHistogram { state, .. } => Some(*state),
        }
    }

    pub fn state_mut(&mut self) -> Option<&mut State> {
        match self {
            Data::Counter { .. } | Data::Histogram { .. } => None,
            Data::Gauge { state, .. } | Data::GaugeHistogram { state, .. } => Some(state),
        }
    }

    /// Adds what a total grew by. When the kernel began to count is not known, so the series has no `_created` (rule 11).
    pub fn add_total(&mut self, increase: Value) {
        if let Data::Counter { value, created } = self {
            value.add(increase);
            *created = None;
        }
    }
}

impl State {
    /// Makes it the state of `owner` in `collection`, unless a newer scope has given it one there.
    pub fn take(&mut self, owner: ScopeId, collection: u64) -> bool {
        let free = self.collection != collection || self.owner <= owner;
        if free {
            *self = State { owner, collection };
        }
        free
    }
}
