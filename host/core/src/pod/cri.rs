//! What a runtime tells of a sandbox or a container beyond the messages of the Container Runtime Interface: `info["info"]` of a verbose
//! status, JSON of the runtime's own making.
//!
//! containerd writes `SandboxInfo` and `ContainerInfo` (internal/cri/types, before 2.0 pkg/cri/server), CRI-O has them in
//! server/sandbox_status.go and server/container_status.go, cri-dockerd only for containers, with little in it. All of them have `pid`, the
//! first two the OCI runtime's configuration as `runtimeSpec`.

use super::Network;
use serde::Deserialize;
use std::path::PathBuf;

/// The entry of `info` that holds it.
pub const KEY: &str = "info";

/// What is of use in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// None: it does not run, or has no process (CRI-O makes sandboxes without).
    pub pid: Option<u32>,
    /// The file that holds its network namespace.
    pub netns: Option<PathBuf>,
    /// Whether its network namespace is not that of the node. None: not told.
    pub own_network: Option<bool>,
    /// `linux.cgroupsPath` of the OCI runtime's configuration.
    pub cgroup: Option<String>,
    /// Of a sandbox; containers have theirs in their status.
    pub image: Option<String>,
}

/// Reads `info["info"]`.
///
/// # Errors
///
/// If it is no JSON, or of another shape.
pub fn told(info: &[u8]) -> Result<Told, serde_json::Error> {
    let info: Info = serde_json::from_slice(info)?;
    let linux = info.spec.and_then(|spec| spec.linux).unwrap_or_default();
    let network = linux.namespaces.as_ref().map(|all| all.iter().find(|one| one.kind == "network"));
    let named = network.flatten().and_then(|network| network.path.clone());
    // The path of a sandbox that was not made by the OCI runtime.
    let kept = info.metadata.and_then(|metadata| metadata.metadata).and_then(|metadata| metadata.netns);
    let netns = named.or(kept).filter(|path| !path.as_os_str().is_empty() && info.closed != Some(true));
    Ok(Told {
        pid: info.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0),
        own_network: if netns.is_some() { Some(true) } else { network.map(|network| network.is_some()) },
        netns,
        cgroup: linux.cgroup.filter(|cgroup| !cgroup.is_empty()),
        image: info.image.filter(|image| !image.is_empty()),
    })
}

/// In which network namespace a sandbox is. `node`: whether its status says that it is the node's.
pub fn network(node: Option<bool>, told: &Told) -> Network {
    if node.unwrap_or(told.own_network == Some(false)) {
        Network::Host
    } else {
        Network::Own { path: told.netns.clone(), pid: told.pid }
    }
}

/// Whether a runtime's events may be followed beside the kubelet.
///
/// Before containerd 2.0 (its pull request 9661) and CRI-O 1.28 (6838) all who follow take their events out of one queue: what we get, the
/// kubelet misses. Of other runtimes that is not known.
pub fn may_follow(name: &str, version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match name {
        "containerd" => version >= (2, 0),
        "cri-o" => version >= (1, 28),
        _ => false,
    }
}

#[derive(Deserialize)]
struct Info {
    pid: Option<i64>,
    image: Option<String>,
    #[serde(rename = "runtimeSpec")]
    spec: Option<Spec>,
    #[serde(rename = "sandboxMetadata")]
    metadata: Option<Versioned>,
    #[serde(rename = "netNamespaceClosed")]
    closed: Option<bool>,
}

#[derive(Deserialize)]
struct Spec {
    linux: Option<Linux>,
}

