//! Arithmetic and comparisons of integers in a syntax tree to computed columns (rule 21; the types are in [`crate::arithmetic`]).
//!
//! Of a table that the host reads such a column is a source, computed from what was read. Of one in the kernel it is a column of the table
//! itself, which the program computes.

use super::{
    error::{Position, QueryError},
    expr::{Compared, Comparison, Source},
    resolve::{Operand, Resolver, unsupported},
    text::{at_expr, shorten},
};
use crate::{
    arithmetic::{Number, Operation, Overflow},
    bpf::access::Access,
    table::{Logical, TableColumn, Type},
};
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};
use std::sync::Arc;

/// How deep operations may nest; those in a row nest, too.
const MAX_DEPTH: usize = 64;

/// What arithmetic comes to.
pub(super) enum Computed {
    Literal(i128),
    /// Made of literals alone.
    Null,
    Column(Operand),
}

/// A number of an expression, before it is known what becomes of it.
struct Part {
    /// None is NULL.
    number: Option<Number<TableColumn>>,
    /// Made of literals alone.
    literal: bool,
    logical: Logical,
    nullable: bool,
    text: String,
    binding: Binding,
}

/// How tightly a text holds together.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Sum,
    Product,
    Sign,
    Atom,
}

/// What a binary operator does with numbers; None for what is no arithmetic.
pub(super) fn operation(op: &BinaryOperator) -> Option<Operation> {
    Some(match op {
        BinaryOperator::Plus => Operation::Add,
        BinaryOperator::Minus => Operation::Subtract,
        BinaryOperator::Multiply => Operation::Multiply,
        BinaryOperator::Divide => Operation::Divide,
        BinaryOperator::Modulo => Operation::Remainder,
        _ => return None,
    })
}

/// Whether an expression is arithmetic, right or wrong.
pub(super) fn is_arithmetic(expr: &Expr) -> bool {
    match expr {
        Expr::UnaryOp { op, .. } => *op == UnaryOperator::Minus,
        Expr::BinaryOp { op, .. } => operation(op).is_some(),
        _ => false,
    }
}

impl Resolver<'_> {
    /// `a + b` and the like.
    pub fn arithmetic(&mut self, expr: &Expr) -> Result<Computed, QueryError> {
        let Part { number, literal, logical, nullable, text, .. } = self.part(expr, 0)?;
        let number = match number {
            Some(Number::Literal(value)) => return Ok(Computed::Literal(value)),
            None if literal => return Ok(Computed::Null),
            None => return Ok(Computed::Column(self.missing(text))),
            Some(number) => number,
        };
        let ty = if number.is_signed() { Type::S64 } else { Type::U64 };
        let operand = match self.hook.is_some() {
            true => in_kernel(number).map(|number| {
                let access = Some(Arc::new(Access::Arithmetic(number)));
                self.table_column(TableColumn { nullable, access, ..TableColumn::new(text, ty, logical) })
            }),
            false => self.in_host(number).map(|number| {
                let source = self.source(Source::Arithmetic(number));
                Operand { source, ty: Some(ty), logical, nullable, text, names: None, enumerated: None }
            }),
        };
        operand.map(Computed::Column).ok_or_else(|| unsupported(expr))
    }

    /// `a > b` as a column.
    pub fn comparison(
        &mut self,
        expr: &Expr,
        left: &Expr,
        by: Comparison,
        right: &Expr,
    ) -> Result<Operand, QueryError> {
        let (left, right) = (self.part(left, 0)?, self.part(right, 0)?);
        if left.literal && right.literal {
            return Err(QueryError::text(at_expr(expr), "a comparison of literals is no column: name one"));
        }
        let text = format!("{} {} {}", left.text, by.as_str(), right.text);
        let (Some(a), Some(b)) = (left.number, right.number) else { return Ok(self.missing(text)) };
        let (ty, logical, nullable) = (Type::Bool, Logical::Bool, left.nullable || right.nullable);
        let operand = match self.hook.is_some() {
            true => in_kernel(a).zip(in_kernel(b)).map(|(left, right)| {
                let access = Some(Arc::new(Access::Compared(Compared { left, by, right })));
                self.table_column(TableColumn { nullable, access, ..TableColumn::new(text, ty, logical) })
            }),
            false => self.in_host(a).zip(self.in_host(b)).map(|(left, right)| {
                let source = self.source(Source::Compared(Compared { left, by, right }));
                Operand { source, ty: Some(ty), logical, nullable, text, names: None, enumerated: None }
            }),
        };
        operand.ok_or_else(|| unsupported(expr))
    }

    fn in_host(&mut self, number: Number<TableColumn>) -> Option<Number<usize>> {
        number.map(&mut |column| Some(self.table_column(column).source))
    }

    fn part(&mut self, expr: &Expr, depth: usize) -> Result<Part, QueryError> {
        if depth == MAX_DEPTH {
            let message = format!("the expression nests too deeply: {MAX_DEPTH} operations within each other at most");
            return Err(QueryError::text(at_expr(expr), message));
        }
        match expr {
            Expr::Nested(inner) if is_number(inner) => self.part(inner, depth + 1),
            Expr::Value(value) => literal(&value.value, false, at_expr(expr)),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
                if let Expr::Value(value) = inner.as_ref() {
                    return literal(&value.value, true, at_expr(inner));
                }
                let of = self.part(inner, depth + 1)?;
                let text = format!("-{}", of.within(Binding::Atom));
                let zero = Part::literal(Some(0));
                Part::of(Operation::Subtract, zero, of, text, Binding::Sign, at_expr(expr))
            }
            Expr::BinaryOp { left, op, right } if let Some(by) = operation(op) => {
                let (left, right) = (self.part(left, depth + 1)?, self.part(right, depth + 1)?);
                let (sign, binding, next) = match by {
                    Operation::Add => ("+", Binding::Sum, Binding::Product),
                    Operation::Subtract => ("-", Binding::Sum, Binding::Product),
                    Operation::Multiply => ("*", Binding::Product, Binding::Sign),
                    Operation::Divide => ("/", Binding::Product, Binding::Sign),
                    Operation::Remainder => ("%", Binding::Product, Binding::Sign),
                };
                let text = format!("{} {sign} {}", left.within(binding), right.within(next));
                Part::of(by, left, right, text, binding, at_expr(expr))
            }
            _ => self.leaf(expr),
        }
    }

    fn leaf(&mut self, expr: &Expr) -> Result<Part, QueryError> {
        let (text, column) = self.named(expr)?;
        let Some(column) = column else {
            return Ok(Part { literal: false, text, ..Part::literal(None) });
        };
        let signed = match column.ty {
            Type::U64 => false,
            Type::S64 => true,
            ty => return Err(no_integer(&format!("`{text}`"), kind(ty), at_expr(expr))),
        };
        let (logical, nullable) = (column.logical, column.nullable);
        let number = Some(Number::Leaf { of: column, signed });
        Ok(Part { number, literal: false, logical, nullable, text, binding: Binding::Atom })
    }
}

