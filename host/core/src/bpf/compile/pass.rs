//! A pass over the kernel's objects: which object it is, that it is met once, and rows for the reader.

use super::{
    super::{
        asm::{FP, Jump, Label, R0, R1, R2, R3, R4, R6, R8, helper},
        pass::{Pass, Sockets, Sole},
        program::{Map, Writes, figure},
        record::{Cell, KEY_HEAD_BYTES},
    },
    emit::Emit,
    groups::EEXIST,
    rows::BPF_NOEXIST,
};
use crate::query::Query;

impl Emit<'_> {
    /// Leaves at the end of the pass, and for what is not asked for.
    pub fn object(&mut self, pass: &Pass) {
        self.context_pointer(pass.object, self.out);
        if let Some(sockets) = &pass.sockets {
            self.found_socket(sockets, pass.object);
        }
    }

    /// From the file to its socket, onto the stack.
    fn found_socket(&mut self, sockets: &Sockets, file: u32) {
        let (found, shared) = (self.room(8), self.room(8));
        self.asm.call(helper::SOCK_FROM_FILE);
        self.asm.jump_if(Jump::Eq, R0, 0, self.out);
        self.asm.load(8, R1, R0, sockets.sk as i32);
        self.asm.jump_if(Jump::Eq, R1, 0, self.out);
        self.asm.store(8, FP, found, R1);
        (self.found, self.shared_file) = (Some(found), Some(shared));
        self.look_ahead(sockets, file);
        self.asm.store_imm(8, FP, shared, 1);
        let Some(sole) = &sockets.sole else { return };
        let Sole { task, references, alone, first: [pid, tgid], tables: [files, count], threads: [signal, nr_threads] } =
            *sole;
        let many = self.asm.label();
        // Each time that it is loaded the verifier wants to see that it is not NULL.
        self.context_pointer(file, many);
        self.load(8, R2, references);
        self.asm.jump_if(Jump::Ne, R2, alone, many);
        self.context_pointer(task, many);
        self.load(4, R2, pid);
        self.context_pointer(task, many);
        self.load(4, R3, tgid);
        self.asm.jump_if_reg(Jump::Ne, R2, R3, many);
        self.context_pointer(task, many);
        self.load(8, R1, files);
        self.asm.jump_if(Jump::Eq, R1, 0, many);
        self.load(4, R3, count);
        self.context_pointer(task, many);
        self.load(8, R1, signal);
        self.asm.jump_if(Jump::Eq, R1, 0, many);
        self.load(4, R2, nr_threads);
        self.asm.jump_if_reg(Jump::Ne, R3, R2, many);
        self.asm.store_imm(8, FP, shared, 0);
        self.asm.place(many);
    }

    pub fn context_pointer(&mut self, word: u32, absent: Label) {
        self.asm.load(8, R1, R6, 8 * word as i32);
        self.asm.jump_if(Jump::Eq, R1, 0, absent);
    }

    /// Goes on with a socket only the first time that it is met.
    pub fn once(&mut self) {
        let (Some(found), Some(shared)) = (self.found, self.shared_file) else { return };
        let (new, failed) = (self.asm.label(), self.asm.label());
        self.asm.load(8, R1, FP, shared);
        self.asm.jump_if(Jump::Eq, R1, 0, new);
        self.remember(found);
        self.asm.jump_if(Jump::Eq, R0, 0, new);
        self.asm.jump_if(Jump::Ne, R0, -EEXIST, failed);
        self.asm.jump(self.out);
        self.asm.place(failed);
        self.count(figure::MAP_FULL);
        self.asm.jump(self.out);
        self.asm.place(new);
    }

    fn remember(&mut self, found: i32) {
        let key = self.seen_key(found);
        self.asm.map(R1, Map::Seen);
        self.stack_address(R2, key);
        self.asm.mov(R3, R2);
        self.asm.constant(R4, BPF_NOEXIST);
        self.asm.call(helper::MAP_UPDATE_ELEM);
    }

    /// The socket's address as plain bytes: a key is no pointer to the verifier.
    fn seen_key(&mut self, found: i32) -> i32 {
        self.asm.load(8, R1, FP, found);
        self.asm.store(8, FP, self.scratch, R1);
        self.scratch
    }

    /// Hands the columns that have a cell to the reader.
    ///
    /// Where they do not fit into its buffer, the kernel shows the same object again later: only what was written has been met.
    pub fn pass_rows(&mut self, query: &Query, cells: &[Option<Cell>]) -> Writes {
        let end = cells.iter().flatten().map(|cell| cell.offset + cell.form.room()).max();
        let bytes = end.unwrap_or(0).max(KEY_HEAD_BYTES);
        let row = self.room(bytes);
        self.unless_seen();
        self.asm.constant(R8, 0);
        for (column, cell) in query.columns.iter().zip(cells) {
            if let (Some(access), Some(cell)) = (column.access.as_deref(), cell) {
                self.cell(access, *cell, FP, row);
            }
        }
        self.asm.store(8, FP, row, R8);
        let seq = self.hook.pass().map_or(0, |pass| pass.seq);
        self.asm.load(8, R1, R6, 0);
        self.asm.load(8, R1, R1, seq as i32);
        self.stack_address(R2, row);
        self.asm.constant(R3, bytes.into());
        self.asm.call(helper::SEQ_WRITE);
        self.asm.jump_if(Jump::Ne, R0, 0, self.out);
        self.once();
        Writes::Records { bytes: bytes as usize }
    }

    /// Leaves if a socket was met before.
    fn unless_seen(&mut self) {
        let (Some(found), Some(shared)) = (self.found, self.shared_file) else { return };
        let new = self.asm.label();
        self.asm.load(8, R1, FP, shared);
        self.asm.jump_if(Jump::Eq, R1, 0, new);
        let key = self.seen_key(found);
        self.asm.map(R1, Map::Seen);
        self.stack_address(R2, key);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Jump::Ne, R0, 0, self.out);
        self.asm.place(new);
    }
}
