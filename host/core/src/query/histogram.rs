//! `histogram(x)` (rules 14 and 23), as what a query can do already: grouped by the bucket of x, it counts the rows and sums x up.

use super::{
    error::{Position, QueryError},
    expr::{Aggregate, Condition, Output, Source, SourceId},
    function::{Call, call},
    plan::{Item, Planner, field},
};
use crate::{
    bpf::access::Access,
    table::{Logical, TableColumn, Type},
};
use sqlparser::ast::{Expr, Ident};
use std::sync::Arc;

/// The histogram of a query.
pub(super) struct Histogram {
    of: SourceId,
    ty: Option<Type>,
    logical: Logical,
    nullable: bool,
    /// A key of its groups.
    pub bucket: SourceId,
    position: Option<Position>,
}

/// The call, where an item of the select list is `histogram(..)`.
pub(super) fn call_of(mut expr: &Expr) -> Result<Option<Call<'_>>, QueryError> {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    match expr {
        Expr::Function(function) => Ok(Some(call(function)?).filter(|call| call.name == "histogram")),
        _ => Ok(None),
    }
}

pub(super) fn not_alone(call: &Call) -> QueryError {
    let message =
        "histogram(x) is the only aggregate of its query; its columns count and sum come with it: make it two queries";
    QueryError::text(call.position, message)
}

pub(super) fn elsewhere(call: &Call) -> QueryError {
    QueryError::text(call.position, "histogram(x) stands in the select list: here name bucket, count or sum of it")
}

impl Planner<'_> {
    /// Takes the histogram in; its columns come after all others.
    pub fn histogram(&mut self, call: &Call, alias: Option<&Ident>) -> Result<(), QueryError> {
        if let Some(alias) = alias {
            let place = super::text::at(alias.span.start);
            let message = "histogram(x) makes three columns, bucket, count and sum: leave the alias out";
            return Err(QueryError::text(place, message));
        }
        if self.histogram.is_some() || !self.grouping.aggregates.is_empty() {
            return Err(not_alone(call));
        }
        let of = self.resolver.operand(call.argument()?)?;
        let text = format!("histogram({})", of.text);
        let bucket = match of.ty {
            None => self.resolver.missing(text).source,
            Some(Type::U64 | Type::S64) => match self.read_in_kernel(of.source) {
                Some(access) => {
                    let access = Some(Arc::new(Access::Bucket { of: access, signed: of.ty == Some(Type::S64) }));
                    let column = TableColumn::new(text, Type::U64, Logical::Count);
                    self.resolver.table_column(TableColumn { nullable: of.nullable, access, ..column }).source
                }
                None => self.resolver.source(Source::Bucket(of.source)),
            },
            Some(_) => {
                let message = format!("histogram(x) takes integers, and `{}` is none", of.text);
                return Err(QueryError::text(call.position, message));
            }
        };
        let (of, ty, logical, nullable, position) = (of.source, of.ty, of.logical, of.nullable, call.position);
        self.histogram = Some(Histogram { of, ty, logical, nullable, bucket, position });
        self.resolver.aliases.push("bucket");
        Ok(())
    }

    /// How the kernel has a column, if this one is of a table in the kernel.
    fn read_in_kernel(&self, source: SourceId) -> Option<Arc<Access>> {
        match self.resolver.sources[source] {
            Source::Table(column) => self.resolver.columns[column].access.clone(),
            _ => None,
        }
    }

    /// Adds its three columns to the result.
    pub fn add_histogram(&mut self) {
        let Some(Histogram { of, ty, logical, bucket, position, .. }) = self.histogram else { return };
        self.grouping.aggregates = vec![Aggregate::Rows, Aggregate::Sum(of)];
        let count = |name: &str| field(name.into(), Logical::Count, false);
        for (output, ty, field) in [
            (Output::Source(bucket), Some(Type::U64), count("bucket")),
            (Output::Aggregate(0), Some(Type::U64), count("count")),
            // It may overflow.
            (Output::Aggregate(1), ty, field("sum".into(), logical, true)),
        ] {
            self.results.push(Item { output, ty, field, position });
        }
    }

    /// A histogram leaves NULL out.
    pub fn without_null(&self, filter: Option<Condition>) -> Option<Condition> {
        let Some(Histogram { of, nullable: true, .. }) = self.histogram else { return filter };
        let has_value = Condition::Not(Box::new(Condition::IsNull(of)));
        Some(match filter {
            None => has_value,
            Some(Condition::All(mut parts)) => {
                parts.push(has_value);
                Condition::All(parts)
            }
            Some(other) => Condition::All(vec![other, has_value]),
        })
    }
}
