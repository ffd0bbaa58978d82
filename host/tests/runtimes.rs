//! The thread that asks container runtimes for pods, beside servers that do what a test wants. Needs no root; one test needs it to become
//! somebody else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "runtimes/cri.rs"]
mod cri;
#[path = "runtimes/docker.rs"]
mod docker;
#[path = "runtimes/failing.rs"]
mod failing;
mod scripted;

use netsonde::scope::watch::{self, Watched, Watcher};
use netsonde_core::{
    config::{Pods, Runtime},
    pod::Pod,
};
use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(10);

fn only_cri(socket: &Path) -> Pods {
    Pods { cri: Runtime::At(socket.to_owned()), docker: Runtime::None, labels: Vec::new() }
}

fn only_docker(socket: &Path) -> Pods {
    Pods { cri: Runtime::None, docker: Runtime::At(socket.to_owned()), labels: Vec::new() }
}

/// A watcher, and all that it tells.
struct Watch {
    watcher: Watcher,
    told: Receiver<Watched>,
    last: Watched,
    times: usize,
}

impl Watch {
    fn start(config: &Pods) -> Self {
        let (sender, told) = channel();
        let watcher = watch::start(config, move |watched| drop(sender.send(watched))).unwrap();
        Self { watcher, told, last: Watched::default(), times: 0 }
    }

    /// Waits until what is told is as wanted.
    fn until(&mut self, what: &str, is: impl Fn(&Watched) -> bool) -> &Watched {
        let end = Instant::now() + PATIENCE;
        while self.times == 0 || !is(&self.last) {
            match self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(watched) => (self.last, self.times) = (watched, self.times + 1),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{what}: not within {PATIENCE:?}, but {:#?}", self.last)
                }
            }
        }
        &self.last
    }

    /// Waits until a pod of this name is (not) there.
    fn until_pod(&mut self, name: &str, there: bool) -> Instant {
        let is = |watched: &Watched| watched.pods.iter().any(|pod| pod.name == name) == there;
        self.until(&format!("{name} there: {there}"), is);
        Instant::now()
    }
}

fn pod<'a>(watched: &'a Watched, name: &str) -> &'a Arc<Pod> {
    let found = watched.pods.iter().find(|pod| pod.name == name);
    found.unwrap_or_else(|| panic!("no pod {name} in {watched:#?}"))
}

fn error(watched: &Watched) -> &str {
    watched.sources[0].error.as_deref().unwrap_or("no error")
}
