//! Writes BTF, as pahole does for a kernel: types in a few words, offsets as a compiler would choose them.

use crate::bpf::btf::TypeId;
use std::collections::HashMap;

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const ENUM64: u32 = 19;

/// Encodings of integers.
pub const UNSIGNED: u32 = 0;
pub const SIGNED: u32 = 1;
pub const BOOL: u32 = 4;

/// Types in the making. Members and parameters are written `name: type`, where a type is a name, `*type`, `const type`, `volatile type` or
/// `[type; count]`; after a member's type ` : bits` makes it a bit field. Pointers may be to what comes later.
pub struct Types {
    types: Vec<u8>,
    strings: Vec<u8>,
    named: HashMap<String, TypeId>,
    /// Size and alignment of each type.
    sizes: Vec<(u32, u32)>,
    /// Where the number of a type is to be written that comes later.
    pending: Vec<(usize, String)>,
}

impl Types {
    pub fn new() -> Self {
        let mut types = Self {
            types: Vec::new(),
            strings: vec![0],
            named: HashMap::from([("void".to_owned(), 0)]),
            sizes: vec![(0, 1)],
            pending: Vec::new(),
        };
        for (name, bytes, encoding, short) in [
            ("char", 1, SIGNED, "char"),
            ("signed char", 1, SIGNED, "s8"),
            ("unsigned char", 1, UNSIGNED, "u8"),
            ("short int", 2, SIGNED, "s16"),
            ("short unsigned int", 2, UNSIGNED, "__u16"),
            ("int", 4, SIGNED, "int"),
            ("unsigned int", 4, UNSIGNED, "__u32"),
            ("long int", 8, SIGNED, "s64"),
            ("long unsigned int", 8, UNSIGNED, "__u64"),
            ("__int128", 16, SIGNED, "__int128"),
            ("_Bool", 1, BOOL, "bool"),
        ] {
            let id = types.push(name, INT, 0, false, bytes, &[(encoding << 24) | (8 * bytes)]);
            types.keep(short, id, (bytes, bytes));
        }
        for (name, of) in [
            ("u16", "__u16"),
            ("u32", "__u32"),
            ("u64", "__u64"),
            ("__be16", "__u16"),
            ("__be32", "__u32"),
            ("__be64", "__u64"),
        ] {
            types.typedef(name, of);
        }
        let proto = types.push("", FUNC_PROTO, 0, false, 0, &[]);
        types.keep("function", proto, (0, 1));
        types
    }

    fn push(&mut self, name: &str, kind: u32, entries: usize, flag: bool, arg: u32, body: &[u32]) -> TypeId {
        let name = self.string(name);
        let info = (u32::from(flag) << 31) | (kind << 24) | entries as u32;
        for word in [name, info, arg].iter().chain(body) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.sizes.push((0, 1));
        self.sizes.len() as u32 - 1
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn keep(&mut self, name: &str, id: TypeId, size: (u32, u32)) -> TypeId {
        self.sizes[id as usize] = size;
        self.named.insert(name.to_owned(), id);
        id
    }

    /// A type that refers to another one, which may come later.
    fn refer(&mut self, name: &str, kind: u32, to: &str) -> TypeId {
        let to = to.trim();
        let plain = to.chars().all(|c| c.is_alphanumeric() || c == '_');
        if plain && !self.named.contains_key(to) {
            let at = self.types.len() + 8;
            self.pending.push((at, to.to_owned()));
            return self.push(name, kind, 0, false, 0, &[]);
        }
        let arg = self.ty(to);
        let id = self.push(name, kind, 0, false, arg, &[]);
        self.sizes[id as usize] = self.sizes[arg as usize];
        id
    }

    /// The type that a text says.
    pub fn ty(&mut self, text: &str) -> TypeId {
        let text = text.trim();
        if let Some(to) = text.strip_prefix('*') {
            let id = self.refer("", PTR, to);
            self.sizes[id as usize] = (8, 8);
            return id;
        }
        if let Some(of) = text.strip_prefix("const ") {
            return self.refer("", CONST, of);
        }
        if let Some(of) = text.strip_prefix("volatile ") {
            return self.refer("", VOLATILE, of);
        }
        if let Some(array) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (of, count) = array.rsplit_once(';').expect("an array is [type; count]");
            let (of, count): (u32, u32) = (self.ty(of), count.trim().parse().expect("a count"));
            let index = self.named["__u32"];
            let id = self.push("", ARRAY, 0, false, 0, &[of, index, count]);
            let (bytes, align) = self.sizes[of as usize];
            self.sizes[id as usize] = (bytes * count, align);
            return id;
        }
        *self.named.get(text).unwrap_or_else(|| panic!("no type {text}"))
    }

    pub fn typedef(&mut self, name: &str, of: &str) -> TypeId {
        let id = self.refer(name, TYPEDEF, of);
        self.named.insert(name.to_owned(), id);
        id
    }

    pub fn structure(&mut self, name: &str, members: &[&str]) -> TypeId {
        self.compound(STRUCT, name, name, members)
    }

