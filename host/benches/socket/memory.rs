//! What the agent takes of memory with the two probes over sockets, its own and the kernel's.

use crate::{
    hold::Held,
    measure::{
        agent::Agent,
        kernel::{catalogue, descriptors, number, program, told},
        table::Table,
    },
    namespaces::NAMESPACES,
    ways::Pass,
};
use rustix::fd::AsRawFd;
use std::{thread, time::Duration};

const SOCKETS: usize = 10_000;
const COLLECTIONS: usize = 8;

pub fn memory() {
    let kib = |bytes: u64| format!("{} KiB", bytes / 1024);
    let _held = Held::namespaces(NAMESPACES, SOCKETS / NAMESPACES);
    println!("{NAMESPACES} namespaces, {SOCKETS} sockets in all");
    let mut table = Table::new(&["", "resident", "programs", "maps", "CPU a collection"]);
    for (what, probes) in [
        ("sockstat alone", "probes: { sockstat: {} }\n"),
        ("socket_memory", "probes: { socket_memory: {} }\n"),
        ("socket_memory, tcp_state", "probes: { socket_memory: {}, tcp_state: {} }\n"),
        ("all built-in probes", ""),
    ] {
        // The first start compiles the modules; the second has them in its cache, as an agent mostly does.
        drop(Agent::start(probes));
        let agent = Agent::start(probes);
        let before = agent.cpu();
        for _ in 0..COLLECTIONS {
            // No collection is younger than a second.
            thread::sleep(Duration::from_millis(1050));
            agent.page();
        }
        let cpu = (agent.cpu() - before) / COLLECTIONS as u32;
        let (programs, maps) = of_kernel(agent.id());
        let resident = format!("{} KiB", agent.resident());
        table.row([what.to_owned(), resident, kib(programs), kib(maps), format!("{cpu:.1?}")]);
    }
    table.print();
    let mut table = Table::new(&["after a pass", "program", "maps"]);
    for pass in Pass::all(&catalogue()) {
        pass.run();
        let (what, program, maps) = pass.memory();
        table.row([what.to_owned(), kib(program), kib(maps)]);
    }
    table.print();
}

/// What the kernel accounts for a process's programs and maps.
fn of_kernel(process: u32) -> (u64, u64) {
    let (mut programs, mut maps) = (0, 0);
    for told_of in descriptors(&process.to_string()).values() {
        if told_of.contains("map_type:") {
            maps += number(told_of, "memlock").unwrap_or(0);
        } else if let Some(id) = number(told_of, "prog_id") {
            programs += number(&told(program(id).as_raw_fd()), "memlock").unwrap_or(0);
        }
    }
    (programs, maps)
}
