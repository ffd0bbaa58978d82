//! A pass over files looks ahead: nearly all of its time would go by waiting for memory, for one cache line after the other.
//!
//! From a descriptor it is three steps to a socket's figures: the file, its `struct socket`, its `struct sock`. Nothing of them is in a
//! cache, as a node's sockets are larger than that, and each step needs what the one before has read. So with each socket the program reads
//! a little of the three files that come next, for each the step that it has come to, and drops what it has read: no step waits for
//! another, and when the pass gets there everything is at hand.

use super::{
    super::{
        access::{Access, Computed, Hop, Path, Read, covering, pieces},
        asm::{Alu, Jump, Label, R1, R2, R3, R4, R6, R7, R8},
        hook::{Argument, Slot},
        layout::Socket,
        pass::{Ahead, Sockets},
    },
    emit::Emit,
};

/// How many files ahead each step is made.
const SOCK: i32 = 1;
const SOCKET: i32 = 2;
const FILE: i32 = 3;

/// What the processor fetches at once. Where it is more than that, some reads are made in vain.
const CACHE_LINE: u32 = 64;

/// Something to read in a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    /// The struct that the socket is taken for; None: `struct sock`.
    of: Option<u32>,
    offset: u32,
    size: u32,
}

/// One read for each cache line of the socket that these columns are read from.
pub(super) fn touches(columns: &[&Access], arguments: &[Argument], socket: Option<&Socket>) -> Vec<Touch> {
    let found = |path: &Path| arguments.get(path.argument as usize).is_some_and(|of| of.slot == Slot::Found);
    let mut all: Vec<Touch> = columns
        .iter()
        .flat_map(|access| match access {
            Access::Path(path) if found(path) => first_read(path).into_iter().collect(),
            Access::Computed(computed) => socket.map_or_else(Vec::new, |socket| computed_reads(*computed, socket)),
            _ => Vec::new(),
        })
        .collect();
    // Those that need no cast first.
    all.sort_by_key(|touch| (touch.of.is_some(), touch.offset / CACHE_LINE));
    let mut lines = Vec::new();
    all.retain(|touch| {
        let line = touch.offset / CACHE_LINE;
        let is_new = !lines.contains(&line);
        lines.push(line);
        is_new
    });
    all
}

/// What a path reads of the socket itself.
fn first_read(path: &Path) -> Option<Touch> {
    let (mut of, mut base) = (None, 0);
    for hop in &path.hops {
        match *hop {
            Hop::Cast(to, _) if base == 0 => of = Some(to),
            Hop::Cast(..) => return None,
            Hop::Add(offset) => base += offset,
            Hop::Load(offset, _) => return Some(Touch { of, offset: base + offset, size: 8 }),
        }
    }
    let (offset, size) = match path.read {
        Read::Pointer => return None,
        Read::Number { offset, size, .. } => (offset, size),
        Read::Bits { offset, shift, width, .. } => {
            let (size, slip) = covering(offset, shift, width);
            (offset - slip, size)
        }
        Read::Bytes { offset, length } => (offset, pieces(offset, length).next()?.1),
    };
    Some(Touch { of, offset: base + offset, size })
}

fn computed_reads(computed: Computed, socket: &Socket) -> Vec<Touch> {
    let cgroup = socket.cgroup.map(|[cgroup, ..]| (cgroup, 8));
    let reads = match computed {
        Computed::Netns => [Some((socket.net, 8)), None],
        Computed::Owner => [Some((socket.net, 8)), cgroup],
        Computed::Protocol => [Some(socket.protocol), None],
        Computed::Cgroup => [cgroup, None],
        Computed::Laddr => [Some((socket.v6_rcv_saddr, 8)), None],
        Computed::Raddr => [Some((socket.v6_daddr, 8)), None],
        Computed::Family | Computed::Lport | Computed::Rport => [Some((socket.family, 2)), None],
        _ => [None, None],
    };
    reads.into_iter().flatten().map(|(offset, size)| Touch { of: None, offset, size }).collect()
}

impl Emit<'_> {
    /// Reads of the next files what will be needed of them. `file` is the context's word with this one, which is a socket's.
    pub fn look_ahead(&mut self, sockets: &Sockets, file: u32) {
        let (Some(ahead), Some(_)) = (&sockets.ahead, self.hook.layout.cast) else { return };
        let done = self.asm.label();
        self.context_pointer(file, done);
        self.load(8, R8, ahead.operations);
        self.next_files(ahead, done);

        // What takes most reads comes first, so that none of them waits for others to be done with.
        if !self.touches.is_empty() {
            let none = self.asm.label();
            self.next_socket(ahead, SOCK, none);
            self.load(8, R1, sockets.sk);
            self.asm.jump_if(Jump::Eq, R1, 0, none);
            self.touch();
            self.asm.place(none);
        }
        let none = self.asm.label();
        self.next_socket(ahead, SOCKET, none);
        self.load(8, R2, sockets.sk);
        self.asm.place(none);

        self.next_file(ahead, FILE, done);
        self.load(8, R2, ahead.operations);
        self.load(8, R2, ahead.references);
        self.asm.place(done);
    }

    /// R7 = where the table of descriptors has this file; goes to `done` if there are not so many behind it.
    fn next_files(&mut self, ahead: &Ahead, done: Label) {
        self.context_pointer(ahead.task, done);
        for offset in ahead.table {
            self.load(8, R1, offset);
            self.asm.jump_if(Jump::Eq, R1, 0, done);
        }
        self.load(4, R2, ahead.length);
        self.load(8, R7, ahead.files);
        self.asm.load(8, R3, R6, 8 * ahead.fd as i32);
        // The slot is a word whose upper part may be anything.
        self.asm.alu_imm(Alu::Lsh, R3, 32);
        self.asm.alu_imm(Alu::Rsh, R3, 32);
        self.asm.mov(R4, R3);
        self.asm.alu_imm(Alu::Add, R4, FILE);
        self.asm.jump_if_reg(Jump::Ge, R4, R2, done);
        self.asm.alu_imm(Alu::Lsh, R3, 3);
        self.asm.alu(Alu::Add, R7, R3);
    }

    /// R1 = the file so many descriptors ahead; goes to `none` if there is none.
    fn next_file(&mut self, ahead: &Ahead, by: i32, none: Label) {
        // A word at any address can be read as that of a table which would have it there.
        self.asm.mov(R1, R7);
        self.asm.alu_imm(Alu::Add, R1, 8 * by - ahead.files as i32);
        self.cast(ahead.files_of);
        self.load(8, R1, ahead.files);
        self.asm.jump_if(Jump::Eq, R1, 0, none);
        self.cast(ahead.file);
    }

    /// R1 = the `struct socket` of that file; goes to `none` if it is another kind of file: what it has may not even be memory.
    fn next_socket(&mut self, ahead: &Ahead, by: i32, none: Label) {
        self.next_file(ahead, by, none);
        self.load(8, R2, ahead.operations);
        self.asm.jump_if_reg(Jump::Ne, R2, R8, none);
        self.load(8, R1, ahead.data);
        self.asm.jump_if(Jump::Eq, R1, 0, none);
        self.cast(ahead.socket);
    }

    /// Reads what columns need of the socket in R1.
    fn touch(&mut self) {
        let mut of = None;
        for touch in self.touches.clone() {
            if let Some(to) = touch.of.filter(|_| touch.of != of) {
                self.cast(to);
                of = touch.of;
            }
            self.load(touch.size, R2, touch.offset);
        }
    }
}
