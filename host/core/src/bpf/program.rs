//! What the compiler gives: a program for one tracepoint or one kind of the kernel's objects, the maps that it uses, and the sizes of what it writes.

/// A program, complete but for the numbers that are known only when it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The table that it answers: `hook.kfree_skb`, `iter.socket`.
    pub table: String,
    /// BTF id of `typedef btf_trace_<tracepoint>`, or of the iterator's function.
    pub attach_btf_id: u32,
    /// Instructions as little-endian words of `struct bpf_insn`.
    pub code: Vec<u64>,
    /// Instructions whose immediate is written before loading, by index.
    pub patches: Vec<(usize, Patch)>,
    pub writes: Writes,
}

/// What an immediate stands for. Immediates are the upper half of an instruction's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// A map's descriptor: the first half of an LD_IMM64 with BPF_PSEUDO_MAP_FD.
    Map(Map),
    /// The number under which the program is loaded: its index in the map of figures, and the first word of its records.
    Id,
}

/// The maps that a program may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Map {
    /// BPF_MAP_TYPE_RINGBUF, shared by all programs.
    Ring,
    /// BPF_MAP_TYPE_PERCPU_ARRAY of [`FIGURES`] words, shared by all programs; key: the program's number.
    Figures,
    /// BPF_MAP_TYPE_ARRAY with one u64, shared by all programs: which of the two maps of groups is written to, 0 or 1.
    Switch,
    /// BPF_MAP_TYPE_LRU_HASH of the program's own: namespace cookie → u64, the token bucket's time.
    Tokens,
    /// BPF_MAP_TYPE_ARRAY with one u64 of the program's own: the time of the bucket that its stacks take tokens from.
    Stacks,
    /// BPF_MAP_TYPE_PERCPU_HASH, two of the program's own (0 and 1): group → aggregates. Of a pass one BPF_MAP_TYPE_HASH (0), as nothing
    /// runs beside it.
    Groups(usize),
    /// BPF_MAP_TYPE_HASH of a pass: address of a socket that may be met again → nothing (u64).
    Seen,
}

/// What the program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// A record of so many bytes, into the ring for each event, or to the reader of a pass; in the ring a stack may be behind it.
    Records { bytes: usize },
    /// Entries of its maps of groups.
    Groups { key_bytes: usize, value_bytes: usize },
}

/// Words of one program's figures, all u64, counted on each CPU.
pub const FIGURES: usize = 11;

/// Index of each figure.
pub mod figure {
    /// How often the program ran.
    pub const RUNS: usize = 0;
    /// Runs whose time was taken, and the nanoseconds that those took in all.
    pub const TIMED: usize = 1;
    pub const NANOS: usize = 2;
    /// Rows that the token bucket kept back.
    pub const SUPPRESSED: usize = 3;
    /// Rows that did not fit into the ring.
    pub const RING_FULL: usize = 4;
    /// Rows whose group did not fit into the map; of a pass also sockets that could not be remembered.
    pub const MAP_FULL: usize = 5;
    /// Rows whose group the kernel could not store for another reason.
    pub const MAP_ERROR: usize = 6;
    /// Computed values that did not fit into 64 bits, and are NULL therefore: one each time that it is computed.
    pub const OVERFLOW: usize = 7;
    /// Rows that were written into the ring.
    pub const SUBMITTED: usize = 8;
    /// Rows that came without a stack, as there was no token for one.
    pub const STACK_SUPPRESSED: usize = 9;
    /// Rows whose stack could not be had: the ring had no room for it, or the kernel gave none.
    pub const STACK_LOST: usize = 10;
}
