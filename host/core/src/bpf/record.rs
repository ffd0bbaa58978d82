//! What a program writes, byte by byte, and the way back to columns.

use crate::{
    batch::{Batch, Column, ColumnBuilder},
    scope::ScopeId,
    table::{TableColumn, Type},
};

/// What every record of a stream begins with.
///
/// All numbers are of the machine's byte order, which is little-endian.
pub mod head {
    /// u32: the program's number.
    pub const ID: i32 = 0;
    /// u32.
    pub const CPU: i32 = 4;
    /// u64: a bit for each column that has a value.
    pub const PRESENT: i32 = 8;
    /// u64: CLOCK_MONOTONIC in nanoseconds.
    pub const TIME: i32 = 16;
    /// u64: the namespace's cookie, 0 where there is none at hand, and u64: its inode.
    pub const NETNS: i32 = 24;
    pub const BYTES: u32 = 40;
}

/// What is behind a row that comes with the kernel's stack: u64, how many bytes of addresses follow (negative: an error), and the addresses.
pub mod stack {
    /// Addresses at most, innermost first: with those of BPF's own at the begin, enough for a connection over loopback from the system call on.
    pub const FRAMES: u32 = 64;
    pub const HEAD_BYTES: u32 = 8;
    pub const BYTES: u32 = HEAD_BYTES + 8 * FRAMES;
}

/// What every key of a group begins with: u64, a bit for each column that has a value.
pub const KEY_HEAD_BYTES: u32 = 8;

/// A column of a query in what its program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub offset: u32,
    /// Of its bit; None: always there, but for a namespace or an owner whose cookie is 0.
    pub bit: Option<u32>,
    pub form: Form,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Eight bytes, with the sign extended.
    Number,
    /// Two times eight bytes: cookie and inode.
    Netns,
    /// Three times eight bytes: cookie and inode of the socket's namespace, and its cgroup.
    Owner,
    /// So many bytes, padded to eight.
    Bytes(u32),
    /// Only its bit: the query asks no more than whether there is a value.
    Bit,
}

impl Form {
    /// Bytes that it takes.
    pub fn room(self) -> u32 {
        match self {
            Form::Number => 8,
            Form::Netns => 16,
            Form::Owner => 24,
            Form::Bytes(length) => length.next_multiple_of(8),
            Form::Bit => 0,
        }
    }
}

/// A namespace as the kernel knows it: a cookie that is never used again, and an inode that people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetnsKey {
    pub cookie: u64,
    pub inode: u64,
}

/// Who owns a socket, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerKey {
    pub netns: NetnsKey,
    /// Number of its cgroup (version 2), the inode of that folder; 0 where it has none. It is the one in which the socket was made: a
    /// process that is moved leaves it there.
    pub cgroup: u64,
}

/// Tells which scope something of the kernel's is of.
pub trait Scoping {
    fn netns(&mut self, netns: NetnsKey) -> ScopeId;

    /// Of a socket. Whoever knows no cgroups tells its namespace.
    fn owner(&mut self, owner: OwnerKey) -> ScopeId {
        self.netns(owner.netns)
    }
}

impl<F: FnMut(NetnsKey) -> ScopeId> Scoping for F {
    fn netns(&mut self, netns: NetnsKey) -> ScopeId {
        self(netns)
    }
}

/// Turns what a program wrote into the columns of its query.
pub struct Decoder<'a> {
    cells: &'a [Option<Cell>],
    types: &'a [TableColumn],
    /// Offset of the word with the bits.
    present: usize,
    columns: Vec<ColumnBuilder>,
    rows: usize,
}

impl<'a> Decoder<'a> {
    /// `cells` has an entry for each column of the query, None for one that only the kernel looks at; `present` is where the bits are.
    pub fn new(cells: &'a [Option<Cell>], types: &'a [TableColumn], present: usize) -> Self {
        let columns = types.iter().map(|column| column.ty.builder()).collect();
        Self { cells, types, present, columns, rows: 0 }
    }

