//! Runs programs: the instructions that the compiler emits, over memory that is made up. What the verifier of a kernel would refuse panics
//! as far as it is easily seen: registers and stack that nobody has written, stores into the kernel's memory, wild addresses.

use crate::bpf::program::{FIGURES, Map, Patch, Program};
use std::collections::{BTreeMap, BTreeSet};

/// The program's number, and how large a task's name is.
pub const ID: u32 = 7;
const COMM: usize = 16;

pub const CPUS: usize = 2;

/// Where things are. From `KERNEL` on, what there is not reads as 0, as behind a pointer of a kernel's type (BPF_PROBE_MEM).
const STACK: u64 = 0x1000;
const STACK_BYTES: u64 = 512;
const CONTEXT: u64 = 0x10_000;
const MAPS: u64 = 0x20_000;
const VALUES: u64 = 0x100_0000;
const KERNEL: u64 = 0xffff_8000_0000_0000;

/// What a new record holds until it is written.
const POISON: u8 = 0xaa;

const MAP_ORDER: [Map; 8] =
    [Map::Ring, Map::Figures, Map::Switch, Map::Tokens, Map::Groups(0), Map::Groups(1), Map::Seen, Map::Stacks];

/// A machine with one program.
pub struct Machine {
    program: Program,
    memory: BTreeMap<u64, Vec<u8>>,
    next_value: u64,
    next_object: u64,
    /// Which bytes of the stack have been written.
    written: Vec<bool>,
    registers: [Option<u64>; 11],
    tokens: BTreeMap<Vec<u8>, u64>,
    groups: [BTreeMap<Vec<u8>, Vec<u64>>; 2],
    figures: Vec<u64>,
    switch: u64,
    stack_bucket: u64,
    reserved: Option<u64>,
    /// CLOCK_MONOTONIC, and how far each look at it moves it.
    pub now: u64,
    pub tick: u64,
    pub cpu: usize,
    pub pid: u32,
    pub comm: [u8; COMM],
    /// The kernel's stack; empty: it cannot be had.
    pub stack: Vec<u64>,
    /// Records that were submitted, and how many more there is room for.
    pub ring: Vec<Vec<u8>>,
    pub ring_room: usize,
    /// The largest record that there is room for.
    pub ring_bytes: u64,
    /// Groups that each map has room for.
    pub groups_room: usize,
    /// Of passes: what file has which socket, rows for the reader and how many more there is room for, sockets that were met.
    pub files: BTreeMap<u64, u64>,
    pub seq: Vec<Vec<u8>>,
    pub seq_room: usize,
    pub seen: BTreeSet<Vec<u8>>,
    pub seen_room: usize,
    /// Addresses of the kernel's that were read.
    pub loads: Vec<u64>,
}

impl Machine {
    pub fn new(program: &Program) -> Self {
        let mut machine = Self {
            program: program.clone(),
            memory: BTreeMap::new(),
            next_value: VALUES,
            next_object: KERNEL + 0x1000,
            written: vec![false; STACK_BYTES as usize],
            registers: [None; 11],
            tokens: BTreeMap::new(),
            groups: Default::default(),
            figures: Vec::new(),
            switch: 0,
            stack_bucket: 0,
            reserved: None,
            now: 1_000_000_000_000,
            tick: 0,
            cpu: 0,
            pid: 4242,
            comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0",
            stack: Vec::new(),
            ring: Vec::new(),
            ring_room: usize::MAX,
            ring_bytes: u64::MAX,
            groups_room: usize::MAX,
            files: BTreeMap::new(),
            seq: Vec::new(),
            seq_room: usize::MAX,
            seen: BTreeSet::new(),
            seen_room: usize::MAX,
            loads: Vec::new(),
        };
        machine.memory.insert(STACK, vec![0; STACK_BYTES as usize]);
        machine.figures = (0..CPUS).map(|_| machine.value(vec![0; 8 * FIGURES])).collect();
        machine.switch = machine.value(vec![0; 8]);
        machine.stack_bucket = machine.value(vec![0; 8]);
        machine
    }

    fn value(&mut self, bytes: Vec<u8>) -> u64 {
        let at = self.next_value;
        self.next_value += bytes.len() as u64 + 64;
        self.memory.insert(at, bytes);
        at
    }

