//! Programs for `task_rename`, by hand: a thread passes that tracepoint when, and only when, it sets its own name.

use netsonde_core::bpf::program::{Map, Patch, Program, Writes};
use std::sync::LazyLock;

pub const TRACEPOINT: &str = "task_rename";

/// Passes the tracepoint once.
pub fn trigger() {
    rustix::thread::set_name(c"netsonde-test").unwrap();
}

/// The calling thread, as programs see it.
pub fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

mod helper {
    pub const MAP_LOOKUP: i32 = 1;
    pub const MAP_UPDATE: i32 = 2;
    pub const KTIME_GET_NS: i32 = 5;
    pub const CURRENT_PID_TGID: i32 = 14;
    pub const RINGBUF_RESERVE: i32 = 131;
    pub const RINGBUF_SUBMIT: i32 = 132;
}

// include/uapi/linux/bpf.h and bpf_common.h, put together.
const MOV: u8 = 0xbf;
const MOV_IMM: u8 = 0xb7;
const MOV32: u8 = 0xbc;
const ADD_IMM: u8 = 0x07;
const LOAD_U64: u8 = 0x79;
const STORE_U64: u8 = 0x7b;
const STORE_IMM_U32: u8 = 0x62;
const STORE_IMM_U64: u8 = 0x7a;
const ATOMIC_U64: u8 = 0xdb;
const LOAD_IMM_U64: u8 = 0x18;
const JUMP: u8 = 0x05;
const JUMP_EQ: u8 = 0x15;
const JUMP_NE: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// The frame; r6 to r9 survive calls.
const FP: u8 = 10;
/// The thread that passes the tracepoint.
const THREAD: u8 = 7;

#[derive(Default)]
pub struct Code {
    words: Vec<u64>,
    patches: Vec<(usize, Patch)>,
    /// Jumps to the end.
    ends: Vec<usize>,
}

impl Code {
    /// Begins with a filter: only these threads count.
    pub fn of_threads(threads: &[u32]) -> Self {
        let mut code = Self::default();
        code.call(helper::CURRENT_PID_TGID);
        code.op(MOV32, THREAD, 0, 0, 0);
        for (left, thread) in (1..=threads.len()).rev().zip(threads) {
            code.op(JUMP_EQ, THREAD, 0, left as i16, *thread as i32);
        }
        code.end();
        code
    }

    pub fn op(&mut self, code: u8, dst: u8, src: u8, offset: i16, immediate: i32) {
        let low = u64::from(code) | u64::from(dst | src << 4) << 8 | u64::from(offset as u16) << 16;
        self.words.push(low | u64::from(immediate as u32) << 32);
    }

    fn call(&mut self, helper: i32) {
        self.op(CALL, 0, 0, 0, helper);
    }

    fn end(&mut self) {
        self.ends.push(self.words.len());
        self.op(JUMP, 0, 0, 0, 0);
    }

    /// `body` runs unless r0 is null.
    fn if_null(&mut self, body: impl FnOnce(&mut Self)) {
        let at = self.words.len();
        self.op(JUMP_NE, 0, 0, 0, 0);
        body(self);
        self.land(at);
    }

    /// The jump at `at` goes to what comes next.
    fn land(&mut self, at: usize) {
        self.words[at] |= ((self.words.len() - at - 1) as u64 & 0xffff) << 16;
    }

    fn patched(&mut self, patch: Patch) {
        self.patches.push((self.words.len(), patch));
    }

    fn map(&mut self, map: Map) {
        self.patched(Patch::Map(map));
        self.op(LOAD_IMM_U64, 1, 1, 0, 0); // BPF_PSEUDO_MAP_FD
        self.words.push(0);
    }

    /// r2 and so on, as an address in the frame.
    fn frame(&mut self, register: u8, offset: i32) {
        self.op(MOV, register, FP, 0, 0);
        self.op(ADD_IMM, register, 0, 0, offset);
    }

    fn lookup(&mut self, map: Map, key: i32) {
        self.map(map);
        self.frame(2, key);
        self.call(helper::MAP_LOOKUP);
    }

    /// Adds one to the word at r0 + offset.
    fn increment(&mut self, offset: usize) {
        self.op(MOV_IMM, 1, 0, 0, 1);
        self.op(ATOMIC_U64, 0, 1, offset as i16, 0);
    }

    /// Adds one to a figure.
    pub fn count(&mut self, figure: usize) {
        self.patched(Patch::Id);
        self.op(STORE_IMM_U32, FP, 0, -4, 0);
        self.lookup(Map::Figures, -4);
        self.if_null(Self::end);
        self.increment(8 * figure);
    }

