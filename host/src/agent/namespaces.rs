//! Which network namespaces there are, for everyone who asks: one walk at a time, so that nobody takes an older one for the news.

use super::kernel::Places;
use crate::{
    scope::{
        bind::{Lookup, attach},
        cgroup::Cgroups,
        netns::{WalkError, walk, walk_seen},
    },
    source::iter::Tasks,
};
use netsonde_core::{
    bpf::record::{NetnsKey, OwnerKey},
    pod::{Pod, index::Pods},
    scope::{FoundNetns, Namespace, ScopeId, Scopes},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// Rows of namespaces or cgroups that are not known make a walk: so many one after the other, and then one in each pause. Without a walk a namespace
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
    /// Who is behind each cgroup; None: this node does not tell.
    cgroups: Option<Cgroups>,
    /// Has the runtimes asked again; nobody is asked before it is there.
    look_again: OnceLock<Box<dyn Fn() + Send + Sync>>,
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
        cgroups: Option<Cgroups>,
        clock: fn() -> (Duration, Duration),
    ) -> Self {
        let walks = Mutex::new(Walks::new(Instant::now()));
        Self { places, scopes, tasks, cgroups, clock, walks, look_again: OnceLock::new() }
    }

    /// `look_again` is called when something appears that no runtime has told of yet.
    pub fn asks_with(&self, look_again: impl Fn() + Send + Sync + 'static) {
        // There is one agent, which says it once.
        let _ = self.look_again.set(Box::new(look_again));
    }

    fn look_again(&self) {
        if let Some(look_again) = self.look_again.get() {
            look_again();
        }
    }

    /// Takes what the runtimes tell. Pods whose namespaces are not known are looked for.
    pub fn learn(&self, pods: Vec<Arc<Pod>>) {
        let _one_at_a_time = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, _) = (self.clock)();
        let unbound = {
            let mut scopes = self.scopes();
            scopes.learn(Arc::new(Pods::new(pods)), now);
            scopes.unbound()
        };
        if !unbound.is_empty()
            && let Err(error) = self.walk()
        {
            tracing::debug!("Pods' namespaces could not be looked for: {error}");
        }
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
        let lookup = Lookup { proc_root, netns_folder };
        let unbound = self.scopes().unbound();
        let before = lookup.bindings(&unbound);
        let seen = self.seen();
        let mut walked = match seen {
            Some(seen) => walk_seen(seen, proc_root, netns_folder, host_netns.as_deref())?,
            None => walk(proc_root, netns_folder, host_netns.as_deref())?,
        };
        let (now, unix) = (self.clock)();
        if !before.is_empty() {
            attach(&mut walked.found, before, &lookup.bindings(&unbound));
        }
        let (namespaces, waits) = {
            let mut scopes = self.scopes();
            let newest = scopes.newest();
            (scopes.observe(walked.found, now, unix), scopes.waits_since(newest))
        };
        if waits {
            self.look_again();
        }
        Ok(Walked { namespaces, hidden: walked.hidden, no_host: walked.no_host })
    }

    /// The namespaces that the kernel's own tasks tell of.
    fn seen(&self) -> Option<Vec<FoundNetns>> {
        let debug = |error: &_| tracing::debug!("The kernel's tasks are looked for in procfs: {error}");
        self.tasks.as_ref()?.look().inspect_err(debug).ok()
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
        let mut scopes = self.scopes();
        let scope = scopes.of_row_or_new(netns, now, unix);
        if scopes.is_held(scope) {
            drop(scopes);
            self.look_again();
        }
        scope
    }

    /// The scope of a socket's owner that a row came from.
    pub fn of_owner(&self, owner: OwnerKey) -> ScopeId {
        let netns = self.of_row(owner.netns);
        if owner.cgroup == 0 || !self.scopes().expects_pods() {
            return netns;
        }
        self.learn_cgroup(owner.cgroup);
        let (now, unix) = (self.clock)();
        let (scope, is_unknown) = self.scopes().of_owner(netns, owner.cgroup, now, unix);
        if is_unknown {
            self.look_again();
        }
        scope
    }

    /// Looks for a cgroup that is not known yet, unless that was done too often lately.
    fn learn_cgroup(&self, cgroup: u64) {
        let Some(cgroups) = &self.cgroups else { return };
        if self.scopes().knows_cgroup(cgroup) {
            return;
        }
        let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        if walks.may(Instant::now()) {
            match cgroups.walk() {
                Ok(found) => self.scopes().learn_cgroups(found, cgroup),
                Err(error) => tracing::debug!("A row's cgroup could not be looked for: {error}"),
            }
        }
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
