//! Paths into the kernel's structs, as they stand in a query: `sk.__sk_common.skc_dport`, `(sk::tcp_sock).snd_cwnd`, `dev.dev_addr_shadow[0]`.

use super::{
    error::{Position, QueryError},
    shape::name_parts,
    text::{at, at_expr},
};
use crate::bpf::path::Step;
use sqlparser::ast::{AccessExpr, CastKind, DataType, Expr, Ident, Subscript, Value};
use std::fmt::Write;

/// A path, from an argument on.
pub(super) struct Path {
    pub steps: Vec<Step>,
    /// In its one spelling.
    pub text: String,
    pub position: Option<Position>,
}

/// The longest path, in steps.
const MAX_STEPS: usize = 64;

/// Whether an expression is a path, right or wrong.
pub(super) fn is_path(mut expr: &Expr) -> bool {
    loop {
        expr = match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => return true,
            Expr::CompoundFieldAccess { root, .. } => root,
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => inner,
            _ => return false,
        }
    }
}

/// Takes a path apart. Rule 22: a declared alias of the table, as the first part of a dotted name, is that and nothing else.
pub(super) fn path(expr: &Expr, alias: Option<&str>) -> Result<Path, QueryError> {
    let position = at_expr(expr);
    // From the outside inwards, so backwards.
    let mut steps = Vec::new();
    let mut next = expr;
    loop {
        if steps.len() > MAX_STEPS {
            return Err(QueryError::text(position, format!("a path has {MAX_STEPS} steps at most")));
        }
        next = match next {
            Expr::Nested(inner) => inner,
            Expr::Identifier(name) => {
                steps.push(field(name));
                break;
            }
            Expr::CompoundIdentifier(names) => {
                steps.extend(names.iter().rev().map(field));
                break;
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                for access in access_chain.iter().rev() {
                    steps.push(self::access(access, position)?);
                }
                root
            }
            Expr::Cast { kind: CastKind::DoubleColon, expr, data_type, format: None } => {
                steps.push(Step::Cast(structure(data_type, position)?));
                expr
            }
            _ => return Err(QueryError::text(position, "a cast is written as in (sk::tcp_sock).snd_cwnd")),
        };
    }
    steps.reverse();
    if let [Step::Field(first), _, ..] = steps.as_slice()
        && alias == Some(first.as_str())
    {
        steps.remove(0);
    }
    let text = text(&steps);
    Ok(Path { steps, text, position })
}

/// Reads a path alone.
///
/// # Errors
/// If the text is another expression, or none.
pub fn steps(text: &str) -> Result<Vec<Step>, QueryError> {
    let expr = super::text::expression(text)?;
    if !is_path(&expr) {
        return Err(QueryError::text(at_expr(&expr), "this is no path such as sk.__sk_common"));
    }
    path(&expr, None).map(|path| path.steps)
}

fn field(name: &Ident) -> Step {
    Step::Field(name.value.clone())
}

fn access(access: &AccessExpr, position: Option<Position>) -> Result<Step, QueryError> {
    match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Ok(field(name)),
        AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) }) => match &value.value {
            Value::Number(digits, false) if digits.parse::<u32>().is_ok() => {
                Ok(Step::Index(digits.parse().unwrap_or(0)))
            }
            _ => Err(QueryError::text(at(value.span.start).or(position), "an index is a whole number, as in x[0]")),
        },
        _ => Err(QueryError::text(
            position,
            "a path consists of names, indices such as [0], and casts such as ::tcp_sock",
        )),
    }
}

/// The struct that is cast to. SQL knows some of the kernel's names as types of its own.
fn structure(data_type: &DataType, position: Option<Position>) -> Result<String, QueryError> {
    let name = match data_type {
        DataType::Custom(name, arguments) if arguments.is_empty() => match name_parts(name).as_deref() {
            Some([name]) => Some(name.value.clone()),
            _ => None,
        },
        _ => None,
    };
    name.ok_or_else(|| QueryError::text(position, "a cast names a struct of the kernel, as in (sk::tcp_sock).snd_cwnd"))
}

fn text(steps: &[Step]) -> String {
    let mut text = String::new();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Field(name) if index == 0 => text.push_str(name),
            // Writing to a String does not fail.
            Step::Field(name) => drop(write!(text, ".{name}")),
            Step::Index(index) => drop(write!(text, "[{index}]")),
            Step::Cast(to) => text = format!("({text}::{to})"),
        }
    }
    text
}
