//! A program in the making: its registers, its stack, its begin and its end.

use super::{
    super::{
        access::{Access, Computed, Hop},
        asm::{Alu, Asm, FP, Finished, Jump, Label, R0, R1, R2, R6, R9, Reg, TooLong, helper},
        hook::Hook,
        program::{Map, figure},
        record::Cell,
    },
    CompileError, ahead,
    ahead::Touch,
    paths,
};
use crate::query::Query;

/// Bytes of stack that the kernel gives a program (MAX_BPF_STACK).
const STACK: i32 = 512;

/// Of so many runs the time of one is taken: reading the clock twice takes as long as a small program.
const TIMED_EVERY: i32 = 256;

/// What is in which register, all the way: R6 the context, R7 the record, R8 the bits of the columns that have values, R9 the program's
/// figures. R0 to R5 are for the moment; R7 and R8 too, until the filter is through.
pub(super) struct Emit<'a> {
    pub asm: Asm,
    pub hook: &'a Hook,
    /// Where every way ends: not taken, or done.
    pub out: Label,
    /// For a key or an argument of a call, eight bytes.
    pub scratch: i32,
    /// For the text or the address that a filter looks at.
    pub area: Option<i32>,
    /// When the run began, or 0 where its time is not taken.
    began: i32,
    /// Where the stack is used up to, counted downwards from the frame pointer.
    used: i32,
    /// Offsets on the stack of what is computed once, where it has been.
    pub packet: Option<i32>,
    /// What is asked of packets besides family and protocol.
    pub wants_addresses: bool,
    pub wants_ports: bool,
    pub socket: Option<i32>,
    pub netns: Option<i32>,
    pub owner: Option<i32>,
    /// Of a pass over files: the socket, and whether it may be met again (0: it may not).
    pub found: Option<i32>,
    pub shared_file: Option<i32>,
    /// Of a pass over files: what is read ahead in the next socket.
    pub touches: Vec<Touch>,
    /// Pointers that several columns go through, none on kernels that cannot cast: there each would double the verifier's work; and those of them that have been loaded, with where they are.
    shared: Vec<(u32, Vec<Hop>)>,
    pub loaded: Vec<(u32, Vec<Hop>, i32)>,
    /// Places on the stack where numbers wait for others, and how many of them do.
    waiting_places: Vec<i32>,
    waiting: usize,
}

impl<'a> Emit<'a> {
    /// `used` are all columns that the program looks at.
    pub fn new(hook: &'a Hook, used: &[&Access]) -> Self {
        let mut asm = Asm::default();
        let out = asm.label();
        let used: Vec<&Access> = used.iter().flat_map(|access| access.leaves()).collect();
        let wants = |wanted: &[Computed]| {
            used.iter().any(|access| matches!(access, Access::Computed(computed) if wanted.contains(computed)))
        };
        let mut emit = Self {
            asm,
            hook,
            out,
            scratch: 0,
            area: None,
            began: 0,
            used: 0,
            packet: None,
            wants_addresses: wants(&[Computed::Saddr, Computed::Daddr]),
            wants_ports: wants(&[Computed::Sport, Computed::Dport]),
            socket: None,
            netns: None,
            owner: None,
            found: None,
            shared_file: None,
            touches: ahead::touches(&used, &hook.arguments, hook.layout.socket.as_ref()),
            shared: if hook.layout.cast.is_some() { paths::shared(&used) } else { Vec::new() },
            loaded: Vec::new(),
            waiting_places: Vec::new(),
            waiting: 0,
        };
        emit.scratch = emit.room(8);
        emit.began = emit.room(8);
        emit
    }

    /// Takes so many bytes of the stack, eight bytes aligned; the offset from the frame pointer. Whether there is enough is found at the end.
    pub fn room(&mut self, bytes: u32) -> i32 {
        self.used = self.used.saturating_add(bytes.next_multiple_of(8) as i32);
        -self.used
    }

    /// Keeps R1 on the stack while another number is had, until [`take`](Self::take).
    pub fn keep(&mut self) {
        if self.waiting == self.waiting_places.len() {
            let place = self.room(8);
            self.waiting_places.push(place);
        }
        self.asm.store(8, FP, self.waiting_places[self.waiting], R1);
        self.waiting += 1;
    }

