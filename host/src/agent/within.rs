//! In which namespaces a limited table is read: the answers of the queries that say so (rule 25).

use super::reads::Subquery;
use crate::source::table::TableRows;
use netsonde_core::{batch::Column, query::Naming, scope::ScopeId};
use std::collections::BTreeMap;

/// What the subqueries of a read say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Where to read, in order.
    pub scopes: Vec<ScopeId>,
    /// Where it is not known whether to read, and why.
    pub failed: Vec<(ScopeId, String)>,
    /// Values that did not fit into 64 bits.
    pub overflows: u64,
}

/// Answers all of `within` from the tables that were read. A namespace is chosen by each of them; one that any leaves out need not be
/// known to the others.
///
/// # Errors
/// If a table that is asked has failed as a whole: why.
pub fn choose(within: &[Subquery], tables: &[Result<TableRows, String>], names: &dyn Naming) -> Result<Chosen, String> {
    let (mut overflows, mut answers) = (0, Vec::new());
    for Subquery { query, binding } in within {
        let because = |why: &str| format!("{}, which says where to read, has failed: {why}", query.table);
        let table = match tables.get(binding.read) {
            Some(Ok(table)) => table,
            Some(Err(why)) => return Err(because(why)),
            None => return Err(because("it was not read")),
        };
        let columns: Vec<&Column> = binding.columns.iter().filter_map(|&at| table.batch.columns.get(at)).collect();
        let (scopes, overflowed) = query.namespaces(table.batch.rows, &columns, names);
        overflows += overflowed;
        let failed = table.failed.iter().map(|(scope, why)| (*scope, Some(because(why))));
        answers.push(failed.chain(scopes.into_iter().map(|scope| (scope, None))).collect::<BTreeMap<_, _>>());
    }
    let mut chosen = Chosen { overflows, ..Chosen::default() };
    let Some((first, others)) = answers.split_first() else { return Ok(chosen) };
    for (scope, why) in first {
        let others: Option<Vec<_>> = others.iter().map(|answer| answer.get(scope)).collect();
        let Some(others) = others else { continue };
        match [why].into_iter().chain(others).flatten().next() {
            Some(why) => chosen.failed.push((*scope, why.clone())),
            None => chosen.scopes.push(*scope),
        }
    }
    Ok(chosen)
}
