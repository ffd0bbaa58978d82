//! What an event has from its source row: when, who, and the stack.

use crate::{
    batch::{Column, Values},
    probe::{Call, Field},
    scope::ScopeId,
};
use std::sync::Arc;

/// Functions of the kernel, innermost first, each as `skb_release_data+0xA3`. Events share them.
pub type Stack = Arc<[Arc<str>]>;

/// The source rows of one answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// CLOCK_MONOTONIC in nanoseconds, row by row. None: the call's time.
    pub times: Option<Vec<u64>>,
    /// Handles, row by row. None: nobody is known.
    pub scopes: Option<Column>,
    /// Where the kernel was, row by row: its functions, innermost first. Rows beyond the end have none.
    pub stacks: Vec<Option<Stack>>,
}

impl Origin {
    /// Rule 28: the scope of a row is its column with the alias `scope`; else `owner`, in rows that have one; else `netns`.
    ///
    /// `fields` are those of the query, `columns` those of its answer.
    pub fn scopes(fields: &[Field], columns: &[Column]) -> Option<Column> {
        let column = |name: &str| {
            let at = fields.iter().position(|field| field.name == name && field.logical == "scope")?;
            columns.get(at)
        };
        // What is so called is the author's word, also where it is NULL.
        if let Some(scope) = column("scope") {
            return Some(scope.clone());
        }
        match (column("owner"), column("netns")) {
            (Some(owner), Some(netns)) => Some(either(owner, netns)),
            (owner, netns) => owner.or(netns).cloned(),
        }
    }
}

/// The first column, and the second in the rows where the first has no value.
fn either(first: &Column, second: &Column) -> Column {
    let (Values::U32(first_handles), Values::U32(second_handles)) = (&first.values, &second.values) else {
        // Handles are of this form; another one is a column that is always NULL.
        return if matches!(first.values, Values::U32(_)) { first.clone() } else { second.clone() };
    };
    let mut merged = second.clone();
    let Values::U32(handles) = &mut merged.values else { return merged };
    for row in (0..second_handles.len().min(first_handles.len())).filter(|&row| first.has(row)) {
        handles[row] = first_handles[row];
        if let Some(present) = &mut merged.present {
            present.set(row, true);
        }
    }
    merged
}

/// The source rows of a call, and its clocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    monotonic_nanos: u64,
    unix_nanos: u64,
    answers: Vec<Origin>,
}

impl Origins {
    /// `answers` has one origin for each answer of `call`.
    pub fn new(call: &Call, answers: Vec<Origin>) -> Self {
        Self { monotonic_nanos: call.monotonic_nanos, unix_nanos: call.unix_nanos, answers }
    }

    /// Of answers to table queries: their rows have no time of their own. `fields` gives those of the plan's query with this index.
    pub fn of_tables<'f>(call: &Call, fields: impl Fn(u32) -> &'f [Field]) -> Self {
        let origin = |answer: &crate::probe::Answer| match &answer.result {
            Ok(batch) => Origin { scopes: Origin::scopes(fields(answer.query), &batch.columns), ..Origin::default() },
            Err(_) => Origin::default(),
        };
        Self::new(call, call.answers.iter().map(origin).collect())
    }

    /// When row `row` of an answer was, since the Unix epoch. Without an answer: when the call was.
    pub(super) fn unix_nanos(&self, answer: Option<u32>, row: usize) -> u64 {
        let times = answer.and_then(|answer| self.answers.get(answer as usize)?.times.as_ref());
        match times.and_then(|times| times.get(row)) {
            None => self.unix_nanos,
            // Rows that come while the host gathers are younger than the call.
            Some(&time) if time >= self.monotonic_nanos => self.unix_nanos.saturating_add(time - self.monotonic_nanos),
            Some(&time) => self.unix_nanos.saturating_sub(self.monotonic_nanos - time),
        }
    }

    /// Where the kernel was at row `row` of an answer.
    pub(super) fn stack(&self, answer: Option<u32>, row: usize) -> Option<Stack> {
        self.answers.get(answer? as usize)?.stacks.get(row)?.clone()
    }

    /// Whose row `row` of an answer is.
    pub(super) fn scope(&self, answer: Option<u32>, row: usize) -> Option<ScopeId> {
        handle(self.answers.get(answer? as usize)?.scopes.as_ref()?, row)
    }
}

/// The handle in a column of scopes; none for NULL.
pub(super) fn handle(column: &Column, row: usize) -> Option<ScopeId> {
    match &column.values {
        Values::U32(handles) if column.has(row) => handles.get(row).copied(),
        _ => None,
    }
}
