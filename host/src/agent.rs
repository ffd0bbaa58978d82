//! The wiring: the one file that knows every part. Start, serve, drain.

pub mod backoff;
pub mod board;
pub mod collector;
pub mod counts;
pub mod dump;
pub mod events;
mod exemplars;
mod follow;
pub mod kernel;
pub mod ledger;
pub mod namespaces;
pub mod pages;
pub mod passes;
pub mod pods;
mod process;
pub mod programs;
pub mod reads;
pub mod self_metrics;
pub mod slot;
pub mod streams;
pub mod tables;
mod within;

use crate::{
    bpf::{kallsyms::Symbols, stacks::Stacks},
    http::{self, security::Security},
    probe::{
        builtin,
        cache::Cache,
        engine::{Engine, EngineError},
        limits::Limits,
        module::Source,
    },
    push::{self, PageSource},
    scope::cgroup::Cgroups,
    sink::{self, Sinks},
    source::{
        btf,
        hook::{self, Hooks, Reader},
        iter::{self, Passes, Tasks},
    },
};
use board::{Shared, Status};
use collector::{Collector, Message, Rhythm};
use counts::Counts;
use events::EventLog;
use kernel::{Kernel, Places};
use namespaces::Namespaces;
use netsonde_core::{
    bpf::compile::Budget,
    config::{self, Config},
    metric::registry,
    scope::Scopes,
    table::{self, Catalogue},
};
use pages::AgentPages;
use pods::Runtimes;
use programs::{CompileOnly, Loaded};
use rustix::time::{ClockId, clock_gettime};
use slot::{Host, Slot, Spec};
use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{self, SyncSender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};
use streams::Stacking;
use tables::Tables;

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
    /// All that is wrong with the files for TLS and access.
    #[error("{}", .0.join("\n"))]
    Security(Vec<String>),
}

/// A running agent: collections happen, pages are served.
pub struct Agent {
    pub address: SocketAddr,
    listener: tokio::net::TcpListener,
    pages: Arc<AgentPages>,
    shared: Arc<Shared>,
    security: Arc<Security>,
    dumps: SyncSender<dump::Why>,
    drain: Duration,
}

impl Agent {
    /// Starts everything: binds the port first, so that a port in use is told before any work.
    ///
    /// # Errors
    /// [`StartError`]. A probe that does not start is no error: it is down, and says why.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        process::started();
        let security = Arc::new(security(config).map_err(StartError::Security)?);
        let listener = http::bind(config.listen).await?;
        let address = listener.local_addr().unwrap_or(config.listen);
        let scopes = Arc::new(Mutex::new(Scopes::default()));
        let sinks = Sinks::start(sink::all(config)).map_err(|source| StartError::Thread { name: "sink", source })?;
        let (bursts, recorder) = mpsc::sync_channel(1);
        let events = Arc::new(EventLog::new(config, &node_name(config), clock().1, sinks, Some(bursts.clone())));
        let specs = specs(config);

        let engine = Engine::new(specs.len())?;
        let cache = open_cache(&config.cache_folder);
        let (types, tracing) = tracing(config);
        let hooks = tracing.as_ref().map(|(hooks, _)| hooks.clone());
        let shared = Arc::new(Shared::new(scopes.clone(), events, hooks, clock));
        shared.board().figures.http = security.counts.clone();
        warnings(address, &security).iter().for_each(|warning| tracing::warn!("{warning}."));
        dump::start(dump::Files::new(&config.recorder), shared.clone(), recorder)
            .map_err(|source| StartError::Thread { name: "recorder", source })?;
        let tables = Tables::new(&config.proc_root, &types).with_pods(scopes.clone());
        let passes = Arc::new(Passes::default());
        let catalogue = Catalogue { hooks: types, ..tables.catalogue() };
        let namespaces =
            Arc::new(Namespaces::new(places(config), scopes, tasks(&catalogue.hooks), cgroups(config), clock));
        let kernel = Kernel::start(namespaces.clone(), tables, passes.clone(), catalogue.clone())
            .map_err(|source| StartError::Thread { name: "kernel", source })?;

