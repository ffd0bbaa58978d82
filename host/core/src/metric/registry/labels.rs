//! Labels of a row: the bytes by which its series is found, and the text on the page.

use super::cadvisor;
use crate::{
    batch::{Column, Values},
    event::{
        Event, FieldValue,
        counted::{Counted, Source},
    },
    metric::{
        exposition::push_label,
        family::{Family, Label, ScopeLabels},
    },
    scope::{Name, Scope, ScopeId, Scopes},
};
use foldhash::fast::RandomState;
use std::{
    hash::BuildHasher,
    io::Write,
    net::{IpAddr, Ipv6Addr},
};

/// What stands where the budget has no room for the real values (rule 33).
const OTHER: &str = "other";

/// Whose a row is.
#[derive(Clone, Copy)]
pub(super) enum Who<'s> {
    /// The whole node's: the metric has no scopes.
    Node,
    /// Nobody known: a NULL in the column of scopes.
    Nobody,
    Scope(&'s Scope),
    /// Told as cAdvisor does; None: nobody that it shows.
    Cadvisor(Option<&'s Scope>),
}

impl<'s> Who<'s> {
    pub fn new(scoped: ScopeLabels, scope: ScopeId, scopes: &'s Scopes) -> Self {
        match (scoped, scopes.get(scope)) {
            (ScopeLabels::Node, _) => Who::Node,
            (ScopeLabels::Cadvisor, scope) => Who::Cadvisor(scope),
            (ScopeLabels::Own, None) => Who::Nobody,
            (ScopeLabels::Own, Some(scope)) => Who::Scope(scope),
        }
    }

    pub fn scope(self) -> Option<&'s Scope> {
        match self {
            Who::Node | Who::Nobody => None,
            Who::Scope(scope) => Some(scope),
            Who::Cadvisor(scope) => scope,
        }
    }
}

/// The handle in a column that was checked; 0, which is no scope's, for NULL and where there is no column.
pub(super) fn handle(scopes: Option<&Column>, row: usize) -> ScopeId {
    match scopes.map(|column| (&column.values, column.has(row))) {
        Some((Values::U32(handles), true)) => handles.get(row).copied().unwrap_or(0),
        _ => 0,
    }
}

/// Turns rows' labels into keys: the final texts, each ended by a NUL. Its buffers are used again and again.
#[derive(Default)]
pub(super) struct Encoder {
    hasher: RandomState,
    limit: usize,
    /// The dictionaries of a column of codes, ready to be copied: where each column's names begin in `names`.
    dictionaries: Vec<usize>,
    names: Vec<Text>,
    texts: Vec<u8>,
    /// The last row's key.
    pub key: Vec<u8>,
    /// The last row's part.
    pub part: Vec<u8>,
    /// What became of its labels, and of its part.
    pub change: Change,
    /// Whether one of its labels is somebody whose name is not final yet.
    pub held: bool,
}

/// How a row's texts differ from what the probe gave.
#[derive(Clone, Copy, Default)]
pub(super) struct Change {
    pub cut: bool,
    /// Tells rows apart whose texts became equal: a hash of what was given. 0 if the texts are exactly that.
    pub identity: u64,
}

struct Text {
    end: usize,
    change: Change,
}

