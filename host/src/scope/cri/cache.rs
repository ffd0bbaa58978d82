//! What is known of the pods of a runtime, so that each sandbox and each container is asked for only once.

use super::{Client, messages as m};
use crate::scope::{
    ask::{self, AskError},
    watch::source::{Runtime, Signal},
};
use netsonde_core::pod::{
    Container, Network, Pod, Source,
    cri::{self, Told},
    labels,
};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

/// The pods of one runtime. Ids are never used again, so that all of it holds even when the runtime starts anew.
#[derive(Default)]
pub(in crate::scope) struct Cri {
    /// The configuration's labels.
    wanted: Vec<(String, String)>,
    sandboxes: HashMap<String, Sandbox>,
    /// Sandboxes that had no answer. They are asked for after all others.
    failed: HashSet<String>,
    containers: HashMap<String, Details>,
    pods: Vec<Arc<Pod>>,
}

/// From the status of a sandbox.
struct Sandbox {
    /// At which it was asked: its process ends with it.
    state: i32,
    network: Network,
    ips: Vec<IpAddr>,
    cgroup: Option<String>,
    image: Option<String>,
}

/// From the status of a container.
struct Details {
    pid: Option<u32>,
    cgroup: Option<String>,
    image: String,
}

/// A connection, and whether events may be followed over it.
pub(in crate::scope) struct Connection {
    client: Client,
    may_follow: bool,
}

impl Cri {
    pub fn new(wanted: &[(String, String)]) -> Self {
        Self { wanted: wanted.to_vec(), ..Self::default() }
    }

    async fn ask_sandboxes(&mut self, client: &Client, ids: Vec<(String, i32)>) -> usize {
        let states: HashMap<String, i32> = ids.iter().cloned().collect();
        let ids = ids.into_iter().map(|(id, _)| id).collect();
        let ask = |id| {
            let client = client.clone();
            async move { client.sandbox(id).await }
        };
        ask::each(ids, ask, |id, answer| match answer {
            Ok(answer) => {
                self.failed.remove(&id);
                let state = states.get(&id).copied().unwrap_or_default();
                self.sandboxes.insert(id, Sandbox::new(state, &answer));
            }
            Err(error) => {
                tracing::debug!("{id}: {error}");
                self.failed.insert(id);
            }
        })
        .await
    }

    async fn ask_containers(&mut self, client: &Client) -> usize {
        let unknown = |one: &&Container| one.running && !self.containers.contains_key(&one.id);
        let ids = self.pods.iter().flat_map(|pod| &pod.containers).filter(unknown).map(|one| one.id.clone()).collect();
        let ask = |id| {
            let client = client.clone();
            async move { client.container(id).await }
        };
        ask::each(ids, ask, |id, answer| match answer {
            Ok(answer) => {
                self.containers.insert(id, Details::new(answer));
            }
            Err(error) => tracing::debug!("{id}: {error}"),
        })
        .await
    }

    /// Forgets whatever is not listed any more.
    fn forget(&mut self, sandboxes: &[m::PodSandbox], containers: &[m::Container]) {
        let listed: HashSet<&str> = sandboxes.iter().map(|one| one.id.as_str()).collect();
        self.sandboxes.retain(|id, _| listed.contains(id.as_str()));
        self.failed.retain(|id| listed.contains(id.as_str()));
        let listed: HashSet<&str> = containers.iter().map(|one| one.id.as_str()).collect();
        self.containers.retain(|id, _| listed.contains(id.as_str()));
    }

    /// Pods that are as they were stay the same allocation.
    fn build(&mut self, sandboxes: Vec<m::PodSandbox>, containers: Vec<m::Container>) {
        let mut before: HashMap<String, Arc<Pod>> = self.pods.drain(..).map(|pod| (pod.id.clone(), pod)).collect();
        let mut inside: HashMap<String, Vec<Container>> = HashMap::with_capacity(sandboxes.len());
        for mut one in containers {
            let pod = std::mem::take(&mut one.pod_sandbox_id);
            inside.entry(pod).or_default().push(self.container(one));
        }
        self.pods = Vec::with_capacity(sandboxes.len());
        for sandbox in sandboxes {
            let inside = inside.remove(&sandbox.id).unwrap_or_default();
            let pod = self.pod(sandbox, inside);
            let same = before.remove(&pod.id).filter(|before| **before == pod);
            self.pods.push(same.unwrap_or_else(|| Arc::new(pod)));
        }
        // Runtimes list them in any order.
        self.pods.sort_unstable_by(|a, b| (&a.namespace, &a.name, &a.id).cmp(&(&b.namespace, &b.name, &b.id)));
    }

    fn pod(&self, sandbox: m::PodSandbox, mut containers: Vec<Container>) -> Pod {
        let metadata = sandbox.metadata.unwrap_or_default();
        let pairs = |entries: Vec<m::Entry>| entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        containers.sort_unstable_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        containers.shrink_to_fit();
        let (network, ips) = self.network(&sandbox.id);
        let known = self.sandboxes.get(&sandbox.id);
        Pod {
            id: sandbox.id,
            source: Source::Cri,
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            labels: labels::keep(pairs(sandbox.labels), &self.wanted),
            annotations: labels::keep_wanted(pairs(sandbox.annotations), &self.wanted),
            network,
            ips,
            created_unix: Duration::from_nanos(sandbox.created_at.try_into().unwrap_or(0)),
            ready: sandbox.state == m::SANDBOX_READY,
            containers,
            cgroup: known.and_then(|known| known.cgroup.clone()),
            image: known.and_then(|known| known.image.clone()),
        }
    }

