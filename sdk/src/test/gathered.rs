//! What a probe gave, for a test to look at.

use crate::types::{self, Column, Values};
use std::fmt;

/// What the probe gave.
pub struct Gathered {
    pub(super) plan: types::Plan,
    pub output: types::Output,
    pub(super) sources: Vec<Source>,
}

/// An answer that events may refer to: its query, and how many rows it had.
pub(super) struct Source {
    query: String,
    rows: u32,
}

pub(super) fn sources(plan: &types::Plan, answers: &[types::Answer]) -> Vec<Source> {
    let source = |answer: &types::Answer| {
        let rows = match &answer.result {
            types::ResultOfQuery::Rows(batch) => batch.rows,
            types::ResultOfQuery::Failed(_) => 0,
        };
        Source { query: plan.queries[answer.query as usize].name.clone(), rows }
    };
    answers.iter().map(source).collect()
}

/// An event, as a person would read it. Its text is `TYPE query[row] name=value name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Name of its type.
    pub name: String,
    /// The query and the row that it stands for.
    pub source: Option<(String, u32)>,
    /// Names and values, in the type's order. What has no value is left out.
    pub fields: Vec<(String, String)>,
}

impl Event {
    /// The value of a field.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some((query, row)) = &self.source {
            write!(f, " {query}[{row}]")?;
        }
        self.fields.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl Gathered {
    /// The sum of the samples of `metric` with this scope and these labels; None if there is none.
    pub fn get(&self, metric: &str, scope: Option<u32>, labels: &[&str]) -> Option<f64> {
        let index = self.plan.metrics.iter().position(|have| have.name == metric)?;
        let mut found = None;
        for samples in self.output.samples.iter().filter(|samples| samples.metric as usize == index) {
            for row in 0..samples.values.rows() {
                let same_scope = samples.scopes.as_ref().and_then(|scopes| scopes.scope(row)) == scope;
                let same_labels = samples.labels.len() == labels.len()
                    && samples
                        .labels
                        .iter()
                        .zip(labels)
                        .all(|(have, want)| text(have, row).as_deref().unwrap_or("") == *want);
                if let (true, true, Some(value)) = (same_scope, same_labels, samples.values.f64(row)) {
                    found = Some(found.unwrap_or(0.0) + value);
                }
            }
        }
        found
    }

    /// How many samples there are in all.
    pub fn len(&self) -> usize {
        let present =
            |samples: &types::Samples| (0..samples.values.rows()).filter(|&row| samples.values.has(row)).count();
        self.output.samples.iter().map(present).sum()
    }

    /// Whether there is no sample. Events are not looked at.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events, in the order in which the probe gave them.
    ///
    /// # Panics
    /// If they do not fit the plan or the call, so that the host would refuse them.
    #[track_caller]
    pub fn events(&self) -> Vec<Event> {
        let mut all = Vec::new();
        for events in &self.output.events {
            let (kind, source) = self.check(events);
            for index in 0..events.count as usize {
                let field =
                    |(field, column): (&types::Field, &Column)| Some((field.name.clone(), text(column, index)?));
                all.push(Event {
                    name: kind.name.clone(),
                    source: source.map(|source| (source.query.clone(), events.rows[index])),
                    fields: kind.fields.iter().zip(&events.fields).filter_map(field).collect(),
                });
            }
        }
        all
    }

    #[track_caller]
    fn check(&self, events: &types::Events) -> (&types::EventType, Option<&Source>) {
        let kind = self.plan.events.get(events.type_ as usize).expect("events of a type that the plan has");
        let (name, count) = (&kind.name, events.count as usize);
        let source = events.answer.map(|answer| self.sources.get(answer as usize).expect("an answer of this call"));
        assert_eq!(events.rows.len(), if source.is_some() { count } else { 0 }, "{name}: source rows");
        for row in &events.rows {
            let have = source.map_or(0, |source| source.rows);
            assert!(*row < have, "{name}: source row {row} of {have}");
        }
        let columns = |n: usize| format!("{n} columns of fields");
        assert_eq!(columns(events.fields.len()), columns(kind.fields.len()), "{name}");
        for (field, column) in kind.fields.iter().zip(&events.fields) {
            assert_eq!(column.rows(), count, "{name}: rows of the field {}", field.name);
            let code = |row: usize| matches!(&column.values, Values::Codes(_)) && column.has(row);
            let lost = (0..count).find(|&row| code(row) && column.text(row).is_none());
            assert_eq!(lost, None, "{name}: a code of the field {} that is not in its dictionary", field.name);
        }
        (kind, source)
    }
}

/// A value as a label or a field shows it.
fn text(column: &Column, row: usize) -> Option<String> {
    match &column.values {
        Values::Codes(_) => column.text(row).map(str::to_owned),
        Values::Addresses(_) => column.address(row).map(|address| address.to_string()),
        Values::F64s(_) => column.f64(row).map(|number| number.to_string()),
        Values::S64s(_) => column.s64(row).map(|number| number.to_string()),
        Values::U32s(_) | Values::U64s(_) => column.u64(row).map(|number| number.to_string()),
        Values::Blobs(_) => Some("(bytes)".to_owned()).filter(|_| column.has(row)),
    }
}
