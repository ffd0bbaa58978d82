//! OpenTelemetry: events as logs, over HTTP or gRPC.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/>

pub mod records;

use super::{
    Sink, SinkError,
    fault::Fault,
    grpc::{Grpc, status::Details},
    http::{Answer, Content, Http},
};
use flate2::write::GzEncoder;
use netsonde_core::{
    config::{Compression, OTLP_LOGS, OtlpSink, Protocol},
    event::Event,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse, logs_service_client::LogsServiceClient,
};
use prost::Message;
use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tonic::codec::CompressionEncoding;

/// Each delivery is one export.
pub struct Otlp {
    name: String,
    way: Way,
    gzip: bool,
}

enum Way {
    Http(Box<Http>),
    Grpc(Box<Grpc>),
}

impl Otlp {
    pub fn new(name: &str, config: &OtlpSink) -> Self {
        let way = match config.protocol {
            Protocol::Http => Way::Http(Box::new(Http::new(&config.remote, OTLP_LOGS))),
            Protocol::Grpc => Way::Grpc(Box::new(Grpc::new(&config.remote))),
        };
        Self { name: name.to_owned(), way, gzip: config.compression == Compression::Gzip }
    }

    fn at(&self) -> &str {
        match &self.way {
            Way::Http(http) => http.place(),
            Way::Grpc(grpc) => grpc.place(),
        }
    }

    fn export(&mut self, events: &[Event]) -> Result<ExportLogsServiceResponse, Fault> {
        // A clock before 1970 is as good as one at it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let request = ExportLogsServiceRequest { resource_logs: records::resource_logs(events, now.as_nanos() as u64) };
        match &mut self.way {
            Way::Http(http) => {
                let answer = post(http, &request, self.gzip)?;
                let body = answer.accepted()?;
                let decoded = ExportLogsServiceResponse::decode(body.as_slice());
                decoded.map_err(|error| {
                    Fault::later(format!("it says yes, but not as OTLP does: {error}; is the URL right?"))
                })
            }
            Way::Grpc(grpc) => {
                let gzip = self.gzip;
                grpc.call(request, |channel, request| async move {
                    let client = LogsServiceClient::new(channel).accept_compressed(CompressionEncoding::Gzip);
                    let mut client = if gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
                    client.export(request).await
                })
            }
        }
    }
}

/// Sends a message of OTLP. What the other side says of an error is in the answer as text.
///
/// # Errors
/// If there is no answer.
pub fn post(http: &mut Http, request: &impl Message, gzip: bool) -> Result<Answer, Fault> {
    let mut bytes = request.encode_to_vec();
    if gzip {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::fast());
        let compressed = encoder.write_all(&bytes).and_then(|()| encoder.finish());
        bytes = compressed.map_err(|error| Fault::never(format!("cannot compress {} bytes: {error}", bytes.len())))?;
    }
    let content = Content { kind: "application/x-protobuf", encoding: gzip.then_some("gzip"), bytes: bytes.as_slice() };
    let mut answer = http.post(content)?;
    // A `google.rpc.Status` (OTLP/HTTP Response, "Failures").
    if !answer.status.is_success()
        && let Ok(details) = Details::decode(answer.body.as_slice())
        && !details.message.is_empty()
    {
        answer.body = details.message.into_bytes();
    }
    Ok(answer)
}

impl Sink for Otlp {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        self.at().to_owned()
    }

    fn open(&mut self) -> Result<(), SinkError> {
        let opened = match &mut self.way {
            Way::Http(http) => http.open(),
            Way::Grpc(grpc) => grpc.open(),
        };
        opened.map_err(|fault| fault.at(self.at()))
    }

    fn check(&mut self) -> Result<(), SinkError> {
        self.deliver(&[])
    }

    fn deliver(&mut self, events: &[Event]) -> Result<(), SinkError> {
        let answer = self.export(events).map_err(|fault| fault.at(self.at()))?;
        match answer.partial_success {
            Some(partial) if partial.rejected_log_records > 0 => {
                let refused = usize::try_from(partial.rejected_log_records).unwrap_or(usize::MAX).min(events.len());
                let why = super::fault::quoted(partial.error_message.as_bytes());
                Err(SinkError::Partly { place: self.place(), refused, why })
            }
            // With a message alone it has taken all, and warns (OTLP, "Partial Success").
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
