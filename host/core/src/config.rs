//! The configuration file: YAML text in, a [`Config`] or every error at once out.
//!
//! What each key means is told once, in the table of `config/key.rs`: the decoder, the near names of its messages, and [`print`](print()) use
//! it. Nothing here opens a file.

mod key;
mod print;
mod quantity;
mod read;
mod remote;
mod sink;
#[cfg(test)]
mod tests;
pub mod token;
pub mod web;
mod word;
mod yaml;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

pub use print::print;
pub use quantity::parse_time;
pub use remote::{Remote, Secret, Tls};
pub use sink::{
    Common, Compression, FALCON_PUSH, FileSink, Form, LOKI_LABELS, LOKI_PUSH, LokiSink, OTLP_LOGS, OTLP_METRICS,
    OpenFalconSink, OtlpSink, Protocol, Rotate, Sink, Spill, StdoutSink,
};
pub use word::{Compat, GUARDED_TABLES};

/// A file larger than this is refused, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// The effective configuration. Paths are resolved; what the file left out has its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// None: the host name.
    pub node: Option<String>,
    pub listen: SocketAddr,
    /// The web configuration file: [`web`].
    pub web_config: Option<PathBuf>,
    pub access: Access,
    /// In the file's order. None: the built-in ones; empty: none.
    pub probes: Option<Vec<Probe>>,
    pub probe_folder: PathBuf,
    pub cache_folder: PathBuf,
    pub proc_root: PathBuf,
    pub netns_folder: PathBuf,
    /// None: the network namespace of process 1.
    pub host_netns: Option<PathBuf>,
    /// Types of the running kernel.
    pub btf: PathBuf,
    pub hooks: Hooks,
    /// In the file's order. Each runs one more probe.
    pub compat: Vec<Compat>,
    /// Where the node's cgroups are mounted.
    pub cgroup_root: PathBuf,
    pub pods: Pods,
    pub collection: Collection,
    pub drain: Duration,
    pub events: Events,
    pub recorder: Recorder,
    /// In the file's order.
    pub sinks: Vec<Sink>,
    pub spill: Spill,
}

/// Who may see the pages that tell addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Bearer tokens: [`token`].
    pub token_file: Option<PathBuf>,
}

/// What is done with events before they are handed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Those that are alike within this time are one; zero: none are.
    pub fold: Duration,
}

/// The flight recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// Zero: nothing is recorded.
    pub keep: Duration,
    pub events: u64,
    /// Bytes of memory.
    pub size: u64,
    /// Events of one type that happen to the same within `within`, on which all is written down; 0: never.
    pub burst: u64,
    pub within: Duration,
    /// Of which type; None: of any.
    pub burst_type: Option<String>,
    /// Where it is written down.
    pub folder: PathBuf,
    /// How many of its files are kept.
    pub files: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(300),
            events: 16_384,
            size: 8 << 20,
            burst: 0,
            within: Duration::from_secs(10),
            burst_type: None,
            folder: "/var/lib/netsonde/recorder".into(),
            files: 10,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    pub min_interval: Duration,
    pub idle_interval: Duration,
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub name: String,
    /// None: the built-in probe of this name, else `NAME.wasm` in the probe folder.
    pub module: Option<Module>,
    /// The probe's own; the host does not look inside.
    pub settings: serde_json::Value,
    pub limits: Limits,
    /// Whether its events have the kernel's stack.
    pub stack: bool,
    /// Those of [`GUARDED_TABLES`] that it may ask.
    pub allow: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Module {
    Builtin(String),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub memory: u64,
    /// CPU time of one call.
    pub deadline: Duration,
    /// Wall time of one call.
    pub wall: Duration,
    /// For each metric.
    pub series: u64,
    /// A second.
    pub events: u64,
    /// Bytes.
    pub label: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 13119)),
            web_config: None,
            access: Access::default(),
            probes: None,
            probe_folder: "/etc/netsonde/probes".into(),
            cache_folder: "/var/cache/netsonde".into(),
            proc_root: "/proc".into(),
            netns_folder: "/run/netns".into(),
            host_netns: None,
            btf: "/sys/kernel/btf/vmlinux".into(),
            hooks: Hooks::default(),
            compat: Vec::new(),
            cgroup_root: "/sys/fs/cgroup".into(),
            pods: Pods::default(),
            collection: Collection::default(),
            drain: Duration::from_secs(5),
            events: Events::default(),
            recorder: Recorder::default(),
            sinks: Vec::new(),
            spill: Spill::default(),
        }
    }
}

/// Who is asked for pods, and what is taken of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// The socket of the Container Runtime Interface.
    pub cri: Runtime,
    /// The socket of the Docker engine's API.
    pub docker: Runtime,
    /// Labels of series and fields of events, each with the pod's label or annotation that it has its value from.
    pub labels: Vec<(String, String)>,
}

/// A container runtime's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// Whatever is found at the usual places.
    #[default]
    Auto,
    /// Nobody is asked.
    None,
    At(PathBuf),
}

/// What queries over tracepoints may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Rows a second of each stream and namespace.
    pub rate: u64,
    /// Rows of a namespace at once.
    pub burst: u64,
    /// Stacks a second of each stream whose probe wants them.
    pub stacks: u64,
    /// Of one core, for each program, in hundredths of a percent.
    pub cpu: u64,
    /// Bytes.
    pub ring: u64,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { rate: 100, burst: 1000, stacks: 100, cpu: 500, ring: 2 << 20 }
    }
}

impl Default for Collection {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_secs(1),
            idle_interval: Duration::from_secs(15),
            timeout: Duration::from_secs(5),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 16 << 20,
            deadline: Duration::from_millis(100),
            wall: Duration::from_secs(1),
            series: 10_000,
            events: 1000,
            label: 256,
        }
    }
}

impl Probe {
    /// As it is when the file gives its name alone.
    pub fn named(name: impl Into<String>) -> Self {
        let settings = serde_json::Value::Object(serde_json::Map::new());
        Self { name: name.into(), module: None, settings, limits: Limits::default(), stack: false, allow: Vec::new() }
    }
}

/// One thing that is wrong in the file. Line and column count from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ConfigError {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// Reads the configuration from `text`, all of the file.
///
/// `file` is only for the messages. Relative paths in the text are relative to `folder`, which should be the absolute path of the file's
/// folder. On failure every error is in the list, in the file's order; only after a syntax error the rest of the file stays unread.
pub fn parse(text: &str, file: &str, folder: &Path) -> Result<Config, Vec<ConfigError>> {
    let place =
        |(at, message): yaml::Fault| ConfigError { file: file.to_owned(), line: at.line, column: at.column, message };
    if text.len() > MAX_FILE {
        let message = format!("this file has {} bytes; a configuration has {MAX_FILE} at most", text.len());
        return Err(vec![place((yaml::Position::START, message))]);
    }
    let (node, mut faults) = yaml::load(text);
    let config = read::config(&node, folder, &mut faults);
    if faults.is_empty() {
        return Ok(config);
    }
    faults.sort_by_key(|(at, _)| *at);
    Err(faults.into_iter().map(place).collect())
}
