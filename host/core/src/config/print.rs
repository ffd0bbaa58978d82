//! The effective configuration as a file that explains itself: `netsonde run --print-config`.

use std::{fmt::Write, net::SocketAddrV4};

use super::{
    Config, FileSink, LokiSink, Module, OpenFalconSink, OtlpSink, Probe, Runtime, Secret, Sink, StdoutSink,
    key::{CONFIG, FILE, FILE_PATH, Key, PROBE, STDOUT, Value},
    quantity::{show_percent, show_rate, show_size, show_time},
    sink::{LOKI, OPEN_FALCON, OTLP},
};

const WIDTH: usize = 110;

/// YAML that [`parse`](super::parse()) reads back as the same configuration, but for the values of headers, which are not shown. Each key stands below what it means; one that is not set is
/// commented out, with an example.
pub fn print(config: &Config) -> String {
    let mut config = config.clone();
    let mut text = String::new();
    for (index, key) in written(CONFIG).enumerate() {
        if index > 0 && !key.path.contains('.') {
            text.push('\n');
        }
        match &key.value {
            Value::Probes(place) => {
                comment(&mut text, 0, key.doc);
                match place(&mut config) {
                    None => commented(&mut text, |sample| probes(sample, &mut [Probe::named("sockstat")])),
                    Some(list) => probes(&mut text, list),
                }
            }
            Value::Sinks(place) => {
                comment(&mut text, 0, key.doc);
                match place(&mut config) {
                    list if list.is_empty() => commented(&mut text, |sample| sinks(sample, &mut sample_sinks())),
                    list => sinks(&mut text, list),
                }
            }
            _ => entry(&mut text, key, 0, true, &mut config),
        }
    }
    text
}

fn commented(text: &mut String, write: impl FnOnce(&mut String)) {
    let mut sample = String::new();
    write(&mut sample);
    for line in sample.lines() {
        let _ = writeln!(text, "# {line}");
    }
}

/// The keys are explained at the first probe only.
fn probes(text: &mut String, list: &mut [Probe]) {
    text.push_str(if list.is_empty() { "probes: {}\n" } else { "probes:\n" });
    for (index, probe) in list.iter_mut().enumerate() {
        let _ = writeln!(text, "  {}:", probe.name);
        for key in written(PROBE) {
            entry(text, key, 4, index == 0, probe);
        }
    }
}

/// The keys are explained at the first sink of a kind only.
fn sinks(text: &mut String, list: &mut [Sink]) {
    text.push_str("sinks:\n");
    let (mut stdouts, mut files, mut lokis, mut otlps, mut falcons) = (0, 0, 0, 0, 0);
    for sink in list {
        match sink {
            Sink::Stdout(sink) => {
                text.push_str("  - stdout:\n");
                written(STDOUT).for_each(|key| entry(text, key, 6, stdouts == 0, sink));
                stdouts += 1;
            }
            Sink::File(sink) => {
                text.push_str("  - file:\n");
                written(FILE).for_each(|key| entry(text, key, 6, files == 0, sink));
                files += 1;
            }
            Sink::Loki(sink) => {
                text.push_str("  - loki:\n");
                written(LOKI).for_each(|key| entry(text, key, 6, lokis == 0, sink));
                lokis += 1;
            }
            Sink::Otlp(sink) => {
                text.push_str("  - otlp:\n");
                written(OTLP).for_each(|key| entry(text, key, 6, otlps == 0, sink));
                otlps += 1;
            }
            Sink::OpenFalcon(sink) => {
                text.push_str("  - open_falcon:\n");
                written(OPEN_FALCON).for_each(|key| entry(text, key, 6, falcons == 0, sink));
                falcons += 1;
            }
        }
    }
}

fn sample_sinks() -> [Sink; 5] {
    let path = FILE_PATH.into();
    let (mut loki, mut otlp) = (LokiSink::default(), OtlpSink::default());
    (loki.remote.url, otlp.remote.url) = (LOKI[0].example.into(), OTLP[0].example.into());
    let file = FileSink { path, ..FileSink::default() };
    let mut falcon = OpenFalconSink::default();
    falcon.remote.url = OPEN_FALCON[0].example.into();
    let stdout = Sink::Stdout(StdoutSink::default());
    [stdout, Sink::File(file), Sink::Loki(loki), Sink::Otlp(otlp), Sink::OpenFalcon(falcon)]
}

