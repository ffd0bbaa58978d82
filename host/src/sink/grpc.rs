//! Calls to another machine over gRPC, one at a time, over a connection that is kept.

mod dial;
pub mod status;

use super::{auth::Auth, fault::Fault, http::USER_AGENT, tls};
use dial::Dial;
use hyper::http::Uri;
use netsonde_core::config::Remote;
use std::sync::Arc;
use tokio::{
    runtime::{self, Runtime},
    task, time,
};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

/// One place that calls go to. Its runtime runs only while a call does.
pub struct Grpc {
    // Before the runtime, whose tasks it uses.
    channel: Option<Channel>,
    runtime: Option<Runtime>,
    remote: Remote,
    auth: Auth,
}

impl Grpc {
    /// Nothing is opened yet.
    pub fn new(remote: &Remote) -> Self {
        Self { channel: None, runtime: None, remote: remote.clone(), auth: Auth::new(remote) }
    }

    /// The URL, for messages.
    pub fn place(&self) -> &str {
        &self.remote.url
    }

    /// Reads the files that calls need.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(&mut self) -> Result<(), Fault> {
        self.auth.headers()?;
        let runtime = match &mut self.runtime {
            Some(runtime) => runtime,
            none => none.insert(start()?),
        };
        if self.channel.is_none() {
            // The channel starts a task.
            let _inside = runtime.enter();
            self.channel = Some(channel(&self.remote)?);
        }
        Ok(())
    }

    /// Makes a call, and waits for its answer: `call` gets a channel for the client that it makes, and the message with what must go with
    /// it.
    ///
    /// # Errors
    /// If there is no answer within the time limit, or one that says no.
    pub fn call<M, R, F>(&mut self, message: M, call: impl FnOnce(Channel, Request<M>) -> F) -> Result<R, Fault>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.open()?;
        let (Some(runtime), Some(channel)) = (&self.runtime, &self.channel) else {
            return Err(Fault::later("not connected"));
        };
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.auth.headers()?.clone());
        let limit = self.remote.timeout;
        let answer = runtime.block_on(async {
            // The connection's task learns first what has come since the last call, such as its end.
            for _ in 0..3 {
                task::yield_now().await;
            }
            time::timeout(limit, call(channel.clone(), request)).await
        });
        let fault = match answer {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) if status::is_answer(&status) => return Err(status::fault(&status)),
            Ok(Err(status)) => status::fault(&status),
            Err(_) => {
                Fault::later(format!("no answer within {limit:?}; is it overloaded, or does something drop packets?"))
            }
        };
        // The files of TLS may be others by now.
        self.channel = None;
        Err(fault)
    }
}

fn start() -> Result<Runtime, Fault> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Fault::later(format!("cannot start a runtime for gRPC: {error}")))
}

/// A channel that connects when it is used, and again when the connection has broken.
fn channel(remote: &Remote) -> Result<Channel, Fault> {
    let wrong = |error: &dyn std::fmt::Display| Fault::later(format!("cannot use the URL {}: {error}", remote.url));
    let uri: Uri = remote.url.parse().map_err(|error| wrong(&error))?;
    let secure = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().to_owned();
    let tls = if secure {
        let config = Arc::new(tls::client(&remote.tls, &[b"h2"])?);
        Some((config.into(), tls::server_name(&remote.tls, &host)?))
    } else {
        None
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    // It would do TLS by itself for `https`; the requests bear the true scheme.
    let endpoint =
        Endpoint::from_static("http://localhost").origin(uri).user_agent(USER_AGENT).map_err(|error| wrong(&error))?;
    Ok(endpoint.connect_with_connector_lazy(Dial::new(host, port, tls)))
}

#[cfg(test)]
mod tests;
