//! One pod: how it is made, what is done to it, and traffic of its own.

use super::{api, cgroup, client::Client, image, new_uid, teardown};
use crate::{netns, traffic::Peer};
use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// A container's command that does nothing, until it is told to end.
pub const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";

/// A pod to be made.
#[derive(Clone, Debug, Default)]
pub struct PodSpec {
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub host_network: bool,
    /// Their names, and what their shell runs.
    pub containers: Vec<(String, String)>,
}

impl PodSpec {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), ..Self::default() }
    }

    pub fn container(mut self, name: &str, command: &str) -> Self {
        self.containers.push((name.to_owned(), command.to_owned()));
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    /// As the kubelet asks for it.
    fn sandbox(&self, uid: &str, folder: &Path) -> api::PodSandboxConfig {
        let mut labels = self.labels.clone();
        let kubernetes = [("name", &self.name), ("namespace", &self.namespace)];
        labels.extend(kubernetes.map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.clone())));
        labels.insert("io.kubernetes.pod.uid".to_owned(), uid.to_owned());
        let mut annotations = self.annotations.clone();
        annotations.insert("kubernetes.io/config.source".to_owned(), "api".to_owned());
        let logs = folder.join("logs").join(format!("{}_{}_{uid}", self.namespace, self.name));
        api::PodSandboxConfig {
            metadata: Some(api::PodSandboxMetadata {
                name: self.name.clone(),
                uid: uid.to_owned(),
                namespace: self.namespace.clone(),
                attempt: 0,
            }),
            hostname: if self.host_network { String::new() } else { self.name.clone() },
            log_directory: logs.to_string_lossy().into_owned(),
            labels,
            annotations,
            linux: Some(api::LinuxPodSandboxConfig {
                cgroup_parent: format!("{}/pod{uid}", cgroup::PARENT),
                security_context: Some(api::LinuxSandboxSecurityContext { namespace_options: self.namespaces() }),
            }),
        }
    }

    fn namespaces(&self) -> Option<api::NamespaceOption> {
        let network = if self.host_network { api::NODE } else { api::POD };
        Some(api::NamespaceOption { network, pid: api::CONTAINER, ipc: api::POD })
    }

    fn container_config(&self, (name, command): (&str, &str), uid: &str, attempt: u32) -> api::ContainerConfig {
        let labels = [
            ("io.kubernetes.container.name", name),
            ("io.kubernetes.pod.name", &self.name),
            ("io.kubernetes.pod.namespace", &self.namespace),
            ("io.kubernetes.pod.uid", uid),
        ];
        let restarts = ("io.kubernetes.container.restartCount".to_owned(), attempt.to_string());
        api::ContainerConfig {
            metadata: Some(api::ContainerMetadata { name: name.to_owned(), attempt }),
            image: Some(api::ImageSpec { image: image::BUSYBOX.to_owned() }),
            command: vec!["/bin/sh".to_owned(), "-c".to_owned()],
            args: vec![command.to_owned()],
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            annotations: [restarts].into(),
            log_path: format!("{name}/{attempt}.log"),
            linux: Some(api::LinuxContainerConfig {
                // What the kubelet sets for a pod that asks for nothing.
                resources: Some(api::LinuxContainerResources { cpu_shares: 2, oom_score_adj: 1000 }),
                security_context: Some(api::LinuxContainerSecurityContext { namespace_options: self.namespaces() }),
            }),
        }
    }
}

/// A container that was started.
#[derive(Clone, Debug)]
struct Container {
    name: String,
    id: String,
    pid: u32,
    attempt: u32,
}

/// A pod that was made. It ends with its runtime, if not before.
#[derive(Debug)]
pub struct Sandbox {
    pub id: String,
    pub uid: String,
    pub spec: PodSpec,
    /// None if it is in the node's network namespace.
    pub ip: Option<IpAddr>,
    /// Of the process that holds the sandbox.
    pub pid: u32,
    /// The file that holds its network namespace; none if that is the node's.
    pub netns: Option<PathBuf>,
    /// The number of its network namespace.
    pub inode: u64,
    /// How long the runtime took to make its sandbox; before, it does not list it, and the network namespace is there already.
    pub took: Duration,
    containers: Vec<Container>,
    config: api::PodSandboxConfig,
    client: Client,
}

impl Sandbox {
    pub(super) fn run(client: Client, folder: &Path, spec: PodSpec) -> Result<Self, String> {
        let uid = new_uid();
        let config = spec.sandbox(&uid, folder);
        let record = folder.join(teardown::UIDS).join(&uid);
        fs::write(&record, "").map_err(|error| format!("write {}: {error}", record.display()))?;
        let request = api::RunPodSandboxRequest { config: Some(config.clone()) };
        let began = Instant::now();
        let answer: api::PodSandboxId = client.call("RuntimeService/RunPodSandbox", request)?;
        let took = began.elapsed();
        let id = answer.pod_sandbox_id;
        let (status, info) = client.sandbox(&id)?;
        let pid = info["pid"].as_u64().unwrap_or_default() as u32;
        let spaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().cloned().unwrap_or_default();
        let netns = spaces.iter().find(|space| space["type"] == "network").and_then(|space| space["path"].as_str());
        let inode =
            fs::metadata(format!("/proc/{pid}/ns/net")).map_err(|error| format!("process {pid}: {error}"))?.ino();
        let mut sandbox = Self {
            id,
            uid,
            ip: status.network.unwrap_or_default().ip.parse().ok(),
            pid,
            netns: netns.map(PathBuf::from),
            inode,
            took,
            containers: Vec::new(),
            config,
            client,
            spec,
        };
        for (name, command) in sandbox.spec.containers.clone() {
            let container = sandbox.start(&name, &command, 0)?;
            sandbox.containers.push(container);
        }
        Ok(sandbox)
    }

