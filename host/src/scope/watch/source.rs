//! One source: found, connected to, asked, followed, and all of it again when it fails.

use super::{
    board::Board,
    schedule::{Backoff, Schedule},
};
use crate::scope::{
    ask::{AskError, Why},
    discover,
};
use netsonde_core::{
    config,
    pod::{Pod, Source},
};
use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    convert::Infallible,
    future::{self, Future},
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    select,
    sync::Notify,
    time::{self, Instant},
};

/// How often it is looked whether somebody listens at the usual places.
const LOOK: Duration = Duration::from_secs(15);
/// After a failure, for so long not even somebody unknown is a reason to ask.
const PAUSE: Duration = Duration::from_secs(1);
/// A stream of events that has not ended by then is one.
const SETTLED: Duration = Duration::from_millis(500);
/// Containers whose events wait to be taken note of. With more, all are asked for anew.
const STALE: usize = 4096;

/// A kind of runtime, with what is known of its pods.
pub(in crate::scope) trait Runtime {
    type Connection;
    const SOURCE: Source;

    /// Gives the runtime's name and version too.
    async fn connect(&mut self, socket: &Path) -> Result<(Self::Connection, String), AskError>;

    /// Lists all pods, with all that decides whose a namespace is.
    async fn list(&mut self, connection: &Self::Connection, signal: &Signal) -> Result<(), AskError>;

    /// Asks for what can wait; gives how much had no answer. Whoever does not wait for its end has lost nothing that was answered.
    async fn more(&mut self, connection: &Self::Connection) -> usize;

    /// Follows the runtime's events until they end. Ends at once if there are none, or none for us.
    async fn follow(connection: &Self::Connection, signal: &Signal) -> Result<(), AskError>;

    fn pods(&self) -> &[Arc<Pod>];
}

/// From the events to the listings.
#[derive(Default)]
pub(in crate::scope) struct Signal {
    woken: Notify,
    follows: Cell<bool>,
    /// None: any.
    stale: RefCell<Option<HashSet<String>>>,
}

impl Signal {
    fn new() -> Self {
        Self { stale: RefCell::new(Some(HashSet::new())), ..Self::default() }
    }

    /// Something happened to a container; None: to any.
    pub fn changed(&self, id: Option<String>) {
        let mut stale = self.stale.borrow_mut();
        *stale = stale.take().zip(id).filter(|(all, _)| all.len() < STALE).map(|(mut all, id)| {
            all.insert(id);
            all
        });
        self.woken.notify_one();
    }

    /// Containers that something happened to since this was asked last. None: any.
    pub fn take_stale(&self) -> Option<HashSet<String>> {
        self.stale.replace(Some(HashSet::new()))
    }
}

/// A source, and what it works with.
pub(super) struct Asked<'a, 'b, R> {
    pub runtime: R,
    pub config: &'a config::Runtime,
    pub wake: &'a Notify,
    pub board: &'a RefCell<Board<'b>>,
    /// Ends with the first complete listing, or when that has failed.
    pub once: bool,
}

/// Why asking has ended, until it is begun anew.
enum End {
    /// Only with `once`.
    Done,
    Absent,
    Failed(AskError),
}

