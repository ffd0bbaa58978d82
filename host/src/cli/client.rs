//! As much of an HTTP client as it takes to ask an agent: one GET, its answer line by line.
//!
//! By HTTP/1.0 (RFC 1945), which has neither chunks nor a second request on a connection: a body ends with it.

mod wire;

use super::{Failure, print};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};
use wire::{WAIT, Wire};

/// Bytes of an answer's head, of what an error says, and of one line.
const MAX_HEAD: u64 = 16 << 10;
const MAX_MESSAGE: u64 = 4 << 10;
const MAX_LINE: u64 = 8 << 20;

/// Types of content: one JSON object a line, or one.
pub const LINES: &str = "application/x-ndjson";
pub const OBJECT: &str = "application/json";

/// Which agent is asked, and by whom.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ClientArgs {
    /// Where the agent listens; `https://ADDRESS` if it speaks TLS
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:13119")]
    pub address: String,
    /// Certificates of the authority that signed the agent's, instead of those that this machine trusts
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A bearer token that the agent knows: the first line of this file
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A name and password that the agent knows: `NAME:PASSWORD` in the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    pub login_file: Option<PathBuf>,
    /// Our own certificate
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of our own certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Ask whoever answers, whatever its certificate says: others may listen
    #[arg(long)]
    pub insecure: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no agent answers at {address}: start one with `netsonde run`, or name its address with --address ({source})"
    )]
    NoAgent { address: String, source: io::Error },
    #[error("{address} is no address: {source}; write it like 127.0.0.1:13119, or https://127.0.0.1:13119")]
    Address { address: String, source: io::Error },
    #[error("what answers at {address} is no agent that tells this: name the agent's address with --address")]
    NotHttp { address: String },
    #[error("the agent at {address} answers {status}: {message}{help}")]
    Refused { address: String, status: u16, message: String, help: &'static str },
    #[error("the answer of the agent at {address} broke off: {source}")]
    BrokeOff { address: String, source: io::Error },
    #[error(
        "the certificate of the agent at {address} is not trusted: {source}; --ca names the authority that signed it"
    )]
    Untrusted { address: String, source: io::Error },
    #[error(
        "the agent at {address} ends the handshake: {source}; if it wants to know who asks, give it a certificate with --cert and --key"
    )]
    Turned { address: String, source: io::Error },
    #[error("what answers at {address} speaks no TLS: leave `https://` out of --address")]
    NoTls { address: String },
    #[error("--ca, --cert and --insecure are for TLS: write --address https://{address}")]
    OnlyTls { address: String },
    #[error("cannot use {}: {source}", .file.display())]
    Pem { file: PathBuf, source: io::Error },
    #[error("{}: its first line {what}", .file.display())]
    Secret { file: PathBuf, what: &'static str },
    #[error("cannot speak TLS with these files: {source}")]
    Tls { source: rustls::Error },
}

/// The lines of an answer.
pub struct Answer {
    address: String,
    body: BufReader<Wire>,
}

/// Asks for `path`, which must be one JSON object.
pub fn object(agent: &ClientArgs, path: &str) -> Result<Value, Failure> {
    let text = get(agent, path, OBJECT, false)?.collect::<Result<String, _>>()?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::failed(format!("what the agent at {} says is no JSON: {error}", agent.address)))
}

/// Asks for `path`, which must be of a type of content. Those who `follow` wait for the next line without end.
pub fn get(agent: &ClientArgs, path: &str, content: &str, follow: bool) -> Result<Answer, ClientError> {
    let address = agent.address.as_str();
    let (host, tls) = host(address);
    if !tls && (agent.ca.is_some() || agent.cert.is_some() || agent.insecure) {
        return Err(ClientError::OnlyTls { address: host.to_owned() });
    }
    let who = authorization(agent)?;
    if !tls && !who.is_empty() && !is_loopback(host) {
        print::warn(&format!(
            "without TLS everybody on the way to {host} can read who asks: use --address https://{host}"
        ));
    }
    let mut body = BufReader::new(wire::connect(agent, host, tls)?);
    let head = ask(&mut body, host, path, &who).map_err(|source| wire::of_tls(address, source))?;
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
            help: help(status),
        });
    }
    if !head.to_ascii_lowercase().contains(content) {
        return Err(not_http());
    }
    let no_agent = |source| ClientError::NoAgent { address: address.to_owned(), source };
    body.get_ref().set_read_timeout((!follow).then_some(WAIT)).map_err(no_agent)?;
    Ok(Answer { address: address.to_owned(), body })
}

