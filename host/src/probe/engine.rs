//! The WASM engine that all probes share, and the clock that stops those that run too long.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often a running guest is looked at: a deadline is noticed this much later at most, plus what the scheduler takes.
const TICK: Duration = Duration::from_millis(5);

/// Native stack for a guest's calls.
const STACK_BYTES: usize = 512 * 1024;

/// Functions that one table may name; guests with an interpreter inside need thousands.
const TABLE_ELEMENTS: usize = 100_000;

/// The engine could not be made: not a probe's fault.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cannot set up the WASM engine: {0:#}")]
    Engine(wasmtime::Error),
    #[error("cannot start the thread `{name}`: {source}")]
    Thread { name: &'static str, source: std::io::Error },
}

/// A handle to the one engine; clones share it.
#[derive(Clone)]
pub struct Engine {
    wasm: wasmtime::Engine,
    running: Arc<Running>,
}

impl Engine {
    /// Makes the engine, with room for `probes` probes at once.
    ///
    /// # Errors
    /// If this machine cannot run compiled WASM, or has no address space for it.
    pub fn new(probes: usize) -> Result<Self, EngineError> {
        let wasm = match wasmtime::Engine::new(&config(Some(probes))) {
            Ok(engine) => engine,
            Err(error) => {
                // A limit on address space (`ulimit -v`) forbids the pool, not the probes.
                tracing::warn!("No pool for probe instances, making each on demand: {error:#}");
                wasmtime::Engine::new(&config(None)).map_err(EngineError::Engine)?
            }
        };
        let running = Arc::new(Running::default());
        let (clock, ticked) = (wasm.clone(), running.clone());
        thread::Builder::new()
            .name("wasm-clock".into())
            .spawn(move || ticked.tick(|| clock.increment_epoch()))
            .map_err(|source| EngineError::Thread { name: "wasm-clock", source })?;
        Ok(Self { wasm, running })
    }

    pub fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// While the answer lives, the clock ticks.
    pub fn run_clock(&self) -> ClockGuard<'_> {
        self.running.enter();
        ClockGuard(&self.running)
    }
}

/// Keeps the clock ticking; see [`Engine::run_clock`].
pub struct ClockGuard<'a>(&'a Running);

impl Drop for ClockGuard<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// How many guests run now. The clock sleeps while there is none, so that an idle agent is not woken.
#[derive(Default)]
struct Running {
    guests: Mutex<usize>,
    some: Condvar,
}

impl Running {
    fn guests(&self) -> MutexGuard<'_, usize> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) {
        let mut guests = self.guests();
        *guests += 1;
        if *guests == 1 {
            self.some.notify_one();
        }
    }

    fn leave(&self) {
        *self.guests() -= 1;
    }

    fn tick(&self, increment: impl Fn()) {
        loop {
            let mut guests = self.guests();
            while *guests == 0 {
                guests = self.some.wait(guests).unwrap_or_else(PoisonError::into_inner);
            }
            drop(guests);
            thread::sleep(TICK);
            increment();
        }
    }
}

fn config(pool_for: Option<usize>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        // A probe is a function of its input: no bits of a NaN tell where it ran.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8));
    if let Some(probes) = pool_for {
        // Two for each probe: the next instance is made before the last one is gone.
        let count = (probes * 2).max(4) as u32;
        let mut pool = PoolingAllocationConfig::new();
        // A component may consist of several core modules (an adapter, an interpreter).
        pool.total_component_instances(count)
            .total_core_instances(count * 8)
            .total_memories(count * 2)
            .total_tables(count * 8)
            .table_elements(TABLE_ELEMENTS)
            .max_component_instance_size(4 << 20)
            .max_core_instance_size(4 << 20);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}
