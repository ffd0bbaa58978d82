//! Probe `cadvisor_traffic`: cAdvisor's counters of network devices, under cAdvisor's names.

use netsonde_sdk::prelude::*;

/// Name for the host, the upstream's name and help, column of proc.net.dev.
const COUNTERS: &[(&str, &str, &str, &str)] = &[
    ("receive_bytes", "container_network_receive_bytes_total", "Cumulative count of bytes received", "rx_bytes"),
    (
        "receive_packets",
        "container_network_receive_packets_total",
        "Cumulative count of packets received",
        "rx_packets",
    ),
    (
        "receive_packets_dropped",
        "container_network_receive_packets_dropped_total",
        "Cumulative count of packets dropped while receiving",
        "rx_dropped",
    ),
    (
        "receive_errors",
        "container_network_receive_errors_total",
        "Cumulative count of errors encountered while receiving",
        "rx_errors",
    ),
    ("transmit_bytes", "container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", "tx_bytes"),
    (
        "transmit_packets",
        "container_network_transmit_packets_total",
        "Cumulative count of packets transmitted",
        "tx_packets",
    ),
    (
        "transmit_packets_dropped",
        "container_network_transmit_packets_dropped_total",
        "Cumulative count of packets dropped while transmitting",
        "tx_dropped",
    ),
    (
        "transmit_errors",
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        "tx_errors",
    ),
];

/// Beginnings of the names of devices that cAdvisor leaves out, in whatever case.
const IGNORED: &[&str] = &["lo", "veth", "docker", "nerdctl"];

fn is_ignored(device: &str) -> bool {
    IGNORED.iter().any(|prefix| device.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix)))
}

pub struct CadvisorTraffic {
    devices: Query,
    counters: Vec<(Metric<Counter>, &'static str)>,
}

impl Probe for CadvisorTraffic {
    type Settings = NoSettings;

    fn new(_: NoSettings, plan: &mut Plan) -> Result<Self> {
        let columns: Vec<&str> = COUNTERS.iter().map(|(.., column)| *column).collect();
        let devices = plan.query("devices", &format!("SELECT netns, name, {} FROM proc.net.dev", columns.join(", ")));
        let counter = |(name, family, help, column): &(&str, &str, &str, &'static str)| {
            let counter = plan.counter(name, help).family(family).scope_labels("cadvisor");
            (counter.label("interface").from(&[devices]).each_scope(), *column)
        };
        let counters = COUNTERS.iter().map(counter).collect();
        Ok(Self { devices, counters })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        let Some(rows) = call.rows(self.devices) else { return Ok(()) };
        let name = rows.column("name")?;
        let shown: Vec<u32> =
            (0..rows.len()).filter(|&row| !name.text(row).is_none_or(is_ignored)).map(|row| row as u32).collect();
        let (scopes, interfaces) = (rows.column("netns")?.pick(&shown), name.pick(&shown));
        for (counter, column) in &self.counters {
            let totals = rows.column(column)?.pick(&shown);
            out.total(counter).scopes(&scopes).label(&interfaces).values(&totals);
        }
        Ok(())
    }
}

netsonde_sdk::export!(CadvisorTraffic);

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_sdk::test::{Harness, Table};

    fn probe() -> Harness<CadvisorTraffic> {
        Harness::new("{}").unwrap()
    }

    #[test]
    fn rule_13_names_kinds_and_labels_are_the_upstreams() {
        let probe = probe();
        let readme = include_str!("../README.md");
        for (metric, (name, family, help, _)) in probe.plan().metrics.iter().zip(COUNTERS) {
            assert_eq!((metric.name.as_str(), metric.help.as_str()), (*name, *help));
            let want = [("family", *family), ("scope-labels", "cadvisor")].map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(metric.attributes, want);
            assert_eq!(metric.labels[0].name, "interface");
            assert!(metric.scoped && metric.unit.is_empty());
            assert!(readme.contains(&format!("`{family}`")), "{family}");
        }
        assert_eq!(probe.plan().metrics.len(), 8);
    }

    #[test]
    fn each_device_that_cadvisor_shows_has_its_counters() {
        let columns = ["netns", "name", "rx_bytes", "rx_packets", "rx_dropped", "rx_errors"];
        let more = ["tx_bytes", "tx_packets", "tx_dropped", "tx_errors"];
        let rows = Table::new(&[&columns[..], &more].concat())
            .row(&[&1, &"eth0", &1, &2, &3, &4, &5, &6, &7, &8])
            .row(&[&1, &"lo", &9, &9, &9, &9, &9, &9, &9, &9])
            .row(&[&2, &"net1", &11, &12, &13, &14, &15, &16, &17, &18]);
        let got = probe().collect(&[("devices", rows)]).unwrap();
        for (index, (metric, ..)) in COUNTERS.iter().enumerate() {
            assert_eq!(got.get(metric, Some(1), &["eth0"]), Some(1.0 + index as f64), "{metric}");
            assert_eq!(got.get(metric, Some(2), &["net1"]), Some(11.0 + index as f64), "{metric}");
        }
        assert_eq!(got.len(), 16);
    }

    #[test]
    fn rule_13_the_devices_that_cadvisor_leaves_out_are_left_out() {
        for (device, ignored) in [
            ("lo", true),
            ("lo0", true),
            ("local0", true),
            ("vethA1", true),
            ("VETH1", true),
            ("docker0", true),
            ("nerdctl0", true),
            ("eth0", false),
            ("cni0", false),
            ("l", false),
            ("größe0", false),
        ] {
            assert_eq!(is_ignored(device), ignored, "{device}");
        }
    }

    #[test]
    fn without_rows_there_is_nothing() {
        assert!(probe().collect(&[]).unwrap().is_empty());
    }
}
