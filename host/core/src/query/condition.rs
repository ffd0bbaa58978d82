//! WHERE in a syntax tree to a checked condition.

use super::{
    arithmetic::{Computed, integer, is_arithmetic, kind},
    error::{Position, QueryError},
    expr::{Comparison, Condition, Test, Truth},
    function::call,
    path,
    resolve::{Operand, Resolver, unsupported},
    text::{at_expr, shorten},
    within,
};
use crate::{bpf::enums::EnumNames, nearest::did_you_mean, table::Type};
use sqlparser::ast::{BinaryOperator, Expr, Function, FunctionArgExpr, UnaryOperator, Value};
use std::net::IpAddr;

/// How deep a condition may nest, so that neither this nor the evaluation overflows a stack. AND and OR in a row count once.
const MAX_DEPTH: usize = 64;

/// Turns expressions of WHERE into conditions.
pub(super) struct Filter<'r, 'a> {
    pub resolver: &'r mut Resolver<'a>,
    pub depth: usize,
}

/// One side of a comparison.
#[derive(Clone)]
enum Term {
    /// A column of integers, texts or scopes.
    Column(Operand),
    Integer(i128),
    Text(String),
    /// `maybe('NAME')`: a name that this kernel's enum may lack, and then nothing has.
    MaybeText(String),
    Null,
    Condition(Condition),
}

impl Filter<'_, '_> {
    pub fn condition(&mut self, expr: &Expr) -> Result<Condition, QueryError> {
        match self.term(expr)? {
            Term::Condition(condition) => Ok(condition),
            Term::Null => Ok(Condition::Constant(Truth::Unknown)),
            term => {
                let message = format!("{} is neither true nor false: compare it with something", describe(&term));
                Err(QueryError::text(at_expr(expr), message))
            }
        }
    }

    /// The parts of a filter that AND joins.
    pub fn conditions(&mut self, parts: &[&Expr]) -> Result<Option<Condition>, QueryError> {
        match parts {
            [] => Ok(None),
            [part] => self.condition(part).map(Some),
            parts => {
                parts.iter().map(|part| self.condition(part)).collect::<Result<_, _>>().map(Condition::All).map(Some)
            }
        }
    }

    fn term(&mut self, expr: &Expr) -> Result<Term, QueryError> {
        if self.depth == MAX_DEPTH {
            return Err(QueryError::text(at_expr(expr), "the condition nests too deeply: take parentheses away"));
        }
        self.depth += 1;
        let term = self.deeper(expr);
        self.depth -= 1;
        term
    }

    fn deeper(&mut self, expr: &Expr) -> Result<Term, QueryError> {
        let condition = match expr {
            Expr::Nested(inner) => return self.term(inner),
            Expr::Value(value) => return literal(&value.value, at_expr(expr)),
            Expr::Function(function) if let Some(text) = maybe_text(function)? => return Ok(Term::MaybeText(text)),
            _ if self.resolver.hook.is_some() && path::is_path(expr) => return self.column(expr),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_) => return self.column(expr),
            _ if is_arithmetic(expr) => {
                return Ok(match self.resolver.arithmetic(expr)? {
                    Computed::Literal(value) => Term::Integer(value),
                    Computed::Column(Operand { ty: None, .. }) | Computed::Null => Term::Null,
                    Computed::Column(operand) => Term::Column(operand),
                });
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Condition::Not(Box::new(self.condition(expr)?)),
            Expr::BinaryOp { op: op @ BinaryOperator::And, .. } => Condition::All(self.chain(expr, op)?),
            Expr::BinaryOp { op: op @ BinaryOperator::Or, .. } => Condition::Any(self.chain(expr, op)?),
            Expr::BinaryOp { left, op, right } => {
                let Some(comparison) = Comparison::of(op) else { return Err(unsupported(expr)) };
                let (left, right) = (self.term(left)?, self.term(right)?);
                compare(left, comparison, right, at_expr(expr))?
            }
            Expr::IsNull(inner) => self.is_null(inner)?,
            Expr::IsNotNull(inner) => Condition::Not(Box::new(self.is_null(inner)?)),
            Expr::InList { expr, list, negated } => negate(self.in_list(expr, list)?, *negated),
            Expr::Between { expr, negated, low, high } => {
                let terms = (self.term(expr)?, self.term(low)?, self.term(high)?);
                negate(between(terms, at_expr(expr))?, *negated)
            }
            Expr::InSubquery { .. } => return Err(within::misplaced(expr)),
            _ => return Err(unsupported(expr)),
        };
        Ok(Term::Condition(condition))
    }

