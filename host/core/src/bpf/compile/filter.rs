//! WHERE in the kernel: a condition becomes jumps, in SQL's three-valued logic.
//!
//! Only rows for which the condition is true are wanted, so what is unknown may be taken for false. Under NOT it is taken for true: then no
//! part of a condition is ever tested twice.

use super::{
    super::{
        access::Access,
        asm::{Alu, FP, Jump, Label, R1, R2},
    },
    CompileError,
    emit::Emit,
};
use crate::{
    query::{
        Query,
        expr::{Comparison, Condition, Source, SourceId, Test, Truth},
    },
    table::{TableColumn, Type},
};
use std::cmp::Ordering;

/// What a condition that is neither true nor false counts as.
#[derive(Clone, Copy, PartialEq)]
enum Unknown {
    True,
    False,
}

impl Unknown {
    fn flipped(self) -> Self {
        match self {
            Unknown::True => Unknown::False,
            Unknown::False => Unknown::True,
        }
    }
}

/// Where to go for which answer; for the other one the code goes on.
#[derive(Clone, Copy)]
struct Branch {
    to: Label,
    /// The answer for which it goes there.
    when: bool,
    unknown: Unknown,
}

impl Emit<'_> {
    /// Goes to `out` unless the condition is true.
    pub fn filter(&mut self, query: &Query, condition: &Condition) -> Result<(), CompileError> {
        let branch = Branch { to: self.out, when: false, unknown: Unknown::False };
        Filter { emit: self, query }.branch(condition, branch)
    }
}

struct Filter<'e, 'a, 'q> {
    emit: &'e mut Emit<'a>,
    query: &'q Query,
}

