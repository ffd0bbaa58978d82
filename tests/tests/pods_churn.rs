//! Pods come and go, several at a time, while they talk to each other: not one event, not one sample is another pod's.
//!
//! Each pod has a port that no other one has, and all its traffic goes from it or to it; and a number of sockets. Namespaces, inodes,
//! addresses, processes are used again and again meanwhile, names in other namespaces.

use netsonde_tests::{
    agent::Agent,
    cri::{Containerd, PodSpec, Sandbox, run_trials, trial},
    page::Page,
    whose::{of_event, of_sample, peer_of},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, connect, socket},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const PODS: usize = 200;
/// So many live at a time; they are made and removed in pairs.
const LIVING: usize = 16;
/// Of the first pod.
const PORT: u16 = 20_000;
/// Nobody is there for datagrams, either: one for each pod.
const DEAF: u16 = 30_000;
const SENT: &str = "netsonde_tcp_reset_sent_total";
const INUSE: &str = "netsonde_sockstat_udp_inuse";

fn main() -> ExitCode {
    run_trials(vec![trial("no_event_and_no_sample_is_another_pods", no_event_and_no_sample_is_another_pods)])
}

/// Of each name there are ten, in as many namespaces.
fn owner(index: usize) -> String {
    format!("ns{}/churn-{}", index % 10, index / 10)
}

fn sockets(index: usize) -> usize {
    1 + index % 37
}

/// A pod with its sockets, which this process holds for it.
struct Inhabited {
    index: usize,
    sandbox: Sandbox,
    kept: Vec<UdpSocket>,
}

impl Inhabited {
    fn new(containerd: &Containerd, index: usize) -> Self {
        let owner = owner(index);
        let (namespace, name) = owner.split_once('/').unwrap();
        let sandbox = containerd.pod(PodSpec::new(namespace, name));
        let open = |at: usize| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, if at == 0 { port(index) } else { 0 })).unwrap();
        let kept = sandbox.within(|| (0..sockets(index)).map(open).collect());
        Self { index, sandbox, kept }
    }

    /// A connection and a datagram to where nobody listens: the other pod sends a reset, and loses a packet.
    fn knock(&self, other: &Self, told: &Told) {
        let IpAddr::V4(to) = other.sandbox.ip.unwrap() else { panic!("pods have addresses of IPv4") };
        self.sandbox.within(|| {
            let stream = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            bind(&stream, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port(self.index)))).unwrap();
            let refused = connect(&stream, &SocketAddr::from((to, port(other.index))));
            assert_eq!(refused, Err(Errno::CONNREFUSED), "from {} to {}", owner(self.index), owner(other.index));
        });
        self.kept[0].send_to(b"x", (to, DEAF + other.index as u16)).unwrap();
        told.0.lock().unwrap()[other.index].knocks += 1;
    }
}

fn port(index: usize) -> u16 {
    PORT + index as u16
}

/// What was done, by pod.
struct Told(Mutex<Vec<Done>>);

#[derive(Clone, Default)]
struct Done {
    /// At it, by its partner.
    knocks: usize,
    /// When all its sockets were there.
    whole: Option<(Instant, Instant)>,
}

/// Two pods, from their making to their end.
fn life(containerd: &Containerd, first: usize, told: &Told) {
    let pair = [Inhabited::new(containerd, first), Inhabited::new(containerd, first + 1)];
    let since = Instant::now();
    let knock = || {
        pair[0].knock(&pair[1], told);
        pair[1].knock(&pair[0], told);
    };
    // In their first moments, through their life, and in their last ones.
    for round in 0..6 {
        knock();
        thread::sleep(Duration::from_millis(if round < 2 { 50 } else { 400 }));
    }
    knock();
    let until = Instant::now();
    for pod in pair {
        told.0.lock().unwrap()[pod.index].whole = Some((since, until));
        // A socket would keep its namespace.
        drop(pod.kept);
        pod.sandbox.remove();
    }
}

/// A page, and when it was asked for and had.
type Taken = (Instant, Page, Instant);

fn churn(containerd: &Containerd, agent: &Agent, told: &Told) -> Vec<Taken> {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let first = next.fetch_add(2, Ordering::Relaxed);
            if first >= PODS {
                return;
            }
            life(containerd, first, told);
        }
    };
    let done = AtomicBool::new(false);
    let scrape = || {
        let mut pages = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let before = Instant::now();
            let page = agent.page();
            pages.push((before, page, Instant::now()));
            thread::sleep(Duration::from_millis(200));
        }
        pages
    };
    thread::scope(|scope| {
        let scraper = scope.spawn(scrape);
        let workers: Vec<_> = (0..LIVING / 2).map(|_| scope.spawn(work)).collect();
        let ends: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        let pages = scraper.join().unwrap();
        ends.into_iter().for_each(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        pages
    })
}

/// The pod whose port this is.
fn of_port(event: &Value, end: &str) -> Option<usize> {
    let port = event["fields"][end].as_u64()? as usize;
    let in_range = |first: u16| port.checked_sub(usize::from(first)).filter(|index| *index < PODS);
    in_range(PORT).or_else(|| in_range(DEAF))
}

