//! A flood is counted to the packet, its events keep to their budget, and who is quiet loses nothing by it.

use netsonde_tests::{
    agent::Agent,
    guest,
    netns::{Netns, Pair},
    page::Page,
    traffic::Peer,
};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

const PACKETS: &str = "netsonde_packet_loss_packets_total";
const PORT: u64 = 5555;
/// Datagrams sent at once, as fast as they go.
const WAVE: u64 = 20_000;

/// One flood at a time: another one would be in the figures of the whole node.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops and counts what comes for the port. The chain's own counter says how many there were.
fn drop_and_count(netns: &Netns) {
    netns.nft(&format!(
        "table inet rules {{\n counter dropped {{\n }}\n chain in {{\n type filter hook input priority 0;\n \
         udp dport {PORT} counter name dropped drop\n }}\n }}"
    ));
}

fn dropped(netns: &Netns) -> u64 {
    let counter = netns.run("nft", &["list", "counter", "inet", "rules", "dropped"]);
    let words: Vec<&str> = counter.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "packets").unwrap_or_else(|| panic!("{counter}"));
    words[at + 1].parse().unwrap()
}

/// Waves of datagrams until `stop`; gives how many were sent.
fn flood(sender: &mut Peer, stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    while sent == 0 || !stop.load(Ordering::Relaxed) {
        sender.run(&format!("send('10.199.0.2', {PORT}, {WAVE})"));
        sent += WAVE;
    }
    sent
}

fn sum(page: &Page, name: &str, labels: &[(&str, &str)]) -> f64 {
    page.find(name, labels).map(|sample| sample.value).sum()
}

/// Rows that the probe was given, of a query.
fn rows(agent: &Agent, query: &str) -> f64 {
    rows_of(agent, "packet_loss", query)
}

fn rows_of(agent: &Agent, probe: &str, query: &str) -> f64 {
    let probe = agent.probe(probe);
    let found = probe["queries"].as_array().unwrap().iter().find(|found| found["name"] == query).unwrap();
    found["rows"].as_f64().unwrap()
}

/// Of all namespaces: rows that were counted, and neither delivered nor suppressed; and passings that a program missed.
fn balance(agent: &Agent) -> (f64, f64) {
    let page = agent.scrape();
    let hook = |name: &str| sum(&page, &format!("netsonde_hook_{name}_total"), &[("probe", "packet_loss")]);
    assert_eq!((hook("lost"), hook("map_full"), hook("map_error")), (0.0, 0.0, 0.0));
    (sum(&page, PACKETS, &[]) - rows(agent, "drop_rows") - hook("suppressed"), hook("missed"))
}

/// The balance at a quiet moment. It is not 0 where something was lost after one program was attached and before the other one was.
fn quiet_balance(agent: &Agent) -> f64 {
    let mut before = balance(agent).0;
    for _ in 0..20 {
        let now = balance(agent).0;
        if now == before {
            return now;
        }
        before = now;
    }
    panic!("somebody else floods this node without end");
}

