//! TCP resets: each is counted once, in the right namespace, and told with who sent it to whom (rule 31).

use netsonde_tests::{
    agent::{Agent, command},
    binary,
    netns::{Netns, Pair, run},
    traffic::Peer,
};
use serde_json::{Value, json};
use std::fs;

const SENT: &str = "netsonde_tcp_reset_sent_total";
const RECEIVED: &str = "netsonde_tcp_reset_received_total";
const CONFIG: &str = "node: node-7\nprobes: { tcp_reset: {} }";

/// Of `Pair::b`.
const SERVERS: [&str; 2] = ["10.199.0.2", "fd99::2"];
const CLIENTS: [&str; 2] = ["10.199.0.1", "fd99::1"];
/// Nobody listens there, and no other test here connects to it.
const CLOSED: u64 = 4711;

/// The fields of an event of a reset from `s` to `d`.
fn fields((saddr, sport): (&str, u64), (daddr, dport): (&str, u64), reason: Option<&str>) -> Value {
    let mut fields = json!({ "protocol": "TCP", "saddr": saddr, "sport": sport, "daddr": daddr, "dport": dport });
    if let Some(reason) = reason {
        fields["reason"] = reason.into();
    }
    fields
}

/// What is the same in any order.
fn sorted(mut values: Vec<Value>) -> Vec<String> {
    let mut texts: Vec<String> = values.iter_mut().map(|value| value.to_string()).collect();
    texts.sort();
    texts
}

fn fields_of(events: &[Value]) -> Vec<String> {
    sorted(events.iter().map(|event| event["fields"].clone()).collect())
}

/// The kernel's own count of the resets that this process's namespace has sent.
fn host_sent() -> f64 {
    let snmp = run("cat", &["/proc/net/snmp"]);
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let at = lines.next().unwrap().split(' ').position(|key| key == "OutRsts").unwrap();
    lines.next().unwrap().split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn rule_31_refused_connections_are_counted_exactly_and_the_refuser_is_the_source() {
    let (pair, other) = (Pair::new(), Netns::new("quiet"));
    let (a, b) = (pair.a.name.as_str(), pair.b.name.as_str());
    let mut client = Peer::new(&pair.a);
    let host_before = host_sent();
    let agent = Agent::start(CONFIG);
    agent.until_attached(4);

    const EACH: usize = 60;
    let mut want = Vec::new();
    for (server, address) in SERVERS.into_iter().zip(CLIENTS) {
        for port in client.numbers(&format!("refused('{server}', {CLOSED}, {EACH})")) {
            want.push(((server, CLOSED), (address, port)));
        }
    }
    assert_eq!(want.len(), 2 * EACH);
    agent.until_counted(SENT, &[("netns", b), ("kind", "nosock"), ("reason", "NO_SOCKET")], want.len() as f64);
    agent.until_counted(RECEIVED, &[("netns", a)], want.len() as f64);

    let page = agent.scrape();
    assert_eq!(page.find(SENT, &[("netns", b)]).count(), 1, "of no other kind or reason");
    for (name, labels) in [(SENT, a), (RECEIVED, b), (SENT, &other.name), (RECEIVED, &other.name)] {
        assert_eq!(page.find(name, &[("netns", labels)]).count(), 0, "{name} in {labels}");
    }
    // What others do on this machine, the agent's own clients too, is counted there; these are not.
    let host: f64 = page.find(SENT, &[("netns", "host")]).map(|sample| sample.value).sum();
    let host_sent = host_sent() - host_before;
    assert!(host <= host_sent, "{host} of the host, which has sent {host_sent}");

    let events = agent.events("TCPRESET_NOSOCK");
    let of_port = |event: &&Value| event["fields"]["sport"] == CLOSED || event["fields"]["dport"] == CLOSED;
    let ours: Vec<Value> = events.iter().filter(of_port).cloned().collect();
    let told: Vec<Value> = want.iter().map(|(s, d)| fields(*s, *d, Some("NO_SOCKET"))).collect();
    assert_eq!(fields_of(&ours), sorted(told));
    for event in &ours {
        assert_eq!((&event["netns"], &event["node"]), (&json!(b), &json!("node-7")), "{event}");
        assert_eq!((&event["probe"], &event["v"]), (&json!("tcp_reset"), &json!(1)), "{event}");
    }
    let arrived = agent.events_of("TCPRESET_RECEIVE", a);
    assert_eq!(fields_of(&arrived), sorted(want.iter().map(|(s, d)| fields(*s, *d, None)).collect()));
    for ty in ["TCPRESET_ACTIVE", "TCPRESET_PROCESS"] {
        assert_eq!(agent.events_of(ty, a).len() + agent.events_of(ty, b).len(), 0, "{ty}");
    }
}

/// What the server does with its side `c` of a connection, the client with its side `s`; and what that is to the kernel.
struct Act {
    server: &'static str,
    /// What must be true of the server's sockets, as `ss` says, before the client goes on.
    state: &'static str,
    client: &'static str,
    kind: &'static str,
    event: &'static str,
    /// One of these: the word is the kernel's.
    reasons: &'static [&'static str],
}

