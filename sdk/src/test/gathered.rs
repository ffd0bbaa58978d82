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

/// What a histogram shows of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Upper bound and count of each bucket that is not empty, each for itself; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    pub sum: f64,
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
                let same = is_of(samples.scopes.as_ref(), &samples.labels, row, scope, labels);
                if let (true, Some(value)) = (same, samples.values.f64(row)) {
                    found = Some(found.unwrap_or(0.0) + value);
                }
            }
        }
        found
    }

    /// The buckets that were given of `metric` with this scope and these labels, added up; None if there are none. Single observations are
    /// not among them.
    pub fn spread(&self, metric: &str, scope: Option<u32>, labels: &[&str]) -> Option<Spread> {
        let index = self.plan.metrics.iter().position(|have| have.name == metric)?;
        let mut counts = vec![0; self.plan.metrics[index].bounds.len() + 1];
        let mut found = None;
        for buckets in self.output.buckets.iter().filter(|buckets| buckets.metric as usize == index) {
            for row in 0..buckets.counts.len() {
                if is_of(buckets.scopes.as_ref(), &buckets.labels, row, scope, labels) {
                    counts[buckets.bounds[row] as usize] += buckets.counts[row];
                    found = Some(found.unwrap_or(0.0) + buckets.sums[row]);
                }
            }
        }
        let bounds = self.plan.metrics[index].bounds.iter().copied().chain([f64::INFINITY]);
        Some(Spread { sum: found?, buckets: bounds.zip(counts).filter(|(_, count)| *count > 0).collect() })
    }

    /// How many samples, and rows of buckets, there are in all.
    pub fn len(&self) -> usize {
        let present =
            |samples: &types::Samples| (0..samples.values.rows()).filter(|&row| samples.values.has(row)).count();
        let samples: usize = self.output.samples.iter().map(present).sum();
        samples + self.output.buckets.iter().map(|buckets| buckets.counts.len()).sum::<usize>()
    }

    /// Whether there is no sample and no bucket. Events are not looked at.
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

/// Whether a row is of this scope, and has these labels.
fn is_of(scopes: Option<&Column>, have: &[Column], row: usize, scope: Option<u32>, labels: &[&str]) -> bool {
    scopes.and_then(|scopes| scopes.scope(row)) == scope
        && have.len() == labels.len()
        && have.iter().zip(labels).all(|(have, want)| text(have, row).as_deref().unwrap_or("") == *want)
}

/// A value as a label or a field shows it.
pub(super) fn text(column: &Column, row: usize) -> Option<String> {
    match &column.values {
        Values::Codes(_) => column.text(row).map(str::to_owned),
        Values::Addresses(_) => column.address(row).map(|address| address.to_string()),
        Values::F64s(_) => column.f64(row).map(|number| number.to_string()),
        Values::S64s(_) => column.s64(row).map(|number| number.to_string()),
        Values::U32s(_) | Values::U64s(_) => column.u64(row).map(|number| number.to_string()),
        Values::Blobs(_) => Some("(bytes)".to_owned()).filter(|_| column.has(row)),
    }
}
