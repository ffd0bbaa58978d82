//! A server of gRPC by hand, and calls to it.

use crate::sink::{
    Retry, Sink, SinkError,
    otlp::{Otlp, tests::event},
    server::Authority,
    tests::Folder,
};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{HeaderMap, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use netsonde_core::config::{Compression, OtlpSink, Protocol, Remote, Tls};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message;
use rustls::ServerConfig;
use std::{
    convert::Infallible,
    fs, future,
    io::Read,
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use tokio::runtime;
use tokio_rustls::TlsAcceptor;

/// What it says: a partial success, or a status.
#[derive(Clone)]
enum Say {
    Yes(ExportLogsServiceResponse),
    No(&'static str, &'static str),
    Nothing,
}

type Heard = Arc<Mutex<Vec<(HeaderMap, ExportLogsServiceRequest)>>>;

/// Gives its port and what it hears.
fn serve(tls: Option<Arc<ServerConfig>>, say: Say) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let heard = Heard::default();
    let kept = heard.clone();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, say, tls) = (kept.clone(), say.clone(), tls.clone());
                let service = service_fn(move |request| answer(kept.clone(), say.clone(), request));
                tokio::spawn(async move {
                    let server = http2::Builder::new(TokioExecutor::new());
                    match tls {
                        Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
                            Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                            Err(_) => Ok(()),
                        },
                        None => server.serve_connection(TokioIo::new(stream), service).await,
                    }
                });
            }
        });
    });
    (port, heard)
}

async fn answer(
    kept: Heard,
    say: Say,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let head = request.headers().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut message = body[5..].to_vec();
    if body[0] == 1 {
        let mut plain = Vec::new();
        GzDecoder::new(message.as_slice()).read_to_end(&mut plain).unwrap();
        message = plain;
    }
    kept.lock().unwrap().push((head, ExportLogsServiceRequest::decode(message.as_slice()).unwrap()));
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(match say {
        Say::Yes(message) => {
            let mut frame = BytesMut::new();
            frame.put_u8(0);
            frame.put_u32(message.encoded_len() as u32);
            message.encode(&mut frame).unwrap();
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            let body = Full::new(frame.freeze()).with_trailers(future::ready(Some(Ok(trailers)))).boxed();
            response.body(body).unwrap()
        }
        Say::No(code, message) => {
            let response = response.header("grpc-status", code).header("grpc-message", message);
            response.body(Full::default().boxed()).unwrap()
        }
        Say::Nothing => future::pending().await,
    })
}

fn config(scheme: &str, port: u16) -> OtlpSink {
    let remote =
        Remote { url: format!("{scheme}://localhost:{port}"), timeout: Duration::from_secs(5), ..Remote::default() };
    OtlpSink { remote, protocol: Protocol::Grpc, ..OtlpSink::default() }
}

fn yes() -> Say {
    Say::Yes(ExportLogsServiceResponse::default())
}

#[test]
fn an_export_arrives_with_credentials_and_compression() {
    let folder = Folder::new();
    fs::write(folder.path("token"), "abc").unwrap();
    for compression in [Compression::None, Compression::Gzip] {
        let (port, heard) = serve(None, yes());
        let mut config = OtlpSink { compression, ..config("http", port) };
        config.remote.token_file = Some(folder.path("token"));
        let mut otlp = Otlp::new("otlp", &config);
        for seq in 1..=3 {
            otlp.deliver(&[event(seq)]).unwrap();
        }
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 3);
        let (head, request) = &heard[0];
        assert_eq!(head["authorization"], "Bearer abc");
        assert_eq!(head.get("grpc-encoding").is_some(), compression == Compression::Gzip);
        assert!(head["user-agent"].to_str().unwrap().starts_with("netsonde/"), "{head:?}");
        assert_eq!(request.resource_logs[0].scope_logs[0].log_records.len(), 1);
    }
}

#[test]
fn what_it_says_is_what_the_sink_says() {
    let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "too old".into() };
    let partly = ExportLogsServiceResponse { partial_success: Some(partial) };
    for (say, want, told) in [
        (Say::Yes(partly), Retry::Never, "has taken these events but for 1: too old"),
        (Say::No("14", "busy"), Retry::Later, "it answers Unavailable: busy"),
        (Say::No("3", "bad"), Retry::Never, "refuses events: it answers InvalidArgument: bad"),
        (Say::No("16", "who?"), Retry::Later, "Unauthenticated"),
        (Say::Nothing, Retry::Later, "no answer within 300ms"),
    ] {
        let (port, _) = serve(None, say);
        let mut config = config("http", port);
        config.remote.timeout = Duration::from_millis(300);
        let error = Otlp::new("otlp", &config).deliver(&[event(1), event(2)]).unwrap_err();
        assert!(error.retry() == want && error.to_string().contains(told), "{error}");
    }
}

#[test]
fn whoever_is_no_grpc_may_be_tried_again() {
    let garbage = crate::sink::server::Server::start(None, |_| crate::sink::server::answer("200 OK", "", "hello"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [garbage.port, nobody] {
        let mut config = config("http", port);
        config.remote.timeout = Duration::from_secs(1);
        let error = Otlp::new("otlp", &config).deliver(&[event(1)]).unwrap_err();
        assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    }
}

#[test]
fn tls_knows_whom_it_speaks_to_and_shows_the_agents_certificate() {
    let (ours, others) = (Authority::new(), Authority::new());
    let (port, _) = serve(Some(ours.server("gateway", true, &["h2"])), yes());
    ours.issue("agent");
    let path = |name: &str| Some(ours.path(name));
    let right = Tls {
        ca: path("ca.pem"),
        cert: path("agent.pem"),
        key: path("agent.key"),
        server_name: Some("gateway".into()),
        ..Tls::default()
    };
    for (tls, told) in [
        (right.clone(), None),
        (Tls { ca: Some(others.path("ca.pem")), ..right.clone() }, Some("UnknownIssuer")),
        (Tls { server_name: None, ..right.clone() }, Some("not valid for name")),
        (Tls { cert: None, key: None, ..right }, Some("")),
    ] {
        let mut config = config("https", port);
        config.remote.tls = tls.clone();
        match (Otlp::new("otlp", &config).deliver(&[event(1)]), told) {
            (Ok(()), None) => {}
            (Err(error), Some(told)) => {
                assert!(error.retry() == Retry::Later && error.to_string().contains(told), "{tls:?}: {error}");
            }
            (got, _) => panic!("{tls:?}: {got:?}"),
        }
    }
}
