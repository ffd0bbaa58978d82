//! From a probe's metric to a family of the page: its full name, labels and bounds, and whether all that may be (rule 12).

mod foreign;
mod names;

pub use foreign::ScopeLabels;
pub use names::Names;

use super::histogram::Bounds;
use crate::probe::{Metric, MetricKind, Plan};
use std::{borrow::Cow, sync::Arc};
use thiserror::Error;

pub const MAX_METRICS: usize = 256;
pub const MAX_LABELS: usize = 16;
pub const MAX_BOUNDS: usize = 64;
const MAX_NAME_BYTES: usize = 128;
const MAX_HELP_BYTES: usize = 1024;

/// First words of the host's own families (`netsonde_probe_up`, ...).
const RESERVED_PROBES: [&str; 17] = [
    "probe",
    "source",
    "rows",
    "dropped",
    "build",
    "process",
    "query",
    "collection",
    "netns",
    "http",
    "events",
    "hook",
    "sink",
    "pass",
    "passes",
    "pods",
    "push",
];
/// The host's and Prometheus' own labels.
const REFUSED_LABELS: [&str; 7] = ["namespace", "pod", "container", "node", "netns", "le", "quantile"];

/// Whether a label of the configuration's may have this name: it has the form of one, and is none of those above.
pub fn is_label_name(name: &str) -> bool {
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let starts = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    starts && rest && name.len() <= 64 && !name.starts_with("__") && !REFUSED_LABELS.contains(&name)
}

/// What the page shows of a metric. Two metrics with equal families are the same to whoever reads the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// `netsonde_<probe>_<metric>[_unit]`, without `_total`; another system's is whole.
    pub name: String,
    /// Whether the name is another system's, and its samples' too (rule 13).
    pub foreign: bool,
    pub kind: MetricKind,
    pub unit: String,
    pub help: String,
    pub labels: Vec<Label>,
    pub scoped: ScopeLabels,
    /// Of histograms; empty for other kinds.
    pub bounds: Arc<Bounds>,
}

/// A declared label: one on the page, or for a scope the four that tell who it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    Text(String),
    /// `<name>_namespace`, `<name>_pod`, `<name>_node`, `<name>_type`.
    Scope([String; 4]),
}

impl Label {
    /// Its names on the page.
    pub fn names(&self) -> &[String] {
        match self {
            Label::Text(name) => std::slice::from_ref(name),
            Label::Scope(names) => names,
        }
    }
}

/// Why a probe's metrics cannot be on the page.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FamilyError {
    #[error("probe `{probe}`: a probe's name becomes part of its metrics' names and needs the form [a-z_][a-z0-9_]*")]
    ProbeName { probe: String },
    #[error("probe `{probe}`: netsonde's own metrics begin with this word; choose another name")]
    ReservedProbe { probe: String },
    #[error("probe `{probe}` declares {metrics} metrics; {MAX_METRICS} are allowed")]
    TooManyMetrics { probe: String, metrics: usize },
    #[error("probe `{probe}`, metric `{metric}`: {problem}")]
    Metric { probe: String, metric: String, problem: Problem },
}

/// What is wrong with one metric.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("the name needs the form [a-z_][a-z0-9_]*, without `__` at its start, and at most {MAX_NAME_BYTES} bytes")]
    Name,
    #[error("leave `_{suffix}` away: the host adds it to the name")]
    Suffix { suffix: String },
    #[error("only counters end in `_total`; name the metric otherwise")]
    Total,
    #[error("the unit `{unit}` needs the form [a-z][a-z0-9_]*: a base unit such as `bytes` or `seconds`")]
    Unit { unit: String },
    #[error("an info metric has no unit")]
    InfoUnit,
    #[error("the help has {bytes} bytes; {MAX_HELP_BYTES} are allowed")]
    Help { bytes: usize },
    #[error("it comes from query {query}, but the plan has {queries}")]
    Query { query: u32, queries: usize },
    #[error("{labels} labels; {MAX_LABELS} are allowed")]
    TooManyLabels { labels: usize },
    #[error("label `{label}` needs the form [a-zA-Z_][a-zA-Z0-9_]*, and at most {MAX_NAME_BYTES} bytes")]
    LabelName { label: String },
    #[error("label `{label}`: names with `__` at their start are Prometheus' own")]
    LabelReserved { label: String },
    #[error("label `{label}` is added by the host or by Prometheus; choose another name")]
    LabelRefused { label: String },
    #[error("label `{label}` stands twice on the page")]
    LabelTwice { label: String },
    #[error("bounds are for histograms only")]
    BoundsUnused,
    #[error("{bounds} bounds; {MAX_BOUNDS} are allowed")]
    TooManyBounds { bounds: usize },
    #[error("bound {index} is not finite, or not above the one before it")]
    Bound { index: usize },
    #[error(
        "the attribute `{attribute}` is for compatibility probes, which the configuration chooses by `compat`; leave it away"
    )]
    Foreign { attribute: &'static str },
    #[error(
        "the family `{name}` needs the form [a-zA-Z_:][a-zA-Z0-9_:]*, without `netsonde_` or `process_` at its start, and at most {MAX_NAME_BYTES} bytes"
    )]
    ForeignName { name: String },
    #[error("there are no `scope-labels` called `{form}`, only `cadvisor`")]
    ScopeLabels { form: String },
    #[error("`scope-labels` are for metrics of scopes; this one is of the node")]
    ScopeLabelsOfNode,
    #[error("the page would have `{name}` twice: {owner} has it too")]
    Taken { name: String, owner: String },
}

