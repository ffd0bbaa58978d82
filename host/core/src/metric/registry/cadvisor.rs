//! Who a series is of as cAdvisor in a kubelet tells it.
//!
//! There the network belongs to the pod's sandbox; its containers have none of it. A sandbox is told by the runtime's labels, and these differ:
//! containerd's has no container's name, that of CRI-O and cri-dockerd is `POD`.

use crate::{
    metric::exposition::push_label,
    pod::{Pod, cgroup::of_runtime},
    scope::{Scope, ScopeId, Scopes},
};
use std::borrow::Cow;

/// The label by which a kubelet, and some runtimes for their sandboxes, tell the container's name.
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// The labels, in the order of the page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labels<'s> {
    container: &'s str,
    id: Cow<'s, str>,
    image: &'s str,
    name: &'s str,
    namespace: &'s str,
    pod: &'s str,
}

impl<'s> Labels<'s> {
    /// None for whomever cAdvisor has no network of: namespaces without a pod, and containers in one of their pod's.
    pub fn of(scope: &'s Scope) -> Option<Self> {
        Self::told(scope.name.netns.as_deref(), &scope.name.container, scope.pod.as_deref())
    }

    fn told(netns: Option<&str>, container: &str, pod: Option<&'s Pod>) -> Option<Self> {
        match (pod, netns) {
            (Some(pod), _) if pod.name.is_empty() => Some(Self::without_kubernetes(pod)),
            (Some(pod), _) if container.is_empty() => Some(Self::of_sandbox(pod)),
            // The node as a whole is the root of its cgroups.
            (None, Some("host")) => Some(Self { id: "/".into(), ..Self::default() }),
            _ => None,
        }
    }

    fn of_sandbox(pod: &'s Pod) -> Self {
        Self {
            container: pod.label(CONTAINER_NAME).unwrap_or_default(),
            id: pod.cgroup.as_deref().map(of_runtime).unwrap_or_default(),
            image: pod.image.as_deref().unwrap_or_default(),
            name: &pod.id,
            namespace: &pod.namespace,
            pod: &pod.name,
        }
    }

    /// A container of the Docker engine has a network of its own.
    fn without_kubernetes(pod: &'s Pod) -> Self {
        let Some(container) = pod.containers.first() else { return Self { name: &pod.id, ..Self::default() } };
        let cgroup = container.cgroup.as_deref().or(pod.cgroup.as_deref());
        Self {
            id: cgroup.map(of_runtime).unwrap_or_default(),
            image: &container.image,
            name: &container.name,
            ..Self::default()
        }
    }

    pub fn render(&self, text: &mut String) {
        for (name, value) in [
            ("container", self.container),
            ("id", &self.id),
            ("image", self.image),
            ("name", self.name),
            ("namespace", self.namespace),
            ("pod", self.pod),
        ] {
            push_label(text, name, value);
        }
    }
}

/// Whether a scope's series are on the page in this form.
pub(super) fn shows(scope: ScopeId, scopes: &Scopes) -> bool {
    scopes.get(scope).is_some_and(|scope| Labels::of(scope).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Container, Network, Source};

    fn pod(name: &str) -> Pod {
        let text = |text: &str| text.to_owned();
        Pod {
            id: text("3c9d"),
            source: Source::Cri,
            namespace: text("shop"),
            name: text(name),
            uid: text("1f"),
            labels: vec![(text("app"), text("web"))],
            annotations: vec![],
            network: Network::Own { path: None, pid: None },
            ips: vec![],
            ready: true,
            created_unix: std::time::Duration::ZERO,
            containers: vec![Container {
                id: text("77aa"),
                name: text("front"),
                image: text("front:1"),
                pid: None,
                cgroup: Some(text("/docker/77aa")),
                running: true,
            }],
            cgroup: Some(text("kubepods-pod1f.slice:cri-containerd:3c9d")),
            image: Some(text("pause:3.9")),
        }
    }

    fn shown(netns: Option<&str>, container: &str, pod: Option<&Pod>) -> Option<String> {
        let mut text = String::new();
        Labels::told(netns, container, pod)?.render(&mut text);
        Some(text)
    }

    #[test]
    fn rule_13_a_pod_is_its_sandbox_the_host_the_root_and_nobody_else_is_shown() {
        let containerd = pod("web-1");
        let mut crio = containerd.clone();
        crio.labels.push((CONTAINER_NAME.into(), "POD".into()));
        let bare = Pod { cgroup: None, image: None, ..containerd.clone() };
        for (netns, container, pod, want) in [
            (
                None,
                "",
                Some(&containerd),
                Some(
                    r#"container="",id="/kubepods.slice/kubepods-pod1f.slice/cri-containerd-3c9d.scope",image="pause:3.9",name="3c9d",namespace="shop",pod="web-1""#,
                ),
            ),
            (
                None,
                "",
                Some(&crio),
                Some(
                    r#"container="POD",id="/kubepods.slice/kubepods-pod1f.slice/cri-containerd-3c9d.scope",image="pause:3.9",name="3c9d",namespace="shop",pod="web-1""#,
                ),
            ),
            (None, "", Some(&bare), Some(r#"container="",id="",image="",name="3c9d",namespace="shop",pod="web-1""#)),
            (Some("host"), "", None, Some(r#"container="",id="/",image="",name="",namespace="",pod="""#)),
            // The network is the sandbox's, not the container's.
            (None, "front", Some(&containerd), None),
            (Some("host"), "front", Some(&containerd), None),
            (Some("4026531840"), "", None, None),
            (None, "", None, None),
            (
                None,
                "front",
                Some(&pod("")),
                Some(r#"container="",id="/docker/77aa",image="front:1",name="front",namespace="",pod="""#),
            ),
        ] {
            assert_eq!(shown(netns, container, pod).as_deref(), want);
        }
    }
}
