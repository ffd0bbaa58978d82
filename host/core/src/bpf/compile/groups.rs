//! An aggregate: each event adds to its group, in one of two maps; each object of a pass in the only one.

use super::{
    super::{
        access::Access,
        asm::{Alu, FP, Jump, Label, R0, R1, R2, R3, R4, R7, R8, helper},
        program::{Map, Writes, figure},
        record::{Cell, KEY_HEAD_BYTES},
    },
    aggregated,
    emit::Emit,
    rows::BPF_NOEXIST,
};
use crate::{
    query::{
        Query,
        expr::{Aggregate, Grouping},
    },
    table::Type,
};
use std::sync::Arc;

/// Where an aggregate is in the value of a group: index of its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// One word.
    Count(usize),
    /// How many values there were, and their sum, or the least or greatest of them.
    Sum {
        word: usize,
        signed: bool,
    },
    Min {
        word: usize,
        signed: bool,
    },
    Max {
        word: usize,
        signed: bool,
    },
    /// Of what this node does not have: always NULL, or none.
    Nothing {
        counted: bool,
    },
}

/// Lays the aggregates out.
pub(super) fn partials(query: &Query, aggregates: &[Aggregate]) -> Vec<Partial> {
    let mut next = 0;
    let mut take = |words: usize| {
        next += words;
        next - words
    };
    let partial = |aggregate: &Aggregate| {
        let column = aggregated(query, *aggregate);
        let signed = column.is_some_and(|column| column.ty == Type::S64);
        match (aggregate, column) {
            (Aggregate::Rows, _) | (Aggregate::Count(_), Some(_)) => Partial::Count(take(1)),
            (Aggregate::Sum(_), Some(_)) => Partial::Sum { word: take(2), signed },
            (Aggregate::Min(_), Some(_)) => Partial::Min { word: take(2), signed },
            (Aggregate::Max(_), Some(_)) => Partial::Max { word: take(2), signed },
            (_, None) => Partial::Nothing { counted: matches!(aggregate, Aggregate::Count(_)) },
        }
    };
    aggregates.iter().map(partial).collect()
}

impl Partial {
    fn words(self) -> usize {
        match self {
            Partial::Count(word) => word + 1,
            Partial::Sum { word, .. } | Partial::Min { word, .. } | Partial::Max { word, .. } => word + 2,
            Partial::Nothing { .. } => 0,
        }
    }
}

/// In the count of a sum's values: it did not fit into 64 bits.
pub const OVERFLOWED: u64 = 1 << 63;

/// Errors of an update (include/uapi/asm-generic/errno-base.h).
const E2BIG: i32 = 7;
pub(super) const EEXIST: i32 = 17;

