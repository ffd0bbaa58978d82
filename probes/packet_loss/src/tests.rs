use super::*;
use netsonde_sdk::test::{Gathered, Harness, Table};
use std::net::IpAddr;

const NULL: Option<u64> = None;

fn probe(settings: &str) -> Harness<PacketLoss> {
    Harness::new(settings).unwrap()
}

fn drops() -> Table {
    Table::new(&["owner", "netns", "protocol", "reason", "place", "packets"])
}

fn drop_rows() -> Table {
    Table::new(&["owner", "netns", "protocol", "saddr", "sport", "daddr", "dport", "reason", "place"])
}

/// A row of `drop_rows` of which only reason and place matter.
fn dropped(rows: Table, reason: &str, place: &str) -> Table {
    rows.row(&[&NULL, &1, &"TCP", &NULL, &NULL, &NULL, &NULL, &reason, &place])
}

fn lines(got: &Gathered) -> Vec<String> {
    got.events().iter().map(ToString::to_string).collect()
}

#[test]
fn rule_34_every_drop_is_counted_by_class() {
    let rows = drops()
        .row(&[&11, &1, &"TCP", &"QUEUE_PURGE", &NULL, &1])
        .row(&[&NULL, &1, &"UDP", &"NETFILTER_DROP", &NULL, &2])
        .row(&[&NULL, &1, &"ICMPV6", &"NO_SOCKET", &NULL, &3])
        .row(&[&NULL, &2, &NULL, &"UNHANDLED_PROTO", &NULL, &4])
        .row(&[&NULL, &2, &"TCP", &"0x20003", &NULL, &5])
        .row(&[&NULL, &2, &"TCP", &"A_REASON_OF_TOMORROW", &NULL, &6])
        .row(&[&NULL, &NULL, &NULL, &"SOCKET_CLOSE", &NULL, &7]);
    let got = probe("{}").collect(&[("drops", rows)]).unwrap();
    for (scope, labels, want) in [
        (Some(11), ["normal", "QUEUE_PURGE", "TCP"], 1.0),
        (Some(1), ["policy", "NETFILTER_DROP", "UDP"], 2.0),
        (Some(1), ["loss", "NO_SOCKET", "ICMPV6"], 3.0),
        (Some(2), ["loss", "UNHANDLED_PROTO", "other"], 4.0),
        (Some(2), ["loss", "0x20003", "TCP"], 5.0),
        (Some(2), ["loss", "A_REASON_OF_TOMORROW", "TCP"], 6.0),
        (None, ["normal", "SOCKET_CLOSE", "other"], 7.0),
    ] {
        assert_eq!(got.get("packets", scope, &labels), Some(want), "{labels:?}");
    }
    assert_eq!((got.len(), got.events().len()), (7, 0));
}

#[test]
fn rule_34_events_are_of_losses_and_policies_only() {
    let (a, b) = (IpAddr::from([10, 0, 0, 1]), "2001:db8::1".parse::<IpAddr>().unwrap());
    let rows = drop_rows()
        .row(&[&NULL, &1, &"TCP", &a, &5000, &a, &80, &"TCP_OLD_DATA", &"tcp_data_queue"])
        .row(&[&NULL, &1, &"UDP", &a, &5001, &a, &53, &"SOCKET_RCVBUFF", &"__udp_queue_rcv_skb"])
        .row(&[&NULL, &2, &"ICMPV6", &b, &NULL, &b, &NULL, &"NETFILTER_DROP", &"nf_hook_slow"])
        .row(&[&NULL, &2, &NULL, &NULL, &NULL, &NULL, &NULL, &"UNHANDLED_PROTO", &NULL]);
    let got = probe("{}").stream(&[("drop_rows", rows)]).unwrap();
    assert_eq!(
        lines(&got),
        [
            "PACKETLOSS drop_rows[1] protocol=UDP saddr=10.0.0.1 sport=5001 daddr=10.0.0.1 dport=53 \
             reason=SOCKET_RCVBUFF class=loss place=__udp_queue_rcv_skb",
            "PACKETLOSS drop_rows[2] protocol=ICMPV6 saddr=2001:db8::1 daddr=2001:db8::1 \
             reason=NETFILTER_DROP class=policy place=nf_hook_slow",
            "PACKETLOSS drop_rows[3] reason=UNHANDLED_PROTO class=loss",
        ]
    );
}

