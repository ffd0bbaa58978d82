//! A query's clauses against the tables of this node.

use super::{
    Asker, Query, QueryError,
    condition::Filter,
    error::Position,
    expr::{Aggregate, Condition, Grouping, OrderKey, Output, Source, SourceId},
    from::table,
    function::{Call, call},
    histogram::{self, Histogram},
    kernel,
    resolve::{Operand, Resolver},
    shape::{self, Clauses, Order, Shape},
    text::{self, at, at_expr},
    within::Parts,
};
use crate::{
    bpf::access::{Access, Computed},
    probe::Field,
    table::{Catalogue, Logical, Per, Type},
};
use sqlparser::ast::{Expr, FunctionArgExpr, Ident, SelectItem};
/// Checks a query's text against the tables of this node.
///
/// # Errors
///
/// What is wrong first, from left to right within a clause, with its place where the text has one.
pub fn plan(sql: &str, catalogue: &Catalogue, asker: Asker) -> Result<Query, QueryError> {
    let tree = text::parse(sql)?;
    let clauses = Clauses { sql, asker };
    of_shape(&clauses.shape(&tree)?, &clauses, catalogue)
}

/// Checks a query, or one within it, that has been taken apart.
pub(super) fn of_shape(shape: &Shape, clauses: &Clauses, catalogue: &Catalogue) -> Result<Query, QueryError> {
    for item in shape.items {
        clauses.wildcard(item)?;
    }
    let (table, hook) = table(catalogue, &shape.table)?;
    let aliases = shape.items.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.as_str()),
        _ => None,
    });
    let resolver = Resolver {
        table,
        hook,
        alias: shape.alias.map(|alias| alias.value.as_str()),
        aliases: aliases.collect(),
        columns: Vec::new(),
        sources: Vec::new(),
    };
    let planner = Planner { resolver, results: Vec::new(), grouping: Grouping::default(), histogram: None };
    planner.plan(shape, clauses, catalogue)
}

pub(super) struct Planner<'a> {
    pub resolver: Resolver<'a>,
    pub results: Vec<Item>,
    pub grouping: Grouping,
    pub histogram: Option<Histogram>,
}

/// A result column, or what results are ordered by.
#[derive(Clone)]
pub(super) struct Item {
    pub output: Output,
    pub ty: Option<Type>,
    pub field: Field,
    pub position: Option<Position>,
}

