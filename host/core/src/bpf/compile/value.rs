//! One column's value: into a register, or onto its place.

use super::{
    super::{
        access::{Access, Computed, Path, Read, covering, pieces},
        asm::{Alu, FP, Jump, Label, R0, R1, R2, R3, R6, R8, Reg, helper},
        record::{Cell, Form},
    },
    emit::Emit,
    paths::MAX_OFFSET,
};

/// Of a task's name (TASK_COMM_LEN).
pub(super) const COMM_BYTES: u32 = 16;

impl Emit<'_> {
    /// R1 = the value of a column of numbers; goes to `absent` where it has none.
    pub fn number(&mut self, access: &Access, absent: Label) {
        match access {
            Access::Argument { index, size, signed, pointer, hidden } => {
                // The slot is a word whose upper part may be anything.
                if *hidden {
                    self.copy_argument(*index);
                } else {
                    self.argument_word(*index);
                }
                self.extend(8 * size, *signed);
                if *pointer {
                    self.asm.jump_if(Jump::Eq, R1, 0, absent);
                }
            }
            Access::Path(path) => self.path_number(path, absent),
            Access::Computed(computed) => self.computed_number(*computed, absent),
            Access::Arithmetic(number) => self.arithmetic(number, absent),
            Access::Compared(compared) => self.compared(compared, absent),
            Access::Bucket { of, signed } => self.bucket_of(of, *signed, absent),
        }
    }

    /// R1 = an argument that the verifier does not let be read in its place.
    fn copy_argument(&mut self, index: u32) {
        self.stack_address(R1, self.scratch);
        self.asm.constant(R2, 8);
        self.asm.mov(R3, R6);
        self.asm.alu_imm(Alu::Add, R3, 8 * self.word(index) as i32);
        self.asm.call(helper::PROBE_READ_KERNEL);
        self.asm.load(8, R1, FP, self.scratch);
    }

    fn path_number(&mut self, path: &Path, absent: Label) {
        self.pointer(path.argument, &path.hops, absent);
        match path.read {
            Read::Pointer | Read::Bytes { .. } => {}
            Read::Number { offset, size, signed, big_endian, pointer } => {
                self.load(size, R1, offset);
                match (big_endian, size) {
                    (true, 2 | 4 | 8) => self.asm.big_endian_to_host(R1, 8 * size),
                    _ if signed => self.extend(8 * size, true),
                    _ => {}
                }
                if pointer {
                    self.asm.jump_if(Jump::Eq, R1, 0, absent);
                }
            }
            Read::Bits { offset, shift, width, signed } => {
                let (size, slip) = covering(offset, shift, width);
                self.load(size, R1, offset - slip);
                self.asm.alu_imm(Alu::Rsh, R1, (8 * slip + shift) as i32);
                self.extend(width, signed);
            }
        }
    }

    /// R1 from so many bits to 64, with its sign or zeros.
    fn extend(&mut self, bits: u32, signed: bool) {
        if bits < 64 {
            let by = (64 - bits) as i32;
            self.asm.alu_imm(Alu::Lsh, R1, by);
            self.asm.alu_imm(if signed { Alu::Arsh } else { Alu::Rsh }, R1, by);
        }
    }

    fn computed_number(&mut self, computed: Computed, absent: Label) {
        match computed {
            Computed::Time => self.call_number(helper::KTIME_GET_NS),
            Computed::Cpu => {
                self.call_number(helper::GET_SMP_PROCESSOR_ID);
                self.extend(32, false);
            }
            Computed::Pid => {
                self.call_number(helper::GET_CURRENT_PID_TGID);
                self.asm.alu_imm(Alu::Rsh, R1, 32);
            }
            Computed::Protocol => self.protocol(absent),
            Computed::Family => self.family(absent),
            Computed::Sport | Computed::Dport => self.packet_port(computed, absent),
            Computed::Lport | Computed::Rport => self.socket_port(computed, absent),
            Computed::Cgroup => self.cgroup(absent),
            Computed::Netns => self.cookie(self.netns, absent),
            Computed::Owner => self.cookie(self.owner, absent),
            // Of these only the bytes are asked for, or whether they are there.
            Computed::Saddr | Computed::Daddr => self.packet_kind(absent),
            Computed::Laddr | Computed::Raddr => self.internet_socket(absent),
            // There always is one.
            Computed::Comm => self.asm.constant(R1, 1),
        }
    }

    fn call_number(&mut self, helper: i32) {
        self.asm.call(helper);
        self.asm.mov(R1, R0);
    }

    /// R1 = the cookie of a namespace on the stack.
    fn cookie(&mut self, slot: Option<i32>, absent: Label) {
        self.asm.load(8, R1, FP, slot.unwrap_or(self.scratch));
        self.asm.jump_if(Jump::Eq, R1, 0, absent);
    }

    /// Writes the bytes of a column to `base + at`, padded with zeros to eight.
    pub fn bytes(&mut self, access: &Access, base: Reg, at: i32, length: u32, absent: Label) {
        match access {
            Access::Path(path) => {
                let Read::Bytes { offset, .. } = path.read else { return };
                self.pointer(path.argument, &path.hops, absent);
                if !length.is_multiple_of(8) {
                    self.asm.store_imm(8, base, at + (length & !7) as i32, 0);
                }
                // Beyond what a load can reach; what is aligned stays so.
                let far = if offset.saturating_add(length) > MAX_OFFSET { offset & !7 } else { 0 };
                if far != 0 {
                    self.asm.alu_imm(Alu::Add, R1, far as i32);
                }
                self.copy(offset - far, base, at, length);
            }
            Access::Computed(Computed::Comm) => {
                self.asm.mov(R1, base);
                self.asm.alu_imm(Alu::Add, R1, at);
                self.asm.constant(R2, COMM_BYTES.into());
                self.asm.call(helper::GET_CURRENT_COMM);
            }
            Access::Computed(computed @ (Computed::Saddr | Computed::Daddr)) => {
                self.packet_address(*computed, base, at, absent);
            }
            Access::Computed(computed) => self.socket_address(*computed, base, at, absent),
            // Numbers.
            Access::Argument { .. } | Access::Arithmetic(_) | Access::Compared(_) | Access::Bucket { .. } => {}
        }
    }

    /// Copies from R1 + offset, in the largest aligned pieces.
    fn copy(&mut self, offset: u32, base: Reg, at: i32, length: u32) {
        for (done, size) in pieces(offset, length) {
            self.asm.load(size, R2, R1, (offset + done) as i32);
            self.asm.store(size, base, at + done as i32, R2);
        }
    }

    /// Writes a column at its place from `base` on, and sets its bit in R8; zeros where it has no value.
    pub fn cell(&mut self, access: &Access, cell: Cell, base: Reg, at: i32) {
        let at = at + cell.offset as i32;
        let (absent, done) = (self.asm.label(), self.asm.label());
        match cell.form {
            Form::Netns => return self.namespace_words(self.netns, base, at),
            Form::Owner => {
                self.namespace_words(self.owner, base, at);
                self.asm.store_imm(8, base, at + 16, 0);
                self.owner_cgroup(absent);
                self.asm.store(8, base, at + 16, R1);
                return self.asm.place(absent);
            }
            Form::Bit => self.number(access, absent),
            Form::Number => {
                self.number(access, absent);
                self.asm.store(8, base, at, R1);
            }
            Form::Bytes(length) => self.bytes(access, base, at, length, absent),
        }
        if let Some(bit) = cell.bit {
            self.set_bit(bit);
        }
        self.asm.jump(done);
        self.asm.place(absent);
        // Memory of the ring is not empty, and the kernel refuses to hand out what was not written.
        for word in 0..cell.form.room() / 8 {
            self.asm.store_imm(8, base, at + 8 * word as i32, 0);
        }
        self.asm.place(done);
    }

    /// Writes cookie and inode of a namespace on the stack.
    fn namespace_words(&mut self, slot: Option<i32>, base: Reg, at: i32) {
        for part in [0, 8] {
            self.asm.load(8, R1, FP, slot.unwrap_or(self.scratch) + part);
            self.asm.store(8, base, at + part, R1);
        }
    }

    /// R8 is only ever added to: a program that branches on it would double the verifier's work with each column.
    fn set_bit(&mut self, bit: u32) {
        if bit < 31 {
            return self.asm.alu_imm(Alu::Or, R8, 1 << bit);
        }
        self.asm.constant(R1, 1 << bit);
        self.asm.alu(Alu::Or, R8, R1);
    }
}