impl Encoder {
    /// Prepares for rows with these columns: each name of a dictionary is looked at once, not in every row.
    pub fn prepare<'c>(&mut self, limit: usize, columns: impl Iterator<Item = &'c Column>) {
        self.limit = limit;
        self.dictionaries.clear();
        self.names.clear();
        self.texts.clear();
        for column in columns {
            self.dictionaries.push(self.names.len());
            // A name in front, so that each has one before it that says where it begins.
            self.names.push(Text { end: self.texts.len(), change: Change::default() });
            if let Values::Code { names, .. } = &column.values {
                for name in names {
                    let change = push_text(&mut self.texts, name.as_bytes(), limit, &self.hasher);
                    self.names.push(Text { end: self.texts.len(), change });
                }
            }
        }
    }

    /// Makes the key of a row. The columns are those of `prepare`, in its order.
    pub fn encode(&mut self, row: usize, labels: &[Label], columns: &[Column], scopes: &Scopes) {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        (self.change, self.held) = (Change::default(), false);
        for (index, (label, column)) in labels.iter().zip(columns).enumerate() {
            match label {
                Label::Text(_) => {
                    self.push(row, index, column, &mut key);
                    key.push(0);
                }
                Label::Scope(_) => {
                    let scope = handle(Some(column), row);
                    // Different scopes may have equal texts; what is said of each is not said twice.
                    self.note(Change { cut: false, identity: self.hasher.hash_one(scope) | 1 });
                    self.held |= scopes.is_held(scope);
                    for text in describe(scopes.get(scope)) {
                        let change = push_text(&mut key, text.as_bytes(), self.limit, &self.hasher);
                        self.note(change);
                        key.push(0);
                    }
                }
            }
        }
        self.key = key;
    }

    /// Makes the part of the row whose key was made last. Its column came last in `prepare`.
    pub fn encode_part(&mut self, row: usize, column: Option<&Column>) {
        let mut part = std::mem::take(&mut self.part);
        part.clear();
        if let Some(column) = column {
            let cut = self.change.cut;
            self.push(row, self.dictionaries.len().saturating_sub(1), column, &mut part);
            // Parts are not on the page: nobody misses what is cut.
            self.change.cut = cut;
        }
        self.part = part;
    }

    /// Appends the final text of one cell.
    fn push(&mut self, row: usize, index: usize, column: &Column, out: &mut Vec<u8>) {
        if !column.has(row) {
            return;
        }
        let change = match &column.values {
            Values::Code { codes, .. } => {
                let before = self.dictionaries[index] + codes[row] as usize;
                let name = &self.names[before + 1];
                out.extend_from_slice(&self.texts[self.names[before].end..name.end]);
                name.change
            }
            Values::Blob { ends, bytes } => {
                let begin = if row == 0 { 0 } else { ends[row - 1] as usize };
                push_text(out, &bytes[begin..ends[row] as usize], self.limit, &self.hasher)
            }
            Values::Address(bytes) => {
                push_address(out, &bytes[row * 16..row * 16 + 16]);
                Change::default()
            }
            Values::U32(values) => push_integer(out, values[row]),
            Values::U64(values) => push_integer(out, values[row]),
            Values::S64(values) => push_integer(out, values[row]),
            Values::F64(_) => Change::default(),
        };
        self.note(change);
    }

    fn note(&mut self, change: Change) {
        self.change.cut |= change.cut;
        // Also where this text is as given: which of the labels was changed matters.
        if self.change.identity != 0 || change.identity != 0 {
            self.change.identity = self.hasher.hash_one((self.change.identity, change.identity)) | 1;
        }
    }

    /// Gives back what one large output has taken.
    pub fn shrink(&mut self) {
        self.names.clear();
        self.texts.clear();
        self.names.shrink_to(4096);
        self.texts.shrink_to(65536);
    }
}

fn push_integer(out: &mut Vec<u8>, value: impl itoa::Integer) -> Change {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    Change::default()
}

/// As RFC 5952 says; mapped addresses as IPv4.
fn push_address(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut octets = [0; 16];
    octets.copy_from_slice(bytes);
    let address = Ipv6Addr::from(octets);
    // Writing to a vector cannot fail.
    let _ = match address.to_ipv4_mapped() {
        Some(address) => write!(out, "{address}"),
        None => write!(out, "{address}"),
    };
}

