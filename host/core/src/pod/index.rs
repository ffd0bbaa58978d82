//! All pods of one listing, and the ways to find one.

use super::{Container, Network, Pod};
use std::{collections::HashMap, net::IpAddr, sync::Arc};

/// Pods by what the kernel tells of them.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    all: Vec<Arc<Pod>>,
    by_id: HashMap<String, usize>,
    /// Of several sandboxes of a pod the one that runs.
    by_uid: HashMap<String, usize>,
    by_container: HashMap<String, (usize, usize)>,
    by_ip: HashMap<IpAddr, usize>,
}

impl Pods {
    pub fn new(all: Vec<Arc<Pod>>) -> Self {
        let mut pods = Self { all, ..Self::default() };
        for (at, pod) in pods.all.iter().enumerate() {
            pods.by_id.insert(pod.id.clone(), at);
            let is_newer = |known: &usize| !pods.all[*known].ready || pod.ready;
            if !pod.uid.is_empty() && pods.by_uid.get(&pod.uid).is_none_or(is_newer) {
                pods.by_uid.insert(pod.uid.clone(), at);
            }
            for (index, container) in pod.containers.iter().enumerate() {
                pods.by_container.insert(container.id.clone(), (at, index));
            }
            // The address of one that has ended may be another's by now.
            for ip in pod.ips.iter().filter(|_| pod.ready && pod.network != Network::Host) {
                pods.by_ip.insert(ip.to_canonical(), at);
            }
        }
        pods
    }

    pub fn all(&self) -> &[Arc<Pod>] {
        &self.all
    }

    /// By the runtime's name of its sandbox.
    pub fn with_id(&self, id: &str) -> Option<&Arc<Pod>> {
        self.by_id.get(id).map(|&at| &self.all[at])
    }

    pub fn with_uid(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.by_uid.get(uid).map(|&at| &self.all[at])
    }

    pub fn with_container(&self, id: &str) -> Option<(&Arc<Pod>, &Container)> {
        self.by_container.get(id).map(|&(at, index)| (&self.all[at], &self.all[at].containers[index]))
    }

    /// The pod that has this address for itself.
    pub fn at(&self, ip: IpAddr) -> Option<&Arc<Pod>> {
        self.by_ip.get(&ip.to_canonical()).map(|&at| &self.all[at])
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn pod(id: &str, uid: &str, ready: bool, network: Network, ip: &str) -> Arc<Pod> {
        Arc::new(Pod {
            id: id.into(),
            source: Source::Cri,
            namespace: "shop".into(),
            name: id.into(),
            uid: uid.into(),
            labels: vec![("app".into(), "web".into())],
            annotations: vec![("app".into(), "not this".into()), ("team".into(), "a".into())],
            network,
            created_unix: Default::default(),
            ips: vec![ip.parse().unwrap()],
            ready,
            containers: vec![],
            cgroup: None,
            image: None,
        })
    }

    #[test]
    fn of_a_pod_that_was_made_anew_the_running_sandbox_counts() {
        let own = || Network::Own { path: None, pid: None };
        let old = pod("old", "u", false, own(), "10.0.0.1");
        let new = pod("new", "u", true, own(), "::ffff:10.0.0.1");
        for order in [[&old, &new], [&new, &old]] {
            let pods = Pods::new(order.map(Arc::clone).to_vec());
            assert_eq!(pods.with_uid("u").unwrap().id, "new");
            assert_eq!(pods.at("10.0.0.1".parse().unwrap()).unwrap().id, "new");
            assert_eq!(pods.with_id("old").unwrap().id, "old");
        }
        let pods = Pods::new(vec![pod("agent", "a", true, Network::Host, "10.0.0.9")]);
        assert_eq!(pods.at("10.0.0.9".parse().unwrap()), None, "that is the node's");
        assert_eq!(pods.all()[0].label("app"), Some("web"));
        assert_eq!([pods.all()[0].label("team"), pods.all()[0].label("x")], [Some("a"), None]);
    }
}
