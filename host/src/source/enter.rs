//! Work inside another network namespace, on a thread of its own: `setns` is by thread, and the runtime's threads must stay where they are.

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Mode, OFlags},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

#[derive(Debug, thiserror::Error)]
pub(super) enum EnterError {
    #[error("enter the namespace by setns: {0}; give the agent CAP_SYS_ADMIN")]
    NotPermitted(Errno),
    #[error("enter the namespace by setns: {0}")]
    Setns(Errno),
    #[error("start a thread that enters namespaces: {0}")]
    Thread(std::io::Error),
    #[error("the work inside the namespace did not end in time")]
    Late,
    #[error("earlier work inside a namespace has not ended yet")]
    Busy,
    #[error("the thread that enters namespaces has ended; the next collection makes a new one")]
    Ended,
}

type Job = Box<dyn FnOnce() -> bool + Send>;

/// At most one thread, which is in its own namespace whenever it has nothing to do, and so holds no other. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Visitor(Arc<Mutex<Option<Thread>>>);

#[derive(Debug)]
struct Thread {
    jobs: SyncSender<Job>,
    /// A message for each job that is over.
    over: Receiver<()>,
    /// A job was given up on, and is not over.
    busy: bool,
}

impl Visitor {
    /// What `work` gives inside `netns`, if it does so until `deadline`.
    pub(super) fn inside<T: Send + 'static>(
        &self,
        netns: OwnedFd,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EnterError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = ready(&mut held)?;
        let (answer, answered) = sync_channel(1);
        let job = move || {
            let (result, is_back) = visit(netns, work);
            // Nobody waits any more: the result is of no use.
            let _ = answer.send(result);
            is_back
        };
        if thread.jobs.send(Box::new(job)).is_err() {
            *held = None;
            return Err(EnterError::Ended);
        }
        let result = answered.recv_timeout(left(deadline));
        // The thread answers first and is over with the job at once afterwards.
        thread.busy = match &result {
            Err(RecvTimeoutError::Timeout) => true,
            _ => thread.over.recv().is_err(),
        };
        match result {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(EnterError::Late),
            Err(RecvTimeoutError::Disconnected) => Err(EnterError::Ended),
        }
    }
}

/// The thread, if it has nothing to do.
fn ready(held: &mut Option<Thread>) -> Result<&mut Thread, EnterError> {
    if let Some(thread) = held {
        match thread.over.try_recv() {
            Ok(()) => thread.busy = false,
            Err(TryRecvError::Empty) if thread.busy => return Err(EnterError::Busy),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => *held = None,
        }
    }
    match held {
        Some(thread) => Ok(thread),
        none => Ok(none.insert(start()?)),
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn start() -> Result<Thread, EnterError> {
    let (jobs, received) = sync_channel::<Job>(1);
    let (done, over) = sync_channel(2);
    let run = move || {
        for job in received {
            let is_back = job();
            if !is_back || done.send(()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("netns".into()).spawn(run).map_err(EnterError::Thread)?;
    Ok(Thread { jobs, over, busy: false })
}

/// Enters, works and comes back. False: this thread could not come back, and must end.
fn visit<T>(netns: OwnedFd, work: impl FnOnce() -> T) -> (Result<T, EnterError>, bool) {
    let home =
        match rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(home) => home,
            Err(error) => return (Err(EnterError::Setns(error)), true),
        };
    let network = Some(LinkNameSpaceType::Network);
    match move_into_link_name_space(netns.as_fd(), network) {
        Ok(()) => {}
        Err(error @ (Errno::PERM | Errno::ACCESS)) => return (Err(EnterError::NotPermitted(error)), true),
        Err(error) => return (Err(EnterError::Setns(error)), true),
    }
    drop(netns);
    let result = work();
    (Ok(result), move_into_link_name_space(home.as_fd(), network).is_ok())
}
