//! Arithmetic of integers of 64 bits (rule 21), as queries have it: what a computed number is made of, what type it has, what it comes to.
//!
//! A value is a U64 or an S64, and every operation gives the value that mathematics gives, if that fits the type of its result:
//!
//! - `+` `*` `/` `%` of two U64 give a U64. `-`, also with one side (`-x` is `0 - x`), gives an S64.
//! - With an S64 on either side the result is an S64. A U64 beside it must fit into an S64 itself.
//! - What does not fit is an overflow: the result is NULL, and it is counted.
//! - Division truncates towards zero, and the remainder has the sign of what is divided. By zero both are NULL.
//! - A literal is an S64 if it is below zero, else a U64. What is made of literals alone is a literal, computed before there are rows.
//! - NULL on either side gives NULL. The left side is computed first; if it is NULL, the right one is not computed.

/// What is done with two integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A result that does not fit into its 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Operation {
    /// Whether the result has a sign, if these sides have one.
    pub fn is_signed(self, left: bool, right: bool) -> bool {
        left || right || self == Operation::Subtract
    }

    /// The result for two values, each with whether its type has a sign; None is NULL.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn compute(self, (a, left): (i128, bool), (b, right): (i128, bool)) -> Result<Option<i128>, Overflow> {
        if (left || right) && (a > i64::MAX.into() || b > i64::MAX.into()) {
            return Err(Overflow);
        }
        let Some(value) = self.exact(a, b)? else { return Ok(None) };
        let fits = match self.is_signed(left, right) {
            true => i64::try_from(value).is_ok(),
            false => u64::try_from(value).is_ok(),
        };
        if fits { Ok(Some(value)) } else { Err(Overflow) }
    }

    /// The result without regard to types; None by zero.
    ///
    /// # Errors
    /// If not even 128 bits hold it.
    pub fn exact(self, a: i128, b: i128) -> Result<Option<i128>, Overflow> {
        Ok(Some(match self {
            Operation::Add => a + b,
            Operation::Subtract => a - b,
            Operation::Multiply => a.checked_mul(b).ok_or(Overflow)?,
            Operation::Divide | Operation::Remainder if b == 0 => return Ok(None),
            Operation::Divide => a / b,
            Operation::Remainder => a % b,
        }))
    }
}

/// A number that is computed from leaves: columns in the host, what the kernel reads in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number<L> {
    Leaf {
        of: L,
        signed: bool,
    },
    /// At least `i64::MIN`, at most `u64::MAX`.
    Literal(i128),
    Operation {
        by: Operation,
        left: Box<Number<L>>,
        right: Box<Number<L>>,
    },
}

impl<L> Number<L> {
    /// Whether its type has a sign.
    pub fn is_signed(&self) -> bool {
        match self {
            Number::Leaf { signed, .. } => *signed,
            Number::Literal(value) => *value < 0,
            Number::Operation { by, left, right } => by.is_signed(left.is_signed(), right.is_signed()),
        }
    }

    /// What it comes to; None is NULL.
    ///
    /// # Errors
    /// If it overflows on the way.
    pub fn compute(&self, leaf: &dyn Fn(&L) -> Option<i128>) -> Result<Option<i128>, Overflow> {
        match self {
            Number::Leaf { of, .. } => Ok(leaf(of)),
            Number::Literal(value) => Ok(Some(*value)),
            Number::Operation { by, left, right } => {
                let Some(a) = left.compute(leaf)? else { return Ok(None) };
                let Some(b) = right.compute(leaf)? else { return Ok(None) };
                by.compute((a, left.is_signed()), (b, right.is_signed()))
            }
        }
    }

    /// Calls `each` with every leaf, from left to right.
    pub fn for_each_leaf<'a>(&'a self, each: &mut dyn FnMut(&'a L)) {
        match self {
            Number::Leaf { of, .. } => each(of),
            Number::Literal(_) => {}
            Number::Operation { left, right, .. } => {
                left.for_each_leaf(each);
                right.for_each_leaf(each);
            }
        }
    }

