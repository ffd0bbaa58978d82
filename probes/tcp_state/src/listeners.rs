//! What waits at listeners, by port.

use netsonde_sdk::prelude::*;

const LISTEN: u64 = 10;

pub struct Listeners {
    queue: Metric<Gauge>,
    limit: Metric<Gauge>,
    share: Metric<Gauge>,
}

impl Listeners {
    pub fn new(plan: &mut Plan, held: Query) -> Self {
        let mut gauge = |name: &str, help: &str, unit: &str| {
            plan.gauge(name, help).unit(unit).label("port").label("family").from(&[held]).each_scope()
        };
        Self {
            queue: gauge("accept_queue", "Connections that wait to be accepted", ""),
            limit: gauge("accept_queue_limit", "Connections that may wait to be accepted", ""),
            share: gauge("accept_queue_fullest", "Length of the fullest accept queue, of its limit", "ratio"),
        }
    }

    /// # Errors
    /// If the rows lack a column.
    pub fn show(&self, rows: &Rows<'_>, out: &mut Output) -> Result<()> {
        let (state, family) = (rows.column("state")?, rows.column("family")?);
        let listening: Vec<u32> =
            (0..rows.len() as u32).filter(|&row| state.u64(row as usize) == Some(LISTEN)).collect();
        let pick = |name: &str| rows.column(name).map(|column| column.pick(&listening));
        let family = Column::texts(listening.iter().map(|&row| match family.u64(row as usize) {
            Some(2) => Some("ipv4"),
            Some(10) => Some("ipv6"),
            _ => None,
        }));
        let (scopes, port, share) = (pick("netns")?, pick("port")?, pick("queue_share")?);
        let share = Column::numbers((0..share.rows()).map(|row| Some(share.f64(row)? / 1000.0)));
        for (gauge, values) in
            [(&self.queue, pick("queue")?), (&self.limit, pick("queue_limit")?), (&self.share, share)]
        {
            out.set(gauge).scopes(&scopes).label(&port).label(&family).values(&values);
        }
        Ok(())
    }
}
