use super::*;
use crate::sink::{
    Retry,
    server::{Say, Server, answer},
};
use flate2::read::GzDecoder;
use netsonde_core::{
    config::Remote,
    event::{EventId, FieldValue, Peer, Repeats},
    scope::Name,
};
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsPartialSuccess,
    common::v1::{KeyValue, any_value::Value},
};
use std::{io::Read, sync::Arc};

pub(in crate::sink) fn event(seq: u64) -> Event {
    Event {
        id: EventId { run: 1, seq },
        unix_nanos: 1_795_262_400_123_456_789,
        node: "worker-3".into(),
        probe: "tcp_reset".into(),
        ty: "TCPRESET_NOSOCK".into(),
        scope: Some(Arc::new(Name { netns: Some("host".into()), ..Name::default() })),
        peer: None,
        fields: vec![("sport".into(), FieldValue::U64(seq))],
        stack: None,
        repeats: None,
    }
}

/// As text, with its type in front.
fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => format!("s:{text}"),
        Value::IntValue(number) => format!("i:{number}"),
        Value::DoubleValue(number) => format!("d:{number}"),
        Value::BoolValue(yes) => format!("b:{yes}"),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| format!("{}={}", attribute.key, value(attribute))).collect()
}

#[test]
fn an_event_is_a_record_with_the_conventions_names() {
    let field = |name: &str, value| (name.into(), value);
    let address = |text: &str| FieldValue::Address(text.parse().unwrap());
    let fields = vec![
        field("protocol", FieldValue::Text("TCP".into())),
        field("saddr", address("10.0.0.1")),
        field("sport", FieldValue::U64(80)),
        field("daddr", address("2001:db8::1")),
        field("dport", FieldValue::U64(u64::MAX)),
        field("laddr", address("10.0.0.1")),
        field("lport", FieldValue::U64(1)),
        field("raddr", address("10.0.0.2")),
        field("rport", FieldValue::U64(2)),
        field("reason", FieldValue::Text("NO_SOCKET".into())),
        field("delta", FieldValue::S64(-1)),
        field("loss", FieldValue::F64(0.5)),
        field("up", FieldValue::Bool(true)),
    ];
    let labels = vec![("app".into(), "front".into()), ("team".into(), "".into())];
    let name = Name { namespace: "shop".into(), pod: "web-1".into(), container: "web".into(), labels, netns: None };
    let event = Event {
        fields,
        scope: Some(Arc::new(name)),
        peer: Some(Peer { namespace: "shop".into(), pod: "db-0".into(), container: "".into() }),
        stack: Some(["kfree_skb+0x1 [veth]", "tcp_v4_rcv+0xa3"].map(Into::into).into()),
        repeats: Some(Repeats { count: 3, last_unix_nanos: 1 }),
        ..event(7)
    };
    let logs = records::resource_logs(std::slice::from_ref(&event), 99);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        shown(&logs[0].resource.as_ref().unwrap().attributes),
        [
            "service.name=s:netsonde",
            &format!("service.version=s:{version}"),
            "host.name=s:worker-3",
            "k8s.node.name=s:worker-3"
        ]
    );
    let scope = &logs[0].scope_logs[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "tcp_reset");
    let record = &scope.log_records[0];
    assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (event.unix_nanos, 99));
    assert_eq!(
        (record.event_name.as_str(), record.severity_number, record.severity_text.as_str()),
        ("TCPRESET_NOSOCK", 9, "INFO")
    );
    let Some(Value::StringValue(body)) = record.body.as_ref().and_then(|body| body.value.as_ref()) else { panic!() };
    assert!(body.starts_with("type=TCPRESET_NOSOCK pod=web-1 namespace=shop") && !body.contains('\n'), "{body}");
    assert_eq!(
        shown(&record.attributes),
        [
            "log.record.uid=s:0000000000000001-7",
            "k8s.namespace.name=s:shop",
            "k8s.pod.name=s:web-1",
            "k8s.container.name=s:web",
            "app=s:front",
            "peer_namespace=s:shop",
            "peer_pod=s:db-0",
            "network.transport=s:tcp",
            "source.address=s:10.0.0.1",
            "source.port=i:80",
            "destination.address=s:2001:db8::1",
            "destination.port=s:18446744073709551615",
            "network.local.address=s:10.0.0.1",
            "network.local.port=i:1",
            "network.peer.address=s:10.0.0.2",
            "network.peer.port=i:2",
            "reason=s:NO_SOCKET",
            "delta=i:-1",
            "loss=d:0.5",
            "up=b:true",
            "code.stacktrace=s:kfree_skb+0x1 [veth]\ntcp_v4_rcv+0xa3",
            "repeats=i:3",
            "last_time=s:1970-01-01T00:00:00.000000001Z",
        ]
    );
}

