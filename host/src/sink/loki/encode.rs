//! Events → a push request.
//!
//! ```text
//! PushRequest      { repeated StreamAdapter streams = 1 }
//! StreamAdapter    { string labels = 1, repeated EntryAdapter entries = 2 }
//! EntryAdapter     { google.protobuf.Timestamp timestamp = 1, string line = 2, repeated LabelPairAdapter structuredMetadata = 3 }
//! LabelPairAdapter { string name = 1, string value = 2 }
//! ```
//!
//! Source: Loki, `pkg/push/push.proto`.

use crate::sink::proto::{integer, nested, text};
use netsonde_core::{
    config::Form,
    event::{Event, FieldValue, Rfc3339, json, line},
    metric::value::Value,
};
use std::{collections::HashMap, io::Write, sync::Arc};

/// Loki takes so many pairs of structured metadata of an entry; the line has all there is anyway.
const MAX_METADATA: usize = 128;
const NANOS: u64 = 1_000_000_000;

/// Keeps its buffer from one request to the next.
pub struct Encoder {
    form: Form,
    /// What every stream has, `job` included.
    labels: Vec<(String, String)>,
    out: Vec<u8>,
}

/// What tells streams apart: node, probe, type, and Kubernetes' namespace, which may be empty.
type Key<'e> = [&'e str; 4];

struct Stream<'e> {
    key: Key<'e>,
    events: Vec<&'e Event>,
}

impl Encoder {
    pub fn new(form: Form, labels: &[(String, String)]) -> Self {
        let mut labels = labels.to_vec();
        if labels.iter().all(|(name, _)| name != "job") {
            labels.push(("job".to_owned(), "netsonde".to_owned()));
        }
        Self { form, labels, out: Vec::new() }
    }

    /// The message, without compression. The entries of a stream are in the order of their times.
    pub fn encode(&mut self, events: &[Event]) -> &[u8] {
        self.out.clear();
        self.out.shrink_to(super::KEPT);
        for Stream { key, mut events } in streams(events) {
            events.sort_by_key(|event| event.unix_nanos);
            let (form, labels) = (self.form, &self.labels);
            nested(&mut self.out, 1, |out| {
                nested(out, 1, |out| write_labels(out, labels, key));
                events.iter().for_each(|event| nested(out, 2, |out| entry(out, form, event)));
            });
        }
        &self.out
    }
}

/// In the order of their first events.
fn streams(events: &[Event]) -> Vec<Stream<'_>> {
    let mut streams: Vec<Stream<'_>> = Vec::new();
    let mut by_key: HashMap<Key<'_>, usize> = HashMap::new();
    let mut last: Option<(&Event, usize)> = None;
    for event in events {
        // Mostly, one is like the one before.
        let index = match last {
            Some((before, index)) if alike(before, event) => index,
            _ => {
                let namespace = event.scope.as_ref().map_or("", |name| &*name.namespace);
                let key = [&*event.node, &*event.probe, &*event.ty, namespace];
                *by_key.entry(key).or_insert_with(|| {
                    streams.push(Stream { key, events: Vec::new() });
                    streams.len() - 1
                })
            }
        };
        streams[index].events.push(event);
        last = Some((event, index));
    }
    streams
}

fn alike(a: &Event, b: &Event) -> bool {
    let same_scope = match (&a.scope, &b.scope) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    };
    same_scope && Arc::ptr_eq(&a.ty, &b.ty) && Arc::ptr_eq(&a.probe, &b.probe) && Arc::ptr_eq(&a.node, &b.node)
}

/// `{job="netsonde", node="worker-3", ...}`, sorted by name, as LogQL has it: texts are escaped as in Go.
fn write_labels(out: &mut Vec<u8>, labels: &[(String, String)], [node, probe, ty, namespace]: Key<'_>) {
    let own = [("node", node), ("probe", probe), ("type", ty), ("namespace", namespace)];
    let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut all: Vec<(&str, &str)> = labels.chain(own).filter(|(_, value)| !value.is_empty()).collect();
    all.sort_unstable();
    for (index, (name, value)) in all.into_iter().enumerate() {
        out.extend_from_slice(if index > 0 { b", " } else { b"{" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        for character in value.chars() {
            // Writing to a vector does not fail.
            let _ = match character {
                '"' | '\\' => write!(out, "\\{character}"),
                control if control.is_control() => write!(out, "\\u{:04x}", u32::from(control)),
                plain => write!(out, "{plain}"),
            };
        }
        out.push(b'"');
    }
    out.push(b'}');
}

fn entry(out: &mut Vec<u8>, form: Form, event: &Event) {
    nested(out, 1, |out| {
        integer(out, 1, event.unix_nanos / NANOS);
        integer(out, 2, event.unix_nanos % NANOS);
    });
    nested(out, 2, |out| {
        match form {
            Form::Line => line::write(event, out),
            Form::Json => json::write(event, out),
        }
        // An entry is one line by itself.
        out.pop();
    });
    let mut left = MAX_METADATA;
    let mut pair = |out: &mut Vec<u8>, name: &str, value: &dyn Fn(&mut Vec<u8>)| {
        if left > 0 {
            left -= 1;
            nested(out, 3, |out| {
                text(out, 1, name);
                nested(out, 2, value);
            });
        }
    };
    // Writing to a vector does not fail.
    pair(out, "id", &|out| drop(write!(out, "{}", event.id)));
    for (name, value) in who(event) {
        pair(out, name, &|out| out.extend_from_slice(value.as_bytes()));
    }
    for (name, value) in &event.fields {
        pair(out, name, &|out| plain(out, value));
    }
    if let Some(repeats) = &event.repeats {
        pair(out, "repeats", &|out| drop(write!(out, "{}", repeats.count)));
        pair(out, "last_time", &|out| drop(write!(out, "{}", Rfc3339(repeats.last_unix_nanos))));
    }
}

/// Who it happened to and who was at the other end, but for what is in the stream's labels.
fn who(event: &Event) -> impl Iterator<Item = (&str, &str)> {
    let scope = event.scope.as_deref();
    let netns = scope.and_then(|name| name.netns.as_deref()).map(|netns| ("netns", netns));
    let parts = scope.map(|name| [("pod", &*name.pod), ("container", &*name.container)]);
    let labels = scope.into_iter().flat_map(|name| &name.labels).map(|(label, value)| (&**label, &**value));
    let peer = event.peer.as_ref().map(|peer| {
        [("peer_namespace", &*peer.namespace), ("peer_pod", &*peer.pod), ("peer_container", &*peer.container)]
    });
    let all = netns.into_iter().chain(parts.into_iter().flatten()).chain(labels).chain(peer.into_iter().flatten());
    all.filter(|(_, value)| !value.is_empty())
}

fn plain(out: &mut Vec<u8>, value: &FieldValue) {
    match value {
        FieldValue::U64(value) => Value::U64(*value).write(out),
        FieldValue::S64(value) => Value::S64(*value).write(out),
        FieldValue::F64(value) => Value::F64(*value).write(out),
        FieldValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        // Writing to a vector does not fail.
        FieldValue::Address(address) => drop(write!(out, "{address}")),
        FieldValue::Text(text) => out.extend_from_slice(text.as_bytes()),
    }
}
