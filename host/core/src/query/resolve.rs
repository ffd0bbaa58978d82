//! Names in a query to columns of its table, and the functions that stand for a column: `name(x)` and `maybe(x)`.

use super::{
    error::{Position, QueryError},
    expr::{Source, SourceId},
    shape::{joined, name_parts},
    text::{at, at_expr, shorten},
};
use crate::{
    nearest::did_you_mean,
    table::{Logical, Table, TableColumn, Type},
};
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
};

/// Every function of the language. They are keywords: unlike names they may be written in any case.
const FUNCTIONS: [&str; 6] = ["count", "max", "maybe", "min", "name", "sum"];

/// Finds columns, and keeps account of those that a query uses.
pub(super) struct Resolver<'a> {
    pub table: &'a Table,
    /// The alias of the table in FROM.
    pub alias: Option<&'a str>,
    /// Aliases of the select list, for messages.
    pub aliases: Vec<&'a str>,
    pub columns: Vec<TableColumn>,
    pub sources: Vec<Source>,
}

/// A column in an expression.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub source: SourceId,
    /// None: this node has no such column, it is always NULL.
    pub ty: Option<Type>,
    pub logical: Logical,
    pub nullable: bool,
    /// In its one spelling: `TCP.inuse`, `name(netns)`, `x IS NULL`.
    pub text: String,
}

/// A function's name in lower case, and what stands between its parentheses.
pub(super) struct Call<'q> {
    pub name: String,
    pub args: Vec<&'q FunctionArgExpr>,
    pub position: Option<Position>,
}

impl Call<'_> {
    /// What is counted, summed or named: the one argument.
    pub fn argument(&self) -> Result<&Expr, QueryError> {
        match self.args.as_slice() {
            [FunctionArgExpr::Expr(expr)] => Ok(expr),
            _ => {
                let message = format!("{}(x) takes one column", self.name);
                Err(QueryError::text(self.position, message))
            }
        }
    }

    pub fn is_aggregate(&self) -> bool {
        matches!(self.name.as_str(), "count" | "sum" | "min" | "max")
    }
}

impl<'a> Resolver<'a> {
    /// A column, or a function of one. Everything else is refused.
    pub fn operand(&mut self, expr: &Expr) -> Result<Operand, QueryError> {
        match expr {
            Expr::Nested(inner) => self.operand(inner),
            Expr::Identifier(name) => self.column(&[name]),
            Expr::CompoundIdentifier(names) => self.column(&names.iter().collect::<Vec<_>>()),
            Expr::Function(function) => self.function(&call(function)?),
            Expr::IsNull(inner) => self.is_null(inner, false),
            Expr::IsNotNull(inner) => self.is_null(inner, true),
            _ => Err(unsupported(expr)),
        }
    }

    fn function(&mut self, call: &Call) -> Result<Operand, QueryError> {
        match call.name.as_str() {
            "name" => self.name_of(call),
            "maybe" => self.maybe(call.argument()?),
            name => {
                let message = format!(
                    "{name}(..) is of many rows: it stands in the select list by itself, not in WHERE, not within (..)"
                );
                Err(QueryError::text(call.position, message))
            }
        }
    }

    fn name_of(&mut self, call: &Call) -> Result<Operand, QueryError> {
        let of = self.operand(call.argument()?)?;
        let text = format!("name({})", of.text);
        let named = |source, ty| Operand { source, ty, logical: Logical::Name, nullable: true, text };
        match of.ty {
            Some(Type::Scope) => Ok(named(self.source(Source::ScopeName(of.source)), Some(Type::Text))),
            None => Ok(named(of.source, None)),
            Some(Type::Text) => {
                let message = format!("`{0}` is a text already: write {0} without name()", of.text);
                Err(QueryError::text(call.position, message))
            }
            Some(Type::U64 | Type::S64 | Type::Bool) => {
                let message =
                    format!("`{}` has no names: name(x) takes a column that says who, such as netns", of.text);
                Err(QueryError::text(call.position, message))
            }
        }
    }

