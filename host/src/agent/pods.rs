//! What the runtimes tell of pods, brought to whoever needs it.

use super::{collector::Message, namespaces::Namespaces};
use crate::scope::watch::{self, SourceState, Watched, Watcher};
use netsonde_core::{
    config,
    pod::{Container, Network, Pod},
    scope::Scopes,
};
use serde_json::{Map, Value, json};
use std::{
    io,
    sync::{Arc, OnceLock, mpsc::SyncSender},
};

/// The runtimes of this node.
#[derive(Default)]
pub struct Runtimes {
    watcher: OnceLock<Watcher>,
}

impl Runtimes {
    /// Asks the runtimes from now on. `inbox` is told when names have come.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        config: &config::Pods,
        namespaces: &Arc<Namespaces>,
        inbox: SyncSender<Message>,
    ) -> io::Result<Arc<Self>> {
        let runtimes = Arc::new(Self::default());
        namespaces.scopes().label_pods(&config.labels);
        if watch::is_expected(config) {
            namespaces.scopes().expect_pods();
        }
        let named = namespaces.clone();
        let mut known = Vec::new();
        let watcher = watch::start(config, move |Watched { pods, sources }| {
            note(&sources, &mut known);
            if !sources.is_empty() {
                named.scopes().expect_pods();
            }
            named.learn(pods);
            // A full inbox is read all the same, and then names are looked for.
            let _ = inbox.try_send(Message::Named);
        })?;
        let _ = runtimes.watcher.set(watcher);
        let asked = Arc::downgrade(&runtimes);
        namespaces.asks_with(move || {
            if let Some(runtimes) = asked.upgrade() {
                runtimes.look_again();
            }
        });
        Ok(runtimes)
    }

    fn look_again(&self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.look_again();
        }
    }

    /// How it goes with each source now.
    pub fn now(&self) -> Vec<SourceState> {
        self.watcher.get().map(Watcher::sources).unwrap_or_default()
    }

    /// Everything about pods, for `/pods`.
    pub fn json(&self, scopes: &Scopes) -> Value {
        let sources: Vec<Value> = self.now().iter().map(source_json).collect();
        let pods: Vec<Value> = scopes.pods().all().iter().map(|pod| pod_json(pod, scopes)).collect();
        let nameless = scopes.living().filter(|(_, _, scope)| scope.pod.is_none());
        let nameless = nameless.map(|(_, inode, scope)| {
            json!({ "netns": scope.name.to_string(), "inode": inode, "waits": scope.held.is_some() })
        });
        json!({ "sources": sources, "pods": pods, "namespaces": nameless.collect::<Vec<_>>() })
    }
}

/// Logs who tells of pods, each once.
fn note(sources: &[SourceState], known: &mut Vec<String>) {
    for state in sources.iter().filter(|state| state.error.is_none()) {
        let Some(runtime) = &state.runtime else { continue };
        let told = format!("{runtime} at {}", state.socket.display());
        if !known.contains(&told) {
            tracing::info!("Pods are told by {told}.");
            known.push(told);
        }
    }
}

fn source_json(state: &SourceState) -> Value {
    json!({
        "source": state.source.as_str(),
        "socket": state.socket,
        "runtime": state.runtime,
        "error": state.error,
        "pods": state.pods,
        "follows": state.follows,
        "listings": state.listings,
        "failures": state.failures,
    })
}

/// A pod, and how it was found to be whose it is (its provenance).
fn pod_json(pod: &Pod, scopes: &Scopes) -> Value {
    let bound = scopes.of_pod(&pod.id);
    let network = match &pod.network {
        Network::Host => json!("host"),
        Network::Own { path, .. } => json!({ "file": path }),
        Network::Of(other) => json!({ "of": other }),
    };
    let labels: Map<String, Value> = pod.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({
        "namespace": pod.namespace,
        "pod": pod.name,
        "uid": pod.uid,
        "id": pod.id,
        "source": pod.source.as_str(),
        "ready": pod.ready,
        "network": network,
        "ips": pod.ips,
        "netns": bound.map(|(inode, _)| inode),
        "by": bound.and_then(|(_, scope)| Some(scope.by?.as_str())),
        "labels": labels,
        "containers": pod.containers.iter().map(container_json).collect::<Vec<_>>(),
    })
}

fn container_json(container: &Container) -> Value {
    json!({
        "container": container.name,
        "id": container.id,
        "image": container.image,
        "pid": container.pid,
        "running": container.running,
        "cgroup": container.cgroup,
    })
}
