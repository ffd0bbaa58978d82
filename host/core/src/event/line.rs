//! One event as one line of logfmt: for people, and for everything that reads `key=value`.

use super::{
    Event, Peer, Rfc3339,
    text::{is_bare, push_number, push_plain, push_quoted},
};

/// Bytes that most lines fit in: room is made once.
const ROOM: usize = 512;

/// Appends the line with its end:
///
/// `type=TCPRESET_NOSOCK pod=web-1 namespace=shop protocol=TCP saddr=10.0.0.1 ... time=2026-11-21T12:00:00.123456789Z node=worker-3 id=...`
///
/// Behind `namespace=` come `container=` and configured labels, and `peer_pod=` and `peer_namespace=`, where they are known.
/// Where there is no pod, `netns=` stands for `pod=` and `namespace=`; where nobody is known, none of them. A value that is empty, or has a
/// space, a quote, `=` or a control character in it, is in double quotes, as JSON escapes it. Behind the id come `repeats=` and `last_time=` of
/// an event that stands for several, and at the very end the stack: `stacktrace:skb_release_data+0xa3 __kfree_skb+0xe ...`.
pub fn write(event: &Event, out: &mut Vec<u8>) {
    out.reserve(ROOM);
    out.extend_from_slice(b"type=");
    push(out, &event.ty);
    if let Some(name) = &event.scope {
        let netns = name.netns.iter().map(|netns| ("netns", netns));
        let pod = [("pod", &name.pod), ("namespace", &name.namespace), ("container", &name.container)];
        netns.chain(pod).filter(|(_, text)| !text.is_empty()).for_each(|(key, text)| pair(out, key, text));
        name.labels.iter().filter(|(_, value)| !value.is_empty()).for_each(|(label, value)| pair(out, label, value));
    }
    event.peer.iter().flat_map(Peer::parts).for_each(|(name, text)| pair(out, name, text));
    for (name, value) in &event.fields {
        key(out, name);
        if let Some(text) = push_plain(out, value) {
            push(out, text);
        }
    }
    out.extend_from_slice(b" time=");
    out.extend_from_slice(&Rfc3339(event.unix_nanos).text());
    pair(out, "node", &event.node);
    out.extend_from_slice(b" id=");
    event.id.push(out);
    if let Some(repeats) = &event.repeats {
        out.extend_from_slice(b" repeats=");
        push_number(out, repeats.count);
        out.extend_from_slice(b" last_time=");
        out.extend_from_slice(&Rfc3339(repeats.last_unix_nanos).text());
    }
    if let Some(stack) = &event.stack {
        out.extend_from_slice(b" stacktrace:");
        for (index, frame) in stack.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b" " } else { b"" });
            // A symbol of a module is `name+0x1 [module]`: what is one frame must have no space.
            frame.split(' ').for_each(|part| out.extend_from_slice(part.as_bytes()));
        }
    }
    out.push(b'\n');
}

fn pair(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    push(out, value);
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
}

fn push(out: &mut Vec<u8>, text: &str) {
    if is_bare(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        push_quoted(out, text);
    }
}
