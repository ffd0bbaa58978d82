//! The checks of single columns.

use super::error::{OutputError, Owner, Place};
use crate::{
    batch::{Column, Values},
    metric::value::Value,
    probe::{Field, MetricKind},
    scope::Scopes,
};

/// Checks the columns of one output.
pub(super) struct Columns<'o, 's> {
    known: &'s Scopes,
    /// The scopes checked last: most metrics of a probe have the same ones.
    checked: Option<&'o Column>,
}

impl<'o, 's> Columns<'o, 's> {
    pub fn new(known: &'s Scopes) -> Self {
        Self { known, checked: None }
    }

    /// The values of samples: numbers, and such as a metric of this kind can have.
    pub fn values(&self, owner: &impl Fn() -> Owner, column: &Column, kind: MetricKind) -> Result<(), OutputError> {
        let rows = column.len();
        check_form(owner, &|| Place::Values, column, rows)?;
        for row in (0..rows).filter(|&row| column.has(row)) {
            let Some(value) = Value::of(&column.values, row) else {
                return Err(form(owner(), Place::Values, column, "u32s, u64s, s64s or f64s"));
            };
            if let Some(why) = refused(kind, value) {
                return Err(OutputError::Value { owner: owner(), place: Place::Values, row, value, why });
            }
        }
        Ok(())
    }

    /// The scopes of samples: there if and only if the metric is of scopes.
    pub fn scopes(
        &mut self,
        owner: &impl Fn() -> Owner,
        column: Option<&'o Column>,
        scoped: bool,
        rows: usize,
    ) -> Result<(), OutputError> {
        match column {
            Some(_) if !scoped => Err(OutputError::ScopesGiven { owner: owner() }),
            None if scoped => Err(OutputError::ScopesMissing { owner: owner() }),
            Some(column) => self.handles(owner, Place::Scopes, column, rows),
            None => Ok(()),
        }
    }

    /// Handles of scopes that there are. A column that is always NULL may have any form that holds numbers.
    pub fn handles(
        &mut self,
        owner: &impl Fn() -> Owner,
        place: Place,
        column: &'o Column,
        rows: usize,
    ) -> Result<(), OutputError> {
        check_form(owner, &|| place.clone(), column, rows)?;
        let Values::U32(handles) = &column.values else {
            return match (0..rows).any(|row| column.has(row)) {
                true => Err(form(owner(), place, column, "u32s, which scopes are")),
                false => Ok(()),
            };
        };
        if self.checked == Some(column) {
            return Ok(());
        }
        let unknown = |&row: &usize| column.has(row) && self.known.get(handles[row]).is_none();
        if let Some(row) = (0..rows).find(unknown) {
            return Err(OutputError::Handle { owner: owner(), place, row, handle: handles[row] });
        }
        self.checked = Some(column);
        Ok(())
    }

    /// Labels: as many as declared, of any form but floats.
    pub fn labels(
        &mut self,
        owner: &impl Fn() -> Owner,
        columns: &'o [Column],
        declared: &[Field],
        rows: usize,
    ) -> Result<(), OutputError> {
        if columns.len() != declared.len() {
            let (what, columns, declared) = ("label", columns.len(), declared.len());
            return Err(OutputError::Columns { owner: owner(), what, columns, declared });
        }
        for (column, label) in columns.iter().zip(declared) {
            let place = Place::Label(label.name.clone());
            match label.logical.as_str() {
                "scope" => self.handles(owner, place, column, rows)?,
                _ => self.text(owner, place, column, rows)?,
            }
        }
        Ok(())
    }

    /// A column whose values become text: anything but floats.
    pub fn text(
        &self,
        owner: &impl Fn() -> Owner,
        place: Place,
        column: &Column,
        rows: usize,
    ) -> Result<(), OutputError> {
        if matches!(column.values, Values::F64(_)) {
            return Err(form(owner(), place, column, "integers, addresses, codes or blobs"));
        }
        check_form(owner, &|| place.clone(), column, rows)
    }

