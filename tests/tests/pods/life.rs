//! Pods that end and are made anew, and what stays of them.

use crate::until_known;
use netsonde_tests::{
    agent::Agent,
    cri::{Containerd, IDLE, PodSpec, Sandbox},
    netns::run,
    page::Page,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const SENT: &str = "netsonde_tcp_reset_sent_total";
const RECEIVED: &str = "netsonde_traffic_receive_packets_total";
const UDP: &str = "netsonde_socket_memory_sockets";
const INUSE: &str = "netsonde_sockstat_udp_inuse";
// A collection is only made when a page is asked for.
const CONFIG: &str = "probes: { sockstat: {}, socket_memory: {}, traffic: {}, tcp_reset: {} }
collection: { min_interval: 1ms, idle_interval: 10m }";

/// Scrapes as fast as it can while something is done, and gives all pages.
fn watched<T>(agent: &Agent, act: impl FnOnce() -> T) -> (T, Vec<Page>) {
    let done = AtomicBool::new(false);
    // Also when it panics, or the scraper would never end.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut pages = Vec::new();
            while !done.load(Ordering::Relaxed) {
                pages.push(agent.page());
            }
            pages.push(agent.page());
            pages
        });
        let result = {
            let _done = Done(&done);
            act()
        };
        (result, scraper.join().unwrap())
    })
}

/// That nothing is on a page twice, and no counter falls from page to page.
fn check(pages: &[Page]) {
    let mut last: BTreeMap<_, f64> = BTreeMap::new();
    for page in pages {
        page.check_unique();
        let counters = page.0.iter().filter(|sample| sample.name.ends_with("_total"));
        for sample in counters.filter(|sample| sample.labels.contains_key("namespace")) {
            let before = last.insert((&sample.name, &sample.labels), sample.value).unwrap_or_default();
            assert!(sample.value >= before, "{sample:?} falls from {before}");
        }
    }
}

/// A pod with so many UDP sockets in its container, and so many refused connections within itself.
fn inhabited(pod: &Sandbox, sockets: u32, resets: u32) -> netsonde_tests::traffic::Peer {
    let mut peer = pod.peer("main");
    peer.run(&format!(
        "kept = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range({sockets})]
for s in kept: s.bind(('127.0.0.1', 0))
refused('127.0.0.1', 4731, {resets})"
    ));
    peer
}

fn spec() -> PodSpec {
    PodSpec::new("shop", "web-0").container("main", IDLE)
}

pub fn rule_5_a_pod_made_anew_goes_on_with_its_counters() {
    const WHO: &str = "shop/web-0/";
    let containerd = Containerd::start();
    // One that stays, lest all be empty.
    let _other = containerd.pod(PodSpec::new("data", "web-0").container("main", IDLE));
    let agent = containerd.agent(CONFIG);
    agent.until_attached(4);
    let sent = |page: &Page| page.sum_of(SENT, WHO, &[]);
    let gauges = |page: &Page| {
        let udp = page.sum_of(UDP, WHO, &[("protocol", "udp"), ("family", "ipv4")]);
        (udp, page.sum_of(INUSE, WHO, &[("family", "ipv4")]))
    };
    let received = |page: &Page| page.sum_of(RECEIVED, WHO, &[("device", "eth0")]);

    let (nameless, pages) = watched(&agent, || {
        let (mut resets, mut packets, mut nameless) = (0, 0.0, BTreeSet::new());
        // The way in which it ends is another one each time.
        for (turn, (sockets, more)) in [(5, 4), (3, 6), (8, 2)].into_iter().enumerate() {
            let pod = containerd.pod(spec());
            nameless.insert(pod.nameless());
            let peer = inhabited(&pod, sockets, more);
            resets += more;
            let all = f64::from(resets);
            agent.wait_until("its resets are counted beside those before", |agent| sent(&agent.page()) >= all);
            let want = (f64::from(sockets), f64::from(sockets));
            agent.wait_until("its gauges are those of the living one", |agent| gauges(&agent.page()) == want);
            let page = agent.page();
            assert_eq!(sent(&page), all, "turn {turn}");
            assert!(received(&page) >= packets, "turn {turn}: packets of those before count, too");
            if turn == 1 {
                pod.kill();
            }
            drop(peer);
            packets = received(&agent.page());
            pod.remove();
            agent.wait_until("its gauges go", |agent| gauges(&agent.page()) == (0.0, 0.0));
            // Rule 7: its counters stay.
            assert_eq!(sent(&agent.page()), all, "turn {turn}");
        }
        nameless
    });
    assert!(pages.len() > 20, "{} pages", pages.len());
    check(&pages);
    assert!(pages.iter().all(|page| page.owners().is_disjoint(&nameless)), "rule 6 holds, too");
}

