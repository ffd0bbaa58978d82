//! Arithmetic and comparisons of integers in the kernel, as [`crate::arithmetic`] says: what overflows is NULL, and counted in a figure.
//!
//! BPF's own division with a sign came late, so signs are taken off and put back by hand.

use super::{
    super::{
        access::Access,
        asm::{Alu, Jump, Label, R1, R2, R3, R4, R5, Reg},
        program::figure,
    },
    emit::Emit,
    filter::jump,
    range::Range,
};
use crate::{
    arithmetic::{Number, Operation},
    query::expr::Compared,
};
use std::{cmp::Ordering, sync::Arc};

type Computed = Number<Arc<Access>>;

/// Where to go without a value.
#[derive(Clone, Copy)]
struct Ways {
    absent: Label,
    overflow: Label,
}

impl Emit<'_> {
    /// R1 = what a number comes to; goes to `absent` where that is NULL.
    pub fn arithmetic(&mut self, number: &Computed, absent: Label) {
        let ways = Ways { absent, overflow: self.asm.label() };
        self.compute(number, ways);
        self.overflowed(ways);
    }

    /// R1 = 1 if a comparison holds, else 0; goes to `absent` where it is NULL.
    pub fn compared(&mut self, compared: &Compared<Arc<Access>>, absent: Label) {
        let Compared { left, by, right } = compared;
        let ways = Ways { absent, overflow: self.asm.label() };
        self.operands(left, right, ways);
        let (a, b) = signs(left, right);
        let (holds, differ) = (self.asm.label(), self.asm.label());
        self.asm.constant(R3, 1);
        if a != b {
            // One with a sign that is below zero is less than any without; else both are compared without.
            let same = self.asm.label();
            let (signed, order) = if a { (R1, Ordering::Less) } else { (R2, Ordering::Greater) };
            self.asm.jump_if(Jump::SGe, signed, 0, same);
            self.asm.jump(if by.accepts(order) { holds } else { differ });
            self.asm.place(same);
        }
        self.asm.jump_if_reg(jump(*by, a && b), R1, R2, holds);
        self.asm.place(differ);
        self.asm.constant(R3, 0);
        self.asm.place(holds);
        self.asm.mov(R1, R3);
        self.overflowed(ways);
    }

    /// R1 = the bucket of a histogram that a value is in: how many bits it takes to tell what is before it; goes to `absent` where it is NULL.
    pub fn bucket_of(&mut self, of: &Access, signed: bool, absent: Label) {
        self.number(of, absent);
        let done = self.asm.label();
        self.asm.constant(R2, 0);
        self.asm.jump_if(if signed { Jump::SLe } else { Jump::Le }, R1, 1, done);
        self.asm.alu_imm(Alu::Sub, R1, 1);
        self.asm.constant(R2, 1);
        for half in [32, 16, 8, 4, 2, 1] {
            let lower = self.asm.label();
            self.asm.mov(R3, R1);
            self.asm.alu_imm(Alu::Rsh, R3, half);
            self.asm.jump_if(Jump::Eq, R3, 0, lower);
            self.asm.alu_imm(Alu::Add, R2, half);
            self.asm.mov(R1, R3);
            self.asm.place(lower);
        }
        self.asm.place(done);
        self.asm.mov(R1, R2);
    }

    /// Counts an overflow, if there may be one, and goes to `absent`.
    fn overflowed(&mut self, ways: Ways) {
        if !self.asm.is_wanted(ways.overflow) {
            return;
        }
        let done = self.asm.label();
        self.asm.jump(done);
        self.asm.place(ways.overflow);
        self.count(figure::OVERFLOW);
        self.asm.jump(ways.absent);
        self.asm.place(done);
    }

    fn compute(&mut self, number: &Computed, ways: Ways) {
        match number {
            Number::Leaf { of, .. } => self.number(of, ways.absent),
            Number::Literal(value) => self.asm.constant(R1, *value as u64),
            Number::Operation { by, left, right } => {
                // A literal stands on the right, where it can.
                let (left, right) = match (by, left.as_ref()) {
                    (Operation::Multiply | Operation::Add, Number::Literal(_)) => (right, left),
                    _ => (left, right),
                };
                self.operands(left, right, ways);
                self.operate(*by, left, right, ways);
            }
        }
    }

    /// R1 and R2 = two numbers. To have one may take calls, which leave nothing in these registers.
    fn operands(&mut self, left: &Computed, right: &Computed, ways: Ways) {
        match (left, right) {
            (_, Number::Literal(value)) => {
                self.compute(left, ways);
                self.asm.constant(R2, *value as u64);
            }
            (Number::Literal(value), _) => {
                self.compute(right, ways);
                self.asm.mov(R2, R1);
                self.asm.constant(R1, *value as u64);
            }
            _ => {
                self.compute(left, ways);
                self.keep();
                self.compute(right, ways);
                self.asm.mov(R2, R1);
                self.take(R1);
            }
        }
    }

    /// R1 = R1 `by` R2.
    fn operate(&mut self, by: Operation, left: &Computed, right: &Computed, ways: Ways) {
        let (a, b) = signs(left, right);
        let ranges = [Range::of(left), Range::of(right)];
        // The one without a sign must fit beside the other.
        for (reg, signed, range) in [(R1, a, ranges[0]), (R2, b, ranges[1])] {
            if a != b && !signed && !range.fits(true) {
                self.asm.jump_if(Jump::SLt, reg, 0, ways.overflow);
            }
        }
        let literal = match right {
            Number::Literal(value) => Some(*value),
            _ => None,
        };
        let fits = Range::by(by, ranges[0], ranges[1]).fits(by.is_signed(a, b));
        match (by, a || b) {
            (Operation::Add, _) if fits => self.asm.alu(Alu::Add, R1, R2),
            (Operation::Add, false) => {
                self.asm.alu(Alu::Add, R1, R2);
                self.asm.jump_if_reg(Jump::Lt, R1, R2, ways.overflow);
            }
            (Operation::Add, true) => self.add_signed(ways),
            (Operation::Subtract, _) if fits => self.asm.alu(Alu::Sub, R1, R2),
            (Operation::Subtract, false) => self.subtract_unsigned(ways),
            (Operation::Subtract, true) => self.subtract_signed(ways),
            (Operation::Multiply, signed) => match literal {
                _ if fits => self.asm.alu(Alu::Mul, R1, R2),
                Some(0) => self.asm.constant(R1, 0),
                Some(factor) if factor > 0 && (!signed || factor <= i64::MAX.into()) => {
                    self.multiply_by(factor, signed, ways);
                }
                _ if signed => self.multiply_signed(ways),
                _ => self.multiply_unsigned(ways),
            },
            (Operation::Divide | Operation::Remainder, signed) => {
                let signed = signed && !ranges.iter().all(|range| range.is_unsigned());
                self.divide(by, signed, literal, ways);
            }
        }
    }

    fn add_signed(&mut self, ways: Ways) {
        // It overflows if both have the sign that the sum has not.
        self.asm.mov(R3, R1);
        self.asm.alu(Alu::Add, R1, R2);
        self.asm.alu(Alu::Xor, R3, R1);
        self.asm.alu(Alu::Xor, R2, R1);
        self.asm.alu(Alu::And, R3, R2);
        self.asm.jump_if(Jump::SLt, R3, 0, ways.overflow);
    }

    fn subtract_signed(&mut self, ways: Ways) {
        // It overflows if the signs differ, and the difference has not that of the first.
        self.asm.mov(R3, R1);
        self.asm.alu(Alu::Sub, R1, R2);
        self.asm.alu(Alu::Xor, R2, R3);
        self.asm.alu(Alu::Xor, R3, R1);
        self.asm.alu(Alu::And, R3, R2);
        self.asm.jump_if(Jump::SLt, R3, 0, ways.overflow);
    }

    /// The difference has a sign: below zero just where the first is the smaller one.
    fn subtract_unsigned(&mut self, ways: Ways) {
        let (less, done) = (self.asm.label(), self.asm.label());
        self.asm.mov(R3, R1);
        self.asm.alu(Alu::Sub, R1, R2);
        self.asm.jump_if_reg(Jump::Lt, R3, R2, less);
        self.asm.jump_if(Jump::SLt, R1, 0, ways.overflow);
        self.asm.jump(done);
        self.asm.place(less);
        self.asm.jump_if(Jump::SGe, R1, 0, ways.overflow);
        self.asm.place(done);
    }

    /// By a literal above zero, in R2: what may be multiplied is known.
    fn multiply_by(&mut self, factor: i128, signed: bool, ways: Ways) {
        let bounds = match signed {
            true => {
                [Some((Jump::SGt, i128::from(i64::MAX) / factor)), Some((Jump::SLt, i128::from(i64::MIN) / factor))]
            }
            false => [Some((Jump::Gt, i128::from(u64::MAX) / factor)), None],
        };
        for (beyond, bound) in bounds.into_iter().flatten().filter(|_| factor > 1) {
            self.asm.constant(R3, bound as u64);
            self.asm.jump_if_reg(beyond, R1, R3, ways.overflow);
        }
        self.asm.alu(Alu::Mul, R1, R2);
    }

    fn multiply_unsigned(&mut self, ways: Ways) {
        let done = self.asm.label();
        self.asm.jump_if(Jump::Eq, R1, 0, done);
        self.asm.mov(R3, R1);
        self.multiply_back(R3, R4, ways);
        self.asm.place(done);
    }

    /// R1 *= R2, where R1 is `first`, and not 0: dividing back tells whether it fitted.
    fn multiply_back(&mut self, first: Reg, scratch: Reg, ways: Ways) {
        self.asm.alu(Alu::Mul, R1, R2);
        self.asm.mov(scratch, R1);
        self.asm.alu(Alu::Div, scratch, first);
        self.asm.jump_if_reg(Jump::Ne, scratch, R2, ways.overflow);
    }

    fn multiply_signed(&mut self, ways: Ways) {
        let done = self.asm.label();
        self.sign_of_both(R3);
        self.absolute(R1, R4);
        self.absolute(R2, R4);
        self.asm.jump_if(Jump::Eq, R1, 0, done);
        self.asm.mov(R4, R1);
        self.multiply_back(R4, R5, ways);
        self.asm.jump_if(Jump::Eq, R1, 0, done);
        // One more fits below zero than above.
        self.asm.mov(R4, R1);
        self.asm.alu(Alu::Add, R4, R3);
        self.asm.jump_if(Jump::SLt, R4, 0, ways.overflow);
        self.negate_if(R3);
        self.asm.place(done);
    }

    fn divide(&mut self, by: Operation, signed: bool, literal: Option<i128>, ways: Ways) {
        match literal {
            Some(0) => return self.asm.jump(ways.absent),
            Some(_) => {}
            None => self.asm.jump_if(Jump::Eq, R2, 0, ways.absent),
        }
        let op = if by == Operation::Divide { Alu::Div } else { Alu::Mod };
        let literal_power = literal.filter(|literal| *literal > 0 && literal & (literal - 1) == 0);
        if !signed {
            return match literal_power {
                Some(power) => self.divide_by_power(by, power),
                None => self.asm.alu(op, R1, R2),
            };
        }
        if by == Operation::Divide {
            self.sign_of_both(R3);
        } else {
            self.asm.mov(R3, R1);
            self.asm.alu_imm(Alu::Arsh, R3, 63);
        }
        self.absolute(R1, R4);
        if let Some(power) = literal_power {
            self.divide_by_power(by, power);
            return self.negate_if(R3);
        }
        self.absolute(R2, R4);
        self.asm.alu(op, R1, R2);
        if by == Operation::Divide && literal.is_none_or(|literal| literal == -1) {
            // Only the least by -1 does not fit: a result without a sign that would be one.
            self.asm.mov(R4, R3);
            self.asm.alu_imm(Alu::Xor, R4, -1);
            self.asm.alu(Alu::And, R4, R1);
            self.asm.jump_if(Jump::SLt, R4, 0, ways.overflow);
        }
        self.negate_if(R3);
    }

    /// R1, without a sign, by a power of two in R2: a division takes many times as long.
    fn divide_by_power(&mut self, by: Operation, power: i128) {
        if by == Operation::Divide {
            return self.asm.alu_imm(Alu::Rsh, R1, power.trailing_zeros() as i32);
        }
        self.asm.alu_imm(Alu::Sub, R2, 1);
        self.asm.alu(Alu::And, R1, R2);
    }

    /// `dst` = -1 if just one of R1 and R2 is below zero, else 0.
    fn sign_of_both(&mut self, dst: Reg) {
        self.asm.mov(dst, R1);
        self.asm.alu(Alu::Xor, dst, R2);
        self.asm.alu_imm(Alu::Arsh, dst, 63);
    }

    /// `reg` without its sign.
    fn absolute(&mut self, reg: Reg, scratch: Reg) {
        self.asm.mov(scratch, reg);
        self.asm.alu_imm(Alu::Arsh, scratch, 63);
        self.asm.alu(Alu::Xor, reg, scratch);
        self.asm.alu(Alu::Sub, reg, scratch);
    }

    /// R1 = -R1 if `sign` is -1, and R1 if it is 0.
    fn negate_if(&mut self, sign: Reg) {
        self.asm.alu(Alu::Xor, R1, sign);
        self.asm.alu(Alu::Sub, R1, sign);
    }
}

/// Whether two numbers beside each other have signs. A literal takes the other's, if it can.
fn signs(left: &Computed, right: &Computed) -> (bool, bool) {
    let small = |number: &Computed| matches!(number, Number::Literal(value) if (0..=i64::MAX.into()).contains(value));
    let (a, b) = (left.is_signed(), right.is_signed());
    (a || b && small(left), b || a && small(right))
}
