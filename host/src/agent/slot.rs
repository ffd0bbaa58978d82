//! One configured probe in the agent: how it came up, how it is, and when it is tried again.

use super::{
    backoff::Backoff,
    reads::{Binding, Reads},
};
use crate::probe::{
    cache::Cache,
    engine::Engine,
    guest::{Fault, Guest, Processed},
    limits::Limits,
    module::{Module, ModuleError, Source},
    runner::Runner,
};
use netsonde_core::{
    metric::{self, registry::ProbeId},
    probe::{Call, Plan, QueryState},
    query::{self, Asker, Kind, Query, QueryError},
    table::Catalogue,
};
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

/// How long a collection waits for a probe that is being started again; usually it takes a millisecond.
pub const START_GRACE: Duration = Duration::from_millis(50);

/// What the configuration says of a probe.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub source: Source,
    /// JSON.
    pub settings: String,
    pub limits: Limits,
    /// Of its series.
    pub series: metric::registry::Limits,
}

/// A query of the plan on this node.
#[derive(Clone, Debug)]
pub enum Planned {
    /// Where its columns are is known once the reads of all probes are.
    Runs(Box<Query>, Binding),
    Absent(String),
}

/// How a probe is.
enum Phase {
    /// It cannot run, whatever happens on this node.
    Broken(String),
    /// It needs what this node does not have; looked at again when the node's tables change.
    Unanswered(String),
    /// It fell, and is started again later.
    Down {
        why: String,
        retry: Instant,
    },
    Describing(Receiver<Result<Plan, Fault>>),
    Starting(Receiver<Result<(), Fault>>),
    Running,
    /// It has been called, and has not answered yet.
    Called(Receiver<Processed>),
}

/// What people are told of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Running,
    /// It runs with less than it asked for.
    Degraded,
    Starting,
    Down,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Running => "running",
            Health::Degraded => "degraded",
            Health::Starting => "starting",
            Health::Down => "down",
        }
    }
}

/// Registers a plan's metrics: the registry is behind a lock that a slot does not know.
pub type Register<'a> = &'a mut dyn FnMut(&str, &Plan) -> Result<ProbeId, String>;

/// A probe that the configuration names.
pub struct Slot {
    pub spec: Spec,
    pub plan: Plan,
    /// In the plan's order.
    pub queries: Vec<Planned>,
    pub registered: Option<ProbeId>,
    pub digest: String,
    runner: Option<Runner>,
    described: bool,
    phase: Phase,
    backoff: Backoff,
    last_fall: String,
}

impl Slot {
    /// Loads the module and asks the probe for its plan; [`advance`](Self::advance) takes the answer.
    pub fn load(spec: Spec, engine: &Engine, cache: &Cache) -> Self {
        let mut slot = Self {
            spec,
            plan: Plan::default(),
            queries: Vec::new(),
            registered: None,
            digest: String::new(),
            runner: None,
            described: false,
            phase: Phase::Broken(String::new()),
            backoff: Backoff::default(),
            last_fall: String::new(),
        };
        match slot.bring_up(engine, cache) {
            Ok(runner) => {
                slot.runner = Some(runner);
                slot.describe();
            }
            Err(why) => slot.broken(why),
        }
        slot
    }

    fn bring_up(&mut self, engine: &Engine, cache: &Cache) -> Result<Runner, String> {
        let spec = &self.spec;
        let module = Module::load(engine, &spec.source, cache).map_err(|error: ModuleError| error.to_string())?;
        self.digest.clone_from(&module.digest);
        let guest = Guest::new(engine.clone(), &spec.name, module, spec.settings.clone(), spec.limits);
        Runner::new(&spec.name, guest).map_err(|error| format!("cannot start a thread for the probe: {error}"))
    }

