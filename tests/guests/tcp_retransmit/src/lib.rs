//! A drop-in probe: TCP segments that were sent again, at a tracepoint that no built-in probe looks at.

use netsonde_sdk::prelude::*;

const SEGMENTS: &str = "SELECT netns, count(*) AS n FROM hook.tcp_retransmit_skb GROUP BY netns";
const ROWS: &str = "SELECT netns, laddr, lport, raddr, rport, name(sk.__sk_common.skc_state, 'TCP_ESTABLISHED') AS state, \
                    (sk::tcp_sock).snd_cwnd AS snd_cwnd FROM hook.tcp_retransmit_skb";

/// Fields of an event, each with the column of its name.
const FIELDS: &[(&str, &str)] = &[
    ("laddr", "address"),
    ("lport", "port"),
    ("raddr", "address"),
    ("rport", "port"),
    ("state", "name"),
    ("snd_cwnd", "count"),
];

pub struct TcpRetransmit {
    counted: Query,
    rows: Query,
    segments: Metric<Counter>,
    retransmitted: Event,
}

impl Probe for TcpRetransmit {
    type Settings = NoSettings;

    fn new(_: NoSettings, plan: &mut Plan) -> Result<Self> {
        let counted = plan.query("segments", SEGMENTS);
        let rows = plan.query("rows", ROWS);
        let segments = plan.counter("segments", "TCP segments that were sent again").from(&[counted]).each_scope();
        let retransmitted = plan.event("TCPRETRANS", "A TCP segment was sent again", FIELDS);
        Ok(Self { counted, rows, segments, retransmitted })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        if let Some(rows) = call.rows(self.counted) {
            out.add(&self.segments).scopes(rows.column("netns")?).values(rows.column("n")?);
        }
        if let Some(rows) = call.rows(self.rows) {
            let mut events = out.events(&self.retransmitted, &rows, (0..rows.len() as u32).collect());
            for (name, _) in FIELDS {
                events = events.field(rows.column(name)?);
            }
        }
        Ok(())
    }
}

netsonde_sdk::export!(TcpRetransmit);

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_sdk::test::{Harness, Table};
    use std::net::IpAddr;

    fn probe() -> Harness<TcpRetransmit> {
        Harness::new("{}").unwrap()
    }

    #[test]
    fn increases_add_up() {
        let rows = Table::new(&["netns", "n"]).row(&[&1, &7]).row(&[&2, &8]);
        let got = probe().collect(&[("segments", rows)]).unwrap();
        assert_eq!(got.get("segments", Some(1), &[]), Some(7.0));
        assert_eq!(got.get("segments", Some(2), &[]), Some(8.0));
    }

    #[test]
    fn each_row_is_an_event_and_none_is_counted() {
        let (here, peer) = (IpAddr::from([10, 0, 0, 1]), "2001:db8::1".parse::<IpAddr>().unwrap());
        let rows = Table::new(&["netns", "laddr", "lport", "raddr", "rport", "state", "snd_cwnd"])
            .row(&[&1, &here, &5000, &here, &80, &"ESTABLISHED", &10])
            .row(&[&1, &peer, &5001, &peer, &81, &"SYN_SENT", &None::<u64>]);
        let got = probe().stream(&[("rows", rows)]).unwrap();
        let lines: Vec<String> = got.events().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "TCPRETRANS rows[0] laddr=10.0.0.1 lport=5000 raddr=10.0.0.1 rport=80 state=ESTABLISHED snd_cwnd=10",
                "TCPRETRANS rows[1] laddr=2001:db8::1 lport=5001 raddr=2001:db8::1 rport=81 state=SYN_SENT",
            ]
        );
        assert!(got.is_empty());
    }

    #[test]
    fn the_queries_are_these() {
        let sql: Vec<String> = probe().plan().queries.iter().map(|query| query.sql.clone()).collect();
        assert_eq!(
            sql,
            [
                "SELECT netns, count(*) AS n FROM hook.tcp_retransmit_skb GROUP BY netns",
                "SELECT netns, laddr, lport, raddr, rport, name(sk.__sk_common.skc_state, 'TCP_ESTABLISHED') AS state, \
                 (sk::tcp_sock).snd_cwnd AS snd_cwnd FROM hook.tcp_retransmit_skb",
            ]
        );
    }
}