    /// Fields of events: as many as declared, of any form.
    pub fn fields(
        &mut self,
        owner: &impl Fn() -> Owner,
        columns: &'o [Column],
        declared: &[Field],
        rows: usize,
    ) -> Result<(), OutputError> {
        if columns.len() != declared.len() {
            let (what, columns, declared) = ("field", columns.len(), declared.len());
            return Err(OutputError::Columns { owner: owner(), what, columns, declared });
        }
        for (column, field) in columns.iter().zip(declared) {
            let place = || Place::Field(field.name.clone());
            match field.logical.as_str() {
                "scope" => self.handles(owner, place(), column, rows)?,
                _ => check_form(owner, &place, column, rows)?,
            }
        }
        Ok(())
    }
}

/// Why a metric of this kind cannot have this value.
fn refused(kind: MetricKind, value: Value) -> Option<&'static str> {
    let number = value.as_f64();
    if kind == MetricKind::Info && number != 1.0 {
        Some("an info's value is 1")
    } else if number.is_nan() && kind != MetricKind::Gauge {
        Some("NaN is for gauges only")
    } else if number.is_infinite() {
        Some("it is infinite")
    } else if number < 0.0 && kind == MetricKind::Counter {
        Some("a counter only grows")
    } else {
        None
    }
}

/// Whether `column` is of `rows` rows and well formed in itself: nothing in it points past its end.
fn check_form(
    owner: &impl Fn() -> Owner,
    place: &impl Fn() -> Place,
    column: &Column,
    want: usize,
) -> Result<(), OutputError> {
    let rows = column.len();
    if let Values::Address(bytes) = &column.values
        && bytes.len() % 16 != 0
    {
        return Err(OutputError::AddressBytes { owner: owner(), place: place(), bytes: bytes.len() });
    }
    if rows != want {
        return Err(OutputError::Length { owner: owner(), place: place(), rows, want });
    }
    if let Some(present) = &column.present
        && present.0.len() < rows.div_ceil(64)
    {
        return Err(OutputError::Presence { owner: owner(), place: place(), words: present.0.len(), rows });
    }
    match &column.values {
        Values::Code { codes, names } => {
            let wrong = |&(row, &code): &(usize, &u32)| code as usize >= names.len() && column.has(row);
            match codes.iter().enumerate().find(wrong) {
                None => Ok(()),
                Some((row, &code)) => {
                    Err(OutputError::Code { owner: owner(), place: place(), row, code, names: names.len() })
                }
            }
        }
        Values::Blob { ends, bytes } => check_ends(owner, place, ends, bytes.len()),
        _ => Ok(()),
    }
}

/// The ends never fall, and the last one is the end of the bytes.
fn check_ends(
    owner: &impl Fn() -> Owner,
    place: &impl Fn() -> Place,
    ends: &[u32],
    bytes: usize,
) -> Result<(), OutputError> {
    let mut previous = 0;
    for (row, &end) in ends.iter().enumerate() {
        if end < previous || end as usize > bytes {
            return Err(OutputError::BlobEnd { owner: owner(), place: place(), row, end, previous, bytes });
        }
        previous = end;
    }
    if previous as usize != bytes {
        return Err(OutputError::BlobRest { owner: owner(), place: place(), end: previous, bytes });
    }
    Ok(())
}

fn form(owner: Owner, place: Place, column: &Column, want: &'static str) -> OutputError {
    let form = match column.values {
        Values::U32(_) => "u32s",
        Values::U64(_) => "u64s",
        Values::S64(_) => "s64s",
        Values::F64(_) => "f64s",
        Values::Address(_) => "addresses",
        Values::Code { .. } => "codes",
        Values::Blob { .. } => "blobs",
    };
    OutputError::Form { owner, place, form, want }
}
