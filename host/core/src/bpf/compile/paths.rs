//! Field paths: pointers followed one after the other, those that several columns need only once.

use super::{
    super::{
        access::{Access, Check, Hop, Path, Read},
        asm::{Alu, FP, Jump, Label, R0, R1, R2, R6, Reg},
        hook::Slot,
    },
    emit::Emit,
};

/// The largest offset that a load can have.
pub(super) const MAX_OFFSET: u32 = i16::MAX as u32;

/// TCP states of sockets that are no full ones (include/net/tcp_states.h, which is stable).
pub(super) const TIME_WAIT: i32 = 6;
pub(super) const NEW_SYN_RECV: i32 = 12;
pub(super) const NOT_FULL: [i32; 2] = [TIME_WAIT, NEW_SYN_RECV];

/// The pointers that more than one column is read through, or that more than one way goes on from. Shorter ones first.
pub(super) fn shared(columns: &[&Access]) -> Vec<(u32, Vec<Hop>)> {
    let paths: Vec<&Path> = columns
        .iter()
        .filter_map(|access| match access {
            Access::Path(path) => Some(path),
            _ => None,
        })
        .collect();
    let mut shared: Vec<(u32, Vec<Hop>)> = Vec::new();
    for path in &paths {
        for length in 1..=path.hops.len() {
            let prefix = &path.hops[..length];
            let known = |(argument, hops): &(u32, Vec<Hop>)| *argument == path.argument && hops == prefix;
            if shared.iter().any(known) {
                continue;
            }
            // What follows: another hop, or what is read.
            let mut next: Vec<(Option<Hop>, Option<Read>)> = paths
                .iter()
                .filter(|other| other.argument == path.argument && other.hops.starts_with(prefix))
                .map(|other| match other.hops.get(length) {
                    Some(hop) => (Some(*hop), None),
                    None => (None, Some(other.read)),
                })
                .collect();
            next.dedup();
            if next.len() > 1 {
                shared.push((path.argument, prefix.to_vec()));
            }
        }
    }
    shared.sort_by_key(|(_, hops)| hops.len());
    shared
}

impl Emit<'_> {
    /// Loads a pointer that several columns need, once: onto the stack, 0 where there is none.
    pub fn load_shared(&mut self, argument: u32, hops: &[Hop]) {
        if self.loaded.iter().any(|(known, way, _)| *known == argument && way == hops) {
            return;
        }
        let to = match hops.last() {
            Some(Hop::Load(_, to) | Hop::Cast(to, _)) => *to,
            _ => 0,
        };
        let slot = self.room(8);
        let none = self.asm.label();
        self.no_pointer(slot, to);
        self.pointer(argument, hops, none);
        self.keep_pointer(slot, to);
        self.asm.place(none);
        self.loaded.push((argument, hops.to_vec(), slot));
    }

    /// Stores a pointer to nothing. Where the kernel can cast, it has the type of the one that may come to stand there: of a number and a
    /// pointer the verifier makes two cases, and each such place doubles them.
    pub fn no_pointer(&mut self, slot: i32, to: u32) {
        if self.hook.layout.cast.is_none() {
            return self.asm.store_imm(8, FP, slot, 0);
        }
        self.asm.constant(R1, 0);
        self.keep_pointer(slot, to);
    }

    /// Stores R1 in the same form.
    pub fn keep_pointer(&mut self, slot: i32, to: u32) {
        if self.hook.layout.cast.is_some() {
            self.cast(to);
        }
        self.asm.store(8, FP, slot, R1);
    }

    /// R1 = an argument that is a pointer; goes to `absent` if it is NULL.
    pub fn argument(&mut self, index: u32, absent: Label) {
        self.argument_word(index);
        self.asm.jump_if(Jump::Eq, R1, 0, absent);
    }

    /// R1 = an argument as it is.
    pub fn argument_word(&mut self, index: u32) {
        match self.slot(index) {
            Slot::Context(word) => self.asm.load(8, R1, R6, 8 * word as i32),
            Slot::Found => self.asm.load(8, R1, FP, self.found.unwrap_or(self.scratch)),
        }
    }

    /// The word of the context where an argument is.
    pub fn word(&self, index: u32) -> u32 {
        match self.slot(index) {
            Slot::Context(word) => word,
            Slot::Found => index,
        }
    }

    fn slot(&self, index: u32) -> Slot {
        self.hook.arguments.get(index as usize).map_or(Slot::Context(index), |argument| argument.slot)
    }

    /// R1 = the pointer at the end of the hops; goes to `absent` if one on the way is NULL.
    pub fn pointer(&mut self, argument: u32, hops: &[Hop], absent: Label) {
        let known = self.loaded.iter().filter(|(known, way, _)| *known == argument && hops.starts_with(way));
        let nearest = known.max_by_key(|(_, way, _)| way.len()).map(|(_, way, slot)| (way.len(), *slot));
        let rest = match nearest {
            Some((length, slot)) => {
                self.asm.load(8, R1, FP, slot);
                self.asm.jump_if(Jump::Eq, R1, 0, absent);
                &hops[length..]
            }
            None => {
                self.argument(argument, absent);
                hops
            }
        };
        for hop in rest {
            match hop {
                Hop::Load(offset, _) => {
                    self.load(8, R1, *offset);
                    self.asm.jump_if(Jump::Eq, R1, 0, absent);
                }
                Hop::Add(offset) => self.asm.alu_imm(Alu::Add, R1, *offset as i32),
                Hop::Cast(to, check) => {
                    if let Some(check) = check {
                        self.check(*check, absent);
                    }
                    self.cast(*to);
                }
            }
        }
    }

    /// R1 = `*(R1 + offset)`, however far away.
    pub fn load(&mut self, size: u32, dst: Reg, offset: u32) {
        if offset > MAX_OFFSET {
            self.asm.alu_imm(Alu::Add, R1, offset as i32);
            return self.asm.load(size, dst, R1, 0);
        }
        self.asm.load(size, dst, R1, offset as i32);
    }

    /// R1 = R1 as a pointer to another struct. The kernel makes one move of it.
    pub fn cast(&mut self, to: u32) {
        // Without it no path with a cast gets as far as this.
        let function = self.hook.layout.cast.unwrap_or_default();
        self.asm.constant(R2, to.into());
        self.asm.call_kernel(function);
        self.asm.mov(R1, R0);
    }

    /// Goes to `absent` unless the `struct sock` in R1 is what it is to be taken for.
    fn check(&mut self, check: Check, absent: Label) {
        let Some(socket) = self.hook.layout.socket.clone() else { return };
        // A `struct sock_common` does not say how large it is.
        self.cast(socket.id);
        self.asm.load(1, R2, R1, socket.state as i32);
        for state in NOT_FULL {
            self.asm.jump_if(Jump::Eq, R2, state, absent);
        }
        match check {
            Check::Full => {}
            Check::Internet { kind, protocol } => {
                self.internet_family(socket.family, absent);
                for ((offset, size), wanted) in [(socket.kind, kind), (socket.protocol, protocol)] {
                    if let Some(wanted) = wanted {
                        self.asm.load(size, R2, R1, offset as i32);
                        self.asm.jump_if(Jump::Ne, R2, wanted.into(), absent);
                    }
                }
            }
            Check::Family(family) => {
                self.asm.load(2, R2, R1, socket.family as i32);
                self.asm.jump_if(Jump::Ne, R2, family.into(), absent);
            }
        }
    }
}
