//! The decoder: a tree of nodes and the table of keys → values in their places, and all that is wrong.

use std::{net::SocketAddr, path::Path, path::PathBuf};

use super::{
    Config, Form, Module, Probe, Runtime,
    key::{CONFIG, Key, PROBE, Value},
    quantity::{
        parse_percent, parse_rate, parse_size, parse_time, quoted, show_percent, show_rate, show_size, show_time,
        within,
    },
    remote::url,
    sink::{compression, protocol},
    yaml::{Entry, Fault, Kind, Node, Position},
};
use crate::{
    event,
    metric::family::{is_label_name, is_reserved},
    nearest::did_you_mean,
};

/// The defaults, with what `node` says put over them. Whatever is wrong is added to `faults`; the result is then of no use.
pub fn config(node: &Node, folder: &Path, faults: &mut Vec<Fault>) -> Config {
    let mut config = Config::default();
    let mut reader = Reader { folder, faults };
    let root = Entry { key: String::new(), at: node.at, value: node.clone() };
    reader.mapping(CONFIG, "", "", &root, &mut config);
    let collection = &config.collection;
    if collection.idle_interval < collection.min_interval {
        let message = "`collection.idle_interval` is shorter than `collection.min_interval`; make it as long at least";
        reader.fault(position_of(node, "collection"), message.to_owned());
    }
    let recorder = &config.recorder;
    if recorder.burst > recorder.events {
        let message = "`recorder.burst` is more than `recorder.events`: so many are never kept; make it smaller";
        reader.fault(position_of(node, "recorder"), message.to_owned());
    }
    config
}

pub(super) struct Reader<'a> {
    folder: &'a Path,
    pub(super) faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    pub(super) fn fault(&mut self, at: Position, message: String) {
        self.faults.push((at, message));
    }

    /// The keys of `table` below `section`. `name` is what the mapping is called in messages, empty for the whole file.
    pub(super) fn mapping<T>(
        &mut self,
        table: &'static [Key<T>],
        section: &str,
        name: &str,
        entry: &Entry,
        into: &mut T,
    ) {
        match &entry.value.kind {
            Kind::Null | Kind::Refused => {}
            Kind::Mapping(entries) => {
                for entry in entries {
                    self.key(table, section, name, entry, into);
                }
            }
            _ => {
                let what = if name.is_empty() { "the configuration".to_owned() } else { format!("`{name}`") };
                let found = entry.value.found();
                let known = known_here(table, section);
                self.fault(entry.value.at, format!("{what} must be a mapping of {known}; found {found}"));
            }
        }
    }

    fn key<T>(&mut self, table: &'static [Key<T>], section: &str, name: &str, entry: &Entry, into: &mut T) {
        let path = joined(section, &entry.key);
        // A dot in a key must not reach into a section.
        let key = table.iter().find(|key| key.path == path && !entry.key.contains('.'));
        let Some(key) = key else {
            let near = did_you_mean(&entry.key, names(table, section));
            let inside = if name.is_empty() { String::new() } else { format!(" in `{name}`") };
            let help = if near.is_empty() { format!("; known here are {}", known_here(table, section)) } else { near };
            return self.fault(entry.at, format!("unknown key {}{inside}{help}", quoted(&entry.key)));
        };
        let name = joined(name, &entry.key);
        match (&key.value, &entry.value.kind) {
            (_, Kind::Refused) => {}
            (Value::Elsewhere(message), _) => self.fault(entry.at, format!("`{name}` {message}")),
            (Value::Section, _) => self.mapping(table, key.path, &name, entry, into),
            (Value::Probes(place), Kind::Mapping(entries)) => {
                *place(into) = Some(entries.iter().filter_map(|entry| self.probe(&name, entry)).collect());
            }
            (Value::Labels(place), Kind::Mapping(entries)) => {
                *place(into) = entries.iter().filter_map(|entry| self.pod_label(&name, entry)).collect();
            }
            (Value::StreamLabels(place), Kind::Mapping(entries)) => *place(into) = self.stream_labels(&name, entries),
            (Value::Headers(place), Kind::Mapping(entries)) => *place(into) = self.headers(&name, entries),
            (Value::Sinks(place), Kind::List(nodes)) => *place(into) = self.sinks(&name, nodes),
            (Value::Compat(place), Kind::List(nodes)) => *place(into) = self.compat(&name, nodes),
            (Value::Tables(place), Kind::List(nodes)) => *place(into) = self.tables(&name, nodes),
            (Value::Any(place), kind) => {
                if *kind != Kind::Null {
                    *place(into) = entry.value.to_json();
                }
            }
            (_, Kind::Null) => {
                let message =
                    format!("`{name}` has no value; give it one, such as `{}`, or leave the key out", key.example);
                self.fault(entry.at, message);
            }
            _ => {
                if let Err(message) = scalar(key, self.folder, &entry.value, into) {
                    self.fault(entry.value.at, format!("`{name}`: {message}"));
                }
            }
        }
    }

    fn pod_label(&mut self, section: &str, entry: &Entry) -> Option<(String, String)> {
        let name = joined(section, &entry.key);
        if !is_label_name(&entry.key) || event::is_refused(&entry.key) {
            let message = format!(
                "{} is no name for a label of pods: letters, digits and `_`, not beginning with a digit, and none of those that \
                 series and events have anyway",
                quoted(&entry.key)
            );
            self.fault(entry.at, message);
            return None;
        }
        match &entry.value.kind {
            Kind::Text(text) if !text.is_empty() => Some((entry.key.clone(), text.clone())),
            Kind::Refused => None,
            _ => {
                let found = entry.value.found();
                let message =
                    format!("`{name}`: must be a key of pods' labels such as `app.kubernetes.io/name`; found {found}");
                self.fault(entry.value.at, message);
                None
            }
        }
    }

    fn probe(&mut self, section: &str, entry: &Entry) -> Option<Probe> {
        if let Err(message) = check_probe_name(&entry.key) {
            self.fault(entry.at, message);
            return None;
        }
        let mut probe = Probe::named(&entry.key);
        let before = self.faults.len();
        self.mapping(PROBE, "", &joined(section, &entry.key), entry, &mut probe);
        if probe.limits.wall < probe.limits.deadline && self.faults.len() == before {
            let (wall, deadline) = (show_time(probe.limits.wall), show_time(probe.limits.deadline));
            let message = format!(
                "the limit `wall` of probe `{}` ({wall}) is shorter than its `deadline` ({deadline}); make it as long at least",
                probe.name
            );
            self.fault(position_of(&entry.value, "limits"), message);
        }
        Some(probe)
    }
}