    /// The same number of other leaves; None if there is one that has none.
    pub fn map<M>(self, change: &mut dyn FnMut(L) -> Option<M>) -> Option<Number<M>> {
        Some(match self {
            Number::Leaf { of, signed } => Number::Leaf { of: change(of)?, signed },
            Number::Literal(value) => Number::Literal(value),
            Number::Operation { by, left, right } => {
                Number::Operation { by, left: Box::new(left.map(change)?), right: Box::new(right.map(change)?) }
            }
        })
    }
}

/// The bucket of a histogram that a value is in (rule 14): the least k so that it is at most 2^k. 0 for what is below, too; 64 at most.
///
/// So bucket k is index k of bounds that begin at 2^0, and index k - e of those that begin at 2^e: what is below 2^e is at 0.
pub fn bucket(value: i128) -> u32 {
    if value <= 1 { 0 } else { u128::BITS - (value - 1).leading_zeros() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: bool = false;
    const S: bool = true;
    const MIN: i128 = i64::MIN as i128;
    const MAX: i128 = i64::MAX as i128;
    const TOP: i128 = u64::MAX as i128;

    #[test]
    fn rule_14_a_bucket_ends_with_a_power_of_two() {
        let expected =
            [(MIN, 0), (-1, 0), (0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (1 << 20, 20)];
        for (value, k) in expected.into_iter().chain([(MAX, 63), (MAX + 1, 63), (MAX + 2, 64), (TOP, 64)]) {
            assert_eq!(bucket(value), k, "{value}");
        }
        let bounds = crate::metric::histogram::Bounds::of_unit("");
        let mut histogram = crate::metric::histogram::Histogram::new(bounds.into());
        for value in [0, 1, 2, 3, 1000, 1 << 20] {
            histogram.observe(value as f64);
            assert_eq!(histogram.counts[bucket(value) as usize], 1, "{value}");
            histogram.clear();
        }
    }

    #[test]
    fn rule_21_results_are_exact_or_null() {
        use Operation::*;
        for (by, a, b, expected) in [
            (Add, (1, U), (2, U), Ok(Some(3))),
            (Add, (TOP, U), (1, U), Err(Overflow)),
            (Add, (MAX, U), (1, S), Err(Overflow)),
            (Add, (MAX, S), (-1, S), Ok(Some(MAX - 1))),
            (Add, (MAX + 1, U), (-1, S), Err(Overflow)),
            (Subtract, (1, U), (2, U), Ok(Some(-1))),
            (Subtract, (TOP, U), (TOP - 1, U), Ok(Some(1))),
            (Subtract, (TOP, U), (1, U), Err(Overflow)),
            (Subtract, (0, U), (MAX + 1, U), Ok(Some(MIN))),
            (Subtract, (0, U), (MAX + 2, U), Err(Overflow)),
            (Subtract, (0, U), (MIN, S), Err(Overflow)),
            (Multiply, (1 << 32, U), ((1 << 32) - 1, U), Ok(Some((1 << 64) - (1 << 32)))),
            (Multiply, (1 << 32, U), (1 << 32, U), Err(Overflow)),
            (Multiply, (TOP, U), (TOP, U), Err(Overflow)),
            (Multiply, (MIN, S), (-1, S), Err(Overflow)),
            (Multiply, (MIN, S), (1, S), Ok(Some(MIN))),
            (Multiply, (TOP, U), (0, S), Err(Overflow)),
            (Divide, (7, U), (2, U), Ok(Some(3))),
            (Divide, (-7, S), (2, U), Ok(Some(-3))),
            (Divide, (MIN, S), (-1, S), Err(Overflow)),
            (Divide, (TOP, U), (0, U), Ok(None)),
            (Remainder, (-7, S), (2, U), Ok(Some(-1))),
            (Remainder, (7, U), (-2, S), Ok(Some(1))),
            (Remainder, (MIN, S), (-1, S), Ok(Some(0))),
            (Remainder, (1, S), (0, U), Ok(None)),
        ] {
            assert_eq!(by.compute(a, b), expected, "{a:?} {by:?} {b:?}");
        }
    }
}
