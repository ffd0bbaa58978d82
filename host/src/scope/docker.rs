//! The Docker engine's API, which Podman has too: HTTP over a socket.
//!
//! Paths have no version, so that each engine answers in its own: Docker 29 refuses versions below 1.44, older engines do not have that one.
//! What is read of the answers is the same in all of them.

use super::{
    ask::{self, ANSWER, AskError, LARGEST, Why},
    watch::source::{Runtime, Signal},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use netsonde_core::pod::{
    Pod, Source,
    docker::{self, Inspected, Listed},
};
use std::{collections::HashMap, path::Path, sync::Arc};
use tokio::{task::JoinSet, time};

/// `{"type":["container"],"event":["start","die","destroy","rename","pause","unpause"]}`
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22die%22%2C%22destroy%22%2C\
                      %22rename%22%2C%22pause%22%2C%22unpause%22%5D%7D";
/// Bytes of an event; they have a few hundred, and the container's labels.
const LINE: usize = 256 * 1024;
/// Bytes of an error's message that are told.
const MESSAGE: usize = 200;

/// The containers of one engine.
#[derive(Default)]
pub(super) struct Docker {
    /// The configuration's labels.
    wanted: Vec<(String, String)>,
    /// Of those that run. A container that starts again has the same id but another process: its events say so.
    inspected: HashMap<String, Inspected>,
    /// Of the last listing, how many could not be inspected.
    failed: usize,
    pods: Vec<Arc<Pod>>,
}

/// Where to connect to, for each request anew.
#[derive(Clone)]
pub(super) struct Client {
    socket: Arc<Path>,
}

impl Docker {
    pub fn new(wanted: &[(String, String)]) -> Self {
        Self { wanted: wanted.to_vec(), ..Self::default() }
    }

    fn build(&mut self, listed: Vec<Listed>) {
        let mut before: HashMap<String, Arc<Pod>> = self.pods.drain(..).map(|pod| (pod.id.clone(), pod)).collect();
        let pods = docker::pods(listed, &self.inspected, &self.wanted);
        let same = |pod: Pod| before.remove(&pod.id).filter(|before| **before == pod).unwrap_or_else(|| Arc::new(pod));
        self.pods = pods.into_iter().map(same).collect();
    }
}

impl Runtime for Docker {
    type Connection = Client;
    const SOURCE: Source = Source::Docker;

    async fn connect(&mut self, socket: &Path) -> Result<(Client, String), AskError> {
        // Containers may have started again while nobody followed.
        self.inspected.clear();
        let client = Client { socket: socket.into() };
        const WHAT: &str = "ask for the engine's version";
        let version = client.get(WHAT, "/version").await?;
        let version = docker::version(&version).map_err(|error| client.garbled(WHAT, &error))?;
        Ok((client, version))
    }

    async fn list(&mut self, client: &Client, signal: &Signal) -> Result<(), AskError> {
        match signal.take_stale() {
            Some(stale) => self.inspected.retain(|id, _| !stale.contains(id)),
            None => self.inspected.clear(),
        }
        const WHAT: &str = "list the containers";
        let listed = client.get(WHAT, "/containers/json?all=1").await?;
        let listed = docker::listed(&listed).map_err(|error| client.garbled(WHAT, &error))?;
        let running: HashMap<&str, bool> = listed.iter().map(|one| (one.id.as_str(), one.running)).collect();
        self.inspected.retain(|id, _| running.get(id.as_str()).copied().unwrap_or(false));
        // It becomes part of a path.
        let is_plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let unknown = |one: &&Listed| one.running && is_plain(&one.id) && !self.inspected.contains_key(&one.id);
        let ids = listed.iter().filter(unknown).map(|one| one.id.clone()).collect();
        let ask = |id: String| {
            let client = client.clone();
            async move { client.inspect(&id).await }
        };
        let failed = ask::each(ids, ask, |id, answer| match answer {
            Ok(inspected) => {
                self.inspected.insert(id, inspected);
            }
            Err(error) => tracing::debug!("{id}: {error}"),
        });
        self.failed = failed.await;
        self.build(listed);
        Ok(())
    }

    async fn more(&mut self, _client: &Client) -> usize {
        self.failed
    }

    async fn follow(client: &Client, signal: &Signal) -> Result<(), AskError> {
        const WHAT: &str = "follow the containers' events";
        let mut exchange = Exchange::start(WHAT, &client.socket, EVENTS).await?;
        let mut line = Vec::new();
        while let Some(frame) = exchange.response.frame().await {
            let frame = frame.map_err(|error| client.broken(WHAT, &error))?;
            for part in frame.data_ref().into_iter().flat_map(|data| data.split_inclusive(|byte| *byte == b'\n')) {
                line.extend_from_slice(part);
                if part.ends_with(b"\n") || line.len() > LINE {
                    signal.changed(docker::event_of(&line));
                    line.clear();
                }
            }
        }
        Ok(())
    }

    fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }
}

impl Client {
    async fn inspect(&self, id: &str) -> Result<Inspected, AskError> {
        const WHAT: &str = "inspect a container";
        let answer = self.get(WHAT, &format!("/containers/{id}/json")).await?;
        docker::inspected(&answer).map_err(|error| self.garbled(WHAT, &error))
    }

    /// The body of the answer, if that is a good one.
    async fn get(&self, what: &'static str, path: &str) -> Result<Bytes, AskError> {
        let answer = async {
            let mut exchange = Exchange::start(what, &self.socket, path).await?;
            let body = Limited::new(exchange.response.body_mut(), LARGEST).collect().await;
            body.map(|body| body.to_bytes()).map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => AskError::new(what, &self.socket, Why::TooLarge),
                None => self.broken(what, &*error),
            })
        };
        let slow = |_| Err(AskError::new(what, &self.socket, Why::Slow(ANSWER)));
        time::timeout(ANSWER, answer).await.unwrap_or_else(slow)
    }

    fn garbled(&self, what: &'static str, error: &dyn std::error::Error) -> AskError {
        AskError::new(what, &self.socket, Why::Garbled(error.to_string()))
    }

    fn broken(&self, what: &'static str, error: &dyn std::error::Error) -> AskError {
        AskError::new(what, &self.socket, Why::Broken(ask::innermost(error)))
    }
}

/// A request, on a connection of its own that ends with it.
struct Exchange {
    response: Response<Incoming>,
    /// What moves the bytes.
    _connection: JoinSet<()>,
}

impl Exchange {
    async fn start(what: &'static str, socket: &Path, path: &str) -> Result<Self, AskError> {
        let failed = |why: Why| AskError::new(what, socket, why);
        let broken = |error: hyper::Error| failed(Why::Broken(ask::innermost(&error)));
        let stream = ask::connect(socket).await?;
        let (mut sender, moves) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut connection = JoinSet::new();
        connection.spawn(async move {
            if let Err(error) = moves.await {
                tracing::debug!("A connection to the container engine ended early: {error}");
            }
        });
        let request = Request::get(path).header("Host", "localhost").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| failed(Why::Garbled(error.to_string())))?;
        let mut response = sender.send_request(request).await.map_err(broken)?;
        if response.status() == StatusCode::OK {
            return Ok(Self { response, _connection: connection });
        }
        let status = response.status();
        let body = Limited::new(response.body_mut(), LARGEST).collect().await.map(|body| body.to_bytes());
        let text: String = String::from_utf8_lossy(&body.unwrap_or_default()).chars().take(MESSAGE).collect();
        Err(failed(Why::Refused(format!("{status}: {}", text.trim()))))
    }
}
