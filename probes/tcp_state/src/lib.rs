//! Probe `tcp_state`: TCP connections of each network namespace by state, those too that no process holds, and what waits at listeners.

use counts::Counts;
use listeners::Listeners;
use netsonde_sdk::prelude::*;

mod counts;
mod listeners;
mod sql;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Ask the kernel for sockets that no process holds, too: one walk over its table for each namespace that has such.
    unowned: bool,
    /// Show what waits at listeners, by port.
    listeners: bool,
    /// Show round-trip times: one more pass over all sockets.
    rtt: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { unowned: true, listeners: true, rtt: false }
    }
}

/// What the histogram's x of 1 is, in seconds: its smallest bound of all.
const RTT_ONE: f64 = 1.0 / (1 << 20) as f64;

pub struct TcpState {
    held: Query,
    node: Query,
    dumps: Option<Dumps>,
    connections: Metric<Gauge>,
    unowned: Metric<Gauge>,
    listeners: Option<Listeners>,
    rtt: Option<(Query, Metric<GaugeHistogram>)>,
}

/// What the kernel tells of namespaces that have sockets without a process.
struct Dumps {
    /// Where a process holds every socket but those that none can hold: requests, and what is left of closed connections.
    rest: Query,
    /// Where there are others as well: orphans, connections that wait to be accepted.
    whole: Query,
}

impl TcpState {
    fn count(&self, call: &Call) -> Result<Counts> {
        let mut counts = Counts::default();
        if let Some(rows) = call.rows(self.held) {
            counts.hold(&rows)?;
        }
        match self.dumps.as_ref().filter(|dumps| was_asked(call, dumps.rest) || was_asked(call, dumps.whole)) {
            Some(dumps) => {
                // Where this failed it is not known which namespaces were to be looked at.
                counts.forget(call, self.node, counts::HASHED);
                for (dump, states) in [(dumps.rest, counts::REST), (dumps.whole, counts::HASHED)] {
                    counts.forget(call, dump, states);
                }
                for (dump, states) in [(dumps.rest, counts::REST), (dumps.whole, counts::HASHED)] {
                    if let Some(rows) = call.rows(dump) {
                        counts.replace(&rows, states)?;
                    }
                }
            }
            None => {
                if let Some(rows) = call.rows(self.node) {
                    counts.estimate(&rows)?;
                }
            }
        }
        Ok(counts)
    }

    fn show_unowned(&self, rows: &Rows<'_>, out: &mut Output) -> Result<()> {
        let (inuse, owned) = (rows.column("inuse")?, rows.column("owned")?);
        // The two were not read at the same moment.
        let unowned = |row| Some((inuse.f64(row)? - owned.f64(row)?).max(0.0));
        let values = Column::numbers((0..rows.len()).map(unowned));
        out.set(&self.unowned).scopes(rows.column("netns")?).values(&values);
        Ok(())
    }
}

/// Whether this node can answer a query at all.
fn was_asked(call: &Call, query: Query) -> bool {
    call.rows(query).is_some() || call.failure(query).is_some()
}

impl Probe for TcpState {
    type Settings = Settings;

    fn new(settings: Settings, plan: &mut Plan) -> Result<Self> {
        let held = plan.query("held", &sql::held(settings.listeners));
        let node = plan.optional_query("node", sql::NODE);
        let dumps = settings.unowned.then(|| Dumps {
            rest: plan.optional_query("rest", sql::REST),
            whole: plan.optional_query("whole", sql::WHOLE),
        });
        let mut sources = vec![held, node];
        sources.extend(dumps.iter().flat_map(|dumps| [dumps.rest, dumps.whole]));
        let connections = plan
            .gauge("connections", "TCP connections and listeners by state")
            .label("state")
            .label("family")
            .from(&sources)
            .each_scope();
        let unowned = plan
            .gauge(
                "unowned",
                "TCP sockets that no process holds, without TIME_WAIT and requests: not accepted, or not done",
            )
            .from(&[node])
            .each_scope();
        let listeners = settings.listeners.then(|| Listeners::new(plan, held));
        let rtt = settings.rtt.then(|| {
            let query = plan.optional_query("rtt", sql::RTT);
            let metric =
                plan.gauge_histogram("rtt", "Round-trip times of established connections, smoothed as TCP does");
            (query, metric.unit("seconds").base2(RTT_ONE, 4..=24).from(&[query]).each_scope())
        });
        Ok(Self { held, node, dumps, connections, unowned, listeners, rtt })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        self.count(call)?.show(&self.connections, out);
        if let Some(rows) = call.rows(self.node) {
            self.show_unowned(&rows, out)?;
        }
        if let (Some(listeners), Some(rows)) = (&self.listeners, call.rows(self.held)) {
            listeners.show(&rows, out)?;
        }
        if let Some((query, metric)) = &self.rtt
            && let Some(rows) = call.rows(*query)
        {
            out.buckets(metric).scopes(rows.column("netns")?).histogram(&rows, RTT_ONE)?;
        }
        Ok(())
    }
}

netsonde_sdk::export!(TcpState);

#[cfg(test)]
mod tests;
