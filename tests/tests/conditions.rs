//! WHERE and GROUP BY over tracepoints: which rows they leave and how they add up, of packets that are known.

use netsonde_tests::{
    netns::Pair,
    query::{Asked, groups},
    traffic::Peer,
};
use serde_json::{Value, json};

/// To whom, to which port, how many bytes.
const DATAGRAMS: [(&str, u64, u64); 3] = [("10.199.0.2", 7801, 100), ("10.199.0.2", 7802, 200), ("fd99::2", 7803, 300)];
/// After it nothing comes.
const LAST: u64 = 7809;

/// Conditions, and the ports of the datagrams for which they are true. `PID` and `NETNS` are the sender's.
const CONDITIONS: &[(&str, &[u64])] = &[
    ("dport = 7801", &[7801]),
    ("7801 = dport", &[7801]),
    ("dport <> 7801", &[7802, 7803]),
    ("dport > 7801 AND dport <= 7802", &[7802]),
    ("dport >= 7802", &[7802, 7803]),
    ("dport < 7802 OR dport = 7803", &[7801, 7803]),
    ("dport BETWEEN 7802 AND 7808", &[7802, 7803]),
    ("dport NOT BETWEEN 7802 AND 7808", &[7801]),
    ("dport IN (7801, 7803, 99999999999)", &[7801, 7803]),
    ("dport NOT IN (7801, 7803)", &[7802]),
    ("dport = -1 OR dport = 18446744073709551615", &[]),
    ("NOT (dport = 7801 OR dport = 7802)", &[7803]),
    ("NOT (dport <> 7801 AND NOT dport = 7802)", &[7801, 7802]),
    ("skb.len < 300", &[7801, 7802]),
    ("family = 10", &[7803]),
    ("saddr = '10.199.0.1'", &[7801, 7802]),
    ("saddr <> '10.199.0.1'", &[7803]),
    ("daddr IN ('fd99::2', '10.199.0.77')", &[7803]),
    ("daddr NOT IN ('fd99::2', '10.199.0.77')", &[7801, 7802]),
    ("name(protocol) = 'TCP'", &[]),
    ("name(protocol) IN ('TCP', 'IPPROTO_UDP')", &[7801, 7802, 7803]),
    ("name(protocol) <> maybe('NEVER_HEARD_OF')", &[7801, 7802, 7803]),
    ("name(protocol) = maybe('NEVER_HEARD_OF')", &[]),
    ("comm = 'nst-sender'", &[7801, 7802, 7803]),
    ("comm <> 'nst-sender'", &[]),
    ("comm IN ('nst-sende', 'nst-sender2')", &[]),
    ("pid = PID", &[7801, 7802, 7803]),
    ("pid <> PID", &[]),
    ("skb.dev.name = 'veth0'", &[7801, 7802, 7803]),
    ("skb.dev.name IN ('veth', 'veth00', 'eth0')", &[]),
    ("sport = lport", &[7801, 7802, 7803]),
    ("sport <> lport OR dport < rport", &[]),
    ("skb.sk IS NULL", &[]),
    ("skb.sk IS NOT NULL", &[7801, 7802, 7803]),
    ("maybe(skb.nothing) IS NULL", &[7801, 7802, 7803]),
    // NULL makes the answer unknown, which is not true, nor is its opposite.
    ("maybe(skb.nothing) = 1", &[]),
    ("NOT maybe(skb.nothing) = 1", &[]),
    ("maybe(skb.nothing) = 1 OR dport = 7802", &[7802]),
    ("NOT (maybe(skb.nothing) = 1 AND dport = 7802)", &[7801, 7803]),
    ("dport IN (7801, NULL)", &[7801]),
    ("dport NOT IN (7801, NULL)", &[]),
    // A field of a socket of another protocol.
    ("(skb.sk::tcp_sock).snd_cwnd >= 0", &[]),
    ("(skb.sk::tcp_sock).snd_cwnd IS NULL", &[7801, 7802, 7803]),
    ("skb.sk.sk_peek_off < 0", &[7801, 7802, 7803]),
    ("skb.sk.sk_peek_off = -1", &[7801, 7802, 7803]),
    ("skb.sk.sk_peek_off IN (-2, 0, 4294967295, 18446744073709551615)", &[]),
    ("skb.sk.__sk_common.skc_ipv6only = 1", &[]),
    ("name(netns) = 'NETNS'", &[7801, 7802, 7803]),
    ("name(netns) IN ('host', 'NETNS')", &[7801, 7802, 7803]),
    ("name(netns) <> 'NETNS'", &[]),
    ("name(netns) = 'NETNS' AND dport = 7802", &[7802]),
];

