//! From what a pass over the kernel's objects gave to a query's rows.

use super::streams::Names;
use crate::{bpf::kallsyms::Symbols, source::iter::Passed};
use netsonde_core::{
    batch::Column,
    query::{Answered, Query},
    scope::Scopes,
};

/// The query's rows.
pub fn answer(query: &Query, passed: &Passed, symbols: &mut Symbols, scopes: &Scopes) -> Answered {
    let names = Names::new(query, &passed.batch, symbols);
    let names = names.with(scopes);
    let columns: Vec<&Column> = passed.batch.columns.iter().collect();
    let answered = match &passed.partial {
        Some(partial) => query.run_groups(passed.batch.rows, &columns, partial, &names),
        None => query.run_pass(passed.batch.rows, &columns, &names),
    };
    Answered { overflows: answered.overflows + passed.overflows, ..answered }
}
