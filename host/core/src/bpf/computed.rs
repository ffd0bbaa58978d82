//! The columns that the host computes wherever a tracepoint has a socket or a packet at hand.

use super::access::Computed;
use crate::table::{Logical, TableColumn, Type};

/// Every computed column by its name, in the order in which people see them.
pub(super) const ALL: &[(&str, Computed)] = &[
    ("netns", Computed::Netns),
    ("owner", Computed::Owner),
    ("cgroup", Computed::Cgroup),
    ("protocol", Computed::Protocol),
    ("family", Computed::Family),
    ("saddr", Computed::Saddr),
    ("sport", Computed::Sport),
    ("daddr", Computed::Daddr),
    ("dport", Computed::Dport),
    ("laddr", Computed::Laddr),
    ("lport", Computed::Lport),
    ("raddr", Computed::Raddr),
    ("rport", Computed::Rport),
    ("time", Computed::Time),
    ("cpu", Computed::Cpu),
    ("pid", Computed::Pid),
    ("comm", Computed::Comm),
];

/// Protocols of IPv6 that are macros, so not in the kernel's enum (include/uapi/linux/in6.h; RFC 8200, 4443 and 6275).
pub(super) const IPV6_PROTOCOLS: &[(&str, i64)] =
    &[("ROUTING", 43), ("FRAGMENT", 44), ("ICMPV6", 58), ("NONE", 59), ("DSTOPTS", 60), ("MH", 135)];

/// What a computed column is, but for its access.
pub(super) fn column(name: &str, computed: Computed) -> TableColumn {
    let (ty, logical, nullable, help) = match computed {
        Computed::Netns => {
            (Type::Scope, Logical::Scope, true, "The socket's namespace, else the packet's, else the device's")
        }
        Computed::Owner => {
            (Type::Scope, Logical::Scope, true, "Who owns the socket: by its cgroup the container, else its namespace")
        }
        Computed::Cgroup => (Type::U64, Logical::Count, true, "Number of the socket's cgroup (version 2)"),
        Computed::Protocol => (Type::U64, Logical::Count, true, "IP protocol: the packet's, else the socket's"),
        Computed::Family => {
            (Type::U64, Logical::Count, true, "Address family, 2 or 10: the packet's, else the socket's")
        }
        Computed::Saddr => (Type::Address, Logical::Address, true, "Source of the packet, as on the wire"),
        Computed::Daddr => (Type::Address, Logical::Address, true, "Destination of the packet, as on the wire"),
        Computed::Sport => (Type::U64, Logical::Port, true, "Source port of the packet"),
        Computed::Dport => (Type::U64, Logical::Port, true, "Destination port of the packet"),
        Computed::Laddr => (Type::Address, Logical::Address, true, "The socket's own address"),
        Computed::Raddr => (Type::Address, Logical::Address, true, "Address of the socket's peer"),
        Computed::Lport => (Type::U64, Logical::Port, true, "The socket's own port"),
        Computed::Rport => (Type::U64, Logical::Port, true, "Port of the socket's peer"),
        Computed::Time => (Type::U64, Logical::Nanoseconds, false, "When it happened, by CLOCK_MONOTONIC"),
        Computed::Cpu => (Type::U64, Logical::Count, false, "Number of the CPU"),
        Computed::Pid => (Type::U64, Logical::Count, false, "Process that the CPU was in: of a packet it says nothing"),
        Computed::Comm => {
            (Type::Text, Logical::Name, false, "Name of the task that the CPU was in: of a packet it says nothing")
        }
    };
    TableColumn { nullable, ..TableColumn::new(name, ty, logical).help(help) }
}