    /// `dst` = what was kept last.
    pub fn take(&mut self, dst: Reg) {
        self.waiting -= 1;
        self.asm.load(8, dst, FP, self.waiting_places[self.waiting]);
    }

    /// `dst` = the address of something on the stack.
    pub fn stack_address(&mut self, dst: Reg, offset: i32) {
        self.asm.mov(dst, FP);
        self.asm.alu_imm(Alu::Add, dst, offset);
    }

    /// Counts the run, and begins to take the time of some.
    pub fn begin(&mut self) {
        let (asm, began) = (&mut self.asm, self.began);
        asm.mov(R6, R1);
        asm.store_id(FP, self.scratch);
        asm.map(R1, Map::Figures);
        asm.mov(R2, FP);
        asm.alu_imm(Alu::Add, R2, self.scratch);
        asm.call(helper::MAP_LOOKUP_ELEM);
        let (there, timed) = (asm.label(), asm.label());
        asm.jump_if(Jump::Ne, R0, 0, there);
        asm.exit();
        asm.place(there);
        asm.mov(R9, R0);
        asm.count(R9, word(figure::RUNS), R1);
        asm.store_imm(8, FP, began, 0);
        // The first run is one of them: a program that seldom runs has a cost, too.
        asm.alu_imm(Alu::And, R1, TIMED_EVERY - 1);
        asm.jump_if(Jump::Ne, R1, 1, timed);
        asm.call(helper::KTIME_GET_NS);
        asm.store(8, FP, began, R0);
        asm.place(timed);
    }

    /// Ends the time, and the program.
    ///
    /// # Errors
    /// If it needs more stack than there is, or is too long.
    pub fn end(mut self) -> Result<Finished, CompileError> {
        let asm = &mut self.asm;
        asm.place(self.out);
        let leave = asm.label();
        asm.load(8, R1, FP, self.began);
        asm.jump_if(Jump::Eq, R1, 0, leave);
        asm.call(helper::KTIME_GET_NS);
        asm.load(8, R1, FP, self.began);
        asm.alu(Alu::Sub, R0, R1);
        asm.increase(R9, word(figure::NANOS), R0, R1);
        asm.count(R9, word(figure::TIMED), R1);
        asm.place(leave);
        asm.constant(R0, 0);
        asm.exit();
        if self.used > STACK {
            return Err(CompileError::Stack { what: "the query", bytes: self.used as usize, room: STACK as usize });
        }
        self.asm.finish().map_err(|error: TooLong| error.into())
    }

    /// Counts in a figure of the program's.
    pub fn count(&mut self, figure: usize) {
        self.asm.count(R9, word(figure), R1);
    }

    /// Computes once what several of these columns are made of.
    pub fn prepare<'c>(&mut self, columns: impl Iterator<Item = &'c Access>) {
        for access in columns.flat_map(Access::leaves) {
            match access {
                // Leaves are read: they are not computed of others.
                Access::Argument { .. } | Access::Arithmetic(_) | Access::Compared(_) | Access::Bucket { .. } => {}
                Access::Path(path) => {
                    for (argument, hops) in self.shared.clone() {
                        if argument == path.argument && path.hops.starts_with(&hops) {
                            self.load_shared(argument, &hops);
                        }
                    }
                }
                Access::Computed(computed) => self.prepare_computed(*computed),
            }
        }
    }

    /// The same for the columns that have a cell.
    pub fn prepare_cells(&mut self, query: &Query, cells: &[Option<Cell>]) {
        let wanted = query.columns.iter().zip(cells).filter(|(_, cell)| cell.is_some());
        self.prepare(wanted.filter_map(|(column, _)| column.access.as_deref()));
    }

    fn prepare_computed(&mut self, computed: Computed) {
        let either = matches!(computed, Computed::Protocol | Computed::Family);
        if either || computed.is_of_packet() {
            self.prepare_packet();
        }
        if either || matches!(computed, Computed::Netns) || computed.is_of_socket() {
            self.prepare_socket();
        }
        match computed {
            Computed::Netns => self.prepare_netns(),
            Computed::Owner => self.prepare_owner(),
            _ => {}
        }
    }
}

/// The offset of a figure.
pub(super) fn word(figure: usize) -> i32 {
    8 * figure as i32
}
