//! Where events go.

use super::{
    key::{FILE, LATER_SINKS, STDOUT},
    quantity::quoted,
    read::Reader,
    yaml::{Entry, Kind, Node},
};
use crate::nearest::did_you_mean;
use std::{collections::HashSet, path::PathBuf};

/// One entry under `sinks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Stdout(StdoutSink),
    File(FileSink),
}

/// Standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StdoutSink {
    pub form: Form,
}

/// The end of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSink {
    pub path: PathBuf,
    pub form: Form,
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

impl Default for StdoutSink {
    fn default() -> Self {
        Self { form: Form::Line }
    }
}

/// Without a path.
impl Default for FileSink {
    fn default() -> Self {
        Self { path: PathBuf::new(), form: Form::Json }
    }
}

const NAMES: [&str; 2] = ["stdout", "file"];

impl Reader<'_> {
    /// The list under `sinks`, which is called `name` in messages.
    pub(super) fn sinks(&mut self, name: &str, nodes: &[Node]) -> Vec<Sink> {
        let mut sinks = Vec::new();
        let mut paths = HashSet::new();
        for node in nodes {
            let Some(sink) = self.sink(name, node) else { continue };
            if let Sink::File(FileSink { path, .. }) = &sink
                && !path.as_os_str().is_empty()
                && !paths.insert(path.clone())
            {
                let path = quoted(&path.to_string_lossy());
                self.fault(node.at, format!("two sinks write to the file {path}; remove one"));
            }
            sinks.push(sink);
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
            let example = FILE[0].example;
            self.fault(entry.at, format!("`{name}` has no `path`; give it one, such as `path: {example}`"));
        }
        sink
    }
}

fn unknown_sink(name: &str, unknown: &str) -> String {
    if LATER_SINKS.contains(&unknown) {
        return format!("the sink `{unknown}` is not in this release; there are `stdout` and `file`");
    }
    let near = did_you_mean(unknown, NAMES);
    let help = if near.is_empty() { "; there are `stdout` and `file`" } else { &near };
    format!("unknown sink {} in `{name}`{help}", quoted(unknown))
}
