//! `netsonde probe list` and `netsonde probe inspect FILE`.

use super::{
    ConfigArgs, Failure, load,
    print::{self, BAD, GOOD, HEAD, Text},
};
use crate::{
    agent,
    probe::{
        builtin,
        cache::Cache,
        engine::Engine,
        guest::Guest,
        limits::Limits,
        module::{Module, Source},
    },
};
use netsonde_core::{
    bpf::compile::{Budget, compile},
    config,
    event::counted::counted,
    metric::family,
    probe::{EventType, Metric, MetricKind, Plan},
    query::{self, Asker},
    table::{Catalogue, Per},
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand)]
pub enum Probe {
    /// List the built-in probes, and those that the configuration names
    List(List),
    /// Show what a module will look at and what it makes, before it is let in
    ///
    /// The module is compiled and asked to describe itself, in its sandbox and within its limits; nothing else of it runs.
    Inspect(Inspect),
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Inspect {
    /// A module: a file, or `builtin:NAME`
    module: PathBuf,
    /// The probe's settings, as JSON
    #[arg(long, default_value = "{}")]
    settings: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Probe {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Probe::List(list) => list.run(),
            Probe::Inspect(inspect) => inspect.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let config = load::config(&self.config)?;
        let specs = agent::specs(&config);
        let mut rows: Vec<(String, String, bool, &str)> = Vec::new();
        for (name, _, help) in builtin::all() {
            let builtin = Source::Builtin(name.to_string());
            let selected = specs.iter().any(|spec| spec.source == builtin);
            rows.push((name.to_string(), builtin.to_string(), selected, help));
        }
        for spec in specs.iter().filter(|spec| !matches!(&spec.source, Source::Builtin(name) if *name == spec.name)) {
            rows.push((spec.name.clone(), spec.source.to_string(), true, ""));
        }
        if self.json {
            let row = |(name, module, selected, help): &(String, String, bool, &str)| json!({ "name": name, "module": module, "selected": selected, "help": help });
            print::json(&rows.iter().map(row).collect());
        } else {
            let row = |(name, module, selected, help): (String, String, bool, &str)| {
                let selected = if selected { Text::styled("yes", GOOD) } else { Text::from("no") };
                vec![Text::styled(name, HEAD), selected, module.into(), help.into()]
            };
            print::table(&["PROBE", "SELECTED", "MODULE", "WHAT"], rows.into_iter().map(row).collect());
        }
        Ok(())
    }
}

impl Inspect {
    fn run(self) -> Result<(), Failure> {
        let source = source(&self.module);
        let engine = Engine::new(1).map_err(Failure::failed)?;
        let module = Module::load(&engine, &source, &Cache::none()).map_err(Failure::failed)?;
        let digest = module.digest.clone();
        let name = name_of(&source);
        let limits = Limits::from(&config::Limits::default());
        let plan =
            Guest::new(engine, &name, module, self.settings.clone(), limits).describe().map_err(Failure::failed)?;
        let catalogue = load::catalogue(&load::places(&Default::default()), Path::new(load::BTF));
        if self.json {
            print::json(&plan_json(&name, &digest, &plan, &catalogue));
        } else {
            show(&name, &source, &digest, &plan, &catalogue);
        }
        Ok(())
    }
}

/// `builtin:NAME`, or a file.
fn source(module: &Path) -> Source {
    match module.to_str().and_then(|text| text.strip_prefix("builtin:")) {
        Some(name) => Source::Builtin(name.to_owned()),
        None => Source::File(module.to_owned()),
    }
}

/// What a configuration would most likely call it.
fn name_of(source: &Source) -> String {
    match source {
        Source::Builtin(name) => name.clone(),
        Source::File(path) => path.file_stem().unwrap_or(Path::new("probe").as_os_str()).to_string_lossy().into_owned(),
    }
}

/// How a query fares on this node.
fn state(sql: &str, catalogue: &Catalogue) -> Result<(), String> {
    let query = query::plan(sql, catalogue, Asker::Probe).map_err(|error| error.to_string())?;
    match query.per {
        Per::Event | Per::Pass => compile(&query, Budget::default()).map(drop).map_err(|error| error.to_string()),
        Per::Namespace | Per::Node => Ok(()),
    }
}

/// Whether a metric is fed by a stream, which a budget makes a sample of (rule 8).
fn is_sampled(metric: &Metric, plan: &Plan, catalogue: &Catalogue) -> bool {
    let queries = metric.queries.iter().filter_map(|&query| plan.queries.get(query as usize));
    let mut planned = queries.filter_map(|query| query::plan(&query.sql, catalogue, Asker::Probe).ok());
    planned.any(|query| query.is_stream())
}

fn show(name: &str, source: &Source, digest: &str, plan: &Plan, catalogue: &Catalogue) {
    print::out(&format!("{}  {source}\nsha256   {digest}\n", print::paint(name, HEAD)));
    print::out("It asks:");
    for query in &plan.queries {
        let optional = if query.optional { " (optional)" } else { "" };
        print::out(&format!(
            "  {}{optional}\n    {}",
            print::paint(&print::printable(&query.name), HEAD),
            print::printable(&query.sql)
        ));
        match state(&query.sql, catalogue) {
            Ok(()) => print::out(&format!("    {}", print::paint("answered on this node", GOOD))),
            Err(why) => print::out(&format!("    {}", print::paint(&format!("not answered on this node: {why}"), BAD))),
        }
    }
    print::out("\nIt makes:");
    let rows = plan.metrics.iter().map(|metric| {
        let labels: Vec<&str> = metric.labels.iter().map(|label| label.name.as_str()).collect();
        let of = if metric.scoped { "each namespace" } else { "the node" };
        let sampled = if is_sampled(metric, plan, catalogue) { ", sampled" } else { "" };
        let cells = [
            family::sample_name(name, metric),
            kind(metric.kind).to_owned() + sampled,
            of.into(),
            labels.join(" "),
            metric.help.clone(),
        ];
        cells.into_iter().map(Text::from).collect()
    });
    print::table(&["METRIC", "KIND", "OF", "LABELS", "WHAT"], rows.collect());
    for event in &plan.events {
        let counted = counter(name, plan, event).map_or(String::new(), |counter| format!(" (counted by {counter})"));
        print::out(&print::printable(&format!("event {}: {}{counted}", event.name, event.help)));
    }
}

/// The samples that count events of this type.
fn counter(probe: &str, plan: &Plan, event: &EventType) -> Option<String> {
    let counted = counted(plan, event).ok()??;
    Some(family::sample_name(probe, plan.metrics.get(counted.metric)?))
}

fn plan_json(name: &str, digest: &str, plan: &Plan, catalogue: &Catalogue) -> Value {
    let query = |query: &netsonde_core::probe::Query| {
        json!({
            "name": query.name,
            "sql": query.sql,
            "optional": query.optional,
            "absent": state(&query.sql, catalogue).err(),
        })
    };
    let metric = |metric: &Metric| {
        json!({
            "name": family::sample_name(name, metric),
            "kind": kind(metric.kind),
            "unit": metric.unit,
            "help": metric.help,
            "labels": metric.labels.iter().map(|label| &label.name).collect::<Vec<_>>(),
            "scoped": metric.scoped,
            "sampled": is_sampled(metric, plan, catalogue),
        })
    };
    let event = |event: &EventType| {
        let fields = event.fields.iter().map(|field| json!({ "name": field.name, "type": field.logical }));
        json!({
            "name": event.name,
            "help": event.help,
            "fields": fields.collect::<Vec<_>>(),
            "counter": counter(name, plan, event),
        })
    };
    json!({
        "name": name,
        "digest": digest,
        "queries": plan.queries.iter().map(query).collect::<Vec<_>>(),
        "metrics": plan.metrics.iter().map(metric).collect::<Vec<_>>(),
        "events": plan.events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn kind(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::GaugeHistogram => "gauge histogram",
        MetricKind::Info => "info",
        MetricKind::Unknown => "unknown",
    }
}
