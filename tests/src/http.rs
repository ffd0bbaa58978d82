//! A client as simple as HTTP/1.1 allows: the tests want to see every byte.

use crate::netns::within;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

/// What a server answered.
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// `GET path` with these headers.
///
/// # Panics
/// If there is no answer within 10 s.
pub fn get(address: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    try_get(address, path, headers).unwrap_or_else(|error| panic!("GET http://{address}{path}: {error}"))
}

/// The same, for a server that may not be there.
pub fn try_get(address: &str, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Response> {
    ask(TcpStream::connect(address)?, address, path, headers)
}

/// The same, of a server in the network namespace that this file stands for.
pub fn try_get_within(netns: &Path, address: &str, path: &str) -> std::io::Result<Response> {
    ask(within(netns, || TcpStream::connect(address))?, address, path, &[])
}

fn ask(mut stream: TcpStream, address: &str, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Response> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| std::io::Error::other("no complete HTTP response"))
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<String, String> =
        headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let body = &bytes[end + 4..];
    let chunked = headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
    Some(Response { status, headers, body: if chunked { joined(body)? } else { body.to_vec() } })
}

/// What came in chunks (RFC 9112, 7.1), as one.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).ok()?, 16).ok()?;
        let rest = &chunks[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        chunks = rest.get(size + 2..)?;
    }
}
