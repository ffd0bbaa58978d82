use super::{encode::Encoder, *};
use crate::sink::{
    Retry,
    server::{Server, answer},
};
use netsonde_core::{
    config::{Form, Remote},
    event::{EventId, FieldValue, Peer, Repeats, json},
    scope::Name,
};
use prost::Message;
use std::{sync::Arc, time::Duration};

/// Loki's own messages (`pkg/push/push.proto`), by prost.
#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StreamAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct StreamAdapter {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<EntryAdapter>,
    #[prost(uint64, tag = "3")]
    hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EntryAdapter {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    structured_metadata: Vec<LabelPairAdapter>,
}

/// `google.protobuf.Timestamp`
#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPairAdapter {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn event(seq: u64, ty: &str, unix_nanos: u64) -> Event {
    Event {
        id: EventId { run: 1, seq },
        unix_nanos,
        node: "worker-3".into(),
        probe: "tcp_reset".into(),
        ty: ty.into(),
        scope: Some(Arc::new(Name { netns: Some("host".into()), ..Name::default() })),
        peer: None,
        fields: vec![("sport".into(), FieldValue::U64(seq))],
        stack: None,
        repeats: None,
    }
}

fn in_pod(event: Event) -> Event {
    let labels = vec![("app".into(), "front".into()), ("team".into(), "".into())];
    let name = Name { namespace: "shop".into(), pod: "web-1".into(), container: "web".into(), labels, netns: None };
    let peer = Peer { namespace: "shop".into(), pod: "db-0".into(), container: "".into() };
    let field = |name: &str, value| (name.into(), value);
    let fields = vec![
        field("saddr", FieldValue::Address("2001:db8::1".parse().unwrap())),
        field("sport", FieldValue::U64(u64::MAX)),
        field("delta", FieldValue::S64(-1)),
        field("loss", FieldValue::F64(0.5)),
        field("up", FieldValue::Bool(true)),
        field("text", FieldValue::Text("größer \"x\"\n".repeat(20).into())),
    ];
    let repeats = Some(Repeats { count: 3, last_unix_nanos: 2_000_000_000 });
    Event { scope: Some(Arc::new(name)), peer: Some(peer), fields, repeats, ..event }
}

fn decoded(encoder: &mut Encoder, events: &[Event]) -> Vec<StreamAdapter> {
    PushRequest::decode(encoder.encode(events)).expect("it is the official message").streams
}

fn pairs(entry: &EntryAdapter) -> Vec<(&str, &str)> {
    entry.structured_metadata.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())).collect()
}

#[test]
fn an_event_is_an_entry_with_its_own_time_and_few_labels() {
    let event = in_pod(event(7, "ODD \"\\\n", 1_795_262_400_123_456_789));
    let mut encoder = Encoder::new(Form::Json, &[("cluster".into(), "prod".into())]);
    let streams = decoded(&mut encoder, std::slice::from_ref(&event));
    assert_eq!(streams.len(), 1);
    assert_eq!(
        streams[0].labels,
        r#"{cluster="prod", job="netsonde", namespace="shop", node="worker-3", probe="tcp_reset", type="ODD \"\\\u000a"}"#
    );
    let entry = &streams[0].entries[0];
    assert_eq!(entry.timestamp, Some(Timestamp { seconds: 1_795_262_400, nanos: 123_456_789 }));
    let mut line = Vec::new();
    json::write(&event, &mut line);
    assert_eq!(format!("{}\n", entry.line).into_bytes(), line);
    assert_eq!(
        pairs(entry),
        [
            ("id", "0000000000000001-7"),
            ("pod", "web-1"),
            ("container", "web"),
            ("app", "front"),
            ("peer_namespace", "shop"),
            ("peer_pod", "db-0"),
            ("saddr", "2001:db8::1"),
            ("sport", "18446744073709551615"),
            ("delta", "-1"),
            ("loss", "0.5"),
            ("up", "true"),
            ("text", &"größer \"x\"\n".repeat(20)),
            ("repeats", "3"),
            ("last_time", "1970-01-01T00:00:02.000000000Z"),
        ]
    );
}

