//! Stacks of the kernel in events: they are the way that the packet went, as far as their budget goes, and they are nowhere else.

use netsonde_tests::{agent::Agent, binary, netns::Pair, traffic::Peer};
use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    process::Command,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// One at a time: what the others lose would use up the stacks of the one that has few.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of `Pair::b`.
const SERVERS: [&str; 2] = ["10.199.0.2", "fd99::2"];
const CLOSED: u64 = 4711;
const DROPPED: u64 = 5555;

/// Where the functions of this kernel begin, by name, each with where the next one does.
static FUNCTIONS: LazyLock<HashMap<String, Vec<(u64, u64)>>> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/kallsyms").unwrap();
    let mut all: Vec<(u64, String)> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if matches!(words[1], "t" | "T" | "w" | "W") {
            let module = words.get(2..).unwrap().join(" ");
            all.push((u64::from_str_radix(words[0], 16).unwrap(), module));
        }
    }
    all.sort();
    let starts: Vec<u64> = all.iter().map(|(start, _)| *start).collect();
    let mut functions: HashMap<String, Vec<(u64, u64)>> = HashMap::new();
    for (start, name) in all {
        let next = starts.get(starts.partition_point(|other| *other <= start)).copied().unwrap_or(u64::MAX);
        functions.entry(name).or_default().push((start, next));
    }
    functions
});

fn stack(event: &Value) -> Vec<String> {
    let frames = event["stack"].as_array().map_or(&[][..], Vec::as_slice);
    frames.iter().map(|frame| frame.as_str().unwrap().to_owned()).collect()
}

/// `name+0xA3` or `name+0xA3 [module]`: the name, without what the compiler adds to it. The offset lies in the function.
fn function(frame: &str) -> String {
    let (place, module) = frame.split_once(' ').map_or((frame, None), |(place, module)| (place, Some(module)));
    let (name, offset) = place.split_once("+0x").unwrap_or_else(|| panic!("{frame} is no frame"));
    assert!(offset.chars().all(|digit| digit.is_ascii_digit() || digit.is_ascii_uppercase()), "{frame}");
    let offset = u64::from_str_radix(offset, 16).unwrap();
    let symbol = module.map_or(name.to_owned(), |module| format!("{name} {module}"));
    let functions = FUNCTIONS.get(&symbol).unwrap_or_else(|| panic!("{symbol} is no function of this kernel"));
    // What is returned to may be the end of the function, where the call was the last thing in it.
    assert!(
        functions.iter().any(|(start, next)| offset > 0 && start + offset <= *next),
        "{frame} is beyond its function"
    );
    name.split('.').next().unwrap().to_owned()
}

/// Whether the stack has these functions, the innermost first, in this order.
#[track_caller]
fn assert_way(stack: &[String], first: &[&str], way: &[&str]) {
    let functions: Vec<String> = stack.iter().map(|frame| function(frame)).collect();
    let begin = functions.first().unwrap_or_else(|| panic!("no stack"));
    assert!(first.contains(&begin.as_str()), "{functions:?} begins with none of {first:?}");
    let mut rest = functions.iter();
    for wanted in way {
        assert!(rest.any(|function| function == wanted), "no {wanted} in its place in {functions:?}");
    }
}

#[test]
fn the_stack_of_a_reset_is_the_way_of_the_packet_that_it_answers() {
    let _alone = alone();
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    let mut client = Peer::new(&pair.a);
    let agent = Agent::start("probes: { tcp_reset: { stack: true } }\nsinks: [{ stdout: { form: line } }]");
    agent.until_attached(4);
    let ways: [&[&str]; 2] = [
        &[
            "tcp_v4_send_reset",
            "tcp_v4_rcv",
            "ip_protocol_deliver_rcu",
            "ip_local_deliver_finish",
            "__netif_receive_skb_one_core",
        ],
        &["tcp_v6_send_reset", "tcp_v6_rcv", "ip6_protocol_deliver_rcu", "__netif_receive_skb_one_core"],
    ];
    for (server, way) in SERVERS.into_iter().zip(ways) {
        let ports = client.numbers(&format!("refused('{server}', {CLOSED}, 5)"));
        let ours = |agent: &Agent| -> Vec<Value> {
            let events = agent.events_of("TCPRESET_NOSOCK", b).into_iter();
            events.filter(|event| ports.iter().any(|port| event["fields"]["dport"] == *port)).collect()
        };
        agent.wait_until("there is an event for each", |agent| ours(agent).len() == 5);
        for event in ours(&agent) {
            assert_way(&stack(&event), &way[..1], way);
        }
    }
    // The one who gets it has a way of its own, and so have both forms.
    agent.wait_until("resets that arrive are told", |agent| {
        agent.events_of("TCPRESET_RECEIVE", &pair.a.name).len() >= 10
    });
    let received = agent.events_of("TCPRESET_RECEIVE", &pair.a.name);
    for event in &received {
        assert_way(&stack(event), &["tcp_reset"], &["tcp_reset", "tcp_rcv_state_process"]);
    }
    agent.wait_until("lines are written", |agent| agent.log().contains(" stacktrace:tcp_v4_send_reset+0x"));
    let line = agent.log().lines().find(|line| line.contains(" stacktrace:tcp_v6_send_reset+0x")).map(str::to_owned);
    let (_, frames) = line.as_deref().and_then(|line| line.split_once(" stacktrace:")).unwrap();
    assert_way(&frames.split(' ').map(str::to_owned).collect::<Vec<_>>(), &["tcp_v6_send_reset"], ways[1]);

    // Stacks are in events alone.
    let page = agent.get("/metrics").text();
    assert!(!page.contains("+0x") && !page.contains("tcp_v4_send_reset") && !page.contains("stacktrace"), "{page}");
}