impl Filter<'_, '_, '_> {
    fn branch(&mut self, condition: &Condition, branch: Branch) -> Result<(), CompileError> {
        match condition {
            Condition::Constant(truth) => self.constant(*truth, branch),
            Condition::Not(inner) => {
                let inverse = Branch { when: !branch.when, unknown: branch.unknown.flipped(), ..branch };
                return self.branch(inner, inverse);
            }
            Condition::All(parts) => return self.parts(parts, branch, true),
            Condition::Any(parts) => return self.parts(parts, branch, false),
            Condition::Is(source) => self.is(*source, branch),
            Condition::IsNull(source) => self.is_null(*source, true, branch),
            Condition::Number(source, test) => self.number(*source, test, branch),
            Condition::Text(source, test) => return self.text(*source, test, branch),
            Condition::Address(source, test) => return self.address(*source, test, branch),
            Condition::Columns(left, comparison, right) => return self.columns(*left, *comparison, *right, branch),
            Condition::IsUnknown(_) => {
                return Err(CompileError::Condition("write IS NULL of a column, not of a condition"));
            }
            Condition::Conditions(..) => {
                return Err(CompileError::Condition("compare columns, and join the conditions with AND and OR"));
            }
        }
        Ok(())
    }

    /// AND and OR: one part decides, or the last one does.
    fn parts(&mut self, parts: &[Condition], branch: Branch, and: bool) -> Result<(), CompileError> {
        let Some((last, first)) = parts.split_last() else {
            self.constant(and.into(), branch);
            return Ok(());
        };
        // Of AND a false part decides; if that is where to go, each part may go there itself.
        let decides = !and;
        if branch.when == decides {
            return parts.iter().try_for_each(|part| self.branch(part, branch));
        }
        let decided = self.emit.asm.label();
        for part in first {
            self.branch(part, Branch { to: decided, when: decides, unknown: branch.unknown })?;
        }
        self.branch(last, branch)?;
        self.emit.asm.place(decided);
        Ok(())
    }

    fn constant(&mut self, truth: Truth, branch: Branch) {
        let answer = match truth {
            Truth::True => true,
            Truth::False => false,
            Truth::Unknown => branch.unknown == Unknown::True,
        };
        if answer == branch.when {
            self.emit.asm.jump(branch.to);
        }
    }

    /// A column of the table, unless this node has none.
    fn column(&self, source: SourceId) -> Option<&TableColumn> {
        self.query.column_of(source).map(|column| &self.query.columns[column])
    }

    /// Where to go without a value: to the branch's end, or past this test. The second label is to be placed after it.
    fn absent(&mut self, branch: Branch) -> (Label, Label) {
        let past = self.emit.asm.label();
        let goes = (branch.unknown == Unknown::True) == branch.when;
        (if goes { branch.to } else { past }, past)
    }

    fn is(&mut self, source: SourceId, branch: Branch) {
        match self.query.sources[source] {
            Source::IsNull { of, negated } => self.is_null(of, !negated, branch),
            _ => self.number(source, &Test::Compare(Comparison::NotEqual, 0), branch),
        }
    }

    /// Whether a column has no value, or that it has one.
    fn is_null(&mut self, source: SourceId, null: bool, branch: Branch) {
        let Some(access) = self.column(source).and_then(|column| column.access.clone()) else {
            return self.constant(null.into(), branch);
        };
        let (absent, past) = (self.emit.asm.label(), self.emit.asm.label());
        self.emit.number(&access, absent);
        self.constant((!null).into(), branch);
        self.emit.asm.jump(past);
        self.emit.asm.place(absent);
        self.constant(null.into(), branch);
        self.emit.asm.place(past);
    }

    fn number(&mut self, source: SourceId, test: &Test<i128>, branch: Branch) {
        let Some((access, ty)) = self.column(source).and_then(|column| Some((column.access.clone()?, column.ty)))
        else {
            return self.constant(Truth::Unknown, branch);
        };
        let (absent, past) = self.absent(branch);
        self.emit.number(&access, absent);
        let signed = ty == Type::S64;
        match test {
            Test::Compare(comparison, value) => self.compare(*comparison, *value, signed, branch),
            Test::In(values) => {
                let found = self.emit.asm.label();
                let hit = if branch.when { branch.to } else { found };
                for value in values {
                    let equal = Branch { to: hit, when: true, unknown: Unknown::False };
                    self.compare(Comparison::Equal, *value, signed, equal);
                }
                self.constant(Truth::False, branch);
                self.emit.asm.place(found);
            }
        }
        self.emit.asm.place(past);
    }

    /// R1 against a constant. One that no such number can be has a fixed answer.
    fn compare(&mut self, comparison: Comparison, value: i128, signed: bool, branch: Branch) {
        let (least, most) = if signed { (i64::MIN.into(), i64::MAX.into()) } else { (0, u64::MAX.into()) };
        if value < least || value > most {
            let beyond = if value > most { Ordering::Less } else { Ordering::Greater };
            return self.constant(comparison.accepts(beyond).into(), branch);
        }
        let jump = jump(if branch.when { comparison } else { inverse(comparison) }, signed);
        match i32::try_from(value) {
            Ok(value) => self.emit.asm.jump_if(jump, R1, value, branch.to),
            Err(_) => {
                self.emit.asm.constant(R2, value as u64);
                self.emit.asm.jump_if_reg(jump, R1, R2, branch.to);
            }
        }
    }

    fn text(&mut self, source: SourceId, test: &Test<String>, branch: Branch) -> Result<(), CompileError> {
        let literals: Vec<&[u8]> = match test {
            Test::Compare(Comparison::Equal | Comparison::NotEqual, text) => vec![text.as_bytes()],
            Test::In(texts) => texts.iter().map(|text| text.as_bytes()).collect(),
            Test::Compare(..) => return Err(CompileError::Condition("texts are compared with =, <> or IN")),
        };
        let negated = matches!(test, Test::Compare(Comparison::NotEqual, _));
        let Some((access, length)) = self.bytes_of(source) else {
            self.constant(Truth::Unknown, branch);
            return Ok(());
        };
        // A text ends with a zero, unless it fills its place; what is behind that may be anything.
        let possible = |text: &&&[u8]| text.len() <= length as usize && !text.contains(&0);
        let words = literals.iter().filter(possible).map(|text| {
            let compared = (text.len() + 1).min(length as usize);
            words(text, compared)
        });
        self.bytes(&access, length, words.collect(), negated, branch);
        Ok(())
    }

    fn address(&mut self, source: SourceId, test: &Test<[u8; 16]>, branch: Branch) -> Result<(), CompileError> {
        let literals = match test {
            Test::Compare(Comparison::Equal | Comparison::NotEqual, address) => std::slice::from_ref(address),
            Test::In(addresses) => addresses.as_slice(),
            Test::Compare(..) => return Err(CompileError::Condition("addresses are compared with =, <> or IN")),
        };
        let negated = matches!(test, Test::Compare(Comparison::NotEqual, _));
        match self.bytes_of(source) {
            None => self.constant(Truth::Unknown, branch),
            Some((access, length)) => {
                let words = literals.iter().map(|address| words(address, 16)).collect();
                self.bytes(&access, length, words, negated, branch);
            }
        }
        Ok(())
    }

    fn bytes_of(&self, source: SourceId) -> Option<(std::sync::Arc<Access>, u32)> {
        let column = self.column(source)?;
        let length = match super::form(column) {
            super::Form::Bytes(length) => length,
            _ => return None,
        };
        Some((column.access.clone()?, length))
    }

    /// Whether a column's bytes are those of one of the literals, each a list of masks and words.
    fn bytes(&mut self, access: &Access, length: u32, literals: Vec<Vec<(u64, u64)>>, negated: bool, branch: Branch) {
        let area = match self.emit.area {
            Some(area) => area,
            None => {
                let area = self.emit.room(AREA);
                self.emit.area = Some(area);
                area
            }
        };
        let (absent, past) = self.absent(branch);
        self.emit.bytes(access, FP, area, length, absent);
        let found = self.emit.asm.label();
        for literal in literals {
            let next = self.emit.asm.label();
            for (index, (mask, word)) in (0..).zip(literal) {
                self.emit.asm.load(8, R1, FP, area + 8 * index);
                if mask != u64::MAX {
                    self.emit.asm.constant(R2, mask);
                    self.emit.asm.alu(Alu::And, R1, R2);
                }
                self.emit.asm.constant(R2, word);
                self.emit.asm.jump_if_reg(Jump::Ne, R1, R2, next);
            }
            self.emit.asm.jump(found);
            self.emit.asm.place(next);
        }
        self.constant(negated.into(), branch);
        self.emit.asm.jump(past);
        self.emit.asm.place(found);
        self.constant((!negated).into(), branch);
        self.emit.asm.place(past);
    }

    fn columns(
        &mut self,
        left: SourceId,
        comparison: Comparison,
        right: SourceId,
        branch: Branch,
    ) -> Result<(), CompileError> {
        let number = |ty| matches!(ty, Type::U64 | Type::S64 | Type::Scope);
        // Names are compared by their letters, which the kernel does not know.
        let is_read = |source: SourceId| self.query.sources[source].of().is_none();
        if !is_read(left) || !is_read(right) {
            return Err(CompileError::Condition("only columns of numbers are compared with each other"));
        }
        let (Some(a), Some(b)) = (self.column(left).cloned(), self.column(right).cloned()) else {
            self.constant(Truth::Unknown, branch);
            return Ok(());
        };
        let (true, true, Some(first), Some(second)) = (number(a.ty), number(b.ty), &a.access, &b.access) else {
            return Err(CompileError::Condition("only columns of numbers are compared with each other"));
        };
        let (absent, past) = self.absent(branch);
        self.emit.number(first, absent);
        self.emit.keep();
        self.emit.number(second, absent);
        self.emit.take(R2);
        if a.ty != b.ty {
            // One with a sign that is below zero is less than any without; else both are compared without.
            let same = self.emit.asm.label();
            let (signed, order) = if a.ty == Type::S64 { (R2, Ordering::Less) } else { (R1, Ordering::Greater) };
            self.emit.asm.jump_if(Jump::SGe, signed, 0, same);
            self.constant(comparison.accepts(order).into(), branch);
            self.emit.asm.jump(past);
            self.emit.asm.place(same);
        }
        let wanted = if branch.when { comparison } else { inverse(comparison) };
        let signed = a.ty == Type::S64 && b.ty == Type::S64;
        self.emit.asm.jump_if_reg(jump(wanted, signed), R2, R1, branch.to);
        self.emit.asm.place(past);
        Ok(())
    }
}