/// What of an address is for the connection, and whether TLS is spoken on it.
fn host(address: &str) -> (&str, bool) {
    let (rest, tls) = match address.strip_prefix("https://") {
        Some(rest) => (rest, true),
        None => (address.strip_prefix("http://").unwrap_or(address), false),
    };
    (rest.trim_end_matches('/'), tls)
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<SocketAddr>().map(|address| address.ip());
    address.as_ref().is_ok_and(IpAddr::is_loopback) || host.split(':').next() == Some("localhost")
}

/// What would let an answer with this status be another.
fn help(status: u16) -> &'static str {
    match status {
        401 => "; --token-file names a file with a token, --login-file one with a name and password",
        403 => "; --token-file gives a token, --cert and --key a certificate, if the agent takes them",
        _ => "",
    }
}

/// The header that says who asks, empty if nobody does.
fn authorization(agent: &ClientArgs) -> Result<String, ClientError> {
    let line = |file: &PathBuf, right: fn(&str) -> bool, what| {
        let bytes = wire::read(file)?;
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("");
        let right = !line.is_empty() && !line.chars().any(char::is_control) && right(line);
        right.then(|| line.to_owned()).ok_or_else(|| ClientError::Secret { file: file.clone(), what })
    };
    if let Some(file) = &agent.token_file {
        let token = line(file, |line| line.bytes().all(|byte| byte.is_ascii_graphic()), "is no token")?;
        return Ok(format!("Authorization: Bearer {token}\r\n"));
    }
    let Some(file) = &agent.login_file else { return Ok(String::new()) };
    let login = line(file, |line| line.contains(':'), "is not NAME:PASSWORD")?;
    Ok(format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(login)))
}

/// Sends the request and gives the head of the answer.
fn ask(body: &mut BufReader<Wire>, host: &str, path: &str, who: &str) -> io::Result<String> {
    let stream = body.get_mut();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n{who}\r\n").as_bytes())?;
    stream.flush()?;
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
            ClientError::Refused { status: 400, .. }
            | ClientError::Address { .. }
            | ClientError::OnlyTls { .. }
            | ClientError::Pem { .. }
            | ClientError::Secret { .. } => Failure::wrong([error]),
            error => Failure::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, thread};

    fn at(address: &str) -> ClientArgs {
        ClientArgs { address: address.to_owned(), ..ClientArgs::default() }
    }

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
        let lines =
            get(&at(&address), "/events?", LINES, false).and_then(|answer| answer.collect::<Result<Vec<_>, _>>());
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
            (
                "HTTP/1.1 401 Unauthorized\r\n\r\nwho asks?\n",
                "at HERE answers 401: who asks?; --token-file names a file",
            ),
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
        let error = get(&at(&port.to_string()), "/", LINES, false).map(|_| ()).unwrap_err();
        assert!(matches!(error, ClientError::NoAgent { .. }), "{error}");
        let error = get(&at("127.0.0.1"), "/", LINES, false).map(|_| ()).unwrap_err();
        assert!(matches!(error, ClientError::Address { .. }), "{error}");
    }

    #[test]
    fn an_address_says_whether_tls_is_spoken() {
        for (address, want) in [
            ("127.0.0.1:13119", ("127.0.0.1:13119", false)),
            ("http://node:1/", ("node:1", false)),
            ("https://[::1]:1", ("[::1]:1", true)),
        ] {
            assert_eq!(host(address), want);
        }
        for (host, loopback) in [("127.0.0.1:1", true), ("[::1]:1", true), ("localhost:1", true), ("10.0.0.1:1", false)]
        {
            assert_eq!(is_loopback(host), loopback, "{host}");
        }
        let insecure = ClientArgs { insecure: true, ..at("127.0.0.1:1") };
        let error = get(&insecure, "/", LINES, false).map(|_| ()).unwrap_err();
        assert!(matches!(error, ClientError::OnlyTls { .. }), "{error}");
    }
}
