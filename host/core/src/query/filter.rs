//! WHERE: a condition over all rows at once, in SQL's three-valued logic.

use super::{
    expr::{Comparison, Condition, SourceId, Test, Truth},
    source::number,
};
use crate::batch::{Column, Values};
use std::borrow::Cow;

/// The rows for which the condition is true, in order.
pub(super) fn select(condition: &Condition, sources: &[Cow<Column>], rows: usize) -> Vec<u32> {
    let truths = Filter { sources, rows }.evaluate(condition);
    (0..rows as u32).zip(truths).filter(|(_, truth)| *truth == Truth::True).map(|(row, _)| row).collect()
}

struct Filter<'a> {
    sources: &'a [Cow<'a, Column>],
    rows: usize,
}

impl Filter<'_> {
    fn evaluate(&self, condition: &Condition) -> Vec<Truth> {
        match condition {
            Condition::Constant(truth) => vec![*truth; self.rows],
            Condition::Is(source) => self.numbers(*source, |value| value != 0),
            Condition::IsNull(source) => {
                let column = &self.sources[*source];
                (0..self.rows).map(|row| Truth::from(!column.has(row))).collect()
            }
            Condition::IsUnknown(inner) => map(self.evaluate(inner), |truth| Truth::from(truth == Truth::Unknown)),
            Condition::Number(source, test) => self.numbers(*source, |value| test.accepts(&value)),
            Condition::Text(source, test) => self.texts(*source, test),
            Condition::Address(source, test) => self.addresses(*source, test),
            Condition::Columns(left, comparison, right) => self.columns(*left, *comparison, *right),
            Condition::Conditions(left, comparison, right) => {
                merge(self.evaluate(left), self.evaluate(right), |left, right| match (left, right) {
                    (Truth::Unknown, _) | (_, Truth::Unknown) => Truth::Unknown,
                    (left, right) => comparison.accepts(left.cmp(&right)).into(),
                })
            }
            Condition::Not(inner) => map(self.evaluate(inner), |truth| !truth),
            Condition::All(parts) => self.fold(parts, Truth::True, Truth::min),
            Condition::Any(parts) => self.fold(parts, Truth::False, Truth::max),
        }
    }

    fn fold(&self, parts: &[Condition], neutral: Truth, join: fn(Truth, Truth) -> Truth) -> Vec<Truth> {
        let truths = parts.iter().map(|part| self.evaluate(part)).reduce(|left, right| merge(left, right, join));
        truths.unwrap_or_else(|| vec![neutral; self.rows])
    }

    fn numbers(&self, source: SourceId, accepts: impl Fn(i128) -> bool) -> Vec<Truth> {
        let column = &self.sources[source];
        (0..self.rows).map(|row| number(column, row).map_or(Truth::Unknown, |value| accepts(value).into())).collect()
    }

    /// Tests each text of the dictionary once, not each row.
    fn texts(&self, source: SourceId, test: &Test<String>) -> Vec<Truth> {
        let column = &self.sources[source];
        let Values::Code { codes, names } = &column.values else { return vec![Truth::Unknown; self.rows] };
        let verdicts: Vec<Truth> = names.iter().map(|name| test.accepts(name.as_str()).into()).collect();
        let verdict = |code: &u32| verdicts.get(*code as usize).copied().unwrap_or(Truth::Unknown);
        let verdict = |(row, code)| if column.has(row) { verdict(code) } else { Truth::Unknown };
        codes.iter().enumerate().map(verdict).collect()
    }

    fn addresses(&self, source: SourceId, test: &Test<[u8; 16]>) -> Vec<Truth> {
        let column = &self.sources[source];
        let Values::Address(bytes) = &column.values else { return vec![Truth::Unknown; self.rows] };
        let address = |row: usize| bytes.get(row * 16..)?.first_chunk::<16>().filter(|_| column.has(row));
        (0..self.rows).map(|row| address(row).map_or(Truth::Unknown, |address| test.accepts(address).into())).collect()
    }

    fn columns(&self, left: SourceId, comparison: Comparison, right: SourceId) -> Vec<Truth> {
        let (left, right) = (&self.sources[left], &self.sources[right]);
        let text = matches!(left.values, Values::Code { .. });
        let ordering = |row| match text {
            true => Some(left.text(row)?.cmp(right.text(row)?)),
            false => Some(number(left, row)?.cmp(&number(right, row)?)),
        };
        (0..self.rows)
            .map(|row| ordering(row).map_or(Truth::Unknown, |ordering| comparison.accepts(ordering).into()))
            .collect()
    }
}

fn map(mut truths: Vec<Truth>, change: impl Fn(Truth) -> Truth) -> Vec<Truth> {
    truths.iter_mut().for_each(|truth| *truth = change(*truth));
    truths
}

fn merge(mut left: Vec<Truth>, right: Vec<Truth>, join: impl Fn(Truth, Truth) -> Truth) -> Vec<Truth> {
    left.iter_mut().zip(right).for_each(|(left, right)| *left = join(*left, right));
    left
}