#[test]
fn a_packet_loss_is_told_with_its_stack_within_the_budget_and_what_that_withholds_is_counted() {
    let _alone = alone();
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    pair.b.drop_udp(DROPPED);
    let mut client = Peer::new(&pair.a);
    let agent = Agent::start(
        "hooks: { stacks: 20/s, rate: 100000/s, burst: 100000 }\n\
         probes: { packet_loss: { stack: true, settings: { normal: [] } }, tcp_reset: {} }",
    );
    agent.until_attached(6);
    let first = client.number(&format!("send('{}', {DROPPED}, 1)", SERVERS[1]));
    let told = |agent: &Agent, port: u64| -> Vec<Value> {
        agent.events_of("PACKETLOSS", b).into_iter().filter(|event| event["fields"]["sport"] == port).collect()
    };
    agent.wait_until("the first is told", |agent| told(agent, first).len() == 1);
    let drop = ["sk_skb_reason_drop", "kfree_skb_reason", "__kfree_skb_reason", "kfree_skb"];
    assert_way(&stack(&told(&agent, first)[0]), &drop, &["nf_hook_slow", "ip6_input"]);

    // What the pages were asked over has lost packets, too: until the bucket is full again.
    thread::sleep(Duration::from_millis(1200));
    const MANY: usize = 400;
    let port = client.number(&format!("send('{}', {DROPPED}, {MANY})", SERVERS[0]));
    agent.wait_until("all are told", |agent| told(agent, port).len() == MANY);
    let (with, without): (Vec<Value>, Vec<Value>) =
        told(&agent, port).into_iter().partition(|event| event.get("stack").is_some());
    assert!(!with.is_empty() && without.len() > MANY / 2, "{} have one, {} have none", with.len(), without.len());
    for event in &with {
        assert_way(&stack(event), &drop, &["nf_hook_slow", "ip_local_deliver", "__netif_receive_skb_one_core"]);
    }

    // Of all rows, whoever's: they had one, or it was withheld, or it could not be had.
    agent.wait_until("every row without a stack is counted", |agent| {
        let page = agent.scrape();
        let labels = [("probe", "packet_loss"), ("query", "drop_rows")];
        let hook = |name: &str| page.value(&format!("netsonde_hook_stacks_{name}_total"), &labels);
        let events = agent.events("PACKETLOSS");
        let without = events.iter().filter(|event| event.get("stack").is_none()).count();
        assert_eq!(hook("lost"), 0.0);
        hook("suppressed") == without as f64
    });
    // Who does not say so has none, and counts none.
    client.run(&format!("refused('{}', {CLOSED}, 3)", SERVERS[0]));
    agent.wait_until("resets are told", |agent| agent.events_of("TCPRESET_NOSOCK", b).len() == 3);
    assert!(agent.events_of("TCPRESET_NOSOCK", b).iter().all(|event| event.get("stack").is_none()));
    let page = agent.page();
    assert_eq!(
        page.value("netsonde_hook_stacks_suppressed_total", &[("probe", "tcp_reset"), ("query", "sent_rows")]),
        0.0
    );
}

#[test]
fn where_the_kernel_hides_its_addresses_events_come_without_stacks_and_the_probe_says_so() {
    let _alone = alone();
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    let mut client = Peer::new(&pair.a);
    let agent = Agent::start_with("probes: { tcp_reset: { stack: true }, sockstat: {} }", |file| {
        // As with kernel.kptr_restrict, for this process alone.
        let hidden = file.with_file_name("kallsyms");
        fs::write(&hidden, "0000000000000000 T _text\n0000000000000000 T tcp_v4_rcv\n").unwrap();
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$1\" /proc/kallsyms && exec \"$2\" run --config \"$3\"";
        command.args(["-m", "sh", "-c", script, "sh"]).arg(hidden).arg(binary()).arg(file);
        command
    });
    agent.until_attached(4);
    client.run(&format!("refused('{}', {CLOSED}, 7)", SERVERS[0]));
    agent.wait_until("resets are told", |agent| agent.events_of("TCPRESET_NOSOCK", b).len() == 7);
    assert!(agent.events_of("TCPRESET_NOSOCK", b).iter().all(|event| event.get("stack").is_none()));
    agent.scrape();
    let (probe, other) = (agent.probe("tcp_reset").to_string(), agent.probe("sockstat").to_string());
    assert!(probe.contains("degraded") && probe.contains("no stacks") && probe.contains("CAP_SYSLOG"), "{probe}");
    assert!(!other.contains("degraded"), "{other}");
    assert_eq!(agent.log().matches("Events have no stacks").count(), 1, "{}", agent.log());
}