pub fn rule_5_a_container_started_anew_too() {
    let containerd = Containerd::start();
    let mut pod = containerd.pod(spec().container("sidecar", IDLE));
    let agent = containerd.agent(CONFIG);
    agent.until_attached(4);
    let sockets = |page: &Page, owner: &str| page.sum_of(UDP, owner, &[("protocol", "udp"), ("family", "ipv4")]);
    let mut side = pod.peer("sidecar");
    side.run("kept = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(9)]");
    let ((), pages) = watched(&agent, || {
        for count in [4, 2, 6] {
            let peer = inhabited(&pod, count, 1);
            agent.wait_until("its sockets are its own", |agent| {
                sockets(&agent.page(), "shop/web-0/main") == f64::from(count)
            });
            let page = agent.page();
            assert_eq!(sockets(&page, "shop/web-0/sidecar"), 9.0);
            assert_eq!(sockets(&page, "shop/web-0/"), 9.0 + f64::from(count));
            pod.kill_container("main");
            drop(peer);
            agent.wait_until("it has none", |agent| sockets(&agent.page(), "shop/web-0/main") == 0.0);
            pod.start_container("main");
        }
    });
    check(&pages);
    assert_eq!(pages.last().unwrap().sum_of(SENT, "shop/web-0/", &[]), 3.0);
}

pub fn rule_6_no_series_of_a_pod_is_first_without_its_name() {
    const PODS: usize = 20;
    let containerd = Containerd::start();
    let agent = containerd.agent(CONFIG);
    agent.until_attached(4);
    // Each makes itself heard from its first moment on.
    let busy = "while :; do nc 127.0.0.1 4733 </dev/null; sleep 0.5; done";
    let spec = |index| PodSpec::new("shop", &format!("web-{index}")).container("main", busy);
    let early = agent.page().owners();
    let (pods, pages) = watched(&agent, || {
        let pods = containerd.pods((0..PODS).map(spec).collect());
        let names: Vec<String> = (0..PODS).map(|index| format!("shop/web-{index}/")).collect();
        until_known(&agent, &names.iter().map(String::as_str).collect::<Vec<_>>());
        pods
    });
    check(&pages);
    // Where the machine is so busy that the runtime itself takes longer than a name is waited for, there is none.
    let in_time: Vec<_> = pods.iter().filter(|pod| pod.took < Duration::from_millis(1500)).collect();
    assert!(
        2 * in_time.len() > PODS,
        "the machine is too busy: {:?}",
        pods.iter().map(|pod| pod.took).collect::<Vec<_>>()
    );
    // By the name of its file, or its number; others on this machine may have had such a number before.
    let names = in_time.iter().flat_map(|pod| [pod.nameless(), format!("netns={}", pod.inode)]);
    let nameless: BTreeSet<String> = names.filter(|owner| !early.contains(owner)).collect();
    for (at, page) in pages.iter().enumerate() {
        let owners = page.owners();
        let first: Vec<_> = owners.intersection(&nameless).collect();
        let took: Vec<_> = pods.iter().map(|pod| (pod.nameless(), pod.took)).collect();
        assert!(first.is_empty(), "{first:?} on page {at} of {}; they took {took:?}", pages.len());
    }
    agent.wait_until("all are heard of", |agent| {
        let page = agent.page();
        (0..PODS).all(|index| page.sum_of(SENT, &format!("shop/web-{index}/"), &[]) > 0.0)
    });
}

