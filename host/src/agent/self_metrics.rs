//! What the agent says of itself: how its probes fare, what was lost, what it costs.

mod hooks;
mod http;
pub mod ledger;
mod passes;
mod pods;
mod pushes;

use super::process;
use crate::{
    push,
    scope::watch::SourceState,
    sink::{Counts, SinkFigures},
    source::{hook, iter::Passed},
};
use hooks::HookFigures;
use netsonde_core::{
    event::Event,
    metric::{
        exemplar::Exemplar,
        exposition::Page,
        histogram::{Bounds, Histogram},
    },
    probe::MetricKind::{self, Counter, Gauge},
};
use passes::PassFigures;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

/// Upper bounds in seconds: powers of two from 16 µs to 4 s (rule 14).
static SECONDS: LazyLock<Arc<Bounds>> =
    LazyLock::new(|| Arc::new(Bounds::new(&(-16..=2).map(|exponent| f64::from(exponent).exp2()).collect::<Vec<_>>())));

fn seconds() -> Histogram {
    Histogram::new(SECONDS.clone())
}

/// Figures of one probe.
pub struct ProbeFigures {
    run: Histogram,
    pub cpu: Duration,
    pub memory: usize,
    pub up: bool,
    /// In the plan's order.
    pub queries: Vec<QueryFigures>,
    /// By type.
    events: BTreeMap<String, u64>,
    /// The last one of each type.
    exemplars: BTreeMap<String, Exemplar>,
}

/// Figures of one query.
#[derive(Default)]
pub struct QueryFigures {
    pub name: String,
    /// Whether it gave rows in the last collection, and the probe took them.
    pub up: bool,
    pub rows: u64,
}

impl Default for ProbeFigures {
    fn default() -> Self {
        Self {
            run: seconds(),
            cpu: Duration::ZERO,
            memory: 0,
            up: false,
            queries: Vec::new(),
            events: BTreeMap::new(),
            exemplars: BTreeMap::new(),
        }
    }
}

impl ProbeFigures {
    /// This is the latest event of its type.
    pub fn last_event(&mut self, event: &Event) {
        match self.exemplars.get_mut(&*event.ty) {
            Some(exemplar) => *exemplar = exemplar.later(event.into()),
            None => drop(self.exemplars.insert(event.ty.to_string(), event.into())),
        }
    }

    /// Counts events of a type, also none.
    pub fn happened(&mut self, ty: &str, count: u64) {
        match self.events.get_mut(ty) {
            Some(events) => *events += count,
            None => drop(self.events.insert(ty.to_owned(), count)),
        }
    }
}

/// All figures; counters live as long as the agent.
pub struct Figures {
    pub probes: BTreeMap<String, ProbeFigures>,
    /// By probe, stage and reason; stages and reasons are from closed lists.
    dropped: BTreeMap<(String, &'static str, &'static str), u64>,
    sources: BTreeMap<&'static str, Histogram>,
    collections: Histogram,
    collected: Option<Instant>,
    hooks: HookFigures,
    passes: PassFigures,
    /// Shared with those who push.
    pub pushes: Arc<push::Counts>,
    /// Network namespaces that were found, and those of them that could not be read in the last collection.
    pub namespaces: usize,
    pub failed_namespaces: usize,
    /// Processes whose namespace may not be looked at.
    pub hidden: usize,
    /// Connections that were closed unanswered, as too many were open.
    pub refused_connections: u64,
    /// Who else was turned away.
    pub http: Arc<crate::http::counts::Counts>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            probes: BTreeMap::new(),
            dropped: BTreeMap::new(),
            sources: BTreeMap::new(),
            collections: seconds(),
            collected: None,
            hooks: HookFigures::default(),
            passes: PassFigures::default(),
            pushes: Arc::default(),
            namespaces: 0,
            failed_namespaces: 0,
            hidden: 0,
            refused_connections: 0,
            http: Arc::default(),
        }
    }
}