    /// An object of the kernel's, all zeros.
    pub fn object(&mut self, bytes: usize) -> u64 {
        let at = self.next_object;
        self.next_object += (bytes as u64 + 0x100).next_multiple_of(0x100);
        self.memory.insert(at, vec![0; bytes]);
        at
    }

    /// Writes from outside of the program.
    pub fn poke(&mut self, at: u64, bytes: &[u8]) {
        let (&start, region) = self.memory.range_mut(..=at).next_back().expect("there is memory");
        let from = (at - start) as usize;
        region[from..from + bytes.len()].copy_from_slice(bytes);
    }

    pub fn switch_to(&mut self, map: u64) {
        self.poke(self.switch, &map.to_le_bytes());
    }

    /// A figure, over all CPUs.
    pub fn figure(&self, figure: usize) -> u64 {
        self.figures.iter().map(|&at| number(&self.memory[&at][8 * figure..][..8])).sum()
    }

    /// Each group of a map: its key, and its values on all CPUs one after the other.
    pub fn groups(&self, map: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let values = |at: &Vec<u64>| at.iter().flat_map(|at| self.memory[at].clone()).collect();
        self.groups[map].iter().map(|(key, at)| (key.clone(), values(at))).collect()
    }

    pub fn clear_groups(&mut self, map: usize) {
        self.groups[map].clear();
    }

    /// Runs the program on a tracepoint's arguments. Returns the number of instructions.
    pub fn run(&mut self, arguments: &[u64]) -> usize {
        self.memory.insert(CONTEXT, arguments.iter().flat_map(|word| word.to_le_bytes()).collect());
        self.registers = [None; 11];
        self.registers[1] = Some(CONTEXT);
        self.registers[10] = Some(STACK + STACK_BYTES);
        self.written.fill(false);
        self.loads.clear();
        let (mut at, mut steps) = (0, 0);
        while let Some(next) = self.step(at) {
            assert!(next > at, "jumps go forward");
            (at, steps) = (next, steps + 1);
        }
        assert_eq!(self.reserved, None, "a record was reserved and never submitted");
        steps
    }

