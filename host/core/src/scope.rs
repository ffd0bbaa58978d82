//! *Who*: the network namespaces of the node, its pods and their containers, and what they are called on the page.

mod naming;
mod owner;

use crate::{
    bpf::record::NetnsKey,
    pod::{By, Pod, index::Pods},
};
use owner::Owners;
use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc, time::Duration};

/// An opaque handle, never reused in one run of the host.
pub type ScopeId = u32;

/// What a scope is called on the page and in events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Name {
    /// `host`, the name under `ip netns`, or the inode in decimal. None once a pod is known.
    pub netns: Option<Arc<str>>,
    /// Kubernetes namespace of the pod; empty without one. Empty labels are written out: under `honor_labels` a series without them would
    /// get the agent's own pod.
    pub namespace: Arc<str>,
    pub pod: Arc<str>,
    pub container: Arc<str>,
    /// What the configuration asks of pods' labels: name and value, which is empty where there is none.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

impl fmt::Display for Name {
    /// `netns`, else `namespace/pod`, and the container behind another slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { netns, namespace, pod, container, .. } = self;
        let parts = [netns.as_deref().unwrap_or_default(), namespace, pod, container];
        let mut parts = parts.into_iter().filter(|part| !part.is_empty());
        f.write_str(parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| write!(f, "/{part}"))
    }
}

/// A network namespace, one whose pod is known, or a container in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub name: Arc<Name>,
    /// The pod that it is, or is a part of, and how that was found.
    pub pod: Option<Arc<Pod>>,
    pub by: Option<By>,
    /// When it was first seen, on the host's monotonic clock and since the Unix epoch.
    pub first_seen: Duration,
    pub first_seen_unix: Duration,
    /// Until when its series and events wait for its name (rule 6); None: it is called what it is called.
    pub held: Option<Duration>,
    /// When it was found to be no more.
    pub gone: Option<Duration>,
}

/// A network namespace as a walk over the node found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundNetns {
    /// Of nsfs, as `/proc/PID/ns/net` shows it. May be used again once the namespace is gone.
    pub inode: u64,
    /// `net.net_cookie`, which is never used again; None: only the kernel's own tasks tell it.
    pub cookie: Option<u64>,
    /// Under `ip netns`.
    pub name: Option<String>,
    /// The file that holds it under that name.
    pub path: Option<PathBuf>,
    /// Some processes in it, at most [`WITNESSES`].
    pub pids: Vec<u32>,
    /// Whether it is that of the node's first process.
    pub host: bool,
    /// The pod that has it for its own, and how that was found.
    pub pod: Option<(Arc<Pod>, By)>,
}

/// How many processes of a namespace are worth knowing: through any of them its files can be read.
pub const WITNESSES: usize = 4;

impl FoundNetns {
    /// `host`, the name under `ip netns`, or the inode. Nothing but the node's own namespace is ever called `host`.
    fn label(&self) -> String {
        match &self.name {
            _ if self.host => "host".to_owned(),
            Some(name) if name != "host" => name.clone(),
            _ => self.inode.to_string(),
        }
    }
}

/// A living namespace, and the ways to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    pub scope: ScopeId,
    pub inode: u64,
    pub pids: Vec<u32>,
    pub path: Option<PathBuf>,
    pub host: bool,
}

/// Every scope that lives, or whose series still do.
#[derive(Debug, Default)]
pub struct Scopes {
    by_id: HashMap<ScopeId, Scope>,
    /// Living namespaces by inode and label. An inode alone is not enough: a new namespace may have an old one's.
    living: HashMap<(u64, String), ScopeId>,
    /// Namespaces that rows of the kernel came from, by their cookie, which is never used again.
    by_cookie: HashMap<u64, ScopeId>,
    /// Namespaces that only rows have told of, with the time of the last one: a walk may not find them at all.
    heard_of: HashMap<ScopeId, (u64, Duration)>,
    /// Scopes that are no more, and of which nobody has been told yet.
    gone: Vec<ScopeId>,
    /// Scopes that were held and are not any more, and of which nobody has been told yet.
    settled: Vec<ScopeId>,
    /// Whether somebody is asked for pods: then new scopes wait for their names.
    names: bool,
    /// Labels that the configuration asks for, and what of a pod's labels they are.
    labels: Vec<(Arc<str>, String)>,
    pods: Arc<Pods>,
    owners: Owners,
    host: Option<ScopeId>,
    last: ScopeId,
}

