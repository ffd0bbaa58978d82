//! How a column of a tracepoint is had: which argument, which pointers on the way, which bytes at the end. All offsets are known.

use super::btf::TypeId;
use crate::{arithmetic::Number, query::expr::Compared};
use std::sync::Arc;

/// The way to one column's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// An argument itself.
    Argument {
        index: u32,
        size: u32,
        signed: bool,
        pointer: bool,
        /// The verifier does not let it be read: it must be copied.
        hidden: bool,
    },
    Path(Path),
    Computed(Computed),
    /// `a + b` and the like, of others.
    Arithmetic(Number<Arc<Access>>),
    /// `a > b` of such numbers: 1 or 0.
    Compared(Compared<Arc<Access>>),
    /// The bucket of a histogram that another is in.
    Bucket {
        of: Arc<Access>,
        signed: bool,
    },
}

impl Access {
    /// What the kernel is read for it: itself, or what it is computed of.
    pub fn leaves(&self) -> Vec<&Access> {
        let mut leaves = Vec::new();
        self.for_each_leaf(&mut |leaf| leaves.push(leaf));
        leaves
    }

    fn for_each_leaf<'a>(&'a self, each: &mut dyn FnMut(&'a Access)) {
        let numbers = match self {
            Access::Arithmetic(number) => [Some(number), None],
            Access::Compared(Compared { left, right, .. }) => [Some(left), Some(right)],
            Access::Bucket { of, .. } => return of.for_each_leaf(each),
            Access::Argument { .. } | Access::Path(_) | Access::Computed(_) => return each(self),
        };
        for number in numbers.into_iter().flatten() {
            number.for_each_leaf(&mut |leaf| leaf.for_each_leaf(each));
        }
    }
}

impl Access {
    /// Whether its numbers are so large that a sum of them may not fit into 64 bits: of narrower ones that would take 2^32.
    pub fn is_wide(&self) -> bool {
        match self {
            Access::Argument { size, .. } => *size == 8,
            Access::Path(path) => match path.read {
                Read::Number { size, .. } => size == 8,
                Read::Bits { width, .. } => width > 32,
                Read::Pointer | Read::Bytes { .. } => false,
            },
            Access::Computed(computed) => matches!(computed, Computed::Time | Computed::Cgroup),
            Access::Arithmetic(_) => true,
            Access::Compared(_) | Access::Bucket { .. } => false,
        }
    }
}

/// A field, through pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The argument where it begins, a pointer.
    pub argument: u32,
    /// From that pointer to the last one.
    pub hops: Vec<Hop>,
    pub read: Read,
}

/// From a pointer to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// The pointer that lies at this offset, to a struct; 0 for one to something else.
    Load(u32, TypeId),
    /// What lies at this offset, as a pointer of its own.
    Add(u32),
    /// The same pointer, as one to another struct, if the check holds.
    Cast(TypeId, Option<Check>),
}

/// What must be true of a `struct sock` before it may be looked at as a larger one: sockets in TIME_WAIT and requests are smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is a full socket.
    Full,
    /// It is a full socket of IPv4 or IPv6; with this SOCK type, and of this IPPROTO. Others have protocols by the same numbers.
    Internet { kind: Option<u16>, protocol: Option<u16> },
    /// It is a full socket of this AF.
    Family(u16),
}

/// What is read in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The last pointer itself.
    Pointer,
    Number {
        offset: u32,
        /// 1, 2, 4 or 8.
        size: u32,
        signed: bool,
        /// In network byte order.
        big_endian: bool,
        /// It is an address of the kernel: NULL if it is 0.
        pointer: bool,
    },
    /// First bit (counted from `offset`) and width of a bit field.
    Bits { offset: u32, shift: u32, width: u32, signed: bool },
    /// So many bytes, as they are.
    Bytes { offset: u32, length: u32 },
}

/// The loads that so many bytes at an offset take, in the largest aligned pieces: from the begin of the bytes, and how large.
pub fn pieces(offset: u32, length: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let fits =
            |size: &u32| (offset + done).is_multiple_of(*size) && done + size <= length && done.is_multiple_of(*size);
        let piece = (done, [8, 4, 2].into_iter().find(fits).unwrap_or(1));
        done += piece.1;
        (piece.0 < length).then_some(piece)
    })
}

/// The smallest aligned load that covers a bit field: its size, and by how many bytes it begins earlier.
pub fn covering(offset: u32, shift: u32, width: u32) -> (u32, u32) {
    let covers = |size: &u32| 8 * (offset % size) + shift + width <= 8 * size;
    let size = [1, 2, 4].into_iter().find(covers).unwrap_or(8);
    (size, offset % size)
}

/// What the host computes wherever a hook has a socket or a packet at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Computed {
    Time,
    Cpu,
    Pid,
    Comm,
    Netns,
    Owner,
    Cgroup,
    Protocol,
    Family,
    /// Of the packet, as on the wire.
    Saddr,
    Daddr,
    Sport,
    Dport,
    /// Of the socket: its own end and the other one.
    Laddr,
    Raddr,
    Lport,
    Rport,
}

impl Computed {
    pub fn is_of_packet(self) -> bool {
        matches!(self, Computed::Saddr | Computed::Daddr | Computed::Sport | Computed::Dport)
    }

    pub fn is_of_socket(self) -> bool {
        use Computed::*;
        matches!(self, Laddr | Raddr | Lport | Rport | Owner | Cgroup)
    }
}
