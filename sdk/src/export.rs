//! Between the generated interface and a [`Probe`]: the three calls of a guest's life.

use crate::{
    Probe,
    call::{Call, Columns},
    log,
    output::Output,
    plan::Plan,
    types,
};
use std::rc::Rc;

/// A probe that has been described, and what the host said of its queries.
pub struct Running<P> {
    probe: P,
    metrics: Rc<[types::Metric]>,
    columns: Columns,
}

/// Makes the probe from its settings (JSON). Panics reach the host's log from here on.
pub fn describe<P: Probe>(running: &mut Option<Running<P>>, settings: &str) -> Result<types::Plan, String> {
    log::panics();
    let settings = serde_json::from_str(settings).map_err(|error| format!("settings: {error}"))?;
    let mut plan = Plan::default();
    let probe = P::new(settings, &mut plan)?;
    let plan = plan.into_wit();
    *running = Some(Running { probe, metrics: plan.metrics.clone().into(), columns: Columns::default() });
    Ok(plan)
}

/// Learns the names of each query's columns.
pub fn start<P>(running: &mut Option<Running<P>>, queries: Vec<types::QueryState>) -> Result<(), String> {
    let running = running.as_mut().ok_or("`start` was called before `describe`")?;
    running.columns = Columns::new(queries);
    Ok(())
}

/// Gives the probe one call's rows.
pub fn process<P: Probe>(running: &mut Option<Running<P>>, call: types::Call) -> Result<types::Output, String> {
    let running = running.as_mut().ok_or("`process` was called before `describe`")?;
    let mut out = Output::new(Rc::clone(&running.metrics));
    running.probe.process(&Call::new(call, &running.columns), &mut out)?;
    Ok(out.into_wit())
}