fn in_kernel(number: Number<TableColumn>) -> Option<Number<Arc<Access>>> {
    number.map(&mut |column| column.access)
}

/// Whether parentheses stand around a number, and are none of a path's.
fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Nested(_) | Expr::Value(_)) || is_arithmetic(expr)
}

impl Part {
    fn literal(value: Option<i128>) -> Self {
        let (text, nullable) = (value.map_or("NULL".into(), |value| value.to_string()), value.is_none());
        let binding = if value.is_some_and(|value| value < 0) { Binding::Sign } else { Binding::Atom };
        Self { number: value.map(Number::Literal), literal: true, logical: Logical::Count, nullable, text, binding }
    }

    fn of(
        by: Operation,
        left: Part,
        right: Part,
        text: String,
        binding: Binding,
        place: Option<Position>,
    ) -> Result<Self, QueryError> {
        if let (Some(Number::Literal(a)), Some(Number::Literal(b))) = (&left.number, &right.number) {
            let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
            return match by.exact(*a, *b) {
                Ok(value) if value.is_none_or(|value| range.contains(&value)) => Ok(Self::literal(value)),
                Ok(_) | Err(Overflow) => {
                    let message = format!("`{}` does not fit into 64 bits", shorten(&text));
                    Err(QueryError::text(place, message))
                }
            };
        }
        let (literal, logical) = (left.literal && right.literal, unit(by, &left, &right));
        let number = left.number.zip(right.number).map(|(left, right)| Number::Operation {
            by,
            left: Box::new(left),
            right: Box::new(right),
        });
        Ok(Self { number, literal, logical, nullable: true, text, binding })
    }

    /// Its text as a part of one that binds so tightly.
    fn within(&self, binding: Binding) -> String {
        if self.binding < binding { format!("({})", self.text) } else { self.text.clone() }
    }
}

/// Sums and differences of bytes are bytes, and so it is with times. Products and quotients may be anything.
fn unit(by: Operation, left: &Part, right: &Part) -> Logical {
    let keeps = !matches!(by, Operation::Multiply | Operation::Divide);
    let mut units = [left, right].into_iter().filter(|part| !part.literal).map(|part| part.logical);
    match units.next() {
        Some(unit @ (Logical::Bytes | Logical::Nanoseconds)) if keeps && units.all(|other| other == unit) => unit,
        _ => Logical::Count,
    }
}

fn literal(value: &Value, negative: bool, place: Option<Position>) -> Result<Part, QueryError> {
    match value {
        Value::Number(digits, false) => Ok(Part::literal(Some(integer(digits, negative, place)?))),
        Value::Null => Ok(Part::literal(None)),
        Value::Placeholder(_) => Err(QueryError::text(place, "there are no parameters: write the value itself")),
        Value::Boolean(_) => Err(no_integer(&value.to_string(), "a truth value", place)),
        _ => Err(no_integer(&shorten(&value.to_string()), "a text", place)),
    }
}

/// A literal with or without a minus before it.
pub(super) fn integer(digits: &str, negative: bool, place: Option<Position>) -> Result<i128, QueryError> {
    let decimal = digits.bytes().all(|digit| digit.is_ascii_digit());
    let value = digits.parse::<i128>().ok().filter(|_| decimal).map(|value| if negative { -value } else { value });
    match value {
        Some(value) if (i64::MIN.into()..=u64::MAX.into()).contains(&value) => Ok(value),
        _ => {
            let sign = if negative { "-" } else { "" };
            let range = format!("{} to {}", i64::MIN, u64::MAX);
            let message = format!("`{sign}{}` is no integer from {range} in decimal", shorten(digits));
            Err(QueryError::text(place, message))
        }
    }
}

pub(super) fn kind(ty: Type) -> &'static str {
    match ty {
        Type::Text => "a text",
        Type::Scope => "a handle of who",
        Type::Address => "an address",
        Type::Octets => "bytes",
        Type::Pointer => "an address of the kernel",
        Type::Bool => "a truth value",
        Type::U64 | Type::S64 => "an integer",
    }
}

fn no_integer(text: &str, kind: &str, place: Option<Position>) -> QueryError {
    let message = format!("{text} is {kind}: + - * / % take integers, and so does a comparison that is a column");
    QueryError::text(place, message)
}
