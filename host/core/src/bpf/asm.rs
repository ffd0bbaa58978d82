//! BPF instructions (Documentation/bpf/standardization/instruction-set.rst), with labels instead of distances.

use super::program::{Map, Patch};

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u8);

pub const R0: Reg = Reg(0);
pub const R1: Reg = Reg(1);
pub const R2: Reg = Reg(2);
pub const R3: Reg = Reg(3);
pub const R4: Reg = Reg(4);
pub const R5: Reg = Reg(5);
pub const R6: Reg = Reg(6);
pub const R7: Reg = Reg(7);
pub const R8: Reg = Reg(8);
pub const R9: Reg = Reg(9);
/// The frame pointer: the stack is below it.
pub const FP: Reg = Reg(10);

/// Functions that the kernel offers to programs: `enum bpf_func_id` in include/uapi/linux/bpf.h.
pub mod helper {
    pub const MAP_LOOKUP_ELEM: i32 = 1;
    pub const MAP_UPDATE_ELEM: i32 = 2;
    pub const KTIME_GET_NS: i32 = 5;
    pub const GET_SMP_PROCESSOR_ID: i32 = 8;
    pub const GET_CURRENT_PID_TGID: i32 = 14;
    pub const GET_CURRENT_COMM: i32 = 16;
    pub const GET_STACK: i32 = 67;
    pub const PROBE_READ_KERNEL: i32 = 113;
    pub const SEQ_WRITE: i32 = 127;
    pub const RINGBUF_RESERVE: i32 = 131;
    pub const RINGBUF_SUBMIT: i32 = 132;
    pub const SOCK_FROM_FILE: i32 = 162;
}

/// Arithmetic: the upper four bits of an ALU64 instruction's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    /// Without sign, as all kernels have it.
    Div = 0x30,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    /// The remainder, without sign.
    Mod = 0x90,
    Xor = 0xa0,
    Mov = 0xb0,
    Arsh = 0xc0,
}

/// Conditions: the upper four bits of a JMP instruction's code. `S` compares with sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Jump {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    Ne = 0x50,
    SGt = 0x60,
    SGe = 0x70,
    Lt = 0xa0,
    Le = 0xb0,
    SLt = 0xc0,
    SLe = 0xd0,
}

/// A place to jump to, before or after it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

const UNPLACED: usize = usize::MAX;

/// A program under construction. Jumps go forward only.
#[derive(Default)]
pub struct Asm {
    code: Vec<u64>,
    labels: Vec<usize>,
    jumps: Vec<(usize, Label)>,
    patches: Vec<(usize, Patch)>,
}

/// The instructions of a program, and what is to be written into them at loading, by their index.
pub type Finished = (Vec<u64>, Vec<(usize, Patch)>);

/// A program that is too long for its own jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the program has a jump over {0} instructions: select fewer columns")]
pub struct TooLong(usize);

impl Asm {
    fn push(&mut self, code: u8, dst: Reg, src: Reg, offset: i16, imm: i32) {
        let registers = u64::from(dst.0 | src.0 << 4);
        self.code.push(u64::from(code) | registers << 8 | u64::from(offset as u16) << 16 | u64::from(imm as u32) << 32);
    }

    /// `dst op= src`, in 64 bits.
    pub fn alu(&mut self, op: Alu, dst: Reg, src: Reg) {
        self.push(0x0f | op as u8, dst, src, 0, 0);
    }

    /// `dst op= imm`; the immediate is extended with its sign.
    pub fn alu_imm(&mut self, op: Alu, dst: Reg, imm: i32) {
        self.push(0x07 | op as u8, dst, R0, 0, imm);
    }

    pub fn mov(&mut self, dst: Reg, src: Reg) {
        self.alu(Alu::Mov, dst, src);
    }

    /// Any constant, in one instruction if it fits.
    pub fn constant(&mut self, dst: Reg, value: u64) {
        match i32::try_from(value as i64) {
            Ok(imm) => self.alu_imm(Alu::Mov, dst, imm),
            Err(_) => {
                self.push(0x18, dst, R0, 0, value as i32);
                self.code.push(value >> 32 << 32);
            }
        }
    }

    /// `dst` from network byte order in `bits` (16, 32, 64), zero above.
    pub fn big_endian_to_host(&mut self, dst: Reg, bits: u32) {
        self.push(0xdc, dst, R0, 0, bits as i32);
    }

    /// The address of a map.
    pub fn map(&mut self, dst: Reg, map: Map) {
        self.patches.push((self.code.len(), Patch::Map(map)));
        // BPF_PSEUDO_MAP_FD
        self.push(0x18, dst, Reg(1), 0, 0);
        self.code.push(0);
    }

    /// `*(u32 *)(dst + offset) =` the program's number.
    pub fn store_id(&mut self, dst: Reg, offset: i32) {
        self.patches.push((self.code.len(), Patch::Id));
        self.store_imm(4, dst, offset, 0);
    }

