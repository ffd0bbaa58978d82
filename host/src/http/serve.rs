//! Connections: how many, how long, and their end.

use super::{
    Pages,
    access::Peer,
    handshake::{self, Shaken},
    route,
    security::Security,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time,
};
use tokio_io_timeout::TimeoutStream;

/// Connections at once; further ones are closed at once, so that those who scrape are never behind a queue of those who do not.
const MAX_CONNECTIONS: usize = 256;

/// A request's head must arrive within this time, and the connection is closed if no further request does.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that takes nothing of its answer for so long has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection ends after this time, between two requests if it can: clients that take their answers a byte at a time hold no place for
/// good. Those who scrape, and those who follow the events, connect again.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// Bytes of a request's head; what Prometheus sends has a few hundred.
const HEAD_BYTES: usize = 16 * 1024;

/// After a failed accept (no descriptors left): let others end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets the requests that run end, for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    pages: Arc<dyn Pages>,
    security: Arc<Security>,
    stop: impl Future<Output = ()> + Send,
    drain: Duration,
) {
    let (stopping, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let Ok(slot) = slots.clone().try_acquire_owned() else {
                    pages.refused_connection();
                    continue;
                };
                let connection = connection(stream, from, pages.clone(), security.clone(), stopped.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("Cannot accept a connection: {error}");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    // When every slot is free, every connection has ended.
    if time::timeout(drain, slots.acquire_many(MAX_CONNECTIONS as u32)).await.is_err() {
        tracing::warn!("Some requests had not ended within {drain:?}.");
    }
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    pages: Arc<dyn Pages>,
    security: Arc<Security>,
    mut stopped: watch::Receiver<bool>,
) {
    let files = security.now();
    let peer = Peer { address: from.ip(), certified: false };
    let Some(tls) = &files.tls else {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        return requests(Box::pin(stream), peer, pages, security, stopped).await;
    };
    let shaken = tokio::select! {
        shaken = handshake::shake(stream, tls.clone(), &security.handshakes, WRITE_TIMEOUT) => shaken,
        // Whether it is said, or nobody is left to say it.
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    match shaken {
        Ok(Shaken { stream, has_certificate }) => {
            let peer = Peer { certified: files.certifies && has_certificate, ..peer };
            requests(stream, peer, pages, security, stopped).await;
        }
        Err(why) => security.counts.no_handshake(why),
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    pages: Arc<dyn Pages>,
    security: Arc<Security>,
    mut stopped: watch::Receiver<bool>,
) {
    // Tells an answer without an end that its time has come.
    let (end, ending) = watch::channel(false);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (pages, security, ending) = (pages.clone(), security.clone(), ending.clone());
        async move { Ok::<_, Infallible>(route::answer(request, peer, &security, pages, ending).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = async { stopped.wait_for(|stopped| *stopped).await.is_ok() } => {
            end.send_replace(true);
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = time::sleep(MAX_AGE) => {
            end.send_replace(true);
            connection.as_mut().graceful_shutdown();
            time::timeout(WRITE_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("A connection ended early: {error}");
    }
}
