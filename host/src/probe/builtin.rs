//! The probes that come with the agent, embedded as components; `build.rs` makes them.

/// Name, module, and one line for `netsonde probe list`.
pub type Builtin = (&'static str, &'static [u8], &'static str);

/// Those that run where no configuration says otherwise.
pub const PROBES: &[Builtin] = &[
    (
        "packet_loss",
        include_bytes!(concat!(env!("OUT_DIR"), "/packet_loss.wasm")),
        "packets that the kernel threw away, by class and reason; an event of each that was lost or refused",
    ),
    (
        "socket_memory",
        include_bytes!(concat!(env!("OUT_DIR"), "/socket_memory.wasm")),
        "memory of sockets by protocol, and how full they are",
    ),
    (
        "sockstat",
        include_bytes!(concat!(env!("OUT_DIR"), "/sockstat.wasm")),
        "sockets of each network namespace by protocol; TCP and UDP memory of the node",
    ),
    (
        "tcp_reset",
        include_bytes!(concat!(env!("OUT_DIR"), "/tcp_reset.wasm")),
        "TCP resets sent and received, by kind and reason; an event of each",
    ),
    (
        "tcp_state",
        include_bytes!(concat!(env!("OUT_DIR"), "/tcp_state.wasm")),
        "TCP connections by state, those too that no process holds; accept queues",
    ),
    (
        "traffic",
        include_bytes!(concat!(env!("OUT_DIR"), "/traffic.wasm")),
        "bytes, packets, errors and drops of each network device",
    ),
];

/// Those that run only if the configuration's `compat` says so.
pub const COMPAT: &[Builtin] = &[
    (
        "cadvisor",
        include_bytes!(concat!(env!("OUT_DIR"), "/cadvisor.wasm")),
        "cAdvisor's counts of TCP and UDP sockets, under its names; only by `compat: [cadvisor]`",
    ),
    (
        "cadvisor_traffic",
        include_bytes!(concat!(env!("OUT_DIR"), "/cadvisor_traffic.wasm")),
        "cAdvisor's counters of network devices, under its names; only by `compat: [cadvisor-traffic]`",
    ),
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Builtin> {
    PROBES.iter().chain(COMPAT)
}

/// The module called `name`.
pub fn module(name: &str) -> Option<&'static [u8]> {
    all().find(|(have, _, _)| *have == name).map(|(_, module, _)| *module)
}
