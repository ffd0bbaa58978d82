//! Grafana Loki: its push API, protobuf compressed with snappy.
//!
//! Source: <https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>

pub mod encode;

use super::{
    Sink, SinkError,
    fault::Fault,
    http::{Content, Http},
};
use encode::Encoder;
use netsonde_core::{
    config::{LOKI_PUSH, LokiSink},
    event::Event,
};
use snap::raw;

/// What the buffers keep of their room: a batch of usual events takes less.
const KEPT: usize = 1 << 20;
/// The answer to a push without a stream.
const NO_STREAM: &str = "at least one valid stream is required";

/// Each delivery is one push.
pub struct Loki {
    name: String,
    http: Http,
    encoder: Encoder,
    snappy: raw::Encoder,
    compressed: Vec<u8>,
}

impl Loki {
    pub fn new(name: &str, config: &LokiSink) -> Self {
        let http = Http::new(&config.remote, LOKI_PUSH);
        let http = match &config.tenant {
            Some(tenant) => http.with("X-Scope-OrgID", tenant),
            None => http,
        };
        let encoder = Encoder::new(config.form, &config.labels);
        Self { name: name.to_owned(), http, encoder, snappy: raw::Encoder::new(), compressed: Vec::new() }
    }

    fn push(&mut self, events: &[Event]) -> Result<(), Fault> {
        let message = self.encoder.encode(events);
        self.compressed.truncate(KEPT);
        self.compressed.shrink_to(KEPT);
        self.compressed.resize(raw::max_compress_len(message.len()), 0);
        let length = self.snappy.compress(message, &mut self.compressed);
        let length =
            length.map_err(|error| Fault::never(format!("cannot compress {} bytes: {error}", message.len())))?;
        let content = Content { kind: "application/x-protobuf", encoding: None, bytes: &self.compressed[..length] };
        let answer = self.http.post(content)?;
        // It has understood, and said that there was nothing: only the check sends that.
        if events.is_empty()
            && answer.status.as_u16() == 422
            && String::from_utf8_lossy(&answer.body).contains(NO_STREAM)
        {
            return Ok(());
        }
        answer.accepted().map(drop)
    }
}

impl Sink for Loki {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        self.http.place().to_owned()
    }

    fn open(&mut self) -> Result<(), SinkError> {
        self.http.open().map_err(|fault| fault.at(self.http.place()))
    }

    fn check(&mut self) -> Result<(), SinkError> {
        self.deliver(&[])
    }

    fn deliver(&mut self, events: &[Event]) -> Result<(), SinkError> {
        self.push(events).map_err(|fault| fault.at(self.http.place()))
    }
}

#[cfg(test)]
mod tests;
