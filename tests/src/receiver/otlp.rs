//! OTLP logs over HTTP, by the official message types.

use super::Entry;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::LogRecord,
};
use prost::Message;
use std::collections::BTreeMap;

/// The records of an export.
pub(super) fn export(body: &[u8]) -> Result<Vec<Entry>, String> {
    let request = ExportLogsServiceRequest::decode(body).map_err(|error| error.to_string())?;
    let mut entries = Vec::new();
    for logs in request.resource_logs {
        let labels = texts(&logs.resource.unwrap_or_default().attributes);
        let records = logs.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        entries.extend(records.map(|record| entry(record, &labels)));
    }
    Ok(entries)
}

fn entry(record: LogRecord, labels: &BTreeMap<String, String>) -> Entry {
    Entry {
        labels: labels.clone(),
        unix_nanos: record.time_unix_nano,
        line: record.body.as_ref().map(text).unwrap_or_default(),
        metadata: texts(&record.attributes),
        tenant: String::new(),
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let pair = |attribute: &KeyValue| (attribute.key.clone(), attribute.value.as_ref().map(text).unwrap_or_default());
    attributes.iter().map(pair).collect()
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(yes)) => yes.to_string(),
        other => format!("{other:?}"),
    }
}
