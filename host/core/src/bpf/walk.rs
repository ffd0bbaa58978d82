//! What the kernel's verifier takes a read for. It sees the first member at an offset, and knows nothing of the one that was meant: of a
//! union's members it takes the first, and may refuse the others or take them for something else (`btf_struct_walk` in kernel/bpf/btf.c).

use super::btf::{Btf, Kind, TypeId};

/// What a program has in a register after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Number,
    /// A pointer to this struct or union.
    Pointer(TypeId),
    /// A pointer to something that has no fields.
    Address,
}

/// Structs in structs are followed so far: more than any kernel has.
const MAX_DEPTH: usize = 64;

/// What the verifier sees of so many bytes at an offset of a struct; None: it refuses to have them read.
pub(super) fn seen(btf: &Btf, id: TypeId, mut offset: u32, size: u32) -> Option<Seen> {
    let mut ty = btf.strip(id);
    for _ in 0..MAX_DEPTH {
        let end = offset.checked_add(size)?;
        if !matches!(ty.kind, Kind::Struct | Kind::Union) || end > btf.size(ty.id) {
            return None;
        }
        let (inner, at) = match member(btf, ty.id, offset, size)? {
            Found::Seen(seen) => return Some(seen),
            Found::Within(inner, at) => (inner, at),
        };
        (ty, offset) = (btf.strip(inner), offset - at);
    }
    None
}

enum Found {
    Seen(Seen),
    /// It is in this struct, which begins there.
    Within(TypeId, u32),
}

fn member(btf: &Btf, id: TypeId, offset: u32, size: u32) -> Option<Found> {
    for (_, member) in btf.members(btf.strip(id)) {
        let begin = member.offset;
        if let Some((shift, width)) = member.bits {
            if offset <= begin && begin + (shift + width).div_ceil(8) <= offset + size {
                return Some(Found::Seen(Seen::Number));
            }
            continue;
        }
        let end = begin.saturating_add(btf.size(member.ty));
        if offset + size <= begin || offset < begin {
            return None;
        }
        if offset >= end {
            continue;
        }
        let mut element = btf.strip(member.ty);
        while let Some((inner, _)) = btf.array(element) {
            element = btf.strip(inner);
        }
        let bytes = btf.size(element.id).max(1);
        let at = begin + (offset - begin) / bytes * bytes;
        return match element.kind {
            Kind::Struct | Kind::Union => Some(Found::Within(element.id, at)),
            Kind::Ptr if offset == at && size == bytes => Some(Found::Seen(pointer(btf, element.id))),
            Kind::Ptr => None,
            _ => (offset + size <= end).then_some(Found::Seen(Seen::Number)),
        };
    }
    None
}

fn pointer(btf: &Btf, id: TypeId) -> Seen {
    match btf.pointee(id) {
        Some(target) if matches!(target.kind, Kind::Struct | Kind::Union) => Seen::Pointer(target.id),
        _ => Seen::Address,
    }
}

/// Whether the verifier lets an argument of this type be read: as a number, or as a pointer to a struct.
pub(super) fn argument_is_seen(btf: &Btf, id: TypeId) -> bool {
    btf.pointee(id).is_none_or(|target| matches!(target.kind, Kind::Void | Kind::Int | Kind::Struct | Kind::Union))
}
