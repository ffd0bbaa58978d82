//! A syntax tree taken apart, clause by clause. Every field of the tree is named here, so that a clause that we do not support, or that
//! a newer parser adds, is refused and never ignored.

use super::{
    Asker,
    error::QueryError,
    text::{at, at_expr, at_name, at_word, shorten},
};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, LimitClause, ObjectName, OrderBy, OrderByExpr, OrderByKind, OrderByOptions,
    OrderBySort, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, Value,
};

/// The clauses of a query that are supported.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    pub items: &'a [SelectItem],
    pub table: Vec<&'a Ident>,
    pub alias: Option<&'a Ident>,
    pub filter: Option<&'a Expr>,
    pub group_by: &'a [Expr],
    pub order_by: Vec<Order<'a>>,
    pub limit: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Order<'a> {
    pub expr: &'a Expr,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Takes a query apart; its text is there to say where a clause stands.
pub(super) struct Clauses<'a> {
    pub sql: &'a str,
    pub asker: Asker,
}

impl Clauses<'_> {
    pub fn shape<'q>(&self, query: &'q Query) -> Result<Shape<'q>, QueryError> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        self.refuse(with.is_some(), "WITH", "write one SELECT over one table")?;
        let mut shape = self.body(body)?;
        self.refuse(fetch.is_some(), "FETCH", "write LIMIT")?;
        self.refuse(!locks.is_empty() || for_clause.is_some(), "FOR", "leave it out")?;
        self.refuse(settings.is_some(), "SETTINGS", "leave it out")?;
        self.refuse(format_clause.is_some(), "FORMAT", "leave it out")?;
        if !pipe_operators.is_empty() {
            return Err(QueryError::text(None, "`|>` is not supported: write WHERE, GROUP BY and the like"));
        }
        shape.order_by = order_by.as_ref().map_or(Ok(Vec::new()), |order_by| self.order_by(order_by))?;
        shape.limit = limit_clause.as_ref().map_or(Ok(None), |limit| self.limit(limit))?;
        Ok(shape)
    }

    fn refuse(&self, found: bool, word: &str, instead: &str) -> Result<(), QueryError> {
        if found { Err(self.refused(word, instead)) } else { Ok(()) }
    }

    /// `word` is both the clause's name and where it is found: its first word.
    fn refused(&self, word: &str, instead: &str) -> QueryError {
        let first = word.split(' ').next().unwrap_or(word);
        QueryError::text(at_word(self.sql, first), format!("{word} is not supported: {instead}"))
    }

    fn for_people(&self, word: &str, why: &str) -> Result<(), QueryError> {
        match self.asker {
            Asker::Person => Ok(()),
            Asker::Probe => {
                let first = word.split(' ').next().unwrap_or(word);
                Err(QueryError::text(at_word(self.sql, first), format!("{word} is for people, not for probes: {why}")))
            }
        }
    }

    fn body<'q>(&self, body: &'q SetExpr) -> Result<Shape<'q>, QueryError> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { op, .. } => Err(self.refused(&op.to_string(), "write a query for each part")),
            SetExpr::Query(_)
            | SetExpr::Values(_)
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => Err(QueryError::text(None, "a query is one SELECT over one table")),
        }
    }

    fn select<'q>(&self, select: &'q Select) -> Result<Shape<'q>, QueryError> {
        let Select {
            select_token,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let begin = at(select_token.0.span.start);
        match distinct {
            Some(Distinct::All) => return Err(self.refused("ALL", "leave it out")),
            Some(_) => return Err(self.refused("DISTINCT", "name the columns in GROUP BY to get each row once")),
            None => {}
        }
        self.refuse(having.is_some(), "HAVING", "take the groups that you want from the result")?;
        self.refuse(into.is_some(), "INTO", "leave it out")?;
        self.refuse(!named_window.is_empty(), "WINDOW", "use GROUP BY")?;
        self.refuse(qualify.is_some(), "QUALIFY", "use WHERE")?;
        self.refuse(top.is_some(), "TOP", "write LIMIT at the end")?;
        self.refuse(prewhere.is_some(), "PREWHERE", "use WHERE")?;
        self.refuse(exclude.is_some(), "EXCLUDE", "name the columns that you want")?;
        self.refuse(!lateral_views.is_empty(), "LATERAL", "leave it out")?;
        self.refuse(!connect_by.is_empty(), "CONNECT BY", "leave it out")?;
        self.refuse(!cluster_by.is_empty(), "CLUSTER BY", "leave it out")?;
        self.refuse(!distribute_by.is_empty(), "DISTRIBUTE BY", "leave it out")?;
        self.refuse(!sort_by.is_empty(), "SORT BY", "use ORDER BY")?;
        let standard = matches!(flavor, SelectFlavor::Standard);
        if !standard || value_table_mode.is_some() || select_modifiers.is_some() || !optimizer_hints.is_empty() {
            return Err(QueryError::text(begin, "only the plain form is supported: SELECT columns FROM table"));
        }
        if projection.is_empty() {
            return Err(QueryError::text(begin, "no columns are selected: name them between SELECT and FROM"));
        }
        let (table, alias) = self.from(from, begin)?;
        let group_by = self.group_by(group_by)?;
        Ok(Shape {
            items: projection,
            table,
            alias,
            filter: selection.as_ref(),
            group_by,
            order_by: Vec::new(),
            limit: None,
        })
    }

    fn from<'q>(
        &self,
        from: &'q [TableWithJoins],
        begin: Option<super::Position>,
    ) -> Result<(Vec<&'q Ident>, Option<&'q Ident>), QueryError> {
        let join = "a query reads one table: write a query for each";
        match from {
            [] => Err(QueryError::text(
                begin,
                "FROM is missing: say which table to ask, as in SELECT * FROM proc.net.dev",
            )),
            [TableWithJoins { relation, joins }] => {
                if !joins.is_empty() {
                    // Such as CROSS APPLY: one that says JOIN does not get as far as this.
                    return Err(QueryError::text(
                        at_word(self.sql, "APPLY").or(begin),
                        format!("joins are not supported: {join}"),
                    ));
                }
                self.table(relation)
            }
            [_, second, ..] => {
                let place = match &second.relation {
                    TableFactor::Table { name, .. } => name.0.first().and_then(|part| part.as_ident()),
                    _ => None,
                };
                let place = place.and_then(|name| at(name.span.start)).or_else(|| at_word(self.sql, "FROM"));
                Err(QueryError::text(place, format!("several tables are not supported: {join}")))
            }
        }
    }

    fn table<'q>(&self, relation: &'q TableFactor) -> Result<(Vec<&'q Ident>, Option<&'q Ident>), QueryError> {
        let here = |message: &str| QueryError::text(at_word(self.sql, "FROM"), message);
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } = relation
        else {
            return Err(match relation {
                TableFactor::Derived { .. } => here("a SELECT in FROM is not supported: ask the table itself"),
                _ => here("FROM takes the name of one table, as in FROM proc.net.dev"),
            });
        };
        let names = name_parts(name).ok_or_else(|| here("FROM takes the name of one table"))?;
        let place = names.first().and_then(|name| at(name.span.start));
        if args.is_some() {
            let message =
                format!("`{}` is called like a function: write the table's name alone", shorten(&joined(&names)));
            return Err(QueryError::text(place, message));
        }
        if sample.is_some() || version.is_some() || *with_ordinality || json_path.is_some() {
            return Err(QueryError::text(place, "FROM takes a table's name and an alias, nothing more"));
        }
        if !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
            return Err(QueryError::text(place, "hints after a table's name are not supported: leave them out"));
        }
        let Some(alias) = alias else { return Ok((names, None)) };
        let TableAlias { explicit: _, name: alias, columns, at: index } = alias;
        if !columns.is_empty() || index.is_some() {
            let message = "columns are renamed in the select list (x AS y), not after the table";
            return Err(QueryError::text(at(alias.span.start), message));
        }
        Ok((names, Some(alias)))
    }

    fn group_by<'q>(&self, group_by: &'q GroupByExpr) -> Result<&'q [Expr], QueryError> {
        match group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => Ok(exprs),
            GroupByExpr::Expressions(..) => Err(self.refused("WITH", "GROUP BY takes columns only")),
            GroupByExpr::All(_) => Err(self.refused("GROUP BY ALL", "name the columns")),
        }
    }

    fn order_by<'q>(&self, order_by: &'q OrderBy) -> Result<Vec<Order<'q>>, QueryError> {
        self.for_people("ORDER BY", "a probe's rows have no order; leave it out")?;
        let OrderBy { kind, interpolate } = order_by;
        self.refuse(interpolate.is_some(), "INTERPOLATE", "leave it out")?;
        match kind {
            OrderByKind::All(_) => Err(self.refused("ORDER BY ALL", "name the columns")),
            OrderByKind::Expressions(exprs) => exprs.iter().map(|expr| self.order(expr)).collect(),
        }
    }

    fn order<'q>(&self, order: &'q OrderByExpr) -> Result<Order<'q>, QueryError> {
        let OrderByExpr { expr, options: OrderByOptions { sort, nulls_first }, with_fill } = order;
        self.refuse(with_fill.is_some(), "FILL", "leave it out")?;
        let descending = match sort {
            None | Some(OrderBySort::Asc) => false,
            Some(OrderBySort::Desc) => true,
            Some(OrderBySort::Using(_)) => return Err(self.refused("USING", "write ASC or DESC")),
        };
        // As in PostgreSQL, NULL counts as greater than every value.
        Ok(Order { expr, descending, nulls_first: nulls_first.unwrap_or(descending) })
    }

    fn limit(&self, clause: &LimitClause) -> Result<Option<usize>, QueryError> {
        let (limit, offset, limit_by) = match clause {
            LimitClause::LimitOffset { limit, offset, limit_by } => {
                (limit.as_ref(), offset.is_some(), limit_by.as_slice())
            }
            LimitClause::OffsetCommaLimit { offset: _, limit } => (Some(limit), true, [].as_slice()),
        };
        self.refuse(offset, "OFFSET", "the table may have changed before the next page; take all rows, or filter")?;
        if !limit_by.is_empty() {
            return Err(QueryError::text(at_word(self.sql, "LIMIT"), "LIMIT takes a number, and no BY"));
        }
        let Some(limit) = limit else { return Ok(None) };
        self.for_people("LIMIT", "what is counted from a part of the rows is wrong; filter with WHERE")?;
        let number = match limit {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, false) => digits.parse().ok(),
                _ => None,
            },
            _ => None,
        };
        let wrong = || QueryError::text(at_expr(limit), "LIMIT takes a whole number, as in LIMIT 10");
        number.ok_or_else(wrong).map(Some)
    }

    /// `*` in the select list.
    pub fn wildcard(&self, item: &SelectItem) -> Result<(), QueryError> {
        let (place, options) = match item {
            SelectItem::QualifiedWildcard(_, options) => (at(options.wildcard_token.0.span.start), options),
            SelectItem::Wildcard(options) => (at(options.wildcard_token.0.span.start), options),
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } | SelectItem::ExprWithAliases { .. } => {
                return Ok(());
            }
        };
        let sqlparser::ast::WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        if self.asker == Asker::Probe {
            let message = "SELECT * is for people, not for probes: its columns differ by kernel; name the columns";
            return Err(QueryError::text(place, message));
        }
        let changed = opt_ilike.is_some() || opt_exclude.is_some() || opt_except.is_some();
        if changed || opt_replace.is_some() || opt_rename.is_some() || opt_alias.is_some() {
            return Err(QueryError::text(place, "`*` stands alone: to change its columns, name those that you want"));
        }
        if let SelectItem::QualifiedWildcard(..) = item {
            return Err(QueryError::text(place, "write `*` without a table before it: there is only one table"));
        }
        Ok(())
    }
}

/// None if a part is no name.
pub(super) fn name_parts(name: &ObjectName) -> Option<Vec<&Ident>> {
    name.0.iter().map(|part| part.as_ident()).collect()
}

/// `proc.net.dev`, as tables and columns are called.
pub(super) fn joined(names: &[&Ident]) -> String {
    names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join(".")
}

/// The alias of `expr AS alias`, with refusal of forms that name several.
pub(super) fn item(item: &SelectItem) -> Result<Option<(&Expr, Option<&Ident>)>, QueryError> {
    match item {
        SelectItem::UnnamedExpr(expr) => Ok(Some((expr, None))),
        SelectItem::ExprWithAlias { expr, alias } if alias.value.is_empty() => {
            Err(QueryError::text(at_expr(expr), "an alias may not be empty"))
        }
        SelectItem::ExprWithAlias { expr, alias } => Ok(Some((expr, Some(alias)))),
        SelectItem::ExprWithAliases { expr: _, aliases } => {
            Err(QueryError::text(at_name(aliases), "a column has one alias: write x AS y"))
        }
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => Ok(None),
    }
}
