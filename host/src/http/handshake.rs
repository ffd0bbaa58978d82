//! The beginning of a connection with TLS.

use super::counts::NoHandshake;
use rustls::ServerConfig;
use std::{io, pin::Pin, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::Semaphore, time};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Within this time the client must have shown what it has to.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The first byte of every client of TLS: `handshake` (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// What one hears who speaks HTTP here.
const SPEAK_TLS: &str = "this port of netsonde speaks TLS: ask by https://\n";

/// A connection on which requests may come.
pub struct Shaken {
    pub stream: TlsStream<Pin<Box<TimeoutStream<TcpStream>>>>,
    /// Whether the client gave a certificate, which was as good as was asked for.
    pub has_certificate: bool,
}

/// Shakes hands, beside as many others as `places` says. `write_timeout` is for what is sent later.
pub async fn shake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    places: &Semaphore,
    write_timeout: Duration,
) -> Result<Shaken, NoHandshake> {
    let _place = places.try_acquire().map_err(|_| NoHandshake::TooMany)?;
    let shaking = async {
        if !speaks_tls(&stream).await.map_err(|_| NoHandshake::Closed)? {
            // What cannot be said is not said.
            let _ = tell_plain(&stream).await;
            return Err(NoHandshake::Plain);
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(write_timeout));
        TlsAcceptor::from(config).accept(Box::pin(stream)).await.map_err(|error| {
            tracing::debug!("A handshake failed: {error}");
            NoHandshake::Tls
        })
    };
    let stream = time::timeout(TIMEOUT, shaking).await.map_err(|_| NoHandshake::Timeout)??;
    let has_certificate = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
    Ok(Shaken { stream, has_certificate })
}

/// Looks at the first byte, and leaves it where it is.
async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        // What is neither is for TLS to refuse, with its own words.
        _ => Ok(first[0] == HANDSHAKE || !first[0].is_ascii_uppercase()),
    }
}

async fn tell_plain(stream: &TcpStream) -> io::Result<()> {
    // What is left unread would reset the connection, and take the answer with it.
    let mut request = [0; 4096];
    stream.try_read(&mut request)?;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{SPEAK_TLS}",
        SPEAK_TLS.len()
    );
    stream.writable().await?;
    // So little is taken whole, or not at all.
    stream.try_write(answer.as_bytes()).map(drop)
}
