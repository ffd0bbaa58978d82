//! The table of keys: what each is called, what it means, and where its value goes.

mod probe;

pub use probe::PROBE;

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{Compat, Compression, Config, FileSink, Form, Module, Probe, Protocol, Runtime, Secret, Sink, StdoutSink};

/// One key. `T` is what it is a part of: the whole configuration, one probe's entry, or one sink's.
pub struct Key<T: 'static> {
    /// From the top of `T`, with dots.
    pub path: &'static str,
    /// The manual.
    pub doc: &'static str,
    /// A right value, as it stands in the file.
    pub example: &'static str,
    pub value: Value<T>,
}

/// What kind of value a key has, where in `T` it is, and its bounds.
pub enum Value<T: 'static> {
    /// A mapping of the keys whose path begins with this one's.
    Section,
    Text(Place<T, Option<String>>),
    Bool(Place<T, bool>),
    /// `http` or `https`.
    Url(Place<T, String>),
    Address(Place<T, SocketAddr>),
    Path(Place<T, PathBuf>),
    OptionalPath(Place<T, Option<PathBuf>>),
    Time(Place<T, Duration>, RangeInclusive<Duration>),
    OptionalTime(Place<T, Option<Duration>>, RangeInclusive<Duration>),
    Size(Place<T, u64>, RangeInclusive<u64>),
    OptionalSize(Place<T, Option<u64>>, RangeInclusive<u64>),
    Count(Place<T, u64>, RangeInclusive<u64>),
    Rate(Place<T, u64>, RangeInclusive<u64>),
    /// In hundredths of a percent.
    Percent(Place<T, u64>, RangeInclusive<u64>),
    Module(Place<T, Option<Module>>),
    /// Anything; handed on as JSON.
    Any(Place<T, serde_json::Value>),
    Probes(Place<T, Option<Vec<Probe>>>),
    Form(Place<T, Form>),
    Sinks(Place<T, Vec<Sink>>),
    /// `auto`, `none` or a path.
    Runtime(Place<T, Runtime>),
    /// A mapping of names of labels to texts.
    Labels(Place<T, Vec<(String, String)>>),
    /// The same for streams of a log.
    StreamLabels(Place<T, Vec<(String, String)>>),
    /// A mapping of names to values that are not shown.
    Headers(Place<T, Vec<(String, Secret)>>),
    Protocol(Place<T, Protocol>),
    Compression(Place<T, Compression>),
    Compat(Place<T, Vec<Compat>>),
    /// Of those that are guarded.
    Tables(Place<T, Vec<String>>),
    /// Not a key of this release, but one that people try: what to tell them.
    Elsewhere(&'static str),
}

type Place<T, V> = fn(&mut T) -> &mut V;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Bytes on disk that a sink's spill may have.
const SPILL: RangeInclusive<u64> = 0..=(1 << 40);

