//! Rule 6: new scopes wait for their names, so that a series never changes from `netns` to `pod`.

use super::{Name, PATIENCE, Scope, ScopeId, Scopes};
use crate::pod::{By, Network, Pod, index::Pods};
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

impl Scopes {
    /// From now on somebody is asked for pods.
    pub fn expect_pods(&mut self) {
        self.names = true;
    }

    /// Whether there may be pods.
    pub fn expects_pods(&self) -> bool {
        self.names || !self.pods.all().is_empty()
    }

    /// What scopes have besides: names of labels, each with the key of the pod's label or annotation that it has its value from.
    pub fn label_pods(&mut self, labels: &[(String, String)]) {
        self.labels = labels.iter().map(|(name, key)| (name.as_str().into(), key.clone())).collect();
    }

    /// Takes a new listing. Namespaces get their pods when a walk finds them; containers at once.
    pub fn learn(&mut self, pods: Arc<Pods>, now: Duration) {
        self.pods = pods;
        self.learn_containers(now);
    }

    /// The pods of the last listing.
    pub fn pods(&self) -> &Arc<Pods> {
        &self.pods
    }

    /// The pods that have a namespace of their own which no scope has yet: a walk may find it.
    pub fn unbound(&self) -> Vec<Arc<Pod>> {
        let bound = self.bound();
        let is_unbound = |pod: &&Arc<Pod>| {
            matches!(pod.network, Network::Own { .. }) && pod.ready && !bound.contains_key(pod.id.as_str())
        };
        self.pods.all().iter().filter(is_unbound).cloned().collect()
    }

    /// The living namespaces: scope, inode and what is known.
    pub fn living(&self) -> impl Iterator<Item = (ScopeId, u64, &Scope)> {
        self.living.iter().filter_map(|((inode, _), id)| Some((*id, *inode, self.by_id.get(id)?)))
    }

    /// The living namespaces that pods have for their own, by the runtime's name of the sandbox.
    pub fn bound(&self) -> HashMap<&str, ScopeId> {
        self.living().filter_map(|(id, _, scope)| Some((scope.pod.as_ref()?.id.as_str(), id))).collect()
    }

    /// Inode and scope of a pod's own namespace.
    pub fn of_pod(&self, id: &str) -> Option<(u64, &Scope)> {
        let is_it = |scope: &Scope| scope.pod.as_ref().is_some_and(|pod| pod.id == id);
        self.living().find(|(.., scope)| is_it(scope)).map(|(_, inode, scope)| (inode, scope))
    }

    /// The pod that has this address for itself.
    pub fn pod_at(&self, ip: IpAddr) -> Option<&Arc<Pod>> {
        self.pods.at(ip)
    }

    pub(super) fn pod_of(&self, scope: ScopeId) -> Option<&Arc<Pod>> {
        self.by_id.get(&scope)?.pod.as_ref()
    }

    /// A namespace was found to be this pod's own. Its scope is another one if it goes by another name already.
    pub(super) fn belongs(
        &mut self,
        id: ScopeId,
        pod: &Arc<Pod>,
        by: By,
        now: Duration,
        now_unix: Duration,
    ) -> ScopeId {
        let (named, container) = (self.names_of(pod), pod.containers.first());
        // Without Kubernetes the container is all that there is.
        let container = container.filter(|_| pod.name.is_empty()).map(|container| container.name.as_str());
        let name = Arc::new(Name { container: container.unwrap_or_default().into(), ..named });
        let Some(scope) = self.by_id.get_mut(&id) else { return id };
        match &scope.pod {
            Some(known) if known.id == pod.id => {
                scope.pod = Some(pod.clone());
                id
            }
            None if scope.held.is_some() => {
                (scope.name, scope.pod, scope.by) = (name, Some(pod.clone()), Some(by));
                self.settle(id);
                id
            }
            _ => {
                self.gone(id, now);
                let (first_seen, first_seen_unix) = (now, now_unix);
                let (pod, by) = (Some(pod.clone()), Some(by));
                self.add(Scope { name, pod, by, first_seen, first_seen_unix, ..Scope::default() })
            }
        }
    }

    /// What a pod is called, without a container.
    pub(super) fn names_of(&self, pod: &Pod) -> Name {
        let value = |(name, key): &(Arc<str>, String)| (name.clone(), pod.label(key).unwrap_or_default().into());
        let labels = self.labels.iter().map(value).collect();
        Name {
            netns: None,
            namespace: pod.namespace.as_str().into(),
            pod: pod.name.as_str().into(),
            container: "".into(),
            labels,
        }
    }

    /// The configured labels of who is no pod.
    pub(super) fn no_labels(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.labels.iter().map(|(name, _)| (name.clone(), "".into())).collect()
    }

    /// Lets a scope go by the name that it has now.
    pub(super) fn settle(&mut self, id: ScopeId) {
        if let Some(scope) = self.by_id.get_mut(&id)
            && scope.held.take().is_some()
        {
            self.settled.push(id);
        }
    }

    /// Scopes that have waited long enough go on without a name.
    pub fn give_up(&mut self, now: Duration) {
        let is_late = |scope: &Scope| scope.held.is_some_and(|until| until <= now);
        let mut late: Vec<ScopeId> = self.by_id.iter().filter(|(_, scope)| is_late(scope)).map(|(&id, _)| id).collect();
        late.sort_unstable();
        for id in late {
            self.give_up_container(id, now);
            self.settle(id);
        }
    }

    /// The scopes whose names are final since this was last asked.
    pub fn take_settled(&mut self) -> Vec<ScopeId> {
        std::mem::take(&mut self.settled)
    }

    /// How long until a scope has waited long enough; None: nobody waits.
    pub fn next_settling(&self, now: Duration) -> Option<Duration> {
        let until = self.by_id.values().filter_map(|scope| scope.held).min()?;
        Some(until.saturating_sub(now).min(PATIENCE))
    }

    /// The scope that was added last.
    pub fn newest(&self) -> ScopeId {
        self.last
    }

    /// Whether a scope that was added after `newest` waits for its name.
    pub fn waits_since(&self, newest: ScopeId) -> bool {
        (newest + 1..=self.last).any(|id| self.is_held(id))
    }

    /// Whether the scope's name is not final yet.
    pub fn is_held(&self, id: ScopeId) -> bool {
        self.by_id.get(&id).is_some_and(|scope| scope.held.is_some())
    }
}
