//! The sink `loki`.

use super::super::{
    Remote,
    key::{Key, Value, name, spill},
    quantity::quoted,
    read::{Reader, joined},
    remote::remote_keys,
    yaml::{Entry, Kind},
};
use super::{Common, Form};
use crate::metric::family::is_label_name;
use std::time::Duration;

/// Grafana Loki, or what takes its push API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LokiSink {
    pub common: Common,
    pub remote: Remote,
    /// As in the header `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Of the lines.
    pub form: Form,
    /// Labels of each stream besides the agent's own, in the file's order.
    pub labels: Vec<(String, String)>,
}

impl Default for LokiSink {
    fn default() -> Self {
        Self {
            common: Common::default(),
            remote: Remote::default(),
            tenant: None,
            form: Form::Json,
            labels: Vec::new(),
        }
    }
}

/// Where the push API is below the URL.
pub const LOKI_PUSH: &str = "/loki/api/v1/push";

/// What each stream has by itself; a configured `job` takes the place of the agent's.
pub const LOKI_LABELS: [&str; 5] = ["job", "node", "probe", "type", "namespace"];

/// Together with the agent's own they stay below the 15 that Loki takes.
const MAX_LABELS: usize = 8;
/// Bytes of a label's value; Loki takes 2,048.
const MAX_VALUE: usize = 256;

pub static LOKI: &[Key<LokiSink>] = remote_keys![
    Key {
        path: "url",
        doc: "Where it is; `/loki/api/v1/push` is added.",
        example: "http://loki:3100",
        value: Value::Url(|s| &mut s.remote.url),
    },
    Key {
        path: "tenant",
        doc: "Whose the events are, in the header X-Scope-OrgID.",
        example: "ops",
        value: Value::Text(|s| &mut s.tenant),
    },
    Key {
        path: "form",
        doc: "Of each line: `line`: key=value, for people; `json`: one object.",
        example: "json",
        value: Value::Form(|s| &mut s.form),
    },
    Key {
        path: "labels",
        doc: "Labels of every stream, besides `job`, `node`, `probe`, `type` and `namespace`; eight at most. `job` may be given, too.",
        example: "{ cluster: prod }",
        value: Value::StreamLabels(|s| &mut s.labels),
    },
    name(|s| &mut s.common.name, "loki-east"),
    spill(|s| &mut s.common.spill),
];

impl Reader<'_> {
    pub(super) fn loki(&mut self, name: &str, entry: &Entry) -> LokiSink {
        let mut sink = LokiSink::default();
        let before = self.faults.len();
        self.mapping(LOKI, "", name, entry, &mut sink);
        if self.faults.len() == before && entry.value.kind != Kind::Refused {
            self.check_remote(name, entry, &sink.remote, LOKI[0].example);
        }
        // As it stands in many a configuration of Promtail.
        if let Some(base) = sink.remote.url.strip_suffix(LOKI_PUSH) {
            sink.remote.url = base.to_owned();
        }
        sink
    }

    /// The entries of a mapping of labels.
    pub(in super::super) fn stream_labels(&mut self, section: &str, entries: &[Entry]) -> Vec<(String, String)> {
        let mut labels = Vec::new();
        for (index, Entry { key, at, value }) in entries.iter().enumerate() {
            let name = joined(section, key);
            let own = LOKI_LABELS.contains(&key.as_str()) && key != "job";
            match &value.kind {
                _ if index == MAX_LABELS => {
                    self.fault(
                        *at,
                        format!("`{section}` has more than {MAX_LABELS} labels; Loki wants few, and stable ones"),
                    );
                }
                _ if index > MAX_LABELS => {}
                _ if own => {
                    self.fault(*at, format!("each stream has the label `{key}` by itself; choose another name"))
                }
                _ if !is_label_name(key) => {
                    let message = "is no name for a label: letters, digits and `_`, not beginning with a digit";
                    self.fault(*at, format!("{} {message}", quoted(key)));
                }
                Kind::Text(text) if !text.is_empty() && text.len() <= MAX_VALUE && !text.contains(char::is_control) => {
                    labels.push((key.clone(), text.clone()));
                }
                Kind::Refused => {}
                _ => {
                    let found = value.found();
                    let message =
                        format!("`{name}`: must be a text of 1 to {MAX_VALUE} bytes such as `prod`; found {found}");
                    self.fault(value.at, message);
                }
            }
        }
        labels
    }
}