/// How long a new scope waits for its name (rule 6).
const PATIENCE: Duration = Duration::from_secs(2);

/// A namespace that no walk finds is taken for gone after so long without a row.
const SILENCE: Duration = Duration::from_secs(60);

impl Scopes {
    /// A new namespace. It waits for its pod's name if there may be one.
    fn add_netns(&mut self, netns: &str, may_wait: bool, now: Duration, now_unix: Duration) -> ScopeId {
        let name = Arc::new(Name { netns: Some(netns.into()), labels: self.no_labels(), ..Name::default() });
        let held = (self.names && may_wait).then(|| now + PATIENCE);
        self.add(Scope { name, first_seen: now, first_seen_unix: now_unix, held, ..Scope::default() })
    }

    /// A new scope under a handle that was never used before.
    pub fn add(&mut self, scope: Scope) -> ScopeId {
        self.last += 1;
        self.by_id.insert(self.last, scope);
        self.last
    }

    /// Takes what a walk found: new namespaces get a scope, known ones keep theirs, and those that are not there any more are gone. One
    /// that is seen again later is a new scope. Which one it is its cookie tells, else inode and label. `now` and `now_unix` are [`Scope::first_seen`]'s clocks. The living ones are given in the
    /// order in which they were found; [`take_gone`](Self::take_gone) tells the others.
    pub fn observe(&mut self, found: Vec<FoundNetns>, now: Duration, now_unix: Duration) -> Vec<Namespace> {
        let mut before = std::mem::take(&mut self.living);
        let mut namespaces = Vec::with_capacity(found.len());
        for found in found {
            let key = (found.inode, found.label());
            if self.living.contains_key(&key) {
                continue; // The walk names each once; a second one would be read twice.
            }
            let known = self.known(&found, &key, &mut before);
            let scope = known.unwrap_or_else(|| self.add_netns(&key.1, !found.host, now, now_unix));
            let scope = found.pod.as_ref().map_or(scope, |(pod, by)| self.belongs(scope, pod, *by, now, now_unix));
            if found.host {
                self.host = Some(scope);
            }
            if let Some(cookie) = found.cookie {
                self.by_cookie.insert(cookie, scope);
            }
            self.living.insert(key, scope);
            let FoundNetns { inode, path, pids, host, .. } = found;
            namespaces.push(Namespace { scope, inode, pids, path, host });
        }
        let mut gone: Vec<ScopeId> = before.into_values().collect();
        gone.extend(self.silent(now));
        gone.sort_unstable();
        for scope in gone {
            self.gone(scope, now);
        }
        // A namespace that has its pod now may be that of containers which wait for theirs.
        if !self.settled.is_empty() {
            self.learn_containers(now);
        }
        namespaces
    }

    /// The scope that a namespace has already.
    fn known(
        &mut self,
        found: &FoundNetns,
        key: &(u64, String),
        before: &mut HashMap<(u64, String), ScopeId>,
    ) -> Option<ScopeId> {
        let bound = found.cookie.and_then(|cookie| self.by_cookie.get(&cookie).copied());
        if let Some(scope) = bound.filter(|scope| self.by_id.get(scope).is_some_and(|scope| scope.gone.is_none())) {
            // Under another name it is still the same one.
            before.retain(|_, other| *other != scope);
            self.heard_of.remove(&scope);
            self.rename(scope, &key.1);
            return Some(scope);
        }
        // Rule 29: with another cookie it is another one, whatever its inode and its name.
        let other = |scope: &ScopeId| found.cookie.is_some() && self.by_cookie.values().any(|bound| bound == scope);
        if before.get(key).is_some_and(|scope| !other(scope)) {
            return before.remove(key);
        }
        if found.cookie.is_some() {
            return None;
        }
        let scope = self.heard(found.inode)?;
        self.rename(scope, &key.1);
        Some(scope)
    }

