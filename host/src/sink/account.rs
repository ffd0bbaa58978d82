//! What became of the events that a sink was given, by probe.
//!
//! Reasons for which they are dropped: `queue_full`, `spill_full`, `too_old`, `refused`, `unreadable` (in the spill), `ended` (after the
//! agent's end began).

use netsonde_core::{event::Event, ledger::Account};
use std::{collections::BTreeMap, sync::Arc};

/// Where an event is that nobody is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Queue,
    /// Being delivered, and not in the spill as well.
    Hand,
    /// On the way from memory to the spill.
    Moving,
    Spill,
}

/// What becomes of an event in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    Dropped(&'static str),
}

/// Events of one sink by probe. What waits is counted by place, so that a place that loses one is seen.
#[derive(Debug, Default)]
pub struct Flows(BTreeMap<Arc<str>, Flow>);

#[derive(Debug, Default)]
struct Flow {
    produced: u64,
    resumed: u64,
    delivered: u64,
    dropped: BTreeMap<&'static str, u64>,
    at: [u64; 4],
}

impl Flow {
    fn ended(&mut self, count: u64, fate: Fate) {
        match fate {
            Fate::Delivered => self.delivered += count,
            Fate::Dropped(reason) => *self.dropped.entry(reason).or_default() += count,
        }
    }

    fn left(&mut self, place: Place, count: u64) {
        let at = &mut self.at[place as usize];
        *at = at.saturating_sub(count);
    }
}

impl Flows {
    fn of(&mut self, probe: &Arc<str>) -> &mut Flow {
        if !self.0.contains_key(probe) {
            self.0.insert(probe.clone(), Flow::default());
        }
        self.0.get_mut(probe).expect("it is there")
    }

    fn each(&mut self, events: &[Event], mut note: impl FnMut(&mut Flow, u64)) {
        for events in events.chunk_by(|a, b| Arc::ptr_eq(&a.probe, &b.probe)) {
            note(self.of(&events[0].probe), events.len() as u64);
        }
    }

    /// The sink was given them.
    pub fn came(&mut self, events: &[Event], to: Place) {
        self.each(events, |flow, count| {
            flow.produced += count;
            flow.at[to as usize] += count;
        });
    }

    /// The sink was given them, and did not take them.
    pub fn kept_out(&mut self, events: &[Event], reason: &'static str) {
        self.each(events, |flow, count| {
            flow.produced += count;
            flow.ended(count, Fate::Dropped(reason));
        });
    }

    /// An earlier run left so many in the spill.
    pub fn resumed(&mut self, probe: &Arc<str>, count: u64) {
        let flow = self.of(probe);
        flow.produced += count;
        flow.resumed += count;
        flow.at[Place::Spill as usize] += count;
    }

    pub fn moved(&mut self, events: &[Event], from: Place, to: Place) {
        self.each(events, |flow, count| {
            flow.left(from, count);
            flow.at[to as usize] += count;
        });
    }

    pub fn ended(&mut self, events: &[Event], from: Place, fate: Fate) {
        self.each(events, |flow, count| {
            flow.left(from, count);
            flow.ended(count, fate);
        });
    }

    /// One in the spill that cannot be read.
    pub fn unreadable(&mut self, probe: &Arc<str>) {
        let flow = self.of(probe);
        flow.left(Place::Spill, 1);
        flow.ended(1, Fate::Dropped("unreadable"));
    }

    /// How many are at a place.
    pub fn at(&self, place: Place) -> u64 {
        self.0.values().map(|flow| flow.at[place as usize]).sum()
    }

    pub fn accounts(&self) -> impl Iterator<Item = (&Arc<str>, Account)> {
        self.0.iter().map(|(probe, flow)| {
            let account = Account {
                produced: flow.produced,
                resumed: flow.resumed,
                delivered: flow.delivered,
                dropped: flow.dropped.clone(),
                waiting: flow.at.iter().sum(),
            };
            (probe, account)
        })
    }
}
