//! A drop-in probe at a tracepoint that no built-in probe looks at: its module, a line of configuration, and real retransmissions.

use netsonde_tests::{agent::Agent, guest, netns::Pair, traffic::Peer};
use serde_json::Value;

const SEGMENTS: &str = "netsonde_tcp_retransmit_segments_total";

/// The number behind `key` of `/proc/net/netstat` or `/proc/net/snmp` there.
fn kernel(netns: &netsonde_tests::netns::Netns, file: &str, line: &str, key: &str) -> f64 {
    let text = netns.kernel(file);
    let mut lines = text.lines().filter(|found| found.starts_with(line));
    let at = lines.next().unwrap().split(' ').position(|word| word == key).unwrap();
    lines.next().unwrap().split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn a_drop_in_probe_counts_and_tells_real_retransmissions() {
    let pair = Pair::new();
    let (a, b) = (pair.a.name.as_str(), pair.b.name.as_str());
    let (mut client, mut server) = (Peer::new(&pair.a), Peer::new(&pair.b));
    let agent =
        Agent::start(&format!("probes: {{ tcp_retransmit: {{ module: {} }} }}", guest("tcp_retransmit").display()));
    agent.until_attached(2);
    let mut want = Vec::new();
    for (index, (server_address, client_address)) in
        [("10.199.0.2", "10.199.0.1"), ("fd99::2", "fd99::1")].into_iter().enumerate()
    {
        let port = 7900 + index as u64;
        server.run(&format!("l = listen('{server_address}', {port})"));
        let theirs = client.number(&format!("port(s := connect('{server_address}', {port}))"));
        server.run("c = accept(l)");
        let before = kernel(&pair.a, "snmp", "Tcp:", "RetransSegs");
        // Nothing gets through until at least three have been sent again, each later than the one before.
        pair.b.nft(&format!(
            "table inet loss {{\n chain in {{\n type filter hook input priority 0;\n tcp dport {port} drop\n }}\n }}"
        ));
        client.run("s.send(b'x' * 100)");
        agent.wait_until("three are sent again", |_| kernel(&pair.a, "snmp", "Tcp:", "RetransSegs") >= before + 3.0);
        pair.b.run("nft", &["delete", "table", "inet", "loss"]);
        assert_eq!(server.run("len(c.recv(4096))"), 100, "it arrives in the end");
        client.run("s.close()");
        want.push(((client_address, theirs), (server_address, port)));
    }
    let resent = kernel(&pair.a, "snmp", "Tcp:", "RetransSegs");
    assert!(resent >= 6.0, "{resent}");
    agent.until_counted(SEGMENTS, &[("netns", a)], resent);
    assert_eq!(agent.page().find(SEGMENTS, &[("netns", b)]).count(), 0);

    let events = agent.events_of("TCPRETRANS", a);
    assert_eq!(events.len() as f64, resent, "{events:?}");
    for ((laddr, lport), (raddr, rport)) in want {
        let of = |event: &&Value| event["fields"]["lport"] == lport;
        let events: Vec<&Value> = events.iter().filter(of).collect();
        assert!(events.len() >= 3, "{events:?}");
        for event in &events {
            let fields = &event["fields"];
            assert_eq!((&fields["laddr"], &fields["raddr"]), (&laddr.into(), &raddr.into()), "{event}");
            assert_eq!((&fields["rport"], &fields["state"]), (&rport.into(), &"ESTABLISHED".into()), "{event}");
        }
        // A timeout takes the window down to one segment, from the ten that it begins with.
        let windows: Vec<u64> = events.iter().map(|event| event["fields"]["snd_cwnd"].as_u64().unwrap()).collect();
        assert!(windows.iter().all(|window| (1..=10).contains(window)), "{windows:?}");
        assert_eq!(windows.last(), Some(&1), "{windows:?}");
    }
    assert_eq!(agent.events_of("TCPRETRANS", b).len(), 0);
    let status = agent.probe("tcp_retransmit");
    assert_eq!(status["state"], "running", "{status}");
}

#[test]
fn a_connection_that_gets_no_answer_is_told_as_such() {
    let pair = Pair::new();
    let a = pair.a.name.as_str();
    pair.b.nft("table inet loss {\n chain in {\n type filter hook input priority 0;\n tcp dport 7910 drop\n }\n }");
    let mut client = Peer::new(&pair.a);
    let agent =
        Agent::start(&format!("probes: {{ tcp_retransmit: {{ module: {} }} }}", guest("tcp_retransmit").display()));
    agent.until_attached(2);
    client.run("s = tcp('10.199.0.2'); s.setblocking(False); s.connect_ex(('10.199.0.2', 7910))");
    agent.wait_until("its SYN is sent again", |agent| !agent.events_of("TCPRETRANS", a).is_empty());
    let event = &agent.events_of("TCPRETRANS", a)[0];
    assert_eq!(event["fields"]["state"], "SYN_SENT", "{event}");
    assert_eq!(event["fields"]["rport"], 7910, "{event}");
}