    /// Takes what the probe has answered so far, waiting at most `wait`, and goes on to the next step of its start. Tells whether its
    /// queries are new.
    pub fn advance(&mut self, catalogue: &Catalogue, register: Register<'_>, wait: Duration) -> bool {
        let mut planned = false;
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match &self.phase {
                Phase::Describing(answer) => match answer.recv_timeout(left) {
                    Ok(Ok(plan)) => {
                        self.take_plan(plan, catalogue, &mut *register);
                        planned = true;
                    }
                    Ok(Err(fault)) => return self.fell(fault.to_string()),
                    Err(RecvTimeoutError::Timeout) => return planned,
                    Err(RecvTimeoutError::Disconnected) => return self.fell("its thread has ended".into()),
                },
                Phase::Starting(answer) => match answer.recv_timeout(left) {
                    Ok(Ok(())) => {
                        tracing::info!(probe = self.spec.name, "The probe runs.");
                        self.phase = Phase::Running;
                    }
                    Ok(Err(fault)) => return self.fell(fault.to_string()),
                    Err(RecvTimeoutError::Timeout) => return planned,
                    Err(RecvTimeoutError::Disconnected) => return self.fell("its thread has ended".into()),
                },
                Phase::Down { retry, .. } if *retry <= Instant::now() => {
                    if self.described {
                        self.start()
                    } else {
                        self.describe()
                    }
                }
                Phase::Broken(_) | Phase::Unanswered(_) | Phase::Down { .. } | Phase::Running | Phase::Called(_) => {
                    return planned;
                }
            }
        }
    }

    /// Looks at the queries again, as the node's tables have changed. Rule 4: a change of any query's state makes a new instance.
    pub fn replan(&mut self, catalogue: &Catalogue, register: Register<'_>) -> bool {
        if !self.described || matches!(self.phase, Phase::Broken(_)) {
            return false;
        }
        let before = self.states();
        self.plan_queries(catalogue);
        if !matches!(self.phase, Phase::Unanswered(_)) && self.states() == before && self.missing().is_none() {
            return true;
        }
        if let Some(runner) = &self.runner {
            runner.stop();
        }
        self.register_and_start(register);
        true
    }

    fn take_plan(&mut self, plan: Plan, catalogue: &Catalogue, register: Register<'_>) {
        self.described = true;
        self.plan = plan;
        if let Err(why) = self.check_queries(catalogue) {
            return self.broken(why);
        }
        self.plan_queries(catalogue);
        self.register_and_start(register);
    }

    fn register_and_start(&mut self, register: Register<'_>) {
        if let Some(why) = self.missing() {
            tracing::warn!(probe = self.spec.name, "The probe is down: {why}");
            self.phase = Phase::Unanswered(why);
            return;
        }
        if self.registered.is_none() {
            match register(&self.spec.name, &self.plan) {
                Ok(id) => self.registered = Some(id),
                Err(why) => return self.broken(why),
            }
        }
        self.start();
    }

    /// Whether each query is one at all: a text that no node could answer is the probe's fault.
    fn check_queries(&self, catalogue: &Catalogue) -> Result<(), String> {
        let wrong =
            self.plan.queries.iter().filter_map(|query| match query::plan(&query.sql, catalogue, Asker::Probe) {
                Err(error) if error.kind == Kind::Text => Some(format!("query `{}`: {error}", query.name)),
                _ => None,
            });
        let mut wrong: Vec<String> = wrong.collect();
        for (index, query) in self.plan.queries.iter().enumerate() {
            if self.plan.queries[..index].iter().any(|before| before.name == query.name) {
                wrong.push(format!("two queries are named `{}`", query.name));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn plan_queries(&mut self, catalogue: &Catalogue) {
        let planned = |sql: &str| match query::plan(sql, catalogue, Asker::Probe) {
            Ok(query) => Planned::Runs(Box::new(query), Binding::default()),
            Err(error @ QueryError { .. }) => Planned::Absent(error.to_string()),
        };
        self.queries = self.plan.queries.iter().map(|query| planned(&query.sql)).collect();
    }

    /// Why a query without which the probe does not run cannot be answered here.
    fn missing(&self) -> Option<String> {
        let queries = self.plan.queries.iter().zip(&self.queries);
        let mut missing = queries.filter_map(|(query, planned)| match planned {
            Planned::Absent(why) if !query.optional => Some(format!("query `{}`: {why}", query.name)),
            _ => None,
        });
        missing.next()
    }

    fn states(&self) -> Vec<QueryState> {
        let state = |planned: &Planned| match planned {
            Planned::Runs(query, _) => QueryState::Runs(query.fields.clone()),
            Planned::Absent(why) => QueryState::Absent(why.clone()),
        };
        self.queries.iter().map(state).collect()
    }

    fn describe(&mut self) {
        let Some(runner) = &self.runner else { return };
        self.phase = match runner.describe() {
            Ok(answer) => Phase::Describing(answer),
            Err(busy) => Phase::Down { why: busy.to_string(), retry: self.backoff.fell(Instant::now()) },
        };
    }

    fn start(&mut self) {
        let states = self.states();
        let Some(runner) = &self.runner else { return };
        self.phase = match runner.start(states) {
            Ok(answer) => Phase::Starting(answer),
            Err(busy) => Phase::Down { why: busy.to_string(), retry: self.backoff.fell(Instant::now()) },
        };
    }

    /// Tells the probe's queries where their columns are.
    pub fn bind(&mut self, reads: &mut Reads) {
        for planned in &mut self.queries {
            if let Planned::Runs(query, binding) = planned {
                *binding = reads.bind(query);
            }
        }
    }

    /// Whether a call would be taken.
    pub fn runs(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Gives the probe a call; [`answer`](Self::answer) takes what it says.
    pub fn call(&mut self, call: Call) {
        let Some(runner) = &self.runner else { return };
        match runner.process(call) {
            Ok(answer) => self.phase = Phase::Called(answer),
            Err(busy) => {
                self.fell(busy.to_string());
            }
        }
    }

    /// What the probe says, waited for until `deadline`. None if nothing, then it is still at work.
    pub fn answer(&mut self, deadline: Instant) -> Option<Processed> {
        let Phase::Called(answer) = &self.phase else { return None };
        match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(processed) => {
                match &processed.output {
                    Ok(_) => self.phase = Phase::Running,
                    Err(fault) => {
                        self.fell(fault.to_string());
                    }
                }
                Some(processed)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                self.fell("its thread has ended".into());
                None
            }
        }
    }

    /// A call's output has been applied.
    pub fn went_well(&mut self) {
        self.backoff.went_well();
    }

    /// Its output broke a rule: the instance goes.
    pub fn refused(&mut self, why: String) {
        if let Some(runner) = &self.runner {
            runner.stop();
        }
        self.fell(format!("its output was refused: {why}"));
    }

    /// It can never run: nothing is tried again.
    fn broken(&mut self, why: String) {
        tracing::warn!(probe = self.spec.name, "The probe is down for good: {why}");
        self.phase = Phase::Broken(why);
    }

    fn fell(&mut self, why: String) -> bool {
        let now = Instant::now();
        let retry = self.backoff.fell(now);
        // Once for each cause: a probe that falls at every start would fill the log.
        if self.last_fall != why {
            tracing::warn!(
                probe = self.spec.name,
                "The probe is down, to be started again in {:?}: {why}",
                retry - now
            );
            self.last_fall.clone_from(&why);
        }
        self.phase = Phase::Down { why, retry };
        false
    }

    /// Throws away an answer that came after its collection had ended, if one is there by now.
    pub fn discard_late(&mut self) {
        if matches!(self.phase, Phase::Called(_)) {
            self.answer(Instant::now());
        }
    }

    /// Why the plan's query `index` cannot be answered on this node.
    pub fn absent(&self, index: usize) -> Option<String> {
        match self.queries.get(index)? {
            Planned::Absent(why) => Some(why.clone()),
            Planned::Runs(..) => None,
        }
    }

    /// How it is, and why if it is not well.
    pub fn health(&self) -> (Health, String) {
        match &self.phase {
            Phase::Broken(why) | Phase::Unanswered(why) | Phase::Down { why, .. } => (Health::Down, why.clone()),
            // Of a probe that is started again: what it fell of.
            Phase::Describing(_) | Phase::Starting(_) => (Health::Starting, self.last_fall.clone()),
            Phase::Running | Phase::Called(_) => {
                let queries = self.plan.queries.iter().zip(&self.queries);
                let absent = queries.filter_map(|(query, planned)| match planned {
                    Planned::Absent(why) => Some(format!("query `{}`: {why}", query.name)),
                    Planned::Runs(..) => None,
                });
                let absent: Vec<String> = absent.collect();
                if absent.is_empty() { (Health::Running, String::new()) } else { (Health::Degraded, absent.join("; ")) }
            }
        }
    }
}
