//! What the sources have told so far, put together.

use super::{SourceState, Watched};
use netsonde_core::pod::{Pod, Source, merge};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Both sources, and who is told of them.
pub(super) struct Board<'a> {
    cri: Side,
    docker: Side,
    tell: Box<dyn FnMut(Watched) + 'a>,
    states: Arc<Mutex<Vec<SourceState>>>,
}

#[derive(Default)]
struct Side {
    /// Whether it has listed, has failed, or is not there.
    told: bool,
    trying: Option<PathBuf>,
    state: Option<SourceState>,
    pods: Vec<Arc<Pod>>,
}

impl<'a> Board<'a> {
    pub fn new(tell: impl FnMut(Watched) + 'a, states: Arc<Mutex<Vec<SourceState>>>) -> Self {
        Self { cri: Side::default(), docker: Side::default(), tell: Box::new(tell), states }
    }

    fn side(&mut self, source: Source) -> &mut Side {
        match source {
            Source::Cri => &mut self.cri,
            Source::Docker => &mut self.docker,
        }
    }

    /// A socket is connected to.
    pub fn trying(&mut self, source: Source, socket: &Path) {
        self.side(source).trying = Some(socket.to_owned());
    }

    /// There is nobody to ask.
    pub fn absent(&mut self, source: Source) {
        let side = self.side(source);
        let first = !side.told;
        side.told = true;
        self.publish(first);
    }

    /// A listing: complete, or but for details.
    pub fn listed(&mut self, source: Source, socket: &Path, runtime: &str, pods: &[Arc<Pod>], follows: bool) {
        let side = self.side(source);
        let mut changed = !side.told;
        side.told = true;
        if side.pods.len() != pods.len() || side.pods.iter().zip(pods).any(|(old, new)| !Arc::ptr_eq(old, new)) {
            side.pods = pods.to_vec();
            changed = true;
        }
        let state = side.state.get_or_insert_with(|| state(source, socket));
        let before = state.clone();
        socket.clone_into(&mut state.socket);
        state.runtime = Some(runtime.to_owned());
        state.error = None;
        state.pods = pods.len();
        state.follows = follows;
        if before.runtime != state.runtime {
            tracing::debug!("Pods are told by {runtime} at {}.", socket.display());
        } else if before.error.is_some() {
            tracing::info!("{runtime} at {} answers again.", socket.display());
        }
        changed |= before != *state;
        self.publish(changed);
    }

    /// One more listing went well.
    pub fn count(&mut self, source: Source, socket: &Path) {
        self.side(source).state.get_or_insert_with(|| state(source, socket)).listings += 1;
        self.publish(false);
    }

    /// Whether it tells by itself has changed, perhaps.
    pub fn follows(&mut self, source: Source, follows: bool) {
        if let Some(state) = &mut self.side(source).state
            && state.follows != follows
        {
            state.follows = follows;
            self.publish(true);
        }
    }

    /// Its last pods stay.
    pub fn failed(&mut self, source: Source, socket: &Path, error: &str) {
        let side = self.side(source);
        let mut changed = !side.told;
        side.told = true;
        let state = side.state.get_or_insert_with(|| state(source, socket));
        state.failures += 1;
        if state.error.as_deref() != Some(error) || state.socket != socket || state.follows {
            tracing::warn!("Cannot learn of pods: {error}");
            (state.error, state.follows) = (Some(error.to_owned()), false);
            socket.clone_into(&mut state.socket);
            changed = true;
        }
        self.publish(changed);
    }

    /// Whoever has told nothing within `patience` has failed.
    pub fn out_of_time(&mut self, error: impl Fn(&Path) -> String) {
        for source in [Source::Cri, Source::Docker] {
            let side = self.side(source);
            if !side.told
                && let Some(socket) = side.trying.clone()
            {
                self.failed(source, &socket, &error(&socket));
            }
        }
    }

    pub fn watched(&self) -> Watched {
        Watched { pods: merge::merge(&self.cri.pods, &self.docker.pods), sources: self.sources() }
    }

    fn sources(&self) -> Vec<SourceState> {
        [&self.cri, &self.docker].into_iter().filter_map(|side| side.state.clone()).collect()
    }

    fn publish(&mut self, changed: bool) {
        *self.states.lock().unwrap_or_else(PoisonError::into_inner) = self.sources();
        if changed && self.cri.told && self.docker.told {
            let watched = self.watched();
            (self.tell)(watched);
        }
    }
}

fn state(source: Source, socket: &Path) -> SourceState {
    SourceState {
        source,
        socket: socket.to_owned(),
        runtime: None,
        error: None,
        pods: 0,
        follows: false,
        listings: 0,
        failures: 0,
    }
}