/// Puts a value that is no mapping into its place.
fn scalar<T>(key: &Key<T>, folder: &Path, node: &Node, into: &mut T) -> Result<(), String> {
    let wrong = |what: &str| format!("must be {what} such as `{}`; found {}", key.example, node.found());
    let text = |what: &str| match &node.kind {
        Kind::Text(text) if text.is_empty() => Err(wrong(what)),
        Kind::Text(text) if text.chars().any(char::is_control) => {
            Err(format!("{} holds a control character", quoted(text)))
        }
        Kind::Text(text) => Ok(text.as_str()),
        Kind::Number(..) | Kind::Bool(_) => Err(format!("{}; put it into quotes if it is meant", wrong(what))),
        _ => Err(wrong(what)),
    };
    let quantity = |what: &str| match &node.kind {
        Kind::Text(text) | Kind::Number(_, text) => Ok(text.as_str()),
        _ => Err(wrong(what)),
    };
    let like = |message: String| format!("{message}; write it like `{}`", key.example);
    match &key.value {
        Value::Text(place) => *place(into) = Some(text("a text")?.to_owned()),
        Value::Bool(place) => {
            let Kind::Bool(yes) = &node.kind else { return Err(wrong("`true` or `false`,")) };
            *place(into) = *yes;
        }
        Value::Url(place) => {
            // It may have a password in it: nothing of it is told but by whoever looks for one.
            let Kind::Text(text) = &node.kind else { return Err(like("must be a URL".to_owned())) };
            *place(into) = url(text).map_err(like)?;
        }
        Value::Protocol(place) => *place(into) = protocol(text("`http` or `grpc`")?)?,
        Value::Compression(place) => *place(into) = compression(text("`gzip` or `none`")?)?,
        Value::Address(place) => *place(into) = address(quantity("an address and port")?).map_err(like)?,
        Value::Path(place) => *place(into) = folder.join(text("a path")?),
        Value::OptionalPath(place) => *place(into) = Some(folder.join(text("a path")?)),
        Value::Module(place) => *place(into) = Some(module(text("a file or `builtin:NAME`")?, folder)?),
        Value::Time(place, bounds) => {
            let time = parse_time(quantity("a time")?).map_err(like)?;
            *place(into) = within(time, bounds, show_time)?;
        }
        Value::OptionalTime(place, bounds) => {
            let time = parse_time(quantity("a time")?).map_err(like)?;
            *place(into) = Some(within(time, bounds, show_time)?);
        }
        Value::Size(place, bounds) => {
            let size = parse_size(quantity("a size")?).map_err(like)?;
            *place(into) = within(size, bounds, show_size)?;
        }
        Value::OptionalSize(place, bounds) => {
            let size = parse_size(quantity("a size")?).map_err(like)?;
            *place(into) = Some(within(size, bounds, show_size)?);
        }
        Value::Rate(place, bounds) => {
            let rate = parse_rate(quantity("a rate")?).map_err(like)?;
            *place(into) = within(rate, bounds, show_rate)?;
        }
        Value::Percent(place, bounds) => {
            let percent = parse_percent(quantity("a percentage")?).map_err(like)?;
            *place(into) = within(percent, bounds, show_percent)?;
        }
        Value::Count(place, bounds) => {
            let Kind::Number(number, _) = &node.kind else { return Err(wrong("a whole number")) };
            let number = number.as_u64().ok_or_else(|| wrong("a whole number"))?;
            *place(into) = within(number, bounds, |n| n.to_string())?;
        }
        Value::Form(place) => *place(into) = form(text("`line` or `json`")?)?,
        Value::Probes(_) => return Err(wrong("a mapping of probe names")),
        Value::Sinks(_) => return Err(wrong("a list of sinks")),
        Value::Labels(_) | Value::StreamLabels(_) => return Err(wrong("a mapping of labels")),
        // Whatever is there may be a secret.
        Value::Headers(_) => return Err(like("must be a mapping of names and values".to_owned())),
        Value::Runtime(place) => *place(into) = runtime(text("`auto`, `none` or a socket")?, folder)?,
        Value::Compat(_) => return Err(wrong("a list of other systems")),
        Value::Tables(_) => return Err(wrong("a list of tables")),
        // These took their value before.
        Value::Any(_) | Value::Section | Value::Elsewhere(_) => {}
    }
    Ok(())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{} is no IP address with a port; to listen on all, `\"[::]:13119\"`", quoted(text)))
}

