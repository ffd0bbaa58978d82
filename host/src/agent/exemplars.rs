//! From a series to its event: the counters learn which event was their latest.

use super::{board::Board, slot::Slot};
use netsonde_core::metric::registry::ProbeId;
use std::collections::HashMap;

impl Board {
    /// Brings the events since the last time onto the counters that they are in. Once a collection, so that an event costs nothing on its
    /// way; of those that came faster than the log keeps them the last are enough, as only these can still be asked for by their ids.
    pub(super) fn note_exemplars(&mut self, slots: &[Slot]) {
        let since = self.events.since(self.exemplified, usize::MAX);
        self.exemplified = since.position;
        let registered = |slot: &'_ Slot| Some((slot.spec.name.clone(), slot.registered?));
        let probes: HashMap<String, ProbeId> = slots.iter().filter_map(registered).collect();
        for event in &since.events {
            if let Some(probe) = probes.get(&*event.probe) {
                self.registry.exemplar(*probe, event);
                self.figures.probe(&event.probe).last_event(event);
            }
        }
    }
}
