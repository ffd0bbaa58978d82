//! What passes over the kernel's objects cost.

use crate::source::iter::Passed;
use netsonde_core::{metric::exposition::Page, probe::MetricKind::Counter};
use std::{collections::BTreeMap, time::Duration};

/// By probe, query and table.
#[derive(Debug, Default)]
pub struct PassFigures(BTreeMap<(String, String, String), Total>);

#[derive(Debug, Default)]
struct Total {
    passes: u64,
    cpu: Duration,
}

impl PassFigures {
    pub fn note(&mut self, passed: &Passed) {
        let key = (passed.owner.probe.clone(), passed.owner.query.clone(), passed.table.clone());
        let total = self.0.entry(key).or_default();
        total.passes += 1;
        total.cpu += passed.cpu;
    }

    pub fn write(&self, page: &mut Page<'_>) {
        let mut passes =
            page.family("netsonde_passes", Counter, "", "Passes over the kernel's objects that a query has taken");
        self.each(|labels, total| passes.sample(labels, total.passes));
        drop(passes);
        let help = "CPU time of a query's passes, its program in the kernel included";
        let mut cpu = page.family("netsonde_pass_cpu_seconds", Counter, "seconds", help);
        self.each(|labels, total| cpu.sample(labels, total.cpu.as_secs_f64()));
    }

    fn each(&self, mut write: impl FnMut(&[(&str, &str)], &Total)) {
        for ((probe, query, table), total) in &self.0 {
            write(&[("probe", probe), ("query", query), ("table", table)], total);
        }
    }
}