const ACTS: &[Act] = &[
    Act {
        server: "c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()",
        state: "",
        client: "until_reset(s)",
        kind: "active",
        event: "TCPRESET_ACTIVE",
        reasons: &["TCP_STATE", "TCP_DISCONNECT_WITH_DATA", "TCP_ABORT_ON_LINGER"],
    },
    Act {
        server: "until('data is there', lambda: c.recv(1, socket.MSG_PEEK)); c.close()",
        state: "",
        client: "s.send(b'never read'); until_reset(s)",
        kind: "active",
        event: "TCPRESET_ACTIVE",
        reasons: &["TCP_ABORT_ON_CLOSE"],
    },
    // A socket without an owner is still a full one while it waits longer than TIME_WAIT lasts.
    Act {
        server: "c.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 110); c.close()",
        state: "fin-wait-2",
        client: "s.send(b'too late'); until_reset(s)",
        kind: "process",
        event: "TCPRESET_PROCESS",
        reasons: &["TCP_ABORT_ON_DATA"],
    },
    Act {
        server: "c.close()",
        state: "fin-wait-2",
        client: "s.send(b'too late'); until_reset(s)",
        kind: "process",
        event: "TCPRESET_PROCESS",
        reasons: &["TCP_TIMEWAIT_SOCKET"],
    },
];

#[test]
fn rule_31_a_socket_that_resets_is_the_source_whatever_made_it() {
    let pair = Pair::new();
    let (a, b) = (pair.a.name.as_str(), pair.b.name.as_str());
    let (mut client, mut server) = (Peer::new(&pair.a), Peer::new(&pair.b));
    let agent = Agent::start(CONFIG);
    agent.until_attached(4);

    // A socket of IPv6 may speak IPv4, too: its addresses are those on the wire.
    let ways = [
        ("10.199.0.2", "10.199.0.1", "10.199.0.2"),
        ("fd99::2", "fd99::1", "fd99::2"),
        ("::", "10.199.0.1", "10.199.0.2"),
    ];
    let (mut want, mut port) = (Vec::new(), 7000);
    for (bound, from, to) in ways {
        for act in ACTS {
            port += 1;
            server.run(&format!("l = listen('{bound}', {port})"));
            client.run(&format!("s = connect('{to}', {port})"));
            server.run("c = accept(l)");
            let theirs = client.number("port(s)");
            if act.state.is_empty() {
                // The client's data goes first, where it has any; it waits for the reset only after.
                let (first, then) = act.client.split_once(';').unwrap_or(("None", act.client));
                client.run(first);
                server.run(act.server);
                client.run(then.trim());
            } else {
                server.run(act.server);
                let filter = ["-Htan", "state", act.state, "sport", "=", &format!(":{port}")];
                agent.wait_until(act.state, |_| !pair.b.run("ss", &filter).is_empty());
                client.run(act.client);
            }
            want.push((act, (to, port), (from, theirs)));
        }
    }
    agent.until_counted(RECEIVED, &[("netns", a)], want.len() as f64);
    let page = agent.scrape();
    let sum = |labels: &[(&str, &str)]| page.find(SENT, labels).map(|sample| sample.value).sum::<f64>();
    for (index, act) in ACTS.iter().enumerate() {
        let sums = act.reasons.iter().map(|reason| sum(&[("netns", b), ("kind", act.kind), ("reason", reason)]));
        assert_eq!(
            sums.sum::<f64>(),
            ways.len() as f64,
            "act {index}: {:?}",
            page.find(SENT, &[("netns", b)]).collect::<Vec<_>>()
        );
    }
    assert_eq!(sum(&[("netns", b)]), want.len() as f64, "and no other");
    assert_eq!(sum(&[("netns", a)]), 0.0);

    let arrived = agent.events_of("TCPRESET_RECEIVE", a);
    assert_eq!(fields_of(&arrived), sorted(want.iter().map(|(_, s, d)| fields(*s, *d, None)).collect()));
    for ty in ["TCPRESET_ACTIVE", "TCPRESET_PROCESS", "TCPRESET_NOSOCK"] {
        let told = agent.events_of(ty, b);
        let want: Vec<_> = want.iter().filter(|(act, ..)| act.event == ty).collect();
        assert_eq!(told.len(), want.len(), "{ty}: {told:?}");
        for (act, s, d) in want {
            let possible: Vec<Value> = act.reasons.iter().map(|reason| fields(*s, *d, Some(reason))).collect();
            assert!(told.iter().any(|event| possible.contains(&event["fields"])), "none of {possible:?} in {told:?}");
        }
    }
}