impl Planner<'_> {
    fn plan(mut self, shape: &Shape, clauses: &Clauses, catalogue: &Catalogue) -> Result<Query, QueryError> {
        for item in shape.items {
            self.select(item)?;
        }
        self.add_histogram();
        self.check_names()?;
        let parts = Parts::of(shape.filter);
        let filter = Filter { resolver: &mut self.resolver, depth: 0 }.conditions(&parts.rows)?;
        let within = parts.within.iter().map(|part| part.plan(&mut self.resolver, clauses, catalogue));
        let within = within.collect::<Result<_, _>>()?;
        let filter = self.without_null(filter);
        for expr in shape.group_by {
            let key = self.group_key(expr)?;
            if !self.grouping.keys.contains(&key) {
                self.grouping.keys.push(key);
            }
        }
        if let Some(bucket) = self.histogram.as_ref().map(|histogram| histogram.bucket)
            && !self.grouping.keys.contains(&bucket)
        {
            self.grouping.keys.push(bucket);
        }
        let grouped = !shape.group_by.is_empty() || !self.grouping.aggregates.is_empty();
        if grouped {
            self.check_grouped(shape)?;
        }
        if !grouped && self.resolver.table.per == Per::Event {
            self.check_stream(shape, filter.as_ref())?;
        }
        self.check_pointers()?;
        let order = shape.order_by.iter().map(|order| self.order_key(order, grouped)).collect::<Result<_, _>>()?;
        let per = self.resolver.table.per;
        let (filter, afterwards) = match per {
            Per::Event | Per::Pass => kernel::split(filter, &self.resolver.sources),
            Per::Namespace | Per::Node => (filter, None),
        };
        if let (Per::Event | Per::Pass, Some(filter)) = (per, &filter) {
            kernel::check(filter)?;
        }
        Ok(Query {
            table: self.resolver.table.name.clone(),
            per,
            within,
            hook: self.resolver.hook.map(|(hook, _)| hook),
            columns: self.resolver.columns,
            outputs: self.results.iter().map(|item| item.output).collect(),
            fields: self.results.into_iter().map(|item| item.field).collect(),
            sources: self.resolver.sources,
            filter,
            afterwards,
            grouping: grouped.then_some(self.grouping),
            order,
            limit: shape.limit,
        })
    }

    fn select(&mut self, item: &SelectItem) -> Result<(), QueryError> {
        let Some((expr, alias)) = shape::item(item)? else {
            for column in self.resolver.table.columns.clone() {
                // An address of the kernel never leaves the host.
                if column.ty == Type::Pointer {
                    continue;
                }
                let operand = self.resolver.table_column(column);
                self.results.push(plain(operand, None));
            }
            return Ok(());
        };
        if let Some(call) = histogram::call_of(expr)? {
            return self.histogram(&call, alias);
        }
        let mut item = self.item(expr)?;
        if let Some(alias) = alias {
            item.field.name.clone_from(&alias.value);
        }
        self.results.push(item);
        Ok(())
    }

    fn check_names(&self) -> Result<(), QueryError> {
        for (index, item) in self.results.iter().enumerate() {
            if self.results[..index].iter().any(|other| other.field.name == item.field.name) {
                let name = &item.field.name;
                let message = format!("two result columns are called `{name}`: give one another name, with AS");
                return Err(QueryError::text(item.position, message));
            }
        }
        Ok(())
    }

    /// A column or an aggregate.
    fn item(&mut self, expr: &Expr) -> Result<Item, QueryError> {
        match expr {
            Expr::Nested(inner) => return self.item(inner),
            Expr::Function(function) => {
                let call = call(function)?;
                if call.name == "histogram" {
                    return Err(histogram::elsewhere(&call));
                }
                if call.is_aggregate() {
                    return self.aggregate(&call);
                }
            }
            _ => {}
        }
        let operand = self.resolver.operand(expr)?;
        Ok(plain(operand, at_expr(expr)))
    }

    fn aggregate(&mut self, call: &Call) -> Result<Item, QueryError> {
        let position = call.position;
        if self.histogram.is_some() {
            return Err(histogram::not_alone(call));
        }
        let (aggregate, ty, field) =
            if let ("count", [FunctionArgExpr::Wildcard]) = (call.name.as_str(), &call.args[..]) {
                (Aggregate::Rows, Some(Type::U64), field("count(*)".into(), Logical::Count, false))
            } else {
                let of = self.resolver.operand(call.argument()?)?;
                let name = format!("{}({})", call.name, of.text);
                if call.name == "count" {
                    (Aggregate::Count(of.source), Some(Type::U64), field(name, Logical::Count, false))
                } else {
                    if !matches!(of.ty, None | Some(Type::U64 | Type::S64)) {
                        let message = format!("{}(x) takes integers, and `{}` is none", call.name, of.text);
                        return Err(QueryError::text(position, message));
                    }
                    let aggregate = match call.name.as_str() {
                        "min" => Aggregate::Min(of.source),
                        "max" => Aggregate::Max(of.source),
                        _ => Aggregate::Sum(of.source),
                    };
                    // A sum may overflow. A group has rows, so where all have values it has a least and a greatest one.
                    let nullable = of.nullable || matches!(aggregate, Aggregate::Sum(_));
                    (aggregate, of.ty, field(name, of.logical, nullable))
                }
            };
        let known = self.grouping.aggregates.iter().position(|other| *other == aggregate);
        let index = known.unwrap_or(self.grouping.aggregates.len());
        if known.is_none() {
            self.grouping.aggregates.push(aggregate);
        }
        Ok(Item { output: Output::Aggregate(index), ty, field, position })
    }

    /// As in PostgreSQL, a column of the table goes before an alias of the same name.
    fn group_key(&mut self, expr: &Expr) -> Result<SourceId, QueryError> {
        if let Expr::Value(_) = expr {
            return Err(QueryError::text(at_expr(expr), "GROUP BY takes names of columns, not their numbers"));
        }
        if let Expr::Identifier(name) = expr
            && self.resolver.table.column(&name.value).is_none()
            && let Some(item) = self.result(name)
        {
            return match item.output {
                Output::Source(source) => Ok(source),
                Output::Aggregate(_) => Err(grouped_by_aggregate(at_expr(expr))),
            };
        }
        match self.item(expr)?.output {
            Output::Source(source) => Ok(source),
            Output::Aggregate(_) => Err(grouped_by_aggregate(at_expr(expr))),
        }
    }

    /// As in PostgreSQL, an alias goes before a column of the table of the same name.
    fn order_key(&mut self, order: &Order, grouped: bool) -> Result<OrderKey, QueryError> {
        let Order { expr, descending, nulls_first } = *order;
        if let Expr::Value(_) = expr {
            return Err(QueryError::text(at_expr(expr), "ORDER BY takes names of columns, not their numbers"));
        }
        let result = match expr {
            Expr::Identifier(name) => self.result(name).cloned(),
            _ => None,
        };
        let item = match result {
            Some(item) => item,
            None => self.item(expr)?,
        };
        match item.output {
            Output::Aggregate(_) if !grouped => {
                let message = "an aggregate in ORDER BY needs GROUP BY, or an aggregate in the select list";
                return Err(QueryError::text(item.position, message));
            }
            Output::Source(source) if grouped && !self.same_in_group(source) => {
                return Err(not_grouped(&item));
            }
            _ => {}
        }
        let by = match (item.output, item.ty) {
            // Handles have no order that means anything; people see the names.
            (Output::Source(source), Some(Type::Scope)) => {
                Output::Source(self.resolver.source(Source::ScopeName(source)))
            }
            (output, _) => output,
        };
        Ok(OrderKey { by, descending, nulls_first })
    }

    fn result(&self, name: &Ident) -> Option<&Item> {
        self.results.iter().find(|item| item.field.name == name.value)
    }

    fn check_grouped(&mut self, shape: &Shape) -> Result<(), QueryError> {
        let star = shape.items.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
        if star {
            let message = "`*` cannot stand beside GROUP BY or aggregates: name the columns";
            return Err(QueryError::text(shape.items.iter().find_map(at_star), message));
        }
        for item in &self.results {
            if let Output::Source(source) = item.output
                && !self.same_in_group(source)
            {
                return Err(not_grouped(item));
            }
        }
        if self.grouping.keys.is_empty() {
            // The one group may have no rows: then there is no least and no greatest value either.
            for item in &mut self.results {
                if let Output::Aggregate(index) = item.output {
                    let aggregate = self.grouping.aggregates[index];
                    item.field.nullable |= matches!(aggregate, Aggregate::Min(_) | Aggregate::Max(_));
                }
            }
        }
        Ok(())
    }

    /// A stream has no end, and must not feed itself.
    fn check_stream(&self, shape: &Shape, filter: Option<&Condition>) -> Result<(), QueryError> {
        if let Some(order) = shape.order_by.first() {
            let message = "a stream has no end to be sorted at: leave ORDER BY out, or aggregate";
            return Err(QueryError::text(at_expr(order.expr), message));
        }
        if shape.limit.is_some() {
            return Err(QueryError::text(None, "a stream has no LIMIT: `netsonde query` ends with --count or --for"));
        }
        let Some((hook, _)) = self.resolver.hook.as_ref().filter(|(hook, _)| hook.is_fed_by_reader()) else {
            return Ok(());
        };
        let mut by_pid = false;
        if let Some(filter) = filter {
            filter.for_each_source(&mut |source| by_pid |= self.is_pid(source));
        }
        if by_pid {
            return Ok(());
        }
        let message = format!(
            "reading the rows of hook.{} makes more of them: add WHERE pid = ..., or aggregate with count(*)",
            hook.name
        );
        Err(QueryError::text(None, message))
    }

    fn is_pid(&self, source: SourceId) -> bool {
        let Source::Table(column) = self.resolver.sources[source] else { return false };
        let access = self.resolver.columns[column].access.as_deref();
        access == Some(&Access::Computed(Computed::Pid))
    }

    /// An address of the kernel never leaves the host.
    fn check_pointers(&self) -> Result<(), QueryError> {
        match self.results.iter().find(|item| item.ty == Some(Type::Pointer)) {
            None => Ok(()),
            Some(item) => {
                let name = &item.field.name;
                let message = format!(
                    "`{name}` is an address of the kernel, which stays in the kernel: select `{name} IS NULL`, a field of it, or name({name}) if it is code"
                );
                Err(QueryError::text(item.position, message))
            }
        }
    }

    /// Whether all rows of a group have the same value: a key, or a function of one.
    fn same_in_group(&self, source: SourceId) -> bool {
        let operands = self.resolver.sources[source].operands();
        self.grouping.keys.contains(&source)
            || !operands.is_empty() && operands.into_iter().all(|of| self.same_in_group(of))
    }
}

fn plain(operand: Operand, position: Option<Position>) -> Item {
    let Operand { source, ty, logical, nullable, text, .. } = operand;
    Item { output: Output::Source(source), ty, field: field(text, logical, nullable), position }
}

pub(super) fn field(name: String, logical: Logical, nullable: bool) -> Field {
    Field { name, logical: logical.as_str().into(), nullable, attributes: Vec::new() }
}

fn at_star(item: &SelectItem) -> Option<Position> {
    match item {
        SelectItem::Wildcard(options) => at(options.wildcard_token.0.span.start),
        _ => None,
    }
}

fn not_grouped(item: &Item) -> QueryError {
    let name = &item.field.name;
    let message = format!("`{name}` may differ within a group: name it in GROUP BY, or aggregate it");
    QueryError::text(item.position, message)
}

fn grouped_by_aggregate(position: Option<Position>) -> QueryError {
    QueryError::text(position, "an aggregate is made of groups: GROUP BY takes columns")
}
