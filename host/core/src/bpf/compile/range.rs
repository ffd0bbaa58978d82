//! Between which bounds a computed number is: what cannot overflow, or be below zero, need not be looked at in each row.

use super::super::access::{Access, Computed, Path, Read};
use crate::arithmetic::{Number, Operation};
use std::sync::Arc;

/// The least and the greatest value that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub least: i128,
    pub most: i128,
}

const UNSIGNED: Range = Range { least: 0, most: u64::MAX as i128 };
const SIGNED: Range = Range { least: i64::MIN as i128, most: i64::MAX as i128 };

impl Range {
    /// Of a number that has come to a value: it did not overflow.
    pub fn of(number: &Number<Arc<Access>>) -> Self {
        match number {
            Number::Literal(value) => Self { least: *value, most: *value },
            Number::Leaf { of, signed } => Self::of_access(of).within(Self::of_word(*signed)),
            Number::Operation { by, left, right } => {
                Self::by(*by, Self::of(left), Self::of(right)).within(Self::of_word(number.is_signed()))
            }
        }
    }

    /// Of the exact result for values in these ranges, unless it is NULL.
    pub fn by(by: Operation, a: Self, b: Self) -> Self {
        match by {
            Operation::Add => Self { least: a.least + b.least, most: a.most + b.most },
            Operation::Subtract => Self { least: a.least - b.most, most: a.most - b.least },
            Operation::Multiply => {
                let ends = [(a.least, b.least), (a.least, b.most), (a.most, b.least), (a.most, b.most)];
                let products = ends.map(|(a, b)| a.saturating_mul(b));
                Self::around(&products)
            }
            // By a whole number nothing becomes larger.
            Operation::Divide if b.least > 0 => {
                Self::around(&[a.least / b.least, a.least / b.most, a.most / b.least, a.most / b.most])
            }
            Operation::Divide => {
                let size = a.least.abs().max(a.most.abs());
                Self { least: -size, most: size }
            }
            Operation::Remainder => {
                let size = b.least.abs().max(b.most.abs()) - 1;
                Self { least: a.least.clamp(-size.max(0), 0), most: a.most.clamp(0, size.max(0)) }
            }
        }
    }

    pub fn is_unsigned(self) -> bool {
        self.least >= 0
    }

    /// Whether each value fits into 64 bits.
    pub fn fits(self, signed: bool) -> bool {
        self.within(Self::of_word(signed)) == self
    }

    fn around(values: &[i128]) -> Self {
        let (least, most) = (values.iter().min(), values.iter().max());
        Self { least: least.copied().unwrap_or_default(), most: most.copied().unwrap_or_default() }
    }

    fn within(self, other: Self) -> Self {
        Self { least: self.least.clamp(other.least, other.most), most: self.most.clamp(other.least, other.most) }
    }

    fn of_word(signed: bool) -> Self {
        if signed { SIGNED } else { UNSIGNED }
    }

    fn of_bits(bits: u32, signed: bool) -> Self {
        match signed {
            true => Self { least: -(1 << (bits.clamp(1, 64) - 1)), most: (1 << (bits.clamp(1, 64) - 1)) - 1 },
            false => Self { least: 0, most: (1 << bits.min(64)) - 1 },
        }
    }

    fn of_access(access: &Access) -> Self {
        match access {
            Access::Argument { size, signed, .. } => Self::of_bits(8 * size, *signed),
            Access::Path(Path { read: Read::Number { size, signed, .. }, .. }) => Self::of_bits(8 * size, *signed),
            Access::Path(Path { read: Read::Bits { width, signed, .. }, .. }) => Self::of_bits(*width, *signed),
            Access::Computed(Computed::Protocol | Computed::Family | Computed::Lport | Computed::Rport) => {
                Self::of_bits(16, false)
            }
            Access::Arithmetic(number) => Self::of(number),
            Access::Compared(_) => Self { least: 0, most: 1 },
            _ => Self { least: SIGNED.least, most: UNSIGNED.most },
        }
    }
}