#[test]
fn the_same_events_reach_every_sink_in_both_forms_and_people() {
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    let mut client = Peer::new(&pair.a);
    let first = format!("{CONFIG}\nsinks: [ {{ stdout: {{ form: line }} }}, {{ file: {{ path: events.jsonl }} }} ]");
    let second =
        format!("{CONFIG}\nsinks: [ {{ stdout: {{ form: json }} }}, {{ file: {{ path: events.log, form: line }} }} ]");
    let (first, second) = (Agent::start(&first), Agent::start(&second));
    for agent in [&first, &second] {
        agent.until_attached(4);
    }
    for server in SERVERS {
        client.run(&format!("refused('{server}', 4717, 5)"));
    }
    for (agent, file) in [(&first, "events.jsonl"), (&second, "events.log")] {
        agent.wait_until("the events are there", |agent| agent.events_of("TCPRESET_NOSOCK", b).len() == 10);
        let of_b = |text: &str, netns: &str| -> Vec<String> {
            text.lines()
                .filter(|line| line.contains("TCPRESET_NOSOCK") && line.contains(netns))
                .map(str::to_owned)
                .collect()
        };
        let (as_json, as_line) = (format!("\"netns\":\"{b}\","), format!(" netns={b} "));
        let ask = |more: &[&str], netns: &str| {
            let (code, out, errors) =
                command(&[&["events", "--address", &agent.address, "--type", "TCPRESET_NOSOCK"], more].concat());
            assert_eq!(code, 0, "{errors}");
            of_b(&out, netns)
        };
        let (json, line) = (ask(&["--json"], &as_json), ask(&[], &as_line));
        assert_eq!((json.len(), line.len()), (10, 10));
        let pages = of_b(&agent.get("/events?type=TCPRESET_NOSOCK").text(), &as_json);
        assert_eq!(pages, json);
        for (json, line) in json.iter().zip(&line) {
            let event: Value = serde_json::from_str(json).unwrap();
            let field = |name: &str| {
                event["fields"][name].as_str().map_or_else(|| event["fields"][name].to_string(), str::to_owned)
            };
            let fields: String = ["protocol", "saddr", "sport", "daddr", "dport", "reason"]
                .map(|name| format!(" {name}={}", field(name)))
                .concat();
            let text = |name: &str| event[name].as_str().unwrap();
            let want =
                format!("type=TCPRESET_NOSOCK netns={b}{fields} time={} node=node-7 id={}", text("time"), text("id"));
            assert_eq!(*line, want);
        }
        let file = agent.folder.path().join(file);
        let (on_stdout, in_file) =
            if agent.folder.path() == first.folder.path() { (&line, &json) } else { (&json, &line) };
        agent.wait_until("standard output has them", |agent| {
            let netns = if on_stdout[0].starts_with('{') { &as_json } else { &as_line };
            of_b(&agent.log(), netns) == *on_stdout
        });
        agent.wait_until("the file has them", |_| {
            let netns = if in_file[0].starts_with('{') { &as_json } else { &as_line };
            of_b(&fs::read_to_string(&file).unwrap(), netns) == *in_file
        });
        let page = agent.scrape();
        let made = page.value("netsonde_events_total", &[("probe", "tcp_reset"), ("type", "TCPRESET_NOSOCK")]);
        assert!(made >= 10.0, "{made}");
    }
}

