//! The Container Runtime Interface: gRPC over a runtime's socket.

mod cache;
pub mod messages;

use super::ask::{self, ANSWER, AskError, LARGEST, Why};
use hyper::http::{Uri, uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use messages::{
    All, ContainerEventResponse, ContainerStatusResponse, ListContainersResponse, ListPodSandboxResponse,
    PodSandboxStatusResponse, SERVICE, StatusRequest, VersionRequest, VersionResponse,
};
use std::{
    error::Error as _,
    future::{Ready, ready},
    io,
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{net::UnixStream, time};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

pub(super) use cache::Cri;

/// One connection. When it breaks, all further calls fail: whoever asks connects again.
#[derive(Clone)]
struct Client {
    grpc: Grpc<Channel>,
    socket: Arc<Path>,
}

impl Client {
    async fn connect(socket: &Path) -> Result<Self, AskError> {
        let stream = ask::connect(socket).await?;
        // The name is never looked up, but HTTP wants one.
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = time::timeout(ANSWER, endpoint.connect_with_connector(Once(Some(stream)))).await;
        let why = match channel {
            Ok(Ok(channel)) => {
                let grpc = Grpc::new(channel).max_decoding_message_size(LARGEST);
                return Ok(Self { grpc, socket: socket.into() });
            }
            Ok(Err(error)) => Why::Broken(ask::innermost(&error)),
            Err(_) => Why::Slow(ANSWER),
        };
        Err(AskError::new("speak gRPC with the container runtime", socket, why))
    }

    async fn version(&self) -> Result<VersionResponse, AskError> {
        self.call("ask for the runtime's version", "Version", VersionRequest { version: "v1".to_owned() }).await
    }

    async fn sandboxes(&self) -> Result<ListPodSandboxResponse, AskError> {
        self.call("list the pods' sandboxes", "ListPodSandbox", All {}).await
    }

    async fn containers(&self) -> Result<ListContainersResponse, AskError> {
        self.call("list the containers", "ListContainers", All {}).await
    }

    async fn sandbox(&self, id: String) -> Result<PodSandboxStatusResponse, AskError> {
        self.call("ask for a sandbox's status", "PodSandboxStatus", StatusRequest { id, verbose: true }).await
    }

    async fn container(&self, id: String) -> Result<ContainerStatusResponse, AskError> {
        self.call("ask for a container's status", "ContainerStatus", StatusRequest { id, verbose: true }).await
    }

    /// Calls `each` for each event until the stream ends. Servers written in Go begin to answer only with the first event, so that whether
    /// there is a stream can be told only by it not ending at once.
    async fn events(&self, mut each: impl FnMut()) -> Result<(), AskError> {
        const WHAT: &str = "follow the containers' events";
        let refused = |status: Status| AskError::new(WHAT, &self.socket, why(&status));
        let mut grpc = self.ready(WHAT).await?;
        let codec: ProstCodec<All, ContainerEventResponse> = ProstCodec::new();
        let path = PathAndQuery::from_static("/runtime.v1.RuntimeService/GetContainerEvents");
        let mut events = grpc.server_streaming(Request::new(All {}), path, codec).await.map_err(refused)?.into_inner();
        while events.message().await.map_err(refused)?.is_some() {
            each();
        }
        Ok(())
    }

    async fn call<Q, A>(&self, what: &'static str, method: &'static str, request: Q) -> Result<A, AskError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let answer = async {
            let mut grpc = self.ready(what).await?;
            let codec: ProstCodec<Q, A> = ProstCodec::new();
            let path = PathAndQuery::try_from(format!("{SERVICE}{method}"))
                .map_err(|error| AskError::new(what, &self.socket, Why::Garbled(error.to_string())))?;
            let answer = grpc.unary(Request::new(request), path, codec).await;
            answer.map_err(|status| AskError::new(what, &self.socket, why(&status)))
        };
        match time::timeout(ANSWER, answer).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(AskError::new(what, &self.socket, Why::Slow(ANSWER))),
        }
    }

    async fn ready(&self, what: &'static str) -> Result<Grpc<Channel>, AskError> {
        let mut grpc = self.grpc.clone();
        let ready = grpc.ready().await;
        ready.map_err(|error| AskError::new(what, &self.socket, Why::Broken(ask::innermost(&error))))?;
        Ok(grpc)
    }
}

/// What a failed call says. What the connection or the message is to blame for has another error inside, what the runtime answers has none.
fn why(status: &Status) -> Why {
    match status.code() {
        _ if status.source().is_some() => Why::Broken(ask::innermost(status)),
        Code::OutOfRange if status.message().contains("message length too large") => Why::TooLarge,
        Code::Unimplemented => Why::NoCri(status.message().to_owned()),
        Code::Internal if status.message().contains("decode") => Why::Garbled(status.message().to_owned()),
        code => Why::Refused(format!("{code:?}: {}", status.message())),
    }
}

/// Gives the channel the connection that was made already, and no other: what broke is told, not mended in silence.
struct Once(Option<UnixStream>);

impl tower_service::Service<Uri> for Once {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or_else(|| io::Error::other("the runtime closed the connection")))
    }
}
