//! A Docker engine as a test wants it.

use super::serve::{Answer, Followers, Server, whole};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    collections::HashMap,
    convert::Infallible,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::net::UnixStream;

/// What it serves, and what it was asked.
#[derive(Default)]
pub struct World {
    /// Answers by path, without what follows a question mark.
    pub pages: HashMap<String, String>,
    pub events: Followers,
    pub asked: HashMap<String, u64>,
}

#[derive(Clone, Default)]
pub struct Engine(Arc<Mutex<World>>);

impl Engine {
    pub fn new() -> Self {
        let engine = Self::default();
        engine.page("/version", r#"{"Version":"27.1.0","Components":[{"Name":"Engine"}]}"#);
        engine.page("/containers/json", "[]");
        engine
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub fn page(&self, path: &str, json: &str) {
        self.world().pages.insert(path.to_owned(), json.to_owned());
    }

    pub fn asked(&self, path: &str) -> u64 {
        self.world().asked.get(path).copied().unwrap_or(0)
    }

    pub fn serve(&self, socket: &Path) -> Server {
        let this = self.clone();
        Server::start(socket, move |stream| connection(this.clone(), stream))
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let path = request.uri().path();
        let mut world = self.world();
        *world.asked.entry(path.to_owned()).or_default() += 1;
        let (status, body) = match world.pages.get(path) {
            _ if path == "/events" => (200, world.events.follow()),
            Some(page) => (200, whole(page.clone())),
            None => (404, whole(r#"{"message":"No such container"}"#)),
        };
        Ok(Response::builder().status(status).header("Content-Type", "application/json").body(body).unwrap())
    }
}

async fn connection(engine: Engine, stream: UnixStream) {
    let service = service_fn(move |request| engine.clone().answer(request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
