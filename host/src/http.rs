//! The HTTP server: a few pages, and clients that it must survive.
//!
//! It knows no agent: what the pages hold comes from a [`Pages`].

pub mod accept;
mod access;
mod body;
pub mod counts;
mod handshake;
pub mod index;
mod password;
pub mod query;
mod route;
pub mod security;
mod serve;
mod tls;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use index::Index;
use query::EventsQuery;
use serde_json::Value;
use std::{
    future::Future,
    io::{self, Write},
    net::SocketAddr,
    pin::Pin,
    time::Duration,
};
use tokio::net::TcpListener;

pub use serve::serve;

/// What is served.
pub trait Pages: Send + Sync + 'static {
    /// The metrics, in the format that `accept` asks for. `timeout` is what the scraper waits, if it said so.
    fn metrics(
        &self,
        accept: Option<String>,
        timeout: Option<Duration>,
        gzip: bool,
    ) -> Pin<Box<dyn Future<Output = Page> + Send + '_>>;

    /// Whether the metrics are of use.
    ///
    /// # Errors
    /// Why not, a line each.
    fn ready(&self) -> Result<(), String>;

    /// How each probe is.
    fn probes(&self) -> Value;

    /// Which pods there are, and how each was found.
    fn pods(&self) -> Value;

    /// What became of every row and event.
    fn ledger(&self) -> Value;

    /// What the flight recorder has, one JSON object a line.
    fn recorder(&self) -> Page;

    /// Events, one JSON object a line.
    fn events(&self, query: EventsQuery) -> Page;

    /// What the first page tells.
    fn index(&self) -> Index;

    /// A connection was closed unanswered, as too many are open: to be counted.
    fn refused_connection(&self);
}

/// One answer.
pub struct Page {
    pub status: u16,
    pub content_type: String,
    /// As in the header `Content-Encoding`.
    pub encoding: Option<&'static str>,
    pub content: Content,
}

/// What an answer holds.
pub enum Content {
    Whole(Bytes),
    /// What is not there yet when the answer begins.
    Feed(Box<dyn Feed>),
}

/// Bytes that come one after the other.
pub trait Feed: Send {
    /// Waits for the next ones; None at the end. It is asked only when the client has taken those before, and may be dropped while it waits.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + '_>>;
}

impl Page {
    /// All of it at once, uncompressed.
    pub fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: content_type.into(), encoding: None, content: Content::Whole(body.into()) }
    }

    /// A line or more of plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.push('\n');
        Self::whole(status, "text/plain; charset=utf-8", text)
    }
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("{address} is in use by another program: stop that one, or set `listen` to another address")]
    InUse { address: SocketAddr },
    #[error("cannot listen on {address}: {source}; `listen` sets another address")]
    Other { address: SocketAddr, source: io::Error },
}

/// Takes the address.
///
/// # Errors
/// If another program has it, or this machine does not.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        _ => ListenError::Other { address, source },
    })
}

/// Packs a body. Level 1: a page of 10 MB takes half the time of level 6, and is hardly larger.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    let _ = packed.write_all(body);
    packed.finish().unwrap_or_default()
}
