//! One event as one JSON object on one line.

mod read;

pub use read::{Json, NotRead, read};

use super::{
    Event, FieldValue, Peer, Rfc3339,
    text::{push_number, push_plain, push_quoted},
};
use crate::scope::Name;
use std::sync::Arc;

/// The form's version: it grows when a member is taken away or changes its meaning. New members may come at any time.
pub const VERSION: u64 = 1;

/// Bytes that most objects fit in: room is made once.
const ROOM: usize = 1024;

/// Appends the object with the line's end:
///
/// `{"v":1,"id":"...","time":"...Z","unix_nanos":1,"node":"...","probe":"...","type":"...","netns":"host","fields":{"sport":1}}`
///
/// Instead of `netns` a pod has `namespace` and `pod`, and `container` if one of its containers is meant; `labels` is an object of the
/// configured ones that it has. `peer_namespace` and `peer_pod` are whose the address at the other end is, where that is a pod of this node,
/// and `peer_container` where it is a container without Kubernetes. `stack` is a list of the kernel's functions, innermost first; `repeats`
/// tells how many events this one stands for, of which `time` is the first's. Integers are written whole, also those above 2^53; a float that is none of JSON's
/// numbers is a text (`"NaN"`).
pub fn write(event: &Event, out: &mut Vec<u8>) {
    out.reserve(ROOM);
    out.extend_from_slice(br#"{"v":"#);
    push_number(out, VERSION);
    out.extend_from_slice(br#","id":""#);
    event.id.push(out);
    out.extend_from_slice(br#"","time":""#);
    out.extend_from_slice(&Rfc3339(event.unix_nanos).text());
    out.extend_from_slice(br#"","unix_nanos":"#);
    push_number(out, event.unix_nanos);
    member(out, "node", &event.node);
    member(out, "probe", &event.probe);
    member(out, "type", &event.ty);
    if let Some(name) = &event.scope {
        who(out, name);
    }
    for (name, text) in event.peer.iter().flat_map(Peer::parts) {
        member(out, name, text);
    }
    out.extend_from_slice(br#","fields":{"#);
    for (index, (name, value)) in event.fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_quoted(out, name);
        out.push(b':');
        field(out, value);
    }
    out.push(b'}');
    if let Some(stack) = &event.stack {
        frames(out, stack);
    }
    if let Some(repeats) = &event.repeats {
        out.extend_from_slice(br#","repeats":{"count":"#);
        push_number(out, repeats.count);
        out.extend_from_slice(br#","last_time":""#);
        out.extend_from_slice(&Rfc3339(repeats.last_unix_nanos).text());
        out.extend_from_slice(br#"","last_unix_nanos":"#);
        push_number(out, repeats.last_unix_nanos);
        out.push(b'}');
    }
    out.extend_from_slice(b"}\n");
}

/// Appends what a reader is told who was too slow: so many events are no longer there.
pub fn write_missed(missed: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"missed":"#);
    push_number(out, missed);
    out.extend_from_slice(b"}\n");
}

fn who(out: &mut Vec<u8>, name: &Name) {
    if let Some(netns) = &name.netns {
        member(out, "netns", netns);
    }
    for (key, text) in [("namespace", &name.namespace), ("pod", &name.pod), ("container", &name.container)] {
        if !text.is_empty() {
            member(out, key, text);
        }
    }
    let mut labels = name.labels.iter().filter(|(_, value)| !value.is_empty()).peekable();
    if labels.peek().is_some() {
        out.extend_from_slice(br#","labels":{"#);
        for (index, (label, value)) in labels.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_quoted(out, label);
            out.push(b':');
            push_quoted(out, value);
        }
        out.push(b'}');
    }
}

fn frames(out: &mut Vec<u8>, stack: &[Arc<str>]) {
    out.extend_from_slice(br#","stack":["#);
    for (index, frame) in stack.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_quoted(out, frame);
    }
    out.push(b']');
}

#[inline]
fn member(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_quoted(out, text);
}

fn field(out: &mut Vec<u8>, value: &FieldValue) {
    let bare = match value {
        FieldValue::F64(value) => value.is_finite(),
        FieldValue::Address(_) => false,
        _ => true,
    };
    if !bare {
        out.push(b'"');
    }
    if let Some(text) = push_plain(out, value) {
        push_quoted(out, text);
    }
    if !bare {
        out.push(b'"');
    }
}
