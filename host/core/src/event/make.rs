//! From a checked output to events.

use super::{Event, EventId, FieldValue, MAX_TEXT, Origins, Peer, origin::handle};
use crate::{
    batch::{Column, Values},
    output::Checked,
    probe::{EventType, Events, Field, Plan},
    scope::{Name, ScopeId, Scopes},
};
use std::{collections::HashMap, net::Ipv6Addr, sync::Arc};

/// What all events of one output have in common.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub node: Arc<str>,
    pub probe: Arc<str>,
}

/// What one output makes.
#[derive(Debug, Default)]
pub struct Made {
    /// In the order of their times.
    pub events: Vec<Event>,
    /// Those of scopes whose names are not final yet (rule 6), in the same order, with nobody's name; see [`name`].
    pub waiting: Vec<(ScopeId, Event)>,
    /// Those that are over the limit, as far as they were wanted, named as well as may be.
    pub over: Vec<Event>,
}

/// How many events may be made of one output: the earliest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Those that go on.
    pub granted: usize,
    /// Of those beyond, whom only the flight recorder is told of.
    pub over: usize,
}

/// The events of an output. Whoever keeps them gives them their ids.
///
/// `output` was checked against `plan` and against the call that `origins` tells of. Rule 28: who it happened to is what the output says,
/// else what the source row says.
pub fn events(
    output: Checked<'_>,
    plan: &Plan,
    origins: &Origins,
    scopes: &Scopes,
    stamp: &Stamp,
    limit: Limit,
) -> Made {
    let mut maker = Maker {
        types: plan.events.iter().map(|_| None).collect(),
        texts: output.events.iter().map(|events| vec![HashMap::new(); events.fields.len()]).collect(),
        scopes,
    };
    let mut made = Made::default();
    let earliest = earliest(&output.events, origins, limit.granted.saturating_add(limit.over));
    for (place, (unix_nanos, block, row)) in earliest.into_iter().enumerate() {
        let events = &output.events[block];
        let Some(names) = maker.names(plan, events.ty) else { continue };
        let scope = match &events.scopes {
            Some(scopes) => handle(scopes, row),
            None => origins.scope(events.answer, source_row(events, row)),
        };
        let mut event = Event {
            id: EventId::NONE,
            unix_nanos,
            node: stamp.node.clone(),
            probe: stamp.probe.clone(),
            ty: names.ty.clone(),
            scope: None,
            peer: None,
            fields: maker.fields(&names, block, &events.fields, row),
            stack: origins.stack(events.answer, source_row(events, row)),
            repeats: None,
        };
        let is_over = place >= limit.granted;
        match scope.filter(|scope| !is_over && scopes.is_held(*scope)) {
            Some(held) => made.waiting.push((held, event)),
            None => {
                name(&mut event, scope, scopes);
                if is_over { made.over.push(event) } else { made.events.push(event) }
            }
        }
    }
    made
}

/// Writes into an event who it happened to, and who is at the other end.
pub fn name(event: &mut Event, scope: Option<ScopeId>, scopes: &Scopes) {
    event.scope = scope.and_then(|scope| scopes.get(scope)).map(|scope| scope.name.clone());
    event.peer = Peer::of(&event.fields, scope, event.unix_nanos, scopes);
}

/// Time, place among the output's lists, and row of the earliest events.
fn earliest(lists: &[Events], origins: &Origins, limit: usize) -> Vec<(u64, usize, usize)> {
    let rows = lists.iter().enumerate().flat_map(|(block, events)| {
        (0..events.count as usize).map(move |row| (block, row, events.answer, source_row(events, row)))
    });
    let mut picked: Vec<_> =
        rows.map(|(block, row, answer, source)| (origins.unix_nanos(answer, source), block, row)).collect();
    picked.sort_unstable();
    picked.truncate(limit);
    picked
}

fn source_row(events: &Events, row: usize) -> usize {
    events.rows.get(row).map_or(0, |&source| source as usize)
}

/// The names of a type of event.
struct Names {
    ty: Arc<str>,
    fields: Vec<FieldKind>,
}

/// What a field becomes.
enum FieldKind {
    Value {
        name: Arc<str>,
        bool: bool,
    },
    /// A scope: the names for namespace, pod, and network namespace.
    Scope([Arc<str>; 3]),
}

const SCOPE_PARTS: [&str; 3] = ["namespace", "pod", "netns"];

/// The names under which an event may have a field.
pub(super) fn field_names(field: &Field) -> Vec<String> {
    match field.logical.as_str() {
        "scope" => SCOPE_PARTS.iter().map(|part| format!("{}_{part}", field.name)).collect(),
        _ => vec![field.name.clone()],
    }
}

