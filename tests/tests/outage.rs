//! A receiver that fails in every way under 10,000 events a second: what was produced arrives, in order, once.
//!
//! The receiver is the tests' own, which answers as Loki does: the real one is in no registry at hand.

use netsonde_tests::{
    agent::Agent,
    netns::Pair,
    receiver::{Receiver, Say},
    traffic::Peer,
};
use serde_json::Value;
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const DROPPED: u64 = 5555;

/// Datagrams that go out at once, and how often: 10,000 a second.
const WAVE: u64 = 1000;
const PAUSE: Duration = Duration::from_millis(100);

/// How long each way of failing lasts, and how long nobody is there at all.
const PHASE: Duration = Duration::from_secs(2);
const AWAY: Duration = Duration::from_secs(6);

fn agent(receiver: &Receiver, more: &str) -> Agent {
    let agent = Agent::start(&format!(
        "hooks: {{ rate: 100000/s, burst: 100000, ring: 16MiB, cpu: 10000% }}\n\
         probes: {{ packet_loss: {{ limits: {{ events: 100000/s }} }} }}\n\
         sinks: [{{ loki: {{ url: '{}', timeout: 1s{more} }} }}]\n",
        receiver.url()
    ));
    agent.until_attached(2);
    agent
}

/// The sink's account of the probe.
fn account(agent: &Agent) -> Value {
    let ledger: Value = serde_json::from_str(&agent.get("/ledger").text()).unwrap();
    assert_eq!(
        ledger["stages"]
            .as_array()
            .unwrap()
            .iter()
            .find(|stage| stage["stage"] != "kernel" && stage["difference"] != 0),
        None
    );
    let stages = ledger["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["stage"] == "sink").cloned().unwrap_or(Value::Null)
}

fn number(account: &Value, name: &str) -> u64 {
    account[name].as_u64().unwrap_or(0)
}

/// Sends until `stop`; gives how many datagrams that was.
fn produce(sender: &mut Peer, stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        sender.run(&format!("send('10.199.0.2', {DROPPED}, {WAVE})"));
        sent += WAVE;
        next += PAUSE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    sent
}

fn until_delivered(agent: &Agent) -> Value {
    agent.wait_until("all events are delivered", |agent| {
        let account = account(agent);
        number(&account, "produced") > 0 && number(&account, "waiting") == 0
    });
    account(agent)
}

#[test]
fn rule_16_whatever_a_receiver_does_what_was_produced_arrives_in_order() {
    let (receiver, pair) = (Receiver::start(), Pair::new());
    pair.b.drop_udp(DROPPED);
    let mut sender = Peer::new(&pair.a);
    let agent = agent(&receiver, "");
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&mut sender, &stop));
        thread::sleep(PHASE);
        for say in [
            Say::Status(429, "Ingestion rate limit exceeded"),
            Say::Status(500, "internal error"),
            Say::Nothing,
            Say::Garbage,
            Say::Close,
        ] {
            receiver.answer_with(say);
            thread::sleep(PHASE);
            receiver.answer_with(Say::Well);
            thread::sleep(PHASE / 2);
        }
        receiver.away();
        thread::sleep(AWAY);
        receiver.back();
        thread::sleep(PHASE);
        stop.store(true, Ordering::Relaxed);
        producer.join().unwrap()
    });
    // What was sent has become events, but for what the machine's own queues lost on the way to the rule.
    agent.wait_until("the events are made", |agent| agent.events("PACKETLOSS").len() > 1000);
    let account = until_delivered(&agent);
    let produced = number(&account, "produced");
    assert!(produced >= sent * 9 / 10, "{produced} events of {sent} datagrams");
    assert_eq!((number(&account, "delivered"), &account["dropped"]), (produced, &serde_json::json!({})));

    let received = receiver.received();
    let mut seen = HashSet::new();
    let first: Vec<u64> = received
        .iter()
        .filter(|id| seen.insert(id.as_str()))
        .map(|id| id.split_once('-').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(first.len() as u64, produced, "none is missing");
    assert!(first.is_sorted(), "they are in order");
    // Requests that waited for an answer until their time was over may have been kept when it came: a second each, with a pause between, so three
    // in the time of a phase at most.
    assert!(received.len() - first.len() <= 3 * 1024, "{} doubles", received.len() - first.len());
    let retries = agent.scrape().value("netsonde_sink_retries_total", &[("sink", "loki")]);
    println!("{sent} datagrams, {produced} events, {} doubles, {retries} retries", received.len() - first.len());
}

#[test]
fn rule_17_a_full_spill_drops_the_newest_and_counts_each() {
    let (receiver, pair) = (Receiver::start(), Pair::new());
    pair.b.drop_udp(DROPPED);
    let mut sender = Peer::new(&pair.a);
    receiver.away();
    let agent = agent(&receiver, ", spill: 4MiB");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&mut sender, &stop));
        agent.wait_until("the spill is full", |agent| account(agent)["dropped"]["spill_full"].as_u64() > Some(20_000));
        stop.store(true, Ordering::Relaxed);
        producer.join().unwrap()
    });
    receiver.back();
    let account = until_delivered(&agent);
    let dropped: u64 = account["dropped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    let received = receiver.received();
    assert_eq!(number(&account, "delivered") + dropped, number(&account, "produced"), "{account}");
    assert_eq!(received.len() as u64, number(&account, "delivered"), "{account}");
    // The oldest are those that are kept.
    assert!(received[0].ends_with("-1"), "{}", received[0]);
}
