//! Both forms once more, slow and plain: what the fast ones must equal, byte for byte. A bench compares them, too, so that this needs
//! nothing but what is public.

use super::{Event, FieldValue, Peer};
use std::fmt::Write;

pub fn json(event: &Event) -> String {
    let mut out = String::new();
    let nanos = event.unix_nanos;
    let _ = write!(out, r#"{{"v":1,"id":"{}","time":"{}","unix_nanos":{nanos}"#, event.id, time(nanos));
    let mut members: Vec<(&str, &str)> = vec![("node", &event.node), ("probe", &event.probe), ("type", &event.ty)];
    let mut labels = Vec::new();
    if let Some(name) = &event.scope {
        members.extend(name.netns.iter().map(|netns| ("netns", &**netns)));
        let parts = [("namespace", &*name.namespace), ("pod", &*name.pod), ("container", &*name.container)];
        members.extend(parts.iter().filter(|(_, text)| !text.is_empty()));
        labels.extend(name.labels.iter().filter(|(_, value)| !value.is_empty()));
    }
    for (name, text) in members {
        let _ = write!(out, r#","{name}":{}"#, quoted(text));
    }
    for (index, (label, value)) in labels.iter().enumerate() {
        out += if index == 0 { r#","labels":{"# } else { "," };
        let _ = write!(out, "{}:{}", quoted(label), quoted(value));
    }
    out += if labels.is_empty() { "" } else { "}" };
    for (name, text) in event.peer.iter().flat_map(peer) {
        let _ = write!(out, r#","{name}":{}"#, quoted(text));
    }
    out += r#","fields":{"#;
    for (index, (name, value)) in event.fields.iter().enumerate() {
        let _ = write!(out, "{}{}:", if index > 0 { "," } else { "" }, quoted(name));
        match value {
            FieldValue::Text(text) => out += &quoted(text),
            FieldValue::F64(float) if !float.is_finite() => {
                let _ = write!(out, "\"{}\"", plain(value));
            }
            FieldValue::Address(_) => {
                let _ = write!(out, "\"{}\"", plain(value));
            }
            _ => out += &plain(value),
        }
    }
    out += "}";
    if let Some(stack) = &event.stack {
        let frames: Vec<String> = stack.iter().map(|frame| quoted(frame)).collect();
        let _ = write!(out, r#","stack":[{}]"#, frames.join(","));
    }
    if let Some(repeats) = &event.repeats {
        let (count, last) = (repeats.count, repeats.last_unix_nanos);
        let _ = write!(out, r#","repeats":{{"count":{count},"last_time":"{}","last_unix_nanos":{last}}}"#, time(last));
    }
    out + "}\n"
}

pub fn line(event: &Event) -> String {
    let mut out = format!("type={}", bare(&event.ty));
    if let Some(name) = &event.scope {
        let netns = name.netns.iter().map(|netns| ("netns", &**netns));
        let pod = [("pod", &*name.pod), ("namespace", &*name.namespace), ("container", &*name.container)];
        let labels = name.labels.iter().map(|(label, value)| (&**label, &**value));
        for (key, text) in netns.chain(pod).chain(labels).filter(|(_, text)| !text.is_empty()) {
            let _ = write!(out, " {key}={}", bare(text));
        }
    }
    for (key, text) in event.peer.iter().flat_map(peer) {
        let _ = write!(out, " {key}={}", bare(text));
    }
    for (name, value) in &event.fields {
        let text = if let FieldValue::Text(text) = value { bare(text) } else { plain(value) };
        let _ = write!(out, " {name}={text}");
    }
    let _ = write!(out, " time={} node={} id={}", time(event.unix_nanos), bare(&event.node), event.id);
    if let Some(repeats) = &event.repeats {
        let _ = write!(out, " repeats={} last_time={}", repeats.count, time(repeats.last_unix_nanos));
    }
    if let Some(stack) = &event.stack {
        let frames: Vec<String> = stack.iter().map(|frame| frame.replace(' ', "")).collect();
        let _ = write!(out, " stacktrace:{}", frames.join(" "));
    }
    out + "\n"
}

fn peer(peer: &Peer) -> impl Iterator<Item = (&'static str, &str)> {
    let parts = [("peer_namespace", &*peer.namespace), ("peer_pod", &*peer.pod), ("peer_container", &*peer.container)];
    parts.into_iter().filter(|(_, text)| !text.is_empty())
}

fn time(unix_nanos: u64) -> String {
    let (seconds, nanos) = (unix_nanos / 1_000_000_000, unix_nanos % 1_000_000_000);
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds % 86_400 / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

fn plain(value: &FieldValue) -> String {
    match value {
        FieldValue::U64(value) => value.to_string(),
        FieldValue::S64(value) => value.to_string(),
        FieldValue::F64(value) if value.is_nan() => "NaN".into(),
        FieldValue::F64(value) if value.is_infinite() => if *value > 0.0 { "+Inf" } else { "-Inf" }.into(),
        FieldValue::F64(value) => ryu::Buffer::new().format_finite(*value).into(),
        FieldValue::Bool(value) => value.to_string(),
        FieldValue::Address(address) => address.to_string(),
        FieldValue::Text(text) => text.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            other if breaks(other) => {
                let _ = write!(out, "\\u{:04x}", u32::from(other));
            }
            other => out.push(other),
        }
    }
    out + "\""
}

fn bare(text: &str) -> String {
    let needs_quotes = |character: char| character.is_whitespace() || "\"=".contains(character) || breaks(character);
    if text.is_empty() || text.contains(needs_quotes) { quoted(text) } else { text.to_owned() }
}

fn breaks(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || turns
}
