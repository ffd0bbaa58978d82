//! What names of pods cost: a collection over real pods by an agent that asks their runtime, beside one that does not, in turn.
//!
//! `cargo bench -p netsonde-tests --bench pods -- 300`

use netsonde_tests::{
    agent::Agent,
    cri::{Containerd, IDLE, PodSpec, unavailable},
    page::Page,
};
use std::{fs, thread, time::Duration};

const ROUNDS: usize = 30;

fn main() {
    if let Some(reason) = unavailable() {
        return eprintln!("this machine cannot run pods: {reason}");
    }
    let count: usize = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(300);
    let node = Containerd::start();
    let spec = |index| PodSpec::new(&format!("ns{}", index % 10), &format!("load-{index}")).container("main", IDLE);
    let _pods = node.pods((0..count).map(spec).collect());
    let config = format!("host_netns: {}\ncollection: {{ min_interval: 0s }}", node.node.path().display());
    // Modules are compiled once: whoever does it keeps the memory.
    drop(node.agent(""));
    let without = Agent::start_on(&node.node, &format!("pods: {{ cri: none, docker: none }}\n{config}"));
    let with = node.agent("collection: { min_interval: 0s }");
    // Names wait for at most two seconds, and each of the agents is warm then.
    thread::sleep(Duration::from_secs(3));
    let named = with.page().find("netsonde_sockstat_sockets_used", &[("netns", "host")]).count();
    assert_eq!(named, 1, "the node itself is the host");
    let begun = [&without, &with].map(|agent| spent(&agent.page()));
    for _ in 0..ROUNDS {
        [&without, &with].into_iter().for_each(|agent| drop(agent.page()));
    }
    let ended = [&without, &with].map(|agent| spent(&agent.page()));
    let rounds = ROUNDS as f64 + 1.0;
    let per = |which: usize, what: usize| (ended[which][what] - begun[which][what]) * 1000.0 / rounds;
    println!("{count} pods, {ROUNDS} collections each, in turn");
    for (name, what) in [("collection", 0), ("CPU of the agent", 1)] {
        let (bare, named) = (per(0, what), per(1, what));
        println!("{name:20} {bare:8.2} ms without names, {named:8.2} ms with: {:.3} times", named / bare);
    }
    let resident = [&without, &with].map(|agent| resident(agent.pid()));
    let each = (resident[1] as f64 - resident[0] as f64) / count as f64;
    println!("{:20} {:8} KiB without names, {:8} KiB with: {each:.1} KiB a pod", "resident", resident[0], resident[1]);
}

/// Seconds of collections and of CPU so far.
fn spent(page: &Page) -> [f64; 2] {
    ["netsonde_collection_duration_seconds_sum", "process_cpu_seconds_total"].map(|name| page.value(name, &[]))
}

fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
