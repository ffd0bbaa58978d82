//! Loki's push API: the messages of its `pkg/push/push.proto`, and what it does not take.
//!
//! Answers are those of the real one, with its default limits: 204; 422 to a push without streams; 400 with a text where an entry is older
//! than a week or more than ten minutes ahead, a line is over 256 KiB, labels cannot be read or are more than 15, or structured metadata are
//! too many. The entries beside a wrong one are kept all the same. The real one also leaves out an entry whose stream, time and line it has
//! already; here doubles are kept, so that tests see them.

use super::Entry;
use prost::Message;
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

#[derive(Clone, PartialEq, Message)]
pub struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<StreamAdapter>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamAdapter {
    #[prost(string, tag = "1")]
    pub labels: String,
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<EntryAdapter>,
    #[prost(uint64, tag = "3")]
    pub hash: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct EntryAdapter {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub line: String,
    #[prost(message, repeated, tag = "3")]
    pub structured_metadata: Vec<LabelPairAdapter>,
}

/// `google.protobuf.Timestamp`
#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct LabelPairAdapter {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

const MAX_LABELS: usize = 15;
const MAX_LINE: usize = 256 << 10;
const MAX_METADATA: usize = 128;
/// Seconds.
const OLDEST: i64 = 7 * 24 * 3600;
const AHEAD: i64 = 600;

/// What becomes of a push: the status and text of the answer, and the entries that are kept.
pub(super) fn push(body: &[u8], tenant: &str) -> (u16, String, Vec<Entry>) {
    let message = match snap::raw::Decoder::new().decompress_vec(body) {
        Ok(message) => message,
        Err(error) => return (400, format!("snappy: {error}\n"), vec![]),
    };
    let request = match PushRequest::decode(message.as_slice()) {
        Ok(request) => request,
        Err(error) => return (400, format!("proto: {error}\n"), vec![]),
    };
    if request.streams.is_empty() {
        return (422, "error at least one valid stream is required for ingestion\n".to_owned(), vec![]);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let (mut kept, mut wrong) = (Vec::new(), String::new());
    for stream in request.streams {
        match labels(&stream.labels) {
            Ok(labels) if labels.len() > MAX_LABELS => {
                wrong = format!("stream '{}' has {} label names; limit {MAX_LABELS}\n", stream.labels, labels.len());
            }
            Ok(labels) => {
                for entry in stream.entries {
                    match refused(&entry, &stream.labels, now) {
                        Some(why) => wrong = why,
                        None => kept.push(entry_of(entry, &labels, tenant)),
                    }
                }
            }
            Err(why) => wrong = format!("error parsing labels {} with error: {why}\n", stream.labels),
        }
    }
    if wrong.is_empty() { (204, wrong, kept) } else { (400, wrong, kept) }
}

fn refused(entry: &EntryAdapter, labels: &str, now: i64) -> Option<String> {
    let seconds = entry.timestamp.as_ref().map_or(0, |timestamp| timestamp.seconds);
    if seconds < now - OLDEST {
        Some(format!(
            "entry for stream '{labels}' has timestamp too old: {seconds}, oldest acceptable timestamp is: {}\n",
            now - OLDEST
        ))
    } else if seconds > now + AHEAD {
        Some(format!("entry for stream '{labels}' has timestamp too new: {seconds}\n"))
    } else if entry.line.len() > MAX_LINE {
        let length = entry.line.len();
        Some(format!(
            "max entry size '{MAX_LINE}' bytes exceeded for stream '{labels}' while adding an entry with length '{length}' bytes\n"
        ))
    } else if entry.structured_metadata.len() > MAX_METADATA {
        Some(format!("stream '{labels}' has too many structured metadata\n"))
    } else {
        None
    }
}

fn entry_of(entry: EntryAdapter, labels: &BTreeMap<String, String>, tenant: &str) -> Entry {
    let Timestamp { seconds, nanos } = entry.timestamp.unwrap_or_default();
    Entry {
        labels: labels.clone(),
        unix_nanos: seconds as u64 * 1_000_000_000 + nanos as u64,
        line: entry.line,
        metadata: entry.structured_metadata.into_iter().map(|pair| (pair.name, pair.value)).collect(),
        tenant: tenant.to_owned(),
    }
}

/// `{name="value", ...}` of LogQL: values are Go's strings, which are JSON's but for escapes that nobody sends here.
fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or("no braces")?;
    let (mut labels, mut rest) = (BTreeMap::new(), inside);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("no `=`")?;
        let right = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !right {
            return Err(format!("unexpected {name}"));
        }
        let mut values = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let value = values.next().ok_or("no value")?.map_err(|error| error.to_string())?;
        rest = &after[values.byte_offset()..];
        rest = rest.strip_prefix(", ").unwrap_or(rest);
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(labels: &str, seconds_ago: i64, line: &str) -> (u16, usize) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let entry = |seconds: i64, line: &str| EntryAdapter {
            timestamp: Some(Timestamp { seconds, nanos: 0 }),
            line: line.to_owned(),
            structured_metadata: vec![],
        };
        let entries = vec![entry(now - seconds_ago, line), entry(now, "good")];
        let request = PushRequest { streams: vec![StreamAdapter { labels: labels.to_owned(), entries, hash: 0 }] };
        let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap();
        let (status, _, kept) = push(&body, "");
        (status, kept.len())
    }

    #[test]
    fn it_answers_as_the_real_one() {
        let many: Vec<String> = (0..16).map(|index| format!("l{index}=\"x\"")).collect();
        for (labels, ago, line, want) in [
            (r#"{a="b", c="\"\\\u000a"}"#, 0, "x", (204, 2)),
            (r#"{a="b"}"#, 8 * 24 * 3600, "x", (400, 1)),
            (r#"{a="b"}"#, -3600, "x", (400, 1)),
            (r#"{a="b"}"#, 0, &"x".repeat(300_000), (400, 1)),
            (r#"{a-b="b"}"#, 0, "x", (400, 0)),
            (r#"a="b""#, 0, "x", (400, 0)),
            (&format!("{{{}}}", many.join(", ")), 0, "x", (400, 0)),
        ] {
            assert_eq!(answer(labels, ago, line), want, "{labels} {ago}");
        }
        assert_eq!(push(b"\0", "").0, 422);
        assert_eq!(push(b"hello", "").0, 400);
    }
}
