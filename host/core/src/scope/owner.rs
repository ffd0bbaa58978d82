//! Whose a socket is: the container that its cgroup belongs to.

use super::{Name, PATIENCE, Scope, ScopeId, Scopes};
use crate::pod::{By, Network, Pod, cgroup::Member};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Cgroups that are remembered; beyond, all are forgotten and looked at again.
const MAX_CGROUPS: usize = 65_536;

/// Containers, and pods in the node's namespace, that rows came from.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// By number; None: it belongs to no container.
    cgroups: HashMap<u64, Option<Member>>,
    /// By the namespace's scope and the id of the container or, where only the pod is known, its uid.
    scopes: HashMap<(ScopeId, String), Owner>,
}

#[derive(Debug)]
struct Owner {
    scope: ScopeId,
    member: Member,
}

impl Owners {
    pub fn forget(&mut self, id: ScopeId) {
        self.scopes.retain(|(netns, _), owner| *netns != id && owner.scope != id);
    }
}

/// Who is found behind a cgroup.
enum Found {
    /// The container of this name of a pod; without a name: the pod itself, or its sandbox. And whether it runs.
    Container(Arc<Pod>, Option<String>, bool),
    /// No runtime has told of it.
    Unknown,
}

impl Scopes {
    /// Whether it is known who is behind a cgroup, or that nobody is.
    pub fn knows_cgroup(&self, cgroup: u64) -> bool {
        self.owners.cgroups.contains_key(&cgroup)
    }

    /// Takes what a walk over the cgroups found. `asked` is the one that it was made for: not found, it belongs to no container.
    pub fn learn_cgroups(&mut self, found: Vec<(u64, Member)>, asked: u64) {
        let cgroups = &mut self.owners.cgroups;
        if cgroups.len() + found.len() >= MAX_CGROUPS {
            cgroups.clear();
        }
        cgroups.extend(found.into_iter().take(MAX_CGROUPS).map(|(number, member)| (number, Some(member))));
        cgroups.entry(asked).or_insert(None);
    }

    /// The scope of a socket in a namespace, by the number of its cgroup: the container's, a pod's in the node's namespace, else that of the
    /// namespace. And whether a runtime might tell more if it was asked again.
    pub fn of_owner(&mut self, netns: ScopeId, cgroup: u64, now: Duration, now_unix: Duration) -> (ScopeId, bool) {
        let Some(Some(member)) = self.owners.cgroups.get(&cgroup) else { return (netns, false) };
        let Some(id) = member.container.as_ref().or(member.pod_uid.as_ref()) else { return (netns, false) };
        let key = (netns, id.clone());
        if let Some(owner) = self.owners.scopes.get(&key) {
            return (owner.scope, false);
        }
        let member = member.clone();
        let (scope, unknown) = match self.find(netns, &member) {
            Some(Found::Container(pod, container, _)) => {
                let name = self.owner_name(&pod, container.as_deref());
                let scope = Scope { name, pod: Some(pod), by: Some(By::Cgroup), ..Scope::default() };
                (self.add(Scope { first_seen: now, first_seen_unix: now_unix, ..scope }), false)
            }
            None => (netns, false),
            Some(Found::Unknown) if !self.names => return (netns, false),
            Some(Found::Unknown) => {
                let name = self.by_id.get(&netns).map(|scope| scope.name.clone()).unwrap_or_default();
                let pod = self.pod_of(netns).cloned();
                let scope = Scope { name, pod, held: Some(now + PATIENCE), ..Scope::default() };
                (self.add(Scope { first_seen: now, first_seen_unix: now_unix, ..scope }), true)
            }
        };
        self.owners.scopes.insert(key, Owner { scope, member });
        (scope, unknown)
    }

    fn owner_name(&self, pod: &Pod, container: Option<&str>) -> Arc<Name> {
        Arc::new(Name { container: container.unwrap_or_default().into(), ..self.names_of(pod) })
    }

    /// Who is behind a cgroup, if it is somebody else than the namespace itself.
    fn find(&self, netns: ScopeId, member: &Member) -> Option<Found> {
        let of_container = member.container.as_deref().and_then(|id| self.pods.with_container(id));
        let pod_of = |id: &String| self.pods.with_id(id);
        let (pod, container, runs) = match of_container {
            Some((pod, container)) => (pod, Some(container.name.clone()), container.running),
            None => match member.container.as_ref().map_or_else(|| self.uid(member), pod_of) {
                Some(pod) => (pod, None, pod.ready),
                None => return Some(Found::Unknown),
            },
        };
        let own = self.pod_of(netns).map(|pod| pod.id.as_str());
        let is_here = match &pod.network {
            Network::Host => self.host == Some(netns),
            Network::Own { .. } => own == Some(pod.id.as_str()),
            Network::Of(other) => own == Some(other.as_str()),
        };
        // Without Kubernetes the namespace goes by its container's name already.
        let is_netns = matches!(pod.network, Network::Own { .. }) && (container.is_none() || pod.name.is_empty());
        (is_here && !is_netns).then(|| Found::Container(pod.clone(), container, runs))
    }

    fn uid(&self, member: &Member) -> Option<&Arc<Pod>> {
        self.pods.with_uid(member.pod_uid.as_deref()?)
    }

    /// A new listing: who was waited for is known, or has ended.
    pub(super) fn learn_containers(&mut self, now: Duration) {
        let mut owners = std::mem::take(&mut self.owners.scopes);
        owners.retain(|(netns, _), owner| self.learn_owner(*netns, owner, now));
        self.owners.scopes = owners;
    }

    /// Tells whether to remember it: who is not is looked for again at the next row.
    fn learn_owner(&mut self, netns: ScopeId, owner: &Owner, now: Duration) -> bool {
        let found = self.find(netns, &owner.member);
        if owner.scope == netns {
            // It went on as its namespace. When it can go on as itself, it is another scope.
            return !matches!(found, Some(Found::Container(..)));
        }
        let Some(Scope { held, gone, .. }) = self.by_id.get(&owner.scope) else { return false };
        match (found, held.is_some(), gone.is_some()) {
            (Some(Found::Container(pod, container, _)), true, _) => {
                let name = self.owner_name(&pod, container.as_deref());
                self.name_held(owner.scope, name, pod);
            }
            (Some(Found::Container(.., true)), _, true) => return false,
            (Some(Found::Container(.., true)), ..) | (_, true, _) | (_, _, true) => {}
            (Some(Found::Container(.., false) | Found::Unknown) | None, ..) => self.gone(owner.scope, now),
        }
        true
    }

    fn name_held(&mut self, id: ScopeId, name: Arc<Name>, pod: Arc<Pod>) {
        if let Some(scope) = self.by_id.get_mut(&id) {
            (scope.name, scope.pod, scope.by) = (name, Some(pod), Some(By::Cgroup));
        }
        self.settle(id);
    }

    /// A container that nobody has named counts as its namespace from now on.
    pub(super) fn give_up_container(&mut self, id: ScopeId, now: Duration) {
        let Some(((netns, _), owner)) = self.owners.scopes.iter_mut().find(|(_, owner)| owner.scope == id) else {
            return;
        };
        let netns = *netns;
        owner.scope = netns;
        let name = self.by_id.get(&netns).map(|scope| scope.name.clone());
        if let (Some(scope), Some(name)) = (self.by_id.get_mut(&id), name) {
            scope.name = name;
        }
        self.gone(id, now);
    }
}