    /// `a AND b AND c` is a tree as deep as it is long: walked in a loop.
    fn chain(&mut self, mut expr: &Expr, op: &BinaryOperator) -> Result<Vec<Condition>, QueryError> {
        let mut parts = Vec::new();
        while let Expr::BinaryOp { left, op: next, right } = expr {
            if next != op {
                break;
            }
            parts.push(right.as_ref());
            expr = left;
        }
        parts.push(expr);
        parts.into_iter().rev().map(|part| self.condition(part)).collect()
    }

    fn column(&mut self, expr: &Expr) -> Result<Term, QueryError> {
        let operand = self.resolver.operand(expr)?;
        Ok(match operand.ty {
            None => Term::Null,
            Some(Type::Bool) => Term::Condition(Condition::Is(operand.source)),
            Some(_) => Term::Column(operand),
        })
    }

    fn is_null(&mut self, expr: &Expr) -> Result<Condition, QueryError> {
        Ok(match self.term(expr)? {
            Term::Column(operand) => Condition::IsNull(operand.source),
            Term::Condition(Condition::Is(source)) => Condition::IsNull(source),
            Term::Condition(Condition::Constant(truth)) => Condition::Constant((truth == Truth::Unknown).into()),
            // In the kernel a comparison of integers may be NULL as a column of its own.
            Term::Condition(Condition::Number(..) | Condition::Columns(..))
                if self.resolver.hook.is_some()
                    && let Ok(operand) = self.resolver.operand(expr) =>
            {
                Condition::IsNull(operand.source)
            }
            Term::Condition(condition) => Condition::IsUnknown(Box::new(condition)),
            Term::Null => Condition::Constant(Truth::True),
            Term::Integer(_) | Term::Text(_) | Term::MaybeText(_) => Condition::Constant(Truth::False),
        })
    }

    /// `x IN (1, NULL)` is `x = 1 OR x = NULL`: the NULL makes every other answer unknown.
    fn in_list(&mut self, expr: &Expr, list: &[Expr]) -> Result<Condition, QueryError> {
        let operand = match self.term(expr)? {
            Term::Column(operand) => operand,
            Term::Null => return Ok(Condition::Constant(Truth::Unknown)),
            term => {
                let message = format!("IN takes a column on its left, not {}", describe(&term));
                return Err(QueryError::text(at_expr(expr), message));
            }
        };
        let (mut integers, mut texts, mut addresses, mut null) = (Vec::new(), Vec::new(), Vec::new(), false);
        for element in list {
            let place = at_expr(element).or_else(|| at_expr(expr));
            match (self.term(element)?, operand.ty) {
                (Term::Null, _) => null = true,
                (Term::Integer(integer), Some(Type::U64 | Type::S64)) => integers.push(integer),
                (term @ (Term::Text(_) | Term::MaybeText(_)), _) if let Some((_, names)) = &operand.enumerated => {
                    integers.extend(enumerator(names, term, place)?);
                }
                (Term::Text(text) | Term::MaybeText(text), Some(Type::Text)) => texts.push(text),
                (Term::Text(text), Some(Type::Address)) => addresses.push(address(&text, place)?),
                (term @ (Term::Column(_) | Term::Condition(_)), _) => {
                    let message = format!("IN takes literals, not {}: write x = y OR x = z", describe(&term));
                    return Err(QueryError::text(place, message));
                }
                (term, _) => return Err(mismatch(&Term::Column(operand), &term, place)),
            }
        }
        integers.sort_unstable();
        texts.sort_unstable();
        addresses.sort_unstable();
        let found = match operand.ty {
            _ if let Some((of, _)) = operand.enumerated => Condition::Number(of, Test::In(integers)),
            Some(Type::Address) => Condition::Address(operand.source, Test::In(addresses)),
            Some(Type::Text) => Condition::Text(operand.source, Test::In(texts)),
            _ => Condition::Number(operand.source, Test::In(integers)),
        };
        Ok(if null { Condition::Any(vec![found, Condition::Constant(Truth::Unknown)]) } else { found })
    }
}

