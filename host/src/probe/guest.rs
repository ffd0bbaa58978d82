//! One probe's code and its current instance: calls go in, output or a fault comes out.

use super::{
    engine::Engine,
    limits::{Budget, Limits},
    module::Module,
    v0_1_0,
};
use netsonde_core::probe::{Call, Output, Plan, QueryState};
use std::time::Duration;

/// What the host may allocate while it takes one output in: lists in a guest's memory may lie over each other, so a small guest could
/// name much more than it holds.
const LIFT_BYTES: usize = 32 << 20;

/// Why a guest has no answer. The instance is gone then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It said so itself.
    #[error("{call}: the probe says: {message}")]
    Said { call: &'static str, message: String },
    /// It fell, or was stopped.
    #[error("{call}: {message}")]
    Trapped { call: &'static str, message: String },
    /// It described itself differently from the first time, with the same settings.
    #[error("describe: another plan than before for the same settings")]
    PlanChanged,
    #[error("no instance runs")]
    NotStarted,
}

/// What one call of `process` gave, and took.
#[derive(Debug)]
pub struct Processed {
    pub output: Result<Output, Fault>,
    pub cpu: Duration,
    pub wall: Duration,
    /// Bytes of linear memory after the call.
    pub memory: usize,
    pub log_dropped: u64,
}

/// A probe's module with its settings, and at most one instance of it.
pub struct Guest {
    engine: Engine,
    name: String,
    module: Module,
    settings: String,
    limits: Limits,
    plan: Option<Plan>,
    instance: Option<Instance>,
}

struct Instance {
    store: wasmtime::Store<Budget>,
    guest: v0_1_0::Guest,
}

impl Guest {
    /// `settings` is JSON.
    pub fn new(engine: Engine, name: &str, module: Module, settings: String, limits: Limits) -> Self {
        Self { engine, name: name.to_owned(), module, settings, limits, plan: None, instance: None }
    }

    /// Makes an instance and asks it what it wants and makes. The first answer is kept; a later one must equal it.
    ///
    /// # Errors
    /// If it falls, runs too long, refuses its settings, or changed its mind.
    pub fn describe(&mut self) -> Result<Plan, Fault> {
        let mut instance = self.instantiate()?;
        let settings = &self.settings;
        let plan = instance.call(&self.engine, "describe", |guest, store| guest.describe(store, settings))?;
        if self.plan.as_ref().is_some_and(|before| *before != plan) {
            return Err(Fault::PlanChanged);
        }
        self.plan = Some(plan.clone());
        self.instance = Some(instance);
        Ok(plan)
    }

    /// Tells the instance how its queries fare; makes one first if there is none.
    ///
    /// # Errors
    /// As [`describe`](Self::describe), or what the probe says.
    pub fn start(&mut self, states: &[QueryState]) -> Result<(), Fault> {
        if self.instance.is_none() {
            self.describe()?;
        }
        let Some(mut instance) = self.instance.take() else { return Err(Fault::NotStarted) };
        instance.call(&self.engine, "start", |guest, store| guest.start(store, states))?;
        self.instance = Some(instance);
        Ok(())
    }

    /// One call. After a fault there is no instance until the next [`start`](Self::start).
    pub fn process(&mut self, call: Call) -> Processed {
        let Some(mut instance) = self.instance.take() else {
            return Processed {
                output: Err(Fault::NotStarted),
                cpu: Duration::ZERO,
                wall: Duration::ZERO,
                memory: 0,
                log_dropped: 0,
            };
        };
        let output = instance.call(&self.engine, "process", |guest, store| guest.process(store, call));
        let budget = instance.store.data_mut();
        let (cpu, wall) = budget.end();
        let (memory, log_dropped) = (budget.memory(), budget.take_log_dropped());
        if output.is_ok() {
            self.instance = Some(instance);
        }
        Processed { output, cpu, wall, memory, log_dropped }
    }

    /// Throws the instance away.
    pub fn stop(&mut self) {
        self.instance = None;
    }

    fn instantiate(&self) -> Result<Instance, Fault> {
        let fault = |error: wasmtime::Error| Fault::Trapped {
            call: "instantiate",
            message: format!("{:#}", error.root_cause()),
        };
        let mut store = wasmtime::Store::new(self.engine.wasm(), Budget::new(&self.name, self.limits));
        store.limiter(|budget| budget);
        store.set_hostcall_fuel(LIFT_BYTES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            store.data().on_tick()?;
            Ok(wasmtime::UpdateDeadline::Continue(1))
        });
        // A start function is the guest's code, too.
        store.data_mut().begin();
        let _clock = self.engine.run_clock();
        let guest = v0_1_0::Guest::new(&mut store, self.module.component()).map_err(fault)?;
        Ok(Instance { store, guest })
    }
}

impl Instance {
    fn call<T>(
        &mut self,
        engine: &Engine,
        call: &'static str,
        run: impl FnOnce(&v0_1_0::Guest, &mut wasmtime::Store<Budget>) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<T, Fault> {
        self.store.data_mut().begin();
        self.store.set_epoch_deadline(1);
        let clock = engine.run_clock();
        let answer = run(&self.guest, &mut self.store);
        drop(clock);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(message)) => Err(Fault::Said { call, message: message.escape_debug().to_string() }),
            Err(error) => Err(Fault::Trapped { call, message: self.explain(&error) }),
        }
    }

    /// The cause of a trap in one line, with what the guest logged last: an SDK's panic hook puts the message there.
    fn explain(&mut self, error: &wasmtime::Error) -> String {
        let cause = error.root_cause().to_string();
        match self.store.data_mut().take_last_error() {
            Some(said) => format!("{cause} ({said})"),
            None => cause,
        }
    }
}