impl Figures {
    /// Figures of `probe`, which are made if there are none.
    pub fn probe(&mut self, probe: &str) -> &mut ProbeFigures {
        self.probes.entry(probe.to_owned()).or_default()
    }

    /// One call of a probe.
    pub fn ran(&mut self, probe: &str, wall: Duration, cpu: Duration, memory: usize) {
        let figures = self.probe(probe);
        figures.run.observe(wall.as_secs_f64());
        figures.cpu += cpu;
        figures.memory = memory;
    }

    /// Counts what did not arrive.
    pub fn dropped(&mut self, probe: &str, stage: &'static str, reason: &'static str, count: u64) {
        if count > 0 {
            *self.dropped.entry((probe.to_owned(), stage, reason)).or_default() += count;
        }
    }

    /// The reads of one source, in all namespaces of a collection together.
    pub fn source_read(&mut self, source: &'static str, took: f64) {
        self.sources.entry(source).or_insert_with(seconds).observe(took);
    }

    /// A collection that took so long has ended.
    pub fn collected(&mut self, took: Duration) {
        self.collections.observe(took.as_secs_f64());
        self.collected = Some(Instant::now());
    }

    /// A pass over the kernel's objects was made.
    pub fn note_pass(&mut self, passed: &Passed) {
        self.passes.note(passed);
    }

    /// What the programs at tracepoints have done so far; what they lost is counted with all that is lost.
    pub fn note_hooks(&mut self, programs: Vec<hook::Figures>) {
        self.hooks.note(programs);
        for (probe, reason, count) in self.hooks.take_lost() {
            self.dropped(&probe, "kernel", reason, count);
        }
    }

    /// Whether there has been a collection.
    pub fn has_collected(&self) -> bool {
        self.collected.is_some()
    }

    /// Writes the families onto the page. `sinks` are the counts that the sinks keep, `waiting` events have no name yet, and `sources` are
    /// asked for pods.
    pub fn write(&self, page: &mut Page<'_>, sinks: &Counts, waiting: usize, sources: &[SourceState]) {
        page.family("netsonde_build", MetricKind::Info, "", "Version of this agent")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
        self.write_collection(page);
        self.write_probes(page);
        self.write_queries(page);
        self.write_events(page, sinks);
        page.family("netsonde_events_waiting", Gauge, "", "Events that wait for the name of a pod")
            .sample(&[], waiting as u64);
        pods::write(sources, page);
        pushes::write(&self.pushes.now(), page);
        self.hooks.write(page);
        self.passes.write(page);
        let mut dropped = page.family(
            "netsonde_dropped",
            Counter,
            "",
            "Rows, samples, events and log lines that did not arrive, by stage and reason",
        );
        for ((probe, stage, reason), count) in &self.dropped {
            dropped.sample(&[("probe", probe), ("stage", stage), ("reason", reason)], *count);
        }
        for ((probe, reason), count) in sinks.dropped() {
            dropped.sample(&[("probe", &probe), ("stage", "sink"), ("reason", reason)], count);
        }
        drop(dropped);
        page.family(
            "netsonde_http_refused_connections",
            Counter,
            "",
            "Connections that were closed unanswered, as too many were open",
        )
        .sample(&[], self.refused_connections);
        http::write(&self.http, page);
        process::write(page);
    }