    fn step(&mut self, at: usize) -> Option<usize> {
        let word = self.program.code[at];
        let (code, dst, src) = (word as u8, (word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
        let (offset, imm) = ((word >> 16) as i16, (word >> 32) as i32);
        let size = [4, 2, 1, 8][(code >> 3 & 3) as usize];
        let target = (at as i64 + 1 + i64::from(offset)) as usize;
        let patch = self.program.patches.iter().find(|(index, _)| *index == at).map(|(_, patch)| *patch);
        let operand = |machine: &Self| if code & 8 != 0 { machine.register(src) } else { imm as u64 };
        match code {
            0x18 => {
                let map = |map| MAPS + MAP_ORDER.iter().position(|other| *other == map).expect("a map") as u64;
                let constant = word >> 32 | self.program.code[at + 1] >> 32 << 32;
                self.registers[dst] = Some(match patch {
                    Some(Patch::Map(which)) => map(which),
                    _ => constant,
                });
                return Some(at + 2);
            }
            0xdb => {
                let place = self.register(dst).wrapping_add_signed(offset.into());
                let (old, new) = (self.load(place, 8), self.register(src));
                if old == self.register(0) {
                    self.store(place, 8, new);
                }
                self.registers[0] = Some(old);
            }
            0x85 if src == 2 => self.call_kernel(),
            0x85 => self.call(imm),
            0x95 => {
                assert_eq!(self.register(0), 0, "what the program returns");
                return None;
            }
            0x05 => return Some(target),
            0xdc => {
                let value = self.register(dst);
                self.registers[dst] = Some(match imm {
                    16 => u64::from((value as u16).swap_bytes()),
                    32 => u64::from((value as u32).swap_bytes()),
                    _ => value.swap_bytes(),
                });
            }
            _ => match code & 7 {
                1 => self.registers[dst] = Some(self.load(self.register(src).wrapping_add_signed(offset.into()), size)),
                2 => {
                    let value = if patch == Some(Patch::Id) { ID.into() } else { imm as u64 };
                    self.store(self.register(dst).wrapping_add_signed(offset.into()), size, value);
                }
                3 => self.store(self.register(dst).wrapping_add_signed(offset.into()), size, self.register(src)),
                5 if compare(code, self.register(dst), operand(self)) => return Some(target),
                5 => {}
                7 if code & 0xf0 == 0xb0 => self.registers[dst] = Some(operand(self)),
                7 => self.registers[dst] = Some(compute(code, self.register(dst), operand(self))),
                _ => panic!("instruction {at}: {word:#018x}"),
            },
        }
        Some(at + 1)
    }

    fn register(&self, number: usize) -> u64 {
        self.registers[number].unwrap_or_else(|| panic!("r{number} is read, and was never written"))
    }

    fn bytes(&self, at: u64, length: usize) -> Vec<u8> {
        if (STACK..STACK + STACK_BYTES).contains(&at) {
            let from = (at - STACK) as usize;
            assert!(self.written[from..from + length].iter().all(|&written| written), "stack that was never written");
        }
        let region = self.memory.range(..=at).next_back().map(|(start, region)| (at - start, region));
        let found = region.and_then(|(from, region)| region.get(from as usize..from as usize + length));
        match found {
            Some(found) => found.to_vec(),
            None if at >= KERNEL => vec![0; length],
            None => panic!("{length} bytes at {at:#x} are not to be read"),
        }
    }

    fn load(&mut self, at: u64, size: usize) -> u64 {
        if at >= KERNEL {
            self.loads.push(at);
        }
        number(&self.bytes(at, size))
    }

    fn store(&mut self, at: u64, size: usize, value: u64) {
        self.write(at, &value.to_le_bytes()[..size]);
    }

    /// Writes as the program may.
    fn write(&mut self, at: u64, bytes: &[u8]) {
        assert!(at < KERNEL && !(CONTEXT..VALUES).contains(&at), "{at:#x} is not to be written");
        if (STACK..STACK + STACK_BYTES).contains(&at) {
            self.written[(at - STACK) as usize..][..bytes.len()].fill(true);
        }
        self.poke(at, bytes);
    }

    /// `bpf_rdonly_cast(object, type)`: the object.
    fn call_kernel(&mut self) {
        assert_ne!(self.register(2), 0, "a cast is to a type");
        self.registers[0] = Some(self.register(1));
        self.registers[1..6].fill(None);
    }

    fn call(&mut self, helper: i32) {
        let argument = |machine: &Self, number| machine.register(number);
        let result = match helper {
            1 => self.lookup(),
            2 => self.update() as u64,
            5 => {
                self.now += self.tick;
                self.now
            }
            // The upper half is for nobody to rely on.
            8 => self.cpu as u64 | 0xdead_0000_0000,
            14 => u64::from(self.pid) << 32 | u64::from(self.pid + 1),
            16 => {
                assert_eq!(argument(self, 2), COMM as u64);
                self.write(argument(self, 1), &self.comm.clone());
                0
            }
            67 => {
                assert_eq!((argument(self, 1), argument(self, 4)), (CONTEXT, 0));
                let (to, room) = (argument(self, 2), argument(self, 3) as usize / 8);
                let stack: Vec<u8> = self.stack.iter().take(room).flat_map(|address| address.to_le_bytes()).collect();
                self.write(to, &stack);
                if stack.is_empty() { -14_i64 as u64 } else { stack.len() as u64 }
            }
            113 => {
                let (to, length, from) = (argument(self, 1), argument(self, 2) as usize, argument(self, 3));
                let bytes = self.bytes(from, length);
                self.write(to, &bytes);
                0
            }
            127 if self.seq.len() >= self.seq_room => -75_i64 as u64,
            127 => {
                assert_ne!(argument(self, 1), 0, "where rows go");
                let row = self.bytes(argument(self, 2), argument(self, 3) as usize);
                self.seq.push(row);
                0
            }
            162 => self.files.get(&argument(self, 1)).copied().unwrap_or(0),
            131 if self.ring.len() >= self.ring_room || argument(self, 2) > self.ring_bytes => 0,
            131 => {
                assert_eq!((argument(self, 1), argument(self, 3)), (MAPS, 0));
                let at = self.value(vec![POISON; argument(self, 2) as usize]);
                assert_eq!(self.reserved.replace(at), None);
                at
            }
            132 => {
                assert_eq!(self.reserved.take(), Some(argument(self, 1)));
                let record = self.memory.remove(&argument(self, 1)).expect("it was reserved");
                self.ring.push(record);
                0
            }
            other => panic!("helper {other}"),
        };
        self.registers[0] = Some(result);
        self.registers[1..6].fill(None);
    }

    fn map(&self) -> Map {
        MAP_ORDER[(self.register(1) - MAPS) as usize]
    }

    fn key(&self, map: Map) -> Vec<u8> {
        let length = match (map, self.program.writes) {
            (Map::Tokens | Map::Seen, _) => 8,
            (Map::Groups(_), crate::bpf::program::Writes::Groups { key_bytes, .. }) => key_bytes,
            _ => 4,
        };
        self.bytes(self.register(2), length)
    }

    fn lookup(&mut self) -> u64 {
        let map = self.map();
        let key = self.key(map);
        match map {
            Map::Figures if number(&key) == u64::from(ID) => self.figures[self.cpu],
            Map::Switch if number(&key) == 0 => self.switch,
            Map::Stacks if number(&key) == 0 => self.stack_bucket,
            Map::Figures | Map::Switch | Map::Stacks => 0,
            Map::Tokens => self.tokens.get(&key).copied().unwrap_or(0),
            Map::Groups(index) => self.groups[index].get(&key).map_or(0, |values| values[self.cpu]),
            Map::Seen if self.seen.contains(&key) => self.switch,
            Map::Seen => 0,
            Map::Ring => panic!("a ring has no entries"),
        }
    }

    fn update(&mut self) -> i64 {
        const NOEXIST: u64 = 1;
        assert_eq!(self.register(4), NOEXIST);
        let map = self.map();
        let key = self.key(map);
        match map {
            Map::Tokens if self.tokens.contains_key(&key) => -17,
            Map::Tokens => {
                let value = self.bytes(self.register(3), 8);
                let at = self.value(value);
                self.tokens.insert(key, at);
                0
            }
            Map::Seen if self.seen.contains(&key) => -17,
            Map::Seen if self.seen.len() >= self.seen_room => -7,
            Map::Seen => {
                assert_eq!(self.bytes(self.register(3), 8).len(), 8);
                self.seen.insert(key);
                0
            }
            Map::Groups(index) if self.groups[index].contains_key(&key) => -17,
            Map::Groups(index) if self.groups[index].len() >= self.groups_room => -7,
            Map::Groups(index) => {
                let crate::bpf::program::Writes::Groups { value_bytes, .. } = self.program.writes else { return -22 };
                let value = self.bytes(self.register(3), value_bytes);
                // On the other CPUs there are zeros; a pass has only one value.
                let cpus = if self.program.table.starts_with("iter.") { 1 } else { CPUS };
                let values = (0..cpus).map(|cpu| {
                    let own = if cpu == self.cpu { value.clone() } else { vec![0; value.len()] };
                    self.value(own)
                });
                let values = values.collect();
                self.groups[index].insert(key, values);
                0
            }
            other => panic!("{other:?} is not to be updated"),
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

fn compute(code: u8, a: u64, b: u64) -> u64 {
    match code & 0xf0 {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x30 => a.checked_div(b).unwrap_or(0),
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << b,
        0x70 => a >> b,
        0x90 => a.checked_rem(b).unwrap_or(a),
        0xa0 => a ^ b,
        0xc0 => (a as i64 >> b) as u64,
        _ => panic!("arithmetic {code:#x}"),
    }
}

fn compare(code: u8, a: u64, b: u64) -> bool {
    let (signed_a, signed_b) = (a as i64, b as i64);
    match code & 0xf0 {
        0x10 => a == b,
        0x20 => a > b,
        0x30 => a >= b,
        0x50 => a != b,
        0x60 => signed_a > signed_b,
        0x70 => signed_a >= signed_b,
        0xa0 => a < b,
        0xb0 => a <= b,
        0xc0 => signed_a < signed_b,
        0xd0 => signed_a <= signed_b,
        _ => panic!("comparison {code:#x}"),
    }
}