#[test]
fn rule_34_a_reason_may_be_normal_at_one_place() {
    let rows = ["tcp_v4_rcv", "tcp_v6_rcv+0x79", "ip6_mc_input"]
        .into_iter()
        .fold(drop_rows(), |rows, place| dropped(rows, "NOT_SPECIFIED", place));
    let rows = dropped(rows, "NO_SOCKET", "tcp_v4_rcv");
    let got = probe("{}").stream(&[("drop_rows", rows)]).unwrap();
    let told: Vec<_> = got.events().iter().map(|event| event.source.clone().unwrap().1).collect();
    assert_eq!(told, [2, 3]);

    let rows = drops().row(&[&NULL, &1, &"TCP", &"NOT_SPECIFIED", &"tcp_v4_rcv", &5]).row(&[
        &NULL,
        &1,
        &"TCP",
        &"NOT_SPECIFIED",
        &"ip6_mc_input",
        &6,
    ]);
    let got = probe("{}").collect(&[("drops", rows)]).unwrap();
    assert_eq!(got.get("packets", Some(1), &["normal", "NOT_SPECIFIED", "TCP"]), Some(5.0));
    assert_eq!(got.get("packets", Some(1), &["loss", "NOT_SPECIFIED", "TCP"]), Some(6.0));
}

#[test]
fn rule_34_the_lists_are_settings() {
    let settings =
        r#"{"normal": ["SKB_DROP_REASON_NO_SOCKET", "0x20003"], "policy": ["QUEUE_PURGE", "IP_RPFILTER@fib"]}"#;
    let classes = |settings: &str| {
        let reasons = ["NO_SOCKET", "0x20003", "QUEUE_PURGE", "IP_RPFILTER", "NETFILTER_DROP", "SOCKET_CLOSE"];
        let rows = reasons.iter().fold(drop_rows(), |rows, reason| dropped(rows, reason, "fib"));
        let got = probe(settings).stream(&[("drop_rows", rows)]).unwrap();
        let text = |event: &netsonde_sdk::test::Event| {
            format!("{} {}", event.get("reason").unwrap(), event.get("class").unwrap())
        };
        got.events().iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(
        classes(settings),
        ["QUEUE_PURGE policy", "IP_RPFILTER policy", "NETFILTER_DROP loss", "SOCKET_CLOSE loss"]
    );
    assert_eq!(classes("{}"), ["NO_SOCKET loss", "0x20003 loss", "IP_RPFILTER loss", "NETFILTER_DROP policy"]);
    // What has no name is left to the guest's own check, the rest to the kernel.
    assert!(probe(settings).plan().queries[1].sql.ends_with("maybe('SKB_CONSUMED'), maybe('NO_SOCKET'))"));
    assert!(probe(r#"{"normal": []}"#).plan().queries[1].sql.ends_with("maybe('SKB_CONSUMED'))"));
}

#[test]
fn rule_8_rows_of_a_stream_are_not_counted() {
    let got = probe("{}").stream(&[("drop_rows", dropped(drop_rows(), "NO_SOCKET", "tcp_v4_rcv"))]).unwrap();
    assert!(got.output.samples.is_empty());
    assert_eq!(got.events().len(), 1);
}

#[test]
fn without_rows_there_is_nothing() {
    let got = probe("{}").collect(&[]).unwrap();
    assert!(got.is_empty() && got.events().is_empty());
    let rows = dropped(drop_rows(), "SOCKET_CLOSE", "unix_release_sock");
    let got = probe("{}").stream(&[("drop_rows", rows)]).unwrap();
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
                "drops",
                "SELECT owner, netns, name(protocol) AS protocol, name(reason) AS reason, name(location) AS place, \
                 count(*) AS packets FROM hook.kfree_skb WHERE name(reason) NOT IN ('SKB_NOT_DROPPED_YET', \
                 maybe('SKB_CONSUMED')) GROUP BY owner, netns, protocol, reason, location"
            ),
            (
                "drop_rows",
                "SELECT owner, netns, name(protocol) AS protocol, saddr, sport, daddr, dport, name(reason) AS reason, \
                 name(location) AS place FROM hook.kfree_skb WHERE name(reason) NOT IN ('SKB_NOT_DROPPED_YET', \
                 maybe('SKB_CONSUMED'), maybe('DUP_FRAG'), maybe('IPV6_NDISC_NS_OTHERHOST'), maybe('OTHERHOST'), \
                 maybe('QUEUE_PURGE'), maybe('SOCKET_CLOSE'), maybe('TCP_CLOSE'), maybe('TCP_OFOMERGE'), \
                 maybe('TCP_OFO_DROP'), maybe('TCP_OLD_DATA'), maybe('TCP_OLD_SEQUENCE'), \
                 maybe('TCP_RFC7323_PAWS_ACK'), maybe('UNIX_DISCONNECT'), maybe('UNIX_SKIP_OOB'))"
            ),
        ]
    );
    let [packets] = &probe.plan().metrics[..] else { panic!("one metric") };
    let labels: Vec<_> = packets.labels.iter().map(|label| label.name.as_str()).collect();
    assert_eq!((packets.name.as_str(), labels, packets.scoped), ("packets", vec!["class", "reason", "protocol"], true));
}