    fn write_collection(&self, page: &mut Page<'_>) {
        if let Some(collected) = self.collected {
            page.family(
                "netsonde_collection_age_seconds",
                Gauge,
                "seconds",
                "Time since the collection that this page shows",
            )
            .sample(&[], collected.elapsed().as_secs_f64());
        }
        page.family(
            "netsonde_collection_duration_seconds",
            MetricKind::Histogram,
            "seconds",
            "Time that collections took",
        )
        .histogram(&[], &self.collections);
        page.family("netsonde_netns_found", Gauge, "", "Network namespaces seen in the last collection")
            .sample(&[], self.namespaces as u64);
        page.family(
            "netsonde_netns_failed",
            Gauge,
            "",
            "Network namespaces that could not be read in the last collection",
        )
        .sample(&[], self.failed_namespaces as u64);
        page.family(
            "netsonde_netns_hidden_processes",
            Gauge,
            "",
            "Processes whose network namespace may not be looked at",
        )
        .sample(&[], self.hidden as u64);
        let mut sources = page.family(
            "netsonde_source_read_duration_seconds",
            MetricKind::Histogram,
            "seconds",
            "Time that a collection spent looking for namespaces, reading a file of procfs, or sockets by sock_diag, over all namespaces",
        );
        for (source, took) in &self.sources {
            sources.histogram(&[("source", source)], took);
        }
    }

    fn write_probes(&self, page: &mut Page<'_>) {
        let mut up = page.family("netsonde_probe_up", Gauge, "", "Whether the probe's last answer is on this page");
        for (probe, figures) in &self.probes {
            up.sample(&[("probe", probe)], u64::from(figures.up));
        }
        drop(up);
        let mut run = page.family(
            "netsonde_probe_run_duration_seconds",
            MetricKind::Histogram,
            "seconds",
            "Time that the probe's calls took, rows handed over and answers taken in included",
        );
        for (probe, figures) in &self.probes {
            run.histogram(&[("probe", probe)], &figures.run);
        }
        drop(run);
        let mut cpu = page.family("netsonde_probe_cpu_seconds", Counter, "seconds", "CPU time of the probe's calls");
        for (probe, figures) in &self.probes {
            cpu.sample(&[("probe", probe)], figures.cpu.as_secs_f64());
        }
        drop(cpu);
        let mut memory = page.family("netsonde_probe_memory_bytes", Gauge, "bytes", "Memory of the probe's instance");
        for (probe, figures) in &self.probes {
            memory.sample(&[("probe", probe)], figures.memory as u64);
        }
    }

    fn write_queries(&self, page: &mut Page<'_>) {
        let each = || {
            self.probes
                .iter()
                .flat_map(|(probe, figures)| figures.queries.iter().map(move |query| (probe.as_str(), query)))
        };
        let mut up = page.family("netsonde_query_up", Gauge, "", "Whether the query's last rows are on this page");
        for (probe, query) in each() {
            up.sample(&[("probe", probe), ("query", &query.name)], u64::from(query.up));
        }
        drop(up);
        let mut rows = page.family("netsonde_rows", Counter, "", "Rows that the probe has taken in");
        for (probe, query) in each() {
            rows.sample(&[("probe", probe), ("query", &query.name)], query.rows);
        }
    }

    fn write_events(&self, page: &mut Page<'_>, sinks: &Counts) {
        let help = "Events that the probe made, those over its limit included";
        let mut events = page.family("netsonde_events", Counter, "", help);
        for (probe, figures) in &self.probes {
            for (ty, count) in &figures.events {
                events.sample_with(&[("probe", probe), ("type", ty)], *count, figures.exemplars.get(ty).copied());
            }
        }
        drop(events);
        type Value = fn(&SinkFigures) -> u64;
        let bytes = "Disk space of the sink's spill";
        let families = [
            (
                "netsonde_sink_events",
                Counter,
                "",
                "Events that the sink has delivered",
                (|sink| sink.delivered) as Value,
            ),
            ("netsonde_sink_waiting", Gauge, "", "Events that wait for the sink, in memory and in its spill", |s| {
                s.waiting
            }),
            ("netsonde_sink_spill_bytes", Gauge, "bytes", bytes, |sink| sink.spill_bytes),
            ("netsonde_sink_retries", Counter, "", "Deliveries that failed, to be tried again", |sink| sink.retries),
        ];
        for (name, kind, unit, help, value) in families {
            let mut family = page.family(name, kind, unit, help);
            for (sink, figures) in &sinks.sinks {
                family.sample(&[("sink", sink)], value(figures));
            }
        }
    }
}
