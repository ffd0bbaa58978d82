//! FROM: a table by its name.

use super::{
    QueryError,
    shape::joined,
    text::{at, shorten},
};
use crate::{
    bpf::{btf::Btf, hook::Hook},
    nearest::did_you_mean,
    table::{Catalogue, Table},
};
use sqlparser::ast::Ident;
use std::{borrow::Cow, sync::Arc};

/// A table, and the tracepoint that it is.
pub(super) type Found<'a> = (Cow<'a, Table>, Option<(Arc<Hook>, &'a Btf)>);

/// The table that FROM names.
pub(super) fn table<'a>(catalogue: &'a Catalogue, names: &[&Ident]) -> Result<Found<'a>, QueryError> {
    let name = joined(names);
    let place = names.first().and_then(|name| at(name.span.start));
    if let Some(found) = catalogue.hooks.find_table(&name) {
        let (hook, btf) = found.map_err(|error| QueryError::absent(place, error.message))?;
        return Ok((Cow::Owned(hook.table(btf)), Some((Arc::new(hook), btf))));
    }
    if let Some(table) = catalogue.table(&name) {
        return Ok((Cow::Borrowed(table), None));
    }
    if let Some(absent) = catalogue.absent.iter().find(|absent| absent.name == name) {
        return Err(QueryError::absent(place, format!("this node cannot give {name}: {}", absent.why)));
    }
    let hint = did_you_mean(&name, catalogue.tables.iter().map(|table| table.name.as_str()));
    Err(QueryError::absent(place, format!("no table `{}` on this node{hint}", shorten(&name))))
}
