//! Field paths: from an argument through structs, unions, arrays and pointers to a value.

use super::{
    access::{Access, Check, Hop, Path, Read, covering, pieces},
    btf::{Btf, Kind, Type as KernelType, TypeId},
    hook::{Argument, HookError, value_type},
    layout::Layout,
    walk::{Seen, seen},
};
use crate::{
    nearest::did_you_mean,
    table::{Logical, Names, TableColumn, Type},
};
use std::sync::Arc;

/// One step of a path, as it stands in a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `.name`; the first one is an argument.
    Field(String),
    /// `[3]`.
    Index(u32),
    /// `::tcp_sock`.
    Cast(String),
}

/// The longest value that can be a column.
const MAX_BYTES: u32 = 128;

/// The most pointers on one way.
const MAX_HOPS: usize = 16;

/// Sockets that a `struct sock` may be looked at as, and what must be true of it.
const SOCKETS: &[(&str, Check)] = &[
    ("inet_sock", Check::Internet { kind: None, protocol: None }),
    ("inet_connection_sock", internet(STREAM, 6)),
    ("tcp_sock", internet(STREAM, 6)),
    ("udp_sock", internet(DATAGRAM, 17)),
    ("mptcp_sock", internet(STREAM, 262)),
    ("raw_sock", Check::Internet { kind: Some(RAW), protocol: None }),
    ("unix_sock", Check::Family(1)),
    ("netlink_sock", Check::Family(16)),
    ("packet_sock", Check::Family(17)),
    ("vsock_sock", Check::Family(40)),
];

/// `enum sock_type` (include/linux/net.h), which differs on MIPS alone.
const STREAM: u16 = 1;
const DATAGRAM: u16 = 2;
const RAW: u16 = 3;

const fn internet(kind: u16, protocol: u16) -> Check {
    Check::Internet { kind: Some(kind), protocol: Some(protocol) }
}

/// Where a walk stands: an object of a type, somewhere behind the last pointer.
struct Walk<'a> {
    btf: &'a Btf,
    layout: &'a Layout,
    hops: Vec<Hop>,
    /// The struct that the last pointer leads to, by what the verifier knows of it.
    base: TypeId,
    ty: TypeId,
    place: Place,
    bits: Option<(u32, u32)>,
    /// As far as it has come, for messages.
    text: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The value is the last pointer itself.
    Hand,
    /// At this offset behind it.
    Behind(u32),
}

/// The column at the end of `steps`, which begin after the argument.
pub(super) fn column(
    btf: &Btf,
    layout: &Layout,
    argument: &Argument,
    index: u32,
    steps: &[Step],
    text: &str,
) -> Result<TableColumn, HookError> {
    let mut walk = walk(btf, layout, argument, steps)?;
    let (ty, logical, names, read) = walk.value()?;
    if walk.hops.len() > MAX_HOPS {
        return Err(HookError::wrong(format!("`{text}` goes over more than {MAX_HOPS} pointers")));
    }
    let access = Access::Path(Path { argument: index, hops: walk.hops, read });
    let column = TableColumn::new(text, ty, logical).nullable().help(btf.describe(walk.ty));
    Ok(TableColumn { names, access: Some(Arc::new(access)), ..column })
}

/// What can be reached from a path: the members of the struct at its end, or of the one that its pointer leads to, each with its type as C
/// spells it.
pub fn members(
    btf: &Btf,
    layout: &Layout,
    argument: &Argument,
    steps: &[Step],
) -> Result<Vec<(String, String)>, HookError> {
    let walk = walk(btf, layout, argument, steps)?;
    let ty = btf.pointee(walk.ty).unwrap_or_else(|| btf.strip(walk.ty));
    let members = btf.all_members(ty.id);
    if members.is_empty() {
        return Err(HookError::wrong(format!("`{}` is {}: it has no fields", walk.text, btf.describe(walk.ty))));
    }
    Ok(members.into_iter().map(|(name, member)| (name.to_owned(), btf.describe(member.ty))).collect())
}

fn walk<'a>(btf: &'a Btf, layout: &'a Layout, argument: &Argument, steps: &[Step]) -> Result<Walk<'a>, HookError> {
    let mut walk = Walk {
        btf,
        layout,
        hops: Vec::new(),
        base: 0,
        ty: argument.ty,
        place: Place::Hand,
        bits: None,
        text: argument.name.clone(),
    };
    for step in steps {
        match step {
            Step::Field(name) => walk.field(name)?,
            Step::Index(index) => walk.index(*index)?,
            Step::Cast(to) => walk.cast(to)?,
        }
    }
    Ok(walk)
}

