//! Where events go.

mod loki;
mod open_falcon;
mod otlp;

use super::{
    key::{FILE, FILE_PATH, STDOUT},
    quantity::quoted,
    read::Reader,
    yaml::{Entry, Kind, Node},
};
use crate::nearest::did_you_mean;
use std::{collections::HashSet, path::PathBuf, time::Duration};

pub use loki::{LOKI, LOKI_LABELS, LOKI_PUSH, LokiSink};
pub use open_falcon::{FALCON_PUSH, OPEN_FALCON, OpenFalconSink};
pub use otlp::{Compression, OTLP, OTLP_LOGS, OTLP_METRICS, OtlpSink, Protocol};
pub(super) use otlp::{compression, protocol};

/// One entry under `sinks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Stdout(StdoutSink),
    File(FileSink),
    Loki(LokiSink),
    Otlp(OtlpSink),
    OpenFalcon(OpenFalconSink),
}

impl Sink {
    /// As in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Sink::Stdout(_) => "stdout",
            Sink::File(_) => "file",
            Sink::Loki(_) => "loki",
            Sink::Otlp(_) => "otlp",
            Sink::OpenFalcon(_) => "open_falcon",
        }
    }

    pub fn common(&self) -> &Common {
        match self {
            Sink::Stdout(sink) => &sink.common,
            Sink::File(sink) => &sink.common,
            Sink::Loki(sink) => &sink.common,
            Sink::Otlp(sink) => &sink.common,
            Sink::OpenFalcon(sink) => &sink.common,
        }
    }

    /// What it is called in metrics, in the log, and in the spill: no two are called the same.
    pub fn name(&self) -> &str {
        self.common().name.as_deref().unwrap_or(self.kind())
    }
}

/// What every sink has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// None: its kind.
    pub name: Option<String>,
    /// Bytes on disk; 0: none. None: as [`Spill::size`].
    pub spill: Option<u64>,
}

/// Where events wait for sinks that cannot take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spill {
    pub folder: PathBuf,
    /// Bytes, for each sink.
    pub size: u64,
    pub max_age: Duration,
}

impl Default for Spill {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 3600);
        Self { folder: "/var/lib/netsonde/spill".into(), size: 256 << 20, max_age: week }
    }
}

/// Standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StdoutSink {
    pub common: Common,
    pub form: Form,
}

/// The end of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSink {
    pub common: Common,
    pub path: PathBuf,
    pub form: Form,
    pub rotate: Rotate,
}

/// When a file is put aside for a new one; never if it has neither size nor age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// Bytes.
    pub size: Option<u64>,
    pub age: Option<Duration>,
    /// How many that were put aside are kept.
    pub keep: u64,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { size: None, age: None, keep: 5 }
    }
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// logfmt: [`crate::event::line`].
    Line,
    /// One JSON object a line: [`crate::event::json`].
    Json,
}

impl Form {
    pub const ALL: [Form; 2] = [Form::Line, Form::Json];

    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Line => "line",
            Form::Json => "json",
        }
    }
}

/// Without a spill: who reads a pipe and has stopped is seldom the one who reads after a restart.
impl Default for StdoutSink {
    fn default() -> Self {
        Self { common: Common { spill: Some(0), ..Common::default() }, form: Form::Line }
    }
}

/// Without a path.
impl Default for FileSink {
    fn default() -> Self {
        Self { common: Common::default(), path: PathBuf::new(), form: Form::Json, rotate: Rotate::default() }
    }
}

const NAMES: [&str; 5] = ["stdout", "file", "loki", "otlp", "open_falcon"];
const THERE_ARE: &str = "there are `stdout`, `file`, `loki`, `otlp` and `open_falcon`";

impl Reader<'_> {
    /// The list under `sinks`, which is called `name` in messages.
    pub(super) fn sinks(&mut self, name: &str, nodes: &[Node]) -> Vec<Sink> {
        let mut sinks = Vec::new();
        let (mut paths, mut names) = (HashSet::new(), HashSet::new());
        let before = self.faults.len();
        for node in nodes {
            let Some(sink) = self.sink(name, node) else { continue };
            if let Sink::File(FileSink { path, .. }) = &sink
                && !path.as_os_str().is_empty()
                && !paths.insert(path.clone())
            {
                let path = quoted(&path.to_string_lossy());
                self.fault(node.at, format!("two sinks write to the file {path}; remove one"));
            }
            match check_name(sink.name()) {
                Err(message) => self.fault(node.at, message),
                // What else is wrong may be what makes two of one.
                Ok(()) if !names.insert(sink.name().to_owned()) && self.faults.len() == before => {
                    let message =
                        format!("two sinks are called `{}`; give one of them a `name` of its own", sink.name());
                    self.fault(node.at, message);
                }
                Ok(()) => sinks.push(sink),
            }
        }
        sinks
    }

    fn sink(&mut self, name: &str, node: &Node) -> Option<Sink> {
        let entries = match &node.kind {
            Kind::Refused => return None,
            Kind::Mapping(entries) => entries.as_slice(),
            _ => &[],
        };
        let [entry] = entries else {
            let found = if entries.is_empty() { node.found() } else { format!("{} keys", entries.len()) };
            let message =
                format!("each item of `{name}` is one sink, such as `- stdout: {{ form: line }}`; found {found}");
            self.fault(node.at, message);
            return None;
        };
        let inside = format!("{name}.{}", entry.key);
        match entry.key.as_str() {
            "stdout" => {
                let mut sink = StdoutSink::default();
                self.mapping(STDOUT, "", &inside, entry, &mut sink);
                Some(Sink::Stdout(sink))
            }
            "file" => Some(Sink::File(self.file_sink(&inside, entry))),
            "loki" => Some(Sink::Loki(self.loki(&inside, entry))),
            "otlp" => Some(Sink::Otlp(self.otlp(&inside, entry))),
            "open_falcon" => Some(Sink::OpenFalcon(self.open_falcon(&inside, entry))),
            unknown => {
                self.fault(entry.at, unknown_sink(name, unknown));
                None
            }
        }
    }

    fn file_sink(&mut self, name: &str, entry: &Entry) -> FileSink {
        let mut sink = FileSink::default();
        let before = self.faults.len();
        self.mapping(FILE, "", name, entry, &mut sink);
        if sink.path.as_os_str().is_empty() && self.faults.len() == before && entry.value.kind != Kind::Refused {
            let example = FILE_PATH;
            self.fault(entry.at, format!("`{name}` has no `path`; give it one, such as `path: {example}`"));
        }
        sink
    }
}

/// A sink's name becomes a folder's, and a label's value.
fn check_name(name: &str) -> Result<(), String> {
    let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(right) && name.len() <= 64 {
        return Ok(());
    }
    Err(format!(
        "{} is no name for a sink: a small letter, then small letters, digits, `_` and `-`, 64 at most",
        quoted(name)
    ))
}

fn unknown_sink(name: &str, unknown: &str) -> String {
    let near = did_you_mean(unknown, NAMES);
    let help = if near.is_empty() { format!("; {THERE_ARE}") } else { near };
    format!("unknown sink {} in `{name}`{help}", quoted(unknown))
}
