//! Events: single things that happened, each with a type, a time, who it happened to, and fields.
//!
//! A probe gives them by column ([`Events`](crate::probe::Events)); [`events`] makes single ones of a checked output. The forms in which
//! people and programs get them are in [`line`] and [`json`].

mod address;
mod check;
pub mod counted;
pub mod filter;
pub mod fold;
pub mod json;
pub mod line;
mod make;
mod origin;
mod peer;
pub mod rate;
pub mod recent;
pub mod recorder;
mod text;
mod time;

pub use check::{EventError, check, is_refused};
pub use make::{Limit, Made, Stamp, events, name};
pub use origin::{Origin, Origins, Stack};
pub use peer::Peer;
pub use time::{Rfc3339, parse as parse_moment};

use crate::scope::Name;
use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

/// Bytes of a field's text; a longer one is cut at a character and ends in `…`. One name of a guest's dictionary may stand in every event of
/// a call: what is written would otherwise grow far beyond what was given.
pub const MAX_TEXT: usize = 1024;

/// One thing that happened. Texts that repeat are shared between events.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: EventId,
    /// When, since the Unix epoch.
    pub unix_nanos: u64,
    /// Name of the node.
    pub node: Arc<str>,
    pub probe: Arc<str>,
    /// Name of the type: `TCPRESET_NOSOCK`.
    pub ty: Arc<str>,
    /// Who it happened to; None: the node, or nobody known.
    pub scope: Option<Arc<Name>>,
    /// Whose the address at the other end is, if that is on this node.
    pub peer: Option<Peer>,
    /// In the order of the type's fields; one without a value is left out.
    pub fields: Vec<(Arc<str>, FieldValue)>,
    /// What the kernel was at, innermost first, each as `skb_release_data+0xA3`; None where it was not asked for, or could not be had.
    pub stack: Option<Stack>,
    /// Of one that stands for several; its own time is that of the first.
    pub repeats: Option<Repeats>,
}

/// Several events of which one was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// How many they were, the first included.
    pub count: u64,
    /// When the last was, since the Unix epoch.
    pub last_unix_nanos: u64,
}

impl Event {
    /// Memory that it takes, in bytes, as if it shared nothing.
    pub fn bytes(&self) -> usize {
        let value = |value: &FieldValue| if let FieldValue::Text(text) = value { text.len() } else { 0 };
        let fields: usize = self.fields.iter().map(|field| size_of_val(field) + value(&field.1)).sum();
        let frames = self.stack.iter().flat_map(|stack| stack.iter());
        let stack: usize = frames.map(|frame| size_of_val(frame) + frame.len()).sum();
        size_of::<Self>() + fields + stack
    }
}

/// Tells events apart, also after a restart: for whoever gets one twice (rule 16). As text `0123456789abcdef-42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// Another one in each run of the agent.
    pub run: u64,
    /// From 1, grows by 1 with each event of the run.
    pub seq: u64,
}

impl EventId {
    /// Of an event that has not been numbered.
    pub const NONE: Self = Self { run: 0, seq: 0 };

    /// Appends it as text.
    pub(crate) fn push(self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut run = [0; 16];
        for (shift, digit) in run.iter_mut().rev().enumerate() {
            *digit = DIGITS[(self.run >> (4 * shift) & 0xf) as usize];
        }
        out.extend_from_slice(&run);
        out.push(b'-');
        out.extend_from_slice(itoa::Buffer::new().format(self.seq).as_bytes());
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.seq)
    }
}

/// The text is no id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no id of an event, which is like `0123456789abcdef-42`")]
pub struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let (run, seq) = text.split_once('-').ok_or(NoEventId)?;
        // The numbers' own parsers take a sign, too.
        let digits = run.len() == 16 && !run.starts_with('+') && seq.starts_with(|c: char| c.is_ascii_digit());
        match (u64::from_str_radix(run, 16), seq.parse()) {
            (Ok(run), Ok(seq)) if digits => Ok(Self { run, seq }),
            _ => Err(NoEventId),
        }
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    U64(u64),
    S64(i64),
    F64(f64),
    Bool(bool),
    /// A mapped one as IPv4.
    Address(IpAddr),
    Text(Arc<str>),
}

#[cfg(test)]
mod tests;