impl<R: Runtime> Asked<'_, '_, R> {
    /// Goes on until it is dropped.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        // Where one has answered.
        let mut last: Option<PathBuf> = None;
        loop {
            let end = match (self.attempt(&mut backoff, &mut last).await, &last) {
                (End::Absent, Some(socket)) => {
                    End::Failed(AskError::new("connect to the container runtime", socket, Why::Absent))
                }
                (end, _) => end,
            };
            let wait = match end {
                End::Done => return,
                End::Absent => {
                    self.board.borrow_mut().absent(R::SOURCE);
                    LOOK
                }
                End::Failed(error) => {
                    self.board.borrow_mut().failed(R::SOURCE, &error.socket, &error.to_string());
                    backoff.failed()
                }
            };
            if self.once || *self.config == config::Runtime::None {
                return;
            }
            time::sleep(wait.min(PAUSE)).await;
            let _ = time::timeout(wait.saturating_sub(PAUSE), self.wake.notified()).await;
        }
    }

    /// Tries the sockets that there are, until one has answered.
    async fn attempt(&mut self, backoff: &mut Backoff, last: &mut Option<PathBuf>) -> End {
        let auto = *self.config == config::Runtime::Auto;
        let mut first = End::Absent;
        for socket in discover::sockets(R::SOURCE, self.config) {
            self.board.borrow_mut().trying(R::SOURCE, &socket);
            let (connection, name) = match self.runtime.connect(&socket).await {
                Ok(connected) => connected,
                // Docker's own containerd serves no pods, and another runtime may.
                Err(error) if auto && matches!(error.why, Why::NoCri(_)) => {
                    tracing::debug!("{error}");
                    continue;
                }
                Err(error) => {
                    if matches!(first, End::Absent) {
                        first = End::Failed(error);
                    }
                    continue;
                }
            };
            *last = Some(socket.clone());
            return match self.session(&socket, &name, &connection, backoff).await {
                Ok(()) => End::Done,
                Err(error) => End::Failed(error),
            };
        }
        first
    }

    /// Lists, again and again, until that fails.
    async fn session(
        &mut self,
        socket: &Path,
        name: &str,
        connection: &R::Connection,
        backoff: &mut Backoff,
    ) -> Result<(), AskError> {
        let signal = Signal::new();
        let mut follow = pin!(follow_on::<R>(connection, &signal, self.once));
        let mut schedule = Schedule::new(Instant::now());
        let mut again = Backoff::default();
        loop {
            let began = Instant::now();
            select! {
                listed = self.runtime.list(connection, &signal) => listed?,
                never = &mut follow => match never {},
            }
            backoff.went_well();
            schedule.listed(began, Instant::now(), signal.follows.get());
            self.board.borrow_mut().count(R::SOURCE, socket);
            self.tell(socket, name, &signal);
            let failed = select! {
                failed = self.runtime.more(connection) => failed,
                () = due::<R>(&mut schedule, self.wake, &signal, follow.as_mut(), self.board) => continue,
            };
            self.tell(socket, name, &signal);
            if self.once {
                return Ok(());
            }
            if failed == 0 {
                again.went_well();
            } else {
                schedule.at(Instant::now() + again.failed());
            }
            due::<R>(&mut schedule, self.wake, &signal, follow.as_mut(), self.board).await;
        }
    }

    fn tell(&self, socket: &Path, name: &str, signal: &Signal) {
        self.board.borrow_mut().listed(R::SOURCE, socket, name, self.runtime.pods(), signal.follows.get());
    }
}

/// Waits until a listing is due, and takes note of what makes one due earlier.
async fn due<R: Runtime>(
    schedule: &mut Schedule,
    wake: &Notify,
    signal: &Signal,
    mut follow: Pin<&mut impl Future<Output = Infallible>>,
    board: &RefCell<Board<'_>>,
) {
    loop {
        select! {
            () = time::sleep_until(schedule.next()) => return,
            () = wake.notified() => schedule.burst(Instant::now()),
            () = signal.woken.notified() => schedule.soon(Instant::now()),
            never = &mut follow => match never {},
        }
        board.borrow_mut().follows(R::SOURCE, signal.follows.get());
    }
}

/// Follows the events, and again if they end.
async fn follow_on<R: Runtime>(connection: &R::Connection, signal: &Signal, once: bool) -> Infallible {
    let mut backoff = Backoff::default();
    loop {
        if once {
            break;
        }
        let asked = Instant::now();
        let mut follow = pin!(R::follow(connection, signal));
        let ended = select! {
            ended = &mut follow => ended,
            () = time::sleep(SETTLED) => {
                signal.follows.set(true);
                // What happened until now, nobody told.
                signal.woken.notify_one();
                follow.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!("{error}");
        }
        if asked.elapsed() < SETTLED {
            break;
        }
        signal.follows.set(false);
        signal.changed(None);
        time::sleep(backoff.failed()).await;
    }
    // There is nothing to follow.
    future::pending().await
}