/// The file's top level and its sections.
pub static CONFIG: &[Key<Config>] = &[
    Key {
        path: "node",
        doc: "The name of this node, as it is shown to people. Without it: the host name.",
        example: "worker-3",
        value: Value::Text(|c| &mut c.node),
    },
    Key {
        path: "listen",
        doc: "Address and port of the HTTP server with /metrics. Other machines reach it only when this is not a loopback address.",
        example: "127.0.0.1:13119",
        value: Value::Address(|c| &mut c.listen),
    },
    Key {
        path: "web_config",
        doc: "A web configuration file as Prometheus and its exporters have it: TLS, clients' certificates, names and passwords. It is read \
              anew when it, or a certificate that it names, has changed.",
        example: "web.yml",
        value: Value::OptionalPath(|c| &mut c.web_config),
    },
    Key {
        path: "access",
        doc: "Who may see pages that tell addresses: all but /metrics, /healthz and /readyz. On this machine, by a loopback address, everybody; \
              from other machines whoever has a token, or what `web_config` asks for, and without either nobody.",
        example: "{ token_file: tokens }",
        value: Value::Section,
    },
    Key {
        path: "access.token_file",
        doc: "Bearer tokens, a line each, of 16 characters at least. It is read anew when it has changed, and must not be open to every user \
              (mode 0600 or 0640).",
        example: "tokens",
        value: Value::OptionalPath(|c| &mut c.access.token_file),
    },
    Key {
        path: "probes",
        doc: "The probes that run, no others, by name. Without this key: the built-in ones. `{}`: none.",
        example: "{ sockstat: {} }",
        value: Value::Probes(|c| &mut c.probes),
    },
    Key {
        path: "probe_folder",
        doc: "A file NAME.wasm in this folder can be named under `probes` without saying where its module is.",
        example: "/etc/netsonde/probes",
        value: Value::Path(|c| &mut c.probe_folder),
    },
    Key {
        path: "cache_folder",
        doc: "Compiled modules are kept here. The folder must belong to the agent's user, with mode 0700; it is made if it is missing.",
        example: "/var/cache/netsonde",
        value: Value::Path(|c| &mut c.cache_folder),
    },
    Key {
        path: "proc_root",
        doc: "Where the node's procfs is mounted; in a container often a folder such as /host/proc.",
        example: "/proc",
        value: Value::Path(|c| &mut c.proc_root),
    },
    Key {
        path: "netns_folder",
        doc: "Where `ip netns` keeps its named network namespaces.",
        example: "/run/netns",
        value: Value::Path(|c| &mut c.netns_folder),
    },
    Key {
        path: "host_netns",
        doc: "The network namespace that is called `host`, as a file. Without it: that of process 1 under `proc_root`.",
        example: "/run/netns/node",
        value: Value::OptionalPath(|c| &mut c.host_netns),
    },
    Key {
        path: "collection",
        doc: "A collection reads the tables and asks every probe; a scrape causes one.",
        example: "{ min_interval: 1s }",
        value: Value::Section,
    },
    Key {
        path: "collection.min_interval",
        doc: "A scrape takes the last collection's answer if it is younger than this. 0s to 1h.",
        example: "1s",
        value: Value::Time(|c| &mut c.collection.min_interval, Duration::ZERO..=HOUR),
    },
    Key {
        path: "collection.idle_interval",
        doc: "Without a scrape for this long, the agent collects by itself, so that namespaces that go are noticed. 1s to 1h.",
        example: "15s",
        value: Value::Time(|c| &mut c.collection.idle_interval, SECOND..=HOUR),
    },
    Key {
        path: "collection.timeout",
        doc: "A collection ends after this time; tables and probes that are not done by then have failed in it. A scrape's own timeout may \
              end it sooner. 10ms to 1m.",
        example: "5s",
        value: Value::Time(|c| &mut c.collection.timeout, Duration::from_millis(10)..=MINUTE),
    },
    Key {
        path: "btf",
        doc: "Types of the running kernel (BTF), of which tracepoints are made tables.",
        example: "/sys/kernel/btf/vmlinux",
        value: Value::Path(|c| &mut c.btf),
    },
    Key {
        path: "hooks",
        doc: "What queries over tracepoints may use. Whatever is kept back is counted.",
        example: "{ rate: 100/s }",
        value: Value::Section,
    },
    Key {
        path: "hooks.rate",
        doc: "Rows a second that each stream takes of one network namespace. 1/s to 100000/s.",
        example: "100/s",
        value: Value::Rate(|c| &mut c.hooks.rate, 1..=100_000),
    },
    Key {
        path: "hooks.burst",
        doc: "Rows of one network namespace at once, after a while without any. 1 to 100000.",
        example: "1000",
        value: Value::Count(|c| &mut c.hooks.burst, 1..=100_000),
    },
    Key {
        path: "hooks.cpu",
        doc: "Share of one core that each query's program may take over ten seconds; beyond it is detached for a while. The default leaves room \
              for floods of some 100,000 packets a second. 0.01% to 10000%.",
        example: "5%",
        value: Value::Percent(|c| &mut c.hooks.cpu, 1..=1_000_000),
    },
    Key {
        path: "hooks.stacks",
        doc: "Stacks a second that are taken for each query of a probe with `stack: true`, of all namespaces together; other rows come without. \
              1/s to 100000/s.",
        example: "100/s",
        value: Value::Rate(|c| &mut c.hooks.stacks, 1..=100_000),
    },
    Key {
        path: "hooks.ring",
        doc: "Memory for rows on their way from the kernel, rounded up to a power of two. 64KiB to 256MiB.",
        example: "2MiB",
        value: Value::Size(|c| &mut c.hooks.ring, (64 << 10)..=(256 << 20)),
    },
    Key {
        path: "compat",
        doc: "What to serve under another system's names as well, each by a built-in probe that runs only then. `cadvisor`: its counts of TCP \
              and UDP sockets, which a kubelet leaves at zero. `cadvisor-traffic`: those of devices, which double every sum where a kubelet \
              is scraped too.",
        example: "[cadvisor]",
        value: Value::Compat(|c| &mut c.compat),
    },
    Key {
        path: "drain",
        doc: "On SIGTERM, requests that are being answered, and sinks that still have events, get this long to end. What is left then goes to \
              the sinks' spill. 0s to 5m.",
        example: "5s",
        value: Value::Time(|c| &mut c.drain, Duration::ZERO..=Duration::from_secs(300)),
    },
    Key {
        path: "events",
        doc: "What is done with events before they are handed on.",
        example: "{ fold: 10s }",
        value: Value::Section,
    },
    Key {
        path: "events.fold",
        doc: "Events of one type that happen to the same, with the same addresses and texts, within this time of the first are one with a \
              count. They go on when the time is over. 0s: each goes on by itself, at once. 0s to 1h.",
        example: "0s",
        value: Value::Time(|c| &mut c.events.fold, Duration::ZERO..=HOUR),
    },
    Key {
        path: "recorder",
        doc: "The flight recorder keeps the last events in memory, unfolded, with those that were over their probe's limit. All of it is written \
              into a file on SIGUSR1 and on a burst; `netsonde recorder` shows it.",
        example: "{ keep: 5m }",
        value: Value::Section,
    },
    Key {
        path: "recorder.keep",
        doc: "How long an event is kept. 0s: nothing is recorded. 0s to 1h.",
        example: "5m",
        value: Value::Time(|c| &mut c.recorder.keep, Duration::ZERO..=HOUR),
    },
    Key {
        path: "recorder.events",
        doc: "How many events are kept at most. 1 to 1000000.",
        example: "16384",
        value: Value::Count(|c| &mut c.recorder.events, 1..=1_000_000),
    },
    Key {
        path: "recorder.size",
        doc: "Memory that they take at most. 64KiB to 1GiB.",
        example: "8MiB",
        value: Value::Size(|c| &mut c.recorder.size, (64 << 10)..=(1 << 30)),
    },
    Key {
        path: "recorder.burst",
        doc: "So many events of one type that happen to the same within `recorder.within` are a burst, on which all is written down, at most \
              once a minute. 0: never. 0 to 1000000.",
        example: "1000",
        value: Value::Count(|c| &mut c.recorder.burst, 0..=1_000_000),
    },
    Key {
        path: "recorder.within",
        doc: "The time of a burst. 1s to 1h.",
        example: "10s",
        value: Value::Time(|c| &mut c.recorder.within, SECOND..=HOUR),
    },
    Key {
        path: "recorder.burst_type",
        doc: "Only events of this type make a burst. Without this key: those of any.",
        example: "PACKETLOSS",
        value: Value::Text(|c| &mut c.recorder.burst_type),
    },
    Key {
        path: "recorder.folder",
        doc: "Where the files are written; it is made, with mode 0700, if it is missing.",
        example: "/var/lib/netsonde/recorder",
        value: Value::Path(|c| &mut c.recorder.folder),
    },
    Key {
        path: "recorder.files",
        doc: "How many files are kept; the oldest go. 1 to 1000.",
        example: "10",
        value: Value::Count(|c| &mut c.recorder.files, 1..=1000),
    },
    Key {
        path: "sinks",
        doc: "Where events go, besides the pages of the agent itself: a list, of `stdout`, `file`, `loki` and `otlp`. To `otlp` and `open_falcon` \
              metrics are pushed.",
        example: "[{ stdout: { form: line } }]",
        value: Value::Sinks(|c| &mut c.sinks),
    },
    Key {
        path: "spill",
        doc: "Where events wait for a sink that cannot take them now: on disk, in their order, until they are delivered. An outage within the \
              size loses none, and what was spilled outlives the agent, also one that was killed: its next run delivers that first. It is \
              synced to the disk once a second, and whenever 4 MiB are full: only a node that loses its power loses the last second of it.",
        example: "{ size: 256MiB }",
        value: Value::Section,
    },
    Key {
        path: "spill.folder",
        doc: "Each sink has a folder in it by the sink's name; they are made if they are missing, with mode 0700, as events name addresses. Two \
              agents must not share it: the second one has no spill, and says so. Neither has one whose folder cannot be written.",
        example: "/var/lib/netsonde/spill",
        value: Value::Path(|c| &mut c.spill.folder),
    },
    Key {
        path: "spill.size",
        doc: "Disk space for each sink's events; beyond, the newest are dropped, and counted as `spill_full`. 0B to 1TiB; 0B: none, then an \
              outage loses what does not fit into memory.",
        example: "256MiB",
        value: Value::Size(|c| &mut c.spill.size, SPILL),
    },
    Key {
        path: "spill.max_age",
        doc: "Events that an earlier run of the agent has spilled, and that are older by the clock of the node, are dropped, and counted as \
              `too_old`. 1m to 8760h.",
        example: "168h",
        value: Value::Time(|c| &mut c.spill.max_age, MINUTE..=YEAR),
    },
    Key {
        path: "cgroup_root",
        doc: "Where the node's cgroups are mounted; in a container often a folder such as /host/sys/fs/cgroup. They tell the container of a socket.",
        example: "/sys/fs/cgroup",
        value: Value::Path(|c| &mut c.cgroup_root),
    },
    Key {
        path: "pods",
        doc: "Who is asked which pods there are, so that series and events bear their names.",
        example: "{ cri: /run/containerd/containerd.sock }",
        value: Value::Section,
    },
    Key {
        path: "pods.cri",
        doc: "The socket of the Container Runtime Interface (containerd, CRI-O), `none`, or `auto`: the first at the usual places.",
        example: "/run/containerd/containerd.sock",
        value: Value::Runtime(|c| &mut c.pods.cri),
    },
    Key {
        path: "pods.docker",
        doc: "The socket of the Docker engine or of Podman, `none`, or `auto`: the first at the usual places.",
        example: "/run/docker.sock",
        value: Value::Runtime(|c| &mut c.pods.docker),
    },
    Key {
        path: "pods.labels",
        doc: "Labels that series and events have besides, each with the label or annotation of the pod that it takes its value from.",
        example: "{ app: app.kubernetes.io/name }",
        value: Value::Labels(|c| &mut c.pods.labels),
    },
    Key {
        path: "log",
        doc: "",
        example: "",
        value: Value::Elsewhere(
            "is no key: the log level is set by the environment variable NETSONDE_LOG, such as `debug`",
        ),
    },
];

