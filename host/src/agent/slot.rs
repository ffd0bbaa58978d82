//! One configured probe in the agent: how it came up, how it is, and when it is tried again.

mod queries;
mod waiting;

use super::{backoff::Backoff, collector::Delivered, programs::Programs, streams::Nameless};
use crate::probe::{
    cache::Cache,
    engine::Engine,
    guest::{Fault, Guest, Processed},
    limits::Limits,
    module::{Module, ModuleError, Source},
    runner::Runner,
};
use netsonde_core::{
    event,
    metric::{self, registry::ProbeId},
    probe::{Call, Plan},
    table::Catalogue,
};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

pub use queries::Planned;
use waiting::Waiting;

/// How long a collection waits for a probe that is being started again; usually it takes a millisecond.
pub const START_GRACE: Duration = Duration::from_millis(50);

/// What a slot needs of the agent around it.
#[derive(Clone)]
pub struct Host {
    pub programs: Arc<dyn Programs>,
    /// Called when the probe has answered a call.
    pub answered: Arc<dyn Fn() + Send + Sync>,
    pub nameless: Arc<Nameless>,
}

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
    /// Events a second.
    pub events: u64,
    /// Whether its events have the kernel's stack.
    pub stack: bool,
    /// Guarded tables that it may ask.
    pub allow: Vec<String>,
    /// Labels that series and events of pods have besides: the probe must not have them, too.
    pub pod_labels: Vec<String>,
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
///
/// With it comes, for each metric, whether it is fed by streams, and so only a sample (rule 8).
pub type Register<'a> = &'a mut dyn FnMut(&str, &Plan, &[bool]) -> Result<ProbeId, String>;

/// A probe that the configuration names.
pub struct Slot {
    pub spec: Spec,
    pub plan: Plan,
    /// In the plan's order.
    pub queries: Vec<Planned>,
    pub registered: Option<ProbeId>,
    pub digest: String,
    /// Why a query's program does not run at the moment, by query.
    pub detached: Vec<Option<String>>,
    /// The call of a stream that the probe is at.
    pub streaming: Option<Box<Delivered>>,
    /// Rows of streams for later calls.
    pub waiting: Waiting,
    host: Host,
    runner: Option<Runner>,
    described: bool,
    phase: Phase,
    backoff: Backoff,
    last_fall: String,
}

impl Slot {
    /// Loads the module and asks the probe for its plan; [`advance`](Self::advance) takes the answer.
    pub fn load(spec: Spec, engine: &Engine, cache: &Cache, host: Host) -> Self {
        let mut slot = Self {
            spec,
            plan: Plan::default(),
            queries: Vec::new(),
            registered: None,
            digest: String::new(),
            detached: Vec::new(),
            streaming: None,
            waiting: Waiting::default(),
            host,
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
        Runner::new(&spec.name, guest, self.host.answered.clone())
            .map_err(|error| format!("cannot start a thread for the probe: {error}"))
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
        // One that is not answered has been stopped before: its thread need not be told again.
        if let (Some(runner), false) = (&self.runner, matches!(self.phase, Phase::Unanswered(_))) {
            runner.stop();
        }
        self.register_and_start(register);
        true
    }

    fn take_plan(&mut self, plan: Plan, catalogue: &Catalogue, register: Register<'_>) {
        self.described = true;
        self.plan = plan;
        if let Err(why) =
            self.check_queries(catalogue).and_then(|()| self.check_events()).and_then(|()| self.check_pod_labels())
        {
            return self.broken(why);
        }
        self.plan_queries(catalogue);
        self.register_and_start(register);
    }

    fn register_and_start(&mut self, register: Register<'_>) {
        if let Some(why) = self.missing() {
            tracing::warn!(probe = self.spec.name, "The probe is down: {why}");
            self.let_go();
            self.phase = Phase::Unanswered(why);
            return;
        }
        if self.registered.is_none() {
            match register(&self.spec.name, &self.plan, &self.sampled()) {
                Ok(id) => self.registered = Some(id),
                Err(why) => return self.broken(why),
            }
        }
        self.start();
    }

    fn check_events(&self) -> Result<(), String> {
        event::check(&self.plan).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })
    }

    /// Whether the configuration's labels of pods are names that the probe does not use itself.
    fn check_pod_labels(&self) -> Result<(), String> {
        let of_metrics = self.plan.metrics.iter().flat_map(|metric| &metric.labels);
        let own = of_metrics.chain(self.plan.events.iter().flat_map(|ty| &ty.fields)).map(|field| &field.name);
        match own.into_iter().find(|name| self.spec.pod_labels.contains(name)) {
            None => Ok(()),
            Some(name) => Err(format!(
                "`{name}` is one of its labels or fields, and of the labels that the configuration takes from pods: call the latter \
                 something else under `pods.labels`"
            )),
        }
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

    /// Whether the probe is at a call.
    pub fn is_called(&self) -> bool {
        matches!(self.phase, Phase::Called(_))
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
        self.let_go();
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
        if self.is_called() && self.streaming.is_none() {
            self.answer(Instant::now());
        }
    }

    /// How it is, and why if it is not well.
    pub fn health(&self) -> (Health, String) {
        match &self.phase {
            Phase::Broken(why) | Phase::Unanswered(why) | Phase::Down { why, .. } => (Health::Down, why.clone()),
            // Of a probe that is started again: what it fell of.
            Phase::Describing(_) | Phase::Starting(_) => (Health::Starting, self.last_fall.clone()),
            Phase::Running | Phase::Called(_) => {
                let queries = self.plan.queries.iter().zip(&self.queries).zip(&self.detached);
                let absent = queries.filter_map(|((query, planned), detached)| match (planned, detached) {
                    (Planned::Absent(why), _) | (_, Some(why)) => Some(format!("query `{}`: {why}", query.name)),
                    _ => None,
                });
                let nameless = self.host.nameless.why().filter(|_| self.spec.stack);
                let nameless = nameless.map(|why| format!("its events have no stacks: {why}"));
                let absent: Vec<String> = absent.chain(nameless).collect();
                if absent.is_empty() { (Health::Running, String::new()) } else { (Health::Degraded, absent.join("; ")) }
            }
        }
    }
}
