//! The wiring: the one file that knows every part. Start, serve, drain.

pub mod backoff;
pub mod board;
pub mod collector;
pub mod kernel;
pub mod pages;
mod process;
pub mod reads;
pub mod self_metrics;
pub mod slot;

use crate::{
    http,
    probe::{
        builtin,
        cache::Cache,
        engine::{Engine, EngineError},
        limits::Limits,
        module::Source,
    },
    source::proc::ProcSource,
};
use board::{Shared, Status};
use collector::{Collector, Request, Rhythm};
use kernel::{Kernel, Places};
use netsonde_core::{
    config::{self, Config},
    metric::registry,
    scope::Scopes,
};
use pages::AgentPages;
use slot::{Slot, Spec};
use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, LazyLock, Mutex, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// How long the start waits for probes to describe themselves, before the first page is served without them.
const START_WAIT: Duration = Duration::from_secs(3);

/// Requests for a collection that may wait at once; more are answered with 503.
const MAX_WAITING: usize = 256;

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot start the thread `{name}`: {source}")]
    Thread { name: &'static str, source: io::Error },
    #[error(transparent)]
    Listen(#[from] http::ListenError),
}

/// A running agent: collections happen, pages are served.
pub struct Agent {
    pub address: SocketAddr,
    listener: tokio::net::TcpListener,
    pages: Arc<AgentPages>,
    shared: Arc<Shared>,
    drain: Duration,
}

impl Agent {
    /// Starts everything: binds the port first, so that a port in use is told before any work.
    ///
    /// # Errors
    /// [`StartError`]. A probe that does not start is no error: it is down, and says why.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        process::started();
        let listener = http::bind(config.listen).await?;
        let address = listener.local_addr().unwrap_or(config.listen);
        let scopes = Arc::new(Mutex::new(Scopes::default()));
        let shared = Arc::new(Shared::new(scopes.clone(), clock));
        let specs = specs(config);

        let engine = Engine::new(specs.len())?;
        let cache = open_cache(&config.cache_folder);
        let source = ProcSource::new(&config.proc_root, rustix::param::page_size() as u64);
        let catalogue = source.catalogue();
        let kernel = Kernel::start(places(config), source, catalogue.clone(), scopes, clock)
            .map_err(|source| StartError::Thread { name: "kernel", source })?;

        let rhythm = Rhythm {
            min_interval: config.collection.min_interval,
            idle_interval: config.collection.idle_interval,
            timeout: config.collection.timeout,
        };
        let (requests, inbox) = mpsc::sync_channel::<Request>(MAX_WAITING);
        let collector_shared = shared.clone();
        thread::Builder::new()
            .name("collector".into())
            .spawn(move || {
                let slots = load(specs, &engine, &cache);
                let mut collector = Collector::new(kernel, slots, catalogue, collector_shared, rhythm);
                collector.advance_within(START_WAIT);
                collector.run(inbox);
            })
            .map_err(|source| StartError::Thread { name: "collector", source })?;

        let pages = Arc::new(AgentPages::new(shared.clone(), requests, rhythm.timeout, node_name(config)));
        Ok(Self { address, listener, pages, shared, drain: config.drain })
    }

    /// Waits for the first collection, then tells how each probe is.
    pub async fn first_collection(&self) -> Vec<Status> {
        self.pages.collect(Duration::from_secs(30), false).await.ok();
        self.shared.board().status.clone()
    }

    /// Serves until `stop`, then lets running requests end within the drain time.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        http::serve(self.listener, self.pages, stop, self.drain).await;
    }
}

/// Where the configuration says that the kernel is.
pub fn places(config: &Config) -> Places {
    Places {
        proc_root: config.proc_root.clone(),
        netns_folder: config.netns_folder.clone(),
        host_netns: config.host_netns.clone(),
    }
}

/// The probes that the configuration selects, with all that is said of each; without a word of it, the built-in ones.
pub fn specs(config: &Config) -> Vec<Spec> {
    match &config.probes {
        Some(probes) => probes.iter().map(|probe| spec(config, probe)).collect(),
        None => builtin::PROBES.iter().map(|(name, ..)| spec(config, &config::Probe::named(*name))).collect(),
    }
}

fn spec(config: &Config, probe: &config::Probe) -> Spec {
    let source = match &probe.module {
        Some(config::Module::Builtin(name)) => Source::Builtin(name.clone()),
        Some(config::Module::File(path)) => Source::File(path.clone()),
        None if builtin::module(&probe.name).is_some() => Source::Builtin(probe.name.clone()),
        None => Source::File(config.probe_folder.join(format!("{}.wasm", probe.name))),
    };
    Spec {
        name: probe.name.clone(),
        source,
        settings: probe.settings.to_string(),
        limits: Limits::from(&probe.limits),
        series: registry::Limits { series: probe.limits.series as usize, label_bytes: probe.limits.label as usize },
    }
}

/// Compiles in parallel: a module takes tens of milliseconds the first time.
pub fn load(specs: Vec<Spec>, engine: &Engine, cache: &Cache) -> Vec<Slot> {
    thread::scope(|scope| {
        let loading: Vec<_> =
            specs.into_iter().map(|spec| scope.spawn(move || Slot::load(spec, engine, cache))).collect();
        loading.into_iter().filter_map(|slot| slot.join().ok()).collect()
    })
}

/// What the configuration says, else the host's name.
fn node_name(config: &Config) -> String {
    let host_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    config.node.clone().unwrap_or_else(host_name)
}

/// The cache, or none with a warning.
pub fn open_cache(folder: &Path) -> Cache {
    Cache::open(folder).unwrap_or_else(|error| {
        tracing::warn!("Modules are compiled at each start: {error}; `cache_folder` names another.");
        Cache::none()
    })
}

/// The host's monotonic clock, from the agent's start, and the time since the Unix epoch.
fn clock() -> (Duration, Duration) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    (START.elapsed(), SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}