pub fn rule_29_a_reused_inode_is_another_pod() {
    let containerd = Containerd::start();
    let agent = containerd.agent(CONFIG);
    agent.until_attached(4);
    // The kernel gives the lowest free number away; others on this machine may take it first: then once more.
    let mut found = None;
    for turn in 0..10 {
        let first = containerd.pod(PodSpec::new("first", &format!("a-{turn}")).container("main", IDLE));
        let (inode, who) = (first.inode, format!("first/a-{turn}/"));
        let peer = inhabited(&first, 7, 5);
        agent.wait_until("the first one is known", |agent| {
            let page = agent.page();
            (page.sum_of(INUSE, &who, &[("family", "ipv4")]), page.sum_of(SENT, &who, &[])) == (7.0, 5.0)
        });
        drop(peer);
        first.remove();
        // The kernel takes its time to be rid of a namespace.
        let specs = (0..6).map(|index| PodSpec::new("second", &format!("b-{turn}-{index}")).container("main", IDLE));
        let heir = specs.map(|spec| containerd.pod(spec)).find(|pod| pod.inode == inode);
        if let Some(heir) = heir {
            found = Some((who, heir));
            break;
        }
    }
    let (first, second) = found.expect("a pod gets the number of one that has gone");
    let heir = format!("second/{}/", second.spec.name);
    let _peer = inhabited(&second, 4, 2);
    agent.wait_until("the second one is known", |agent| agent.page().sum_of(SENT, &heir, &[]) >= 2.0);
    let page = agent.scrape();
    assert_eq!((page.sum_of(INUSE, &heir, &[("family", "ipv4")]), page.sum_of(SENT, &heir, &[])), (4.0, 2.0));
    assert_eq!((page.sum_of(INUSE, &first, &[]), page.sum_of(SENT, &first, &[])), (0.0, 5.0), "{first}");
}

/// A cable from the node into a pod: the kernel takes it away with the pod's namespace, not sooner.
struct Witness<'a> {
    containerd: &'a Containerd,
    name: &'static str,
}

impl<'a> Witness<'a> {
    fn new(containerd: &'a Containerd, pod: &Sandbox, name: &'static str) -> Self {
        let (node, pid) = (containerd.node.name.as_str(), pod.pid.to_string());
        run("ip", &["-n", node, "link", "add", name, "type", "veth", "peer", "name", "witness", "netns", &pid]);
        Self { containerd, name }
    }

    fn is_there(&self) -> bool {
        let output = Command::new("ip").args(["-n", &self.containerd.node.name, "link", "show", self.name]).output();
        output.unwrap().status.success()
    }

    /// Whether the namespace ends within this time.
    fn goes(&self, within: Duration) -> bool {
        let began = Instant::now();
        while self.is_there() {
            if began.elapsed() > within {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

pub fn rule_30_a_pods_namespace_ends_while_the_agent_looks() {
    let containerd = Containerd::start();
    let pod = |name: &str| containerd.pod(PodSpec::new("shop", name).container("main", IDLE));
    let (held, free, idle) = (pod("held-0"), pod("free-0"), pod("idle-0"));
    let witnesses = [(&held, "of-held"), (&free, "of-free"), (&idle, "of-idle")]
        .map(|(pod, name)| Witness::new(&containerd, pod, name));
    // What a descriptor does: this test can fail.
    let descriptor = File::open(format!("/proc/{}/net/dev", held.pid)).unwrap();
    let agent = containerd.agent(CONFIG);
    agent.until_attached(4);
    until_known(&agent, &["shop/held-0/", "shop/free-0/", "shop/idle-0/"]);
    // Nobody asks the agent meanwhile.
    idle.remove();
    assert!(witnesses[2].goes(Duration::from_secs(10)), "the namespace lives on while the agent does nothing");
    // It is asked all the time.
    let (goes, _) = watched(&agent, || {
        free.remove();
        held.remove();
        witnesses[1].goes(Duration::from_secs(10))
    });
    assert!(goes, "the namespace lives on while the agent is asked");
    assert!(witnesses[0].is_there(), "a descriptor holds it, or this test proves nothing");
    drop(descriptor);
    assert!(witnesses[0].goes(Duration::from_secs(10)), "nothing holds it but this test's descriptor");
}