/// Whether the host's own families may begin like those of a probe with this name.
pub fn is_reserved(probe: &str) -> bool {
    RESERVED_PROBES.contains(&probe.split('_').next().unwrap_or_default())
}

/// The families of a probe, in the order of its metrics, or everything that is wrong with them. `sampled` says of each metric whether it
/// is fed by stream queries, which are a sample (rule 8); missing ones are not. `foreign`: whether the probe was chosen by `compat`, and so
/// may have families of another system (rule 13). Whether the names are free is for `Names` to say.
pub fn families(probe: &str, plan: &Plan, sampled: &[bool], foreign: bool) -> Result<Vec<Family>, Vec<FamilyError>> {
    let mut errors = Vec::new();
    if !is_name(probe) {
        errors.push(FamilyError::ProbeName { probe: probe.to_owned() });
    }
    if is_reserved(probe) {
        errors.push(FamilyError::ReservedProbe { probe: probe.to_owned() });
    }
    if plan.metrics.len() > MAX_METRICS {
        errors.push(FamilyError::TooManyMetrics { probe: probe.to_owned(), metrics: plan.metrics.len() });
        return Err(errors);
    }
    for metric in &plan.metrics {
        let refuse = |problem| FamilyError::Metric { probe: probe.to_owned(), metric: metric.name.clone(), problem };
        errors.extend(problems(metric, plan.queries.len(), foreign).into_iter().map(refuse));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let sampled = sampled.iter().copied().chain(std::iter::repeat(false));
    Ok(plan.metrics.iter().zip(sampled).map(|(metric, sampled)| family(probe, metric, sampled)).collect())
}

/// How many bounds `metric` has, its own or those of its unit.
pub fn bound_count(metric: &Metric) -> usize {
    if metric.bounds.is_empty() { Bounds::of_unit(&metric.unit).values().len() } else { metric.bounds.len() }
}

/// What the page calls the samples of a metric, a histogram's without their endings.
pub fn sample_name(probe: &str, metric: &Metric) -> String {
    let (name, foreign) = name(probe, metric);
    let (name, suffix) = foreign::parts(&name, metric.kind, foreign);
    format!("{name}{suffix}")
}

/// A family's name, and whether it is another system's.
fn name(probe: &str, metric: &Metric) -> (String, bool) {
    match foreign::name(metric) {
        Some(name) => (name.to_owned(), true),
        None if metric.unit.is_empty() => (format!("netsonde_{probe}_{}", metric.name), false),
        None => (format!("netsonde_{probe}_{}_{}", metric.name, metric.unit), false),
    }
}

fn family(probe: &str, metric: &Metric, sampled: bool) -> Family {
    let (name, foreign) = name(probe, metric);
    let cumulative = matches!(metric.kind, MetricKind::Counter | MetricKind::Histogram);
    let help = match sampled && cumulative {
        true => format!("{} (sampled: of the rows that passed the stream's rate limit)", metric.help),
        false => metric.help.clone(),
    };
    let bounds = match metric.bounds.as_slice() {
        _ if !is_histogram(metric.kind) => Bounds::new(&[]),
        [] => Bounds::of_unit(&metric.unit),
        bounds => Bounds::new(bounds),
    };
    Family {
        name,
        foreign,
        kind: metric.kind,
        // OpenMetrics wants it in the name, of which nobody knows whether it is there.
        unit: if foreign { String::new() } else { metric.unit.clone() },
        help,
        labels: labels(metric),
        scoped: ScopeLabels::of(metric),
        bounds: Arc::new(bounds),
    }
}

fn labels(metric: &Metric) -> Vec<Label> {
    let label = |field: &crate::probe::Field| match field.logical.as_str() {
        "scope" => Label::Scope(["namespace", "pod", "node", "type"].map(|part| format!("{}_{part}", field.name))),
        _ => Label::Text(field.name.clone()),
    };
    metric.labels.iter().map(label).collect()
}

fn problems(metric: &Metric, queries: usize, foreign: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    name_problems(metric, &mut problems);
    foreign::problems(metric, foreign, &mut problems);
    if metric.help.len() > MAX_HELP_BYTES {
        problems.push(Problem::Help { bytes: metric.help.len() });
    }
    for &query in metric.queries.iter().filter(|&&query| query as usize >= queries) {
        problems.push(Problem::Query { query, queries });
    }
    label_problems(metric, &mut problems);
    bound_problems(metric, &mut problems);
    problems
}

fn name_problems(metric: &Metric, problems: &mut Vec<Problem>) {
    let ends_in = |suffix: &str| metric.name == suffix || metric.name.ends_with(&format!("_{suffix}"));
    if !is_name(&metric.name) {
        problems.push(Problem::Name);
    }
    match metric.kind {
        MetricKind::Counter if ends_in("total") => problems.push(Problem::Suffix { suffix: "total".into() }),
        _ if ends_in("total") => problems.push(Problem::Total),
        MetricKind::Info if ends_in("info") => problems.push(Problem::Suffix { suffix: "info".into() }),
        _ => {}
    }
    if metric.unit.is_empty() {
        return;
    }
    if !is_name(&metric.unit) || metric.unit.starts_with('_') {
        problems.push(Problem::Unit { unit: metric.unit.clone() });
    } else if ends_in(&metric.unit) {
        problems.push(Problem::Suffix { suffix: metric.unit.clone() });
    }
    if metric.kind == MetricKind::Info {
        problems.push(Problem::InfoUnit);
    }
}

fn label_problems(metric: &Metric, problems: &mut Vec<Problem>) {
    if metric.labels.len() > MAX_LABELS {
        return problems.push(Problem::TooManyLabels { labels: metric.labels.len() });
    }
    for label in metric.labels.iter().map(|field| field.name.clone()) {
        if label.len() > MAX_NAME_BYTES || !is_name(&label.to_ascii_lowercase().replacen("__", "_", 1)) {
            problems.push(Problem::LabelName { label });
        } else if label.starts_with("__") {
            problems.push(Problem::LabelReserved { label });
        }
    }
    let expanded = labels(metric);
    let names: Vec<&String> = expanded.iter().flat_map(Label::names).collect();
    for (index, name) in names.iter().enumerate() {
        if REFUSED_LABELS.iter().chain(ScopeLabels::of(metric).refused()).any(|refused| refused == name) {
            problems.push(Problem::LabelRefused { label: name.to_string() });
        }
        if names[..index].contains(name) {
            problems.push(Problem::LabelTwice { label: name.to_string() });
        }
    }
}

fn bound_problems(metric: &Metric, problems: &mut Vec<Problem>) {
    if !is_histogram(metric.kind) && !metric.bounds.is_empty() {
        problems.push(Problem::BoundsUnused);
    }
    if metric.bounds.len() > MAX_BOUNDS {
        problems.push(Problem::TooManyBounds { bounds: metric.bounds.len() });
    }
    let rises = |index: usize| index == 0 || metric.bounds[index - 1] < metric.bounds[index];
    let wrong = (0..metric.bounds.len()).find(|&index| !metric.bounds[index].is_finite() || !rises(index));
    problems.extend(wrong.map(|index| Problem::Bound { index }));
}

fn is_histogram(kind: MetricKind) -> bool {
    matches!(kind, MetricKind::Histogram | MetricKind::GaugeHistogram)
}

/// `[a-z_][a-z0-9_]*` without `__` at its start.
fn is_name(name: &str) -> bool {
    let rest_is_plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let starts_well = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    rest_is_plain && starts_well && !name.starts_with("__") && name.len() <= MAX_NAME_BYTES
}

/// Every name on the page that a family takes, in whatever format.
fn taken(family: &Family) -> impl Iterator<Item = Cow<'_, str>> {
    let (name, ending) = foreign::parts(&family.name, family.kind, family.foreign);
    let suffixes: &[&str] = match family.kind {
        // One of another system, whose name does not end as its kind's do.
        MetricKind::Counter | MetricKind::Info if ending.is_empty() => &[],
        MetricKind::Counter => &["_total", "_created"],
        MetricKind::Gauge | MetricKind::Unknown => &[],
        MetricKind::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricKind::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricKind::Info => &["_info"],
    };
    std::iter::once(Cow::Borrowed(name)).chain(suffixes.iter().map(move |suffix| format!("{name}{suffix}").into()))
}

#[cfg(test)]
mod tests;
