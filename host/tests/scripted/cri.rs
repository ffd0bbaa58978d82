//! A container runtime as a test wants it: gRPC by hand.

use super::serve::{Answer, Followers, Server, whole};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::Incoming,
    header::{HeaderMap, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use netsonde::scope::cri::messages as m;
use prost::Message;
use std::{
    collections::HashMap,
    convert::Infallible,
    future,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::net::UnixStream;

const UNIMPLEMENTED: &str = "12";
const UNKNOWN: &str = "2";

/// A pod as the runtime has it.
#[derive(Clone)]
pub struct Pod {
    pub id: String,
    pub namespace: String,
    pub name: String,
    pub ready: bool,
    pub host: bool,
    pub pid: u32,
    pub netns: String,
    pub ip: String,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    pub containers: Vec<Container>,
}

#[derive(Clone)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub pid: u32,
    pub running: bool,
}

/// What it serves, and what it was asked.
#[derive(Default)]
pub struct World {
    pub name: String,
    pub version: String,
    pub pods: Vec<Pod>,
    /// What `GetContainerEvents` does: None, it is not there.
    pub events: Option<Followers>,
    /// Calls that get an error, and calls that get no answer.
    pub failing: Vec<String>,
    pub hanging: Vec<String>,
    /// Added to each status, in bytes.
    pub padding: usize,
    /// How often each call was made.
    pub asked: HashMap<String, u64>,
}

/// A world that is served, and can be changed meanwhile.
#[derive(Clone)]
pub struct Runtime(Arc<Mutex<World>>);

impl Runtime {
    pub fn new(name: &str, version: &str) -> Self {
        Self(Arc::new(Mutex::new(World { name: name.into(), version: version.into(), ..World::default() })))
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub fn asked(&self, method: &str) -> u64 {
        self.world().asked.get(method).copied().unwrap_or(0)
    }

    pub fn add(&self, pod: Pod) {
        self.world().pods.push(pod);
    }

    pub fn remove(&self, name: &str) {
        self.world().pods.retain(|pod| pod.name != name);
    }

    pub fn serve(&self, socket: &Path) -> Server {
        let this = self.clone();
        Server::start(socket, move |stream| connection(this.clone(), stream))
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let method = request.uri().path().strip_prefix(m::SERVICE).unwrap_or_default().to_owned();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let hangs = {
            let mut world = self.world();
            *world.asked.entry(method.clone()).or_default() += 1;
            world.hanging.contains(&method)
        };
        if hangs {
            future::pending::<()>().await;
        }
        Ok(self.world().answer(&method, body.get(5..).unwrap_or_default()))
    }
}

impl World {
    fn answer(&self, method: &str, request: &[u8]) -> Response<Answer> {
        if self.failing.iter().any(|failing| failing == method) {
            return status(UNKNOWN, "it was told to fail");
        }
        match method {
            "Version" => {
                good(&m::VersionResponse { runtime_name: self.name.clone(), runtime_version: self.version.clone() })
            }
            "ListPodSandbox" => good(&m::ListPodSandboxResponse { items: self.pods.iter().map(Pod::listed).collect() }),
            "ListContainers" => {
                let listed = |pod: &Pod| pod.containers.iter().map(|one| one.listed(&pod.id)).collect::<Vec<_>>();
                good(&m::ListContainersResponse { containers: self.pods.iter().flat_map(listed).collect() })
            }
            "PodSandboxStatus" => {
                let id = m::StatusRequest::decode(request).unwrap().id;
                match self.pods.iter().find(|pod| pod.id == id) {
                    Some(pod) => good(&pod.status(self.padding)),
                    None => status("5", "no such sandbox"),
                }
            }
            "ContainerStatus" => {
                let id = m::StatusRequest::decode(request).unwrap().id;
                let found =
                    self.pods.iter().find_map(|pod| Some((pod, pod.containers.iter().find(|one| one.id == id)?)));
                match found {
                    Some((pod, one)) => good(&one.status(&pod.id, self.padding)),
                    None => status("5", "no such container"),
                }
            }
            "GetContainerEvents" if self.events.is_some() => {
                let events = self.events.as_ref().unwrap();
                Response::builder().header("content-type", "application/grpc").body(events.follow()).unwrap()
            }
            _ => status(UNIMPLEMENTED, &format!("unknown method {method} for service runtime.v1.RuntimeService")),
        }
    }
}

async fn connection(runtime: Runtime, stream: UnixStream) {
    let service = service_fn(move |request| runtime.clone().answer(request));
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn good(message: &impl Message) -> Response<Answer> {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let body = whole(frame(message)).with_trailers(future::ready(Some(Ok(trailers)))).boxed();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// A message as gRPC sends it: not compressed, and its length.
fn frame(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

fn status(code: &str, message: &str) -> Response<Answer> {
    let response = Response::builder().header("content-type", "application/grpc");
    response.header("grpc-status", code).header("grpc-message", message).body(whole("")).unwrap()
}

/// What the runtime sends to those who follow.
pub fn event(container: &str) -> Bytes {
    frame(&m::ContainerEventResponse { container_id: container.to_owned() })
}

fn entries(pairs: &[(String, String)]) -> Vec<m::Entry> {
    pairs.iter().map(|(key, value)| m::Entry { key: key.clone(), value: value.clone() }).collect()
}

/// As containerd writes it, and so long.
fn info(pid: u32, cgroup: &str, netns: Option<&str>, padding: usize) -> Vec<m::Entry> {
    let network = netns.map(|path| format!(r#",{{"type":"network","path":"{path}"}}"#)).unwrap_or_default();
    let mount = r#"{"destination":"/dev/shm","type":"bind","source":"/run/containerd/shm","options":["rbind","ro"]},"#;
    let mounts = mount.repeat(padding / mount.len());
    let value = format!(
        r#"{{"pid":{pid},"processStatus":"running","netNamespaceClosed":false,"runtimeSpec":{{"ociVersion":"1.0.2-dev","mounts":[{}],
        "linux":{{"cgroupsPath":"{cgroup}","namespaces":[{{"type":"pid"}},{{"type":"mount"}}{network}]}}}}}}"#,
        mounts.trim_end_matches(',')
    );
    vec![m::Entry { key: "info".to_owned(), value }]
}

impl Pod {
    /// A pod that runs, with a container of the same name; `number` makes its ids.
    pub fn new(number: u32, namespace: &str, name: &str) -> Self {
        Self {
            id: format!("{number:064x}"),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ready: true,
            host: false,
            pid: 10_000 + number,
            netns: format!("/var/run/netns/cni-{number}"),
            ip: format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
            labels: vec![("app".to_owned(), name.to_owned())],
            annotations: Vec::new(),
            containers: vec![Container {
                id: format!("c{number:063x}"),
                name: name.to_owned(),
                pid: 50_000 + number,
                running: true,
            }],
        }
    }

    fn cgroup(&self) -> String {
        format!("/kubepods/besteffort/poduid-{}/{}", self.name, self.id)
    }

    fn listed(&self) -> m::PodSandbox {
        m::PodSandbox {
            created_at: 0,
            id: self.id.clone(),
            metadata: Some(m::PodSandboxMetadata {
                name: self.name.clone(),
                uid: format!("uid-{}", self.name),
                namespace: self.namespace.clone(),
            }),
            state: i32::from(!self.ready),
            labels: entries(&self.labels),
            annotations: entries(&self.annotations),
        }
    }

    fn status(&self, padding: usize) -> m::PodSandboxStatusResponse {
        let network = if self.host { m::NODE } else { 0 };
        let options = m::NamespaceOption { network };
        m::PodSandboxStatusResponse {
            status: Some(m::PodSandboxStatus {
                network: Some(m::PodSandboxNetworkStatus { ip: self.ip.clone(), additional_ips: Vec::new() }),
                linux: Some(m::LinuxPodSandboxStatus { namespaces: Some(m::Namespace { options: Some(options) }) }),
            }),
            info: info(self.pid, &self.cgroup(), (!self.host).then_some(&self.netns), padding),
        }
    }
}

impl Container {
    fn listed(&self, pod: &str) -> m::Container {
        m::Container {
            id: self.id.clone(),
            pod_sandbox_id: pod.to_owned(),
            metadata: Some(m::ContainerMetadata { name: self.name.clone() }),
            image: Some(m::ImageSpec { image: "sha256:0123".to_owned(), user_specified_image: String::new() }),
            state: if self.running { m::CONTAINER_RUNNING } else { 2 },
        }
    }

    fn status(&self, pod: &str, padding: usize) -> m::ContainerStatusResponse {
        let image =
            m::ImageSpec { image: format!("registry.example/{}:1", self.name), user_specified_image: String::new() };
        m::ContainerStatusResponse {
            status: Some(m::ContainerStatus { image: Some(image) }),
            info: info(self.pid, &format!("/kubepods/besteffort/{pod}/{}", self.id), None, padding),
        }
    }
}
