//! JSON lines back to events: for those who ask a running agent.

use crate::{
    event::{Event, EventId, FieldValue, Peer, Repeats},
    scope::Name,
};
use serde_json::{Deserializer, Value};
use std::sync::Arc;

use crate::event::peer::NAMES as PARTS;

/// What one line is.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Event(Event),
    /// So many events are no longer there.
    Missed(u64),
}

/// Why a line is neither.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    #[error("the line is no JSON object: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the line is no JSON object")]
    NoObject,
    #[error("the event has no `{0}`, or one of another form: is the agent of another version?")]
    Member(&'static str),
}

/// Reads one line as [`write`](super::write()) and [`write_missed`](super::write_missed) make them. Addresses come back as texts; members
/// that are not known are passed over.
///
/// # Errors
/// If it is none.
pub fn read(line: &str) -> Result<Json, NotRead> {
    let members = Members::of(line)?;
    if let Ok(missed) = members.number("missed") {
        return Ok(Json::Missed(missed));
    }
    let fields = Members::of(members.raw("fields")?)?;
    let fields = fields.0.into_iter().map(|(name, raw)| Ok((name.into(), field(raw)?))).collect::<Result<_, NotRead>>();
    Ok(Json::Event(Event {
        id: members.text("id")?.parse::<EventId>().map_err(|_| NotRead::Member("id"))?,
        unix_nanos: members.number("unix_nanos")?,
        node: members.text("node")?,
        probe: members.text("probe")?,
        ty: members.text("type")?,
        scope: members.who()?.map(Arc::new),
        peer: members.peer(),
        fields: fields?,
        stack: members.stack()?,
        repeats: members.repeats(),
    }))
}

/// An object's members with their text, in the order in which they stand: the fields' order is the probe's, and maps have their own.
struct Members<'l>(Vec<(String, &'l str)>);

impl<'l> Members<'l> {
    fn of(text: &'l str) -> Result<Self, NotRead> {
        let mut rest = text.trim().strip_prefix('{').ok_or(NotRead::NoObject)?;
        let mut members = Vec::new();
        while !rest.starts_with('}') {
            let (name, after) = value(rest)?;
            let after = after.strip_prefix(':').ok_or(NotRead::NoObject)?;
            let (raw, after) = value(after)?;
            members.push((serde_json::from_str(name)?, raw));
            rest = match after.strip_prefix(',') {
                Some(next) if !next.starts_with('}') => next,
                None if after.starts_with('}') => after,
                _ => return Err(NotRead::NoObject),
            };
        }
        if rest == "}" { Ok(Self(members)) } else { Err(NotRead::NoObject) }
    }

    fn raw(&self, name: &'static str) -> Result<&'l str, NotRead> {
        let found = self.0.iter().find(|(have, _)| have == name);
        found.map(|(_, raw)| *raw).ok_or(NotRead::Member(name))
    }

    fn text(&self, name: &'static str) -> Result<Arc<str>, NotRead> {
        let text: Result<String, _> = serde_json::from_str(self.raw(name)?);
        text.map(Into::into).map_err(|_| NotRead::Member(name))
    }

    /// A text that is left out where it is empty.
    fn text_or_empty(&self, name: &'static str) -> Arc<str> {
        self.text(name).unwrap_or_default()
    }

    fn who(&self) -> Result<Option<Name>, NotRead> {
        let label = |(name, raw): (String, &str)| Ok((name.into(), serde_json::from_str::<String>(raw)?.into()));
        let labels = self.raw("labels").map_or(Ok(Members(Vec::new())), Members::of)?;
        let name = Name {
            netns: self.text("netns").ok(),
            namespace: self.text_or_empty("namespace"),
            pod: self.text_or_empty("pod"),
            container: self.text_or_empty("container"),
            labels: labels.0.into_iter().map(label).collect::<Result<_, NotRead>>()?,
        };
        Ok((name != Name::default()).then_some(name))
    }

    fn peer(&self) -> Option<Peer> {
        let [namespace, pod, container] = PARTS.map(|name| self.text_or_empty(name));
        let peer = Peer { namespace, pod, container };
        let is_known = peer.parts().next().is_some();
        is_known.then_some(peer)
    }

    fn stack(&self) -> Result<Option<Arc<[Arc<str>]>>, NotRead> {
        let Ok(raw) = self.raw("stack") else { return Ok(None) };
        let frames: Vec<String> = serde_json::from_str(raw).map_err(|_| NotRead::Member("stack"))?;
        Ok(Some(frames.into_iter().map(Into::into).collect()))
    }

    fn repeats(&self) -> Option<Repeats> {
        let repeats = Members::of(self.raw("repeats").ok()?).ok()?;
        let (count, last_unix_nanos) = (repeats.number("count").ok()?, repeats.number("last_unix_nanos").ok()?);
        Some(Repeats { count, last_unix_nanos })
    }

    fn number(&self, name: &'static str) -> Result<u64, NotRead> {
        self.raw(name)?.parse().map_err(|_| NotRead::Member(name))
    }
}

/// The text of the value at the beginning, and what follows it.
fn value(text: &str) -> Result<(&str, &str), NotRead> {
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    values.next().ok_or(NotRead::NoObject)??;
    let end = values.byte_offset();
    Ok((text[..end].trim_ascii(), text[end..].trim_ascii_start()))
}

fn field(raw: &str) -> Result<FieldValue, NotRead> {
    Ok(match serde_json::from_str(raw)? {
        Value::Bool(value) => FieldValue::Bool(value),
        Value::String(text) => FieldValue::Text(text.into()),
        // serde_json reads floats a little wrong unless it is told to take its time.
        Value::Number(_) => match (raw.parse(), raw.parse(), raw.parse()) {
            (Ok(value), ..) => FieldValue::U64(value),
            (_, Ok(value), _) => FieldValue::S64(value),
            (_, _, Ok(value)) => FieldValue::F64(value),
            _ => return Err(NotRead::Member("fields")),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => return Err(NotRead::Member("fields")),
    })
}