impl Emit<'_> {
    /// Adds to the event's group.
    pub fn groups(
        &mut self,
        query: &Query,
        grouping: &Grouping,
        cells: &[Option<Cell>],
        partials: &[Partial],
    ) -> Writes {
        let end = cells.iter().flatten().map(|cell| cell.offset + cell.form.room()).max();
        let key_bytes = end.unwrap_or(0).max(KEY_HEAD_BYTES);
        let words = partials.iter().map(|partial| partial.words()).max().unwrap_or(0).max(1);
        let value_bytes = 8 * words as u32;
        let (key, value) = (self.room(key_bytes), self.room(value_bytes));

        let of = |aggregate: &Aggregate| aggregated(query, *aggregate).and_then(|column| column.access.clone());
        let inputs: Vec<Option<Arc<Access>>> = grouping.aggregates.iter().map(of).collect();
        self.prepare(inputs.iter().flatten().map(Arc::as_ref));
        self.asm.constant(R8, 0);
        for (column, cell) in query.columns.iter().zip(cells) {
            if let (Some(access), Some(cell)) = (column.access.as_deref(), cell) {
                self.cell(access, *cell, FP, key);
            }
        }
        self.asm.store(8, FP, key, R8);
        self.once();
        self.find(key, value, value_bytes);
        self.asm.mov(R7, R0);
        for (partial, input) in partials.iter().zip(inputs) {
            self.add(*partial, input.as_deref());
        }
        Writes::Groups { key_bytes: key_bytes as usize, value_bytes: value_bytes as usize }
    }

    /// R0 = this CPU's value of the group, made if there is none, in the map that the switch points to.
    fn find(&mut self, key: i32, value: i32, value_bytes: u32) {
        let (second, found, have) = (self.asm.label(), self.asm.label(), self.asm.label());
        if self.hook.pass().is_some() {
            self.find_in(Map::Groups(0), key, value, value_bytes);
            return self.leave_without_group(have);
        }
        self.asm.store_imm(4, FP, self.scratch, 0);
        self.asm.map(R1, Map::Switch);
        self.stack_address(R2, self.scratch);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Jump::Eq, R0, 0, self.out);
        self.asm.load(8, R7, R0, 0);
        // Each call has one map, so that the kernel can put the lookup in its place.
        self.asm.jump_if(Jump::Ne, R7, 0, second);
        self.find_in(Map::Groups(0), key, value, value_bytes);
        self.asm.jump(found);
        self.asm.place(second);
        self.find_in(Map::Groups(1), key, value, value_bytes);
        self.asm.place(found);
        self.leave_without_group(have);
    }

    /// Leaves if there is no value after all.
    fn leave_without_group(&mut self, have: Label) {
        self.asm.jump_if(Jump::Ne, R0, 0, have);
        self.count(figure::MAP_ERROR);
        self.asm.jump(self.out);
        self.asm.place(have);
    }

    fn find_in(&mut self, map: Map, key: i32, value: i32, value_bytes: u32) {
        let (found, again, failed) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.lookup(map, key);
        self.asm.jump_if(Jump::Ne, R0, 0, found);
        for word in 0..value_bytes / 8 {
            self.asm.store_imm(8, FP, value + 8 * word as i32, 0);
        }
        self.asm.map(R1, map);
        self.stack_address(R2, key);
        self.stack_address(R3, value);
        self.asm.constant(R4, BPF_NOEXIST);
        self.asm.call(helper::MAP_UPDATE_ELEM);
        self.asm.jump_if(Jump::Eq, R0, 0, again);
        // Another CPU was faster.
        self.asm.jump_if(Jump::Eq, R0, -EEXIST, again);
        self.asm.jump_if(Jump::Ne, R0, -E2BIG, failed);
        self.count(figure::MAP_FULL);
        self.asm.jump(self.out);
        self.asm.place(failed);
        self.count(figure::MAP_ERROR);
        self.asm.jump(self.out);
        self.asm.place(again);
        self.lookup(map, key);
        self.asm.place(found);
    }

    fn lookup(&mut self, map: Map, key: i32) {
        self.asm.map(R1, map);
        self.stack_address(R2, key);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
    }

    /// Adds an input to the value in R7. No other CPU writes there, and this program does not interrupt itself.
    ///
    /// Each input is had and added before the next one: kept on the stack, there or not, each would double the verifier's work.
    fn add(&mut self, partial: Partial, input: Option<&Access>) {
        let at = |word: usize| 8 * word as i32;
        let (word, keep) = match partial {
            Partial::Nothing { .. } => return,
            Partial::Count(word) | Partial::Sum { word, .. } => (word, None),
            Partial::Min { word, signed: false } => (word, Some(Jump::Ge)),
            Partial::Min { word, signed: true } => (word, Some(Jump::SGe)),
            Partial::Max { word, signed: false } => (word, Some(Jump::Le)),
            Partial::Max { word, signed: true } => (word, Some(Jump::SLe)),
        };
        let absent = self.asm.label();
        if let Some(access) = input {
            self.number(access, absent);
        }
        match (partial, keep) {
            // Of what is only counted there may be no number.
            (Partial::Count(_), _) => {}
            (Partial::Sum { signed, .. }, None) if input.is_some_and(Access::is_wide) => {
                self.sum(at(word), signed);
            }
            (_, None) => self.asm.increase(R7, at(word + 1), R1, R2),
            (_, Some(keep)) => {
                let (take, kept) = (self.asm.label(), self.asm.label());
                self.asm.load(8, R2, R7, at(word));
                self.asm.jump_if(Jump::Eq, R2, 0, take);
                self.asm.load(8, R2, R7, at(word + 1));
                self.asm.jump_if_reg(keep, R1, R2, kept);
                self.asm.place(take);
                self.asm.store(8, R7, at(word + 1), R1);
                self.asm.place(kept);
            }
        }
        self.asm.count(R7, at(word), R1);
        self.asm.place(absent);
    }

    /// Adds R1 to a sum; one that does not fit into 64 bits has its mark from then on (rule 21).
    fn sum(&mut self, word: i32, signed: bool) {
        let (fits, marked) = (self.asm.label(), self.asm.label());
        self.asm.increase(R7, word + 8, R1, R2);
        match signed {
            false => self.asm.jump_if_reg(Jump::Ge, R2, R1, fits),
            // R3 is the sum before. Only of two with one sign may the result have the other.
            true => {
                self.asm.mov(R3, R2);
                self.asm.alu(Alu::Sub, R3, R1);
                self.asm.alu(Alu::Xor, R3, R2);
                self.asm.alu(Alu::Xor, R1, R2);
                self.asm.alu(Alu::And, R3, R1);
                self.asm.jump_if(Jump::SGe, R3, 0, fits);
            }
        }
        self.asm.load(8, R1, R7, word);
        self.asm.jump_if(Jump::SLt, R1, 0, marked);
        self.asm.constant(R2, OVERFLOWED);
        self.asm.alu(Alu::Or, R1, R2);
        self.asm.store(8, R7, word, R1);
        self.count(figure::OVERFLOW);
        self.asm.place(marked);
        self.asm.place(fits);
    }
}