        let rhythm = Rhythm {
            min_interval: config.collection.min_interval,
            idle_interval: config.collection.idle_interval,
            timeout: config.collection.timeout,
        };
        let (requests, inbox) = mpsc::sync_channel::<Message>(MAX_WAITING);
        let symbols = || Symbols::new(&config.proc_root);
        let runtimes = Runtimes::start(&config.pods, &namespaces, requests.clone())
            .map_err(|source| StartError::Thread { name: "pods", source })?;
        let mut counts = None;
        let mut host =
            Host { programs: Arc::new(CompileOnly), answered: wake(requests.clone()), nameless: Arc::default() };
        if let Some((hooks, reader)) = tracing {
            let (rows, shared) = (requests.clone(), shared.clone());
            let stacking = Stacking {
                stacks: Stacks::new(symbols()),
                nameless: host.nameless.clone(),
                wanted: specs.iter().any(|spec| spec.stack),
            };
            streams::start(reader, hooks.clone(), namespaces.clone(), (symbols(), stacking), shared, rows)
                .map_err(|source| StartError::Thread { name: "streams", source })?;
            host.programs = Arc::new(Loaded { hooks: hooks.clone(), passes });
            counts = Some(Counts::new(hooks, namespaces, symbols()));
        }
        let (collector_shared, symbols) = (shared.clone(), Symbols::new(&config.proc_root));
        thread::Builder::new()
            .name("collector".into())
            .spawn(move || {
                let slots = load(specs, &engine, &cache, &host);
                let mut collector = Collector::new(kernel, counts, symbols, slots, catalogue, collector_shared, rhythm);
                collector.advance_within(START_WAIT);
                collector.run(inbox);
            })
            .map_err(|source| StartError::Thread { name: "collector", source })?;

        let pages = Arc::new(AgentPages::new(shared.clone(), runtimes, requests, rhythm.timeout, node_name(config)));
        start_pushes(config, &pages, &shared)?;
        Ok(Self { address, listener, pages, shared, security, dumps: bursts, drain: config.drain })
    }

    /// Where its pages are, without an end.
    pub fn url(&self) -> String {
        let scheme = if self.security.now().tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Waits for the first collection, then tells how each probe is.
    pub async fn first_collection(&self) -> Vec<Status> {
        self.pages.collect(Duration::from_secs(30), false).await.ok();
        self.shared.board().status.clone()
    }

    /// Has the flight recorder written into a file, by a thread of its own. Whoever comes while it is at it gets the same file.
    pub fn dump(&self) -> impl Fn() + Send + use<> {
        let dumps = self.dumps.clone();
        move || drop(dumps.try_send(dump::Why::Signal))
    }

    /// What files sinks write to is opened anew.
    pub fn reopen(&self) -> impl Fn() + Send + use<> {
        let shared = self.shared.clone();
        move || shared.events().reopen_sinks()
    }

    /// Serves until `stop`, then lets running requests end, and sinks deliver what they have, within the drain time.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let mut stopped = Instant::now();
        let stop = async {
            stop.await;
            stopped = Instant::now();
        };
        http::serve(self.listener, self.pages, self.security, stop, self.drain).await;
        // Nobody is served any more whom waiting here could hold up.
        let left = self.drain.saturating_sub(stopped.elapsed());
        let lost = self.shared.events().drain(left, &self.shared.scopes(), clock().0);
        if lost > 0 {
            tracing::warn!(
                "{lost} events had not reached their sinks within {:?}, and are not in their spill.",
                self.drain
            );
        }
    }
}

/// Starts to push metrics to wherever the configuration says.
fn start_pushes(config: &Config, pages: &Arc<AgentPages>, shared: &Shared) -> Result<(), StartError> {
    let (pages, counts) = (pages.clone(), shared.board().figures.pushes.clone());
    let source: PageSource = Arc::new(move |wait| pages.pushed(wait).map_err(|error| error.to_string()));
    for target in push::targets(config, &node_name(config)) {
        push::start(target, source.clone(), counts.clone())
            .map_err(|source| StartError::Thread { name: "push", source })?;
    }
    Ok(())
}

/// TLS, and who may see what, from the files that the configuration names.
///
/// # Errors
/// All that is wrong with them, in words.
pub fn security(config: &Config) -> Result<Security, Vec<String>> {
    Security::open(config.web_config.clone(), config.access.token_file.clone())
}

/// What whoever lets other machines ask should know of it.
pub fn warnings(address: SocketAddr, security: &Security) -> Vec<&'static str> {
    let files = security.now();
    let mut warnings = Vec::new();
    if !address.ip().is_loopback() && !files.lets_others_in() {
        warnings.push(
            "Other machines see /metrics, and neither /events nor /pods nor what else tells addresses: `access.token_file` or `web_config` \
             says who may",
        );
    }
    if !address.ip().is_loopback() && files.tls.is_none() && (files.tokens.is_some() || !files.users.is_empty()) {
        warnings.push("Tokens and passwords pass the network as everybody can read them: `web_config` gives TLS");
    }
    warnings
}

