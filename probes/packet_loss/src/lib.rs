//! Probe `packet_loss`: packets that the kernel threw away, and why.

use netsonde_sdk::prelude::*;
use reasons::{Class, NORMAL, POLICY, Reasons};

mod reasons;

/// No drops at all: the kernel gives these where it is not dropping.
const NO_DROP: &str = "'SKB_NOT_DROPPED_YET', maybe('SKB_CONSUMED')";

/// Not the protocol of an IP packet.
const OTHER: &str = "other";

const FIELDS: &[(&str, &str)] = &[
    ("protocol", "name"),
    ("saddr", "address"),
    ("sport", "port"),
    ("daddr", "address"),
    ("dport", "port"),
    ("reason", "name"),
    ("class", "text"),
    ("place", "name"),
];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Make an event of each packet that was lost or refused. Without, packets are only counted.
    events: bool,
    /// Reasons that are part of normal life; replaces the probe's own list.
    normal: Vec<String>,
    /// Reasons that are somebody's rule; replaces the probe's own list.
    policy: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Self { events: true, normal: list(NORMAL), policy: list(POLICY) }
    }
}

/// By place too, as some reasons are normal at one place only; the counter has no label for it, and adds places up.
fn drops_sql() -> String {
    format!(
        "SELECT owner, netns, name(protocol) AS protocol, name(reason) AS reason, name(location) AS place, count(*) AS packets \
         FROM hook.kfree_skb WHERE name(reason) NOT IN ({NO_DROP}) GROUP BY owner, netns, protocol, reason, location"
    )
}

/// What is normal stays in the kernel: it would use up the rows that a namespace may have. `maybe`: kernels differ in their reasons.
fn rows_sql(normal: &[&str]) -> String {
    let normal: String = normal.iter().map(|name| format!(", maybe('{name}')")).collect();
    format!(
        "SELECT owner, netns, name(protocol) AS protocol, saddr, sport, daddr, dport, name(reason) AS reason, \
         name(location) AS place FROM hook.kfree_skb WHERE name(reason) NOT IN ({NO_DROP}{normal})"
    )
}

pub struct PacketLoss {
    reasons: Reasons,
    drops: Query,
    packets: Metric<Counter>,
    rows: Option<(Query, Event)>,
}

impl PacketLoss {
    /// The class of each row.
    fn classes(&self, rows: &Rows) -> Result<Vec<Class>> {
        let (reason, place) = (rows.column("reason")?, rows.column("place")?);
        let class = |row| self.reasons.class(reason.text(row), place.text(row));
        Ok((0..rows.len()).map(class).collect())
    }

    fn count(&self, rows: &Rows, out: &mut Output) -> Result<()> {
        let classes = Column::texts(self.classes(rows)?.into_iter().map(|class| Some(class.label())));
        let protocol = rows.column("protocol")?;
        let protocol = Column::texts((0..rows.len()).map(|row| Some(protocol.text(row).unwrap_or(OTHER))));
        // The socket's owner; of a packet that no socket has come to, the namespace.
        let whose = rows.column("owner")?.scopes_or(rows.column("netns")?);
        let samples = out.add(&self.packets).scopes(&whose);
        samples.label(&classes).label(rows.column("reason")?).label(&protocol).values(rows.column("packets")?);
        Ok(())
    }

    fn tell(&self, event: &Event, rows: &Rows, out: &mut Output) -> Result<()> {
        let classes = self.classes(rows)?;
        let told: Vec<u32> = (0..rows.len() as u32).filter(|&row| classes[row as usize] != Class::Normal).collect();
        let class = Column::texts(told.iter().map(|&row| Some(classes[row as usize].label())));
        let mut events = out.events(event, rows, told);
        for column in ["protocol", "saddr", "sport", "daddr", "dport", "reason"] {
            events = events.field(rows.column(column)?);
        }
        events.column(class).field(rows.column("place")?);
        Ok(())
    }
}

impl Probe for PacketLoss {
    type Settings = Settings;

    fn new(settings: Settings, plan: &mut Plan) -> Result<Self> {
        let reasons = Reasons::new(&settings.normal, &settings.policy)?;
        let drops = plan.query("drops", &drops_sql());
        let packets = plan
            .counter("packets", "Packets that the kernel threw away")
            .label("class")
            .label("reason")
            .label("protocol")
            .from(&[drops])
            .each_scope();
        let rows = settings.events.then(|| {
            let query = plan.query("drop_rows", &rows_sql(&reasons.normal_names()));
            let event = plan.event("PACKETLOSS", "A packet was lost, or refused by a rule", FIELDS);
            // One that is of no IP protocol has no such field: none of its series is found.
            plan.counts(&event, &packets, &[]);
            (query, event)
        });
        Ok(Self { reasons, drops, packets, rows })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        if let Some(rows) = call.rows(self.drops) {
            self.count(&rows, out)?;
        }
        if let Some((query, event)) = &self.rows
            && let Some(rows) = call.rows(*query)
        {
            self.tell(event, &rows, out)?;
        }
        Ok(())
    }
}

netsonde_sdk::export!(PacketLoss);

#[cfg(test)]
mod tests;