#[test]
fn a_container_without_kubernetes_and_a_namespace_without_a_pod_have_their_own_names() {
    let of = |name: Name| {
        let event = Event { scope: Some(Arc::new(name)), fields: vec![], ..event(1) };
        shown(&records::resource_logs(&[event], 0)[0].scope_logs[0].log_records[0].attributes)[1..].to_vec()
    };
    assert_eq!(of(Name { container: "web".into(), ..Name::default() }), ["container.name=s:web"]);
    assert_eq!(of(Name { netns: Some("blue".into()), ..Name::default() }), ["netns=s:blue"]);
}

#[test]
fn each_node_is_a_resource_and_each_probe_a_scope_in_order() {
    let of = |seq, node: &str, probe: &str| Event { node: node.into(), probe: probe.into(), ..event(seq) };
    let events = [of(1, "a", "p"), of(2, "a", "q"), of(3, "b", "p"), of(4, "a", "p")];
    let seen: Vec<Vec<(String, usize)>> = records::resource_logs(&events, 0)
        .iter()
        .map(|logs| {
            logs.scope_logs.iter().map(|s| (s.scope.as_ref().unwrap().name.clone(), s.log_records.len())).collect()
        })
        .collect();
    assert_eq!(seen, [vec![("p".to_owned(), 2), ("q".to_owned(), 1)], vec![("p".to_owned(), 1)]]);
}

fn sink(port: u16, compression: Compression) -> Otlp {
    let remote =
        Remote { url: format!("http://127.0.0.1:{port}"), timeout: Duration::from_secs(5), ..Remote::default() };
    Otlp::new("otlp", &OtlpSink { remote, compression, ..OtlpSink::default() })
}

fn with_body(status: &str, message: &impl Message) -> Say {
    let body = message.encode_to_vec();
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend(body);
    Say::Bytes(bytes)
}

#[test]
fn a_delivery_is_one_export_compressed_if_wanted() {
    for compression in [Compression::Gzip, Compression::None] {
        let server = Server::start(None, |_| answer("200 OK", "", ""));
        sink(server.port, compression).deliver(&[event(1), event(2)]).unwrap();
        sink(server.port, compression).check().unwrap();
        let heard = server.heard();
        assert!(heard[0].head.starts_with("post /v1/logs http/1.1\r\n"), "{}", heard[0].head);
        let requests = heard.iter().map(|heard| {
            let mut body = heard.body.clone();
            assert_eq!(heard.head.contains("content-encoding: gzip\r\n"), compression == Compression::Gzip);
            if compression == Compression::Gzip {
                body.clear();
                GzDecoder::new(heard.body.as_slice()).read_to_end(&mut body).unwrap();
            }
            ExportLogsServiceRequest::decode(body.as_slice()).unwrap()
        });
        let requests: Vec<ExportLogsServiceRequest> = requests.collect();
        assert_eq!(requests[0].resource_logs[0].scope_logs[0].log_records.len(), 2);
        assert_eq!(requests[1], ExportLogsServiceRequest::default(), "the check sends nothing");
    }
}

#[test]
fn what_it_answers_is_what_the_sink_says() {
    let partial = |rejected, message: &str| ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: rejected,
            error_message: message.to_owned(),
        }),
    };
    let delivered = |say: fn(ExportLogsServiceResponse) -> Say, response: ExportLogsServiceResponse| {
        let server = Server::start(None, move |_| say(response.clone()));
        sink(server.port, Compression::Gzip).deliver(&[event(1), event(2)])
    };
    let ok = |response| with_body("200 OK", &response);
    assert!(delivered(ok, partial(0, "slow down")).is_ok());
    for (rejected, want) in [(1, 1), (5, 2)] {
        match delivered(ok, partial(rejected, "too old\nmore")) {
            Err(error @ SinkError::Partly { .. }) => {
                assert_eq!(error.retry(), Retry::Never);
                assert!(error.to_string().ends_with(&format!("but for {want}: too old")), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    let refused = delivered(
        |_| with_body("400 Bad Request", &Details { message: "no such thing".into(), details: vec![] }),
        ExportLogsServiceResponse::default(),
    );
    let refused = refused.unwrap_err();
    assert!(
        refused.retry() == Retry::Never && refused.to_string().ends_with("400 Bad Request: no such thing"),
        "{refused}"
    );
    let page =
        delivered(|_| answer("200 OK", "", "<html>hello</html>"), ExportLogsServiceResponse::default()).unwrap_err();
    assert!(page.retry() == Retry::Later && page.to_string().contains("not as OTLP does"), "{page}");
}
