//! A stream: a record for each event, as far as its namespace has tokens.

use super::{
    super::{
        asm::{Alu, FP, Jump, Label, R0, R1, R2, R3, R4, R6, R7, R8, R9, helper},
        program::{Map, Writes, figure},
        record::{Cell, head, stack},
    },
    Budget,
    emit::{Emit, word},
};
use crate::query::Query;

const NANOS: u64 = 1_000_000_000;

impl Emit<'_> {
    /// Writes the columns that have a cell into the ring.
    pub fn rows(&mut self, query: &Query, cells: &[Option<Cell>], budget: Budget) -> Writes {
        self.prepare_netns();
        let now = self.room(8);
        self.asm.call(helper::KTIME_GET_NS);
        self.asm.store(8, FP, now, R0);
        self.tokens(now, budget);
        // What columns are made of only now: of a flood, nearly all end at the bucket.
        self.prepare_cells(query, cells);

        let end = cells.iter().flatten().map(|cell| cell.offset + cell.form.room()).max();
        let bytes = end.unwrap_or(0).max(head::BYTES);
        let (full, reserved) = (self.asm.label(), self.asm.label());
        if budget.stacks > 0 {
            self.stack(now, bytes, budget.stacks, reserved);
        }
        self.reserve(bytes, full);
        self.asm.place(reserved);
        self.asm.constant(R8, 0);
        self.head(now);
        for (column, cell) in query.columns.iter().zip(cells) {
            if let (Some(access), Some(cell)) = (column.access.as_deref(), cell)
                && cell.offset >= head::BYTES
            {
                self.cell(access, *cell, R7, 0);
            }
        }
        self.asm.store(8, R7, head::PRESENT, R8);
        // Before anybody can read the row: what was written is never less than what was read.
        self.count(figure::SUBMITTED);
        self.asm.mov(R1, R7);
        // Without a flag the kernel wakes the reader only if it has read everything else, and that reads in intervals.
        self.asm.constant(R2, 0);
        self.asm.call(helper::RINGBUF_SUBMIT);
        self.asm.jump(self.out);
        self.asm.place(full);
        self.count(figure::RING_FULL);
        Writes::Records { bytes: bytes as usize }
    }

    /// R7 = a new record of so many bytes; goes to `full` if the ring has no room.
    fn reserve(&mut self, bytes: u32, full: Label) {
        self.asm.map(R1, Map::Ring);
        self.asm.constant(R2, bytes.into());
        self.asm.constant(R3, 0);
        self.asm.call(helper::RINGBUF_RESERVE);
        self.asm.jump_if(Jump::Eq, R0, 0, full);
        self.asm.mov(R7, R0);
    }

    /// Goes to `reserved` with R7 = a record that has the kernel's stack behind the row's `bytes`, if the program has a token for one, and
    /// the ring has room. Else it goes on, and that is counted: the row comes without a stack.
    fn stack(&mut self, now: i32, bytes: u32, per_second: u32, reserved: Label) {
        let (taken, withheld) = (self.asm.label(), self.asm.label());
        let (lost, without) = (self.asm.label(), self.asm.label());
        self.asm.store_imm(4, FP, self.scratch, 0);
        self.asm.map(R1, Map::Stacks);
        self.stack_address(R2, self.scratch);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Jump::Eq, R0, 0, withheld);
        self.asm.mov(R7, R0);
        self.token(now, (per_second, per_second), taken, withheld);
        self.asm.place(withheld);
        self.count(figure::STACK_SUPPRESSED);
        self.asm.jump(without);
        self.asm.place(taken);
        self.reserve(bytes + stack::BYTES, lost);
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R7);
        self.asm.alu_imm(Alu::Add, R2, (bytes + stack::HEAD_BYTES) as i32);
        self.asm.constant(R3, (8 * stack::FRAMES).into());
        self.asm.constant(R4, 0);
        self.asm.call(helper::GET_STACK);
        self.asm.store(8, R7, bytes as i32, R0);
        self.asm.jump_if(Jump::SGt, R0, 0, reserved);
        self.count(figure::STACK_LOST);
        self.asm.jump(reserved);
        self.asm.place(lost);
        self.count(figure::STACK_LOST);
        self.asm.place(without);
    }

    fn head(&mut self, now: i32) {
        self.asm.store_id(R7, head::ID);
        self.asm.call(helper::GET_SMP_PROCESSOR_ID);
        self.asm.store(4, R7, head::CPU, R0);
        let netns = self.netns.unwrap_or(self.scratch);
        for (from, to) in [(now, head::TIME), (netns, head::NETNS), (netns + 8, head::NETNS + 8)] {
            self.asm.load(8, R1, FP, from);
            self.asm.store(8, R7, to, R1);
        }
    }

    /// Takes a token of the namespace's bucket, or leaves and counts.
    fn tokens(&mut self, now: i32, budget: Budget) {
        let netns = self.netns.unwrap_or(self.scratch);
        let (have, pass, suppressed) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.bucket(netns);
        self.asm.jump_if(Jump::Ne, R0, 0, have);
        // A namespace's first row: its bucket is full. If another CPU makes it first, that one is as good.
        self.asm.store_imm(8, FP, self.scratch, 0);
        self.asm.map(R1, Map::Tokens);
        self.stack_address(R2, netns);
        self.stack_address(R3, self.scratch);
        self.asm.constant(R4, BPF_NOEXIST);
        self.asm.call(helper::MAP_UPDATE_ELEM);
        self.bucket(netns);
        self.asm.jump_if(Jump::Eq, R0, 0, pass);
        self.asm.place(have);
        self.asm.mov(R7, R0);
        self.token(now, (budget.rate, budget.burst), pass, suppressed);
        self.asm.place(suppressed);
        self.asm.count(R9, word(figure::SUPPRESSED), R1);
        self.asm.jump(self.out);
        self.asm.place(pass);
    }

    /// Goes to `pass` with a token of the bucket that R7 points to, which fills at so many a second up to a burst; else to `none`, or goes on.
    ///
    /// The bucket is one number, the time at which it would be full again (GCRA, as in ITU-T I.371): a row moves it on by the time of one
    /// token, and may pass as long as it is not more than a burst ahead. One compare-and-exchange, so no lock.
    fn token(&mut self, now: i32, (rate, burst): (u32, u32), pass: Label, none: Label) {
        let interval = NANOS / u64::from(rate.max(1));
        let burst = interval * u64::from(burst.max(1));
        self.asm.load(8, R0, R7, 0);
        self.asm.load(8, R3, FP, now);
        for _ in 0..ATTEMPTS {
            // R1 = max(bucket, now - burst) + one token
            let late = self.asm.label();
            self.asm.mov(R1, R3);
            self.asm.constant(R2, burst);
            self.asm.alu(Alu::Sub, R1, R2);
            // With sign, as a machine may have run for less than the time of a burst.
            self.asm.jump_if_reg(Jump::SGt, R1, R0, late);
            self.asm.mov(R1, R0);
            self.asm.place(late);
            self.asm.constant(R2, interval);
            self.asm.alu(Alu::Add, R1, R2);
            self.asm.jump_if_reg(Jump::Gt, R1, R3, none);
            self.asm.mov(R2, R0);
            // Where another CPU was faster, R0 is what it left.
            self.asm.compare_and_exchange(R7, 0, R1);
            self.asm.jump_if_reg(Jump::Eq, R0, R2, pass);
        }
    }

    fn bucket(&mut self, netns: i32) {
        self.asm.map(R1, Map::Tokens);
        self.stack_address(R2, netns);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
    }
}

/// How often a row tries for a token while other CPUs take theirs from the same bucket. One that never gets through is kept back, and
/// counted as such.
const ATTEMPTS: usize = 4;

/// Only if there is no entry yet (include/uapi/linux/bpf.h).
pub(super) const BPF_NOEXIST: u64 = 1;