#[test]
fn the_same_settings_give_the_same_plan() {
    assert_eq!(probe("{}").plan(), probe("{}").plan());
}

#[test]
fn each_listed_reason_is_explained_in_the_readme() {
    let readme = include_str!("../README.md");
    for entry in NORMAL.iter().chain(POLICY) {
        assert!(readme.contains(&format!("`{entry}`")), "{entry}");
    }
}

#[test]
fn events_can_be_left_out() {
    let mut probe = probe(r#"{"events": false}"#);
    let names: Vec<_> = probe.plan().queries.iter().map(|query| query.name.as_str()).collect();
    assert_eq!((names, probe.plan().events.len()), (vec!["drops"], 0));
    let got = probe.collect(&[("drops", drops().row(&[&NULL, &1, &"TCP", &"XDP", &NULL, &1]))]).unwrap();
    assert_eq!(got.get("packets", Some(1), &["policy", "XDP", "TCP"]), Some(1.0));
}

#[test]
fn settings_that_make_no_sense_are_told() {
    for (settings, want) in [
        (r#"{"polices": []}"#, "polices"),
        (r#"{"normal": "NO_SOCKET"}"#, "settings"),
        (r#"{"normal": ["no_socket"]}"#, "normal: `no_socket` is no reason"),
        (r#"{"policy": ["X') OR ('"]}"#, "policy: `X') OR ('` is no reason"),
        (r#"{"policy": [""]}"#, "policy: `` is no reason"),
        (r#"{"policy": ["0xZ"]}"#, "is no reason"),
        (r#"{"normal": ["NO_SOCKET@"]}"#, "is no reason"),
        (r#"{"normal": ["NO_SOCKET"], "policy": ["SKB_DROP_REASON_NO_SOCKET"]}"#, "both lists"),
        // Only one list is replaced: the other one is still the probe's own.
        (r#"{"normal": ["NETFILTER_DROP"]}"#, "`NETFILTER_DROP` is in both lists"),
    ] {
        let error = Harness::<PacketLoss>::new(settings).err().expect(settings);
        assert!(error.contains(want), "{settings}: {error}");
    }
    // The same reason twice in one list, or at different places in both, does no harm.
    let probe =
        probe(r#"{"normal": ["NO_SOCKET", "NO_SOCKET", "XDP@a", "TCP_CLOSE"], "policy": ["XDP", "TCP_CLOSE@b"]}"#);
    assert!(probe.plan().queries[1].sql.ends_with("maybe('SKB_CONSUMED'), maybe('NO_SOCKET'))"));
}