    /// NULL where this node has no such column, so that one query serves many kernels.
    fn maybe(&mut self, expr: &Expr) -> Result<Operand, QueryError> {
        let names: Vec<&Ident> = match expr {
            Expr::Identifier(name) => vec![name],
            Expr::CompoundIdentifier(names) => names.iter().collect(),
            _ => return Err(QueryError::text(at_expr(expr), "maybe(x) takes the name of a column")),
        };
        let name = self.name(&names);
        self.elsewhere(&names, &name)?;
        if self.table.column(&name).is_some() {
            return Ok(Operand { nullable: true, ..self.column(&names)? });
        }
        let source = self.source(Source::Missing(name.clone()));
        Ok(Operand { source, ty: None, logical: Logical::Count, nullable: true, text: name })
    }

    fn is_null(&mut self, inner: &Expr, negated: bool) -> Result<Operand, QueryError> {
        let mut bare = inner;
        while let Expr::Nested(inner) = bare {
            bare = inner;
        }
        if let Expr::IsNull(_) | Expr::IsNotNull(_) = bare {
            return Err(unsupported(bare));
        }
        let of = self.operand(inner)?;
        let text = format!("{} IS {}NULL", of.text, if negated { "NOT " } else { "" });
        let source = self.source(Source::IsNull { of: of.source, negated });
        Ok(Operand { source, ty: Some(Type::Bool), logical: Logical::Bool, nullable: false, text })
    }

    fn column(&mut self, names: &[&Ident]) -> Result<Operand, QueryError> {
        let name = self.name(names);
        match self.table.column(&name) {
            Some(column) => Ok(self.table_column(column)),
            None => {
                self.elsewhere(names, &name)?;
                Err(self.no_column(names, &name))
            }
        }
    }

    /// Also marks it as one that must be read.
    pub fn table_column(&mut self, column: TableColumn) -> Operand {
        let known = self.columns.iter().position(|other| other.name == column.name);
        let index = known.unwrap_or(self.columns.len());
        let (ty, logical, nullable, text) = (Some(column.ty), column.logical, column.nullable, column.name.clone());
        if known.is_none() {
            self.columns.push(column);
        }
        Operand { source: self.source(Source::Table(index)), ty, logical, nullable, text }
    }

    pub fn source(&mut self, source: Source) -> SourceId {
        match self.sources.iter().position(|other| *other == source) {
            Some(known) => known,
            None => {
                self.sources.push(source);
                self.sources.len() - 1
            }
        }
    }

    /// Rule 22: a declared alias of the table, as the first part of a dotted name, is that and nothing else.
    fn name(&self, names: &[&Ident]) -> String {
        match names {
            [first, rest @ ..] if !rest.is_empty() && self.alias == Some(first.value.as_str()) => joined(rest),
            names => joined(names),
        }
    }

    fn elsewhere(&self, names: &[&Ident], name: &str) -> Result<(), QueryError> {
        match self.table.elsewhere.iter().find(|(other, _)| other == name) {
            Some((_, answer)) => Err(QueryError::text(place(names), format!("`{name}` {answer}"))),
            None => Ok(()),
        }
    }

