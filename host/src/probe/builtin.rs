//! The probes that come with the agent, embedded as components; `build.rs` makes them.

/// Name, module, and one line for `netsonde probe list`.
pub const PROBES: &[(&str, &[u8], &str)] = &[
    (
        "sockstat",
        include_bytes!(concat!(env!("OUT_DIR"), "/sockstat.wasm")),
        "sockets of each network namespace by protocol; TCP and UDP memory of the node",
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
