//! The commands of bpf(2) that are used here (include/uapi/linux/bpf.h), and the only `unsafe` code of this module.
//!
//! Lengths of keys and values belong to the map, so that the kernel never reads or writes past a buffer.

use super::cpus::Cpus;
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    io::Errno,
};

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP_ELEM: u32 = 1;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const MAP_GET_NEXT_KEY: u32 = 4;
const PROG_LOAD: u32 = 5;
const RAW_TRACEPOINT_OPEN: u32 = 17;
const MAP_LOOKUP_AND_DELETE_BATCH: u32 = 25;
const LINK_CREATE: u32 = 28;
const ITER_CREATE: u32 = 33;

const PROG_TYPE_TRACING: u32 = 26;

/// What a program for tracing is attached to: `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attach {
    /// BPF_TRACE_RAW_TP.
    Tracepoint = 23,
    /// BPF_TRACE_ITER.
    Iterator = 28,
}

/// Memory for entries is taken as they come.
const BPF_F_NO_PREALLOC: u32 = 1;

/// ENOTSUPP, the kernel's own: the map's type has no such operation.
pub(super) const NOT_SUPPORTED: Errno = Errno::from_raw_os_error(524);

/// How often a load is tried that a signal has interrupted (EAGAIN): as often as libbpf does.
const LOADS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hash = 1,
    Array = 2,
    PerCpuHash = 5,
    PerCpuArray = 6,
    LruHash = 9,
    ArrayOfMaps = 12,
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

#[repr(C)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    /// The value, or where the next key goes.
    value: u64,
    flags: u64,
}

#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// BPF_PROG_LOAD's, up to the last member that is set: kernels take a shorter structure than theirs.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// BPF_LINK_CREATE's, for an iterator over everything.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    pad: u32,
}

#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

