//! Probe `traffic`: bytes, packets, errors and drops of each network device of each namespace.

use netsonde_sdk::prelude::*;

/// Name, help, unit, column of proc.net.dev.
const COUNTERS: &[(&str, &str, &str, &str)] = &[
    ("receive", "Bytes received", "bytes", "rx_bytes"),
    ("transmit", "Bytes sent", "bytes", "tx_bytes"),
    ("receive_packets", "Packets received", "", "rx_packets"),
    ("transmit_packets", "Packets sent", "", "tx_packets"),
    ("receive_errors", "Packets that arrived broken", "", "rx_errors"),
    ("transmit_errors", "Packets that could not be sent", "", "tx_errors"),
    ("receive_drops", "Packets that arrived and were dropped, for lack of room or of a protocol", "", "rx_dropped"),
    ("transmit_drops", "Packets dropped on their way out", "", "tx_dropped"),
];

/// Column of proc.net.dev: where the other end of a veth is. Also the label.
const PEER: &str = "peer";

/// What is left out unless asked for.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Count `lo` too.
    loopback: bool,
    /// Count the host's ends of veth pairs too, and say whose the other end is: there, in the pod's namespace, the same packets are counted.
    host_veth: bool,
}

impl Settings {
    fn sql(&self) -> String {
        let mut columns: Vec<&str> = COUNTERS.iter().map(|(_, _, _, column)| *column).collect();
        if self.host_veth {
            columns.push(PEER);
        }
        let mut filters = Vec::new();
        if !self.loopback {
            filters.push("name <> 'lo'");
        }
        if !self.host_veth {
            // Where the kind cannot be asked for it is NULL: better a device too many than none.
            filters.push("(name(netns) <> 'host' OR kind IS NULL OR kind <> 'veth')");
        }
        let filter = if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) };
        format!("SELECT netns, name, {} FROM proc.net.dev{filter}", columns.join(", "))
    }
}

pub struct Traffic {
    devices: Query,
    peers: bool,
    counters: Vec<(Metric<Counter>, &'static str)>,
}

impl Probe for Traffic {
    type Settings = Settings;

    fn new(settings: Settings, plan: &mut Plan) -> Result<Self> {
        let devices = plan.query("devices", &settings.sql());
        let mut counters = Vec::new();
        for (name, help, unit, column) in COUNTERS {
            let mut metric = plan.counter(name, help).unit(unit).label("device");
            if settings.host_veth {
                metric = metric.label_scope(PEER);
            }
            counters.push((metric.from(&[devices]).each_scope(), *column));
        }
        Ok(Self { devices, peers: settings.host_veth, counters })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        let Some(rows) = call.rows(self.devices) else { return Ok(()) };
        for (metric, column) in &self.counters {
            let mut totals = out.total(metric).scopes(rows.column("netns")?).label(rows.column("name")?);
            if self.peers {
                totals = totals.label(rows.column(PEER)?);
            }
            totals.values(rows.column(column)?);
        }
        Ok(())
    }
}

netsonde_sdk::export!(Traffic);

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_sdk::test::{Harness, Table};

    #[test]
    fn each_device_has_its_counters() {
        let columns = [
            "netns",
            "name",
            "rx_bytes",
            "rx_packets",
            "rx_errors",
            "rx_dropped",
            "tx_bytes",
            "tx_packets",
            "tx_errors",
            "tx_dropped",
        ];
        let rows = Table::new(&columns)
            .row(&[&1, &"eth0", &1, &2, &3, &4, &5, &6, &7, &8])
            .row(&[&2, &"eth0", &11, &12, &13, &14, &15, &16, &17, &18]);
        let got = Harness::<Traffic>::new("{}").unwrap().collect(&[("devices", rows)]).unwrap();
        for (metric, first) in [
            ("receive", 1.0),
            ("receive_packets", 2.0),
            ("receive_errors", 3.0),
            ("receive_drops", 4.0),
            ("transmit", 5.0),
            ("transmit_packets", 6.0),
            ("transmit_errors", 7.0),
            ("transmit_drops", 8.0),
        ] {
            assert_eq!(got.get(metric, Some(1), &["eth0"]), Some(first), "{metric}");
            assert_eq!(got.get(metric, Some(2), &["eth0"]), Some(first + 10.0), "{metric}");
        }
    }

    #[test]
    fn lo_and_host_ends_of_veth_pairs_are_left_out_unless_asked() {
        let sql = |settings| Harness::<Traffic>::new(settings).unwrap().plan().queries[0].sql.clone();
        assert!(
            sql("{}").ends_with("WHERE name <> 'lo' AND (name(netns) <> 'host' OR kind IS NULL OR kind <> 'veth')")
        );
        assert!(!sql(r#"{"loopback": true}"#).contains("'lo'"));
        assert!(!sql("{}").contains("peer"));
        assert!(!sql(r#"{"host_veth": true}"#).contains("kind"));
        assert!(sql(r#"{"host_veth": true}"#).contains(", peer FROM"));
        assert!(!sql(r#"{"loopback": true, "host_veth": true}"#).contains("WHERE"));
    }

    #[test]
    fn host_ends_of_veth_pairs_say_whose_the_other_end_is() {
        let mut columns: Vec<&str> = COUNTERS.iter().map(|(_, _, _, column)| *column).collect();
        columns.extend(["netns", "name", PEER]);
        let none = None::<u64>;
        let rows = Table::new(&columns)
            .row(&[&1, &2, &3, &4, &5, &6, &7, &8, &1, &"veth7", &2])
            .row(&[&1, &2, &3, &4, &5, &6, &7, &8, &1, &"eth0", &none])
            .row(&[&1, &2, &3, &4, &5, &6, &7, &8, &2, &"eth0", &1]);
        let mut harness = Harness::<Traffic>::new(r#"{"host_veth": true}"#).unwrap();
        for metric in &harness.plan().metrics {
            let labels: Vec<(&str, &str)> =
                metric.labels.iter().map(|label| (label.name.as_str(), label.logical.as_str())).collect();
            assert_eq!(labels, [("device", "text"), ("peer", "scope")], "{}", metric.name);
        }
        let got = harness.collect(&[("devices", rows)]).unwrap();
        for (scope, labels) in [(1, ["veth7", "2"]), (1, ["eth0", ""]), (2, ["eth0", "1"])] {
            assert_eq!(got.get("receive", Some(scope), &labels), Some(1.0), "{labels:?}");
        }
    }

    #[test]
    fn a_misspelt_setting_is_told() {
        let error = Harness::<Traffic>::new(r#"{"loopbak": true}"#).err().unwrap();
        assert!(error.contains("loopbak") && error.contains("loopback"), "{error}");
    }
}
