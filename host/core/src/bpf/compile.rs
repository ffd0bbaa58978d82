//! A checked query over a tracepoint, or over the kernel's objects, to a program.
//!
//! Every program has the same course: count the run, take the time of some runs, find the object (in a pass), leave if the filter is not
//! true, and then either write a record (a stream into the ring, as far as its namespace has tokens) or add to a group (an aggregate).

mod ahead;
mod arithmetic;
mod emit;
mod filter;
mod groups;
mod packet;
mod pass;
mod paths;
mod range;
mod rows;
mod socket;
mod value;

use super::{
    access::Access,
    asm::TooLong,
    program::{Program, Writes},
    record::{Cell, Form, KEY_HEAD_BYTES, head},
};
use crate::{
    query::{
        Query,
        expr::{Aggregate, Output, Source, SourceId},
    },
    table::{TableColumn, Type},
};
use emit::Emit;

pub use groups::{OVERFLOWED, Partial};

/// What the configuration says of a query's budget in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rows a second and namespace.
    pub rate: u32,
    /// Rows of a namespace at once, after a while without any.
    pub burst: u32,
    /// Stacks a second, of all namespaces together; 0: rows have none.
    pub stacks: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { rate: 100, burst: 1000, stacks: 0 }
    }
}

/// A program, and how to read what it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub program: Program,
    /// Where each column of the query is in a record, or in the key of a group; None: only the kernel looks at it.
    pub cells: Vec<Option<Cell>>,
    /// Where each aggregate is in the value of a group.
    pub partials: Vec<Partial>,
}

/// Why a query cannot be made into a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("this condition cannot be tested in the kernel: {0}")]
    Condition(&'static str),
    #[error("the query has {0} columns; a program can tell of {MAX_COLUMNS} whether they are there: select fewer")]
    Columns(usize),
    #[error("{what} takes {bytes} bytes of the {room} that a program has: select fewer or shorter columns")]
    Stack { what: &'static str, bytes: usize, room: usize },
    #[error(transparent)]
    TooLong(#[from] TooLong),
    #[error("{0} is no table of the kernel's")]
    NoHook(String),
}

/// One bit each, in a word.
const MAX_COLUMNS: usize = 64;

/// Makes the program of a query. The same query on the same kernel gives the same program.
///
/// # Errors
/// If the query asks for more than a program can do.
pub fn compile(query: &Query, budget: Budget) -> Result<Compiled, CompileError> {
    let hook = query.hook.as_deref().ok_or_else(|| CompileError::NoHook(query.table.clone()))?;
    if query.columns.len() > MAX_COLUMNS {
        return Err(CompileError::Columns(query.columns.len()));
    }
    let cells = cells(query);
    let used: Vec<&Access> = query.columns.iter().filter_map(|column| column.access.as_deref()).collect();
    let mut emit = Emit::new(hook, &used);
    emit.begin();
    if let Some(pass) = hook.pass() {
        emit.object(pass);
    }
    if let Some(filter) = &query.filter {
        let mut columns = Vec::new();
        filter.for_each_source(&mut |source| columns.extend(query.column_of(source)));
        emit.prepare(columns.iter().filter_map(|&column| query.columns[column].access.as_deref()));
        emit.filter(query, filter)?;
    }
    let mut partials = Vec::new();
    let writes = match &query.grouping {
        None if query.is_pass() => {
            emit.prepare_cells(query, &cells);
            emit.pass_rows(query, &cells)
        }
        None => emit.rows(query, &cells, budget),
        Some(grouping) => {
            emit.prepare_cells(query, &cells);
            partials = groups::partials(query, &grouping.aggregates);
            emit.groups(query, grouping, &cells, &partials)
        }
    };
    let (code, patches) = emit.end()?;
    if let Writes::Records { bytes } = writes
        && bytes > MAX_RECORD
    {
        return Err(CompileError::Stack { what: "a row", bytes, room: MAX_RECORD });
    }
    let (table, attach_btf_id) = (hook.table_name(), hook.attach_btf_id);
    Ok(Compiled { program: Program { table, attach_btf_id, code, patches, writes }, cells, partials })
}

/// Rows beyond this would fill the ring too soon.
const MAX_RECORD: usize = 4096;

/// How much of a column the host needs.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Need {
    Nothing,
    /// Whether there is a value.
    Presence,
    Value,
}

/// Lays the columns out that the host needs.
fn cells(query: &Query) -> Vec<Option<Cell>> {
    let needs = needs(query);
    // Only what goes into the ring has a head.
    let bare = query.grouping.is_some() || query.is_pass();
    let mut next = if bare { KEY_HEAD_BYTES } else { head::BYTES };
    let mut cells = Vec::with_capacity(needs.len());
    for (index, (column, need)) in query.columns.iter().zip(needs).enumerate() {
        if need == Need::Nothing {
            cells.push(None);
            continue;
        }
        let form = if need == Need::Value { form(column) } else { Form::Bit };
        if let (false, Some(offset)) = (bare, in_head(column)) {
            cells.push(Some(Cell { offset, bit: None, form }));
            continue;
        }
        // Whether there is a namespace its cookie tells.
        let bit = (!matches!(form, Form::Netns | Form::Owner)).then_some(index as u32);
        cells.push(Some(Cell { offset: next, bit, form }));
        next += form.room();
    }
    cells
}

fn form(column: &TableColumn) -> Form {
    use super::access::{Computed, Read};
    match (column.ty, column.access.as_deref()) {
        (_, Some(Access::Computed(Computed::Owner))) => Form::Owner,
        (Type::Scope, _) => Form::Netns,
        (Type::Address, _) => Form::Bytes(16),
        (_, Some(Access::Computed(Computed::Comm))) => Form::Bytes(value::COMM_BYTES),
        (_, Some(Access::Path(path))) => match path.read {
            Read::Bytes { length, .. } => Form::Bytes(length),
            _ => Form::Number,
        },
        _ => Form::Number,
    }
}

/// What every record has in its head anyway.
fn in_head(column: &TableColumn) -> Option<u32> {
    use super::access::Computed;
    match column.access.as_deref() {
        Some(Access::Computed(Computed::Time)) => Some(head::TIME as u32),
        Some(Access::Computed(Computed::Netns)) => Some(head::NETNS as u32),
        _ => None,
    }
}

fn needs(query: &Query) -> Vec<Need> {
    let mut needs = vec![Need::Nothing; query.columns.len()];
    let mut need = |source: SourceId| {
        let wanted = if matches!(query.sources[source], Source::IsNull { .. }) { Need::Presence } else { Need::Value };
        if let Some(column) = query.column_of(source)
            && needs[column] < wanted
        {
            // Of a namespace the value is how its presence is known.
            let netns = query.columns[column].ty == Type::Scope;
            needs[column] = if netns { Need::Value } else { wanted };
        }
    };
    match &query.grouping {
        Some(grouping) => grouping.keys.iter().for_each(|&key| need(key)),
        None => query.outputs.iter().for_each(|output| match output {
            Output::Source(source) => need(*source),
            Output::Aggregate(_) => {}
        }),
    }
    if let Some(afterwards) = &query.afterwards {
        afterwards.for_each_source(&mut need);
    }
    needs
}

/// The column that an aggregate is of.
fn aggregated(query: &Query, aggregate: Aggregate) -> Option<&TableColumn> {
    match aggregate {
        Aggregate::Rows => None,
        Aggregate::Count(source) | Aggregate::Sum(source) | Aggregate::Min(source) | Aggregate::Max(source) => {
            query.column_of(source).map(|column| &query.columns[column])
        }
    }
}
