//! A map with the name that messages call it by.

use super::{
    cpus::Cpus,
    error::{BpfError, Denied},
    sys,
};
use rustix::{
    fd::{AsFd, BorrowedFd},
    io::Errno,
};

pub(super) use sys::Kind;

/// What a map is to be like. The name has at most 15 bytes, or the kernel shows no more of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) key_bytes: usize,
    /// Of one CPU.
    pub(super) value_bytes: usize,
    pub(super) entries: u32,
}

#[derive(Debug)]
pub(super) struct Map {
    name: &'static str,
    raw: sys::Map,
}

impl Map {
    pub(super) fn new(shape: Shape, cpus: Cpus) -> Result<Self, BpfError> {
        Self::create(shape, cpus, None)
    }

    /// A map of maps that are like `inner`.
    pub(super) fn of_maps(name: &'static str, inner: &Self, cpus: Cpus) -> Result<Self, BpfError> {
        let shape = Shape { name, kind: Kind::ArrayOfMaps, key_bytes: 4, value_bytes: 4, entries: 1 };
        Self::create(shape, cpus, Some(&inner.raw))
    }

    fn create(shape: Shape, cpus: Cpus, inner: Option<&sys::Map>) -> Result<Self, BpfError> {
        let Shape { name, kind, key_bytes, value_bytes, entries } = shape;
        let copies = if matches!(kind, Kind::PerCpuArray | Kind::PerCpuHash) { cpus.get() } else { 1 };
        let bytes = u64::from(entries) * (key_bytes + value_bytes * copies) as u64;
        let raw = sys::Map::create(kind, name, (key_bytes, value_bytes), entries, cpus, inner);
        raw.map(|raw| Self { name, raw }).map_err(|error| not_made(name, bytes, error))
    }

    pub(super) fn key_bytes(&self) -> usize {
        self.raw.key_bytes()
    }

    /// Of all CPUs.
    pub(super) fn value_bytes(&self) -> usize {
        self.raw.value_bytes()
    }

    pub(super) fn raw(&self) -> &sys::Map {
        &self.raw
    }

    pub(super) fn write(&self, key: &[u8], value: &[u8]) -> Result<(), BpfError> {
        self.raw.update(key, value).map_err(|error| self.failed("write to", error))
    }

    /// Writes the key's value into `value`.
    pub(super) fn read(&self, key: &[u8], value: &mut [u8]) -> Result<(), BpfError> {
        self.raw.lookup(key, value).map_err(|error| self.failed("read", error))
    }

    pub(super) fn failed(&self, what: &'static str, error: Errno) -> BpfError {
        BpfError::Access { what, map: self.name, error }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

/// Why a map could not be made.
pub(super) fn not_made(map: &'static str, bytes: u64, error: Errno) -> BpfError {
    match error {
        Errno::PERM => BpfError::MapNotPermitted { map, bytes, denied: Denied::now() },
        Errno::NOMEM => BpfError::MapMemory { map, bytes },
        error => BpfError::Map { map, bytes, error },
    }
}
