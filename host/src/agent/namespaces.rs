//! Which network namespaces there are, for everyone who asks: one walk at a time, so that nobody takes an older one for the news.

use super::kernel::Places;
use crate::{
    scope::netns::{WalkError, walk, walk_seen},
    source::iter::Tasks,
};
use netsonde_core::{
    bpf::record::NetnsKey,
    scope::{Namespace, ScopeId, Scopes},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Rows of namespaces that are not known make a walk: so many one after the other, and then one in each pause. Without a walk a namespace
/// goes by its inode.
const PAUSE: Duration = Duration::from_millis(100);
const AT_ONCE: u32 = 10;

/// The namespaces of the node.
pub struct Namespaces {
    places: Places,
    scopes: Arc<Mutex<Scopes>>,
    /// Who tells which process is in which namespace; None: procfs does.
    tasks: Option<Tasks>,
    /// The host's monotonic clock and the time since the Unix epoch.
    clock: fn() -> (Duration, Duration),
    walks: Mutex<Walks>,
}

/// Which walks for the sake of rows may be made.
struct Walks {
    /// Pauses that have been kept and not been used, in time.
    saved: Duration,
    last: Instant,
}

impl Walks {
    fn new(now: Instant) -> Self {
        Self { saved: PAUSE * AT_ONCE, last: now }
    }

    fn may(&mut self, now: Instant) -> bool {
        self.saved = (self.saved + now.saturating_duration_since(self.last)).min(PAUSE * AT_ONCE);
        self.last = now;
        let may = self.saved >= PAUSE;
        if may {
            self.saved -= PAUSE;
        }
        may
    }
}

/// What a walk found.
pub struct Walked {
    pub namespaces: Vec<Namespace>,
    /// Processes whose namespace may not be looked at: needs CAP_SYS_PTRACE.
    pub hidden: usize,
    /// Why none of the namespaces is known to be the host's.
    pub no_host: Option<String>,
}

impl Namespaces {
    pub fn new(
        places: Places,
        scopes: Arc<Mutex<Scopes>>,
        tasks: Option<Tasks>,
        clock: fn() -> (Duration, Duration),
    ) -> Self {
        Self { places, scopes, tasks, clock, walks: Mutex::new(Walks::new(Instant::now())) }
    }

    pub fn scopes(&self) -> MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Walks over the node.
    ///
    /// # Errors
    /// If procfs cannot be listed.
    pub fn look(&self) -> Result<Walked, WalkError> {
        let _one_at_a_time = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        self.walk()
    }

    fn walk(&self) -> Result<Walked, WalkError> {
        let Places { proc_root, netns_folder, host_netns } = &self.places;
        let seen = self.tasks.as_ref().and_then(|tasks| {
            tasks
                .look()
                .inspect_err(|error| tracing::debug!("The kernel's tasks are looked for in procfs: {error}"))
                .ok()
        });
        let walked = match seen {
            Some(seen) => walk_seen(seen, proc_root, netns_folder, host_netns.as_deref())?,
            None => walk(proc_root, netns_folder, host_netns.as_deref())?,
        };
        let (now, unix) = (self.clock)();
        let namespaces = self.scopes().observe(walked.found, now, unix);
        Ok(Walked { namespaces, hidden: walked.hidden, no_host: walked.no_host })
    }

    /// The scope of a namespace that a row came from. One that is not known yet is looked for.
    pub fn of_row(&self, netns: NetnsKey) -> ScopeId {
        let (now, unix) = (self.clock)();
        if let Some(scope) = self.scopes().of_row(netns, now) {
            return scope;
        }
        let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        if walks.may(Instant::now())
            && let Err(error) = self.walk()
        {
            tracing::debug!("A row's namespace could not be looked for: {error}");
        }
        self.scopes().of_row_or_new(netns, now, unix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_walks_are_made_at_once_and_then_one_in_each_pause() {
        let start = Instant::now();
        let mut walks = Walks::new(start);
        let made =
            |walks: &mut Walks, millis| (0..50).filter(|_| walks.may(start + Duration::from_millis(millis))).count();
        assert_eq!([0, 99, 100, 250].map(|millis| made(&mut walks, millis)), [10, 0, 1, 1]);
        assert_eq!(made(&mut walks, 60_000), 10);
    }
}
