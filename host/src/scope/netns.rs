//! The network namespaces of the node: those that processes are in, and those that `ip netns` names. The kernel's own tasks tell which
//! process is in which; where they cannot be asked, procfs does.
//!
//! A namespace that neither holds (only a thread, a socket or a descriptor does) is not found.

use netsonde_core::scope::{FoundNetns, WITNESSES};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags, RawDir},
    io::Errno,
};
use std::{
    collections::HashMap,
    ffi::{CStr, CString},
    fs,
    mem::MaybeUninit,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Where `ip netns` keeps its names.
pub const NAMED: &str = "/run/netns";

/// `f_type` of nsfs (include/uapi/linux/magic.h): a name whose namespace is not mounted is an ordinary file.
pub(super) const NSFS_MAGIC: u64 = 0x6e73_6673;

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The host's first, then by inode.
    pub found: Vec<FoundNetns>,
    /// Processes whose namespace may not be looked at: without CAP_SYS_PTRACE, those of other users. Namespaces that only such processes
    /// are in, and no name, are not in `found`.
    pub hidden: usize,
    /// Why none of `found` is known to be the host's.
    pub no_host: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    #[error("list the processes in {}: {source}; set proc_root to where procfs is mounted", path.display())]
    Processes { path: PathBuf, source: Errno },
    #[error("list the named namespaces in {}: {source}; allow the agent to read this folder", path.display())]
    Names { path: PathBuf, source: std::io::Error },
}

/// What to tell of processes that may not be looked at.
pub fn hidden_message(hidden: usize) -> String {
    format!("namespaces may be missing: {hidden} of the processes may not be looked at (that needs CAP_SYS_PTRACE)")
}

/// Looks for the namespaces of all processes under `proc_root`, and for those with a name in the folder `named`, which need not exist.
/// `host` is a file that stands for the host's namespace; None: process 1 is in it.
pub fn walk(proc_root: &Path, named: &Path, host: Option<&Path>) -> Result<Walk, WalkError> {
    let root = open(proc_root)?;
    let mut by_inode = HashMap::new();
    let hidden = walk_processes(&root, &mut by_inode)
        .map_err(|source| WalkError::Processes { path: proc_root.to_owned(), source })?;
    Ok(Walk { hidden, ..complete(&root, by_inode, named, host)? })
}

/// The same from what the kernel's tasks have told: namespaces with their cookies, and some of the processes in each.
pub fn walk_seen(
    seen: Vec<FoundNetns>,
    proc_root: &Path,
    named: &Path,
    host: Option<&Path>,
) -> Result<Walk, WalkError> {
    let root = open(proc_root)?;
    let mut by_inode: HashMap<_, _> = seen.into_iter().map(|seen| (seen.inode, seen)).collect();
    // At itself the agent may always look, at others without CAP_SYS_PTRACE not.
    if let Some((inode, pid)) = own(&root)
        && let Some(found) = by_inode.get_mut(&inode)
    {
        found.pids.insert(0, pid);
        found.pids.truncate(WITNESSES);
    }
    complete(&root, by_inode, named, host)
}

/// The agent's own namespace, and its pid there.
fn own(root: &OwnedFd) -> Option<(u64, u32)> {
    let mut buffer = [MaybeUninit::uninit(); 16];
    let (pid, _) = rustix::fs::readlinkat_raw(root, c"self", &mut buffer).ok()?;
    Some((linked_netns(root.as_fd(), c"self/ns/net").ok()?, std::str::from_utf8(pid).ok()?.parse().ok()?))
}

fn open(proc_root: &Path) -> Result<OwnedFd, WalkError> {
    rustix::fs::open(proc_root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|source| WalkError::Processes { path: proc_root.to_owned(), source })
}

/// Adds the names, and says which one is the host's.
fn complete(
    root: &OwnedFd,
    mut by_inode: HashMap<u64, FoundNetns>,
    named: &Path,
    host: Option<&Path>,
) -> Result<Walk, WalkError> {
    let mut walk = Walk::default();
    walk_names(named, &mut by_inode).map_err(|source| WalkError::Names { path: named.to_owned(), source })?;
    let host_inode = match host {
        Some(path) => inode_of(path),
        None => process_1_inode(root, &by_inode),
    };
    match host_inode {
        Ok(inode) => {
            let unseen = || FoundNetns { inode, pids: vec![1], path: host.map(Path::to_owned), ..Default::default() };
            by_inode.entry(inode).or_insert_with(unseen).host = true;
        }
        Err(why) => walk.no_host = Some(why),
    }
    walk.found = by_inode.into_values().collect();
    walk.found.sort_unstable_by_key(|found| (!found.host, found.inode));
    Ok(walk)
}