#[test]
fn rule_20_a_condition_leaves_exactly_the_rows_for_which_it_is_true() {
    let pair = Pair::new();
    let mut sender = Peer::new(&pair.a);
    sender.run("open('/proc/self/comm', 'w').write('nst-sender')");
    for (condition, want) in CONDITIONS {
        let condition = condition.replace("PID", &sender.pid().to_string()).replace("NETNS", &pair.a.name);
        let mut asked = Asked::rows_of(&format!(
            "SELECT dport, name(netns) AS netns FROM hook.net_dev_queue WHERE dport >= 7801 AND dport <= {LAST} \
             AND (({condition}) OR dport = {LAST})"
        ));
        for (to, port, bytes) in DATAGRAMS {
            sender.run(&format!("send('{to}', {port}, 1, {bytes})"));
        }
        sender.run(&format!("send('10.199.0.2', {LAST}, 1)"));
        let of_us = |row: &Value| row["netns"] == pair.a.name.as_str();
        let rows = asked.until(|row| of_us(row) && row["dport"] == LAST);
        let ports: Vec<u64> = rows.iter().filter(|row| of_us(row)).map(|row| row["dport"].as_u64().unwrap()).collect();
        assert_eq!(ports, *want, "{condition}");
    }
}

#[test]
fn groups_add_up_to_what_was_sent() {
    let pair = Pair::new();
    let mut sender = Peer::new(&pair.a);
    let sql = format!(
        "SELECT name(netns) AS netns, daddr, dport, count(*) AS n, sum(skb.len) AS bytes, min(skb.len) AS least, max(skb.len) AS most, \
         min(skb.sk.sk_peek_off) AS signed, count(maybe(skb.nothing)) AS none, sum(maybe(skb.nothing)) AS nothing, skb.dev.name AS device \
         FROM hook.net_dev_queue WHERE name(netns) = '{}' AND dport BETWEEN 7801 AND 7803 \
         GROUP BY netns, daddr, dport, skb.dev.name ORDER BY dport",
        pair.a.name
    );
    let rows = groups(&sql, || {
        for (to, port, bytes) in DATAGRAMS {
            for more in 0..50 {
                sender.run(&format!("send('{to}', {port}, 3, {})", bytes + more));
            }
        }
    });
    let want: Vec<Value> = DATAGRAMS
        .iter()
        .map(|(to, port, bytes)| {
            let least = bytes + if to.contains(':') { 14 + 40 + 8 } else { 14 + 20 + 8 };
            json!({
                "netns": pair.a.name, "daddr": to, "dport": port, "n": 150, "bytes": 3 * (50 * least + (0..50).sum::<u64>()),
                "least": least, "most": least + 49, "signed": -1, "none": 0, "nothing": null, "device": "veth0",
            })
        })
        .collect();
    assert_eq!(rows, want);
}

#[test]
fn rule_20_null_is_one_group_and_without_group_by_there_is_one_row() {
    let pair = Pair::new();
    let (mut client, mut server) = (Peer::new(&pair.a), Peer::new(&pair.b));
    let sql = format!(
        "SELECT lport, count(*) AS n, count(lport) AS sockets, min(lport) AS least, sk IS NULL AS no_socket FROM hook.tcp_send_reset \
         WHERE name(netns) = '{}' GROUP BY netns, lport, sk IS NULL ORDER BY lport",
        pair.b.name
    );
    server.run("l = listen('10.199.0.2', 7820)");
    let mut rows = groups(&sql, || {
        client.run("refused('10.199.0.2', 4711, 20); refused('fd99::2', 4712, 5)");
        for _ in 0..3 {
            client.run("s = connect('10.199.0.2', 7820)");
            server.run(
                "c = accept(l); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()",
            );
        }
    });
    rows.sort_by_key(|row| row["lport"].as_u64());
    assert_eq!(
        rows,
        [
            json!({ "lport": null, "n": 25, "sockets": 0, "least": null, "no_socket": true }),
            json!({ "lport": 7820, "n": 3, "sockets": 3, "least": 7820, "no_socket": false }),
        ]
    );

    let sql =
        "SELECT count(*) AS n, sum(dport) AS ports FROM hook.net_dev_queue WHERE dport = 7830 AND saddr = '10.199.0.1'";
    let rows = groups(sql, || drop(client.run("send('10.199.0.2', 7830, 40)")));
    assert_eq!(rows, [json!({ "n": 40, "ports": 40 * 7830 })]);
    let sql =
        "SELECT count(*) AS n, sum(dport) AS ports, max(dport) AS most FROM hook.net_dev_queue WHERE dport = 7831";
    assert_eq!(groups(sql, || ()), [json!({ "n": 0, "ports": null, "most": null })], "nothing happened");
}
