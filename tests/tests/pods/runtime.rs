//! A runtime that comes and goes under a running agent.

use crate::until_known;
use netsonde_tests::{
    agent::Agent,
    cri::{Containerd, IDLE, PodSpec, Sandbox},
};
use std::{thread, time::Duration};

const SENT: &str = "netsonde_tcp_reset_sent_total";
const CONFIG: &str = "probes: { sockstat: {}, tcp_reset: {} }";

fn refused(pod: &Sandbox, count: u32) {
    pod.peer("main").run(&format!("refused('127.0.0.1', 4741, {count})"));
}

fn until_sent(agent: &Agent, owner: &str, count: f64) {
    agent.wait_until(&format!("{count} resets of {owner} are counted"), |agent| {
        agent.page().sum_of(SENT, owner, &[]) == count
    });
}

fn spec(name: &str) -> PodSpec {
    PodSpec::new("shop", name).container("main", IDLE)
}

fn without_it_for_a_while(end: fn(&mut Containerd)) {
    let mut containerd = Containerd::start();
    let first = containerd.pod(spec("first"));
    let agent = containerd.agent(CONFIG);
    agent.until_attached(4);
    until_known(&agent, &["shop/first/"]);
    end(&mut containerd);
    refused(&first, 3);
    until_sent(&agent, "shop/first/", 3.0);
    // Long enough to be asked again in vain.
    thread::sleep(Duration::from_secs(3));
    let page = agent.scrape();
    assert!(page.owners().contains("shop/first/"), "what was known stays known: {:?}", page.owners());
    assert!(page.whose("netsonde_sockstat_sockets_used", "shop/first/", &[]).count() == 1);
    let told = agent.get("/pods").text();
    assert!(told.contains("containerd.sock"), "who is not there: {told}");
    containerd.start_again();
    let second = containerd.pod(spec("second"));
    until_known(&agent, &["shop/second/"]);
    refused(&second, 2);
    refused(&first, 1);
    until_sent(&agent, "shop/second/", 2.0);
    until_sent(&agent, "shop/first/", 4.0);
    let page = agent.page();
    page.check_unique();
    let nameless = [&first, &second].map(Sandbox::nameless);
    assert!(page.owners().is_disjoint(&nameless.into()), "{:?}", page.owners());
}

pub fn stopped_and_started_again() {
    without_it_for_a_while(Containerd::stop);
}

pub fn killed_and_started_again() {
    without_it_for_a_while(Containerd::kill);
}

pub fn later_than_the_agent() {
    let mut containerd = Containerd::start();
    let pod = containerd.pod(spec("early"));
    containerd.stop();
    let agent = containerd.agent(CONFIG);
    agent.until_attached(4);
    // It is served all the same, after what a new scope may be held back (rule 6).
    let nameless = pod.nameless();
    until_known(&agent, &["netns=host", &nameless]);
    refused(&pod, 2);
    until_sent(&agent, &nameless, 2.0);
    let told = agent.get("/pods").text();
    assert!(told.contains("containerd.sock"), "who is not there: {told}");
    assert!(agent.log().contains("containerd.sock"), "{}", agent.log());

    containerd.start_again();
    until_known(&agent, &["shop/early/"]);
    refused(&pod, 3);
    agent.wait_until("all are counted, under the one name or the other", |agent| {
        let page = agent.page();
        page.sum_of(SENT, "shop/early/", &[]) + page.sum_of(SENT, &nameless, &[]) >= 5.0
    });
    let gauges = agent.scrape();
    assert_eq!(gauges.whose("netsonde_sockstat_sockets_used", "shop/early/", &[]).count(), 1);
    assert_eq!(gauges.whose("netsonde_sockstat_sockets_used", &nameless, &[]).count(), 0);
    let later = containerd.pod(spec("later"));
    refused(&later, 1);
    until_sent(&agent, "shop/later/", 1.0);
}
