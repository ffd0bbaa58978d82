//! The ways into one namespace: through a process in it, or by the name that holds it.

use super::{
    enter::{EnterError, Visitor},
    link,
    read::{self, Texts},
};
use netsonde_core::{
    proc::{File, link::Devices},
    scope::Namespace,
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::CWD,
    io::Errno,
};
use std::{path::Path, sync::Arc, time::Instant};

/// What is at hand while one namespace is read.
pub(super) struct Ways<'a> {
    /// Where procfs is mounted, as a folder and by name.
    pub(super) root: BorrowedFd<'a>,
    pub(super) proc_root: &'a Arc<Path>,
    pub(super) visitor: &'a Visitor,
    pub(super) namespace: &'a Namespace,
    pub(super) deadline: Instant,
}

/// The way that led into the namespace.
pub(super) enum Way {
    /// The folder of a process that was in it after the files were read.
    Process(OwnedFd),
    Name,
}

#[derive(Debug, thiserror::Error)]
enum WayError {
    #[error("process {0} is gone, or has left the namespace")]
    Left(u32),
    #[error("look at the namespace of process {pid}: {error}; give the agent CAP_SYS_PTRACE")]
    Hidden { pid: u32, error: Errno },
    #[error("look at process {pid}: {error}")]
    Process { pid: u32, error: Errno },
}

impl WayError {
    fn of(pid: u32, error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::SRCH => WayError::Left(pid),
            Errno::ACCESS | Errno::PERM => WayError::Hidden { pid, error },
            error => WayError::Process { pid, error },
        }
    }
}

impl Ways<'_> {
    /// Reads `files` of the namespace into `texts`; an error says why no way led there. (That a single file cannot be read is in `texts`.)
    pub(super) fn read(&mut self, files: &[File], texts: &mut Texts) -> Result<Way, String> {
        let mut last = None;
        for &pid in &self.namespace.pids {
            match self.read_process(pid, files, texts) {
                Ok(process) => return Ok(Way::Process(process)),
                Err(error) => last = Some(error),
            }
        }
        texts.clear();
        match &self.namespace.path {
            Some(path) => self.read_named(path, files, texts).map(|()| Way::Name),
            None => Err(no_way(last)),
        }
    }

    /// What `work` gives inside the namespace, wherever a process or a name leads there.
    pub(super) fn inside<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        if self.is_own() {
            return Ok(work());
        }
        let netns = self.open()?;
        self.visitor.inside(netns, self.deadline, work).map_err(|error| error.to_string())
    }

    fn open(&self) -> Result<OwnedFd, String> {
        let mut last = None;
        for &pid in &self.namespace.pids {
            match self.open_through(pid) {
                Ok(netns) => return Ok(netns),
                Err(error) => last = Some(error),
            }
        }
        match &self.namespace.path {
            Some(path) => self.open_named(path),
            None => Err(no_way(last)),
        }
    }

    fn open_through(&self, pid: u32) -> Result<OwnedFd, WayError> {
        let wrong = |error| WayError::of(pid, error);
        let process = read::open_process(self.root, pid).map_err(wrong)?;
        let netns = read::open_netns(process.as_fd(), c"ns/net", self.namespace.inode).map_err(wrong)?;
        netns.ok_or(WayError::Left(pid))
    }

    /// Reads through a process, then looks whether it still is in the namespace: if not, the files may be of another one.
    fn read_process(&self, pid: u32, files: &[File], texts: &mut Texts) -> Result<OwnedFd, WayError> {
        let wrong = |error| WayError::of(pid, error);
        let process = read::open_process(self.root, pid).map_err(wrong)?;
        texts.read(process.as_fd(), files);
        match read::is_in(process.as_fd(), self.namespace.inode) {
            Ok(true) => Ok(process),
            Ok(false) => Err(WayError::Left(pid)),
            Err(error) => Err(wrong(error)),
        }
    }

    /// Reads inside the namespace, where the reading thread goes for it.
    fn read_named(&mut self, path: &Path, files: &[File], texts: &mut Texts) -> Result<(), String> {
        let netns = self.open_named(path)?;
        let folder = self.proc_root.join("thread-self");
        let (files, mut inside, seconds) = (files.to_vec(), std::mem::take(texts), texts.seconds);
        let work = move || {
            let result = read::open_folder(&folder).map(|own| inside.read(own.as_fd(), &files));
            (inside, result.map_err(|error| format!("open {}: {error}", folder.display())))
        };
        match self.visitor.inside(netns, self.deadline, work) {
            Ok((filled, result)) => {
                *texts = filled;
                result
            }
            Err(error) => {
                texts.seconds = seconds;
                Err(match error {
                    EnterError::NotPermitted(_) => format!("{error}, or have a process run in the namespace"),
                    error => error.to_string(),
                })
            }
        }
    }

    fn open_named(&self, path: &Path) -> Result<OwnedFd, String> {
        match read::open_netns(CWD, path, self.namespace.inode) {
            Ok(Some(netns)) => Ok(netns),
            Ok(None) => Err(format!("another namespace is at {} by now", path.display())),
            Err(error) => Err(format!("open {}: {error}", path.display())),
        }
    }

    /// What rtnetlink says of the namespace's devices; None where it may not be asked.
    pub(super) fn devices(&mut self, way: &Way) -> Option<Devices> {
        let result = match self.is_own() {
            true => link::devices().map_err(|error| error.to_string()),
            false => self.devices_inside(way),
        };
        result
            .inspect_err(|why| tracing::debug!(scope = self.namespace.scope, %why, "Kinds of devices stay unknown."))
            .ok()
    }

    fn devices_inside(&mut self, way: &Way) -> Result<Devices, String> {
        let netns = match (way, &self.namespace.path) {
            (Way::Process(process), _) => read::open_netns(process.as_fd(), c"ns/net", self.namespace.inode)
                .map_err(|error| format!("open ns/net of a process: {error}"))?
                .ok_or("the process has left the namespace")?,
            (Way::Name, Some(path)) => self.open_named(path)?,
            (Way::Name, None) => return Err("the namespace has no name".to_owned()),
        };
        match self.visitor.inside(netns, self.deadline, link::devices) {
            Ok(devices) => devices.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether the calling thread is in this namespace.
    fn is_own(&self) -> bool {
        let own = read::open_below(self.root, c"thread-self");
        own.and_then(|own| read::is_in(own.as_fd(), self.namespace.inode)).unwrap_or(false)
    }
}

fn no_way(last: Option<WayError>) -> String {
    match last {
        Some(last) => format!("no process leads into the namespace any more: {last}"),
        None => "neither a process nor a name leads into the namespace".to_owned(),
    }
}