    fn start(&self, name: &str, command: &str, attempt: u32) -> Result<Container, String> {
        let request = api::CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(self.spec.container_config((name, command), &self.uid, attempt)),
            sandbox_config: Some(self.config.clone()),
        };
        let made: api::ContainerId = self.client.call("RuntimeService/CreateContainer", request)?;
        let _: api::Empty = self.client.call("RuntimeService/StartContainer", made.clone())?;
        let (_, info) = self.client.container(&made.container_id)?;
        let pid = info["pid"].as_u64().unwrap_or_default() as u32;
        Ok(Container { name: name.to_owned(), id: made.container_id, pid, attempt })
    }

    fn container(&self, name: &str) -> &Container {
        let found = self.containers.iter().find(|container| container.name == name);
        found.unwrap_or_else(|| panic!("{}/{} has no container {name}", self.spec.namespace, self.spec.name))
    }

    pub fn container_id(&self, name: &str) -> &str {
        &self.container(name).id
    }

    pub fn container_pid(&self, name: &str) -> u32 {
        self.container(name).pid
    }

    /// As commands and pages have it.
    pub fn address(&self) -> String {
        self.ip.expect("it has a network namespace of its own").to_string()
    }

    /// Whose series and events of its network namespace are, if nobody tells of the pod.
    ///
    /// # Panics
    /// If its network namespace is the node's.
    pub fn nameless(&self) -> String {
        let file = self.netns.as_ref().and_then(|path| path.file_name()).expect("it has a namespace of its own");
        format!("netns={}", file.to_string_lossy())
    }

    /// Does something in its network namespace, in a thread of this process.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        netns::within(Path::new(&format!("/proc/{}/ns/net", self.pid)), act)
    }

    /// A process of this container, except for its files: in its cgroups, network and process namespaces. It ends with the container.
    pub fn peer(&self, container: &str) -> Peer {
        let pid = self.container(container).pid;
        let target = pid.to_string();
        let mut args: Vec<String> =
            cgroup::members_of(pid).iter().map(|file| file.to_string_lossy().into_owned()).collect();
        assert!(!args.is_empty(), "no cgroup of process {pid} is known");
        let enter = ["--", "nsenter", "-t", &target, "-n", "-p", "--", "python3", "-u", "-c"];
        args.extend(enter.map(str::to_owned));
        let join = "while [ \"$1\" != -- ]; do echo $$ >\"$1\" || exit; shift; done; shift; exec \"$@\"";
        let args: Vec<&str> = ["-c", join, "join"].into_iter().chain(args.iter().map(String::as_str)).collect();
        Peer::run_by("sh", &args)
    }

    /// Kills a container's first process, and so all of them, and waits until the runtime says that it has ended.
    pub fn kill_container(&self, name: &str) {
        let container = self.container(name);
        netns::run("kill", &["-KILL", &container.pid.to_string()]);
        self.wait("the container has ended", || self.client.container(&container.id).unwrap().0.state != api::RUNNING);
    }

    /// Starts a container that has ended anew, as the kubelet does: another one of the same name.
    pub fn start_container(&mut self, name: &str) {
        let old = self.container(name).clone();
        let command = self.spec.containers.iter().find(|(known, _)| known == name).unwrap().1.clone();
        let new = self.start(name, &command, old.attempt + 1).unwrap();
        let removed: Result<api::Empty, _> =
            self.client.call("RuntimeService/RemoveContainer", api::ContainerId { container_id: old.id });
        removed.unwrap();
        *self.containers.iter_mut().find(|container| container.name == name).unwrap() = new;
    }

    /// Kills the process that holds the sandbox, and waits until the runtime says that it has ended.
    pub fn kill(&self) {
        netns::run("kill", &["-KILL", &self.pid.to_string()]);
        self.wait("the sandbox has ended", || self.client.sandbox(&self.id).unwrap().0.state != api::READY);
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends all its processes and its network namespace; it is still listed.
    pub fn stop(&self) {
        let _: api::Empty = self.client.call("RuntimeService/StopPodSandbox", self.as_request()).unwrap();
    }

    /// Stops it if it runs, and has nothing left of it.
    pub fn remove(self) {
        self.stop();
        let _: api::Empty = self.client.call("RuntimeService/RemovePodSandbox", self.as_request()).unwrap();
        cgroup::remove(&self.uid);
    }

    fn as_request(&self) -> api::PodSandboxId {
        api::PodSandboxId { pod_sandbox_id: self.id.clone() }
    }
}