fn written<T>(table: &'static [Key<T>]) -> impl Iterator<Item = &'static Key<T>> {
    table.iter().filter(|key| !matches!(key.value, Value::Elsewhere(_)))
}

fn entry<T>(text: &mut String, key: &Key<T>, indent: usize, explained: bool, from: &mut T) {
    let indent = indent + 2 * key.path.matches('.').count();
    let name = key.path.rsplit('.').next().unwrap_or(key.path);
    if explained {
        comment(text, indent, key.doc);
    }
    let _ = match shown(&key.value, from) {
        Shown::Value(value) => writeln!(text, "{:indent$}{name}: {value}", ""),
        Shown::Section => writeln!(text, "{:indent$}{name}:", ""),
        Shown::Unset if explained => writeln!(text, "{:indent$}# {name}: {}", "", key.example),
        Shown::Unset => Ok(()),
    };
}

enum Shown {
    Value(String),
    Section,
    Unset,
}

fn shown<T>(value: &Value<T>, from: &mut T) -> Shown {
    let set = match value {
        Value::Section => return Shown::Section,
        Value::Text(place) => place(from).as_deref().map(plain_or_quoted),
        Value::Bool(place) => Some(place(from).to_string()),
        Value::Url(place) => Some(plain_or_quoted(place(from))),
        Value::Protocol(place) => Some(place(from).as_str().to_owned()),
        Value::Compression(place) => Some(place(from).as_str().to_owned()),
        Value::Headers(place) if place(from).is_empty() => None,
        Value::Headers(place) => {
            let header =
                |(name, _): &(String, Secret)| format!("{}: {}", plain_or_quoted(name), json(&Secret::SHOWN.into()));
            Some(format!("{{ {} }}", place(from).iter().map(header).collect::<Vec<_>>().join(", ")))
        }
        Value::Address(place) => Some(plain_or_quoted(&place(from).to_string())),
        Value::Path(place) => Some(plain_or_quoted(&place(from).to_string_lossy())),
        Value::OptionalPath(place) => place(from).as_deref().map(|path| plain_or_quoted(&path.to_string_lossy())),
        Value::Time(place, _) => Some(show_time(*place(from))),
        Value::OptionalTime(place, _) => place(from).map(show_time),
        Value::Size(place, _) => Some(show_size(*place(from))),
        Value::OptionalSize(place, _) => place(from).map(show_size),
        Value::Count(place, _) => Some(place(from).to_string()),
        Value::Rate(place, _) => Some(show_rate(*place(from))),
        Value::Percent(place, _) => Some(show_percent(*place(from))),
        Value::Module(place) => place(from).as_ref().map(|module| match module {
            Module::Builtin(name) => format!("builtin:{name}"),
            Module::File(path) => plain_or_quoted(&path.to_string_lossy()),
        }),
        Value::Any(place) => Some(json(place(from))),
        Value::Form(place) => Some(place(from).as_str().to_owned()),
        Value::Runtime(place) => Some(match place(from) {
            Runtime::Auto => "auto".to_owned(),
            Runtime::None => "none".to_owned(),
            Runtime::At(path) => plain_or_quoted(&path.to_string_lossy()),
        }),
        Value::Labels(place) | Value::StreamLabels(place) if place(from).is_empty() => None,
        Value::Labels(place) | Value::StreamLabels(place) => {
            let label = |(name, key): &(String, String)| format!("{}: {}", plain_or_quoted(name), plain_or_quoted(key));
            Some(format!("{{ {} }}", place(from).iter().map(label).collect::<Vec<_>>().join(", ")))
        }
        Value::Compat(place) => Some(list(place(from).iter().map(|compat| compat.as_str()))),
        Value::Tables(place) => Some(list(place(from).iter().map(String::as_str))),
        Value::Probes(_) | Value::Sinks(_) | Value::Elsewhere(_) => None,
    };
    set.map_or(Shown::Unset, Shown::Value)
}

/// Of words that need no quotes.
fn list<'w>(words: impl Iterator<Item = &'w str>) -> String {
    format!("[{}]", words.collect::<Vec<_>>().join(", "))
}

/// JSON is YAML, but for characters that YAML wants escaped (YAML 1.2.2, 5.1): those are only within JSON's strings.
fn json(value: &serde_json::Value) -> String {
    let printable = |c: char| matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..);
    let line_break = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
    let mut text = String::new();
    for c in value.to_string().chars() {
        if printable(c) && !line_break(c) {
            text.push(c);
        } else {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        }
    }
    text
}

fn plain_or_quoted(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
        && !matches!(text.to_ascii_lowercase().as_str(), "null" | "true" | "false");
    if word || text.parse::<SocketAddrV4>().is_ok() { text.to_owned() } else { json(&text.into()) }
}

fn comment(text: &mut String, indent: usize, doc: &str) {
    let mut line = String::new();
    for word in doc.split_whitespace() {
        if !line.is_empty() && indent + 2 + line.chars().count() + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{:indent$}#{line}", "");
            line.clear();
        }
        let _ = write!(line, " {word}");
    }
    if !line.is_empty() {
        let _ = writeln!(text, "{:indent$}#{line}", "");
    }
}
