//! Calls of the Container Runtime Interface, one after another.

use super::api;
use prost::Message;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::{
    Request,
    client::Grpc,
    transport::{Endpoint, Uri},
};
use tonic_prost::ProstCodec;

/// The slowest call, a pod that is stopped, takes a second; more on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A client that connects anew for each call: the runtime may have been started again in between.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// # Errors
    /// What the runtime says against it, or why it cannot be asked.
    pub fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let failed = |error: &dyn std::fmt::Display| format!("{method} at {}: {error}", self.socket.display());
        let uri: Uri = format!("/runtime.v1.{method}").parse().map_err(|error| failed(&error))?;
        let path = uri.path_and_query().expect("it begins with a slash").clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(&e))?;
        runtime.block_on(async {
            let endpoint =
                Endpoint::from_shared(format!("unix://{}", self.socket.display())).map_err(|e| failed(&e))?;
            let channel = endpoint.timeout(LIMIT).connect().await.map_err(|error| failed(&error))?;
            let mut client = Grpc::new(channel);
            client.ready().await.map_err(|error| failed(&error))?;
            let answer = client.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await;
            answer.map(tonic::Response::into_inner).map_err(|status| failed(&status))
        })
    }

    /// Name and version of the runtime, if it serves the interface.
    pub fn version(&self) -> Result<String, String> {
        let answer: api::VersionResponse = self.call("RuntimeService/Version", api::Empty {})?;
        Ok(format!("{} {}", answer.runtime_name, answer.runtime_version))
    }

    /// The names of all images.
    pub fn images(&self) -> Result<Vec<String>, String> {
        let answer: api::ListImagesResponse = self.call("ImageService/ListImages", api::Empty {})?;
        Ok(answer.images.into_iter().flat_map(|image| image.repo_tags).collect())
    }

    /// All sandboxes, also those that have ended.
    pub fn sandboxes(&self) -> Result<Vec<api::PodSandbox>, String> {
        let answer: api::ListPodSandboxResponse = self.call("RuntimeService/ListPodSandbox", api::Empty {})?;
        Ok(answer.items)
    }

    /// A sandbox's status, and what the runtime says beyond it.
    pub fn sandbox(&self, id: &str) -> Result<(api::PodSandboxStatus, Value), String> {
        let request = api::StatusRequest { id: id.to_owned(), verbose: true };
        let answer: api::PodSandboxStatusResponse = self.call("RuntimeService/PodSandboxStatus", request)?;
        Ok((answer.status.unwrap_or_default(), info(&answer.info)?))
    }

    /// The same of a container.
    pub fn container(&self, id: &str) -> Result<(api::ContainerStatus, Value), String> {
        let request = api::StatusRequest { id: id.to_owned(), verbose: true };
        let answer: api::ContainerStatusResponse = self.call("RuntimeService/ContainerStatus", request)?;
        Ok((answer.status.unwrap_or_default(), info(&answer.info)?))
    }
}

fn info(texts: &std::collections::BTreeMap<String, String>) -> Result<Value, String> {
    let text = texts.get("info").ok_or("the verbose status has no `info`")?;
    serde_json::from_str(text).map_err(|error| format!("the verbose status is no JSON: {error}"))
}
