//! The effective configuration as a file that explains itself: `netsonde run --print-config`.

use std::{fmt::Write, net::SocketAddrV4};

use super::{
    Config, Module, Probe,
    key::{CONFIG, Key, PROBE, Value},
    quantity::{show_rate, show_size, show_time},
};

const WIDTH: usize = 110;

/// YAML that [`parse`](super::parse()) reads back as the same configuration. Each key stands below what it means; one that is not set is
/// commented out, with an example.
pub fn print(config: &Config) -> String {
    let mut config = config.clone();
    let mut text = String::new();
    for (index, key) in written(CONFIG).enumerate() {
        if index > 0 && !key.path.contains('.') {
            text.push('\n');
        }
        let Value::Probes(place) = &key.value else {
            entry(&mut text, key, 0, true, &mut config);
            continue;
        };
        comment(&mut text, 0, key.doc);
        match place(&mut config) {
            None => {
                let mut sample = String::new();
                probes(&mut sample, &mut [Probe::named("sockstat")]);
                for line in sample.lines() {
                    let _ = writeln!(text, "# {line}");
                }
            }
            Some(list) => probes(&mut text, list),
        }
    }
    text
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
        Value::Address(place) => Some(plain_or_quoted(&place(from).to_string())),
        Value::Path(place) => Some(plain_or_quoted(&place(from).to_string_lossy())),
        Value::OptionalPath(place) => place(from).as_deref().map(|path| plain_or_quoted(&path.to_string_lossy())),
        Value::Time(place, _) => Some(show_time(*place(from))),
        Value::Size(place, _) => Some(show_size(*place(from))),
        Value::Count(place, _) => Some(place(from).to_string()),
        Value::Rate(place, _) => Some(show_rate(*place(from))),
        Value::Module(place) => place(from).as_ref().map(|module| match module {
            Module::Builtin(name) => format!("builtin:{name}"),
            Module::File(path) => plain_or_quoted(&path.to_string_lossy()),
        }),
        Value::Any(place) => Some(json(place(from))),
        Value::Probes(_) | Value::Elsewhere(_) => None,
    };
    set.map_or(Shown::Unset, Shown::Value)
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