/// Adds the namespace of each process; says how many could not be looked at. Processes that are gone by then have none.
fn walk_processes(root: &OwnedFd, by_inode: &mut HashMap<u64, FoundNetns>) -> Result<usize, Errno> {
    let mut hidden = 0;
    let mut buffer = [MaybeUninit::uninit(); 16384];
    let mut entries = RawDir::new(root, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        match process_netns(root.as_fd(), entry.file_name()) {
            Ok(inode) => {
                let found = by_inode.entry(inode).or_insert_with(|| FoundNetns { inode, ..Default::default() });
                if found.pids.len() < WITNESSES {
                    found.pids.push(pid);
                }
            }
            Err(Errno::ACCESS | Errno::PERM) => hidden += 1,
            Err(_) => {}
        }
    }
    Ok(hidden)
}

/// Adds names, and the namespaces that have nothing else. Of several names the first by alphabet counts.
fn walk_names(named: &Path, by_inode: &mut HashMap<u64, FoundNetns>) -> Result<(), std::io::Error> {
    let entries = match fs::read_dir(named) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        // Gone in between, or not mounted (yet, or any more): not a namespace.
        let (Ok(system), Ok(meta)) = (rustix::fs::statfs(&path), fs::metadata(&path)) else { continue };
        if u64::try_from(system.f_type) != Ok(NSFS_MAGIC) {
            continue;
        }
        let inode = meta.ino();
        let name = entry.file_name().to_string_lossy().into_owned();
        let found = by_inode.entry(inode).or_insert_with(|| FoundNetns { inode, ..Default::default() });
        if found.name.as_ref().is_none_or(|known| name < *known) {
            (found.name, found.path) = (Some(name), Some(path));
        }
    }
    Ok(())
}

/// The namespace that `path` leads to.
fn inode_of(path: &Path) -> Result<u64, String> {
    let about = fs::metadata(path);
    about.map(|about| about.ino()).map_err(|error| {
        format!("look at host_netns {}: {error}; none of the namespaces is called host", path.display())
    })
}

/// The namespace of process 1, or why it cannot be told.
///
/// Where its link is closed (to other users without CAP_SYS_PTRACE; to everyone if it is protected), its `net/dev` may still be looked at.
/// That has an inode number of its own in each namespace (`proc_register` in fs/proc/generic.c): whoever shows the same file is in the same
/// namespace. The agent itself is tried first, then a process of each namespace that was found.
fn process_1_inode(root: &OwnedFd, by_inode: &HashMap<u64, FoundNetns>) -> Result<u64, String> {
    match linked_netns(root.as_fd(), c"1/ns/net") {
        Ok(inode) => return Ok(inode),
        Err(Errno::ACCESS | Errno::PERM) => {}
        Err(error) => return Err(format!("look at process 1: {error}; none of the namespaces is called host")),
    }
    let dev = |process: &str| {
        rustix::fs::statat(root, format!("{process}/net/dev"), AtFlags::empty()).map(|stat| stat.st_ino).ok()
    };
    let first = dev("1");
    let own = linked_netns(root.as_fd(), c"self/ns/net").ok().map(|inode| (inode, "self".to_owned()));
    let others = by_inode.values().filter_map(|found| Some((found.inode, found.pids.first()?.to_string())));
    let mut candidates = own.into_iter().chain(others);
    candidates.find(|(_, process)| first.is_some() && dev(process) == first).map(|(inode, _)| inode).ok_or_else(|| {
        "look at the namespace of process 1: not permitted, and no process that may be looked at is in it; give the agent \
         CAP_SYS_PTRACE; none of the namespaces is called host"
            .to_owned()
    })
}

/// The namespace of a process.
pub(super) fn process_netns_inode(proc_root: &Path, pid: u32) -> Option<u64> {
    let pid = CString::new(pid.to_string()).ok()?;
    process_netns(open(proc_root).ok()?.as_fd(), &pid).ok()
}

/// The namespace of the process whose folder in `root` is `pid`.
fn process_netns(root: BorrowedFd<'_>, pid: &CStr) -> Result<u64, Errno> {
    const TAIL: &[u8] = b"/ns/net\0";
    let mut path = [0; 32];
    let digits = pid.to_bytes();
    let length = digits.len() + TAIL.len();
    let all = path.get_mut(..length).ok_or(Errno::NAMETOOLONG)?;
    all[..digits.len()].copy_from_slice(digits);
    all[digits.len()..].copy_from_slice(TAIL);
    let path = CStr::from_bytes_with_nul(all).map_err(|_| Errno::INVAL)?;
    linked_netns(root, path)
}

/// The inode in a link such as `/proc/PID/ns/net`: `net:[4026531833]`.
fn linked_netns(folder: BorrowedFd<'_>, path: &CStr) -> Result<u64, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 32];
    let (target, _) = rustix::fs::readlinkat_raw(folder, path, &mut buffer)?;
    let inode = target.strip_prefix(b"net:[").and_then(|rest| rest.strip_suffix(b"]"));
    inode.and_then(|inode| std::str::from_utf8(inode).ok()?.parse().ok()).ok_or(Errno::INVAL)
}
