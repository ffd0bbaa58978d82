//! A probe's queries answered from what the kernel gave in this collection.

use crate::{
    agent::{
        counts::Counts,
        kernel::{KernelError, Look},
        passes,
        reads::Binding,
        slot::Planned,
    },
    bpf::kallsyms::Symbols,
    source::iter::PassId,
};
use netsonde_core::{
    batch::{Batch, Column, Values},
    probe::Answer,
    query::{Answered, Query},
    scope::{ScopeId, Scopes},
};

/// What an answer may hold; a query that gives more has failed.
const MAX_ROWS: usize = 65_536;
const MAX_BYTES: usize = 4 << 20;

/// What the kernel gave, and what things are called.
pub(super) struct Given<'a> {
    pub look: &'a Result<Look, KernelError>,
    pub counts: Option<&'a Counts>,
    pub symbols: &'a mut Symbols,
    pub scopes: &'a Scopes,
}

impl Given<'_> {
    /// The answers of a probe's queries but streams, and how many values overflowed in them (rule 21).
    pub fn answers(&mut self, queries: &[Planned]) -> (Vec<Answer>, u64) {
        let mut overflows = 0;
        let mut answers = Vec::with_capacity(queries.len());
        for (index, planned) in queries.iter().enumerate() {
            let mut failed_scopes = Vec::new();
            let answered = match planned {
                Planned::Runs(query, binding) => self.table(query, binding, &mut failed_scopes),
                Planned::Passed(query, pass) => self.passed(query, *pass),
                Planned::Hooked(query, hook) if !query.is_stream() => match self.counts {
                    Some(counts) => counts.answer(query, *hook, self.scopes),
                    None => Err("nothing was counted".to_owned()),
                },
                Planned::Hooked(..) | Planned::Absent(_) => continue,
            };
            let result = answered.and_then(|answered| {
                overflows += answered.overflows;
                bounded(answered.batch)
            });
            answers.push(Answer { query: index as u32, result, failed_scopes });
        }
        (answers, overflows)
    }

    fn look(&self) -> Result<&Look, String> {
        self.look.as_ref().map_err(ToString::to_string)
    }

    fn table(&self, query: &Query, binding: &Binding, failed: &mut Vec<ScopeId>) -> Result<Answered, String> {
        let tables = &self.look()?.collected.tables;
        let table = tables.get(binding.read).ok_or("the table was not read")?.as_ref().map_err(Clone::clone)?;
        failed.extend(table.failed.iter().map(|(scope, _)| *scope));
        let columns: Vec<&Column> =
            binding.columns.iter().filter_map(|&column| table.batch.columns.get(column)).collect();
        let answered = query.run(table.batch.rows, &columns, self.scopes);
        Ok(Answered { overflows: answered.overflows + table.overflows, ..answered })
    }

    fn passed(&mut self, query: &Query, pass: PassId) -> Result<Answered, String> {
        let look = self.look.as_ref().map_err(ToString::to_string)?;
        let passed = look.passed.get(&pass).ok_or("no pass was made")?.as_ref().map_err(Clone::clone)?;
        Ok(passes::answer(query, passed, self.symbols, self.scopes))
    }
}

/// Refuses what is too much for one call.
fn bounded(batch: Batch) -> Result<Batch, String> {
    let bytes: usize = batch.columns.iter().map(|column| bytes(&column.values)).sum();
    if batch.rows > MAX_ROWS || bytes > MAX_BYTES {
        return Err(format!(
            "{} rows of {bytes} bytes in all; a probe is given at most {MAX_ROWS} rows and {MAX_BYTES} bytes: \
             use GROUP BY, or a WHERE that leaves fewer",
            batch.rows
        ));
    }
    Ok(batch)
}

fn bytes(values: &Values) -> usize {
    match values {
        Values::U32(v) => v.len() * 4,
        Values::U64(v) => v.len() * 8,
        Values::S64(v) => v.len() * 8,
        Values::F64(v) => v.len() * 8,
        Values::Address(v) => v.len(),
        Values::Code { codes, names } => codes.len() * 4 + names.iter().map(String::len).sum::<usize>(),
        Values::Blob { ends, bytes } => ends.len() * 4 + bytes.len(),
    }
}
