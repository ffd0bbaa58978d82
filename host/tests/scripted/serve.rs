//! A server on a Unix socket, on a thread of its own, that ends when it is dropped.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame};
use std::{
    convert::Infallible,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    thread::{self, JoinHandle},
};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime::Builder,
    sync::{Notify, mpsc},
};

/// A folder for sockets, removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("netsonde-runtimes-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The thread. With it go the socket and all connections.
pub struct Server {
    socket: PathBuf,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Calls `each` for each connection.
    pub fn start<F>(socket: &Path, each: impl Fn(UnixStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = Arc::new(Notify::new());
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = UnixListener::from_std(listener).unwrap();
                loop {
                    tokio::select! {
                        () = stopped.notified() => return,
                        accepted = listener.accept() => drop(tokio::spawn(each(accepted.unwrap().0))),
                    }
                }
            });
        });
        Self { socket: socket.to_owned(), stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.socket);
    }
}

pub type Answer = BoxBody<Bytes, Infallible>;

pub fn whole(bytes: impl Into<Bytes>) -> Answer {
    Full::new(bytes.into()).boxed()
}

/// Who follows, and gets whatever is sent from now on.
#[derive(Clone, Default)]
pub struct Followers(Arc<Mutex<Vec<mpsc::UnboundedSender<Bytes>>>>);

impl Followers {
    pub fn send(&self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.0.lock().unwrap().retain(|follower| follower.send(bytes.clone()).is_ok());
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// All streams end.
    pub fn end(&self) {
        self.0.lock().unwrap().clear();
    }

    pub fn follow(&self) -> Answer {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().unwrap().push(sender);
        Stream(receiver).boxed()
    }
}

struct Stream(mpsc::UnboundedReceiver<Bytes>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
