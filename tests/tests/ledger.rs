//! What becomes of every row and event: the ledger, folding, and the flight recorder.

use netsonde_tests::{
    Folder,
    agent::{Agent, command},
    netns::Pair,
    traffic::Peer,
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const CLOSED: u64 = 4711;
const SERVER: &str = "10.199.0.2";

fn ledger(agent: &Agent) -> Value {
    serde_json::from_str(&agent.get("/ledger").text()).unwrap()
}

fn stage<'l>(ledger: &'l Value, probe: &str, stage: &str) -> &'l Value {
    let stages = ledger["stages"].as_array().unwrap();
    let found = stages.iter().find(|found| found["probe"] == probe && found["stage"] == stage);
    found.unwrap_or_else(|| panic!("no {stage} of {probe} in {ledger:#}"))
}

/// Waits until nothing is on its way any more.
fn until_quiet(agent: &Agent) -> Value {
    agent.wait_until("all rows and events have arrived", |agent| {
        let ledger = ledger(agent);
        let waits = |stage: &Value| stage["waiting"] != 0;
        ledger["difference"] == 0 && !ledger["stages"].as_array().unwrap().iter().any(waits)
    });
    ledger(agent)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn rule_17_what_one_stage_delivers_the_next_is_given_and_nothing_is_missing() {
    let (pair, folder) = (Pair::new(), Folder::new("ledger"));
    let mut client = Peer::new(&pair.a);
    let file = folder.path().join("events.jsonl");
    let agent = Agent::start(&format!(
        "hooks: {{ rate: 100/s, burst: 300 }}\nprobes: {{ tcp_reset: {{ limits: {{ events: 50/s }} }} }}\nsinks: [{{ file: {{ path: {} }} }}]",
        file.display()
    ));
    agent.until_attached(4);
    client.run(&format!("refused('{SERVER}', {CLOSED}, 2000)"));
    // The kernel's figures count all tokens by then.
    agent.until_counted("netsonde_tcp_reset_sent_total", &[("netns", &pair.b.name), ("kind", "nosock")], 2000.0);
    let ledger = until_quiet(&agent);
    let of = |name: &str| stage(&ledger, "tcp_reset", name);
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} is no number"));
    let (kernel, queue, guest) = (of("kernel"), of("queue"), of("guest"));
    assert!(number(&kernel["produced"]) >= 4000, "each refused connection is a reset sent and one received: {kernel}");
    assert!(number(&kernel["dropped"]["suppressed"]) >= 1000, "{kernel}");
    for (given, next) in [(kernel, queue), (queue, guest), (guest, of("budget")), (of("budget"), of("sink"))] {
        assert_eq!(given["delivered"], next["produced"], "{given} {next}");
    }
    let budget = of("budget");
    assert!(number(&budget["dropped"]["events"]) > 0, "over its 50 events a second: {budget}");
    assert_eq!(of("sink")["sink"], "file");
    assert_eq!(lines(&file).len() as u64, number(&of("sink")["delivered"]));

    // The same in the metrics, and for people.
    let page = agent.scrape();
    let labels = [("probe", "tcp_reset"), ("stage", "kernel"), ("sink", "")];
    assert_eq!(page.value("netsonde_ledger_produced_total", &labels), number(&kernel["produced"]) as f64);
    assert_eq!(page.value("netsonde_ledger_difference", &labels), 0.0);
    let address = agent.address.clone();
    let (code, out, error) = command(&["ledger", "--address", &address]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.lines().any(|line| line.contains("sink file") && line.contains("events")), "{out}");
    let (_, out, _) = command(&["ledger", "--json", "--address", &address]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["difference"], 0);
}

#[test]
fn repeats_are_folded_with_a_count_and_the_recorder_has_each() {
    const EACH: u64 = 50;
    let (pair, folder) = (Pair::new(), Folder::new("fold"));
    let mut client = Peer::new(&pair.a);
    let dumps = folder.path().join("dumps");
    let agent = Agent::start(&format!(
        "events: {{ fold: 1s }}\nrecorder: {{ folder: {}, files: 1 }}\nprobes: {{ tcp_reset: {{}} }}",
        dumps.display()
    ));
    agent.until_attached(4);
    let b = pair.b.name.as_str();
    client.run(&format!("refused('{SERVER}', {CLOSED}, {EACH})"));
    let count = |event: &Value| event["repeats"]["count"].as_u64().unwrap_or(1);
    agent.wait_until("all repeats are told", |agent| {
        agent.events_of("TCPRESET_NOSOCK", b).iter().map(count).sum::<u64>() == EACH
    });
    let events = agent.events_of("TCPRESET_NOSOCK", b);
    assert!(events.len() < 5, "{} of {EACH}", events.len());
    assert!(events.iter().all(|event| event["repeats"]["last_unix_nanos"].as_u64() >= event["unix_nanos"].as_u64()));

    for round in 0..2 {
        agent.signal("USR1");
        agent
            .wait_until("a file is written", |agent| agent.log().matches("The flight recorder's").count() == round + 1);
    }
    let mut files = fs::read_dir(&dumps).unwrap().map(|entry| entry.unwrap().path());
    let file = files.next().unwrap();
    assert_eq!(files.next(), None, "one is kept");
    assert!(file.to_string_lossy().ends_with("-signal.jsonl"), "{}", file.display());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dumps), mode(&file)), (0o700, 0o600), "events name addresses");
    let ours = |events: Vec<Value>| -> Vec<Value> {
        events.into_iter().filter(|event| event["type"] == "TCPRESET_NOSOCK" && event["netns"] == b).collect()
    };
    let recorded = ours(lines(&file));
    assert_eq!(recorded.len() as u64, EACH, "unfolded");
    let with = |fate: &str| recorded.iter().filter(|event| event["fate"] == fate).count();
    assert_eq!((with("sent"), with("folded")), (events.len(), EACH as usize - events.len()));

    let (code, out, _) = command(&["recorder", "--address", &agent.address]);
    let printed = ours(out.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
    assert_eq!((code, printed), (0, recorded));
}

#[test]
fn a_burst_in_one_scope_is_written_down_with_what_the_limit_kept_back() {
    let (pair, folder) = (Pair::new(), Folder::new("burst"));
    let mut client = Peer::new(&pair.a);
    let recorder =
        format!("{{ folder: {}, burst: 60, within: 30s, burst_type: TCPRESET_NOSOCK }}", folder.path().display());
    let agent =
        Agent::start(&format!("recorder: {recorder}\nprobes: {{ tcp_reset: {{ limits: {{ events: 5/s }} }} }}"));
    agent.until_attached(4);
    client.run(&format!("refused('{SERVER}', {CLOSED}, 40)"));
    let found = || {
        let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.into_iter().find(|path| path.to_string_lossy().ends_with("-burst.jsonl"))
    };
    agent.wait_until("40 are recorded", |agent| {
        agent.get("/recorder").text().lines().filter(|line| line.contains("TCPRESET_NOSOCK")).count() >= 40
    });
    assert_eq!(found(), None, "40 are no burst");
    client.run(&format!("refused('{SERVER}', {CLOSED}, 40)"));
    agent.wait_until("the burst is written down", |_| found().is_some());
    let events = lines(&found().unwrap());
    let fates = |fate: &str| events.iter().filter(|event| event["fate"] == fate).count();
    assert!(fates("over_limit") >= 40 && fates("sent") >= 5, "{} {}", fates("over_limit"), fates("sent"));
    let who = format!("TCPRESET_NOSOCK of {}", pair.b.name);
    assert!(agent.log().contains(&who), "{}", agent.log());
}
