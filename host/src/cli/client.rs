//! As much of an HTTP client as it takes to ask an agent: one GET, its answer line by line.
//!
//! By HTTP/1.0 (RFC 1945), which has neither chunks nor a second request on a connection: a body ends with it.

use super::Failure;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

/// How long to wait for a connection and for the beginning of an answer.
const WAIT: Duration = Duration::from_secs(10);

/// Bytes of an answer's head, of what an error says, and of one line.
const MAX_HEAD: u64 = 16 << 10;
const MAX_MESSAGE: u64 = 4 << 10;
const MAX_LINE: u64 = 8 << 20;

/// Types of content: one JSON object a line, or one.
pub const LINES: &str = "application/x-ndjson";
pub const OBJECT: &str = "application/json";

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no agent answers at {address}: start one with `netsonde run`, or name its address with --address ({source})"
    )]
    NoAgent { address: String, source: io::Error },
    #[error("{address} is no address: {source}; write it like 127.0.0.1:13119")]
    Address { address: String, source: io::Error },
    #[error("what answers at {address} is no agent that tells this: name the agent's address with --address")]
    NotHttp { address: String },
    #[error("the agent at {address} answers {status}: {message}")]
    Refused { address: String, status: u16, message: String },
    #[error("the answer of the agent at {address} broke off: {source}")]
    BrokeOff { address: String, source: io::Error },
}

/// The lines of an answer.
pub struct Answer {
    address: String,
    body: BufReader<TcpStream>,
}

/// Asks for `path`, which must be of a type of content. Those who `follow` wait for the next line without end.
pub fn get(address: &str, path: &str, content: &str, follow: bool) -> Result<Answer, ClientError> {
    let stream = connect(address)?;
    let no_agent = |source| ClientError::NoAgent { address: address.to_owned(), source };
    let mut body = BufReader::new(stream);
    let head = ask(&mut body, address, path).map_err(no_agent)?;
    let not_http = || ClientError::NotHttp { address: address.to_owned() };
    let status = status(&head).ok_or_else(not_http)?;
    if status != 200 {
        let mut message = String::new();
        // What of it cannot be read is missing in the message, no more.
        let _ = body.take(MAX_MESSAGE).read_to_string(&mut message);
        return Err(ClientError::Refused {
            address: address.to_owned(),
            status,
            message: message.trim_end().to_owned(),
        });
    }
    if !head.to_ascii_lowercase().contains(content) {
        return Err(not_http());
    }
    body.get_ref().set_read_timeout((!follow).then_some(WAIT)).map_err(no_agent)?;
    Ok(Answer { address: address.to_owned(), body })
}

fn connect(address: &str) -> Result<TcpStream, ClientError> {
    let addresses =
        address.to_socket_addrs().map_err(|source| ClientError::Address { address: address.to_owned(), source })?;
    let mut last = io::Error::other("the name has no address");
    for one in addresses {
        match TcpStream::connect_timeout(&one, WAIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ClientError::NoAgent { address: address.to_owned(), source: last })
}

/// Sends the request and gives the head of the answer.
fn ask(body: &mut BufReader<TcpStream>, address: &str, path: &str) -> io::Result<String> {
    let mut stream = body.get_ref();
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let (mut head, mut rest) = (Vec::new(), body.take(MAX_HEAD));
    loop {
        let before = head.len();
        rest.read_until(b'\n', &mut head)?;
        match &head[before..] {
            b"\r\n" | b"\n" => return Ok(String::from_utf8_lossy(&head).into_owned()),
            line if !line.ends_with(b"\n") => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
}

/// The status in the first line of a head.
fn status(head: &str) -> Option<u16> {
    let (version, rest) = head.split_once(' ')?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    rest.get(..3)?.parse().ok()
}

impl Iterator for Answer {
    type Item = Result<String, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let read = (&mut self.body).take(MAX_LINE).read_until(b'\n', &mut line);
        let broke_off = |source| ClientError::BrokeOff { address: self.address.clone(), source };
        match read {
            Ok(0) => None,
            Ok(_) if line.ends_with(b"\n") => {
                Some(String::from_utf8(line).map_err(|error| broke_off(io::Error::other(error))))
            }
            Ok(_) => Some(Err(broke_off(io::ErrorKind::UnexpectedEof.into()))),
            Err(error) => Some(Err(broke_off(error))),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { status: 400, .. } | ClientError::Address { .. } => Failure::wrong([error]),
            error => Failure::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    /// What the client makes of a server that says this.
    fn answer(said: &'static str) -> Result<Vec<String>, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /events? HTTP/1.0\r\n"));
            stream.write_all(said.as_bytes()).unwrap();
        });
        let lines = get(&address, "/events?", LINES, false).and_then(|answer| answer.collect::<Result<Vec<_>, _>>());
        server.join().unwrap();
        lines.map_err(|error| error.to_string().replace(&address, "HERE"))
    }

    #[test]
    fn lines_come_one_by_one_and_what_is_none_says_so() {
        const HEAD: &str = "HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n";
        let good = format!("{HEAD}{{}}\n{{\"a\":1}}\n").leak();
        assert_eq!(answer(good), Ok(vec!["{}\n".to_owned(), "{\"a\":1}\n".to_owned()]));
        assert_eq!(answer(HEAD), Ok(vec![]));
        for (said, told) in [
            (&*format!("{HEAD}{{").leak(), "the answer of the agent at HERE broke off"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n32 clients\n", "at HERE answers 503: 32 clients"),
            ("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n", "no agent that tells this"),
            ("SSH-2.0-OpenSSH_9.9\r\n\r\n", "no agent that tells this"),
            ("", "no agent answers at HERE: start one with `netsonde run`, or name its address with --address"),
        ] {
            let error = answer(said).unwrap_err();
            assert!(error.contains(told), "{said}: {error}");
        }
    }

    #[test]
    fn nobody_there_and_no_address_are_told_apart() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = get(&port.to_string(), "/", LINES, false).map(|_| ()).unwrap_err();
        assert!(matches!(error, ClientError::NoAgent { .. }), "{error}");
        let error = get("127.0.0.1", "/", LINES, false).map(|_| ()).unwrap_err();
        assert!(matches!(error, ClientError::Address { .. }), "{error}");
    }
}