/// Appends a text as it will be on the page: what is not UTF-8, and NUL, as U+FFFD; at most `limit` bytes, cut at a character, with `…`.
fn push_text(out: &mut Vec<u8>, given: &[u8], limit: usize, hasher: &RandomState) -> Change {
    let is_clean = given.len() <= limit && memchr::memchr(0, given).is_none() && std::str::from_utf8(given).is_ok();
    if is_clean {
        out.extend_from_slice(given);
        return Change::default();
    }
    let begin = out.len();
    for chunk in given.utf8_chunks() {
        for character in chunk.valid().chars() {
            let character = if character == '\0' { char::REPLACEMENT_CHARACTER } else { character };
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            if out.len() - begin > limit {
                break;
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
        if out.len() - begin > limit {
            break;
        }
    }
    let cut = out.len() - begin > limit;
    if cut {
        let mut end = begin + limit.saturating_sub("…".len());
        // A byte 10xxxxxx continues a character.
        while out[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        out.truncate(end);
        out.extend_from_slice("…".as_bytes());
    }
    Change { cut, identity: hasher.hash_one(given) | 1 }
}

/// Namespace, pod, node and type of a scope.
fn describe(scope: Option<&Scope>) -> [&str; 4] {
    match scope {
        None => ["", "", "", ""],
        Some(scope) => {
            let name = &scope.name;
            let kind = if name.netns.is_some() { "netns" } else { "pod" };
            [&name.namespace, &name.pod, "", kind]
        }
    }
}

/// The key of a series that takes what the budget has no room for.
pub(super) fn other_key(labels: &[Label]) -> Vec<u8> {
    let names = labels.iter().map(|label| label.names().len()).sum();
    format!("{OTHER}\0").repeat(names).into_bytes()
}

/// The labels as the page has them: who it is first, then those of the key.
pub(super) fn render(who: Who<'_>, labels: &[Label], key: &[u8]) -> String {
    let mut text = String::with_capacity(64 + key.len());
    match who {
        Who::Node => {}
        Who::Nobody => push_who(&mut text, &Name::default()),
        Who::Scope(scope) => push_who(&mut text, &scope.name),
        Who::Cadvisor(scope) => scope.and_then(cadvisor::Labels::of).unwrap_or_default().render(&mut text),
    }
    let names = labels.iter().flat_map(Label::names);
    for (name, value) in names.zip(key.split(|&byte| byte == 0)) {
        push_label(&mut text, name, &String::from_utf8_lossy(value));
    }
    text
}

/// Appends the labels of the series that counts an event, as the page has them. What the event lacks is empty.
pub(super) fn render_event(text: &mut String, family: &Family, counted: &Counted, event: &Event, limit: usize) {
    if family.scoped != ScopeLabels::Node {
        match &event.scope {
            Some(name) => push_who(text, name),
            None => push_who(text, &Name::default()),
        }
    }
    let mut cell = Vec::new();
    for (label, source) in family.labels.iter().zip(&counted.labels) {
        cell.clear();
        match source {
            Source::Value(value) => push_cell(&mut cell, value, limit),
            Source::Field(field) => {
                let field = event.fields.iter().find(|(name, _)| **name == **field);
                field.into_iter().for_each(|(_, value)| push_field(&mut cell, value, limit));
            }
        }
        label.names().iter().for_each(|name| push_label(text, name, &String::from_utf8_lossy(&cell)));
    }
}

fn push_cell(out: &mut Vec<u8>, text: &str, limit: usize) {
    push_text(out, text.as_bytes(), limit, &RandomState::default());
}

/// A field's value as a label would have it.
fn push_field(out: &mut Vec<u8>, value: &FieldValue, limit: usize) {
    match value {
        FieldValue::U64(value) => drop(push_integer(out, *value)),
        FieldValue::S64(value) => drop(push_integer(out, *value)),
        FieldValue::Bool(value) => drop(push_integer(out, u8::from(*value))),
        FieldValue::Address(IpAddr::V4(address)) => push_address(out, &address.to_ipv6_mapped().octets()),
        FieldValue::Address(IpAddr::V6(address)) => push_address(out, &address.octets()),
        FieldValue::Text(text) => push_cell(out, text, limit),
        // No label is one.
        FieldValue::F64(_) => {}
    }
}

/// Empty labels are written out: under `honor_labels` a series without them would get the agent's own pod.
fn push_who(text: &mut String, name: &Name) {
    if let Some(netns) = &name.netns {
        push_label(text, "netns", netns);
    }
    push_label(text, "namespace", &name.namespace);
    push_label(text, "pod", &name.pod);
    push_label(text, "container", &name.container);
    name.labels.iter().for_each(|(name, value)| push_label(text, name, value));
}

/// What stands for the labels of a series while its scope is held (rule 6): no text of the page begins like this.
pub(super) fn held_labels(scope: ScopeId, key: &[u8]) -> String {
    format!("{HELD}{scope}{HELD}{}", String::from_utf8_lossy(key))
}

pub(super) const HELD: char = '\0';

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(given: &[u8], limit: usize) -> (String, Change) {
        let mut out = b"before ".to_vec();
        let change = push_text(&mut out, given, limit, &RandomState::default());
        (String::from_utf8(out[7..].to_vec()).unwrap(), change)
    }

    #[test]
    fn rule_33_labels_are_cut_at_a_character_and_end_in_an_ellipsis_within_the_limit() {
        for (given, limit, want, cut) in [
            (&b"eth0"[..], 4, "eth0", false),
            (b"", 4, "", false),
            (b"eth00", 4, "e…", true),
            ("größer".as_bytes(), 8, "größer", false),
            ("größer".as_bytes(), 7, "grö…", true),
            ("größer".as_bytes(), 6, "gr…", true),
            ("🦀🦀".as_bytes(), 6, "…", true),
            (b"a\xffb\0c", 99, "a\u{fffd}b\u{fffd}c", false),
            (b"\xff\xff\xff", 8, "\u{fffd}…", true),
        ] {
            let (text, change) = pushed(given, limit);
            assert_eq!((text.as_str(), change.cut), (want, cut), "{given:?} in {limit}");
            assert!(text.len() <= limit);
            assert_eq!(change.identity == 0, text.as_bytes() == given);
        }
    }

    #[test]
    fn every_form_of_column_becomes_text() {
        let mut mapped = vec![0; 10];
        mapped.extend([0xff, 0xff, 192, 0, 2, 1]);
        let mut loopback = vec![0; 15];
        loopback.push(1);
        let columns = [
            (Values::U32(vec![7]), "7"),
            (Values::U64(vec![u64::MAX]), "18446744073709551615"),
            (Values::S64(vec![-7]), "-7"),
            (Values::Address(mapped), "192.0.2.1"),
            (Values::Address(loopback), "::1"),
            (Values::Code { codes: vec![1], names: vec!["lo".into(), "eth0".into()] }, "eth0"),
            (Values::Blob { ends: vec![3], bytes: b"abc".to_vec() }, "abc"),
        ];
        for (values, want) in columns {
            let columns = [Column::full(values)];
            let mut encoder = Encoder::default();
            encoder.prepare(256, columns.iter());
            encoder.encode(0, &[Label::Text("x".into())], &columns, &Scopes::default());
            assert_eq!(String::from_utf8_lossy(&encoder.key), format!("{want}\0"));
        }
    }
}