#[test]
fn rule_17_a_flood_is_counted_exactly_its_events_are_budgeted_and_a_quiet_namespace_loses_none() {
    let _alone = alone();
    const RATE: f64 = 5.0;
    const BURST: f64 = 20.0;
    let (pair, quiet) = (Pair::new(), Netns::new("quiet"));
    let b = pair.b.name.as_str();
    drop_and_count(&pair.b);
    let (mut loud, mut meek) = (Peer::new(&pair.a), Peer::new(&quiet));
    let began = Instant::now();
    let agent = Agent::start(
        "hooks: { rate: 5/s, burst: 20, cpu: 10000% }\nprobes: { packet_loss: { settings: { normal: [] } } }",
    );
    agent.until_attached(2);
    let balanced = quiet_balance(&agent);

    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&mut loud, &stop));
        agent.wait_until("the flood is over its budget", |agent| {
            sum(&agent.page(), "netsonde_hook_suppressed_total", &[("query", "drop_rows")]) > 1000.0
        });
        for _ in 0..15 {
            meek.run(&format!("send('127.0.0.1', {PORT}, 1)"));
        }
        agent.wait_until("the quiet namespace's events are there", |agent| {
            agent.events_of("PACKETLOSS", &quiet.name).len() == 15
        });
        stop.store(true, Ordering::Relaxed);
        flood.join().unwrap()
    });

    // Counted: every datagram that the rule has dropped. What did not get that far was lost before, and is counted, too.
    let by_rule = dropped(&pair.b);
    agent.until_counted(PACKETS, &[("netns", b), ("reason", "NETFILTER_DROP"), ("protocol", "UDP")], by_rule as f64);
    agent.until_counted(PACKETS, &[("netns", &quiet.name), ("reason", "NO_SOCKET"), ("protocol", "UDP")], 15.0);
    let page = agent.scrape();
    let backlog = sum(&page, PACKETS, &[("netns", b), ("reason", "CPU_BACKLOG")]);
    assert_eq!(by_rule as f64 + backlog, sent as f64, "of those that were sent");
    assert!(by_rule >= WAVE, "{by_rule}");

    // Told: no more than the budget has, and all of the quiet one's.
    let told = agent.events_of("PACKETLOSS", b).len() as f64;
    let allowed = BURST + RATE * began.elapsed().as_secs_f64();
    assert!((BURST..=allowed).contains(&told), "{told} events, {allowed} are allowed");
    assert_eq!(agent.events_of("PACKETLOSS", &quiet.name).len(), 15);

    // Rule 17, when it is quiet: what passed the filter was either delivered or suppressed.
    agent.wait_until("all that passed the filter was delivered or suppressed", |agent| {
        let (lost, missed) = balance(agent);
        // A passing that one of the two programs missed, as it interrupted it, may be in the other's count.
        (lost - balanced).abs() <= missed
    });
    let page = agent.page();
    assert_eq!(
        sum(
            &page,
            "netsonde_dropped_total",
            &[("probe", "packet_loss"), ("stage", "kernel"), ("reason", "suppressed")]
        ),
        sum(&page, "netsonde_hook_suppressed_total", &[("probe", "packet_loss")]),
        "the ledger has them, too"
    );
    for stage in ["guest", "queue", "budget"] {
        assert_eq!(sum(&page, "netsonde_dropped_total", &[("probe", "packet_loss"), ("stage", stage)]), 0.0, "{stage}");
    }
}

#[test]
fn rule_17_a_flood_of_resets_takes_no_event_from_others_and_its_rows_add_up() {
    let _alone = alone();
    const EACH: usize = 40;
    let (pair, quiet) = (Pair::new(), Netns::new("quiet"));
    let b = pair.b.name.as_str();
    let (mut loud, mut meek) = (Peer::new(&pair.a), Peer::new(&quiet));
    let agent = Agent::start("probes: { tcp_reset: {} }");
    agent.until_attached(4);
    let hook = |page: &Page, name: &str, query: &str| {
        page.value(&format!("netsonde_hook_{name}"), &[("probe", "tcp_reset"), ("query", query)])
    };
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut sent = 0.0;
            while !stop.load(Ordering::Relaxed) {
                loud.run("refused('10.199.0.2', 4711, 2000)");
                sent += 2000.0;
            }
            sent
        });
        agent.wait_until("the flood is over its budget", |agent| {
            hook(&agent.page(), "suppressed_total", "sent_rows") > 1000.0
        });
        meek.run(&format!("refused('127.0.0.1', 4712, {EACH})"));
        let told = |agent: &Agent, ty: &str| agent.events_of(ty, &quiet.name).len();
        agent.wait_until("all events of the quiet namespace are there", |agent| {
            told(agent, "TCPRESET_NOSOCK") == EACH && told(agent, "TCPRESET_RECEIVE") == EACH
        });
        stop.store(true, Ordering::Relaxed);
        flood.join().unwrap()
    });
    agent.until_counted("netsonde_tcp_reset_sent_total", &[("netns", b), ("kind", "nosock")], sent);
    // These queries have no filter: every run is a row, and each row was delivered or is counted where it was lost.
    for query in ["sent_rows", "received_rows"] {
        agent.wait_until(&format!("the rows of {query} add up"), |agent| {
            let page = agent.scrape();
            let lost = hook(&page, "suppressed_total", query) + hook(&page, "lost_total", query);
            rows_of(agent, "tcp_reset", query) + lost == hook(&page, "runs_total", query)
        });
    }
    let page = agent.page();
    let of = |stage| [("probe", "tcp_reset"), ("stage", stage)];
    let kernel = ["sent_rows", "received_rows"]
        .map(|query| hook(&page, "suppressed_total", query) + hook(&page, "lost_total", query));
    let missed = sum(&page, "netsonde_hook_missed_total", &[("probe", "tcp_reset")]);
    assert_eq!(sum(&page, "netsonde_dropped_total", &of("kernel")), kernel[0] + kernel[1] + missed);
    for stage in ["guest", "queue"] {
        assert_eq!(sum(&page, "netsonde_dropped_total", &of(stage)), 0.0, "{stage}");
    }
    for query in ["sent", "sent_rows", "received", "received_rows"] {
        assert_eq!(hook(&page, "attached", query), 1.0, "{query}");
    }
}

