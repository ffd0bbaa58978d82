//! `netns IN (SELECT netns FROM t WHERE ...)`: a query that says in which namespaces a table is read at all (rule 25).

use super::{
    Naming, Query, QueryError,
    expr::{Grouping, Output, Source, SourceId},
    plan,
    resolve::Resolver,
    shape::{Clauses, Shape},
    text::{at_expr, at_query, at_word},
};
use crate::{
    batch::{Column, Values},
    scope::ScopeId,
    table::{Catalogue, Per, Type},
};
use sqlparser::ast::{self, BinaryOperator, Expr};

/// WHERE, taken apart at its outermost ANDs.
#[derive(Debug, Default)]
pub(super) struct Parts<'q> {
    /// Those that say where: all must agree.
    pub within: Vec<Subquery<'q>>,
    /// Those that are about rows.
    pub rows: Vec<&'q Expr>,
}

/// `left IN (SELECT ...)`, or NOT IN.
#[derive(Debug)]
pub(super) struct Subquery<'q> {
    left: &'q Expr,
    query: &'q ast::Query,
    negated: bool,
}

impl<'q> Parts<'q> {
    pub fn of(filter: Option<&'q Expr>) -> Self {
        let mut parts = Self::default();
        let mut left: Vec<&Expr> = filter.into_iter().collect();
        while let Some(part) = left.pop() {
            match part {
                Expr::BinaryOp { left: first, op: BinaryOperator::And, right: second } => {
                    left.extend([second.as_ref(), first.as_ref()]);
                }
                Expr::Nested(inner) if is_and_or_subquery(inner) => left.push(inner),
                Expr::InSubquery { expr, subquery, negated } => {
                    parts.within.push(Subquery { left: expr, query: subquery, negated: *negated });
                }
                part => parts.rows.push(part),
            }
        }
        // Most filters have none, and stay as they are.
        if parts.within.is_empty() {
            parts.rows = filter.into_iter().collect();
        }
        parts
    }
}

fn is_and_or_subquery(mut expr: &Expr) -> bool {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And, .. } | Expr::InSubquery { .. })
}

/// One that stands where it would have to be asked for each row.
pub(super) fn misplaced(expr: &Expr) -> QueryError {
    let message =
        "netns IN (SELECT ...) stands in WHERE by itself or beside AND: it says where to read, not which rows pass";
    QueryError::text(at_expr(expr), message)
}

impl Subquery<'_> {
    /// Checks it, as a part of a query over the resolver's table.
    pub fn plan(&self, resolver: &mut Resolver, clauses: &Clauses, catalogue: &Catalogue) -> Result<Query, QueryError> {
        let place = at_expr(self.left);
        if resolver.table.per != Per::Namespace {
            let message = format!(
                "{} is not read namespace by namespace, so there is nothing to leave out: filter its rows by WHERE",
                resolver.table.name
            );
            return Err(QueryError::text(place, message));
        }
        if self.negated {
            let message = "NOT IN (SELECT ...) is not supported: turn the condition within it around";
            return Err(QueryError::text(place, message));
        }
        let left = resolver.operand(self.left)?;
        if left.ty != Some(Type::Scope) || left.text != "netns" {
            let message = format!("IN (SELECT ...) takes netns on its left, not `{}`", left.text);
            return Err(QueryError::text(place, message));
        }
        let shape = clauses.shape(self.query)?;
        self.check(&shape, clauses)?;
        let mut query = plan::of_shape(&shape, clauses, catalogue)?;
        let netns = self.check_planned(&query)?;
        if query.is_pass() {
            // The kernel tells each namespace once, and not of each socket whose it is.
            query.grouping = Some(Grouping { keys: vec![netns], aggregates: Vec::new() });
        }
        Ok(query)
    }

    fn check(&self, shape: &Shape, clauses: &Clauses) -> Result<(), QueryError> {
        let whole = "the namespaces of all its rows count";
        if let Some(order) = shape.order_by.first() {
            let message = format!("a SELECT after IN has no ORDER BY: {whole}; leave it out");
            return Err(QueryError::text(at_expr(order.expr), message));
        }
        if shape.limit.is_some() {
            let message = format!("a SELECT after IN has no LIMIT: {whole}; filter with WHERE");
            return Err(QueryError::text(at_word(clauses.sql, "LIMIT"), message));
        }
        match Parts::of(shape.filter).within.first() {
            Some(nested) => {
                let message = "a SELECT after IN has none within itself: write both beside AND in the outer WHERE";
                Err(QueryError::text(at_expr(nested.left), message))
            }
            None => Ok(()),
        }
    }

    /// Where the namespaces are that it gives.
    fn check_planned(&self, query: &Query) -> Result<SourceId, QueryError> {
        let place = at_query(self.query);
        if query.grouping.is_some() {
            let message = "a SELECT after IN has no aggregates and no GROUP BY: each namespace counts once anyway";
            return Err(QueryError::text(place, message));
        }
        if query.per == Per::Event {
            let message = format!(
                "a SELECT after IN is over a table that is read before, such as proc.net.sockstat: {} is none",
                query.table
            );
            return Err(QueryError::text(place, message));
        }
        if let [Output::Source(source)] = query.outputs[..]
            && let Source::Table(column) = query.sources[source]
            && query.columns[column].ty == Type::Scope
            && query.columns[column].name == "netns"
        {
            return Ok(source);
        }
        Err(QueryError::text(place, "a SELECT after IN selects netns and nothing else: SELECT netns FROM ..."))
    }
}

impl Query {
    /// Of one of [`within`](Self::within): the namespaces that it gives, in order, and how many values of its WHERE overflowed. The rows
    /// are as for [`run`](Self::run).
    pub fn namespaces(&self, rows: usize, columns: &[&Column], names: &dyn Naming) -> (Vec<ScopeId>, u64) {
        let answered = match self.is_pass() {
            true => self.run_groups(rows, columns, &[], names),
            false => self.run(rows, columns, names),
        };
        let mut scopes = match answered.batch.columns.first() {
            Some(column @ Column { values: Values::U32(scopes), .. }) => {
                (0..scopes.len()).filter(|&row| column.has(row)).map(|row| scopes[row]).collect()
            }
            _ => Vec::new(),
        };
        scopes.sort_unstable();
        scopes.dedup();
        (scopes, answered.overflows)
    }
}