#[test]
fn streams_are_told_apart_by_their_labels_and_are_in_the_order_of_time() {
    let events = [
        event(1, "A", 5),
        event(2, "B", 4),
        event(3, "A", 3),
        in_pod(event(4, "A", 2)),
        event(5, "A", 5),
        Event { scope: None, ..event(6, "A", 1) },
    ];
    let mut encoder = Encoder::new(Form::Line, &[("job".into(), "mine".into())]);
    let streams = decoded(&mut encoder, &events);
    let seen: Vec<(String, Vec<String>)> = streams
        .iter()
        .map(|stream| {
            let ids = stream.entries.iter().map(|entry| pairs(entry)[0].1.rsplit('-').next().unwrap().to_owned());
            (stream.labels.clone(), ids.collect())
        })
        .collect();
    let labels =
        |more: &str, ty: &str| format!(r#"{{job="mine", {more}node="worker-3", probe="tcp_reset", type="{ty}"}}"#);
    let ids = |ids: &[&str]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            (labels("", "A"), ids(&["6", "3", "1", "5"])),
            (labels("", "B"), ids(&["2"])),
            (labels(r#"namespace="shop", "#, "A"), ids(&["4"])),
        ]
    );
    assert!(
        streams[1].entries[0].line.starts_with("type=B netns=host sport=2 time="),
        "{}",
        streams[1].entries[0].line
    );
    assert_eq!(decoded(&mut encoder, &[]), []);
}

#[test]
fn an_entry_has_no_more_metadata_than_loki_takes() {
    let fields = (0..200).map(|index| (format!("f{index}").into(), FieldValue::U64(index))).collect();
    let streams = decoded(&mut Encoder::new(Form::Json, &[]), &[Event { fields, ..event(1, "A", 1) }]);
    assert_eq!(streams[0].entries[0].structured_metadata.len(), 128);
    assert!(streams[0].entries[0].line.contains(r#""f199":199"#));
}

fn sink(port: u16) -> Loki {
    let remote =
        Remote { url: format!("http://127.0.0.1:{port}"), timeout: Duration::from_secs(5), ..Remote::default() };
    Loki::new("loki", &LokiSink { remote, tenant: Some("ops".into()), ..LokiSink::default() })
}

#[test]
fn a_delivery_is_one_push() {
    let server = Server::start(None, |_| answer("204 No Content", "", ""));
    let mut loki = sink(server.port);
    loki.deliver(&[event(1, "A", 1), event(2, "B", 2)]).unwrap();
    let heard = &server.heard()[0];
    assert!(heard.head.starts_with("post /loki/api/v1/push http/1.1\r\n"), "{}", heard.head);
    assert!(
        heard.head.contains("x-scope-orgid: ops\r\n")
            && heard.head.contains("content-type: application/x-protobuf\r\n")
    );
    let body = raw::Decoder::new().decompress_vec(&heard.body).unwrap();
    assert_eq!(PushRequest::decode(body.as_slice()).unwrap().streams.len(), 2);
}

#[test]
fn what_loki_answers_is_what_the_sink_says() {
    for (status, body, retry, told) in [
        (
            "429 Too Many Requests",
            "ingestion rate limit exceeded",
            Retry::Later,
            "/loki/api/v1/push: it answers 429 Too Many Requests: ingestion",
        ),
        (
            "400 Bad Request",
            "entry too far behind",
            Retry::Never,
            "refuses events: it answers 400 Bad Request: entry too far behind",
        ),
        ("422 Unprocessable Entity", "error at least one valid stream is required for ingestion", Retry::Never, "422"),
    ] {
        let server = Server::start(None, move |_| answer(status, "", body));
        let error = sink(server.port).deliver(&[event(1, "A", 1)]).unwrap_err();
        assert_eq!(error.retry(), retry);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn the_check_is_a_push_of_nothing() {
    for (status, body, good) in [
        ("204 No Content", "", true),
        ("422 Unprocessable Entity", "error at least one valid stream is required for ingestion\n", true),
        ("422 Unprocessable Entity", "no", false),
        ("401 Unauthorized", "no org id", false),
    ] {
        let server = Server::start(None, move |_| answer(status, "", body));
        assert_eq!(sink(server.port).check().is_ok(), good, "{status}: {body}");
        assert_eq!(raw::Decoder::new().decompress_vec(&server.heard()[0].body).unwrap(), b"");
    }
}
