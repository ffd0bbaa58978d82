//! *Who*: the network namespaces of the node, and what they are called on the page.

use std::{collections::HashMap, time::Duration};

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

/// Every scope that lives, or whose series still do.
#[derive(Debug, Default)]
pub struct Scopes {
    by_id: HashMap<ScopeId, Scope>,
    last: ScopeId,
}

impl Scopes {
    /// A new scope under a handle that was never used before.
    pub fn add(&mut self, scope: Scope) -> ScopeId {
        self.last += 1;
        self.by_id.insert(self.last, scope);
        self.last
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