/// How many events told whose they are, how many did not; and how many are of each type and pod.
#[derive(Debug, Default)]
struct Heard {
    named: usize,
    nameless: usize,
    with_peer: usize,
    without_peer: usize,
    by_pod: BTreeMap<(&'static str, usize), usize>,
}

/// Checks all that is said of these pods; those of other tests have other addresses.
fn heard(events: &[Value], node: &str) -> Heard {
    let (network, _) = node.rsplit_once('.').unwrap();
    let is_near =
        |event: &&Value| event["fields"]["saddr"].as_str().is_some_and(|address| address.starts_with(network));
    let mut heard = Heard::default();
    for event in events.iter().filter(is_near) {
        let (Some(source), Some(destination)) = (of_port(event, "sport"), of_port(event, "dport")) else { continue };
        // Of a reset `s` is who sends it; what is lost is lost at its destination.
        let (ty, own, other) = match event["type"].as_str().unwrap() {
            "TCPRESET_NOSOCK" => ("TCPRESET_NOSOCK", source, destination),
            "TCPRESET_RECEIVE" => ("TCPRESET_RECEIVE", destination, source),
            "PACKETLOSS" if event["fields"]["protocol"] == "UDP" => ("PACKETLOSS", destination, source),
            _ => continue,
        };
        *heard.by_pod.entry((ty, own)).or_default() += 1;
        let whose = of_event(event);
        if let Some(netns) = whose.strip_prefix("netns=") {
            assert!(netns.starts_with("cni-") || netns.parse::<u64>().is_ok(), "of {}: {event}", owner(own));
            heard.nameless += 1;
        } else {
            assert_eq!(whose, format!("{}/", owner(own)), "another pod's: {event}");
            heard.named += 1;
        }
        match peer_of(event).as_str() {
            "" => heard.without_peer += 1,
            peer => {
                assert_eq!(peer, owner(other), "another pod at the other end: {event}");
                heard.with_peer += 1;
            }
        }
    }
    heard
}

/// That each sample of a pod on these pages is that pod's, where its value tells.
fn check_samples(pages: &[Taken], done: &[Done]) {
    let by_owner: BTreeMap<String, usize> = (0..PODS).map(|index| (format!("{}/", owner(index)), index)).collect();
    let mut exact = 0;
    for (before, page, after) in pages {
        page.check_unique();
        for sample in &page.0 {
            let Some(&index) = of_sample(sample).as_ref().and_then(|whose| by_owner.get(whose)) else { continue };
            if sample.name == INUSE && sample.labels["family"] == "ipv4" {
                assert!(sample.value <= sockets(index) as f64, "{sample:?}");
                if done[index].whole.is_some_and(|(since, until)| since < *before && *after < until) {
                    assert_eq!(sample.value, sockets(index) as f64, "{sample:?}");
                    exact += 1;
                }
            }
            if sample.name == SENT {
                assert!(sample.value <= done[index].knocks as f64, "{sample:?}, and it was {}", done[index].knocks);
            }
        }
    }
    assert!(exact > PODS, "only {exact} samples were looked at: {} pages", pages.len());
}

fn no_event_and_no_sample_is_another_pods() {
    // Few addresses, each of them given to several pods, one after another.
    let containerd = Containerd::with_prefix(26);
    let agent = containerd.agent(
        "probes: { sockstat: {}, traffic: {}, socket_memory: {}, tcp_reset: {}, packet_loss: {} }
sinks: [ { file: { path: events.jsonl } } ]
collection: { min_interval: 100ms }",
    );
    agent.until_attached(6);
    let told = Told(Mutex::new(vec![Done::default(); PODS]));
    let began = Instant::now();
    let pages = churn(&containerd, &agent, &told);
    let took = began.elapsed();
    let done = told.0.into_inner().unwrap();
    let node = containerd.address();
    let knocks: usize = done.iter().map(|done| done.knocks).sum();

    let read = || {
        let text = fs::read_to_string(agent.folder.path().join("events.jsonl")).unwrap_or_default();
        let events: Vec<Value> = text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        events
    };
    agent.wait_until("all events are written", |_| heard(&read(), &node).by_pod.values().sum::<usize>() >= 3 * knocks);
    let heard = heard(&read(), &node);
    for (index, done) in done.iter().enumerate() {
        // Pods knock in pairs, as often as the other does.
        for ty in ["TCPRESET_NOSOCK", "TCPRESET_RECEIVE", "PACKETLOSS"] {
            let count = heard.by_pod.get(&(ty, index)).copied().unwrap_or_default();
            assert_eq!(count, done.knocks, "{ty} of {}", owner(index));
        }
    }
    check_samples(&pages, &done);
    // Counters of the dead are still there (rule 7).
    let page = agent.scrape();
    page.check_unique();
    let mut nameless = 0;
    for (index, done) in done.iter().enumerate() {
        let sent = page.sum_of(SENT, &format!("{}/", owner(index)), &[]);
        assert!(sent == done.knocks as f64 || sent == 0.0, "{}: {sent} of {}", owner(index), done.knocks);
        nameless += usize::from(sent == 0.0);
    }
    eprintln!(
        "{PODS} pods in {took:.1?}, {} pages; events: {} named, {} not, {} with the other end, {} without; {nameless} pods had no name",
        pages.len(),
        heard.named,
        heard.nameless,
        heard.with_peer,
        heard.without_peer
    );
    // All of them lived for as long as a name is waited for.
    assert_eq!((heard.nameless, nameless), (0, 0), "some were never named");
    // An event waits for the name of who it happened to, not for the other end's.
    assert!(heard.without_peer * 10 <= heard.with_peer, "the other end is known but for its first moments");
}
