//! Which series an event is counted in.

use super::{Metric, ProbeId, Registry, labels::render_event};
use crate::event::Event;

impl Registry {
    /// Makes an event that has its id the exemplar of the series that counts it, as its type says (see [`event::counted`](crate::event::counted)). Nothing
    /// happens where there is none, or where it has a later one.
    pub fn exemplar(&mut self, probe: ProbeId, event: &Event) {
        let Some(probe) = self.probes.get_mut(probe.0) else { return };
        let Some(counted) = probe.counted.get(&*event.ty) else { return };
        let Some(Metric { family, store, .. }) = probe.metrics.get_mut(counted.metric) else { return };
        self.exemplar_labels.clear();
        render_event(&mut self.exemplar_labels, family, counted, event, probe.limits.label_bytes);
        store.note(&self.exemplar_labels, event.into());
    }
}
