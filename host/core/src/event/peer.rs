//! Both ends: the pod at the other address of an event.

use super::FieldValue;
use crate::{
    pod::Pod,
    scope::{ScopeId, Scopes},
};
use std::{net::IpAddr, sync::Arc};

/// A pod on this node, or a container where there is no Kubernetes; what does not apply is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub namespace: Arc<str>,
    pub pod: Arc<str>,
    pub container: Arc<str>,
}

/// The names of its parts in every form of an event.
pub const NAMES: [&str; 3] = ["peer_namespace", "peer_pod", "peer_container"];

/// The fields that hold both ends' addresses: of a packet source and destination, of a socket its own and its peer's.
const ENDS: [[&str; 2]; 2] = [["laddr", "raddr"], ["saddr", "daddr"]];

impl Peer {
    /// Who is at the other end of an event of `scope`. Where neither address is the scope's own it is whose address is a pod's; of two the
    /// destination's. None if the probe itself tells of a peer.
    pub(super) fn of(
        fields: &[(Arc<str>, FieldValue)],
        scope: Option<ScopeId>,
        unix_nanos: u64,
        scopes: &Scopes,
    ) -> Option<Self> {
        if scopes.pods().all().is_empty() || fields.iter().any(|(name, _)| NAMES.contains(&&**name)) {
            return None;
        }
        let own = scope.and_then(|scope| scopes.get(scope)?.pod.as_deref());
        let pod = ENDS.iter().find_map(|names| other_end(names.map(|name| address(fields, name)), own, scopes))?;
        // An address goes from one pod to the next: this one did not have it yet.
        if pod.created_unix.as_nanos() > u128::from(unix_nanos) {
            return None;
        }
        let container = pod.containers.first().filter(|_| pod.name.is_empty());
        let container = container.map_or("", |container| container.name.as_str()).into();
        Some(Self { namespace: pod.namespace.as_str().into(), pod: pod.name.as_str().into(), container })
    }

    /// Names and values of what it has.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, &Arc<str>)> {
        let parts = NAMES.into_iter().zip([&self.namespace, &self.pod, &self.container]);
        parts.filter(|(_, value)| !value.is_empty())
    }
}

fn address(fields: &[(Arc<str>, FieldValue)], name: &str) -> Option<IpAddr> {
    fields.iter().find_map(|(have, value)| match value {
        FieldValue::Address(address) if **have == *name => Some(*address),
        _ => None,
    })
}

fn other_end<'s>(ends: [Option<IpAddr>; 2], own: Option<&Pod>, scopes: &'s Scopes) -> Option<&'s Arc<Pod>> {
    let is_own = |end: &IpAddr| own.is_some_and(|pod| pod.ips.contains(&end.to_canonical()));
    let pod = |end: IpAddr| scopes.pod_at(end).filter(|pod| own.is_none_or(|own| own.id != pod.id));
    let [first, second] = ends.map(|end| end.filter(|end| !is_own(end)).and_then(pod));
    second.or(first)
}
