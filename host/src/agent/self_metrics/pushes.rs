//! How it goes with those whom metrics are pushed to.

use crate::push::Figures;
use netsonde_core::{
    metric::exposition::Page,
    probe::MetricKind::{Counter, Gauge},
};
use std::collections::BTreeMap;

/// Writes the families.
pub fn write(sinks: &BTreeMap<String, Figures>, page: &mut Page<'_>) {
    let help = "Pushes of metrics by result: `ok`; `failed`, where not all was taken; `no_page`, where there was nothing to send";
    let mut pushes = page.family("netsonde_push_attempts", Counter, "", help);
    for (sink, figures) in sinks {
        for (result, count) in &figures.pushes {
            pushes.sample(&[("sink", sink), ("result", result)], *count);
        }
    }
    drop(pushes);
    let mut samples = page.family("netsonde_push_samples", Counter, "", "Values that the other side has taken");
    for (sink, figures) in sinks {
        samples.sample(&[("sink", sink)], figures.samples);
    }
    drop(samples);
    let mut dropped =
        page.family("netsonde_push_dropped", Counter, "", "Values that the other side will never have, by reason");
    for (sink, figures) in sinks {
        for (reason, count) in &figures.dropped {
            dropped.sample(&[("sink", sink), ("reason", reason)], *count);
        }
    }
    drop(dropped);
    let mut waiting = page.family("netsonde_push_waiting", Gauge, "", "Values that wait to be sent again");
    for (sink, figures) in sinks {
        waiting.sample(&[("sink", sink)], figures.waiting);
    }
    drop(waiting);
    let help = "Time that pushes took, their collections included";
    let mut took = page.family("netsonde_push_seconds", Counter, "seconds", help);
    for (sink, figures) in sinks {
        took.sample(&[("sink", sink)], figures.took.as_secs_f64());
    }
}
