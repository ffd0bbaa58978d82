//! The files of one namespace, read whole, and proof that they are of that namespace.

use netsonde_core::proc::File;
use rustix::{
    buffer::spare_capacity,
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
    path::DecInt,
};
use std::{ffi::CStr, io::Write, mem::MaybeUninit, ops::Range, path::Path, time::Instant};

/// No file of a namespace is as long; what grows beyond has failed, rather than to fill the memory.
const LONGEST: usize = 16 << 20;
/// Room for a read: more than any file of one record takes (netstat: 5 KiB).
const CHUNK: usize = 16 << 10;

/// Texts of the files of one namespace, and how long the files took. Filled again for each.
#[derive(Debug, Default)]
pub(super) struct Texts {
    buffer: Vec<u8>,
    files: [Option<Result<Range<usize>, Errno>>; File::ALL.len()],
    /// Seconds spent on each file since this was made.
    pub(super) seconds: [f64; File::ALL.len()],
}

impl Texts {
    /// The text of a file, or why it could not be read.
    pub(super) fn get(&self, file: File) -> Result<&[u8], String> {
        match &self.files[file as usize] {
            Some(Ok(range)) => Ok(&self.buffer[range.clone()]),
            Some(Err(error)) => Err(format!("read net/{}: {error}", file.name())),
            None => Err(format!("net/{} was not read", file.name())),
        }
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.files = Default::default();
    }

    /// Reads `files` below `folder`, a `/proc/PID`, each to its end.
    pub(super) fn read(&mut self, folder: BorrowedFd<'_>, files: &[File]) {
        self.clear();
        let mut begin = Instant::now();
        for &file in files {
            let start = self.buffer.len();
            let result = read_file(folder, file, &mut self.buffer);
            if result.is_err() {
                self.buffer.truncate(start);
            }
            self.files[file as usize] = Some(result.map(|()| start..self.buffer.len()));
            let end = Instant::now();
            self.seconds[file as usize] += end.duration_since(begin).as_secs_f64();
            begin = end;
        }
    }
}

fn path(file: File) -> &'static CStr {
    match file {
        File::Sockstat => c"net/sockstat",
        File::Sockstat6 => c"net/sockstat6",
        File::Snmp => c"net/snmp",
        File::Snmp6 => c"net/snmp6",
        File::Netstat => c"net/netstat",
        File::Dev => c"net/dev",
        File::SoftnetStat => c"net/softnet_stat",
    }
}

/// Whether the kernel makes the file as one record (`single_open_net`). Such a file comes whole in one read if there is room for it; the
/// others come in pieces of a page or so (`seq_read_iter` in fs/seq_file.c), and only an empty piece is their end.
fn is_one_record(file: File) -> bool {
    !matches!(file, File::Dev | File::SoftnetStat)
}

/// Appends a file to `buffer`.
fn read_file(folder: BorrowedFd<'_>, file: File, buffer: &mut Vec<u8>) -> Result<(), Errno> {
    let descriptor = rustix::fs::openat(folder, path(file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let start = buffer.len();
    loop {
        buffer.reserve(CHUNK);
        let room = buffer.capacity() - buffer.len();
        match rustix::io::read(&descriptor, spare_capacity(buffer)) {
            Ok(0) => return Ok(()),
            Ok(length) if length < room && is_one_record(file) => return Ok(()),
            Ok(_) if buffer.len() - start > LONGEST => return Err(Errno::FBIG),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens a folder such as `/proc` or `/proc/PID`, to look things up in.
pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens the folder of a process in `root`. It stands for this one process, also when another gets its number; and it holds no namespace.
pub(super) fn open_process(root: BorrowedFd<'_>, pid: u32) -> Result<OwnedFd, Errno> {
    open_below(root, DecInt::new(pid).as_c_str())
}

/// Opens the folder `name` in `root`.
pub(super) fn open_below(root: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(root, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether the process whose folder this is, is in the namespace `inode` now.
pub(super) fn is_in(process: BorrowedFd<'_>, inode: u64) -> Result<bool, Errno> {
    let mut expected = [0; 32];
    let mut rest = &mut expected[..];
    // 32 bytes are enough for every 64-bit number; if not, nothing is equal.
    let length = if write!(rest, "net:[{inode}]").is_ok() { 32 - rest.len() } else { 0 };
    let mut target = [MaybeUninit::uninit(); 32];
    let (target, _) = rustix::fs::readlinkat_raw(process, c"ns/net", &mut target)?;
    Ok(*target == expected[..length])
}

/// Opens the namespace `inode` by `path` below `folder`; None if another one is there by now.
pub(super) fn open_netns(
    folder: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
    inode: u64,
) -> Result<Option<OwnedFd>, Errno> {
    let netns = rustix::fs::openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::statat(netns.as_fd(), c"", AtFlags::EMPTY_PATH)?;
    Ok((stat.st_ino == inode).then_some(netns))
}