impl Walk<'_> {
    fn field(&mut self, name: &str) -> Result<(), HookError> {
        self.follow()?;
        let ty = self.btf.strip(self.ty);
        let Place::Behind(at) = self.place else { return Err(self.no_fields()) };
        if !matches!(ty.kind, Kind::Struct | Kind::Union) {
            return Err(self.no_fields());
        }
        let member = self.btf.member(ty.id, name).ok_or_else(|| {
            let near = did_you_mean(name, self.btf.all_members(ty.id).into_iter().map(|(name, _)| name));
            HookError::absent(format!("`{}` has no field `{name}`{near}", self.btf.describe(ty.id)))
        })?;
        (self.ty, self.place, self.bits) = (member.ty, Place::Behind(at.saturating_add(member.offset)), member.bits);
        self.text = format!("{}.{name}", self.text);
        Ok(())
    }

    /// From a pointer to what it points to.
    fn follow(&mut self) -> Result<(), HookError> {
        let Some(target) = self.btf.pointee(self.ty) else { return Ok(()) };
        if let Place::Behind(offset) = self.place {
            let compound = matches!(target.kind, Kind::Struct | Kind::Union);
            let (offset, seen) = self.reach(offset, 8)?;
            self.hops.push(Hop::Load(offset, if compound { target.id } else { 0 }));
            if compound && seen != Seen::Pointer(target.id) {
                self.take_for(target.id)?;
            }
        }
        (self.ty, self.place, self.base) = (target.id, Place::Behind(0), target.id);
        Ok(())
    }

    /// Has so many bytes at an offset read where the verifier allows it: their offset behind the last pointer, which may be another one
    /// then, and what the verifier sees there.
    fn reach(&mut self, offset: u32, size: u32) -> Result<(u32, Seen), HookError> {
        match seen(self.btf, self.base, offset, size) {
            Some(seen) => Ok((offset, seen)),
            None => self.as_bytes(offset).map(|()| (0, Seen::Number)),
        }
    }

    /// Goes to an offset, and takes what lies there for sixteen bytes (`struct in6_addr`), of which everything may be read.
    fn as_bytes(&mut self, offset: u32) -> Result<(), HookError> {
        let bytes = self.btf.find(Kind::Struct, "in6_addr").unwrap_or_default();
        if offset != 0 {
            self.hops.push(Hop::Add(offset));
        }
        self.take_for(bytes)
    }

    fn take_for(&mut self, to: TypeId) -> Result<(), HookError> {
        if self.layout.cast.is_none() {
            let message =
                format!("`{}` lies in a union: that needs bpf_rdonly_cast, which came with Linux 6.2", self.text);
            return Err(HookError::absent(message));
        }
        self.hops.push(Hop::Cast(to, None));
        self.base = to;
        Ok(())
    }

    fn index(&mut self, index: u32) -> Result<(), HookError> {
        let array = self.btf.array(self.btf.strip(self.ty));
        let (Some((element, count)), Place::Behind(at)) = (array, self.place) else {
            return Err(HookError::wrong(format!("`{}` is {}: no array", self.text, self.btf.describe(self.ty))));
        };
        if index >= count {
            let message = format!("`{}` is {}: there is no element {index}", self.text, self.btf.describe(self.ty));
            return Err(HookError::absent(message));
        }
        let offset = self.btf.size(element).checked_mul(index).and_then(|skip| at.checked_add(skip));
        let offset = offset.ok_or_else(|| HookError::wrong(format!("`{}[{index}]` is too far away", self.text)))?;
        (self.ty, self.place) = (element, Place::Behind(offset));
        self.text = format!("{}[{index}]", self.text);
        Ok(())
    }

    fn cast(&mut self, to: &str) -> Result<(), HookError> {
        let from = self.btf.pointee(self.ty).unwrap_or_else(|| self.btf.strip(self.ty));
        let compound = matches!(from.kind, Kind::Struct | Kind::Union | Kind::Void);
        match (self.btf.pointee(self.ty), self.place) {
            _ if !compound => return Err(self.no_cast(to)),
            (Some(_), Place::Behind(offset)) => {
                let (offset, _) = self.reach(offset, 8)?;
                self.hops.push(Hop::Load(offset, 0));
            }
            (Some(_), Place::Hand) | (None, Place::Behind(0)) => {}
            (None, Place::Behind(offset)) => self.hops.push(Hop::Add(offset)),
            (None, Place::Hand) => return Err(self.no_cast(to)),
        }
        let target = self.btf.find(Kind::Struct, to).ok_or_else(|| {
            let near = did_you_mean(to, self.btf.names_after(Kind::Struct, ""));
            HookError::absent(format!("this kernel has no struct `{to}`{near}"))
        })?;
        if self.layout.cast.is_none() {
            let message = format!("`{}::{to}` needs bpf_rdonly_cast, which came with Linux 6.2", self.text);
            return Err(HookError::absent(message));
        }
        self.hops.push(Hop::Cast(target, self.check(from, to)));
        (self.ty, self.place, self.bits, self.base) = (target, Place::Behind(0), None, target);
        self.text = format!("({}::{to})", self.text);
        Ok(())
    }

    /// What must be looked at before a socket is taken for a larger one.
    fn check(&self, from: KernelType, to: &str) -> Option<Check> {
        // All of these begin with a `struct sock`, or are its begin.
        let name = self.btf.name(from.id);
        let is_sock = from.kind == Kind::Struct
            && (matches!(name, "sock" | "sock_common") || SOCKETS.iter().any(|(socket, _)| *socket == name));
        if !is_sock || to == "sock_common" {
            return None;
        }
        SOCKETS.iter().find(|(name, _)| *name == to).map(|(_, check)| *check).or(Some(Check::Full))
    }

    /// The value at the end.
    fn value(&mut self) -> Result<(Type, Logical, Option<Names>, Read), HookError> {
        let Place::Behind(offset) = self.place else { return Err(self.no_value()) };
        let ty = self.btf.strip(self.ty);
        let size = self.btf.size(self.ty);
        if let (Some((shift, width)), Kind::Int | Kind::Enum | Kind::Enum64) = (self.bits, ty.kind) {
            let (ty, logical, names) = value_type(self.btf, self.ty);
            let signed = self.btf.is_signed(self.ty);
            let (covered, slip) = covering(offset, shift, width);
            let offset = self.numbers(offset - slip, &[(0, covered)])? + slip;
            return Ok((ty, logical, names, Read::Bits { offset, shift, width, signed }));
        }
        match ty.kind {
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Ptr if matches!(size, 1 | 2 | 4 | 8) => {
                let (value, logical, names) = value_type(self.btf, self.ty);
                let big_endian = self.btf.typedefs(self.ty).any(|name| matches!(name, "__be16" | "__be32" | "__be64"));
                let (signed, pointer) = (self.btf.is_signed(self.ty), ty.kind == Kind::Ptr);
                let offset = match pointer {
                    true => self.reach(offset, size)?.0,
                    false => self.numbers(offset, &[(0, size)])?,
                };
                Ok((value, logical, names, Read::Number { offset, size, signed, big_endian, pointer }))
            }
            Kind::Struct if self.btf.name(ty.id) == "in6_addr" && size == 16 => {
                let offset = self.readable_bytes(offset, 16)?;
                Ok((Type::Address, Logical::Address, None, Read::Bytes { offset, length: 16 }))
            }
            Kind::Array => self.bytes(ty, offset, size),
            // A cast, or a struct at the end of a pointer: the pointer is what can be told of it.
            Kind::Struct if offset == 0 && matches!(self.hops.last(), Some(Hop::Cast(to, _)) if *to == ty.id) => {
                Ok((Type::Pointer, Logical::Pointer, None, Read::Pointer))
            }
            _ => Err(self.no_value()),
        }
    }

    /// The offset where these reads, each with how far behind it is and its size, give numbers.
    fn numbers(&mut self, offset: u32, reads: &[(u32, u32)]) -> Result<u32, HookError> {
        let number = |&(at, size): &(u32, u32)| seen(self.btf, self.base, offset + at, size) == Some(Seen::Number);
        if reads.iter().all(number) {
            return Ok(offset);
        }
        self.as_bytes(offset).map(|()| 0)
    }

    fn readable_bytes(&mut self, offset: u32, length: u32) -> Result<u32, HookError> {
        let reads: Vec<(u32, u32)> = pieces(offset, length).collect();
        let before = self.hops.len();
        let reached = self.numbers(offset, &reads)?;
        if self.hops.len() > before && length > 16 {
            let message = format!("`{}` lies in a union with pointers: only 16 bytes there can be read", self.text);
            return Err(HookError::wrong(message));
        }
        Ok(reached)
    }

    fn bytes(
        &mut self,
        ty: KernelType,
        offset: u32,
        size: u32,
    ) -> Result<(Type, Logical, Option<Names>, Read), HookError> {
        let (element, _) = self.btf.array(ty).unwrap_or_default();
        let element_type = self.btf.strip(element);
        if element_type.kind != Kind::Int || self.btf.size(element) != 1 || !(1..=MAX_BYTES).contains(&size) {
            return Err(self.no_value());
        }
        let read = Read::Bytes { offset: self.readable_bytes(offset, size)?, length: size };
        match self.btf.name(element_type.id) {
            "char" => Ok((Type::Text, Logical::Name, None, read)),
            _ => Ok((Type::Octets, Logical::Octets, None, read)),
        }
    }

    fn no_value(&self) -> HookError {
        let ty = self.btf.describe(self.ty);
        let size = self.btf.size(self.ty);
        let instead = match self.btf.strip(self.ty).kind {
            Kind::Struct | Kind::Union => "name one of its fields",
            Kind::Array => "take one element, as in x[0]",
            _ => "it has no value that a column could hold",
        };
        HookError::wrong(format!("`{}` is {ty}, {size} bytes: {instead}", self.text))
    }

    fn no_fields(&self) -> HookError {
        HookError::wrong(format!("`{}` is {}: it has no fields", self.text, self.btf.describe(self.ty)))
    }

    fn no_cast(&self, to: &str) -> HookError {
        let ty = self.btf.describe(self.ty);
        HookError::wrong(format!("`{}` is {ty}: only a pointer to a struct can be taken for one to `{to}`", self.text))
    }
}
