//! Whose packet it was: the namespace's, never the current task's; and a namespace made anew is another one.

use netsonde_tests::{
    agent::Agent,
    netns::{Netns, Pair, run},
    query::Asked,
    traffic::Peer,
};
use serde_json::Value;
use std::{fs, os::unix::fs::MetadataExt};

const PACKETS: &str = "netsonde_packet_loss_packets_total";
const CLOSED: u64 = 4713;

fn inode(netns: &str) -> u64 {
    fs::metadata(format!("/run/netns/{netns}")).unwrap().ino()
}

fn lose(netns: &Netns, count: u64) {
    Peer::new(netns).run(&format!("send('127.0.0.1', {CLOSED}, {count})"));
}

fn losses(netns: &str) -> [(&str, &str); 3] {
    [("netns", netns), ("reason", "NO_SOCKET"), ("protocol", "UDP")]
}

#[test]
fn rule_27_a_packet_is_of_the_namespace_that_it_is_in_not_of_the_current_task() {
    let pair = Pair::new();
    let mut sender = Peer::new(&pair.a);
    sender.run("open('/proc/self/comm', 'w').write('nst-sender')");
    let sql = "SELECT name(netns) AS netns, name(owner) AS owner, pid, comm, daddr, name(reason) AS reason, name(location) AS place \
               FROM hook.kfree_skb WHERE dport = 4714 AND name(protocol) = 'UDP'";
    let mut asked = Asked::rows_of(sql);
    // On a cable between two namespaces, the sender's own time pays for the receiver's work, until that is too much.
    let mut by_the_sender = 0;
    for to in ["10.199.0.2", "fd99::2", "10.199.0.2", "fd99::2"] {
        sender.run(&format!("send('{to}', 4714, 1)"));
        let row = asked.row();
        assert_eq!((&row["netns"], &row["daddr"]), (&Value::from(pair.b.name.as_str()), &Value::from(to)), "{row}");
        assert_eq!((&row["owner"], &row["reason"]), (&Value::Null, &"NO_SOCKET".into()), "{row}");
        assert!(row["place"].as_str().unwrap().contains("udp"), "{row}");
        by_the_sender += u32::from(row["pid"] == sender.pid());
    }
    assert!(by_the_sender > 0, "the current task was the sender, which is in another namespace");

    // Of a packet with a socket, it is the socket's.
    let mut asked =
        Asked::rows_of("SELECT name(netns) AS netns, name(owner) AS owner FROM hook.net_dev_queue WHERE dport = 4714");
    sender.run("send('10.199.0.2', 4714, 1)");
    let row = asked.row();
    let a = Value::from(pair.a.name.as_str());
    assert_eq!((&row["netns"], &row["owner"]), (&a, &a));
}

/// A new namespace of this inode. The kernel gives the lowest free number away: those that have another one stay meanwhile.
fn successor(number: u64) -> Option<Netns> {
    let mut others = Vec::new();
    for _ in 0..30 {
        let netns = Netns::new("second");
        if inode(&netns.name) == number {
            return Some(netns);
        }
        others.push(netns);
    }
    None
}

#[test]
fn rule_29_a_namespace_that_takes_over_an_inode_is_another_one_from_its_first_row() {
    let agent = Agent::start("probes: { packet_loss: {} }");
    agent.until_attached(2);
    // Another test, or somebody else, may get the number first: then once more.
    let (name, second) = (0..10)
        .find_map(|_| {
            let first = Netns::new("first");
            let (name, number) = (first.name.clone(), inode(&first.name));
            lose(&first, 5);
            agent.until_counted(PACKETS, &losses(&name), 5.0);
            first.delete();
            successor(number).map(|second| (name, second))
        })
        .expect("a namespace gets the inode of one that has gone");

    // Its first rows come before anybody has looked for namespaces.
    lose(&second, 3);
    agent.until_counted(PACKETS, &losses(&second.name), 3.0);
    let page = agent.scrape();
    assert_eq!(page.value(PACKETS, &losses(&name)), 5.0, "the dead one keeps its own");
    let events = |netns: &str| agent.events_of("PACKETLOSS", netns).len();
    assert_eq!((events(&name), events(&second.name)), (5, 3));
}

#[test]
fn rule_29_a_namespace_made_anew_under_the_same_name_adds_to_its_series_and_tells_its_events() {
    let agent = Agent::start("probes: { packet_loss: {} }");
    agent.until_attached(2);
    let first = Netns::new("again");
    let name = first.name.clone();
    lose(&first, 5);
    agent.until_counted(PACKETS, &losses(&name), 5.0);
    // These are in the kernel, and nobody has looked, when it ends.
    lose(&first, 2);
    drop(first);
    run("ip", &["netns", "add", &name]);
    let second = Netns { name: name.clone() };
    second.run("ip", &["link", "set", "lo", "up"]);
    lose(&second, 3);
    // Rule 5: the same labels, so one series, with all of them and none twice.
    agent.until_counted(PACKETS, &losses(&name), 10.0);
    agent.wait_until("each is told under the name", |agent| agent.events_of("PACKETLOSS", &name).len() >= 10);
    assert_eq!(agent.events_of("PACKETLOSS", &name).len(), 10);
}

#[test]
fn events_of_namespaces_that_have_just_been_made_have_their_names() {
    let agent = Agent::start("probes: { packet_loss: {} }\ncollection: { idle_interval: 5m }");
    agent.until_attached(2);
    // One after the other, as pods start; no page is asked for in between: the rows themselves make the agent look.
    let new: Vec<Netns> = (0..6)
        .map(|_| {
            let netns = Netns::new("new");
            netns.run("bash", &["-c", "echo x >/dev/udp/127.0.0.1/4716"]);
            netns
        })
        .collect();
    for netns in &new {
        agent.wait_until("the event has the name", |agent| agent.events_of("PACKETLOSS", &netns.name).len() == 1);
    }
}