/// The name in `maybe('NAME')`.
fn maybe_text(function: &Function) -> Result<Option<String>, QueryError> {
    let call = call(function)?;
    match (call.name.as_str(), call.args.as_slice()) {
        ("maybe", [FunctionArgExpr::Expr(Expr::Value(value))]) => match &value.value {
            Value::SingleQuotedString(text) => Ok(Some(text.clone())),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn negate(condition: Condition, negated: bool) -> Condition {
    if negated { Condition::Not(Box::new(condition)) } else { condition }
}

/// The term stands twice in what is made of it: a condition there would double with each nesting.
fn between((term, low, high): (Term, Term, Term), place: Option<Position>) -> Result<Condition, QueryError> {
    if let Term::Condition(_) = term {
        return Err(QueryError::text(place, "BETWEEN takes a column on its left, not a condition"));
    }
    let low = compare(term.clone(), Comparison::GreaterOrEqual, low, place)?;
    let high = compare(term, Comparison::LessOrEqual, high, place)?;
    Ok(Condition::All(vec![low, high]))
}

fn compare(left: Term, by: Comparison, right: Term, place: Option<Position>) -> Result<Condition, QueryError> {
    Ok(match (left, right) {
        // Also against a column: the answer is unknown whatever its type.
        (Term::Null, _) | (_, Term::Null) => Condition::Constant(Truth::Unknown),
        (Term::Column(a), Term::Column(b)) => return compare_columns(a, by, b, place),
        (Term::Column(column), literal) => compare_literal(column, by, literal, place)?,
        (literal, Term::Column(column)) => compare_literal(column, by.flipped(), literal, place)?,
        (Term::Integer(a), Term::Integer(b)) => Condition::Constant(by.accepts(a.cmp(&b)).into()),
        (Term::Text(a), Term::Text(b)) => Condition::Constant(by.accepts(a.cmp(&b)).into()),
        (Term::Condition(condition), Term::Condition(Condition::Constant(truth)))
        | (Term::Condition(Condition::Constant(truth)), Term::Condition(condition))
            if let Some(same) = same(by, truth) =>
        {
            negate(condition, !same)
        }
        (Term::Condition(a), Term::Condition(b)) => Condition::Conditions(Box::new(a), by, Box::new(b)),
        (a, b) => return Err(mismatch(&a, &b, place)),
    })
}

/// Whether a comparison with TRUE or FALSE is the other side itself; or else its negation.
fn same(by: Comparison, truth: Truth) -> Option<bool> {
    let equal = match by {
        Comparison::Equal => true,
        Comparison::NotEqual => false,
        _ => return None,
    };
    match truth {
        Truth::True => Some(equal),
        Truth::False => Some(!equal),
        Truth::Unknown => None,
    }
}

fn compare_literal(
    column: Operand,
    by: Comparison,
    literal: Term,
    place: Option<Position>,
) -> Result<Condition, QueryError> {
    let equality = matches!(by, Comparison::Equal | Comparison::NotEqual);
    if let (Some((of, names)), Term::Text(_) | Term::MaybeText(_)) = (&column.enumerated, &literal) {
        if !equality {
            let message = format!("`{}` has no order: compare with = or <>, or compare the number itself", column.text);
            return Err(QueryError::text(place, message));
        }
        let value = enumerator(names, literal, place)?;
        // As a list, since there may be no such value.
        return Ok(negate(Condition::Number(*of, Test::In(value.into_iter().collect())), by == Comparison::NotEqual));
    }
    match (column.ty, literal) {
        (Some(Type::Address), Term::Text(text)) if equality => {
            Ok(Condition::Address(column.source, Test::Compare(by, address(&text, place)?)))
        }
        (Some(Type::U64 | Type::S64), Term::Integer(value)) => {
            Ok(Condition::Number(column.source, Test::Compare(by, value)))
        }
        (Some(Type::Text), Term::Text(value) | Term::MaybeText(value)) => {
            Ok(Condition::Text(column.source, Test::Compare(by, value)))
        }
        (_, literal) => Err(mismatch(&Term::Column(column), &literal, place)),
    }
}

/// The value of an enum's name; None if this kernel may lack it, and does.
fn enumerator(names: &EnumNames, name: Term, place: Option<Position>) -> Result<Option<i128>, QueryError> {
    let (name, optional) = match name {
        Term::MaybeText(name) => (name, true),
        Term::Text(name) => (name, false),
        _ => return Ok(None),
    };
    match names.number(&name) {
        None if !optional => {
            let hint = did_you_mean(&name, names.names());
            let message = format!(
                "{} has no member `{}` on this kernel{hint}; maybe('{}') takes it as one that nothing has",
                names.name,
                shorten(&name),
                shorten(&name)
            );
            Err(QueryError::absent(place, message))
        }
        value => Ok(value),
    }
}

/// 16 bytes, IPv4 as `::ffff:a.b.c.d`.
fn address(text: &str, place: Option<Position>) -> Result<[u8; 16], QueryError> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Ok(address.to_ipv6_mapped().octets()),
        Ok(IpAddr::V6(address)) => Ok(address.octets()),
        Err(_) => {
            let message = format!("'{}' is no address: write one such as '10.0.0.1' or 'fd00::1'", shorten(text));
            Err(QueryError::text(place, message))
        }
    }
}

fn compare_columns(a: Operand, by: Comparison, b: Operand, place: Option<Position>) -> Result<Condition, QueryError> {
    let integer = |ty| matches!(ty, Some(Type::U64 | Type::S64));
    let equality = matches!(by, Comparison::Equal | Comparison::NotEqual);
    match (a.ty, b.ty) {
        (Some(Type::Scope), Some(Type::Scope)) if !equality => {
            let message = format!("`{}` has no order: compare with = or <>, or compare name(..)", a.text);
            Err(QueryError::text(place, message))
        }
        (Some(Type::Address | Type::Octets | Type::Pointer), _)
        | (_, Some(Type::Address | Type::Octets | Type::Pointer)) => {
            Err(mismatch(&Term::Column(a), &Term::Column(b), place))
        }
        (x, y) if x == y || (integer(x) && integer(y)) => Ok(Condition::Columns(a.source, by, b.source)),
        _ => Err(mismatch(&Term::Column(a), &Term::Column(b), place)),
    }
}

fn mismatch(a: &Term, b: &Term, place: Option<Position>) -> QueryError {
    let scope = [a, b].into_iter().find_map(|term| match term {
        Term::Column(operand) if operand.ty == Some(Type::Scope) => Some(operand),
        _ => None,
    });
    let advice = match scope {
        Some(operand) => format!("a handle has no value of its own, compare its name: name({}) = 'host'", operand.text),
        None => "compare a text with 'a text', an integer with an integer".into(),
    };
    QueryError::text(place, format!("{} cannot be compared with {}: {advice}", describe(a), describe(b)))
}

fn describe(term: &Term) -> String {
    match term {
        Term::Column(operand) => {
            format!("`{}` ({})", operand.text, operand.ty.map_or("an integer", kind))
        }
        Term::Integer(value) => format!("the number {value}"),
        Term::Text(text) | Term::MaybeText(text) => format!("the text '{}'", shorten(text)),
        Term::Null => "NULL".into(),
        Term::Condition(_) => "a condition".into(),
    }
}

fn literal(value: &Value, place: Option<Position>) -> Result<Term, QueryError> {
    match value {
        Value::Number(digits, false) => integer(digits, false, place).map(Term::Integer),
        Value::SingleQuotedString(text) => Ok(Term::Text(text.clone())),
        Value::Boolean(truth) => Ok(Term::Condition(Condition::Constant((*truth).into()))),
        Value::Null => Ok(Term::Null),
        Value::Placeholder(_) => Err(QueryError::text(place, "there are no parameters: write the value itself")),
        _ => Err(QueryError::text(place, "literals are integers in decimal, 'texts', TRUE, FALSE and NULL")),
    }
}
