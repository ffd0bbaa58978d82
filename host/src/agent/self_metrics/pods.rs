//! How it goes with those who are asked for pods.

use crate::scope::watch::SourceState;
use netsonde_core::{
    metric::exposition::Page,
    probe::MetricKind::{Counter, Gauge},
};

/// Name and help of a family, and what it shows.
type Shown = (&'static str, &'static str, fn(&SourceState) -> u64);

const GAUGES: [Shown; 2] = [
    ("netsonde_pods_source_up", "Whether the container runtime's last answer was one", |state| {
        u64::from(state.error.is_none())
    }),
    ("netsonde_pods_listed", "Pods that the container runtime has listed last", |state| state.pods as u64),
];

const COUNTERS: [Shown; 2] = [
    ("netsonde_pods_listings", "Listings of pods that went well", |state| state.listings),
    ("netsonde_pods_failures", "Attempts to list pods that failed", |state| state.failures),
];

/// Writes the families.
pub fn write(sources: &[SourceState], page: &mut Page<'_>) {
    for (kind, shown) in [(Gauge, GAUGES), (Counter, COUNTERS)] {
        for (name, help, value) in shown {
            let mut family = page.family(name, kind, "", help);
            for state in sources {
                let socket = state.socket.to_string_lossy();
                family.sample(&[("source", state.source.as_str()), ("socket", &socket)], value(state));
            }
        }
    }
}
