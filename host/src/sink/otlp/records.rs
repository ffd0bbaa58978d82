//! Events → log records.
//!
//! Names are those of the semantic conventions where these have one for the very thing (<https://opentelemetry.io/docs/specs/semconv/>:
//! `source.*`, `destination.*`, `network.*`, `k8s.*`, `container.*`, `code.*`, `log.record.uid`); all others are the event's own.

use netsonde_core::event::{Event, FieldValue, Peer, Rfc3339, line};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
};

/// One resource for each node, one scope for each probe, in the order of their first events.
pub fn resource_logs(events: &[Event], now_unix_nanos: u64) -> Vec<ResourceLogs> {
    let mut nodes: Vec<(&str, Vec<ScopeLogs>)> = Vec::new();
    let mut line = Vec::new();
    for event in events {
        let node = position(&mut nodes, |(node, _)| **node == *event.node, || (&event.node, Vec::new()));
        let probe = |logs: &ScopeLogs| logs.scope.as_ref().is_some_and(|scope| scope.name == *event.probe);
        let scope = position(&mut node.1, probe, || scope_logs(&event.probe));
        scope.log_records.push(record(event, now_unix_nanos, &mut line));
    }
    let logs =
        |(node, scope_logs)| ResourceLogs { resource: Some(resource(node)), scope_logs, schema_url: String::new() };
    nodes.into_iter().map(logs).collect()
}

/// The agent on a node, also for metrics.
pub fn resource(node: &str) -> Resource {
    let attributes = [
        ("service.name", "netsonde"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("host.name", node),
        ("k8s.node.name", node),
    ];
    Resource { attributes: attributes.map(|(key, value)| attribute(key, text(value))).into(), ..Resource::default() }
}

/// The last that is wanted, which is mostly the very last; or a new one.
fn position<T>(all: &mut Vec<T>, wanted: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let index = all.iter().rposition(wanted).unwrap_or_else(|| {
        all.push(new());
        all.len() - 1
    });
    &mut all[index]
}

fn scope_logs(probe: &str) -> ScopeLogs {
    let scope = InstrumentationScope { name: probe.to_owned(), ..InstrumentationScope::default() };
    ScopeLogs { scope: Some(scope), ..ScopeLogs::default() }
}

fn record(event: &Event, now_unix_nanos: u64, buffer: &mut Vec<u8>) -> LogRecord {
    buffer.clear();
    line::write(event, buffer);
    buffer.pop();
    LogRecord {
        time_unix_nano: event.unix_nanos,
        observed_time_unix_nano: now_unix_nanos,
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(text(&String::from_utf8_lossy(buffer))) }),
        attributes: attributes(event),
        event_name: event.ty.as_ref().to_owned(),
        ..LogRecord::default()
    }
}

fn attributes(event: &Event) -> Vec<KeyValue> {
    let mut all = Vec::with_capacity(event.fields.len() + 8);
    let mut push = |key: &str, value: Value| all.push(attribute(key, value));
    push("log.record.uid", Value::StringValue(event.id.to_string()));
    if let Some(name) = &event.scope {
        let kubernetes = !name.pod.is_empty();
        let container = if kubernetes { "k8s.container.name" } else { "container.name" };
        let netns = name.netns.as_deref().unwrap_or_default();
        let parts: [(&str, &str); 4] = [
            ("netns", netns),
            ("k8s.namespace.name", &name.namespace),
            ("k8s.pod.name", &name.pod),
            (container, &name.container),
        ];
        parts.into_iter().filter(|(_, value)| !value.is_empty()).for_each(|(key, value)| push(key, text(value)));
        let labels = name.labels.iter().filter(|(_, value)| !value.is_empty());
        labels.for_each(|(label, value)| push(label, text(value)));
    }
    if let Some(Peer { namespace, pod, container }) = &event.peer {
        let parts = [("peer_namespace", namespace), ("peer_pod", pod), ("peer_container", container)];
        parts.into_iter().filter(|(_, value)| !value.is_empty()).for_each(|(key, value)| push(key, text(value)));
    }
    for (name, value) in &event.fields {
        match (&**name, value) {
            // The conventions have its values in lower case.
            ("protocol", FieldValue::Text(protocol)) => {
                push("network.transport", Value::StringValue(protocol.to_ascii_lowercase()));
            }
            (name, value) => push(key(name), any(value)),
        }
    }
    if let Some(stack) = &event.stack {
        push("code.stacktrace", Value::StringValue(stack.join("\n")));
    }
    if let Some(repeats) = &event.repeats {
        push("repeats", integer(repeats.count));
        push("last_time", Value::StringValue(Rfc3339(repeats.last_unix_nanos).to_string()));
    }
    all
}

/// What a field is called.
fn key(field: &str) -> &str {
    match field {
        "saddr" => "source.address",
        "sport" => "source.port",
        "daddr" => "destination.address",
        "dport" => "destination.port",
        "laddr" => "network.local.address",
        "lport" => "network.local.port",
        "raddr" => "network.peer.address",
        "rport" => "network.peer.port",
        own => own,
    }
}

fn any(value: &FieldValue) -> Value {
    match value {
        FieldValue::U64(value) => integer(*value),
        FieldValue::S64(value) => Value::IntValue(*value),
        FieldValue::F64(value) => Value::DoubleValue(*value),
        FieldValue::Bool(value) => Value::BoolValue(*value),
        FieldValue::Address(address) => Value::StringValue(address.to_string()),
        FieldValue::Text(value) => text(value),
    }
}

/// OTLP's integers are signed: a larger one is a text.
fn integer(value: u64) -> Value {
    i64::try_from(value).map_or_else(|_| Value::StringValue(value.to_string()), Value::IntValue)
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