    /// A struct without a name; `alias` is what members call it.
    pub fn anonymous(&mut self, alias: &str, members: &[&str]) -> TypeId {
        self.compound(STRUCT, "", alias, members)
    }

    pub fn anonymous_union(&mut self, alias: &str, members: &[&str]) -> TypeId {
        self.compound(UNION, "", alias, members)
    }

    fn compound(&mut self, kind: u32, name: &str, alias: &str, members: &[&str]) -> TypeId {
        let (mut bit, mut size, mut align) = (0_u32, 0, 1);
        let mut fields = Vec::new();
        for member in members {
            let (name, rest) = member.split_once(':').expect("a member is name: type");
            let (ty, width) = match rest.split_once(" : ") {
                Some((ty, width)) => (self.ty(ty), width.trim().parse().expect("a width")),
                None => (self.ty(rest), 0),
            };
            let (bytes, aligned) = self.sizes[ty as usize];
            let unit = if width == 0 { 8 * aligned } else { 8 * bytes };
            if kind == UNION {
                bit = 0;
            }
            if width == 0 || bit / unit != (bit + width - 1) / unit {
                bit = bit.next_multiple_of(unit);
            }
            fields.push((self.string(name), ty, bit, width));
            bit += if width == 0 { 8 * bytes } else { width };
            size = size.max(bit.div_ceil(8));
            align = align.max(aligned);
        }
        let size = size.next_multiple_of(align);
        // With the flag the upper byte is the width of a bit field.
        let flag = fields.iter().any(|(.., width)| *width != 0);
        let body: Vec<u32> = fields.iter().flat_map(|&(name, ty, bit, width)| [name, ty, width << 24 | bit]).collect();
        let id = self.push(name, kind, members.len(), flag, size, &body);
        self.keep(alias, id, (size, align))
    }

    /// What no compiler writes: a struct whose members are anonymous ones of its own type.
    pub fn endless(&mut self, name: &str, members: usize) {
        let own = self.sizes.len() as u32;
        self.push(name, STRUCT, members, false, 8, &[0, own, u32::MAX].repeat(members));
    }

    /// An enum of four bytes; `alias` is what members call it.
    pub fn enumeration(&mut self, name: &str, alias: &str, members: &[(&str, i64)]) -> TypeId {
        let signed = members.iter().any(|(_, value)| *value < 0);
        let body: Vec<u32> = members.iter().flat_map(|&(name, value)| [self.string(name), value as u32]).collect();
        let id = self.push(name, ENUM, members.len(), signed, 4, &body);
        self.keep(alias, id, (4, 4))
    }

    /// An enum of eight bytes without sign.
    pub fn wide_enumeration(&mut self, name: &str, members: &[(&str, u64)]) -> TypeId {
        let words = |(name, value): &(&str, u64)| [self.string(name), *value as u32, (*value >> 32) as u32];
        let body: Vec<u32> = members.iter().flat_map(words).collect();
        let id = self.push(name, ENUM64, members.len(), false, 8, &body);
        self.keep(name, id, (8, 8))
    }

    pub fn function(&mut self, name: &str, params: &[&str]) -> TypeId {
        let proto = self.prototype(params, true);
        self.push(name, FUNC, 1, false, proto, &[])
    }

    fn prototype(&mut self, params: &[&str], named: bool) -> TypeId {
        let mut body = Vec::new();
        for param in params {
            let (name, ty) = param.split_once(':').expect("a parameter is name: type");
            let ty = self.ty(ty);
            body.extend([if named { self.string(name) } else { 0 }, ty]);
        }
        self.push("", FUNC_PROTO, params.len(), false, 0, &body)
    }

    /// The typedef of a tracepoint, whose parameters have no names.
    pub fn trace_typedef(&mut self, name: &str, params: &[&str]) {
        let params: Vec<&str> = [&["__data: *void"], params].concat();
        let proto = self.prototype(&params, false);
        let pointer = self.push("", PTR, 0, false, proto, &[]);
        self.push(&format!("btf_trace_{name}"), TYPEDEF, 0, false, pointer, &[]);
    }

    /// A tracepoint as kernels have it: the typedef, and a function with names.
    pub fn tracepoint(&mut self, name: &str, params: &[&str]) {
        self.trace_typedef(name, params);
        let params: Vec<&str> = [&["__data: *void"], params].concat();
        self.function(&format!("__traceiter_{name}"), &params);
    }

    /// The bytes of `/sys/kernel/btf/vmlinux`.
    pub fn finish(mut self) -> Vec<u8> {
        for (at, name) in &self.pending {
            let id = self.named.get(name).unwrap_or_else(|| panic!("no type {name}"));
            self.types[*at..at + 4].copy_from_slice(&id.to_ne_bytes());
        }
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut data = 0xeb9f_u16.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        for word in [24, 0, types, types, strings] {
            data.extend(u32::to_ne_bytes(word));
        }
        data.append(&mut self.types);
        data.append(&mut self.strings);
        data
    }
}
