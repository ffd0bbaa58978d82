//! Sockets of container runtimes: what is asked over them, and what can go wrong.

use std::{
    error::Error,
    future::Future,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::UnixStream, task::JoinSet, time};

/// How long a runtime may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How long it may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// Bytes of an answer; that to the list of 10,000 containers has about ten million.
pub(super) const LARGEST: usize = 16 * 1024 * 1024;
/// How many details are asked for at once.
pub(super) const AT_ONCE: usize = 8;

/// What was asked, of whom, and why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{what} at {}: {why}", socket.display())]
pub struct AskError {
    pub what: &'static str,
    pub socket: PathBuf,
    pub why: Why,
}

#[derive(Debug, thiserror::Error)]
pub enum Why {
    #[error("there is no socket; start the runtime, or set pods.cri and pods.docker to where it listens, or to none")]
    Absent,
    #[error("permission denied; run the agent as root, or in the group that the socket belongs to")]
    Denied,
    #[error("nobody listens; is the runtime running?")]
    Unheard,
    #[error("{0}")]
    Connect(io::Error),
    #[error("no answer within {0:?}; does the runtime hang?")]
    Slow(Duration),
    #[error("the connection broke: {0}; if this lasts: is it the socket of such a runtime?")]
    Broken(String),
    #[error("the answer is not understood: {0}; is it the socket of such a runtime?")]
    Garbled(String),
    #[error("the answer has more than {} MiB; remove containers that have ended", LARGEST / 1024 / 1024)]
    TooLarge,
    #[error(
        "it does not serve version 1 of the Container Runtime Interface ({0}); if it is containerd, remove cri from disabled_plugins in \
         its configuration"
    )]
    NoCri(String),
    #[error("it answers {0}")]
    Refused(String),
}

impl AskError {
    pub(super) fn new(what: &'static str, socket: &Path, why: Why) -> Self {
        Self { what, socket: socket.to_owned(), why }
    }
}

/// Connects to a runtime's socket.
pub(super) async fn connect(socket: &Path) -> Result<UnixStream, AskError> {
    let why = match time::timeout(CONNECT, UnixStream::connect(socket)).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::NotFound => Why::Absent,
            io::ErrorKind::PermissionDenied => Why::Denied,
            // An ordinary file refuses too.
            io::ErrorKind::ConnectionRefused => Why::Unheard,
            _ => Why::Connect(error),
        },
        Err(_) => Why::Slow(CONNECT),
    };
    Err(AskError::new("connect to the container runtime", socket, why))
}

/// The error that the others tell of.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Asks for the details of each of `ids`, a few at once. Whoever does not wait for the end has what was taken until then. Gives how many
/// had no answer; a runtime that hangs is not asked for all of them.
pub(super) async fn each<A, F>(
    ids: Vec<String>,
    ask: impl Fn(String) -> F,
    mut take: impl FnMut(String, Result<A, AskError>),
) -> usize
where
    A: Send + 'static,
    F: Future<Output = Result<A, AskError>> + Send + 'static,
{
    let all = ids.len();
    let mut ids = ids.into_iter();
    let mut under_way = JoinSet::new();
    let (mut answered, mut slow) = (0, 0);
    loop {
        while under_way.len() < AT_ONCE
            && slow < AT_ONCE
            && let Some(id) = ids.next()
        {
            let answer = ask(id.clone());
            under_way.spawn(async move { (id, answer.await) });
        }
        match under_way.join_next().await {
            Some(Ok((id, answer))) => {
                answered += usize::from(answer.is_ok());
                slow += usize::from(answer.as_ref().is_err_and(|error| matches!(error.why, Why::Slow(_))));
                take(id, answer);
            }
            Some(Err(_)) => {}
            None => return all - answered,
        }
    }
}
