//! The sink `otlp`.

use super::super::{
    Remote,
    key::{Key, Value, name, spill},
    quantity::quoted,
    read::{Reader, position_of},
    remote::remote_keys,
    yaml::{Entry, Kind},
};
use super::Common;
use crate::nearest::did_you_mean;
use std::time::Duration;

/// Whatever takes the OpenTelemetry protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSink {
    pub common: Common,
    pub remote: Remote,
    pub protocol: Protocol,
    pub compression: Compression,
    /// Whether events are sent, as logs.
    pub logs: bool,
    /// How often metrics are sent. None: they are not.
    pub metrics: Option<Duration>,
}

/// What OTLP is spoken over; its messages are protobuf in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Grpc,
}

/// How what is sent is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
}

impl Default for OtlpSink {
    fn default() -> Self {
        Self {
            common: Common::default(),
            remote: Remote::default(),
            protocol: Protocol::Http,
            compression: Compression::Gzip,
            logs: true,
            metrics: None,
        }
    }
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Http, Self::Grpc];

    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

impl Compression {
    const ALL: [Self; 2] = [Self::None, Self::Gzip];

    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        }
    }
}

/// What is added to the URL for HTTP (OTLP 1.x, "OTLP/HTTP Request").
pub const OTLP_LOGS: &str = "/v1/logs";
pub const OTLP_METRICS: &str = "/v1/metrics";

pub static OTLP: &[Key<OtlpSink>] = remote_keys![
    Key {
        path: "url",
        doc: "Where it is, without `/v1/logs` or `/v1/metrics`, which is added for HTTP. A collector has port 4318 for HTTP and 4317 for gRPC.",
        example: "http://collector:4318",
        value: Value::Url(|s| &mut s.remote.url),
    },
    Key { path: "endpoint", doc: "", example: "", value: Value::Elsewhere("is no key here: it is called `url`") },
    Key {
        path: "protocol",
        doc: "`http` or `grpc`; protobuf in both.",
        example: "http",
        value: Value::Protocol(|s| &mut s.protocol),
    },
    Key {
        path: "compression",
        doc: "`gzip` or `none`.",
        example: "gzip",
        value: Value::Compression(|s| &mut s.compression),
    },
    Key {
        path: "logs",
        doc: "Whether events are sent, as logs.",
        example: "true",
        value: Value::Bool(|s| &mut s.logs),
    },
    Key {
        path: "metrics",
        doc: "How often metrics are sent, all that `/metrics` shows. 1s to 1h. Without it: never.",
        example: "15s",
        value: Value::OptionalTime(|s| &mut s.metrics, Duration::from_secs(1)..=Duration::from_secs(3600)),
    },
    name(|s| &mut s.common.name, "otlp-east"),
    spill(|s| &mut s.common.spill),
];

impl Reader<'_> {
    pub(super) fn otlp(&mut self, name: &str, entry: &Entry) -> OtlpSink {
        let mut sink = OtlpSink::default();
        let before = self.faults.len();
        self.mapping(OTLP, "", name, entry, &mut sink);
        if self.faults.len() == before && entry.value.kind != Kind::Refused {
            self.check_remote(name, entry, &sink.remote, OTLP[0].example);
        }
        let base = [OTLP_LOGS, OTLP_METRICS].iter().find_map(|path| sink.remote.url.strip_suffix(path));
        if let Some(base) = base.map(str::to_owned) {
            sink.remote.url = base;
        }
        if sink.protocol == Protocol::Grpc && sink.remote.url.matches('/').count() > 2 {
            let message = format!("`{name}.url` has a path, for which gRPC has no use; remove it");
            self.fault(position_of(&entry.value, "url"), message);
        }
        sink
    }
}

pub(in super::super) fn protocol(text: &str) -> Result<Protocol, String> {
    one_of(text, "protocol", &Protocol::ALL, Protocol::as_str)
}

pub(in super::super) fn compression(text: &str) -> Result<Compression, String> {
    one_of(text, "compression", &Compression::ALL, Compression::as_str)
}

fn one_of<T: Copy>(text: &str, what: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|one| format!("`{}`", name(*one))).collect();
        let near = did_you_mean(text, all.iter().map(|one| name(*one)));
        format!("there is no {what} {}; it is {}{near}", quoted(text), names.join(" or "))
    })
}