#[derive(Default, Deserialize)]
struct Linux {
    #[serde(rename = "cgroupsPath")]
    cgroup: Option<String>,
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type", default)]
    kind: String,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Versioned {
    #[serde(rename = "Metadata")]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "NetNSPath")]
    netns: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "575955ce50742ece8f594c5aa0e923e511c3c0168ee9757dfe71c684fc37efe4";

    fn sandbox(pid: Option<u32>, netns: Option<&str>, own: Option<bool>, cgroup: &str) -> Told {
        let cgroup = cgroup.replace("ID", ID);
        Told { pid, netns: netns.map(PathBuf::from), own_network: own, cgroup: Some(cgroup), ..Told::default() }
    }

    #[test]
    fn sandboxes_and_containers_as_the_runtimes_tell_them() {
        let cni = Some("/var/run/netns/cni-bec439b6-60f9-1c4f-e6cd-20ed16379e8b");
        let crio = Some("/var/run/netns/5f4d2c1a-6c51-4d8e-9b5c-1f6d9a3e7b20");
        let kubepods = "/kubepods/besteffort/pod6dac0cb3-57dc-52b5-8300-cd6b85f93802/ID";
        let slice = "kubepods-besteffort-pod6dac0cb3_57dc_52b5_8300_cd6b85f93802.slice";
        macro_rules! file {
            ($name:literal) => {
                ($name, include_bytes!(concat!("testdata/", $name)).as_slice())
            };
        }
        for ((name, json), expected) in [
            (file!("containerd-1.6-sandbox.json"), sandbox(Some(14705), cni, Some(true), kubepods)),
            (file!("containerd-1.6-host.json"), sandbox(Some(14987), None, Some(false), kubepods)),
            (file!("containerd-1.6-killed.json"), sandbox(None, cni, Some(true), kubepods)),
            (file!("containerd-1.6-stopped.json"), sandbox(None, None, Some(true), kubepods)),
            (
                file!("containerd-1.6-container.json"),
                sandbox(Some(14736), Some("/proc/14705/ns/net"), Some(true), kubepods),
            ),
            (
                file!("containerd-2.1-sandbox.json"),
                sandbox(Some(2211), cni, Some(true), &format!("{slice}:cri-containerd:ID")),
            ),
            (file!("crio-1.29-sandbox.json"), sandbox(Some(3122), crio, Some(true), &format!("{slice}:crio:ID"))),
            (file!("crio-1.29-no-infra.json"), sandbox(None, crio, Some(true), &format!("{slice}:crio:ID"))),
            (file!("crio-1.29-host.json"), sandbox(Some(3250), None, Some(false), &format!("{slice}:crio:ID"))),
            (file!("crio-1.29-container.json"), sandbox(Some(3177), crio, Some(true), &format!("{slice}:crio:ID"))),
        ] {
            // Those of containers, and of sandboxes without a process, have none.
            let none = name.ends_with("-container.json") || name.ends_with("-no-infra.json");
            let image = (!none).then(|| "registry.k8s.io/pause:3.9".to_owned());
            assert_eq!(told(json).unwrap(), Told { image, ..expected }, "{name}");
        }
        let kata = told(include_bytes!("testdata/containerd-2.1-no-spec.json")).unwrap();
        assert_eq!((kata.pid, kata.netns, kata.own_network), (Some(2300), cni.map(PathBuf::from), Some(true)));
        assert_eq!((kata.cgroup, kata.image.as_deref()), (None, Some("registry.k8s.io/pause:3.9")));
        let docker = told(br#"{"sandboxID":"a","pid":77}"#).unwrap();
        assert_eq!(docker, Told { pid: Some(77), ..Told::default() });
    }

    #[test]
    fn nonsense_is_an_error_or_nothing() {
        for nonsense in ["", "{", "[]", "7", r#"{"pid":"x"}"#, r#"{"runtimeSpec":[1]}"#, "\u{0}", &"[".repeat(100_000)]
        {
            assert!(told(nonsense.as_bytes()).is_err(), "{:.40}", nonsense);
        }
        for empty in [
            "{}",
            r#"{"pid":-1,"runtimeSpec":null}"#,
            r#"{"pid":99999999999,"runtimeSpec":{"linux":{"cgroupsPath":"","namespaces":null}}}"#,
            r#"{"sandboxMetadata":{"Metadata":{"NetNSPath":""}}}"#,
        ] {
            assert_eq!(told(empty.as_bytes()).unwrap(), Told::default(), "{empty}");
        }
    }

    #[test]
    fn the_status_decides_where_it_says_something() {
        let own = Told { pid: Some(7), netns: Some("/n".into()), own_network: Some(true), ..Told::default() };
        let host = Told { own_network: Some(false), ..Told::default() };
        let network_of = Network::Own { path: Some("/n".into()), pid: Some(7) };
        assert_eq!(network(Some(false), &own), network_of);
        assert_eq!(network(None, &own), network_of);
        assert_eq!(network(Some(true), &own), Network::Host);
        assert_eq!(network(None, &host), Network::Host);
        assert_eq!(network(None, &Told::default()), Network::Own { path: None, pid: None });
    }

    #[test]
    fn events_are_followed_only_where_the_kubelet_misses_none() {
        for (name, version, may) in [
            ("containerd", "1.6.20~ds1", false),
            ("containerd", "v1.7.24", false),
            ("containerd", "2.0.0-rc.1", true),
            ("containerd", "v2.1.4", true),
            ("cri-o", "1.27.9", false),
            ("cri-o", "1.28.0", true),
            ("cri-o", "1.31.2", true),
            ("docker", "27.1.0", false),
            ("other", "9.9", false),
            ("containerd", "", false),
            ("containerd", "unknown", false),
        ] {
            assert_eq!(may_follow(name, version), may, "{name} {version}");
        }
    }
}
