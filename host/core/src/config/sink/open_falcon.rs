//! The sink `open_falcon`.

use super::super::{
    Remote,
    key::{Key, Value, name},
    read::Reader,
    remote::remote_keys,
    yaml::{Entry, Kind},
};
use super::Common;
use std::time::Duration;

/// The agent of open-falcon on this node, which is given counts of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFalconSink {
    /// Without a spill: values wait in memory.
    pub common: Common,
    pub remote: Remote,
    /// How often; open-falcon keeps one value for each.
    pub step: Duration,
    /// Before the names of metrics.
    pub prefix: Option<String>,
    /// What open-falcon calls this node. None: its name.
    pub endpoint: Option<String>,
}

impl Default for OpenFalconSink {
    fn default() -> Self {
        Self {
            common: Common::default(),
            remote: Remote::default(),
            step: Duration::from_secs(60),
            prefix: None,
            endpoint: None,
        }
    }
}

/// Where the agent of open-falcon takes values (modules/agent/http/push.go).
pub const FALCON_PUSH: &str = "/v1/push";

/// Its transfer makes shorter steps to this one, unless it is configured otherwise (modules/transfer/sender/sender.go, `MinStep`).
const LEAST_STEP: Duration = Duration::from_secs(10);

pub static OPEN_FALCON: &[Key<OpenFalconSink>] = remote_keys![
    Key {
        path: "url",
        doc: "The agent of open-falcon; `/v1/push` is added.",
        example: "http://127.0.0.1:1988",
        value: Value::Url(|s| &mut s.remote.url),
    },
    Key {
        path: "step",
        doc: "How often values are sent, in whole seconds. 10s to 1h; open-falcon takes less than 30s only if its `minStep` says so.",
        example: "60s",
        value: Value::Time(|s| &mut s.step, LEAST_STEP..=Duration::from_secs(3600)),
    },
    Key {
        path: "prefix",
        doc: "What stands before the names Establish, InUse, TimeWait, Orphan, Total and UDP.",
        example: "container.socket.",
        value: Value::Text(|s| &mut s.prefix),
    },
    Key {
        path: "endpoint",
        doc: "What open-falcon calls this node. Without it: the node's name.",
        example: "worker-3",
        value: Value::Text(|s| &mut s.endpoint),
    },
    name(|s| &mut s.common.name, "falcon"),
];

/// The longest prefix and endpoint, in bytes.
const MAX_NAME: usize = 255;

impl Reader<'_> {
    pub(super) fn open_falcon(&mut self, name: &str, entry: &Entry) -> OpenFalconSink {
        let mut sink = OpenFalconSink::default();
        let before = self.faults.len();
        self.mapping(OPEN_FALCON, "", name, entry, &mut sink);
        if self.faults.len() == before && entry.value.kind != Kind::Refused {
            self.check_remote(name, entry, &sink.remote, OPEN_FALCON[0].example);
            if sink.step.subsec_nanos() != 0 {
                self.fault(entry.at, format!("`{name}.step` has a fraction of a second; open-falcon knows whole ones"));
            }
            for (key, text) in [("prefix", &sink.prefix), ("endpoint", &sink.endpoint)] {
                if text.as_ref().is_some_and(|text| text.len() > MAX_NAME || text.contains(char::is_whitespace)) {
                    let message = format!("`{name}.{key}` has spaces, or more than {MAX_NAME} bytes");
                    self.fault(entry.at, message);
                }
            }
        }
        if let Some(base) = sink.remote.url.strip_suffix(FALCON_PUSH) {
            sink.remote.url = base.to_owned();
        }
        sink
    }
}
