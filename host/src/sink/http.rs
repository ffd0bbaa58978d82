//! Requests to another machine over HTTP/1.1, one at a time, over a connection that is kept.
//!
//! No redirect is followed, as credentials would go with it; no environment variable names a proxy.

mod secure;

use super::{
    auth::Auth,
    fault::{Fault, innermost, quoted},
    tls,
};
use hyper::http::{
    HeaderMap, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use netsonde_core::config::Remote;
use secure::Secure;
use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};
use ureq::{
    Agent,
    unversioned::{
        resolver::DefaultResolver,
        transport::{Connector, TcpConnector},
    },
};

pub const USER_AGENT: &str = concat!("netsonde/", env!("CARGO_PKG_VERSION"));

/// Bytes of an answer that are read.
const LARGEST: u64 = 64 << 10;
/// A connection that was not used for so long is closed: the other side, or something between, may have forgotten it.
const IDLE: Duration = Duration::from_secs(55);

/// One place that requests go to.
pub struct Http {
    remote: Remote,
    url: String,
    auth: Auth,
    /// None before the first request, and after one that failed: the files of TLS may be others by now.
    agent: Option<Agent>,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// `application/x-protobuf`.
    pub kind: &'static str,
    /// `gzip`.
    pub encoding: Option<&'static str>,
    pub bytes: &'a [u8],
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub after: Option<Duration>,
    /// Where a redirect leads.
    location: Option<String>,
    /// The first 64 KiB.
    pub body: Vec<u8>,
}

impl Http {
    /// `path` is added to the URL. Nothing is opened yet.
    pub fn new(remote: &Remote, path: &str) -> Self {
        Self { remote: remote.clone(), url: format!("{}{path}", remote.url), auth: Auth::new(remote), agent: None }
    }

    /// The same with one more header in each request.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.auth.set(name, value);
        self
    }

    /// The whole URL, for messages.
    pub fn place(&self) -> &str {
        &self.url
    }

    /// Reads the files that requests need.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(&mut self) -> Result<(), Fault> {
        self.auth.headers()?;
        if self.agent.is_none() {
            self.agent = Some(agent(&self.remote, &self.url)?);
        }
        Ok(())
    }

    /// Sends it, and waits for the answer.
    ///
    /// # Errors
    /// If there is none, or not within the time limit: always such that it may be tried again.
    pub fn post(&mut self, content: Content<'_>) -> Result<Answer, Fault> {
        self.open()?;
        let Some(agent) = &self.agent else { return Err(Fault::later("not connected")) };
        let mut request = agent.post(&self.url).header(CONTENT_TYPE, content.kind);
        if let Some(encoding) = content.encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        for (name, value) in self.auth.headers()? {
            request = request.header(name, value);
        }
        let answer = request.send(content.bytes).and_then(|answer| {
            let (head, body) = answer.into_parts();
            let mut bytes = Vec::new();
            body.into_reader().take(LARGEST).read_to_end(&mut bytes)?;
            let location = head.headers.get(LOCATION).map(|location| quoted(location.as_bytes()));
            Ok(Answer { status: head.status, after: after(&head.headers), location, body: bytes })
        });
        answer.map_err(|error| {
            self.agent = None;
            Fault::later(told(error, &self.remote))
        })
    }
}

/// Errors of a client that the same events may be free of at another time.
const NOT_OF_THE_EVENTS: [StatusCode; 5] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_MANY_REQUESTS,
];

impl Answer {
    /// The body, if the other side has said yes.
    ///
    /// # Errors
    /// What it says instead. It may be tried again after 408, 429 and 5xx, and after what is not the events' fault and somebody has to mend:
    /// a redirect, a token that has run out (401, 403), a wrong address (404). What waits meanwhile is not lost.
    pub fn accepted(self) -> Result<Vec<u8>, Fault> {
        let status = self.status;
        if status.is_success() {
            return Ok(self.body);
        }
        let says = quoted(&self.body);
        let why = if says.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {says}") };
        if let Some(location) = self.location.filter(|_| status.is_redirection()) {
            return Err(Fault::later(format!(
                "{why}, and sends us to {location}; if that is right, write it as `url`"
            )));
        }
        let refused = status.is_client_error() && !NOT_OF_THE_EVENTS.contains(&status);
        Err(if refused { Fault::never(why) } else { Fault::later_after(why, self.after) })
    }
}

fn agent(remote: &Remote, url: &str) -> Result<Agent, Fault> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(USER_AGENT)
        .timeout_global(Some(remote.timeout))
        .max_idle_age(IDLE)
        .max_idle_connections(1)
        .build();
    let secure = if url.starts_with("https:") {
        let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        let name = tls::server_name(&remote.tls, &host)?;
        Some((Arc::new(tls::client(&remote.tls, &[])?), name))
    } else {
        None
    };
    let connector = ().chain(TcpConnector::default()).chain(Secure(secure));
    Ok(Agent::with_parts(config, connector, DefaultResolver::default()))
}

/// Seconds only: whoever answers with a date has seldom the agent's clock.
fn after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn told(error: ureq::Error, remote: &Remote) -> String {
    match error {
        ureq::Error::Timeout(_) => {
            format!("no answer within {:?}; is it overloaded, or does something drop packets?", remote.timeout)
        }
        ureq::Error::HostNotFound => "its name leads to no address".to_owned(),
        ureq::Error::Protocol(error) => format!("what answers there speaks no HTTP: {error}"),
        ureq::Error::Io(error) => io_told(&error, remote.url.starts_with("https:")),
        other => other.to_string(),
    }
}

fn io_told(error: &io::Error, secure: bool) -> String {
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is it running, and is the port right?",
        io::ErrorKind::InvalidData if secure => "; see `tls.ca` and `tls.server_name`",
        _ => "",
    };
    format!("{}{hint}", error.get_ref().map_or_else(|| error.to_string(), |inner| innermost(inner)))
}

#[cfg(test)]
mod tests;