/// A socket as people write it: `/run/crio/crio.sock`, or `unix:///run/crio/crio.sock` as the kubelet does.
fn runtime(text: &str, folder: &Path) -> Result<Runtime, String> {
    match text.strip_prefix("unix://").unwrap_or(text) {
        "auto" => Ok(Runtime::Auto),
        "none" => Ok(Runtime::None),
        other if !other.starts_with('/') && other.contains("://") => {
            Err(format!("{} is asked by its Unix socket only: `/run/containerd/containerd.sock`", quoted(text)))
        }
        path => Ok(Runtime::At(folder.join(path))),
    }
}

fn form(text: &str) -> Result<Form, String> {
    let unknown = || {
        let near = did_you_mean(text, Form::ALL.map(Form::as_str));
        format!("there is no form {}; it is `line` or `json`{near}", quoted(text))
    };
    Form::ALL.into_iter().find(|form| form.as_str() == text).ok_or_else(unknown)
}

fn module(text: &str, folder: &Path) -> Result<Module, String> {
    if let Some(name) = text.strip_prefix("builtin:") {
        return check_probe_name(name).map(|()| Module::Builtin(name.to_owned()));
    }
    if text.contains("://") || text.starts_with("oci:") {
        return Err(format!("{} is fetched from nowhere; a module is a file, or `builtin:NAME`", quoted(text)));
    }
    Ok(Module::File(folder.join(PathBuf::from(text))))
}

/// A probe's name becomes a part of its metrics' names.
fn check_probe_name(name: &str) -> Result<(), String> {
    let right = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !right || name.len() > 64 {
        return Err(format!(
            "{} is no name for a probe: a small letter, then small letters, digits and `_`, 64 at most",
            quoted(name)
        ));
    }
    if is_reserved(name) {
        return Err(format!(
            "`{name}` is no name for a probe: the agent's own metrics begin with its first word; choose another"
        ));
    }
    Ok(())
}

/// The keys directly below `section` that can be written there.
fn names<T>(table: &'static [Key<T>], section: &str) -> impl Iterator<Item = &'static str> {
    let below = if section.is_empty() { String::new() } else { format!("{section}.") };
    let mut names = Vec::new();
    for key in table.iter().filter(|key| !matches!(key.value, Value::Elsewhere(_))) {
        names.extend(key.path.strip_prefix(below.as_str()).filter(|name| !name.contains('.')));
    }
    names.into_iter()
}

fn known_here<T>(table: &'static [Key<T>], section: &str) -> String {
    names(table, section).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn joined(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// Where `key` stands in a mapping; where the mapping stands if it is not there.
pub(super) fn position_of(node: &Node, key: &str) -> Position {
    match &node.kind {
        Kind::Mapping(entries) => entries.iter().find(|entry| entry.key == key).map_or(node.at, |entry| entry.at),
        _ => node.at,
    }
}
