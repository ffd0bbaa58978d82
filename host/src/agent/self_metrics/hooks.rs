//! What the programs at tracepoints do and cost. Counters go on when a program is loaded again.

use crate::source::hook::Figures;
use netsonde_core::{
    bpf::program::{FIGURES, figure},
    metric::exposition::Page,
    probe::MetricKind::{Counter, Gauge},
};
use std::{collections::BTreeMap, time::Duration};

/// Programs, by probe and query.
#[derive(Default)]
pub struct HookFigures {
    programs: BTreeMap<(String, String), Total>,
    /// What was lost since it was last asked: probe, reason, how many rows.
    lost: Vec<(String, &'static str, u64)>,
}

#[derive(Default)]
struct Total {
    tracepoint: String,
    counts: [u64; FIGURES],
    missed: u64,
    groups: u64,
    cpu: Duration,
    memory: u64,
    runs_now: bool,
    /// As the kernel told last: its counts begin anew with each program.
    before: [u64; FIGURES],
    missed_before: u64,
    cpu_before: Duration,
}

/// Rows that do not arrive, and values that are NULL as they do not fit, by reason.
const LOSSES: [(usize, &str); 5] = [
    (figure::SUPPRESSED, "suppressed"),
    (figure::RING_FULL, "ring_full"),
    (figure::MAP_FULL, "map_full"),
    (figure::MAP_ERROR, "map_error"),
    (figure::OVERFLOW, "overflow"),
];

impl HookFigures {
    /// Takes what all programs have done so far.
    pub fn note(&mut self, programs: Vec<Figures>) {
        self.programs.values_mut().for_each(|total| total.runs_now = false);
        for figures in programs {
            let key = (figures.owner.probe.clone(), figures.owner.query.clone());
            let probe = key.0.clone();
            let total = self.programs.entry(key).or_default();
            let before = total.counts;
            let missed_before = total.missed;
            total.add(figures, |groups| self.lost.push((probe.clone(), "groups_full", groups)));
            for (index, reason) in LOSSES {
                self.lost.push((probe.clone(), reason, total.counts[index] - before[index]));
            }
            self.lost.push((probe, "missed", total.missed - missed_before));
        }
    }

    /// Rows that did not arrive since this was last asked: probe, reason, how many.
    pub fn take_lost(&mut self) -> Vec<(String, &'static str, u64)> {
        std::mem::take(&mut self.lost)
    }

    pub fn write(&self, page: &mut Page<'_>) {
        type Counter = (&'static str, &'static str, fn(&Total) -> u64);
        let counters: [Counter; 8] = [
            ("netsonde_hook_runs", "Runs of the query's program in the kernel", |total| total.counts[figure::RUNS]),
            ("netsonde_hook_suppressed", "Rows kept back as their namespace had used up its tokens", |total| {
                total.counts[figure::SUPPRESSED]
            }),
            ("netsonde_hook_lost", "Rows that found the ring full", |total| total.counts[figure::RING_FULL]),
            (
                "netsonde_hook_missed",
                "Passings at which the kernel did not run the program, as it interrupted itself",
                |total| total.missed,
            ),
            (
                "netsonde_hook_map_full",
                "Rows that found no room for another group, in the kernel or in the agent",
                |total| total.counts[figure::MAP_FULL] + total.groups,
            ),
            ("netsonde_hook_map_error", "Rows whose group the kernel could not store", |total| {
                total.counts[figure::MAP_ERROR]
            }),
            (
                "netsonde_hook_stacks_suppressed",
                "Rows that came without the kernel's stack, as their query had used up its tokens for stacks",
                |total| total.counts[figure::STACK_SUPPRESSED],
            ),
            (
                "netsonde_hook_stacks_lost",
                "Rows that came without the kernel's stack, as the ring had no room for it or the kernel gave none",
                |total| total.counts[figure::STACK_LOST],
            ),
        ];
        for (name, help, value) in counters {
            let mut family = page.family(name, Counter, "", help);
            self.each(|labels, total| family.sample(labels, value(total)));
        }
        let help = "CPU time of the query's program in the kernel, estimated from a part of its runs";
        let mut cpu = page.family("netsonde_hook_cpu_seconds", Counter, "seconds", help);
        self.each(|labels, total| cpu.sample(labels, total.cpu.as_secs_f64()));
        drop(cpu);
        let help = "Memory of the query's program and of its maps in the kernel";
        let mut memory = page.family("netsonde_hook_memory_bytes", Gauge, "bytes", help);
        self.each(|labels, total| memory.sample(labels, total.memory));
        drop(memory);
        let help = "Whether the query's program is attached: one that costs too much is not";
        let mut attached = page.family("netsonde_hook_attached", Gauge, "", help);
        self.each(|labels, total| attached.sample(labels, u64::from(total.runs_now)));
    }

    fn each(&self, mut write: impl FnMut(&[(&str, &str)], &Total)) {
        for ((probe, query), total) in &self.programs {
            write(&[("probe", probe), ("query", query), ("hook", &total.tracepoint)], total);
        }
    }
}

impl Total {
    fn add(&mut self, figures: Figures, lost_groups: impl FnOnce(u64)) {
        let Figures { tracepoint, counts, missed, cpu, groups_dropped, memory, detached, .. } = figures;
        // Fewer than before: another program, whose counts are all new.
        if counts[figure::RUNS] < self.before[figure::RUNS] {
            (self.before, self.missed_before, self.cpu_before) = Default::default();
        }
        for (total, (now, before)) in self.counts.iter_mut().zip(counts.iter().zip(&self.before)) {
            *total += now.saturating_sub(*before);
        }
        self.missed += missed.saturating_sub(self.missed_before);
        self.cpu += cpu.saturating_sub(self.cpu_before);
        self.groups += groups_dropped;
        lost_groups(groups_dropped);
        (self.before, self.missed_before, self.cpu_before) = (counts, missed, cpu.max(self.cpu_before));
        if !tracepoint.is_empty() {
            self.tracepoint = tracepoint;
        }
        (self.memory, self.runs_now) = (memory, detached.is_none());
    }
}
