//! The cgroups of the node's pods and containers, by number: what tells whose a socket is.
//!
//! Sockets know their cgroup of version 2 only. Its number (`kernfs_node.id`) is the inode of its folder, which is never used again: the upper
//! half counts how often the lower one was.

use netsonde_core::pod::cgroup::{Member, member};
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{AtFlags, FileType, Mode, OFlags, RawDir},
    io::Errno,
};
use std::{
    fs,
    mem::MaybeUninit,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Where a node has its cgroups.
pub const ROOT: &str = "/sys/fs/cgroup";

/// `f_type` of version 2 (include/uapi/linux/magic.h).
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Inode of the topmost folder, unless a mount or a cgroup namespace shows only a part.
const WHOLE: u64 = 1;

/// A walk sees no more folders, and goes no deeper: a container may make as many as it likes.
const MAX_FOLDERS: usize = 65_536;
const MAX_DEPTH: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error(
        "find cgroups of version 2: they are neither at {cgroup_root} nor at {cgroup_root}/unified, and {proc_root}/1/mountinfo and \
         {proc_root}/self/mountinfo name no place that can be looked at; who owns a socket is not known then, only its namespace: mount them \
         (mount -t cgroup2 none /sys/fs/cgroup/unified), or set cgroup_root to where the host has them",
        cgroup_root = cgroup_root.display(),
        proc_root = proc_root.display()
    )]
    Absent { cgroup_root: PathBuf, proc_root: PathBuf },
    #[error("list the cgroups in {}: {source}; who owns a socket is not known then: allow the agent to read this folder", path.display())]
    Walk { path: PathBuf, source: Errno },
}

/// The node's hierarchy of version 2.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
    /// Of the topmost folder that is seen.
    inode: u64,
    /// Whether it was told that there are too many.
    warned: AtomicBool,
}

impl Cgroups {
    /// Looks for it at `cgroup_root` and below, then wherever process 1 and the agent itself have mounted it. One that shows all cgroups
    /// goes before one that shows only some.
    ///
    /// # Errors
    /// If there is none, as with version 1 alone.
    pub fn open(cgroup_root: &Path, proc_root: &Path) -> Result<Self, CgroupError> {
        let (root, inode) = choose(candidates(cgroup_root, proc_root), inode_of_hierarchy).ok_or_else(|| {
            CgroupError::Absent { cgroup_root: cgroup_root.to_owned(), proc_root: proc_root.to_owned() }
        })?;
        Ok(Self { root, inode, warned: AtomicBool::new(false) })
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether all cgroups are seen, not only those of a container (the agent's own) or of a node that is one.
    pub fn is_whole(&self) -> bool {
        self.inode == WHOLE
    }

    /// Every cgroup that belongs to a pod or a container, by number; what a container has made inside of itself belongs to it. Of one that goes
    /// meanwhile nothing is told.
    ///
    /// # Errors
    /// [`CgroupError::Walk`].
    pub fn walk(&self) -> Result<Vec<(u64, Member)>, CgroupError> {
        let walked = self.walk_within(MAX_FOLDERS)?;
        if walked.left_out && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "There are more than {MAX_FOLDERS} cgroups in {}, or more than {MAX_DEPTH} in each other: sockets of some go by their namespace.",
                self.root.display()
            );
        }
        Ok(walked.found)
    }

    fn walk_within(&self, folders: usize) -> Result<Walk, CgroupError> {
        let failed = |source| CgroupError::Walk { path: self.root.clone(), source };
        let mut walk = Walk { found: Vec::new(), path: String::new(), left: folders, left_out: false };
        let root = rustix::fs::open(&self.root, FOLDER, Mode::empty()).map_err(failed)?;
        walk.folder(root.as_fd(), 0).map_err(failed)?;
        Ok(walk)
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Walk {
    found: Vec<(u64, Member)>,
    /// Of the folder that is looked at, from the root.
    path: String,
    /// Folders that may still be looked at.
    left: usize,
    left_out: bool,
}

impl Walk {
    /// Looks at what is in a folder.
    fn folder(&mut self, folder: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(folder, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.left == 0 {
                self.left_out = true;
                return Ok(());
            }
            self.left -= 1;
            let length = self.path.len();
            self.path.push('/');
            self.path.push_str(&name.to_string_lossy());
            if let Some(member) = member(&self.path) {
                self.found.push((entry.ino(), member));
            }
            match below(folder, name) {
                Ok(Some(_)) if depth + 1 == MAX_DEPTH => self.left_out = true,
                Ok(Some(below)) => self.folder(below.as_fd(), depth + 1)?,
                // It has no folders; or has gone; or is closed, and so are those in it.
                Ok(None) | Err(Errno::NOENT | Errno::NODEV | Errno::ACCESS | Errno::PERM) => {}
                Err(error) => return Err(error),
            }
            self.path.truncate(length);
        }
        Ok(())
    }
}

/// The folder of this name, if there are folders in it: most have none, and looking at that takes a fraction of listing it.
fn below(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<Option<rustix::fd::OwnedFd>, Errno> {
    // Without folders it has two links (`kernfs_refresh_inode` in fs/kernfs/inode.c).
    if rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_nlink == 2 {
        return Ok(None);
    }
    rustix::fs::openat(folder, name, FOLDER, Mode::empty()).map(Some)
}

/// The inode of the topmost folder, if it is of version 2.
fn inode_of_hierarchy(path: &Path) -> Option<u64> {
    let system = rustix::fs::statfs(path).ok()?;
    (u64::try_from(system.f_type) == Ok(CGROUP2_MAGIC)).then(|| fs::metadata(path).ok().map(|about| about.ino()))?
}

/// The first that shows the whole hierarchy, else the first that is one.
fn choose(
    candidates: impl IntoIterator<Item = PathBuf>,
    inode: impl Fn(&Path) -> Option<u64>,
) -> Option<(PathBuf, u64)> {
    let mut part = None;
    for path in candidates {
        match inode(&path) {
            Some(WHOLE) => return Some((path, WHOLE)),
            Some(inode) if part.is_none() => part = Some((path, inode)),
            _ => {}
        }
    }
    part
}

/// Where it may be, the usual places first.
fn candidates(cgroup_root: &Path, proc_root: &Path) -> Vec<PathBuf> {
    let mut candidates = vec![cgroup_root.to_owned(), cgroup_root.join("unified")];
    let mounts = |process: &str| {
        let bytes = fs::read(proc_root.join(process).join("mountinfo")).unwrap_or_default();
        mounts_of_version_2(&String::from_utf8_lossy(&bytes))
    };
    for path in mounts("1") {
        // As it is called there; the agent may have other mounts.
        let within = proc_root.join("1/root").join(path.strip_prefix("/").unwrap_or(&path));
        candidates.extend([path, within]);
    }
    candidates.extend(mounts("self"));
    candidates
}

/// Mount points of version 2 in `/proc/PID/mountinfo` (Documentation/filesystems/proc.rst).
fn mounts_of_version_2(text: &str) -> Vec<PathBuf> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let is_version_2 = after.split(' ').next() == Some("cgroup2");
        is_version_2.then(|| before.split(' ').nth(4).map(unescaped)).flatten()
    };
    text.lines().filter_map(mount).collect()
}

/// Blanks and the like are written as three octal digits: `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut path = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte.into());
                rest = &after[3..];
            }
            None => {
                path.push('\\');
                rest = after;
            }
        }
    }
    path.push_str(rest);
    path.into()
}

#[cfg(test)]
mod tests;
