//! Namespaces that come and go under a running agent, and the agent's own coming and going.

use netsonde_tests::{
    agent::Agent,
    http,
    netns::{Netns, Pair, run},
};
use std::{io::Write, net::TcpStream, thread, time::Duration};

const USED: &str = "netsonde_sockstat_sockets_used";
const SENT: &str = "netsonde_traffic_transmit_packets_total";

#[test]
fn rule_7_a_dead_namespace_loses_its_gauges_at_once_and_keeps_its_counters() {
    let agent = Agent::start("");
    let pair = Pair::new();
    let name = pair.a.name.clone();
    let page = agent.scrape();
    assert!(page.get(USED, &[("netns", &name)]).is_some(), "it came");
    assert!(page.get(SENT, &[("netns", &name)]).is_some());
    pair.a.delete();
    let page = agent.scrape();
    assert_eq!(page.get(USED, &[("netns", &name)]), None, "its gauge went at once");
    assert!(page.get(SENT, &[("netns", &name)]).is_some(), "its counter stays");
    drop(pair.b);
}

#[test]
fn rule_5_a_namespace_made_anew_under_the_same_name_adds_to_the_same_counter() {
    let send = |name: &str, count: u32| {
        let code = format!(
            "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
             for i in range({count}): s.sendto(b'x', ('127.0.0.1', 9))"
        );
        run("ip", &["netns", "exec", name, "python3", "-c", &code]);
    };
    let counted = |agent: &Agent, name: &str| agent.scrape().value(SENT, &[("netns", name), ("device", "lo")]);
    let agent = Agent::start("probes: { traffic: { settings: { loopback: true } } }");
    let first = Netns::new("again");
    let name = first.name.clone();
    send(&name, 10);
    let before = counted(&agent, &name);
    assert!(before >= 10.0, "{before}");
    drop(first);
    agent.scrape();
    run("ip", &["netns", "add", &name]);
    let _second = Netns { name: name.clone() };
    run("ip", &["-n", &name, "link", "set", "lo", "up"]);
    send(&name, 5);
    let after = counted(&agent, &name);
    assert!(after >= before + 5.0, "{before} before, {after} after: the old count was lost");
}

#[test]
fn rule_30_no_namespace_is_pinned() {
    let agent = Agent::start("");
    let pair = Pair::new();
    let _holds = pair.b.spawn("sleep", &["60"]);
    agent.scrape();
    let Pair { a, b } = pair;
    a.delete();
    // The end of `a` takes its end of the cable away, and with it the other end, if nothing keeps `a`.
    for _ in 0..100 {
        let links = b.run("ip", &["-o", "link"]);
        if !links.contains("veth0") {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("five seconds after its end the namespace is still there");
}

#[test]
fn rule_2_a_gauge_that_is_not_given_again_is_absent() {
    let netns = Netns::new("gauge");
    let agent = Agent::start("probes: { sockstat: {} }");
    let labels = [("netns", netns.name.as_str())];
    assert!(agent.scrape().get(USED, &labels).is_some());
    let name = netns.name.clone();
    drop(netns);
    assert_eq!(agent.scrape().get(USED, &[("netns", &name)]), None);
}

#[test]
fn rule_1_two_scrapers_at_once_get_the_same_collection() {
    let agent = Agent::start("collection: { min_interval: 10s }");
    let count = || agent.page().value("netsonde_collection_duration_seconds_count", &[]);
    let before = count();
    let pages: Vec<_> = thread::scope(|scope| {
        let scrapes: Vec<_> = (0..8).map(|_| scope.spawn(|| agent.page())).collect();
        scrapes.into_iter().map(|scrape| scrape.join().unwrap()).collect()
    });
    assert_eq!(pages.len(), 8);
    assert_eq!(count(), before, "all of them took the page that was young enough");
    let age = agent.page().value("netsonde_collection_age_seconds", &[]);
    assert!((0.0..10.0).contains(&age), "{age}");
}

#[test]
fn rule_1_without_a_scrape_the_host_collects_anyway() {
    let agent = Agent::start("collection: { idle_interval: 1s }");
    let count = || agent.page().value("netsonde_collection_duration_seconds_count", &[]);
    let before = count();
    // Twice as long as it takes, as this machine may be busy with others.
    thread::sleep(Duration::from_secs(6));
    assert!(count() - before >= 3.0, "{} then {}", before, count());
}

#[test]
fn sigterm_drains_and_ends_in_time() {
    let mut agent = Agent::start("drain: 2s");
    // A client that never finishes its request holds nothing up.
    let mut stalled = TcpStream::connect(&agent.address).unwrap();
    stalled.write_all(b"GET /metrics HT").unwrap();
    agent.signal("TERM");
    assert_eq!(agent.wait(), Some(0), "{}", agent.log());
    assert!(http::try_get(&agent.address, "/healthz", &[]).is_err());
}

#[test]
fn a_port_in_use_is_told() {
    let first = Agent::start("probes: {}");
    let folder = netsonde_tests::Folder::new("port");
    let file = folder.write("netsonde.yaml", format!("listen: {}\n", first.address));
    let (code, _, errors) = netsonde_tests::agent::command(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains(&first.address) && errors.contains("in use"), "{errors}");
}