#[repr(C)]
struct RawTracepoint {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

/// # Safety
///
/// `attr` must be laid out as the kernel's for `command`, and its pointers good for what the command reads and writes through them.
unsafe fn bpf<T>(command: u32, attr: &mut T) -> Result<i32, Errno> {
    // SAFETY: `attr` is exclusively ours and as long as said; what it points to is the caller's promise.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>() as libc::c_uint) };
    if result >= 0 {
        // Descriptors and zeros: both fit.
        return Ok(result as i32);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// As [`bpf`], for a command that answers with a new descriptor.
///
/// # Safety
///
/// As of [`bpf`]; and the command's answer must be a new descriptor.
unsafe fn bpf_descriptor<T>(command: u32, attr: &mut T) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's promise.
    let descriptor = unsafe { bpf(command, attr) }?;
    // SAFETY: new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A name as the kernel takes it: 15 bytes of letters, digits and `_`.
fn kernel_name(name: &str) -> [u8; 16] {
    let mut kernel_name = [0; 16];
    for (to, byte) in kernel_name[..15].iter_mut().zip(name.bytes()) {
        *to = if byte.is_ascii_alphanumeric() { byte } else { b'_' };
    }
    kernel_name
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // A descriptor is never negative.
    fd.as_raw_fd() as u32
}

/// A map, and how long its keys and values are.
#[derive(Debug)]
pub(super) struct Map {
    fd: OwnedFd,
    key: usize,
    value: usize,
}

/// What one call of [`Map::take_batch`] did.
#[derive(Debug)]
pub(super) struct Batch {
    /// How many keys and values it wrote.
    pub(super) count: usize,
    /// Where the next call goes on; None: there are no more.
    pub(super) next: Option<u32>,
}

impl Map {
    /// Makes a map. `inner`: the map that those in an array of maps have to resemble.
    pub(super) fn create(
        kind: Kind,
        name: &str,
        (key, value): (usize, usize),
        entries: u32,
        cpus: Cpus,
        inner: Option<&Self>,
    ) -> Result<Self, Errno> {
        let size = |bytes: usize| u32::try_from(bytes).map_err(|_| Errno::TOOBIG);
        let mut attr = MapCreate {
            map_type: kind as u32,
            key_size: size(key)?,
            value_size: size(value)?,
            max_entries: entries,
            inner_map_fd: inner.map_or(0, |inner| number(inner.as_fd())),
            // A pass runs where memory can be had.
            map_flags: if kind == Kind::Hash { BPF_F_NO_PREALLOC } else { 0 },
            map_name: kernel_name(name),
            ..MapCreate::default()
        };
        // SAFETY: MapCreate is the start of the kernel's structure, holds no pointers, and the answer is a new descriptor.
        let fd = unsafe { bpf_descriptor(MAP_CREATE, &mut attr) }?;
        // To user space, a value by CPU is that of each possible CPU, in multiples of eight bytes (bpf_percpu_hash_copy).
        let value = match kind {
            Kind::PerCpuHash | Kind::PerCpuArray => value.next_multiple_of(8) * cpus.get(),
            Kind::Hash | Kind::Array | Kind::LruHash | Kind::ArrayOfMaps => value,
        };
        Ok(Self { fd, key, value })
    }

    /// Bytes of a key.
    pub(super) fn key_bytes(&self) -> usize {
        self.key
    }

    /// Bytes of a value as user space has it: those of all CPUs.
    pub(super) fn value_bytes(&self) -> usize {
        self.value
    }

    pub(super) fn update(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        self.check(key.len(), value.len())?;
        let mut attr = self.element(key.as_ptr(), value.as_ptr() as u64);
        // SAFETY: the kernel reads a key and a value, which are as long as the map's.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Writes the key's value into `value`. [`Errno::NOENT`]: there is none.
    pub(super) fn lookup(&self, key: &[u8], value: &mut [u8]) -> Result<(), Errno> {
        self.check(key.len(), value.len())?;
        let mut attr = self.element(key.as_ptr(), value.as_mut_ptr() as u64);
        // SAFETY: the kernel reads a key and writes a value, which are as long as the map's.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut attr) }.map(drop)
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.check(key.len(), self.value)?;
        let mut attr = self.element(key.as_ptr(), 0);
        // SAFETY: the kernel reads a key, which is as long as the map's.
        unsafe { bpf(MAP_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// Writes some key of the map into `key`. [`Errno::NOENT`]: there is none.
    pub(super) fn first_key(&self, key: &mut [u8]) -> Result<(), Errno> {
        self.check(key.len(), self.value)?;
        let mut attr = self.element(std::ptr::null(), key.as_mut_ptr() as u64);
        // SAFETY: without a key to come after, the kernel only writes one, which is as long as the map's.
        unsafe { bpf(MAP_GET_NEXT_KEY, &mut attr) }.map(drop)
    }

    /// Moves as many entries as there is room for out of the map, keys and values side by side. [`Errno::NOSPC`]: not even the first
    /// bucket of the table fits. [`Errno::INVAL`], [`NOT_SUPPORTED`]: this kernel knows no batches (before 5.6).
    pub(super) fn take_batch(&self, from: Option<u32>, keys: &mut [u8], values: &mut [u8]) -> Result<Batch, Errno> {
        let room = (keys.len() / self.key.max(1)).min(values.len() / self.value.max(1));
        let (from_bucket, mut next) = (from.unwrap_or(0), 0_u32);
        let mut attr = BatchAttr {
            in_batch: if from.is_some() { &raw const from_bucket as u64 } else { 0 },
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(room).unwrap_or(u32::MAX),
            map_fd: number(self.as_fd()),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel writes at most `count` keys and values, for which there is room, and the number of a bucket, which is a u32
        // for hash maps.
        let result = unsafe { bpf(MAP_LOOKUP_AND_DELETE_BATCH, &mut attr) };
        let count = (attr.count as usize).min(room);
        match result {
            Ok(_) => Ok(Batch { count, next: Some(next) }),
            Err(Errno::NOENT) => Ok(Batch { count, next: None }),
            Err(error) => Err(error),
        }
    }

    fn check(&self, key: usize, value: usize) -> Result<(), Errno> {
        if (key, value) == (self.key, self.value) { Ok(()) } else { Err(Errno::INVAL) }
    }

    fn element(&self, key: *const u8, value: u64) -> Element {
        Element { map_fd: number(self.as_fd()), pad: 0, key: key as u64, value, flags: 0 }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Loads a program for a tracepoint or an iterator with BTF. `log`: where the verifier tells why not, as text that ends with a zero byte.
///
/// The program is declared to be under the GPL: the kernel gives helpers and functions for tracing to no others. That is said of the
/// generated program that the kernel gets, and of nothing else.
pub(super) fn load_program(
    name: &str,
    kind: Attach,
    attach_btf_id: u32,
    code: &[u64],
    mut log: Option<&mut [u8]>,
) -> Result<OwnedFd, Errno> {
    let (log_buf, log_size) = match &mut log {
        Some(log) => (log.as_mut_ptr() as u64, u32::try_from(log.len()).map_err(|_| Errno::INVAL)?),
        None => (0, 0),
    };
    let mut attr = ProgLoad {
        prog_type: PROG_TYPE_TRACING,
        insn_cnt: u32::try_from(code.len()).map_err(|_| Errno::TOOBIG)?,
        insns: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: u32::from(log_size > 0),
        log_size,
        log_buf,
        prog_name: kernel_name(name),
        expected_attach_type: kind as u32,
        attach_btf_id,
        ..ProgLoad::default()
    };
    let mut result = Err(Errno::AGAIN);
    for _ in 0..LOADS {
        // SAFETY: ProgLoad is the start of the kernel's structure; the kernel reads `insn_cnt` words of code and the licence, and writes
        // at most `log_size` bytes into the log. The answer is a new descriptor.
        result = unsafe { bpf_descriptor(PROG_LOAD, &mut attr) };
        if !matches!(result, Err(Errno::AGAIN)) {
            break;
        }
    }
    result
}

/// Lets a program run at its tracepoint for as long as the link is open.
pub(super) fn attach(program: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // Without a name: the program knows its tracepoint from BTF.
    let mut attr = RawTracepoint { name: 0, prog_fd: number(program), pad: 0 };
    // SAFETY: RawTracepoint is the start of the kernel's structure, its pointer is null, and the answer is a new descriptor.
    unsafe { bpf_descriptor(RAW_TRACEPOINT_OPEN, &mut attr) }
}

/// Makes a link through which an iterator's program can be run.
pub(super) fn link_iterator(program: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = LinkCreate {
        prog_fd: number(program),
        target_fd: 0,
        attach_type: Attach::Iterator as u32,
        flags: 0,
        iter_info: 0,
        iter_info_len: 0,
        pad: 0,
    };
    // SAFETY: LinkCreate is the start of the kernel's structure, its pointer is null, and the answer is a new descriptor.
    unsafe { bpf_descriptor(LINK_CREATE, &mut attr) }
}

/// Begins a pass: a descriptor to be read to its end, which runs the program.
pub(super) fn begin_pass(link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = IterCreate { link_fd: number(link), flags: 0 };
    // SAFETY: IterCreate is the kernel's structure, without pointers, and the answer is a new descriptor.
    unsafe { bpf_descriptor(ITER_CREATE, &mut attr) }
}
