//! Events as OTLP logs, in a real receiver: rotel.

use netsonde_tests::{
    agent::{Agent, command},
    netns::Pair,
    rotel::Rotel,
    traffic::Peer,
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// How often each event is in the records.
fn counts(rotel: &Rotel) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in rotel.records() {
        let id = record.lines().find_map(|line| line.trim().strip_prefix("-> log.record.uid: Str("));
        *counts.entry(id.unwrap_or_else(|| panic!("{record}")).trim_end_matches(')').to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn every_event_arrives_once_by_each_way() {
    const EACH: usize = 200;
    let rotel = Rotel::start("logs");
    let (http, grpc) = (rotel.http(), rotel.grpc());
    let pair = Pair::new();
    let mut client = Peer::new(&pair.a);
    let agent = Agent::start(&format!(
        "node: node-7\nprobes: {{ tcp_reset: {{}} }}\nsinks:\n  - otlp: {{ name: a, url: '{http}' }}\n  \
         - otlp: {{ name: b, url: '{http}/v1/logs', compression: none }}\n  \
         - otlp: {{ name: c, url: '{grpc}', protocol: grpc }}\n  \
         - otlp: {{ name: d, url: '{grpc}', protocol: grpc, compression: none }}\n"
    ));
    agent.until_attached(4);
    client.run(&format!("refused('10.199.0.2', 4711, {EACH})"));
    let ours = |agent: &Agent| agent.events_of("TCPRESET_NOSOCK", &pair.b.name);
    agent.wait_until("the resets are told", |agent| ours(agent).len() == EACH);
    let events: Vec<Value> = ours(&agent);
    let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
    agent.wait_until("all records are there", |_| {
        let counts = counts(&rotel);
        events.iter().all(|event| counts.get(&id(event)).is_some_and(|count| *count >= 4))
    });
    std::thread::sleep(Duration::from_millis(300));
    let counts = counts(&rotel);
    assert!(events.iter().all(|event| counts[&id(event)] == 4), "{counts:?}");

    let first = &events[0];
    let (records, mark) = (rotel.records(), format!("-> log.record.uid: Str({})", id(first)));
    let record = records.iter().find(|record| record.contains(&mark)).unwrap();
    let fields = &first["fields"];
    for line in [
        format!("Timestamp: {}", first["unix_nanos"]),
        "SeverityText: INFO".to_owned(),
        "EventName: TCPRESET_NOSOCK".to_owned(),
        format!("Body: Str(type=TCPRESET_NOSOCK netns={}", pair.b.name),
        format!("-> netns: Str({})", pair.b.name),
        "-> network.transport: Str(tcp)".to_owned(),
        "-> source.address: Str(10.199.0.2)".to_owned(),
        "-> source.port: Int(4711)".to_owned(),
        "-> destination.address: Str(10.199.0.1)".to_owned(),
        format!("-> destination.port: Int({})", fields["dport"]),
        format!("-> reason: Str({})", fields["reason"].as_str().unwrap()),
    ] {
        assert!(record.contains(&line), "{line}:\n{record}");
    }
    let printed = rotel.printed();
    for line in ["-> service.name: Str(netsonde)", "-> host.name: Str(node-7)", "InstrumentationScope tcp_reset"] {
        assert!(printed.contains(line), "{line}:\n{printed}");
    }
}

#[test]
fn the_check_tries_both_ways_and_nothing_is_kept() {
    let rotel = Rotel::start("logs");
    let folder = netsonde_tests::Folder::new("check");
    let text = format!(
        "probes: {{}}\nsinks: [{{ otlp: {{ url: '{}' }} }}, {{ otlp: {{ url: '{}', protocol: grpc, name: grpc }} }}]\n",
        rotel.http(),
        rotel.grpc()
    );
    let file = folder.write("netsonde.yaml", text);
    let args = ["check", "--connect", "--json", "--config", file.to_str().unwrap()];
    let (code, out, errors) = command(&args);
    assert_eq!(code, 0, "{out}{errors}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert!(told["sinks"].as_array().unwrap().iter().all(|sink| sink["state"] == "good"), "{told}");
    assert_eq!(rotel.records(), Vec::<String>::new());
    drop(rotel);
    let (code, out, errors) = command(&args);
    assert!(code == 1 && errors.matches("cannot deliver events").count() == 2, "{code} {out}{errors}");
}