/// Room for the longest bytes that a filter looks at.
const AREA: u32 = 128;

/// The first `compared` bytes of a text that is padded with zeros, as words with the bits of each that count.
fn words(text: &[u8], compared: usize) -> Vec<(u64, u64)> {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let word = |first: usize| {
        let counted = (compared - first).min(8);
        let mask = if counted == 8 { u64::MAX } else { (1 << (8 * counted)) - 1 };
        let bytes = std::array::from_fn(|index| if index < counted { byte(first + index) } else { 0 });
        (mask, u64::from_le_bytes(bytes))
    };
    (0..compared).step_by(8).map(word).collect()
}

/// The jump that is taken if the comparison holds.
pub(super) fn jump(comparison: Comparison, signed: bool) -> Jump {
    match (comparison, signed) {
        (Comparison::Equal, _) => Jump::Eq,
        (Comparison::NotEqual, _) => Jump::Ne,
        (Comparison::Less, false) => Jump::Lt,
        (Comparison::LessOrEqual, false) => Jump::Le,
        (Comparison::Greater, false) => Jump::Gt,
        (Comparison::GreaterOrEqual, false) => Jump::Ge,
        (Comparison::Less, true) => Jump::SLt,
        (Comparison::LessOrEqual, true) => Jump::SLe,
        (Comparison::Greater, true) => Jump::SGt,
        (Comparison::GreaterOrEqual, true) => Jump::SGe,
    }
}

fn inverse(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
    }
}
