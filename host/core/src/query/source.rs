//! The columns that a query computes with, from those that were read.

use super::{
    Naming,
    expr::{Condition, Source, SourceId},
};
use crate::{
    arithmetic::{Overflow, bucket},
    batch::{Bitmap, Column, ColumnBuilder, Values},
    scope::ScopeId,
    table::{TableColumn, Type},
};
use std::{borrow::Cow, collections::HashMap};

/// Every source of a query as a column.
pub(super) struct Sources<'a> {
    pub columns: Vec<Cow<'a, Column>>,
    /// Where a value is NULL as it did not fit into 64 bits: rarely anywhere.
    overflowed: Vec<(SourceId, u32)>,
}

impl Sources<'_> {
    /// The overflows that count: those in the rows that were `selected`, in order, and all those that the filter met.
    pub fn overflows(&self, filter: Option<&Condition>, selected: Option<&[u32]>) -> u64 {
        let mut met = Vec::new();
        if let (Some(filter), false) = (filter, self.overflowed.is_empty()) {
            filter.for_each_source(&mut |source| met.push(source));
        }
        let is_selected = |row| selected.is_none_or(|rows| rows.binary_search(row).is_ok());
        self.overflowed.iter().filter(|(source, row)| met.contains(source) || is_selected(row)).count() as u64
    }
}

/// One column for each source, each of `rows` rows and in the form that its type promises: what is not becomes NULL.
pub(super) fn columns<'a>(
    sources: &[Source],
    types: &[TableColumn],
    rows: usize,
    read: &[&'a Column],
    names: &dyn Naming,
) -> Sources<'a> {
    let mut columns: Vec<Cow<'a, Column>> = Vec::with_capacity(sources.len());
    let mut overflowed = Vec::new();
    for (id, source) in sources.iter().enumerate() {
        let mut overflow = |row: usize| overflowed.push((id, row as u32));
        let column = match source {
            Source::Table(index) => match (read.get(*index), types.get(*index)) {
                (Some(&column), Some(ty)) if column.len() == rows && fits(ty.ty, &column.values) => {
                    Cow::Borrowed(column)
                }
                _ => Cow::Owned(Column::null(rows)),
            },
            Source::ScopeName(of) => Cow::Owned(scope_names(&columns[*of], names)),
            Source::EnumName { of, names } => Cow::Owned(named(&columns[*of], |value| Some(names.text(value as i64)))),
            Source::Symbol(of) => Cow::Owned(named(&columns[*of], |value| names.symbol(value as u64))),
            Source::IsNull { of, negated } => {
                let column = &columns[*of];
                Cow::Owned(Column::full(Values::U32(
                    (0..rows).map(|row| u32::from(column.has(row) == *negated)).collect(),
                )))
            }
            Source::Arithmetic(of) => {
                let value = |row| of.compute(&|leaf| number(&columns[*leaf], row));
                Cow::Owned(match of.is_signed() {
                    true => computed(rows, Values::S64, |row| Ok(value(row)?.map(|value| value as i64)), &mut overflow),
                    false => {
                        computed(rows, Values::U64, |row| Ok(value(row)?.map(|value| value as u64)), &mut overflow)
                    }
                })
            }
            Source::Compared(of) => {
                let truth = |row| Ok(of.compute(&|leaf| number(&columns[*leaf], row))?.map(u32::from));
                Cow::Owned(computed(rows, Values::U32, truth, &mut overflow))
            }
            Source::Bucket(of) => {
                let bucket = |row| Ok(number(&columns[*of], row).map(|value| bucket(value).into()));
                Cow::Owned(computed(rows, Values::U64, bucket, &mut overflow))
            }
            Source::Missing(_) => Cow::Owned(Column::null(rows)),
        };
        columns.push(column);
    }
    Sources { columns, overflowed }
}

/// A column that is NULL where there is no value, or one that does not fit.
fn computed<T: Copy + Default>(
    rows: usize,
    form: fn(Vec<T>) -> Values,
    value: impl Fn(usize) -> Result<Option<T>, Overflow>,
    overflow: &mut dyn FnMut(usize),
) -> Column {
    let mut present = Bitmap::zeros(rows);
    let values = (0..rows).map(|row| {
        let value = value(row).unwrap_or_else(|Overflow| {
            overflow(row);
            None
        });
        present.set(row, value.is_some());
        value.unwrap_or_default()
    });
    let values = form(values.collect());
    tidy(values, |row| present.get(row))
}

/// An integer of any width and sign, by value; None where it is NULL or no integer.
#[inline]
pub(super) fn number(column: &Column, row: usize) -> Option<i128> {
    if !column.has(row) {
        return None;
    }
    match &column.values {
        Values::U64(v) => v.get(row).map(|&value| value.into()),
        Values::S64(v) => v.get(row).map(|&value| value.into()),
        Values::U32(v) => v.get(row).map(|&value| value.into()),
        _ => None,
    }
}

/// A column without a bitmap if every row has a value, and none of the bits past its last row.
pub(super) fn tidy(values: Values, present: impl Fn(usize) -> bool) -> Column {
    let rows = values.len();
    let mut bits = Bitmap::zeros(rows);
    let mut nulls = false;
    for row in 0..rows {
        let has = present(row);
        nulls |= !has;
        bits.0[row / 64] |= u64::from(has) << (row % 64);
    }
    Column { values, present: nulls.then_some(bits) }
}

fn fits(ty: Type, values: &Values) -> bool {
    matches!(
        (ty, values),
        (Type::U64, Values::U64(_))
            | (Type::S64, Values::S64(_))
            | (Type::Text, Values::Code { .. })
            | (Type::Scope | Type::Bool, Values::U32(_))
            | (Type::Address, Values::Address(_))
            | (Type::Octets, Values::Blob { .. })
            | (Type::Pointer, Values::U64(_))
    )
}

/// A text for each number; each number is asked for once.
fn named(numbers: &Column, name: impl Fn(i128) -> Option<String>) -> Column {
    let mut known: HashMap<i128, Option<String>> = HashMap::new();
    let mut texts = ColumnBuilder::text();
    for row in 0..numbers.len() {
        let text = number(numbers, row).and_then(|value| known.entry(value).or_insert_with(|| name(value)).as_deref());
        match text {
            Some(text) => texts.push_text(text.as_bytes()),
            None => texts.push_null(),
        }
    }
    texts.finish()
}

/// Each scope is asked for its name once.
fn scope_names(scopes: &Column, names: &dyn Naming) -> Column {
    let Values::U32(ids) = &scopes.values else { return Column::null(scopes.len()) };
    let mut known: HashMap<ScopeId, Option<u32>> = HashMap::new();
    let mut dictionary = Vec::new();
    let mut present = Bitmap::zeros(ids.len());
    let codes = ids.iter().enumerate().map(|(row, &id)| {
        let code = scopes.has(row).then(|| {
            *known.entry(id).or_insert_with(|| {
                dictionary.push(names.scope(id)?);
                Some(dictionary.len() as u32 - 1)
            })
        });
        let code = code.flatten();
        present.set(row, code.is_some());
        code.unwrap_or(0)
    });
    let codes = codes.collect();
    let values = Values::Code { codes, names: dictionary };
    tidy(values, |row| present.get(row))
}