#[test]
fn rule_18_each_query_of_each_probe_has_a_budget_of_its_own() {
    let _alone = alone();
    let pair = Pair::new();
    let (a, b) = (pair.a.name.as_str(), pair.b.name.as_str());
    let mut client = Peer::new(&pair.a);
    let agent =
        Agent::start("hooks: { rate: 1/s, burst: 10, cpu: 10000% }\nprobes: { tcp_reset: {}, packet_loss: {} }");
    agent.until_attached(6);
    client.run("refused('10.199.0.2', 4711, 2000)");
    agent.until_counted("netsonde_tcp_reset_sent_total", &[("netns", b), ("kind", "nosock")], 2000.0);
    agent.until_counted("netsonde_tcp_reset_received_total", &[("netns", a)], 2000.0);
    // A refused connection is a lost packet, too: the one probe's rows do not use up the other's.
    agent.until_counted(PACKETS, &[("netns", b), ("reason", "NO_SOCKET"), ("protocol", "TCP")], 2000.0);
    for (ty, netns) in [("TCPRESET_NOSOCK", b), ("TCPRESET_RECEIVE", a), ("PACKETLOSS", b)] {
        agent.wait_until(&format!("{ty} of {netns}"), |agent| agent.events_of(ty, netns).len() >= 10);
        assert!(agent.events_of(ty, netns).len() < 500, "{ty} of {netns}");
    }
    let page = agent.scrape();
    for (probe, query) in [("tcp_reset", "sent_rows"), ("tcp_reset", "received_rows"), ("packet_loss", "drop_rows")] {
        let suppressed = page.value("netsonde_hook_suppressed_total", &[("probe", probe), ("query", query)]);
        assert!(suppressed >= 1500.0, "{query}: {suppressed}");
    }
}

#[test]
fn a_program_that_costs_too_much_is_detached_and_its_probe_says_so() {
    let _alone = alone();
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    drop_and_count(&pair.b);
    let mut loud = Peer::new(&pair.a);
    // The other one is at a tracepoint that is seldom passed, whatever else this node does.
    let other = guest("tcp_retransmit");
    let probes = format!("packet_loss: {{}}, tcp_retransmit: {{ module: {} }}", other.display());
    let agent = Agent::start(&format!("hooks: {{ cpu: 0.05% }}\nprobes: {{ {probes} }}"));
    agent.until_attached(4);
    let hook = |query: &'static str| [("probe", "packet_loss"), ("query", query)];
    let stop = AtomicBool::new(false);
    let detached = |agent: &Agent| {
        let page = agent.page();
        ["drops", "drop_rows"].iter().all(|query| page.value("netsonde_hook_attached", &hook(query)) == 0.0)
    };
    thread::scope(|scope| {
        scope.spawn(|| flood(&mut loud, &stop));
        agent.wait_until("both programs are detached", detached);
        stop.store(true, Ordering::Relaxed);
    });
    agent.wait_until("the probe is degraded", |agent| agent.probe("packet_loss")["state"] == "degraded");
    let why = agent.probe("packet_loss")["why"].as_str().unwrap().to_owned();
    for told in [
        "query `drops`",
        "query `drop_rows`",
        "% of a core",
        "runs a second",
        "0.05 % are allowed",
        "hooks: { cpu: ... }",
        "60 s",
    ] {
        assert!(why.contains(told), "{told:?} is missing in {why:?}");
    }
    assert!(agent.log().contains("% of a core"), "it is logged, too");

    // What was counted before is there, and nothing more comes: the program does not run.
    let page = agent.scrape();
    let counted = page.value(PACKETS, &[("netns", b), ("reason", "NETFILTER_DROP")]);
    let runs = sum(&page, "netsonde_hook_runs_total", &[("probe", "packet_loss")]);
    assert!(counted > 0.0 && counted < dropped(&pair.b) as f64 + 1.0, "{counted}");
    loud.run(&format!("send('10.199.0.2', {PORT}, 1000)"));
    let page = agent.scrape();
    assert_eq!(page.value(PACKETS, &[("netns", b), ("reason", "NETFILTER_DROP")]), counted);
    assert_eq!(sum(&page, "netsonde_hook_runs_total", &[("probe", "packet_loss")]), runs);
    // Others go on.
    assert_eq!(agent.probe("tcp_retransmit")["state"], "running");
    assert_eq!(page.find("netsonde_hook_attached", &[("probe", "tcp_retransmit")]).map(|s| s.value).sum::<f64>(), 2.0);
}
