//! A network namespace for the test alone, and the one thread that is in it: both end together.

use super::{
    Trouble,
    acts::{self, Act},
    loopback,
};
use rustix::{
    io::Errno,
    thread::{UnshareFlags, unshare_unsafe},
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// The namespace is there as long as this is.
pub struct Room {
    pub inode: u64,
    /// Each word on it means: act. Without it the thread ends.
    orders: Option<SyncSender<()>>,
    done: Receiver<Result<Vec<Act>, Trouble>>,
    thread: Option<JoinHandle<()>>,
}

impl Room {
    /// Makes the namespace.
    ///
    /// # Errors
    /// If that is not permitted, or its device does not come up.
    pub fn open(proc_root: &Path) -> Result<Self, Trouble> {
        let (orders, ordered) = sync_channel(1);
        let (opened, open) = sync_channel(1);
        let (answer, done) = sync_channel(1);
        let proc_root = proc_root.to_owned();
        let run = move || {
            let entered = enter(&proc_root);
            let stays = entered.is_ok();
            if opened.send(entered).is_err() || !stays {
                return;
            }
            for () in ordered {
                if answer.send(acts::all()).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("self-test".into())
            .spawn(run)
            .map_err(|error| Trouble::Failed(format!("start a thread: {error}")))?;
        // From here on the thread is waited for, also if it has nothing to give.
        let mut room = Self { inode: 0, orders: Some(orders), done, thread: Some(thread) };
        room.inode = open.recv().map_err(|_| ended())??;
        Ok(room)
    }

    /// Does in the namespace what the test is about.
    ///
    /// # Errors
    /// If it cannot be done.
    pub fn act(&self) -> Result<Vec<Act>, Trouble> {
        self.orders.as_ref().and_then(|orders| orders.send(()).ok()).ok_or_else(ended)?;
        self.done.recv().map_err(|_| ended())?
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well, and the namespace with it.
            let _ = thread.join();
        }
    }
}

fn ended() -> Trouble {
    Trouble::Failed("the thread in the test's namespace has ended".into())
}

/// Puts the calling thread into a new namespace, with its device up. Gives the namespace's inode.
fn enter(proc_root: &Path) -> Result<u64, Trouble> {
    // SAFETY: only the network namespace is unshared, not the table of descriptors (`UnshareFlags::FILES`), which is what the function warns
    // of; and it is by thread: no other one of this process is moved.
    let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
    unshared.map_err(|error| match error {
        Errno::PERM => Trouble::Skipped("a new network namespace is not permitted (EPERM), although CAP_SYS_ADMIN is there: see the seccomp profile".into()),
        Errno::NOSPC => Trouble::Skipped("no room for another network namespace: see user.max_net_namespaces".into()),
        error => Trouble::Failed(format!("make a network namespace: {error}")),
    })?;
    let own = proc_root.join("thread-self/ns/net");
    let about = fs::metadata(&own).map_err(|error| Trouble::Skipped(format!("look at {}: {error}", own.display())))?;
    loopback::up().map_err(|error| match error {
        Errno::PERM => Trouble::Skipped("bringing lo up in the test's namespace is not permitted (EPERM)".into()),
        error => Trouble::Failed(format!("bring lo up in the test's namespace: {error}")),
    })?;
    Ok(about.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The namespaces that the threads of this process are in.
    fn namespaces() -> Vec<u64> {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let of = |task: fs::DirEntry| Some(fs::metadata(task.path().join("ns/net")).ok()?.ino());
        tasks.flatten().filter_map(of).collect()
    }

    /// A thread that was joined still leaves its namespaces, a moment later.
    fn is_gone(inode: u64) -> bool {
        (0..100).any(|_| {
            thread::sleep(Duration::from_millis(10));
            !namespaces().contains(&inode)
        })
    }

    /// In one test, as a namespace's number is used again at once.
    #[test]
    fn the_namespace_is_another_one_and_gone_afterwards_also_if_it_does_not_open() {
        let room = match Room::open(Path::new("/proc")) {
            Ok(room) => room,
            Err(Trouble::Skipped(why)) => return eprintln!("not tested: {why}"),
            Err(error) => panic!("{error}"),
        };
        let inode = room.inode;
        assert_ne!(inode, fs::metadata("/proc/thread-self/ns/net").unwrap().ino());
        assert!(namespaces().contains(&inode));
        let acts = room.act().unwrap();
        assert!(acts.len() >= 3, "{acts:?}");
        assert!(acts.iter().all(|act| act.at > 0));
        drop(room);
        assert!(is_gone(inode));

        let before = namespaces();
        assert!(Room::open(Path::new("/nonexistent")).is_err());
        let new = namespaces().into_iter().find(|inode| !before.contains(inode));
        assert!(new.is_none_or(is_gone));
    }
}