#[test]
fn events_are_chosen_alike_by_the_page_and_the_command() {
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    let mut client = Peer::new(&pair.a);
    let agent = Agent::start(CONFIG);
    agent.until_attached(4);
    client.run("refused('10.199.0.2', 4719, 4)");
    agent.wait_until("the events are there", |agent| agent.events_of("TCPRESET_NOSOCK", b).len() == 4);
    let events = agent.events_of("TCPRESET_NOSOCK", b);
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let (second, third) = (&events[1], &events[2]);
    let (id, other) = (text(second, "id"), text(third, "id"));
    let (from, to) = (text(second, "time"), text(&events[3], "time"));
    for (page, arguments, want) in [
        (format!("netns={b}&type=TCPRESET_NOSOCK"), vec!["--netns", b, "--type", "TCPRESET_NOSOCK"], 4),
        (format!("netns={b}&type=PACKETLOSS"), vec!["--netns", b, "--type", "PACKETLOSS"], 0),
        (
            format!("netns={b}&type=TCPRESET_NOSOCK&after={from}"),
            vec!["--netns", b, "--type", "TCPRESET_NOSOCK", "--since", &from],
            3,
        ),
        (
            format!("netns={b}&type=TCPRESET_NOSOCK&after={from}&before={to}&node=node-7&probe=tcp_reset"),
            vec![
                "--netns",
                b,
                "--type",
                "TCPRESET_NOSOCK",
                "--since",
                &from,
                "--until",
                &to,
                "--node",
                "node-7",
                "--probe",
                "tcp_reset",
            ],
            2,
        ),
        (format!("id={id}"), vec!["--id", &id], 1),
        (format!("id={id}&netns=other"), vec!["--id", &id, "--netns", "other"], 0),
        (format!("netns={b}&reason=NEVER"), vec!["--netns", b, "--reason", "NEVER"], 0),
        (format!("netns={b}&before=1000000000.5"), vec!["--netns", b, "--until", "1000000000.5"], 0),
    ] {
        let of_page = agent.get(&format!("/events?{page}")).text();
        assert_eq!(of_page.lines().count(), want, "{page}: {of_page}");
        let (code, out, errors) = command(&[&["events", "--json", "--address", &agent.address], &*arguments].concat());
        assert_eq!(code, i32::from(want == 0 && page.starts_with("id")), "{arguments:?}: {errors}");
        assert_eq!(out, of_page, "{arguments:?}");
    }
    let both = agent.get(&format!("/events?id={id}&id={other}")).text();
    assert_eq!(both.lines().count(), 2, "{both}");

    // A terminal gets a table.
    let line = format!("{} events --address {} --netns {b} --since 10m", binary().display(), agent.address);
    let table = uncoloured(&run("script", &["-qec", &line, "/dev/null"]));
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["TIME", "TYPE", "WHO", "FROM", "TO", "PEER", "REASON", "ID", "MORE"], "{table}");
    let row = table.lines().find(|line| line.contains(&id)).unwrap();
    for part in ["TCPRESET_NOSOCK", b, "10.199.0.2:4719", "10.199.0.1:"] {
        assert!(row.contains(part), "{part} in {row}");
    }
}

/// A terminal's text without its colours.
fn uncoloured(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split('\u{1b}').enumerate() {
        plain += if index == 0 { part } else { part.split_once('m').map_or("", |(_, rest)| rest) };
    }
    plain.replace('\r', "")
}
