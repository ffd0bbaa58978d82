//! Streams and traffic, with the agent and without.

use crate::{
    load::{DROPS, Done, Load, RESETS, TRAFFIC},
    measure::agent::{Agent, sum},
};

/// Rows of a stream, from the ring to a file.
pub fn rows() {
    let agent = Agent::start(
        "hooks: { rate: 100000/s, burst: 100000, cpu: 10000%, ring: 256MiB }\n\
         probes: { packet_loss: { limits: { events: 100000/s } } }\n",
    );
    agent.quiet();
    let probe = "probe=\"packet_loss\"";
    let (page, cpu) = (agent.page(), agent.cpu());
    let done = Load::start(DROPS, 4000).wait();
    agent.quiet();
    let (cpu, after) = (agent.cpu() - cpu, agent.page());
    let more = |name, with| sum(&after, name, with) - sum(&page, name, with);
    let rows = more("netsonde_sink_events_total", "");
    let wasm = more("netsonde_probe_cpu_seconds_total", probe);
    println!(
        "rows of packet_loss from the ring to a file: {rows:.0} of {} drops at {:.0}/s, {:.2} us of CPU each, {:.0} % of it in the probe",
        done.count,
        done.rate(),
        1e6 * cpu.as_secs_f64() / rows,
        100.0 * wasm / cpu.as_secs_f64(),
    );
    println!(
        "  kept back {:.0}, ring full {:.0}, dropped later {:.0}",
        more("netsonde_hook_suppressed_total", ""),
        more("netsonde_hook_lost_total", ""),
        more("netsonde_dropped_total", ""),
    );
}

/// Resets as fast as they go, with the default set, with the probe of resets alone, and without.
pub fn flood() {
    flood_of("the default set", "");
    flood_of("tcp_reset", "probes: { tcp_reset: {} }\n");
}

fn flood_of(set: &str, config: &str) {
    let agent = || Agent::start(config);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        without.push(Load::start(RESETS, 2000).wait());
        let agent = agent();
        agent.quiet();
        let (page, cpu) = (agent.page(), agent.cpu());
        let done = Load::start(RESETS, 2000).wait();
        let (cpu, after) = (agent.cpu() - cpu, agent.page());
        let more = |name, with| sum(&after, name, with) - sum(&page, name, with);
        let seconds = done.wall.as_secs_f64();
        let of_agent = 100.0 * cpu.as_secs_f64() / seconds;
        let of_programs = 100.0 * more("netsonde_hook_cpu_seconds_total", "") / seconds;
        println!(
            "RST flood, {:.0}/s, {set}: agent {of_agent:.2} % of a core, its programs {of_programs:.2} %, which would be {:.2} % together at \
             {GOAL:.0}/s; {} were sent, counted {:.0}, missed {:.0}",
            done.rate(),
            of_agent + of_programs * GOAL / done.rate(),
            done.count,
            more("netsonde_hook_runs_total", "query=\"sent\""),
            more("netsonde_hook_missed_total", ""),
        );
        with.push(done);
        // The first agent had its modules to compile, perhaps.
        if with.len() == 3 {
            println!(
                "resident memory of the agent {} KiB, of its programs {:.0} KiB",
                agent.resident(),
                sum(&after, "netsonde_hook_memory_bytes", "") / 1024.0
            );
        }
    }
    slower(&format!("the flood, {set}"), without, with);
}

/// Resets a second that are to cost less than 5 % of a core. What programs cost grows with them; what the agent does is bounded by budgets.
const GOAL: f64 = 50_000.0;

/// Traffic that is none of the default set's business.
pub fn traffic() {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        without.push(Load::start(TRAFFIC, 1500).wait());
        let agent = Agent::start("");
        agent.quiet();
        with.push(Load::start(TRAFFIC, 1500).wait());
    }
    slower("UDP over loopback", without, with);
}

/// By CPU time of the one who sends: a wall clock would tell of the machine's other work.
fn slower(what: &str, without: Vec<Done>, with: Vec<Done>) {
    let median = |done: Vec<Done>| {
        let mut each: Vec<f64> = done.iter().map(|done| 1e9 * done.cpu.as_secs_f64() / done.count as f64).collect();
        each.sort_by(f64::total_cmp);
        each[each.len() / 2]
    };
    let (without, with) = (median(without), median(with));
    println!("{what}: {with:.0} ns of CPU each with the agent, {without:.0} ns without   ratio {:.3}", with / without);
}