    /// Adds one record or key. One that is too short gives NULLs.
    pub fn push(&mut self, bytes: &[u8], scopes: &mut dyn Scoping) {
        let bits = word(bytes, self.present);
        for ((cell, ty), column) in self.cells.iter().zip(self.types).zip(&mut self.columns) {
            match cell {
                Some(cell) if cell.bit.is_none_or(|bit| bits >> bit & 1 == 1) => {
                    cell.push(bytes, ty.ty, column, scopes)
                }
                _ => column.push_null(),
            }
        }
        self.rows += 1;
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn finish(self) -> Batch {
        let columns: Vec<Column> = self.columns.into_iter().map(ColumnBuilder::finish).collect();
        Batch { rows: self.rows, columns }
    }
}

impl Cell {
    fn push(&self, bytes: &[u8], ty: Type, column: &mut ColumnBuilder, scopes: &mut dyn Scoping) {
        let at = self.offset as usize;
        if bytes.len() < at + self.form.room() as usize {
            return column.push_null();
        }
        match (self.form, ty) {
            (Form::Netns, _) => match netns(bytes, at) {
                Some(netns) => column.push_u64(scopes.netns(netns).into()),
                None => column.push_null(),
            },
            (Form::Owner, _) => match netns(bytes, at) {
                Some(netns) => {
                    let owner = OwnerKey { netns, cgroup: word(bytes, at + 16) };
                    column.push_u64(scopes.owner(owner).into());
                }
                None => column.push_null(),
            },
            (Form::Number, Type::S64) => column.push_s64(word(bytes, at) as i64),
            (Form::Number, Type::Bool) => column.push_u64(u64::from(word(bytes, at) != 0)),
            (Form::Number, _) => column.push_u64(word(bytes, at)),
            (Form::Bytes(length), _) => {
                let value = bytes.get(at..at + length as usize).unwrap_or_default();
                match ty {
                    Type::Address => column.push_address(value.first_chunk().unwrap_or(&[0; 16])),
                    Type::Text => column.push_text(value.split(|&byte| byte == 0).next().unwrap_or_default()),
                    _ => column.push_blob(value),
                }
            }
            (Form::Bit, Type::Address) => column.push_address(&[0; 16]),
            (Form::Bit, Type::Text) => column.push_text(b""),
            (Form::Bit, Type::Octets) => column.push_blob(b""),
            (Form::Bit, _) => column.push_u64(0),
        }
    }
}

/// The stacks of some rows, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    addresses: Vec<u64>,
    /// Of each row, where its stack ends.
    ends: Vec<u32>,
}

impl Stacks {
    /// Adds what a record has behind its row of `row_bytes`; nothing, if it has no stack.
    pub fn push(&mut self, record: &[u8], row_bytes: usize) {
        let behind = record.get(row_bytes..).unwrap_or_default();
        let length = usize::try_from(word(behind, 0) as i64).unwrap_or(0);
        let (addresses, _) = behind.get(stack::HEAD_BYTES as usize..).unwrap_or_default().as_chunks::<8>();
        self.addresses.extend(addresses.iter().take(length / 8).map(|address| u64::from_le_bytes(*address)));
        self.ends.push(self.addresses.len() as u32);
    }

    /// The addresses of a row's stack, innermost first; empty where it has none.
    pub fn get(&self, row: usize) -> &[u64] {
        let end = self.ends.get(row).map_or(0, |end| *end as usize);
        let begin = row.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.addresses.get(begin..end).unwrap_or_default()
    }

    /// Whether no row has one.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}

/// The number at `at`; 0 beyond the end.
pub fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The namespace at `at`, if there is one.
pub fn netns(bytes: &[u8], at: usize) -> Option<NetnsKey> {
    let cookie = word(bytes, at);
    (cookie != 0).then(|| NetnsKey { cookie, inode: word(bytes, at + 8) })
}