/// How a sink is called: a key of each.
pub(super) const fn name<T>(place: Place<T, Option<String>>, example: &'static str) -> Key<T> {
    Key {
        path: "name",
        doc: "What it is called in metrics, and its folder in the spill; without one, its kind. No two may be called the same: of several of a \
              kind all but one need a name. A sink that is given another name leaves behind what its folder holds.",
        example,
        value: Value::Text(place),
    }
}

/// How much of a sink's events may wait on disk: a key of each.
pub(super) const fn spill<T>(place: Place<T, Option<u64>>) -> Key<T> {
    Key {
        path: "spill",
        doc: "Disk space for events that wait for it; 0B: none. Without it: `spill.size`, but none for `stdout`. 0B to 1TiB.",
        example: "1GiB",
        value: Value::OptionalSize(place, SPILL),
    }
}

const fn form<T>(place: Place<T, Form>, example: &'static str) -> Key<T> {
    Key {
        path: "form",
        doc: "`line`: key=value, for people; `json`: one object a line.",
        example,
        value: Value::Form(place),
    }
}

/// The sink `stdout`.
pub static STDOUT: &[Key<StdoutSink>] =
    &[form(|s| &mut s.form, "line"), name(|s| &mut s.common.name, "screen"), spill(|s| &mut s.common.spill)];

