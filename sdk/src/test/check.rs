//! What the host would refuse of an output, for a test to find: as far as authors get it wrong.

use super::gathered::text;
use crate::{
    Result,
    types::{Buckets, Column, Metric, MetricKind, Operation, Output, Plan, Samples},
};
use std::collections::HashSet;

/// An output of any call.
pub(super) fn output(plan: &Plan, output: &Output) -> Result<()> {
    let mut seen = HashSet::new();
    for samples in &output.samples {
        let metric = &plan.metrics[samples.metric as usize];
        columns(metric, samples.scopes.as_ref(), &samples.labels, samples.values.rows())?;
        once(metric, samples, &mut seen)?;
    }
    output.buckets.iter().try_for_each(|given| buckets(&plan.metrics[given.metric as usize], given))
}

/// An output of a stream's call.
pub(super) fn stream(plan: &Plan, output: &Output) -> Result<()> {
    let kind = |metric: u32| plan.metrics[metric as usize].kind;
    let set = output.samples.iter().filter(|samples| matches!(samples.operation, Operation::Set | Operation::Total));
    let state = output.buckets.iter().filter(|buckets| kind(buckets.metric) == MetricKind::GaugeHistogram);
    let mut refused = set.map(|samples| samples.metric).chain(state.map(|buckets| buckets.metric));
    match refused.next() {
        Some(metric) => Err(format!(
            "`{}`: gauges and totals belong into a collection's call, not into a stream's",
            plan.metrics[metric as usize].name
        )),
        None => Ok(()),
    }
}

fn columns(metric: &Metric, scopes: Option<&Column>, labels: &[Column], rows: usize) -> Result<()> {
    let name = &metric.name;
    if scopes.is_some() != metric.scoped {
        let (has, wants) = if metric.scoped { ("no", "`each_scope`") } else { ("a", "`node`") };
        return Err(format!("`{name}`: {has} column of scopes, but the plan says {wants}"));
    }
    if labels.len() != metric.labels.len() {
        return Err(format!("`{name}`: {} labels of {}", labels.len(), metric.labels.len()));
    }
    match labels.iter().chain(scopes).find(|column| column.rows() != rows) {
        Some(column) => Err(format!("`{name}`: a column of {} rows beside {rows} values", column.rows())),
        None => Ok(()),
    }
}

/// Rule 9: one gauge, or one part of a total, once in an output.
fn once(metric: &Metric, samples: &Samples, seen: &mut HashSet<String>) -> Result<()> {
    if !matches!(samples.operation, Operation::Set | Operation::Total) {
        return Ok(());
    }
    for row in (0..samples.values.rows()).filter(|&row| samples.values.has(row)) {
        let scope = samples.scopes.as_ref().and_then(|scopes| scopes.scope(row));
        let labels: Vec<_> = samples.labels.iter().chain(&samples.parts).map(|column| text(column, row)).collect();
        let series = format!("`{}` of scope {scope:?} with {labels:?}", metric.name);
        if seen.contains(&series) {
            return Err(format!("{series} was given twice"));
        }
        seen.insert(series);
    }
    Ok(())
}

fn buckets(metric: &Metric, buckets: &Buckets) -> Result<()> {
    let (name, rows) = (&metric.name, buckets.counts.len());
    columns(metric, buckets.scopes.as_ref(), &buckets.labels, rows)?;
    if (buckets.bounds.len(), buckets.sums.len()) != (rows, rows) {
        let (bounds, sums) = (buckets.bounds.len(), buckets.sums.len());
        return Err(format!("`{name}`: {bounds} bounds and {sums} sums beside {rows} counts"));
    }
    if let Some(bound) = buckets.bounds.iter().find(|&&bound| bound as usize > metric.bounds.len()) {
        return Err(format!("`{name}`: bucket {bound} of {} bounds", metric.bounds.len()));
    }
    match buckets.sums.iter().find(|sum| !sum.is_finite()) {
        Some(sum) => Err(format!("`{name}`: the sum {sum} is not finite")),
        None => Ok(()),
    }
}
