//! Probe `cadvisor`: cAdvisor's counts of TCP and UDP sockets, which a kubelet leaves at zero, under cAdvisor's names.

use netsonde_sdk::prelude::*;
use sockets::{Dumps, Family, Sockets, TCP_STATES, UDP_STATES};

mod sockets;
mod sql;

/// Name for the host, the upstream's name and help, whose sockets, and whether TCP's.
const GAUGES: &[(&str, &str, &str, Family, bool)] = &[
    (
        "tcp_usage",
        "container_network_tcp_usage_total",
        "tcp connection usage statistic for container",
        Family::Inet,
        true,
    ),
    (
        "tcp6_usage",
        "container_network_tcp6_usage_total",
        "tcp6 connection usage statistic for container",
        Family::Inet6,
        true,
    ),
    (
        "udp_usage",
        "container_network_udp_usage_total",
        "udp connection usage statistic for container",
        Family::Inet,
        false,
    ),
    (
        "udp6_usage",
        "container_network_udp6_usage_total",
        "udp6 connection usage statistic for container",
        Family::Inet6,
        false,
    ),
];

pub struct Cadvisor {
    held: Query,
    node: Query,
    dumps: Dumps,
    gauges: Vec<Metric<Gauge>>,
}

impl Probe for Cadvisor {
    type Settings = NoSettings;

    fn new(_: NoSettings, plan: &mut Plan) -> Result<Self> {
        let held = plan.query("held", &sql::held());
        let node = plan.query("node", sql::NODE);
        let dumps =
            Dumps { rest: plan.optional_query("rest", sql::REST), whole: plan.optional_query("whole", sql::WHOLE) };
        let gauge = |(name, family, help, _, is_tcp): &(&str, &str, &str, Family, bool)| {
            let (label, sources) = match is_tcp {
                true => ("tcp_state", &[held, node, dumps.rest, dumps.whole][..]),
                false => ("udp_state", &[held, node][..]),
            };
            let gauge = plan.gauge(name, help).family(family).scope_labels("cadvisor");
            gauge.label(label).from(sources).each_scope()
        };
        let gauges = GAUGES.iter().map(gauge).collect();
        Ok(Self { held, node, dumps, gauges })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        let (Some(node), Some(held)) = (call.rows(self.node), call.rows(self.held)) else { return Ok(()) };
        let mut sockets = Sockets::none_of(&node)?;
        sockets.hold(&held, call.failed_scopes(self.held))?;
        sockets.put_in(call, &self.dumps)?;
        for (gauge, (.., family, is_tcp)) in self.gauges.iter().zip(GAUGES) {
            let (states, values): (&[&str], Vec<_>) = match is_tcp {
                true => (&TCP_STATES, sockets.tcp(*family)),
                false => (&UDP_STATES, sockets.udp(*family)),
            };
            let scopes = sockets.scopes().flat_map(|scope| states.iter().map(move |_| Some(scope)));
            let labels = sockets.scopes().flat_map(|_| states.iter().map(|state| Some(*state)));
            let (scopes, labels) = (Column::scopes(scopes), Column::texts(labels));
            out.set(gauge).scopes(&scopes).label(&labels).values(&Column::numbers(values));
        }
        Ok(())
    }
}

netsonde_sdk::export!(Cadvisor);

#[cfg(test)]
mod tests;
