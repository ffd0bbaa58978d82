//! One value of a batch, for people and for scripts.

use netsonde_core::{
    batch::{Batch, Values},
    probe::Field,
    scope::Scopes,
};
use serde_json::{Map, Value};
use std::{fmt::Write, net::Ipv6Addr};

/// A row as an object.
pub fn json(fields: &[Field], batch: &Batch, row: usize, scopes: &Scopes) -> Value {
    let value = |(column, field): (usize, &Field)| (field.name.clone(), value(field, batch, column, row, scopes));
    Value::Object(fields.iter().enumerate().map(value).collect::<Map<_, _>>())
}

/// A value as text; NULL as `NULL`.
pub fn text(fields: &[Field], batch: &Batch, column: usize, row: usize, scopes: &Scopes) -> String {
    match value(&fields[column], batch, column, row, scopes) {
        Value::Null => "NULL".into(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A scope under the name that people know, an address as RFC 5952 says, bytes in hexadecimal.
fn value(field: &Field, batch: &Batch, column: usize, row: usize, scopes: &Scopes) -> Value {
    let column = &batch.columns[column];
    if !column.has(row) {
        return Value::Null;
    }
    match (&column.values, field.logical.as_str()) {
        (Values::U32(v), "scope") => scopes.name(v[row]).into(),
        (Values::U32(v), "bool") => (v[row] != 0).into(),
        (Values::U32(v), _) => v[row].into(),
        (Values::U64(v), _) => v[row].into(),
        (Values::S64(v), _) => v[row].into(),
        (Values::F64(v), _) => v[row].into(),
        (Values::Code { .. }, _) => column.text(row).into(),
        (Values::Address(bytes), _) => {
            let address = bytes[row * 16..].first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).to_canonical());
            address.map(|address| address.to_string()).into()
        }
        (Values::Blob { ends, bytes }, _) => {
            let begin = if row == 0 { 0 } else { ends[row - 1] };
            hexadecimal(&bytes[begin as usize..ends[row] as usize]).into()
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
