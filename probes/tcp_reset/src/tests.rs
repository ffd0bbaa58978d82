use super::*;
use netsonde_sdk::test::{Harness, Table};
use std::net::IpAddr;

const NULL: Option<u64> = None;

fn probe(settings: &str) -> Harness<TcpReset> {
    Harness::new(settings).unwrap()
}

fn sent() -> Table {
    Table::new(&["owner", "netns", "reason", "no_socket", "active", "resets"])
}

fn sent_rows() -> Table {
    let columns = ["owner", "netns", "reason", "no_socket", "active"];
    let addresses = ["saddr", "sport", "daddr", "dport", "laddr", "lport", "raddr", "rport"];
    Table::new(&[&columns[..], &addresses[..]].concat())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn lines(got: &netsonde_sdk::test::Gathered) -> Vec<String> {
    got.events().iter().map(ToString::to_string).collect()
}

#[test]
fn rule_31_each_reset_is_counted_by_kind() {
    let rows = sent()
        .row(&[&NULL, &1, &"NO_SOCKET", &true, &false, &3])
        .row(&[&11, &1, &"TCP_ABORT_ON_CLOSE", &false, &true, &4])
        .row(&[&1, &1, &"TCP_TIMEWAIT_SOCKET", &false, &false, &5])
        .row(&[&2, &2, &"TCP_TIMEWAIT_SOCKET", &false, &false, &6])
        .row(&[&NULL, &2, &"NOT_SPECIFIED", &true, &true, &7]);
    let received = Table::new(&["owner", "netns", "resets"]).row(&[&21, &2, &9]).row(&[&2, &2, &1]);
    let got = probe("{}").collect(&[("sent", rows), ("received", received)]).unwrap();
    for (scope, labels, want) in [
        (1, ["nosock", "NO_SOCKET"], 3.0),
        (11, ["active", "TCP_ABORT_ON_CLOSE"], 4.0),
        (1, ["process", "TCP_TIMEWAIT_SOCKET"], 5.0),
        (2, ["process", "TCP_TIMEWAIT_SOCKET"], 6.0),
        (2, ["active", "NOT_SPECIFIED"], 7.0),
    ] {
        assert_eq!(got.get("sent", Some(scope), &labels), Some(want), "{scope} {labels:?}");
    }
    assert_eq!(got.get("received", Some(21), &[]), Some(9.0));
    assert_eq!(got.get("received", Some(2), &[]), Some(1.0));
    assert_eq!((got.len(), got.events().len()), (7, 0));
}

#[test]
fn a_kernel_without_reasons_gives_an_empty_label_and_no_field() {
    let got = probe("{}").collect(&[("sent", sent().row(&[&1, &1, &NULL, &false, &true, &4]))]).unwrap();
    assert_eq!(got.get("sent", Some(1), &["active", ""]), Some(4.0));

    let (a, b) = (address("10.0.0.1"), address("10.0.0.2"));
    let rows = sent_rows().row(&[&1, &1, &NULL, &false, &true, &NULL, &NULL, &NULL, &NULL, &a, &80, &b, &5000]);
    let got = probe("{}").stream(&[("sent_rows", rows)]).unwrap();
    assert_eq!(
        lines(&got),
        ["TCPRESET_ACTIVE sent_rows[0] protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=5000"]
    );
}

/// A packet from 10.0.0.2:5000 to 10.0.0.1:80, and the socket 10.0.0.1:80 with the peer 10.0.0.2:5000: in each case 10.0.0.1 sends the reset.
#[test]
fn rule_31_s_is_who_sends_the_reset() {
    let (here, peer) = (address("10.0.0.1"), address("10.0.0.2"));
    let (here6, peer6) = (address("2001:db8::1"), address("2001:db8::2"));
    let rows = sent_rows()
        .row(&[&NULL, &1, &"NO_SOCKET", &true, &false, &peer, &5000, &here, &80, &NULL, &NULL, &NULL, &NULL])
        .row(&[&1, &1, &"TCP_ABORT_ON_CLOSE", &false, &true, &NULL, &NULL, &NULL, &NULL, &here, &80, &peer, &5000])
        .row(&[&1, &1, &"TCP_OLD_ACK", &false, &false, &peer, &5000, &here, &80, &here, &80, &peer, &5000])
        .row(&[&NULL, &2, &"NO_SOCKET", &true, &false, &peer6, &5001, &here6, &81, &NULL, &NULL, &NULL, &NULL]);
    let received =
        Table::new(&["owner", "netns", "laddr", "lport", "raddr", "rport"]).row(&[&1, &1, &peer, &5000, &here, &80]);
    let got = probe("{}").stream(&[("sent_rows", rows), ("received_rows", received)]).unwrap();
    let flow = "protocol=TCP saddr=10.0.0.1 sport=80 daddr=10.0.0.2 dport=5000";
    assert_eq!(
        lines(&got),
        [
            format!("TCPRESET_NOSOCK sent_rows[0] {flow} reason=NO_SOCKET"),
            "TCPRESET_NOSOCK sent_rows[3] protocol=TCP saddr=2001:db8::1 sport=81 daddr=2001:db8::2 dport=5001 \
             reason=NO_SOCKET"
                .to_owned(),
            format!("TCPRESET_ACTIVE sent_rows[1] {flow} reason=TCP_ABORT_ON_CLOSE"),
            format!("TCPRESET_PROCESS sent_rows[2] {flow} reason=TCP_OLD_ACK"),
            format!("TCPRESET_RECEIVE received_rows[0] {flow}"),
        ]
    );
}

#[test]
fn rule_8_rows_of_a_stream_are_not_counted() {
    let (a, b) = (address("10.0.0.1"), address("10.0.0.2"));
    let rows = sent_rows().row(&[&NULL, &1, &"NO_SOCKET", &true, &false, &a, &1, &b, &2, &NULL, &NULL, &NULL, &NULL]);
    let received = Table::new(&["owner", "netns", "laddr", "lport", "raddr", "rport"]).row(&[&1, &1, &a, &1, &b, &2]);
    let got = probe("{}").stream(&[("sent_rows", rows), ("received_rows", received)]).unwrap();
    assert!(got.output.samples.is_empty());
    assert_eq!(got.events().len(), 2);
}

#[test]
fn without_rows_there_is_nothing() {
    let got = probe("{}").collect(&[]).unwrap();
    assert!(got.is_empty() && got.events().is_empty());
    let empty = Table::new(&["owner", "netns", "laddr", "lport", "raddr", "rport"]);
    let got = probe("{}").stream(&[("sent_rows", sent_rows()), ("received_rows", empty)]).unwrap();
    assert!(got.output.samples.is_empty() && got.output.events.is_empty());
}

#[test]
fn the_plan_is_what_the_readme_says() {
    let probe = probe("{}");
    let queries: Vec<_> = probe.plan().queries.iter().map(|query| (query.name.as_str(), query.sql.as_str())).collect();
    assert_eq!(
        queries,
        [
            (
                "sent",
                "SELECT owner, netns, name(maybe(reason)) AS reason, sk IS NULL AS no_socket, skb IS NULL AS active, \
                 count(*) AS resets FROM hook.tcp_send_reset GROUP BY owner, netns, maybe(reason), sk IS NULL, skb IS NULL"
            ),
            ("received", "SELECT owner, netns, count(*) AS resets FROM hook.tcp_receive_reset GROUP BY owner, netns"),
            (
                "sent_rows",
                "SELECT owner, netns, name(maybe(reason)) AS reason, sk IS NULL AS no_socket, skb IS NULL AS active, \
                 saddr, sport, daddr, dport, laddr, lport, raddr, rport FROM hook.tcp_send_reset"
            ),
            ("received_rows", "SELECT owner, netns, laddr, lport, raddr, rport FROM hook.tcp_receive_reset"),
        ]
    );
    assert!(probe.plan().metrics.iter().all(|metric| metric.scoped));
    let fields = ["protocol text", "saddr address", "sport port", "daddr address", "dport port"];
    for event in &probe.plan().events {
        let have: Vec<String> = event.fields.iter().map(|field| format!("{} {}", field.name, field.logical)).collect();
        let reason: &[&str] = if event.name == "TCPRESET_RECEIVE" { &[] } else { &["reason name"] };
        assert_eq!(have, [&fields[..], reason].concat(), "{}", event.name);
    }
}

#[test]
fn events_can_be_left_out() {
    let mut probe = probe(r#"{"events": false}"#);
    let names: Vec<_> = probe.plan().queries.iter().map(|query| query.name.as_str()).collect();
    assert_eq!(names, ["sent", "received"]);
    assert!(probe.plan().events.is_empty());
    let got = probe.collect(&[("sent", sent().row(&[&NULL, &1, &"NO_SOCKET", &true, &false, &3]))]).unwrap();
    assert_eq!(got.get("sent", Some(1), &["nosock", "NO_SOCKET"]), Some(3.0));
}

#[test]
fn a_misspelt_setting_is_told() {
    let error = Harness::<TcpReset>::new(r#"{"event": false}"#).err().unwrap();
    assert!(error.contains("event") && error.contains("events"), "{error}");
    assert!(Harness::<TcpReset>::new(r#"{"events": "yes"}"#).is_err());
}

#[test]
fn each_type_of_event_says_its_counter_and_kind() {
    let probe = Harness::<TcpReset>::new("{}").unwrap();
    let attributes: Vec<String> = probe.plan().events.iter().map(|event| format!("{:?}", event.attributes)).collect();
    let of = |kind: &str| format!(r#"[("counter", "sent"), ("label:kind", "{kind}")]"#);
    assert_eq!(attributes, [of("nosock"), of("active"), of("process"), r#"[("counter", "received")]"#.into()]);
}