    /// `dst = *(size *)(src + offset)`, zero above.
    pub fn load(&mut self, size: u32, dst: Reg, src: Reg, offset: i32) {
        self.push(0x61 | width(size), dst, src, offset as i16, 0);
    }

    pub fn store(&mut self, size: u32, dst: Reg, offset: i32, src: Reg) {
        self.push(0x63 | width(size), dst, src, offset as i16, 0);
    }

    pub fn store_imm(&mut self, size: u32, dst: Reg, offset: i32, imm: i32) {
        self.push(0x62 | width(size), dst, R0, offset as i16, imm);
    }

    /// `*(u64 *)(base + offset) += src`, of memory that no other CPU writes.
    pub fn increase(&mut self, base: Reg, offset: i32, src: Reg, scratch: Reg) {
        self.load(8, scratch, base, offset);
        self.alu(Alu::Add, scratch, src);
        self.store(8, base, offset, scratch);
    }

    /// `*(u64 *)(base + offset) += 1`, of memory that no other CPU writes.
    pub fn count(&mut self, base: Reg, offset: i32, scratch: Reg) {
        self.load(8, scratch, base, offset);
        self.alu_imm(Alu::Add, scratch, 1);
        self.store(8, base, offset, scratch);
    }

    /// Atomically: if `*(u64 *)(dst + offset)` is R0 it becomes `src`; R0 is what was there (Linux 5.12).
    pub fn compare_and_exchange(&mut self, dst: Reg, offset: i32, src: Reg) {
        self.push(0xdb, dst, src, offset as i16, 0xf1);
    }

    pub fn call(&mut self, helper: i32) {
        self.push(0x85, R0, R0, 0, helper);
    }

    /// Calls a function of the kernel by its BTF id (BPF_PSEUDO_KFUNC_CALL).
    pub fn call_kernel(&mut self, id: u32) {
        self.push(0x85, R0, Reg(2), 0, id as i32);
    }

    pub fn exit(&mut self) {
        self.push(0x95, R0, R0, 0, 0);
    }

    pub fn label(&mut self) -> Label {
        self.labels.push(UNPLACED);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0] = self.code.len();
    }

    /// Whether there is a jump to the label.
    pub fn is_wanted(&self, label: Label) -> bool {
        self.jumps.iter().any(|(_, to)| *to == label)
    }

    pub fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(0x05, R0, R0, 0, 0);
    }

    /// `if dst op imm goto to`; the immediate is extended with its sign.
    pub fn jump_if(&mut self, op: Jump, dst: Reg, imm: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(0x05 | op as u8, dst, R0, 0, imm);
    }

    /// `if dst op src goto to`.
    pub fn jump_if_reg(&mut self, op: Jump, dst: Reg, src: Reg, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(0x0d | op as u8, dst, src, 0, 0);
    }

    /// The instructions that can be reached (the kernel refuses a program with others), every jump with its distance, and what is to be
    /// written at loading.
    ///
    /// # Errors
    /// If a jump is longer than its 16 bits say.
    pub fn finish(self) -> Result<Finished, TooLong> {
        let reached = self.reached();
        // Where each instruction comes to stand; one that goes stands where the next one does.
        let mut places = Vec::with_capacity(self.code.len() + 1);
        let mut next = 0;
        for &kept in &reached {
            places.push(next);
            next += usize::from(kept);
        }
        places.push(next);
        let mut code = Vec::with_capacity(next);
        code.extend(self.code.iter().zip(&reached).filter(|(_, kept)| **kept).map(|(word, _)| *word));
        for &(at, label) in self.jumps.iter().filter(|(at, _)| reached[*at]) {
            let distance = places[self.labels[label.0]] - places[at] - 1;
            let offset = i16::try_from(distance).map_err(|_| TooLong(distance))?;
            code[places[at]] |= u64::from(offset as u16) << 16;
        }
        let patches = self.patches.iter().filter(|(at, _)| reached[*at]).map(|&(at, patch)| (places[at], patch));
        Ok((code, patches.collect()))
    }

    /// Which instructions the first one leads to. One pass, as jumps go forward only.
    fn reached(&self) -> Vec<bool> {
        let mut reached = vec![false; self.code.len() + 1];
        reached[0] = true;
        let mut jumps = self.jumps.iter().peekable();
        for at in 0..self.code.len() {
            let jump = jumps.next_if(|(from, _)| *from == at);
            if !reached[at] {
                continue;
            }
            if let Some((_, label)) = jump {
                reached[self.labels[label.0]] = true;
            }
            reached[at + 1] |= !matches!(self.code[at] as u8, 0x05 | 0x95);
        }
        reached.truncate(self.code.len());
        reached
    }
}

/// The bits of an access's size.
fn width(size: u32) -> u8 {
    match size {
        1 => 0x10,
        2 => 0x08,
        4 => 0x00,
        _ => 0x18,
    }
}