impl From<&EventType> for Names {
    fn from(ty: &EventType) -> Self {
        let field = |field: &Field| match field.logical.as_str() {
            "scope" => FieldKind::Scope(SCOPE_PARTS.map(|part| format!("{}_{part}", field.name).into())),
            logical => FieldKind::Value { name: field.name.as_str().into(), bool: logical == "bool" },
        };
        Self { ty: ty.name.as_str().into(), fields: ty.fields.iter().map(field).collect() }
    }
}

/// Makes events of one output; what repeats in them is made once.
struct Maker<'a> {
    /// By the plan's types.
    types: Vec<Option<Arc<Names>>>,
    /// The texts of each column's dictionary that were met, by the output's lists and their columns.
    texts: Vec<Vec<HashMap<u32, Arc<str>>>>,
    scopes: &'a Scopes,
}

impl Maker<'_> {
    fn names(&mut self, plan: &Plan, ty: u32) -> Option<Arc<Names>> {
        let (declared, names) = (plan.events.get(ty as usize)?, self.types.get_mut(ty as usize)?);
        Some(names.get_or_insert_with(|| Arc::new(Names::from(declared))).clone())
    }

    fn who(&self, scope: ScopeId) -> Option<&'_ Arc<Name>> {
        self.scopes.get(scope).map(|scope| &scope.name)
    }

    fn fields(&mut self, names: &Names, block: usize, columns: &[Column], row: usize) -> Vec<(Arc<str>, FieldValue)> {
        let mut fields = Vec::with_capacity(columns.len());
        for (index, (kind, column)) in names.fields.iter().zip(columns).enumerate() {
            match kind {
                FieldKind::Value { name, bool } => {
                    let value = value(column, row, *bool, &mut self.texts[block][index]);
                    fields.extend(value.map(|value| (name.clone(), value)));
                }
                FieldKind::Scope([namespace_name, pod_name, netns_name]) => {
                    let Some(name) = handle(column, row).and_then(|scope| self.who(scope)) else { continue };
                    match &name.netns {
                        Some(netns) => fields.push((netns_name.clone(), FieldValue::Text(netns.clone()))),
                        None => fields.extend([
                            (namespace_name.clone(), FieldValue::Text(name.namespace.clone())),
                            (pod_name.clone(), FieldValue::Text(name.pod.clone())),
                        ]),
                    }
                }
            }
        }
        fields
    }
}

/// One cell; none for NULL.
fn value(column: &Column, row: usize, bool: bool, texts: &mut HashMap<u32, Arc<str>>) -> Option<FieldValue> {
    if !column.has(row) {
        return None;
    }
    Some(match &column.values {
        Values::U32(v) if bool => FieldValue::Bool(*v.get(row)? != 0),
        Values::U64(v) if bool => FieldValue::Bool(*v.get(row)? != 0),
        Values::S64(v) if bool => FieldValue::Bool(*v.get(row)? != 0),
        Values::U32(v) => FieldValue::U64((*v.get(row)?).into()),
        Values::U64(v) => FieldValue::U64(*v.get(row)?),
        Values::S64(v) => FieldValue::S64(*v.get(row)?),
        Values::F64(v) => FieldValue::F64(*v.get(row)?),
        Values::Address(bytes) => {
            let octets: [u8; 16] = bytes.get(row * 16..)?.first_chunk().copied()?;
            FieldValue::Address(Ipv6Addr::from(octets).to_canonical())
        }
        Values::Code { codes, names } => {
            let code = *codes.get(row)?;
            let name = names.get(code as usize)?;
            FieldValue::Text(texts.entry(code).or_insert_with(|| text(name.as_bytes())).clone())
        }
        Values::Blob { ends, bytes } => {
            let begin = if row == 0 { 0 } else { *ends.get(row - 1)? as usize };
            FieldValue::Text(text(bytes.get(begin..*ends.get(row)? as usize)?))
        }
    })
}

/// A text of at most [`MAX_TEXT`] bytes; what is no UTF-8 becomes U+FFFD.
fn text(given: &[u8]) -> Arc<str> {
    // A few more, so that the cut below is not in the middle of what was cut here.
    let text = String::from_utf8_lossy(&given[..given.len().min(MAX_TEXT + 8)]);
    if text.len() <= MAX_TEXT {
        return text.into();
    }
    let end = text.floor_char_boundary(MAX_TEXT - "…".len());
    format!("{}…", &text[..end]).into()
}