/// An example of the one key that the sink `file` must have.
pub const FILE_PATH: &str = "/var/log/netsonde/events.jsonl";

/// The sink `file`.
pub static FILE: &[Key<FileSink>] = &[
    Key {
        path: "path",
        doc: "The file, to whose end events are written; it is made, with mode 0640, if it is missing, but not its folder. One that was moved \
              away is made anew; on SIGHUP every one is closed and opened again.",
        example: FILE_PATH,
        value: Value::Path(|s| &mut s.path),
    },
    form(|s| &mut s.form, "json"),
    Key {
        path: "rotate",
        doc: "When the agent itself puts the file aside, as PATH.1, the one before as PATH.2, and begins a new one. Without size and age: \
              never.",
        example: "{ size: 100MiB, age: 24h, keep: 5 }",
        value: Value::Section,
    },
    Key {
        path: "rotate.size",
        doc: "Before it would grow beyond this. 64KiB to 1TiB.",
        example: "100MiB",
        value: Value::OptionalSize(|s| &mut s.rotate.size, (64 << 10)..=(1 << 40)),
    },
    Key {
        path: "rotate.age",
        doc: "With the first events after this time since it was made; where the file system does not tell that, since the agent opened it. \
              1s to 8760h.",
        example: "24h",
        value: Value::OptionalTime(|s| &mut s.rotate.age, SECOND..=YEAR),
    },
    Key {
        path: "rotate.keep",
        doc: "How many that were put aside are kept; the oldest is removed. 1 to 1000.",
        example: "5",
        value: Value::Count(|s| &mut s.rotate.keep, 1..=1000),
    },
    name(|s| &mut s.common.name, "audit"),
    spill(|s| &mut s.common.spill),
];
