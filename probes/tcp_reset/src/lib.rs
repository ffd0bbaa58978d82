//! Probe `tcp_reset`: who sends TCP resets, to whom, and why.

use netsonde_sdk::prelude::*;

const SENT: &str = "SELECT owner, netns, name(maybe(reason)) AS reason, sk IS NULL AS no_socket, skb IS NULL AS active, count(*) AS resets \
                    FROM hook.tcp_send_reset GROUP BY owner, netns, maybe(reason), sk IS NULL, skb IS NULL";
const RECEIVED: &str = "SELECT owner, netns, count(*) AS resets FROM hook.tcp_receive_reset GROUP BY owner, netns";
const SENT_ROWS: &str = "SELECT owner, netns, name(maybe(reason)) AS reason, sk IS NULL AS no_socket, skb IS NULL AS active, \
                         saddr, sport, daddr, dport, laddr, lport, raddr, rport FROM hook.tcp_send_reset";
const RECEIVED_ROWS: &str = "SELECT owner, netns, laddr, lport, raddr, rport FROM hook.tcp_receive_reset";

/// Fields of every type of event: `s` is who sends the reset.
const FIELDS: [(&str, &str); 5] =
    [("protocol", "text"), ("saddr", "address"), ("sport", "port"), ("daddr", "address"), ("dport", "port")];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Make an event of each reset. Without, resets are only counted.
    events: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { events: true }
    }
}

/// What made the kernel send a reset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A packet for which there is no socket.
    NoSocket,
    /// A socket, of its own accord.
    Active,
    /// A socket, in answer to a packet.
    Process,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::NoSocket => "nosock",
            Self::Active => "active",
            Self::Process => "process",
        }
    }
}

/// Event types of the resets that were sent: kind, name, what it means, and the columns of saddr, sport, daddr, dport. A reset that answers
/// a packet goes from where the packet went to.
const SENT_EVENTS: [(Kind, &str, &str, [&str; 4]); 3] = [
    (
        Kind::NoSocket,
        "TCPRESET_NOSOCK",
        "A reset was sent in answer to a packet for which there is no socket",
        ["daddr", "dport", "saddr", "sport"],
    ),
    (Kind::Active, "TCPRESET_ACTIVE", "A socket sent a reset of its own accord", ["laddr", "lport", "raddr", "rport"]),
    (
        Kind::Process,
        "TCPRESET_PROCESS",
        "A socket sent a reset in answer to a packet that it did not accept",
        ["daddr", "dport", "saddr", "sport"],
    ),
];

pub struct TcpReset {
    sent: Query,
    received: Query,
    rows: Option<RowQueries>,
    sent_total: Metric<Counter>,
    received_total: Metric<Counter>,
}

/// The stream queries and what is made of them.
struct RowQueries {
    sent: Query,
    received: Query,
    /// In the order of [`SENT_EVENTS`].
    sent_events: [Event; 3],
    received_event: Event,
}

impl RowQueries {
    fn new(plan: &mut Plan, sent_total: &Metric<Counter>, received_total: &Metric<Counter>) -> Self {
        let with_reason: Vec<_> = FIELDS.into_iter().chain([("reason", "name")]).collect();
        let sent_events = SENT_EVENTS.map(|(kind, name, help, _)| {
            let event = plan.event(name, help, &with_reason);
            plan.counts(&event, sent_total, &[("kind", kind.label())]);
            event
        });
        let received_event = plan.event("TCPRESET_RECEIVE", "A reset arrived, and ended a connection", &FIELDS);
        plan.counts(&received_event, received_total, &[]);
        Self {
            sent: plan.query("sent_rows", SENT_ROWS),
            received: plan.query("received_rows", RECEIVED_ROWS),
            sent_events,
            received_event,
        }
    }

    fn process(&self, call: &Call, out: &mut Output) -> Result<()> {
        if let Some(rows) = call.rows(self.sent) {
            let kinds = kinds(&rows)?;
            for ((kind, _, _, columns), event) in SENT_EVENTS.iter().zip(&self.sent_events) {
                let of_kind = |&row: &u32| kinds[row as usize] == *kind;
                let indices = (0..rows.len() as u32).filter(of_kind).collect();
                let mut events = out.events(event, &rows, indices).text("TCP");
                for column in columns {
                    events = events.field(rows.column(column)?);
                }
                events.field(rows.column("reason")?);
            }
        }
        if let Some(rows) = call.rows(self.received) {
            // The peer sent it.
            let mut events = out.events(&self.received_event, &rows, (0..rows.len() as u32).collect()).text("TCP");
            for column in ["raddr", "rport", "laddr", "lport"] {
                events = events.field(rows.column(column)?);
            }
        }
        Ok(())
    }
}

/// Whose each reset is: the socket's owner, without a socket the namespace of the packet.
fn whose(rows: &Rows) -> Result<Column> {
    Ok(rows.column("owner")?.scopes_or(rows.column("netns")?))
}

/// Rule 31: without a packet the socket acted by itself; without a socket the packet had none; with both, the socket answered the packet.
fn kinds(rows: &Rows) -> Result<Vec<Kind>> {
    let (active, no_socket) = (rows.column("active")?, rows.column("no_socket")?);
    let kind = |row| match (active.bool(row), no_socket.bool(row)) {
        (Some(true), _) => Kind::Active,
        (_, Some(true)) => Kind::NoSocket,
        _ => Kind::Process,
    };
    Ok((0..rows.len()).map(kind).collect())
}

impl Probe for TcpReset {
    type Settings = Settings;

    fn new(settings: Settings, plan: &mut Plan) -> Result<Self> {
        let (sent, received) = (plan.query("sent", SENT), plan.query("received", RECEIVED));
        let sent_total =
            plan.counter("sent", "TCP resets sent").label("kind").label("reason").from(&[sent]).each_scope();
        let received_total =
            plan.counter("received", "TCP resets that arrived and ended a connection").from(&[received]).each_scope();
        let rows = settings.events.then(|| RowQueries::new(plan, &sent_total, &received_total));
        Ok(Self { sent, received, rows, sent_total, received_total })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        if let Some(rows) = call.rows(self.sent) {
            let kinds = Column::texts(kinds(&rows)?.into_iter().map(|kind| Some(kind.label())));
            let samples = out.add(&self.sent_total).scopes(&whose(&rows)?);
            samples.label(&kinds).label(rows.column("reason")?).values(rows.column("resets")?);
        }
        if let Some(rows) = call.rows(self.received) {
            out.add(&self.received_total).scopes(&whose(&rows)?).values(rows.column("resets")?);
        }
        self.rows.as_ref().map_or(Ok(()), |rows| rows.process(call, out))
    }
}

netsonde_sdk::export!(TcpReset);

#[cfg(test)]
mod tests;
