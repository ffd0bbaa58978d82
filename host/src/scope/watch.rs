//! Which pods there are, from the container runtimes of this node: their sockets are asked by a thread of its own, as an answer may take
//! long, or never come.

mod board;
mod schedule;
pub(super) mod source;

use super::{cri::Cri, discover, docker::Docker};
use board::Board;
use netsonde_core::{
    config,
    pod::{Pod, Source},
};
use source::Asked;
use std::{
    cell::RefCell,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    select,
    sync::Notify,
    time,
};

/// All that is known at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Of all sources together. A source that fails keeps its last ones.
    pub pods: Vec<Arc<Pod>>,
    /// Those that are configured, or were found.
    pub sources: Vec<SourceState>,
}

/// A runtime's socket, and how it goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    pub source: Source,
    pub socket: PathBuf,
    /// Name and version: `containerd 1.6.20`. None until it has told.
    pub runtime: Option<String>,
    /// Why the last attempt failed: what was tried, on which socket, and what to do.
    pub error: Option<String>,
    /// How many it has listed last.
    pub pods: usize,
    /// Whether it tells by itself when something changes. If not, it is asked every 10 s.
    pub follows: bool,
    /// Listings that went well, and attempts that did not, since the start.
    pub listings: u64,
    pub failures: u64,
}

/// The thread that asks. It ends when this goes.
#[derive(Debug)]
pub struct Watcher {
    wakes: Arc<Wakes>,
    states: Arc<Mutex<Vec<SourceState>>>,
}

/// What the thread waits for.
#[derive(Debug, Default)]
struct Wakes {
    cri: Notify,
    docker: Notify,
    stop: Notify,
}

/// Asks the runtimes that `config` names or that are found, and goes on doing so. `tell` is called, on the thread that asks, after each
/// listing that changed something and after each change of a source's state; for the first time when each source has listed, has failed, or
/// is not there.
///
/// # Errors
///
/// If the thread cannot be started.
pub fn start(config: &config::Pods, tell: impl FnMut(Watched) + Send + 'static) -> io::Result<Watcher> {
    let runtime = runtime()?;
    let config = config.clone();
    let wakes = Arc::new(Wakes::default());
    let states = Arc::new(Mutex::new(Vec::new()));
    let watcher = Watcher { wakes: wakes.clone(), states: states.clone() };
    thread::Builder::new().name("pods".into()).spawn(move || {
        let board = RefCell::new(Board::new(tell, states));
        runtime.block_on(async {
            select! {
                () = ask(&config, &wakes, &board, false) => {}
                () = wakes.stop.notified() => {}
            }
        });
    })?;
    Ok(watcher)
}

/// Whether somebody will be asked, as far as can be told before: a socket is configured, or is there.
pub fn is_expected(config: &config::Pods) -> bool {
    let sources = [(Source::Cri, &config.cri), (Source::Docker, &config.docker)];
    sources.into_iter().any(|(source, runtime)| !discover::sockets(source, runtime).is_empty())
}

impl Watcher {
    /// A network namespace or a cgroup appeared that nobody knows: the runtimes are asked at once, and again after 100, 300, 700 and 1500 ms,
    /// as a sandbox is listed only when it is complete. Does not block; many calls are as one.
    pub fn look_again(&self) {
        self.wakes.cri.notify_one();
        self.wakes.docker.notify_one();
    }

    /// How it goes with each source now. [`Watched`] has the same as of when something changed last.
    pub fn sources(&self) -> Vec<SourceState> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.wakes.stop.notify_one();
    }
}

/// Asks once, on this thread. What a source has not told within `patience` is missing, and its state says so.
pub fn look_once(config: &config::Pods, patience: Duration) -> Watched {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::warn!("Cannot ask for pods: {error}");
            return Watched::default();
        }
    };
    let board = RefCell::new(Board::new(|_| {}, Arc::default()));
    let wakes = Wakes::default();
    let asked = runtime.block_on(async { time::timeout(patience, ask(config, &wakes, &board, true)).await });
    let mut board = board.into_inner();
    if asked.is_err() {
        board.out_of_time(|socket| {
            let socket = socket.display();
            format!("list the pods at {socket}: no answer within {patience:?}; does the runtime hang?")
        });
    }
    board.watched()
}

/// One thread is enough: both sources wait most of the time.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}

/// Asks both sources: as long as anybody waits for it, or `once`.
async fn ask(config: &config::Pods, wakes: &Wakes, board: &RefCell<Board<'_>>, once: bool) {
    let cri = Asked { runtime: Cri::new(&config.labels), config: &config.cri, wake: &wakes.cri, board, once };
    let docker =
        Asked { runtime: Docker::new(&config.labels), config: &config.docker, wake: &wakes.docker, board, once };
    tokio::join!(cri.run(), docker.run());
}
