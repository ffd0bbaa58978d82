//! The probes that come with the agent, embedded as components; `build.rs` makes them.

/// Name, module, and one line for `netsonde probe list`.
pub const PROBES: &[(&str, &[u8], &str)] = &[
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

/// The module called `name`.
pub fn module(name: &str) -> Option<&'static [u8]> {
    PROBES.iter().find(|(have, _, _)| *have == name).map(|(_, module, _)| *module)
}
