//! OpenTelemetry: all metrics of the page, over HTTP or gRPC.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/>. What does not arrive is not sent again: sums are cumulative, so the next push says
//! all of it.

pub mod points;

use super::{Counts, Rhythm, Target};
use crate::sink::{
    fault::{Fault, quoted},
    grpc::Grpc,
    http::Http,
    otlp::post,
};
use netsonde_core::{
    config::{Compression, OTLP_METRICS, OtlpSink, Protocol},
    metric::parse::Family,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient,
};
use points::Request;
use prost::Message;
use std::time::{Duration, Instant};
use tonic::codec::CompressionEncoding;

/// Whatever takes OTLP.
pub struct Otlp {
    name: String,
    way: Way,
    gzip: bool,
    node: String,
    rhythm: Rhythm,
}

enum Way {
    Http(Box<Http>),
    Grpc(Box<Grpc>),
}

impl Otlp {
    /// Sends every `interval`; `node` is where that comes from.
    pub fn new(name: &str, config: &OtlpSink, interval: Duration, node: &str) -> Self {
        let mut remote = config.remote.clone();
        remote.timeout = remote.timeout.min(interval / 2);
        let way = match config.protocol {
            Protocol::Http => Way::Http(Box::new(Http::new(&remote, OTLP_METRICS))),
            Protocol::Grpc => Way::Grpc(Box::new(Grpc::new(&remote))),
        };
        let gzip = config.compression == Compression::Gzip;
        Self { name: name.to_owned(), way, gzip, node: node.to_owned(), rhythm: Rhythm::spread(interval, node) }
    }

    fn export(&mut self, request: ExportMetricsServiceRequest) -> Result<ExportMetricsServiceResponse, Fault> {
        match &mut self.way {
            Way::Http(http) => {
                let body = post(http, &request, self.gzip)?.accepted()?;
                let decoded = ExportMetricsServiceResponse::decode(body.as_slice());
                decoded.map_err(|error| {
                    Fault::later(format!("it says yes, but not as OTLP does: {error}; is the URL right?"))
                })
            }
            Way::Grpc(grpc) => {
                let gzip = self.gzip;
                grpc.call(request, |channel, request| async move {
                    let client = MetricsServiceClient::new(channel).accept_compressed(CompressionEncoding::Gzip);
                    let mut client = if gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
                    client.export(request).await
                })
            }
        }
    }

    /// Sends one request of a push, and counts what became of it.
    fn send(&mut self, Request { message, points }: Request, until: Instant, counts: &Counts) -> Result<(), Fault> {
        if Instant::now() >= until {
            return Err(Fault::later("it has taken too long to send all; is it overloaded?"));
        }
        let answer = self.export(message).inspect_err(|fault| {
            if matches!(fault, Fault::Never { .. }) {
                counts.dropped(self.name(), "refused", points);
            }
        })?;
        let partial = answer.partial_success.unwrap_or_default();
        let refused = u64::try_from(partial.rejected_data_points).unwrap_or(0).min(points);
        counts.sent(self.name(), points - refused);
        counts.dropped(self.name(), "refused", refused);
        // With a message alone it has taken all, and warns (OTLP, "Partial Success").
        match refused {
            0 => Ok(()),
            _ => {
                Err(Fault::never(format!("{refused} points are refused: {}", quoted(partial.error_message.as_bytes()))))
            }
        }
    }
}

impl Target for Otlp {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> &str {
        match &self.way {
            Way::Http(http) => http.place(),
            Way::Grpc(grpc) => grpc.place(),
        }
    }

    fn rhythm(&self) -> Rhythm {
        self.rhythm
    }

    fn check(&mut self) -> Result<(), Fault> {
        self.export(ExportMetricsServiceRequest::default()).map(drop)
    }

    fn push(&mut self, families: &[Family<'_>], at: Duration, until: Instant, counts: &Counts) -> Result<(), Fault> {
        let node = self.node.clone();
        let mut refused = None;
        points::requests(families, &node, at, |request| match self.send(request, until, counts) {
            // The next request may well be taken.
            Err(fault @ Fault::Never { .. }) => {
                refused = Some(fault);
                Ok(())
            }
            result => result,
        })?;
        refused.map_or(Ok(()), Err)
    }
}