    /// Writes a record of two words, the program's number and the thread's; counts `full` if there is no room for it.
    pub fn record(&mut self, full: usize) {
        self.map(Map::Ring);
        self.op(MOV_IMM, 2, 0, 0, 16);
        self.op(MOV_IMM, 3, 0, 0, 0);
        self.call(helper::RINGBUF_RESERVE);
        self.if_null(|code| {
            code.count(full);
            code.end();
        });
        self.patched(Patch::Id);
        self.op(STORE_IMM_U64, 0, 0, 0, 0);
        self.op(STORE_U64, 0, THREAD, 8, 0);
        self.op(MOV, 1, 0, 0, 0);
        self.op(MOV_IMM, 2, 0, 0, 0);
        self.call(helper::RINGBUF_SUBMIT);
    }

    /// Adds one to the group of the thread, in the map that the switch says; counts `failed` if there is no such group. Asks for the time
    /// so often between the switch and the group, to take long.
    pub fn group(&mut self, failed: usize, delay: usize) {
        self.op(STORE_IMM_U32, FP, 0, -4, 0);
        self.op(STORE_U64, FP, THREAD, -16, 0);
        self.op(STORE_IMM_U64, FP, 0, -24, 0);
        self.lookup(Map::Switch, -4);
        self.if_null(Self::end);
        self.op(LOAD_U64, 8, 0, 0, 0);
        (0..delay).for_each(|_| self.call(helper::KTIME_GET_NS));
        let at = self.words.len();
        self.op(JUMP_NE, 8, 0, 0, 0);
        self.add_to_group(0, failed);
        self.end();
        self.land(at);
        self.add_to_group(1, failed);
    }

    fn add_to_group(&mut self, index: usize, failed: usize) {
        self.lookup(Map::Groups(index), -16);
        self.if_null(|code| {
            code.map(Map::Groups(index));
            code.frame(2, -16);
            code.frame(3, -24);
            code.op(MOV_IMM, 4, 0, 0, 1); // BPF_NOEXIST
            code.call(helper::MAP_UPDATE);
            code.lookup(Map::Groups(index), -16);
            code.if_null(|code| {
                code.count(failed);
                code.end();
            });
        });
        self.increment(0);
    }

    /// Takes a token bucket's time, without a use for it.
    pub fn token(&mut self) {
        self.op(STORE_U64, FP, THREAD, -16, 0);
        self.map(Map::Tokens);
        self.frame(2, -16);
        self.frame(3, -16);
        self.op(MOV_IMM, 4, 0, 0, 0);
        self.call(helper::MAP_UPDATE);
    }

    pub fn program(mut self, writes: Writes) -> Program {
        for at in std::mem::take(&mut self.ends) {
            self.land(at);
        }
        self.op(MOV_IMM, 0, 0, 0, 0);
        self.op(EXIT, 0, 0, 0, 0);
        Program {
            table: format!("hook.{TRACEPOINT}"),
            attach_btf_id: *BTF_ID,
            code: self.words,
            patches: self.patches,
            writes,
        }
    }
}

/// The BTF id of `typedef btf_trace_task_rename` (Documentation/bpf/btf.rst).
static BTF_ID: LazyLock<u32> = LazyLock::new(|| {
    let btf = std::fs::read("/sys/kernel/btf/vmlinux").expect("these tests need a kernel with BTF");
    let word = |at: usize| u32::from_ne_bytes(btf[at..at + 4].try_into().unwrap());
    let [header, types, types_length, strings] = [4, 8, 12, 16].map(|at| word(at) as usize);
    let name = format!("btf_trace_{TRACEPOINT}\0");
    let (mut at, mut id) = (header + types, 1);
    while at < header + types + types_length {
        let info = word(at + 4);
        let (kind, members) = (info >> 24 & 0x1f, info as usize & 0xffff);
        if kind == 8 && btf[header + strings + word(at) as usize..].starts_with(name.as_bytes()) {
            return id;
        }
        at += match kind {
            1 | 14 | 17 => 16,                    // int, var, decl_tag
            3 => 24,                              // array
            4 | 5 | 15 | 19 => 12 + 12 * members, // struct, union, datasec, enum64
            6 | 13 => 12 + 8 * members,           // enum, func_proto
            _ => 12,
        };
        id += 1;
    }
    panic!("this kernel has no tracepoint {TRACEPOINT}");
});
