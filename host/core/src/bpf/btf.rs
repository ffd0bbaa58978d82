//! The kernel's description of its own types (Documentation/bpf/btf.rst), read where it lies: one pass notes where each type begins, and
//! everything else is looked up in the bytes.

use std::fmt;

/// What a type is; the numbers of `BTF_KIND_*` in include/uapi/linux/btf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    fn of(number: u32) -> Option<Self> {
        use Kind::*;
        let kinds = [
            Void, Int, Ptr, Array, Struct, Union, Enum, Fwd, Typedef, Volatile, Const, Restrict, Func, FuncProto, Var,
            Datasec, Float, DeclTag, TypeTag, Enum64,
        ];
        kinds.get(number as usize).copied()
    }

    /// Bytes that follow the twelve of the header.
    fn body(self, entries: usize) -> usize {
        match self {
            Kind::Int | Kind::Var | Kind::DeclTag => 4,
            Kind::Array => 12,
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => 12 * entries,
            Kind::Enum | Kind::FuncProto => 8 * entries,
            _ => 0,
        }
    }
}

/// Number of a type; 0 is `void`.
pub type TypeId = u32;

const MAGIC: u16 = 0xeb9f;
const TYPE_HEADER: usize = 12;

/// Typedefs, qualifiers and anonymous structs within each other are followed so far: more than any kernel has.
const MAX_DEPTH: usize = 32;

/// So many members of a struct are looked at, those of anonymous ones within it counted: more than any kernel has, and an end for bytes that say
/// that a struct is within itself.
const MAX_MEMBERS: usize = 1 << 16;

/// Why bytes are no BTF that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    #[error("this is no BTF of this machine's byte order: it begins with {0:02x?}")]
    Magic(Vec<u8>),
    #[error("the BTF ends at byte {len}, within the type that begins at byte {at}: was the file cut?")]
    Short { at: usize, len: usize },
    #[error("the BTF has a type of kind {kind} at byte {at}, which this release does not know: use a newer netsonde")]
    Kind { kind: u32, at: usize },
}

/// All types of a kernel.
pub struct Btf {
    data: Vec<u8>,
    /// Where each type's header is; of type 0 there is none.
    types: Vec<u32>,
    strings: usize,
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Btf of {} types", self.types.len())
    }
}

/// A type's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    pub id: TypeId,
    pub kind: Kind,
    name: u32,
    entries: u32,
    flag: bool,
    /// Size in bytes, or the type that is referred to.
    arg: u32,
    body: usize,
}

impl Type {
    const VOID: Self = Self { id: 0, kind: Kind::Void, name: 0, entries: 0, flag: false, arg: 0, body: 0 };
}

/// Where a member lies within a struct, also through anonymous ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub ty: TypeId,
    /// In bytes from the outer struct's begin, of the byte that has its first bit.
    pub offset: u32,
    /// Of a bit field: its first bit in that byte, and how many.
    pub bits: Option<(u32, u32)>,
}

