//! Names in a query to columns of its table, and the functions that stand for a column: `name(x)` and `maybe(x)`.

use super::{
    arithmetic::{Computed, is_arithmetic},
    error::{Position, QueryError},
    expr::{Comparison, Source, SourceId},
    function::{Call, call},
    path::{self, Path},
    shape::joined,
    text::{at, at_expr, shorten},
};
use crate::{
    bpf::{
        btf::Btf,
        enums::EnumNames,
        hook::{Hook, HookError},
    },
    nearest::did_you_mean,
    table::{Logical, Names, Table, TableColumn, Type},
};
use sqlparser::ast::{Expr, FunctionArgExpr, Ident, Value};
use std::{borrow::Cow, sync::Arc};

/// Finds columns, and keeps account of those that a query uses.
pub(super) struct Resolver<'a> {
    pub table: Cow<'a, Table>,
    /// The tracepoint that the table is, and the kernel's types.
    pub hook: Option<(Arc<Hook>, &'a Btf)>,
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
    pub names: Option<Names>,
    /// Of `name(x)` of an enum: x, as comparisons are with its numbers.
    pub enumerated: Option<(SourceId, Arc<EnumNames>)>,
}

impl<'a> Resolver<'a> {
    /// A column, or a function of one. Everything else is refused.
    pub fn operand(&mut self, expr: &Expr) -> Result<Operand, QueryError> {
        match expr {
            _ if self.hook.is_some() && path::is_path(expr) => self.path(expr).map(|column| self.table_column(column)),
            Expr::Nested(inner) => self.operand(inner),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let (text, column) = self.named(expr)?;
                Ok(self.table_column_or_missing(text, column))
            }
            Expr::Function(function) => self.function(&call(function)?),
            Expr::IsNull(inner) => self.is_null(inner, false),
            Expr::IsNotNull(inner) => self.is_null(inner, true),
            _ if is_arithmetic(expr) => match self.arithmetic(expr)? {
                Computed::Column(operand) => Ok(operand),
                Computed::Literal(_) | Computed::Null => Err(literal(expr)),
            },
            Expr::BinaryOp { left, op, right } if let Some(by) = Comparison::of(op) => {
                self.comparison(expr, left, by, right)
            }
            _ => Err(unsupported(expr)),
        }
    }

    /// The column of the table that an expression names, and its text; None for one that `maybe` takes for NULL here.
    pub fn named(&mut self, expr: &Expr) -> Result<(String, Option<TableColumn>), QueryError> {
        let column = match expr {
            _ if self.hook.is_some() && path::is_path(expr) => self.path(expr)?,
            Expr::Nested(inner) => return self.named(inner),
            Expr::Identifier(name) => self.column(&[name])?,
            Expr::CompoundIdentifier(names) => self.column(&names.iter().collect::<Vec<_>>())?,
            Expr::Function(function) => {
                let call = call(function)?;
                return match call.name.as_str() {
                    "maybe" => self.maybe(call.argument()?),
                    "name" => {
                        let message =
                            "name(x) is a text: + - * / % take integers, and so does a comparison that is a column";
                        Err(QueryError::text(call.position, message))
                    }
                    _ => Err(of_many_rows(&call)),
                };
            }
            _ => return Err(unsupported(expr)),
        };
        Ok((column.name.clone(), Some(column)))
    }

    /// A column that this node does not have: always NULL.
    pub fn missing(&mut self, text: String) -> Operand {
        let source = self.source(Source::Missing(text.clone()));
        let (ty, logical) = (None, Logical::Count);
        Operand { source, ty, logical, nullable: true, text, names: None, enumerated: None }
    }

    fn function(&mut self, call: &Call) -> Result<Operand, QueryError> {
        match call.name.as_str() {
            "name" => self.name_of(call),
            "maybe" => {
                let (text, column) = self.maybe(call.argument()?)?;
                Ok(self.table_column_or_missing(text, column))
            }
            _ => Err(of_many_rows(call)),
        }
    }

    /// `name(x)`, or `name(x, 'MEMBER')` with the enum that has this member.
    fn name_of(&mut self, call: &Call) -> Result<Operand, QueryError> {
        let (expr, member) = match call.args.as_slice() {
            [FunctionArgExpr::Expr(expr)] => (expr, None),
            [FunctionArgExpr::Expr(expr), FunctionArgExpr::Expr(Expr::Value(value))] => match &value.value {
                Value::SingleQuotedString(member) => (expr, Some(member.as_str())),
                _ => return Err(name_arguments(call)),
            },
            _ => return Err(name_arguments(call)),
        };
        let of = self.operand(expr)?;
        let text = match member {
            None => format!("name({})", of.text),
            Some(member) => format!("name({}, '{member}')", of.text),
        };
        let names = match member {
            None => of.names.clone(),
            Some(member) => Some(Names::Enum(self.enum_with(member, call.position)?)),
        };
        let (source, enumerated) = match (of.ty, names) {
            (None, _) => return Ok(Operand { text, ..of }),
            (Some(Type::Scope), None) => (Source::ScopeName(of.source), None),
            (Some(Type::U64 | Type::S64), Some(Names::Enum(names))) => {
                (Source::EnumName { of: of.source, names: names.clone() }, Some((of.source, names)))
            }
            (Some(Type::Pointer), Some(Names::Symbol)) => (Source::Symbol(of.source), None),
            (Some(ty), _) => return Err(no_names(call, &of, ty)),
        };
        let source = self.source(source);
        Ok(Operand {
            source,
            ty: Some(Type::Text),
            logical: Logical::Name,
            nullable: true,
            text,
            names: None,
            enumerated,
        })
    }

    fn enum_with(&self, member: &str, position: Option<Position>) -> Result<Arc<EnumNames>, QueryError> {
        let Some((_, btf)) = &self.hook else {
            let message = "name(x, 'MEMBER') is for tracepoints, whose types the kernel tells";
            return Err(QueryError::text(position, message));
        };
        let found = btf.enum_with(member).map(|id| Arc::new(EnumNames::of(btf, id)));
        found.ok_or_else(|| {
            QueryError::absent(position, format!("no enum of this kernel has a member `{}`", shorten(member)))
        })
    }

    /// NULL where this node has no such column, so that one query serves many kernels.
    fn maybe(&mut self, expr: &Expr) -> Result<(String, Option<TableColumn>), QueryError> {
        let (text, found) = if self.hook.is_some() && path::is_path(expr) {
            let path = path::path(expr, self.alias)?;
            (path.text.clone(), self.hook_column(&path))
        } else {
            let names: Vec<&Ident> = match expr {
                Expr::Identifier(name) => vec![name],
                Expr::CompoundIdentifier(names) => names.iter().collect(),
                _ => return Err(QueryError::text(at_expr(expr), "maybe(x) takes the name of a column")),
            };
            let name = self.name(&names);
            self.elsewhere(&names, &name)?;
            let found = self.table.column(&name).ok_or_else(|| QueryError::absent(None, ""));
            (name, found)
        };
        match found {
            Ok(column) => Ok((text, Some(column.nullable()))),
            Err(error) if error.kind == super::Kind::Absent => Ok((text, None)),
            Err(error) => Err(error),
        }
    }

    /// A path of a tracepoint's table.
    fn path(&self, expr: &Expr) -> Result<TableColumn, QueryError> {
        let path = path::path(expr, self.alias)?;
        self.hook_column(&path).map_err(|error| match self.aliases.contains(&path.text.as_str()) {
            true => alias_only(&path.text, path.position),
            false => error,
        })
    }

    fn hook_column(&self, path: &Path) -> Result<TableColumn, QueryError> {
        let Some((hook, btf)) = &self.hook else { return Err(QueryError::text(path.position, "no tracepoint")) };
        hook.column(btf, &path.steps, &path.text).map_err(|HookError { message, absent }| match absent {
            true => QueryError::absent(path.position, message),
            false => QueryError::text(path.position, message),
        })
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
        let what = if let Expr::BinaryOp { .. } = bare { format!("({})", of.text) } else { of.text };
        let text = format!("{what} IS {}NULL", if negated { "NOT " } else { "" });
        let source = self.source(Source::IsNull { of: of.source, negated });
        let (ty, logical) = (Some(Type::Bool), Logical::Bool);
        Ok(Operand { source, ty, logical, nullable: false, text, names: None, enumerated: None })
    }

    fn column(&self, names: &[&Ident]) -> Result<TableColumn, QueryError> {
        let name = self.name(names);
        match self.table.column(&name) {
            Some(column) => Ok(column),
            None => {
                self.elsewhere(names, &name)?;
                Err(self.no_column(names, &name))
            }
        }
    }

    fn table_column_or_missing(&mut self, text: String, column: Option<TableColumn>) -> Operand {
        match column {
            Some(column) => self.table_column(column),
            None => self.missing(text),
        }
    }

    /// Also marks it as one that must be read.
    pub fn table_column(&mut self, column: TableColumn) -> Operand {
        let known = self.columns.iter().position(|other| other.name == column.name);
        let index = known.unwrap_or(self.columns.len());
        let (ty, logical, nullable, text) = (Some(column.ty), column.logical, column.nullable, column.name.clone());
        let names = column.names.clone();
        if known.is_none() {
            self.columns.push(column);
        }
        let source = self.source(Source::Table(index));
        Operand { source, ty, logical, nullable, text, names, enumerated: None }
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
            return alias_only(name, place(names));
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

const LITERAL: &str = "a literal is no column: it stands beside one, in arithmetic or in a comparison";

fn literal(expr: &Expr) -> QueryError {
    QueryError::text(at_expr(expr), LITERAL)
}

fn of_many_rows(call: &Call) -> QueryError {
    let name = &call.name;
    let message =
        format!("{name}(..) is of many rows: it stands in the select list by itself, not in WHERE, not within (..)");
    QueryError::text(call.position, message)
}

fn alias_only(name: &str, position: Option<Position>) -> QueryError {
    let message = format!("`{name}` is an alias of the select list: it is known in GROUP BY and ORDER BY only");
    QueryError::text(position, message)
}

fn name_arguments(call: &Call) -> QueryError {
    QueryError::text(
        call.position,
        "name(x) takes one column, or a column and a member of its enum: name(x, 'TCP_ESTABLISHED')",
    )
}

fn no_names(call: &Call, of: &Operand, ty: Type) -> QueryError {
    let text = &of.text;
    let message = match ty {
        Type::Text => format!("`{text}` is a text already: write {text} without name()"),
        Type::U64 | Type::S64 => {
            format!(
                "`{text}` has no names: name(x) takes a column that says who, such as netns, or an enum of the kernel"
            )
        }
        Type::Pointer => format!("`{text}` points to data, which has no name"),
        _ => format!("`{text}` has no names: name(x) takes a column that says who, such as netns"),
    };
    QueryError::text(call.position, message)
}

/// Says what to write in place of an expression that no query may have.
pub(super) fn unsupported(expr: &Expr) -> QueryError {
    let message = match expr {
        Expr::Value(_) => LITERAL,
        Expr::BinaryOp { op, .. } if Comparison::of(op).is_some() => {
            "a comparison gives no number: nothing can be computed with it"
        }
        Expr::BinaryOp { op: sqlparser::ast::BinaryOperator::And | sqlparser::ast::BinaryOperator::Or, .. }
        | Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, .. }
        | Expr::InList { .. }
        | Expr::Between { .. } => "a condition is no column: it stands in WHERE",
        Expr::BinaryOp { .. } | Expr::UnaryOp { .. } => {
            "this operator is not supported: there are + - * / % and comparisons"
        }
        Expr::InSubquery { .. } | Expr::Subquery(_) | Expr::Exists { .. } | Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            "a SELECT within a query stands only in WHERE, as netns IN (SELECT netns FROM ...): write a query for each"
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

pub(super) fn place(names: &[&Ident]) -> Option<Position> {
    names.first().and_then(|name| at(name.span.start))
}
