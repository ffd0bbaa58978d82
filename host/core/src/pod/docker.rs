//! What the Docker engine's API tells of containers, and Podman's service in its place: `/containers/json` and `/containers/ID/json`.
//!
//! Where cri-dockerd runs pods on Docker, the labels of their containers say so (its core/docker_service.go): `io.kubernetes.pod.name`,
//! `.namespace` and `.uid`, `io.kubernetes.docker.type` (`podsandbox` or `container`), and for a container `io.kubernetes.sandbox.id`.
//! Annotations are labels that begin with `annotation.`.

use super::{Container, Network, Pod, Source, labels};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

const TYPE: &str = "io.kubernetes.docker.type";
const SANDBOX: &str = "podsandbox";
const SANDBOX_ID: &str = "io.kubernetes.sandbox.id";
const LOG_PATH: &str = "io.kubernetes.container.logpath";
const ANNOTATION: &str = "annotation.";

/// One of `/containers/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    name: String,
    image: String,
    labels: BTreeMap<String, String>,
    pub running: bool,
    mode: String,
    ips: Vec<IpAddr>,
    created: Duration,
}

/// What only `/containers/ID/json` has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    pub pid: Option<u32>,
    pub netns: Option<PathBuf>,
    pub cgroup: Option<String>,
}

/// Reads `/containers/json`.
///
/// # Errors
///
/// If it is no JSON, or of another shape.
pub fn listed(json: &[u8]) -> Result<Vec<Listed>, serde_json::Error> {
    let all: Vec<Entry> = serde_json::from_slice(json)?;
    Ok(all.into_iter().map(Listed::from).collect())
}

/// Reads `/containers/ID/json`.
///
/// # Errors
///
/// If it is no JSON, or of another shape.
pub fn inspected(json: &[u8]) -> Result<Inspected, serde_json::Error> {
    let told: Details = serde_json::from_slice(json)?;
    let pid = told.state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    let key = told.network.and_then(|network| network.key).filter(|key| !key.as_os_str().is_empty());
    let parent = told.host.and_then(|host| host.parent).filter(|parent| !parent.is_empty());
    let cgroup = parent.map(|parent| match parent.ends_with(".slice") {
        true => format!("{parent}:docker:{}", told.id),
        false => format!("{}/{}", parent.trim_end_matches('/'), told.id),
    });
    Ok(Inspected { pid, netns: key, cgroup })
}

/// Name and version of the engine, from `/version`: `docker 27.1.0`, `podman 4.9.3`.
///
/// # Errors
///
/// If it is no JSON, or of another shape.
pub fn version(json: &[u8]) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "Version")]
        version: String,
        #[serde(rename = "Components")]
        components: Option<Vec<Component>>,
    }
    #[derive(Deserialize)]
    struct Component {
        #[serde(rename = "Name")]
        name: Option<String>,
    }
    let told: Version = serde_json::from_slice(json)?;
    let is_podman = |one: &Component| one.name.as_deref().is_some_and(|name| name.starts_with("Podman"));
    let name = if told.components.is_some_and(|all| all.iter().any(is_podman)) { "podman" } else { "docker" };
    Ok(format!("{name} {}", told.version))
}

/// The container that a line of `/events` is about; None: it does not say.
pub fn event_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Event {
        id: Option<String>,
        #[serde(rename = "Actor")]
        actor: Option<Actor>,
    }
    #[derive(Deserialize)]
    struct Actor {
        #[serde(rename = "ID")]
        id: Option<String>,
    }
    let event: Event = serde_json::from_slice(line).ok()?;
    event.actor.and_then(|actor| actor.id).or(event.id)
}

/// The pods, and the containers outside of pods as pods without a name. `wanted` is the configuration's labels.
pub fn pods(listed: Vec<Listed>, inspected: &HashMap<String, Inspected>, wanted: &[(String, String)]) -> Vec<Pod> {
    let mut pods: Vec<Pod> = Vec::with_capacity(listed.len());
    let mut at: HashMap<String, usize> = HashMap::new();
    let (sandboxes, mut containers): (Vec<_>, Vec<_>) = listed.into_iter().partition(|one| !one.is_in_sandbox());
    for one in sandboxes {
        at.insert(one.id.clone(), pods.len());
        let details = inspected.get(&one.id).cloned().unwrap_or_default();
        pods.push(if one.is_sandbox() { sandbox(one, details, wanted) } else { alone(one, details, wanted) });
    }
    // In the order in which they were made, as far as that is told: the list has the newest first.
    containers.reverse();
    for one in containers {
        let details = inspected.get(&one.id).cloned().unwrap_or_default();
        let sandbox_id = one.labels.get(SANDBOX_ID).cloned().unwrap_or_default();
        let index = *at.entry(sandbox_id).or_insert_with_key(|id| {
            pods.push(without_sandbox(id.clone(), &one));
            pods.len() - 1
        });
        pods[index].containers.push(container(one, details));
    }
    pods
}

