//! What a checked query consists of. Plain data: `run` evaluates it over columns, and a compiler for kernel tables can read it.

use crate::{
    arithmetic::{Number, Overflow},
    bpf::enums::EnumNames,
};
use sqlparser::ast::BinaryOperator;
use std::{borrow::Borrow, cmp::Ordering, sync::Arc};

/// Index into a query's sources.
pub type SourceId = usize;

/// A column that the query computes with: read of the table, or made of such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Index into `Query::columns`.
    Table(usize),
    /// `name(x)`: what people call the scope.
    ScopeName(SourceId),
    /// `name(x)` of a number that an enum of the kernel has a name for.
    EnumName { of: SourceId, names: Arc<EnumNames> },
    /// `name(x)` of an address of code: the symbol that it lies in.
    Symbol(SourceId),
    /// `x IS NULL`, or `x IS NOT NULL`.
    IsNull { of: SourceId, negated: bool },
    /// `a + b` and the like, of columns that the host reads: the kernel computes with its own before they are read.
    Arithmetic(Number<SourceId>),
    /// `a > b` of such numbers, as a column.
    Compared(Compared<SourceId>),
    /// The bucket of `histogram(x)` that x is in.
    Bucket(SourceId),
    /// `maybe(x)` where this node has no x: always NULL. The name, as two such columns are not the same one.
    Missing(String),
}

/// Two numbers, compared by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared<L> {
    pub left: Number<L>,
    pub by: Comparison,
    pub right: Number<L>,
}

/// A value of SQL's three-valued logic, in the order in which AND is the lesser and OR the greater of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    False,
    Unknown,
    True,
}

/// A filter, as one value of `Truth` for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Constant(Truth),
    /// A column of truth values.
    Is(SourceId),
    IsNull(SourceId),
    /// `(condition) IS NULL`.
    IsUnknown(Box<Condition>),
    /// A column of integers against literals.
    Number(SourceId, Test<i128>),
    /// A column of texts against literals.
    Text(SourceId, Test<String>),
    /// A column of addresses against literals.
    Address(SourceId, Test<[u8; 16]>),
    /// Two columns: both of integers, of texts, or of scopes.
    Columns(SourceId, Comparison, SourceId),
    Conditions(Box<Condition>, Comparison, Box<Condition>),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Source {
    /// The one column that it is made of; None if it is read, computed of several, or missing.
    pub fn of(&self) -> Option<SourceId> {
        match self {
            Source::ScopeName(of) | Source::Symbol(of) | Source::Bucket(of) => Some(*of),
            Source::EnumName { of, .. } | Source::IsNull { of, .. } => Some(*of),
            Source::Table(_) | Source::Arithmetic(_) | Source::Compared(_) | Source::Missing(_) => None,
        }
    }

    /// All columns that it is made of.
    pub fn operands(&self) -> Vec<SourceId> {
        let mut operands = Vec::from_iter(self.of());
        let mut each = |of: &SourceId| operands.push(*of);
        match self {
            Source::Arithmetic(number) => number.for_each_leaf(&mut each),
            Source::Compared(Compared { left, right, .. }) => {
                left.for_each_leaf(&mut each);
                right.for_each_leaf(&mut each);
            }
            _ => {}
        }
        operands
    }
}

impl<L> Compared<L> {
    /// Whether it holds; None is NULL.
    ///
    /// # Errors
    /// If a side overflows.
    pub fn compute(&self, leaf: &dyn Fn(&L) -> Option<i128>) -> Result<Option<bool>, Overflow> {
        let Some(left) = self.left.compute(leaf)? else { return Ok(None) };
        let Some(right) = self.right.compute(leaf)? else { return Ok(None) };
        Ok(Some(self.by.accepts(left.cmp(&right))))
    }
}

impl Condition {
    /// Calls `each` with every source that the condition looks at.
    pub fn for_each_source(&self, each: &mut dyn FnMut(SourceId)) {
        match self {
            Condition::Constant(_) => {}
            Condition::Is(source) | Condition::IsNull(source) => each(*source),
            Condition::Number(source, _) | Condition::Text(source, _) | Condition::Address(source, _) => each(*source),
            Condition::Columns(left, _, right) => [*left, *right].into_iter().for_each(each),
            Condition::IsUnknown(inner) | Condition::Not(inner) => inner.for_each_source(each),
            Condition::Conditions(left, _, right) => {
                [left, right].into_iter().for_each(|inner| inner.for_each_source(each))
            }
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| part.for_each_source(each)),
        }
    }
}

/// What a value that is not NULL must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test<T> {
    Compare(Comparison, T),
    /// Sorted.
    In(Vec<T>),
}

impl<T: Ord> Test<T> {
    pub fn accepts<V: Ord + ?Sized>(&self, value: &V) -> bool
    where
        T: Borrow<V>,
    {
        match self {
            Test::Compare(comparison, literal) => comparison.accepts(value.cmp(literal.borrow())),
            Test::In(list) => list.binary_search_by(|literal| literal.borrow().cmp(value)).is_ok(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub fn of(op: &BinaryOperator) -> Option<Self> {
        Some(match op {
            BinaryOperator::Eq => Comparison::Equal,
            BinaryOperator::NotEq => Comparison::NotEqual,
            BinaryOperator::Lt => Comparison::Less,
            BinaryOperator::LtEq => Comparison::LessOrEqual,
            BinaryOperator::Gt => Comparison::Greater,
            BinaryOperator::GtEq => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    /// As a query writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    /// The same comparison with its sides exchanged.
    pub fn flipped(self) -> Self {
        match self {
            Comparison::Equal | Comparison::NotEqual => self,
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        }
    }

    pub fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Truth::True } else { Truth::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::True => Truth::False,
        }
    }
}

/// One value for the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// `count(*)`.
    Rows,
    /// `count(x)`: rows in which x is not NULL.
    Count(SourceId),
    Sum(SourceId),
    Min(SourceId),
    Max(SourceId),
}

/// Where a result column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// In a grouped query one that is the same in all rows of a group.
    Source(SourceId),
    /// Index into the grouping's aggregates.
    Aggregate(usize),
}

/// GROUP BY. Without keys all rows are one group, also no rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    pub keys: Vec<SourceId>,
    pub aggregates: Vec<Aggregate>,
}

/// One expression of ORDER BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderKey {
    pub by: Output,
    pub descending: bool,
    pub nulls_first: bool,
}