impl Btf {
    /// Takes the content of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// If it is not whole, or has kinds of types that are not known here.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let short = |at| BtfError::Short { at, len: data.len() };
        if data.get(..2) != Some(&MAGIC.to_ne_bytes()[..]) {
            return Err(BtfError::Magic(data.iter().copied().take(2).collect()));
        }
        let word = |at: usize| u32_at(&data, at).ok_or(short(at));
        let (header, types_offset, types_len) = (word(4)? as usize, word(8)? as usize, word(12)? as usize);
        let (strings_offset, strings_len) = (word(16)? as usize, word(20)? as usize);
        let strings = header + strings_offset;
        if strings + strings_len > data.len() {
            return Err(short(strings));
        }
        let mut types = vec![u32::MAX];
        let mut at = header + types_offset;
        let end = at + types_len;
        while at < end {
            let info = word(at + 4)?;
            let number = info >> 24 & 0x1f;
            let kind = Kind::of(number).ok_or(BtfError::Kind { kind: number, at })?;
            let next = at + TYPE_HEADER + kind.body((info & 0xffff) as usize);
            if next > data.len() {
                return Err(short(at));
            }
            types.push(at as u32);
            at = next;
        }
        Ok(Self { data, types, strings })
    }

    /// How many types there are, without `void`.
    pub fn count(&self) -> usize {
        self.types.len() - 1
    }

    fn word(&self, at: usize) -> u32 {
        u32_at(&self.data, at).unwrap_or(0)
    }

    fn text(&self, offset: u32) -> &str {
        let text = self.data.get(self.strings + offset as usize..).unwrap_or_default();
        let end = memchr::memchr(0, text).unwrap_or(0);
        std::str::from_utf8(&text[..end]).unwrap_or("?")
    }

    /// The header of a type; one that there is not is `void`.
    pub fn get(&self, id: TypeId) -> Type {
        let Some(&at) = self.types.get(id as usize).filter(|_| id != 0) else { return Type::VOID };
        let at = at as usize;
        let info = self.word(at + 4);
        Type {
            id,
            kind: Kind::of(info >> 24 & 0x1f).unwrap_or(Kind::Void),
            name: self.word(at),
            entries: info & 0xffff,
            flag: info >> 31 == 1,
            arg: self.word(at + 8),
            body: at + TYPE_HEADER,
        }
    }

    pub fn name(&self, id: TypeId) -> &str {
        self.text(self.get(id).name)
    }

    fn all(&self) -> impl Iterator<Item = Type> {
        (1..self.types.len() as u32).map(|id| self.get(id))
    }

    /// The type of this kind and name: a scan over all types, about a tenth of a millisecond.
    pub fn find(&self, kind: Kind, name: &str) -> Option<TypeId> {
        let is = |offset: u32| {
            let text = self.data.get(self.strings + offset as usize..).unwrap_or_default();
            text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0)
        };
        self.all().find(|ty| ty.kind == kind && is(ty.name)).map(|ty| ty.id)
    }

    /// What follows `prefix` in the names of all types of this kind that begin with it.
    pub fn names_after<'a>(&'a self, kind: Kind, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.all().filter(move |ty| ty.kind == kind).filter_map(move |ty| self.text(ty.name).strip_prefix(prefix))
    }

    /// What a type is behind typedefs, qualifiers and tags.
    pub fn strip(&self, id: TypeId) -> Type {
        let mut ty = self.get(id);
        for _ in 0..MAX_DEPTH {
            match ty.kind {
                Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => ty = self.get(ty.arg),
                _ => return ty,
            }
        }
        Type::VOID
    }

    /// The names of the typedefs that a type is behind, outermost first.
    pub fn typedefs(&self, id: TypeId) -> impl Iterator<Item = &str> {
        let mut next = Some(self.get(id));
        let wrapped = std::iter::from_fn(move || {
            let ty = next.take()?;
            let wraps =
                matches!(ty.kind, Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag);
            wraps.then(|| {
                next = Some(self.get(ty.arg));
                ty
            })
        });
        wrapped.take(MAX_DEPTH).filter(|ty| ty.kind == Kind::Typedef).map(|ty| self.text(ty.name))
    }

    /// What a pointer points to.
    pub fn pointee(&self, id: TypeId) -> Option<Type> {
        let ty = self.strip(id);
        (ty.kind == Kind::Ptr).then(|| self.strip(ty.arg))
    }

    /// In bytes; 0 of what has none.
    pub fn size(&self, id: TypeId) -> u32 {
        let mut ty = self.strip(id);
        let mut count = 1_u32;
        for _ in 0..MAX_DEPTH {
            match ty.kind {
                Kind::Array => {
                    count = count.saturating_mul(self.word(ty.body + 8));
                    ty = self.strip(self.word(ty.body));
                }
                Kind::Ptr => return count.saturating_mul(8),
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    return count.saturating_mul(ty.arg);
                }
                _ => return 0,
            }
        }
        0
    }

    /// Of an array: its elements' type, and how many there are.
    pub fn array(&self, ty: Type) -> Option<(TypeId, u32)> {
        (ty.kind == Kind::Array).then(|| (self.word(ty.body), self.word(ty.body + 8)))
    }

    pub fn is_signed(&self, id: TypeId) -> bool {
        let ty = self.strip(id);
        match ty.kind {
            Kind::Int => self.word(ty.body) >> 24 & 1 != 0,
            Kind::Enum | Kind::Enum64 => ty.flag,
            _ => false,
        }
    }

    pub fn is_bool(&self, id: TypeId) -> bool {
        let ty = self.strip(id);
        ty.kind == Kind::Int && self.word(ty.body) >> 24 & 4 != 0
    }

    /// The member of this name, looked for in anonymous structs and unions too.
    pub fn member(&self, id: TypeId, name: &str) -> Option<Member> {
        let mut found = None;
        self.visit(id, 0, MAX_DEPTH, &mut MAX_MEMBERS.clone(), &mut |member_name, member| {
            if member_name == name {
                found = Some(member);
            }
            found.is_none()
        });
        found
    }

    /// Names and types of all members, those of anonymous structs and unions in their place.
    pub fn all_members(&self, id: TypeId) -> Vec<(&str, Member)> {
        let mut found = Vec::new();
        self.visit(id, 0, MAX_DEPTH, &mut MAX_MEMBERS.clone(), &mut |name, member| {
            found.push((name, member));
            true
        });
        found
    }

    /// Calls `each` with every member that has a name, as long as it says so. Whether it did to the end.
    fn visit<'a>(
        &'a self,
        id: TypeId,
        offset: u32,
        depth: usize,
        left: &mut usize,
        each: &mut dyn FnMut(&'a str, Member) -> bool,
    ) -> bool {
        for (name, member) in self.members(self.strip(id)) {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            let member = Member { offset: member.offset.saturating_add(offset), ..member };
            let goes_on = match name {
                "" if depth > 0 && self.is_compound(member.ty) => {
                    self.visit(member.ty, member.offset, depth - 1, left, each)
                }
                "" => true,
                name => each(name, member),
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    fn is_compound(&self, id: TypeId) -> bool {
        matches!(self.strip(id).kind, Kind::Struct | Kind::Union)
    }

    /// Of a struct or union itself; anonymous ones have an empty name.
    pub fn members(&self, ty: Type) -> impl Iterator<Item = (&str, Member)> {
        let count = if matches!(ty.kind, Kind::Struct | Kind::Union) { ty.entries as usize } else { 0 };
        (0..count).map(move |index| {
            let at = ty.body + 12 * index;
            let raw = self.word(at + 8);
            // With the flag the width of a bit field stands in the upper byte.
            let (offset, width) = if ty.flag { (raw & 0xff_ffff, raw >> 24) } else { (raw, 0) };
            let bits = (width != 0).then_some((offset % 8, width));
            (self.text(self.word(at)), Member { ty: self.word(at + 4), offset: offset / 8, bits })
        })
    }

    /// Names and types of a function's parameters.
    pub fn params(&self, function: TypeId) -> Vec<(&str, TypeId)> {
        let ty = self.get(function);
        let proto = if ty.kind == Kind::Func { self.get(ty.arg) } else { ty };
        let count = if proto.kind == Kind::FuncProto { proto.entries as usize } else { 0 };
        let at = |index| proto.body + 8 * index;
        (0..count).map(|index| (self.text(self.word(at(index))), self.word(at(index) + 4))).collect()
    }

    /// Names and values of an enum's members.
    pub fn enumerators(&self, id: TypeId) -> Vec<(&str, i64)> {
        let ty = self.strip(id);
        let value = |at| match (ty.kind, ty.flag) {
            (Kind::Enum64, _) => i64::from(self.word(at + 4)) | i64::from(self.word(at + 8)) << 32,
            (_, true) => i64::from(self.word(at + 4) as i32),
            (_, false) => i64::from(self.word(at + 4)),
        };
        let step = match ty.kind {
            Kind::Enum => 8,
            Kind::Enum64 => 12,
            _ => return Vec::new(),
        };
        let at = |index| ty.body + step * index;
        (0..ty.entries as usize).map(|index| (self.text(self.word(at(index))), value(at(index)))).collect()
    }

    /// The enum, often an anonymous one, that has a member of this name.
    pub fn enum_with(&self, member: &str) -> Option<TypeId> {
        let enums = self.all().filter(|ty| matches!(ty.kind, Kind::Enum | Kind::Enum64));
        enums.map(|ty| ty.id).find(|&id| self.enumerators(id).iter().any(|(name, _)| *name == member))
    }

    /// `struct sock *`, `__be16`, `char[16]`: as C would spell it.
    pub fn describe(&self, id: TypeId) -> String {
        self.describe_within(id, MAX_DEPTH)
    }

    fn describe_within(&self, id: TypeId, depth: usize) -> String {
        let ty = self.get(id);
        let name = self.text(ty.name);
        let tagged = |tag: &str| if name.is_empty() { format!("{tag} {{...}}") } else { format!("{tag} {name}") };
        let inner = |id| if depth == 0 { "...".to_owned() } else { self.describe_within(id, depth - 1) };
        match ty.kind {
            Kind::Void => "void".into(),
            Kind::Ptr if self.strip(ty.arg).kind == Kind::FuncProto => "function *".into(),
            Kind::Ptr => format!("{} *", inner(ty.arg)),
            Kind::Array => format!("{}[{}]", inner(self.word(ty.body)), self.word(ty.body + 8)),
            Kind::Struct => tagged("struct"),
            Kind::Union => tagged("union"),
            Kind::Enum | Kind::Enum64 => tagged("enum"),
            Kind::Fwd => tagged(if ty.flag { "union" } else { "struct" }),
            Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => inner(ty.arg),
            _ => name.to_owned(),
        }
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}