/// A pod's sandbox.
fn sandbox(one: Listed, details: Inspected, wanted: &[(String, String)]) -> Pod {
    let network = one.network(&details);
    let mut labels = Vec::with_capacity(one.labels.len());
    let mut annotations = Vec::new();
    let (mut namespace, mut name, mut uid) = Default::default();
    for (key, value) in one.labels {
        match (key.as_str(), key.strip_prefix(ANNOTATION)) {
            ("io.kubernetes.pod.namespace", _) => namespace = value,
            ("io.kubernetes.pod.name", _) => name = value,
            ("io.kubernetes.pod.uid", _) => uid = value,
            (TYPE | SANDBOX_ID | LOG_PATH | "io.kubernetes.container.name", _) => {}
            (_, Some(annotation)) => annotations.push((annotation.to_owned(), value)),
            _ => labels.push((key, value)),
        }
    }
    Pod {
        id: one.id,
        source: Source::Docker,
        namespace,
        name,
        uid,
        labels: labels::keep(labels, wanted),
        annotations: labels::keep_wanted(annotations, wanted),
        ips: if network == Network::Host { Vec::new() } else { one.ips },
        network,
        ready: one.running,
        created_unix: one.created,
        containers: Vec::new(),
        cgroup: details.cgroup,
        image: Some(one.image),
    }
}

/// A container outside of Kubernetes.
fn alone(one: Listed, details: Inspected, wanted: &[(String, String)]) -> Pod {
    let network = one.network(&details);
    Pod {
        id: one.id.clone(),
        source: Source::Docker,
        namespace: String::new(),
        name: String::new(),
        uid: String::new(),
        labels: labels::keep(one.labels.clone().into_iter().collect(), wanted),
        annotations: Vec::new(),
        ips: if network == Network::Host { Vec::new() } else { one.ips.clone() },
        network,
        ready: one.running,
        created_unix: one.created,
        cgroup: None,
        image: None,
        containers: vec![container(one, details)],
    }
}

/// The pod of a container whose sandbox is not listed (any more).
fn without_sandbox(id: String, one: &Listed) -> Pod {
    let label = |key: &str| one.labels.get(key).cloned().unwrap_or_default();
    Pod {
        id,
        source: Source::Docker,
        namespace: label("io.kubernetes.pod.namespace"),
        name: label("io.kubernetes.pod.name"),
        uid: label("io.kubernetes.pod.uid"),
        labels: Vec::new(),
        annotations: Vec::new(),
        network: Network::Own { path: None, pid: None },
        ips: Vec::new(),
        ready: false,
        created_unix: one.created,
        containers: Vec::new(),
        cgroup: None,
        image: None,
    }
}

fn container(one: Listed, details: Inspected) -> Container {
    Container {
        name: one.labels.get("io.kubernetes.container.name").cloned().unwrap_or(one.name),
        id: one.id,
        image: one.image,
        pid: details.pid.filter(|_| one.running),
        cgroup: details.cgroup,
        running: one.running,
    }
}

impl Listed {
    fn is_sandbox(&self) -> bool {
        self.labels.get(TYPE).is_some_and(|kind| kind == SANDBOX)
    }

    fn is_in_sandbox(&self) -> bool {
        !self.is_sandbox() && self.labels.contains_key(TYPE) && self.labels.contains_key(SANDBOX_ID)
    }

    fn network(&self, details: &Inspected) -> Network {
        match self.mode.split_once(':') {
            _ if self.mode == "host" => Network::Host,
            Some(("container", id)) => Network::Of(id.to_owned()),
            Some(("ns", path)) => Network::Own { path: Some(path.into()), pid: details.pid },
            _ => Network::Own { path: details.netns.clone(), pid: details.pid },
        }
    }
}

impl From<Entry> for Listed {
    fn from(entry: Entry) -> Self {
        // A name with a further slash is that of a link from another container.
        let names = entry.names.unwrap_or_default();
        let name = names.iter().find_map(|name| name.strip_prefix('/').filter(|name| !name.contains('/')));
        let networks = entry.network.and_then(|network| network.networks).unwrap_or_default();
        let ips = networks.into_values().flatten().flat_map(|one| [one.ip, one.ip6]).flatten();
        Self {
            name: name.unwrap_or(&entry.id).to_owned(),
            id: entry.id,
            image: entry.image.unwrap_or_default(),
            labels: entry.labels.unwrap_or_default(),
            running: entry.state.is_some_and(|state| state == "running" || state == "paused"),
            mode: entry.host.and_then(|host| host.mode).unwrap_or_default(),
            ips: ips.filter_map(|ip| ip.parse().ok()).collect(),
            created: Duration::from_secs(entry.created.unwrap_or_default()),
        }
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Names")]
    names: Option<Vec<String>>,
    #[serde(rename = "Image")]
    image: Option<String>,
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
    /// Seconds since the Unix epoch.
    #[serde(rename = "Created")]
    created: Option<u64>,
    #[serde(rename = "State")]
    state: Option<String>,
    #[serde(rename = "HostConfig")]
    host: Option<HostConfig>,
    #[serde(rename = "NetworkSettings")]
    network: Option<NetworkSettings>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "State")]
    state: Option<State>,
    #[serde(rename = "HostConfig")]
    host: Option<HostConfig>,
    #[serde(rename = "NetworkSettings")]
    network: Option<NetworkSettings>,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "Pid")]
    pid: Option<i64>,
}

#[derive(Deserialize)]
struct HostConfig {
    #[serde(rename = "NetworkMode")]
    mode: Option<String>,
    #[serde(rename = "CgroupParent")]
    parent: Option<String>,
}

#[derive(Deserialize)]
struct NetworkSettings {
    #[serde(rename = "SandboxKey")]
    key: Option<PathBuf>,
    #[serde(rename = "Networks")]
    networks: Option<BTreeMap<String, Option<One>>>,
}

#[derive(Deserialize)]
struct One {
    #[serde(rename = "IPAddress")]
    ip: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    ip6: Option<String>,
}

#[cfg(test)]
mod tests;