    fn no_column(&self, names: &[&Ident], name: &str) -> QueryError {
        let table = &self.table.name;
        if self.aliases.contains(&name) {
            let message = format!("`{name}` is an alias of the select list: it is known in GROUP BY and ORDER BY only");
            return QueryError::text(place(names), message);
        }
        let columns = || self.table.columns.iter().map(|column| column.name.as_str());
        let unqualified = name.strip_prefix(table.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let hint = match unqualified.filter(|rest| columns().any(|column| column == *rest)) {
            Some(column) => format!("; did you mean `{column}`?"),
            None => did_you_mean(name, columns()),
        };
        QueryError::absent(place(names), format!("no column `{}` in {table}{hint}", shorten(name)))
    }
}

/// Takes a function call apart, and refuses what may stand around and within it.
pub(super) fn call(function: &Function) -> Result<Call<'_>, QueryError> {
    let Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment, over } = function;
    let names = name_parts(name).unwrap_or_default();
    let position = place(&names);
    let name = match names.as_slice() {
        [Ident { value, quote_style: None, .. }] => value.to_ascii_lowercase(),
        names => joined(names),
    };
    let refuse = |what: &str| Err(QueryError::text(position, format!("{}: {what}", shorten(&name))));
    if let FunctionArguments::None = args {
        return refuse("this is a word of SQL; a column of that name is written in double quotes");
    }
    if !FUNCTIONS.contains(&name.as_str()) {
        let message = match name.as_str() {
            "histogram" => "histogram(x) is not supported: use count(*), sum, min or max".to_owned(),
            "avg" => "avg(x) is not supported: select sum(x) and count(x), and divide".to_owned(),
            _ => format!("no function `{}`{}", shorten(&name), did_you_mean(&name, FUNCTIONS)),
        };
        return Err(QueryError::text(position, message));
    }
    if over.is_some() {
        return refuse("OVER is not supported; use GROUP BY");
    }
    if filter.is_some() {
        return refuse("FILTER is not supported; use WHERE");
    }
    if !within_group.is_empty() || null_treatment.is_some() {
        return refuse("nothing may follow the parentheses");
    }
    if *uses_odbc_syntax || !matches!(parameters, FunctionArguments::None) {
        return refuse("write it as name(column)");
    }
    let FunctionArguments::List(FunctionArgumentList { duplicate_treatment, args, clauses }) = args else {
        return refuse("a SELECT within parentheses is not supported; name a column");
    };
    match duplicate_treatment {
        Some(DuplicateTreatment::Distinct) => {
            return refuse("DISTINCT is not supported; GROUP BY the column, and count the rows");
        }
        Some(DuplicateTreatment::All) => return refuse("leave ALL out"),
        None => {}
    }
    if !clauses.is_empty() {
        return refuse("only a column may stand within the parentheses");
    }
    let args: Option<Vec<&FunctionArgExpr>> = args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(arg) => Some(arg),
            FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => None,
        })
        .collect();
    match args {
        Some(args) => Ok(Call { name, args, position }),
        None => refuse("arguments have no names here"),
    }
}

/// Says what to write in place of an expression that no query may have.
pub(super) fn unsupported(expr: &Expr) -> QueryError {
    let message = match expr {
        Expr::Value(_) => "a literal is no column: it stands in WHERE, compared with a column",
        Expr::BinaryOp { op, .. } if super::expr::Comparison::of(op).is_some() => {
            "a comparison is no column: it stands in WHERE"
        }
        Expr::BinaryOp { op: sqlparser::ast::BinaryOperator::And | sqlparser::ast::BinaryOperator::Or, .. }
        | Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, .. }
        | Expr::InList { .. }
        | Expr::Between { .. } => "a condition is no column: it stands in WHERE",
        Expr::BinaryOp { .. } | Expr::UnaryOp { .. } => {
            "operators other than comparisons are not supported: select the columns, and compute with them afterwards"
        }
        Expr::InSubquery { .. } | Expr::Subquery(_) | Expr::Exists { .. } | Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            "a SELECT within a query is not supported: write a query for each"
        }
        Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } | Expr::RLike { .. } => {
            "patterns are not supported: compare with =, or IN (..)"
        }
        Expr::Cast { .. } | Expr::Convert { .. } | Expr::TypedString(_) => {
            "casts are not supported: integers compare by value, whatever their type"
        }
        Expr::Case { .. } => "CASE is not supported: select the columns, and decide afterwards",
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => {
            "IS DISTINCT FROM is not supported: use = and IS NULL"
        }
        Expr::IsTrue(_) | Expr::IsNotTrue(_) | Expr::IsFalse(_) | Expr::IsNotFalse(_) => {
            "IS TRUE and IS FALSE are not supported: write the condition itself, or NOT"
        }
        Expr::IsUnknown(_) | Expr::IsNotUnknown(_) => "IS UNKNOWN is not supported: use IS NULL",
        Expr::CompoundFieldAccess { .. } | Expr::Array(_) => "array indices are not supported in this table",
        Expr::Tuple(_) => "a list in parentheses stands only after IN: write the columns one by one",
        Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => {
            "grouping sets are not supported: write a query for each"
        }
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => "`*` stands alone in the select list, or in count(*)",
        Expr::IsNull(_) | Expr::IsNotNull(_) => "IS NULL is never NULL itself: take one of the two away",
        _ => "this is not supported here: name a column, name(x), maybe(x), x IS NULL or an aggregate",
    };
    QueryError::text(at_expr(expr), message)
}

fn place(names: &[&Ident]) -> Option<Position> {
    names.first().and_then(|name| at(name.span.start))
}