/// Where the configuration says that the kernel is.
pub fn places(config: &Config) -> Places {
    Places {
        proc_root: config.proc_root.clone(),
        netns_folder: config.netns_folder.clone(),
        host_netns: config.host_netns.clone(),
    }
}

/// The probes that the configuration selects, with all that is said of each; without a word of it, the built-in ones. What it says of those
/// that `compat` adds stands among the others.
pub fn specs(config: &Config) -> Vec<Spec> {
    let mut specs: Vec<Spec> = match &config.probes {
        Some(probes) => probes.iter().map(|probe| spec(config, probe)).collect(),
        None => builtin::PROBES.iter().map(|(name, ..)| spec(config, &config::Probe::named(*name))).collect(),
    };
    for compat in &config.compat {
        if !specs.iter().any(|spec| spec.name == compat.probe()) {
            specs.push(spec(config, &config::Probe::named(compat.probe())));
        }
    }
    specs
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
        series: registry::Limits {
            series: probe.limits.series as usize,
            label_bytes: probe.limits.label as usize,
            foreign: config.compat.iter().any(|compat| compat.probe() == probe.name),
        },
        events: probe.limits.events,
        stack: probe.stack,
        allow: probe.allow.clone(),
        pod_labels: config.pods.labels.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// Compiles in parallel: a module takes tens of milliseconds the first time.
pub fn load(specs: Vec<Spec>, engine: &Engine, cache: &Cache, host: &Host) -> Vec<Slot> {
    thread::scope(|scope| {
        let loading: Vec<_> =
            specs.into_iter().map(|spec| scope.spawn(move || Slot::load(spec, engine, cache, host.clone()))).collect();
        loading.into_iter().filter_map(|slot| slot.join().ok()).collect()
    })
}

/// What programs in this node's kernel can be asked, and what answers queries over tracepoints; without the one there is not the other.
fn tracing(config: &Config) -> (table::Hooks, Option<(Arc<Hooks>, Reader)>) {
    let types = match btf::read(&config.btf) {
        Ok(types) => types,
        Err(error) => return (table::Hooks::Absent(error.to_string()), None),
    };
    match Hooks::new(hook_limits(&config.hooks)) {
        Ok((hooks, reader)) => {
            let tables = iter::seeing(table::Hooks::known(types), &config.proc_root);
            (tables, Some((Arc::new(hooks), reader)))
        }
        Err(error) => (table::Hooks::Absent(error.to_string()), None),
    }
}

/// Who is behind each cgroup, if this node tells.
fn cgroups(config: &Config) -> Option<Cgroups> {
    let warn = |error: &_| tracing::warn!("Sockets have no containers: {error}");
    Cgroups::open(&config.cgroup_root, &config.proc_root).inspect_err(warn).ok()
}

/// Who tells which process is in which namespace, if the kernel lets itself be asked.
pub fn tasks(hooks: &table::Hooks) -> Option<Tasks> {
    Tasks::new(hooks).inspect_err(|error| tracing::debug!("Processes are looked for in procfs: {error}")).ok()
}

/// What the configuration lets programs use.
pub fn hook_limits(hooks: &config::Hooks) -> hook::Limits {
    let rows = Budget { rate: hooks.rate as u32, burst: hooks.burst as u32, stacks: hooks.stacks as u32 };
    let ring_bytes = (hooks.ring as u32).next_power_of_two();
    hook::Limits { ring_bytes, rows, cpu: hooks.cpu as f64 / 10_000.0 }
}

/// Wakes the collector; if its inbox is full it is awake.
fn wake(requests: mpsc::SyncSender<Message>) -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(move || drop(requests.try_send(Message::Answered)))
}

/// For those who only look at probes: no query of theirs is answered.
pub fn nobody() -> Host {
    Host { programs: Arc::new(CompileOnly), answered: Arc::new(|| {}), nameless: Arc::default() }
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

/// CLOCK_MONOTONIC, by which the kernel gives the times of rows, and the time since the Unix epoch.
fn clock() -> (Duration, Duration) {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let monotonic = Duration::new(monotonic.tv_sec as u64, monotonic.tv_nsec as u32);
    (monotonic, SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}