    /// The scope of a namespace that a row came from; None if it is not known, and a walk may find it.
    ///
    /// Rule 29: an inode whose scope has another cookie is used again, by a namespace that is a new scope from its first row on.
    pub fn of_row(&mut self, netns: NetnsKey, now: Duration) -> Option<ScopeId> {
        if let Some(&scope) = self.by_cookie.get(&netns.cookie) {
            if let Some((_, heard)) = self.heard_of.get_mut(&scope) {
                *heard = now;
            }
            return Some(scope);
        }
        let (key, scope) = self.living.iter().find(|((inode, _), _)| *inode == netns.inode)?;
        let (key, scope) = (key.clone(), *scope);
        if self.by_cookie.values().any(|bound| *bound == scope) {
            self.living.remove(&key);
            self.gone(scope, now);
            return None;
        }
        self.by_cookie.insert(netns.cookie, scope);
        Some(scope)
    }

    /// The scope of a namespace that a row came from, a new one if no walk has found it.
    pub fn of_row_or_new(&mut self, netns: NetnsKey, now: Duration, now_unix: Duration) -> ScopeId {
        self.of_row(netns, now).unwrap_or_else(|| {
            let scope = self.add_netns(&netns.inode.to_string(), true, now, now_unix);
            self.by_cookie.insert(netns.cookie, scope);
            self.heard_of.insert(scope, (netns.inode, now));
            scope
        })
    }

    /// The scopes that have gone since this was last asked, by number.
    pub fn take_gone(&mut self) -> Vec<ScopeId> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.sort_unstable();
        gone
    }

    /// A namespace that only rows have told of, and a walk has found now.
    fn heard(&mut self, inode: u64) -> Option<ScopeId> {
        let (&scope, _) = self.heard_of.iter().find(|(_, (heard, _))| *heard == inode)?;
        self.heard_of.remove(&scope);
        Some(scope)
    }

    fn rename(&mut self, id: ScopeId, label: &str) {
        if let Some(scope) = self.by_id.get_mut(&id)
            && scope.name.netns.as_deref().is_some_and(|netns| netns != label)
        {
            Arc::make_mut(&mut scope.name).netns = Some(label.into());
        }
    }

    /// Namespaces that only rows have told of, and no row any more.
    fn silent(&mut self, now: Duration) -> Vec<ScopeId> {
        let silent = |heard: &Duration| now.saturating_sub(*heard) > SILENCE;
        self.heard_of.extract_if(|_, (_, heard)| silent(heard)).map(|(scope, _)| scope).collect()
    }

    /// Puts another scope under a known handle.
    #[cfg(test)]
    pub(crate) fn replace(&mut self, id: ScopeId, scope: Scope) {
        self.by_id.insert(id, scope);
    }

    pub fn get(&self, id: ScopeId) -> Option<&Scope> {
        self.by_id.get(&id)
    }

    /// Marks a scope as dead; it keeps its name until `forget`.
    pub fn gone(&mut self, id: ScopeId, now: Duration) {
        if let Some(scope) = self.by_id.get_mut(&id) {
            scope.gone = Some(now);
            self.gone.push(id);
        }
    }

    /// Dead scopes since `before` or earlier: their counters go now.
    pub fn dead_since(&self, before: Duration) -> Vec<ScopeId> {
        let mut dead: Vec<ScopeId> = self
            .by_id
            .iter()
            .filter(|(_, scope)| scope.gone.is_some_and(|gone| gone <= before))
            .map(|(&id, _)| id)
            .collect();
        dead.sort_unstable();
        dead
    }

    pub fn forget(&mut self, id: ScopeId) {
        self.by_id.remove(&id);
        self.by_cookie.retain(|_, scope| *scope != id);
        self.owners.forget(id);
    }

    /// What `name(netns)` gives, and people see: the pod as `namespace/pod`, else `netns`.
    pub fn name(&self, id: ScopeId) -> Option<String> {
        Some(self.by_id.get(&id)?.name.to_string())
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests;
