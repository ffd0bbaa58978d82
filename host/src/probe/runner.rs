//! The thread that a probe lives on: one call at a time, so the deadline can count this thread's CPU time.

use super::guest::{Fault, Guest, Processed};
use netsonde_core::probe::{Call, Plan, QueryState};
use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
};

/// A handle to the thread; when it goes, the thread ends after its current call.
pub struct Runner {
    jobs: SyncSender<Job>,
}

enum Job {
    Describe(SyncSender<Result<Plan, Fault>>),
    Start(Vec<QueryState>, SyncSender<Result<(), Fault>>),
    Process(Box<Call>, SyncSender<Processed>),
    Stop,
}

/// The runner still works on what it was given before.
#[derive(Debug, thiserror::Error)]
#[error("the probe has not finished its last call")]
pub struct Busy;

impl Runner {
    /// Starts the thread of `guest`. `answered` is called after each answer of `process`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(name: &str, mut guest: Guest, answered: Arc<dyn Fn() + Send + Sync>) -> std::io::Result<Self> {
        // One job may wait while one runs: start and process of the same collection.
        let (jobs, inbox) = mpsc::sync_channel(2);
        thread::Builder::new().name(format!("probe {name}")).spawn(move || {
            for job in inbox {
                // A receiver that went away no longer waits for the answer: it is late, and counted there.
                match job {
                    Job::Describe(reply) => drop(reply.send(guest.describe())),
                    Job::Start(states, reply) => drop(reply.send(guest.start(&states))),
                    Job::Process(call, reply) => {
                        drop(reply.send(guest.process(*call)));
                        answered();
                    }
                    Job::Stop => guest.stop(),
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Makes an instance and asks for its plan.
    ///
    /// # Errors
    /// [`Busy`] if earlier calls have not ended.
    pub fn describe(&self) -> Result<Receiver<Result<Plan, Fault>>, Busy> {
        self.send(Job::Describe)
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// [`Busy`] if earlier calls have not ended.
    pub fn start(&self, states: Vec<QueryState>) -> Result<Receiver<Result<(), Fault>>, Busy> {
        self.send(|reply| Job::Start(states, reply))
    }

    /// One call.
    ///
    /// # Errors
    /// [`Busy`] if earlier calls have not ended.
    pub fn process(&self, call: Call) -> Result<Receiver<Processed>, Busy> {
        self.send(|reply| Job::Process(Box::new(call), reply))
    }

    /// Throws the instance away: its output broke a rule.
    pub fn stop(&self) {
        // A full queue means that the probe is late already; its next answer is thrown away anyway.
        let _ = self.jobs.try_send(Job::Stop);
    }

    fn send<T>(&self, job: impl FnOnce(SyncSender<T>) -> Job) -> Result<Receiver<T>, Busy> {
        let (reply, answer) = mpsc::sync_channel(1);
        match self.jobs.try_send(job(reply)) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }
}