    fn network(&self, sandbox: &str) -> (Network, Vec<IpAddr>) {
        match self.sandboxes.get(sandbox) {
            Some(known) => (known.network.clone(), known.ips.clone()),
            None => (Network::Own { path: None, pid: None }, Vec::new()),
        }
    }

    fn container(&self, listed: m::Container) -> Container {
        let image = listed.image.unwrap_or_default();
        let mut container = Container {
            id: listed.id,
            name: listed.metadata.unwrap_or_default().name,
            image: if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image },
            pid: None,
            cgroup: None,
            running: listed.state == m::CONTAINER_RUNNING,
        };
        self.detail(&mut container);
        container
    }

    fn detail(&self, container: &mut Container) {
        if let Some(known) = self.containers.get(&container.id) {
            container.pid = known.pid.filter(|_| container.running);
            container.cgroup.clone_from(&known.cgroup);
            if !known.image.is_empty() {
                container.image.clone_from(&known.image);
            }
        }
    }

    /// Puts details that came after the listing into its pods.
    fn complete(&mut self) {
        let mut pods = std::mem::take(&mut self.pods);
        for pod in &mut pods {
            let mut completed = (**pod).clone();
            (completed.network, completed.ips) = self.network(&pod.id);
            if let Some(known) = self.sandboxes.get(&pod.id) {
                completed.cgroup.clone_from(&known.cgroup);
                completed.image.clone_from(&known.image);
            }
            completed.containers.iter_mut().for_each(|container| self.detail(container));
            if completed != **pod {
                *pod = Arc::new(completed);
            }
        }
        self.pods = pods;
    }
}

impl Runtime for Cri {
    type Connection = Connection;
    const SOURCE: Source = Source::Cri;

    async fn connect(&mut self, socket: &Path) -> Result<(Connection, String), AskError> {
        let client = Client::connect(socket).await?;
        let version = client.version().await?;
        let may_follow = cri::may_follow(&version.runtime_name, &version.runtime_version);
        // Without what a distribution adds: `1.6.20~ds1`.
        let number = version.runtime_version.trim_start_matches('v').split(['~', '+']).next().unwrap_or_default();
        Ok((Connection { client, may_follow }, format!("{} {number}", version.runtime_name)))
    }

    async fn list(&mut self, connection: &Connection, _signal: &Signal) -> Result<(), AskError> {
        let client = &connection.client;
        let (sandboxes, containers) = tokio::try_join!(client.sandboxes(), client.containers())?;
        let (sandboxes, containers) = (sandboxes.items, containers.containers);
        self.forget(&sandboxes, &containers);
        let unknown = |one: &&m::PodSandbox| {
            !self.failed.contains(&one.id) && self.sandboxes.get(&one.id).is_none_or(|known| known.state != one.state)
        };
        let ids = sandboxes.iter().filter(unknown).map(|one| (one.id.clone(), one.state)).collect();
        self.ask_sandboxes(client, ids).await;
        self.build(sandboxes, containers);
        Ok(())
    }

    async fn more(&mut self, connection: &Connection) -> usize {
        let state = |pod: &Arc<Pod>| if pod.ready { m::SANDBOX_READY } else { m::SANDBOX_READY + 1 };
        let failed = self.pods.iter().filter(|pod| self.failed.contains(&pod.id));
        let again: Vec<_> = failed.map(|pod| (pod.id.clone(), state(pod))).collect();
        let known = (self.containers.len(), self.sandboxes.len());
        let containers = self.ask_containers(&connection.client).await;
        let sandboxes = self.ask_sandboxes(&connection.client, again).await;
        if known != (self.containers.len(), self.sandboxes.len()) {
            self.complete();
        }
        containers + sandboxes
    }

    async fn follow(connection: &Connection, signal: &Signal) -> Result<(), AskError> {
        if !connection.may_follow {
            return Ok(());
        }
        connection.client.events(|| signal.changed(None)).await
    }

    fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }
}

impl Sandbox {
    fn new(state: i32, answer: &m::PodSandboxStatusResponse) -> Self {
        let told = told(&answer.info);
        let status = answer.status.as_ref();
        let linux = status.and_then(|status| status.linux.as_ref());
        let options = linux.and_then(|linux| linux.namespaces.as_ref()?.options.as_ref());
        let network = cri::network(options.map(|options| options.network == m::NODE), &told);
        let addresses = status.and_then(|status| status.network.as_ref()).filter(|_| network != Network::Host);
        let ips = addresses.into_iter().flat_map(|network| {
            std::iter::once(&network.ip).chain(network.additional_ips.iter().map(|additional| &additional.ip))
        });
        let ips = ips.filter_map(|ip| ip.parse().ok()).collect();
        Self { state, network, ips, cgroup: told.cgroup, image: told.image }
    }
}

impl Details {
    fn new(answer: m::ContainerStatusResponse) -> Self {
        let told = told(&answer.info);
        let image = answer.status.and_then(|status| status.image).unwrap_or_default();
        let image = if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image };
        Self { pid: told.pid, cgroup: told.cgroup, image }
    }
}

/// What the runtime adds of its own. If that is not understood, there is none.
fn told(info: &[m::Entry]) -> Told {
    let Some(entry) = info.iter().find(|entry| entry.key == cri::KEY) else { return Told::default() };
    cri::told(entry.value.as_bytes()).unwrap_or_else(|error| {
        tracing::debug!("The runtime's verbose status is not understood: {error}");
        Told::default()
    })
}
