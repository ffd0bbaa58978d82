//! Probe `sockstat`: how many sockets each network namespace holds, and what TCP and UDP cost the node.

use netsonde_sdk::prelude::*;

/// Gauges with a label `family`: name, help, unit, and the key of the line in sockstat; sockstat6 has the same with a 6.
const BY_FAMILY: &[(&str, &str, &str, &str, &str)] = &[
    (
        "tcp_inuse",
        "TCP sockets that are bound: listening, connecting, connected; TIME_WAIT not among them",
        "",
        "TCP",
        "inuse",
    ),
    ("udp_inuse", "UDP sockets that are bound", "", "UDP", "inuse"),
    ("udplite_inuse", "UDP-Lite sockets that are bound", "", "UDPLITE", "inuse"),
    ("raw_inuse", "Raw sockets", "", "RAW", "inuse"),
    ("frag_inuse", "Datagrams of which fragments wait for the rest", "", "FRAG", "inuse"),
    ("frag_memory", "Memory of fragments that wait for the rest", "bytes", "FRAG", "memory"),
];

/// Gauges of a namespace as a whole: name, help, query (an index of `sockets` or `snmp`), column.
const OF_BOTH: &[(&str, &str, &str, &str)] = &[
    ("sockets_used", "Open sockets of every kind", "v4", "sockets.used"),
    ("tcp_time_wait", "TCP connections in TIME_WAIT, IPv4 and IPv6", "v4", "TCP.tw"),
    (
        "tcp_established",
        "TCP connections in ESTABLISHED or CLOSE_WAIT, IPv4 and IPv6 (CurrEstab)",
        "established",
        "Tcp.CurrEstab",
    ),
];

/// Gauges of the node as a whole, though the kernel prints them in every namespace's file.
const OF_NODE: &[(&str, &str, &str, &str)] = &[
    ("tcp_orphan", "TCP sockets that no process holds any more", "", "TCP.orphan"),
    ("tcp_alloc", "TCP sockets that are allocated, in any state", "", "TCP.alloc"),
    ("tcp_memory", "Memory of TCP's buffers", "bytes", "TCP.mem"),
    ("udp_memory", "Memory of UDP's buffers", "bytes", "UDP.mem"),
];

pub struct Sockstat {
    /// By query: each gauge with its column and the value of its label `family`, if it has one.
    gauges: Vec<(Query, Vec<Source>)>,
    node: Query,
    node_gauges: Vec<(Metric<Gauge>, &'static str)>,
}

struct Source {
    metric: Metric<Gauge>,
    column: String,
    family: Option<&'static str>,
}

impl Probe for Sockstat {
    type Settings = NoSettings;

    fn new(_: NoSettings, plan: &mut Plan) -> Result<Self> {
        // `maybe`: the newest kernels have no UDP-Lite any more.
        let v4 = plan.query(
            "v4",
            "SELECT netns, sockets.used, TCP.inuse, TCP.tw, UDP.inuse, maybe(UDPLITE.inuse), RAW.inuse, FRAG.inuse, FRAG.memory \
             FROM proc.net.sockstat",
        );
        let v6 = plan.optional_query(
            "v6",
            "SELECT netns, TCP6.inuse, UDP6.inuse, maybe(UDPLITE6.inuse), RAW6.inuse, FRAG6.inuse, FRAG6.memory \
             FROM proc.net.sockstat6",
        );
        let established = plan.query("established", "SELECT netns, Tcp.CurrEstab FROM proc.net.snmp");
        let node = plan.query("node", "SELECT TCP.orphan, TCP.alloc, TCP.mem, UDP.mem FROM proc.sockstat");

        let (mut from_v4, mut from_v6, mut from_snmp) = (Vec::new(), Vec::new(), Vec::new());
        for (name, help, unit, line, key) in BY_FAMILY {
            let metric = plan.gauge(name, help).unit(unit).label("family").from(&[v4, v6]).each_scope();
            from_v4.push(Source { metric, column: format!("{line}.{key}"), family: Some("ipv4") });
            from_v6.push(Source { metric, column: format!("{line}6.{key}"), family: Some("ipv6") });
        }
        for (name, help, query, column) in OF_BOTH {
            let (query, sources) = if *query == "v4" { (v4, &mut from_v4) } else { (established, &mut from_snmp) };
            let metric = plan.gauge(name, help).from(&[query]).each_scope();
            sources.push(Source { metric, column: column.to_string(), family: None });
        }
        let mut node_gauges = Vec::new();
        for (name, help, unit, column) in OF_NODE {
            node_gauges.push((plan.gauge(name, help).unit(unit).from(&[node]).node(), *column));
        }
        let gauges = vec![(v4, from_v4), (v6, from_v6), (established, from_snmp)];
        Ok(Self { gauges, node, node_gauges })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        for (query, sources) in &self.gauges {
            let Some(rows) = call.rows(*query) else { continue };
            for source in sources {
                let mut samples = out.set(&source.metric).scopes(rows.column("netns")?);
                if let Some(family) = source.family {
                    samples = samples.label_text(family);
                }
                samples.values(rows.column(&source.column)?);
            }
        }
        if let Some(rows) = call.rows(self.node) {
            for (metric, column) in &self.node_gauges {
                out.set(metric).values(rows.column(column)?);
            }
        }
        Ok(())
    }
}

netsonde_sdk::export!(Sockstat);

#[cfg(test)]
mod tests;
