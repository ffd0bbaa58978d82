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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pod::{Container, Network, Source, index::Pods},
        scope::Scope,
    };
    use std::time::Duration;

    const BORN: u64 = 1000;

    fn pod(name: &str, ip: &str, network: Network) -> Arc<Pod> {
        let container = Container {
            id: format!("{name}.c"),
            name: "c".into(),
            image: String::new(),
            pid: None,
            cgroup: None,
            running: true,
        };
        Arc::new(Pod {
            id: format!("id-{name}"),
            source: Source::Cri,
            namespace: if name.is_empty() { "" } else { "shop" }.into(),
            name: name.into(),
            uid: String::new(),
            labels: vec![],
            annotations: vec![],
            network,
            ips: vec![ip.parse().unwrap()],
            created_unix: Duration::from_nanos(BORN),
            ready: true,
            containers: vec![container],
            cgroup: None,
            image: None,
        })
    }

    /// The other end of an event with these fields, of the pod `web` (scope 1), of its container (2) or of the host (3).
    fn peer(fields: &[(&str, &str)], scope: ScopeId, unix_nanos: u64) -> Option<String> {
        let own = || Network::Own { path: None, pid: None };
        let web = pod("web", "10.0.0.1", own());
        let all = vec![
            web.clone(),
            pod("db", "10.0.0.2", own()),
            pod("", "10.0.0.3", own()),
            pod("agent", "10.0.0.9", Network::Host),
        ];
        let mut scopes = Scopes::default();
        for pod in [Some(web.clone()), Some(web), None] {
            scopes.add(Scope { pod, ..Scope::default() });
        }
        scopes.learn(Arc::new(Pods::new(all)), Duration::ZERO);
        let field = |(name, text): &(&str, &str)| {
            let value = text.parse().map_or(FieldValue::Text((*text).into()), FieldValue::Address);
            ((*name).into(), value)
        };
        let fields: Vec<_> = fields.iter().map(field).collect();
        let peer = Peer::of(&fields, Some(scope), unix_nanos, &scopes)?;
        Some(peer.parts().map(|(name, value)| format!("{name}={value} ")).collect())
    }

    #[test]
    fn the_other_end_is_whose_address_is_not_its_own() {
        let db = Some("peer_namespace=shop peer_pod=db ");
        let web = Some("peer_namespace=shop peer_pod=web ");
        for (fields, scope, want) in [
            (&[("saddr", "10.0.0.1"), ("daddr", "10.0.0.2")][..], 1, db),
            (&[("saddr", "10.0.0.2"), ("daddr", "10.0.0.1")], 1, db),
            (&[("saddr", "10.0.0.2"), ("daddr", "10.0.0.1")], 2, db),
            (&[("laddr", "10.0.0.1"), ("raddr", "10.0.0.2")], 1, db),
            (&[("saddr", "::ffff:10.0.0.1"), ("daddr", "::ffff:10.0.0.2")], 1, db),
            // Behind a service's address it is nobody's.
            (&[("saddr", "10.0.0.1"), ("daddr", "10.96.0.1")], 1, None),
            (&[("saddr", "10.0.0.1"), ("daddr", "10.0.0.1")], 1, None),
            (&[("saddr", "192.0.2.1"), ("daddr", "10.0.0.1")], 3, web),
            (&[("saddr", "10.0.0.1"), ("daddr", "192.0.2.1")], 3, web),
            (&[("saddr", "10.0.0.1"), ("daddr", "10.0.0.2")], 3, db),
            // The node's own address is no pod's.
            (&[("saddr", "10.0.0.1"), ("daddr", "10.0.0.9")], 1, None),
            (&[("saddr", "10.0.0.1"), ("daddr", "10.0.0.3")], 1, Some("peer_container=c ")),
            (&[("daddr", "10.0.0.2")], 1, db),
            (&[("address", "10.0.0.2")], 1, None),
            // The probe tells of one itself.
            (&[("daddr", "10.0.0.2"), ("peer_pod", "mine")], 1, None),
        ] {
            assert_eq!(peer(fields, scope, BORN).as_deref(), want, "{fields:?} of {scope}");
        }
    }

    #[test]
    fn an_address_that_a_pod_was_given_later_is_not_named() {
        let fields = [("saddr", "10.0.0.1"), ("daddr", "10.0.0.2")];
        assert!(peer(&fields, 1, BORN).is_some());
        assert_eq!(peer(&fields, 1, BORN - 1), None);
    }
}
