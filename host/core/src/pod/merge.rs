//! What several sources tell, as one listing.

use super::{Network, Pod};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The pods of the CRI, and of Docker's those that the CRI does not tell too: where cri-dockerd runs pods on Docker, both tell them. What the
/// CRI leaves open of those (cri-dockerd tells neither a sandbox's process nor its network namespace) is from Docker.
pub fn merge(cri: &[Arc<Pod>], docker: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    if cri.is_empty() || docker.is_empty() {
        return [cri, docker].concat();
    }
    let by_id: HashMap<&str, &Arc<Pod>> = docker.iter().map(|pod| (pod.id.as_str(), pod)).collect();
    let mut merged: Vec<Arc<Pod>> = cri
        .iter()
        .map(|pod| by_id.get(pod.id.as_str()).map_or_else(|| pod.clone(), |other| fill(pod, other)))
        .collect();
    let told: HashSet<&str> = cri.iter().flat_map(|pod| ids(pod)).collect();
    merged.extend(docker.iter().filter(|pod| !ids(pod).any(|id| told.contains(id))).cloned());
    merged
}

fn ids(pod: &Pod) -> impl Iterator<Item = &str> {
    std::iter::once(pod.id.as_str()).chain(pod.containers.iter().map(|container| container.id.as_str()))
}

fn fill(pod: &Arc<Pod>, other: &Pod) -> Arc<Pod> {
    let no_network = pod.network == Network::Own { path: None, pid: None } && pod.network != other.network;
    let unknown = |at: usize| pod.containers[at].pid.is_none() || pod.containers[at].cgroup.is_none();
    let no_sandbox = pod.cgroup.is_none() || pod.image.is_none();
    if !no_network && !no_sandbox && !(0..pod.containers.len()).any(unknown) {
        return pod.clone();
    }
    let mut filled = (**pod).clone();
    if no_network {
        filled.network = other.network.clone();
    }
    filled.cgroup = filled.cgroup.take().or_else(|| other.cgroup.clone());
    filled.image = filled.image.take().or_else(|| other.image.clone());
    for container in &mut filled.containers {
        if let Some(same) = other.containers.iter().find(|one| one.id == container.id) {
            container.pid = container.pid.or(same.pid.filter(|_| container.running));
            container.cgroup = container.cgroup.take().or_else(|| same.cgroup.clone());
        }
    }
    if filled == **pod { pod.clone() } else { Arc::new(filled) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Container, Source};

    fn pod(source: Source, id: &str, containers: &[&str]) -> Pod {
        let container = |id: &&str| Container {
            id: (*id).to_owned(),
            name: "c".to_owned(),
            image: String::new(),
            pid: None,
            cgroup: None,
            running: true,
        };
        Pod {
            created_unix: std::time::Duration::ZERO,
            id: id.to_owned(),
            source,
            namespace: String::new(),
            name: String::new(),
            uid: String::new(),
            labels: Vec::new(),
            annotations: Vec::new(),
            network: Network::Own { path: None, pid: None },
            ips: Vec::new(),
            ready: true,
            containers: containers.iter().map(container).collect(),
            cgroup: None,
            image: None,
        }
    }

    #[test]
    fn of_what_both_tell_the_cri_is_believed_and_docker_fills_in() {
        let cri = pod(Source::Cri, "s", &["a", "b"]);
        let mut same = pod(Source::Docker, "s", &["b"]);
        same.network = Network::Own { path: Some("/n".into()), pid: Some(7) };
        same.containers[0].pid = Some(9);
        let docker =
            [Arc::new(same), Arc::new(pod(Source::Docker, "a", &["a"])), Arc::new(pod(Source::Docker, "x", &["x"]))];
        let merged = merge(&[Arc::new(cri)], &docker);
        let told: Vec<_> = merged.iter().map(|pod| (pod.source, pod.id.as_str())).collect();
        assert_eq!(told, [(Source::Cri, "s"), (Source::Docker, "x")], "a container of the CRI's is no pod of Docker's");
        assert_eq!(merged[0].network, Network::Own { path: Some("/n".into()), pid: Some(7) });
        assert_eq!((merged[0].containers[0].pid, merged[0].containers[1].pid), (None, Some(9)));
    }

    #[test]
    fn what_is_complete_is_not_copied() {
        let mut full = pod(Source::Cri, "s", &[]);
        full.network = Network::Host;
        let full = Arc::new(full);
        let merged = merge(std::slice::from_ref(&full), &[Arc::new(pod(Source::Docker, "s", &[]))]);
        assert!(merged.len() == 1 && Arc::ptr_eq(&merged[0], &full));
    }
}
