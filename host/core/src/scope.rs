//! *Who*: the network namespaces of the node, and what they are called on the page.

use std::{collections::HashMap, path::PathBuf, time::Duration};

/// An opaque handle, never reused in one run of the host.
pub type ScopeId = u32;

/// One network namespace (later: a pod, a container).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `host`, the name under `ip netns`, or the inode in decimal. None once a pod is known.
    pub netns: Option<String>,
    /// Kubernetes namespace of the pod; empty without one. Empty labels are written out: under `honor_labels` a series without them would
    /// get the agent's own pod.
    pub namespace: String,
    pub pod: String,
    /// When it was first seen, on the host's monotonic clock and since the Unix epoch.
    pub first_seen: Duration,
    pub first_seen_unix: Duration,
    /// When it was found to be no more.
    pub gone: Option<Duration>,
}

impl Scope {
    fn of_netns(label: String, now: Duration, now_unix: Duration) -> Self {
        Self {
            netns: Some(label),
            namespace: String::new(),
            pod: String::new(),
            first_seen: now,
            first_seen_unix: now_unix,
            gone: None,
        }
    }
}

/// A network namespace as a walk over the node found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundNetns {
    /// Of nsfs, as `/proc/PID/ns/net` shows it. May be used again once the namespace is gone.
    pub inode: u64,
    /// Under `ip netns`.
    pub name: Option<String>,
    /// The file that holds it under that name.
    pub path: Option<PathBuf>,
    /// Some processes in it, at most [`WITNESSES`].
    pub pids: Vec<u32>,
    /// Whether it is that of the node's first process.
    pub host: bool,
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

/// What a walk changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// In the order in which they were found.
    pub namespaces: Vec<Namespace>,
    /// Scopes that were there before and are no more, by number.
    pub gone: Vec<ScopeId>,
}

/// Every scope that lives, or whose series still do.
#[derive(Debug, Default)]
pub struct Scopes {
    by_id: HashMap<ScopeId, Scope>,
    /// Living namespaces by inode and label. An inode alone is not enough: a new namespace may have an old one's.
    living: HashMap<(u64, String), ScopeId>,
    last: ScopeId,
}

impl Scopes {
    /// A new scope under a handle that was never used before.
    pub fn add(&mut self, scope: Scope) -> ScopeId {
        self.last += 1;
        self.by_id.insert(self.last, scope);
        self.last
    }

    /// Takes what a walk found: new namespaces get a scope, known ones keep theirs, and those that are not there any more are gone. One
    /// that is seen again later is a new scope. `now` and `now_unix` are [`Scope::first_seen`]'s clocks.
    pub fn observe(&mut self, found: Vec<FoundNetns>, now: Duration, now_unix: Duration) -> Observed {
        let mut before = std::mem::take(&mut self.living);
        let mut namespaces = Vec::with_capacity(found.len());
        for found in found {
            let key = (found.inode, found.label());
            let scope = match (self.living.get(&key), before.remove(&key)) {
                (Some(_), _) => continue, // The walk names each once; a second one would be read twice.
                (None, Some(scope)) => scope,
                (None, None) => self.add(Scope::of_netns(key.1.clone(), now, now_unix)),
            };
            self.living.insert(key, scope);
            let FoundNetns { inode, path, pids, host, .. } = found;
            namespaces.push(Namespace { scope, inode, pids, path, host });
        }
        let mut gone: Vec<ScopeId> = before.into_values().collect();
        gone.sort_unstable();
        for &scope in &gone {
            self.gone(scope, now);
        }
        Observed { namespaces, gone }
    }

    pub fn get(&self, id: ScopeId) -> Option<&Scope> {
        self.by_id.get(&id)
    }

    /// Marks a scope as dead; it keeps its name until `forget`.
    pub fn gone(&mut self, id: ScopeId, now: Duration) {
        if let Some(scope) = self.by_id.get_mut(&id) {
            scope.gone = Some(now);
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
    }

    /// What `name(netns)` gives, and people see: the pod as `namespace/pod`, else `netns`.
    pub fn name(&self, id: ScopeId) -> Option<String> {
        let scope = self.by_id.get(&id)?;
        Some(match &scope.netns {
            Some(netns) => netns.clone(),
            None => format!("{}/{}", scope.namespace, scope.pod),
        })
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(inode: u64, name: Option<&str>) -> FoundNetns {
        FoundNetns { inode, name: name.map(str::to_owned), ..Default::default() }
    }

    fn observe(scopes: &mut Scopes, found: &[FoundNetns], now: u64) -> (Vec<String>, Vec<ScopeId>) {
        let now = Duration::from_secs(now);
        let observed = scopes.observe(found.to_vec(), now, now * 1000);
        (
            observed.namespaces.iter().map(|n| format!("{}={}", n.scope, scopes.name(n.scope).unwrap())).collect(),
            observed.gone,
        )
    }

    #[test]
    fn a_namespace_is_called_host_or_by_its_name_or_inode() {
        let mut scopes = Scopes::default();
        let host = FoundNetns { host: true, ..found(10, Some("shown-too")) };
        let (labels, _) =
            observe(&mut scopes, &[host, found(11, Some("blue")), found(12, None), found(13, Some("host"))], 1);
        assert_eq!(labels, ["1=host", "2=blue", "3=12", "4=13"]);
    }

    #[test]
    fn a_scope_lives_as_long_as_its_namespace_is_seen() {
        let mut scopes = Scopes::default();
        let (a, b) = (found(11, Some("a")), found(12, Some("b")));
        assert_eq!(observe(&mut scopes, &[a.clone(), b.clone()], 1), (vec!["1=a".into(), "2=b".into()], vec![]));
        assert_eq!(observe(&mut scopes, &[b.clone(), a.clone()], 2), (vec!["2=b".into(), "1=a".into()], vec![]));
        assert_eq!(observe(&mut scopes, std::slice::from_ref(&b), 3), (vec!["2=b".into()], vec![1]));
        assert_eq!(scopes.get(1).and_then(|scope| scope.gone), Some(Duration::from_secs(3)));
        assert_eq!(scopes.dead_since(Duration::from_secs(3)), [1]);
        assert_eq!(observe(&mut scopes, &[b], 4), (vec!["2=b".into()], vec![]), "gone is said once");
        assert_eq!(observe(&mut scopes, &[a], 5), (vec!["3=a".into()], vec![2]), "seen again: a new scope");
        assert_eq!(scopes.get(3).map(|scope| scope.first_seen_unix), Some(Duration::from_secs(5000)));
    }

    #[test]
    fn rule_29_a_reused_inode_under_another_name_is_a_new_scope() {
        let mut scopes = Scopes::default();
        observe(&mut scopes, &[found(11, Some("a"))], 1);
        assert_eq!(observe(&mut scopes, &[found(11, Some("b"))], 2), (vec!["2=b".into()], vec![1]));
    }

    #[test]
    fn a_namespace_that_is_named_twice_is_one() {
        let mut scopes = Scopes::default();
        assert_eq!(observe(&mut scopes, &[found(11, None), found(11, None)], 1), (vec!["1=11".into()], vec![]));
    }
}
