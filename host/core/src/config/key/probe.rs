//! The keys of one probe.

use super::{Key, MILLISECOND, MINUTE, Value};
use crate::config::Probe;
use std::time::Duration;

/// One probe's entry under `probes`.
pub static PROBE: &[Key<Probe>] = &[
    Key {
        path: "module",
        doc: "The probe's component: a file, or `builtin:NAME`. Without it: the built-in probe of this name, else NAME.wasm in the probe \
              folder.",
        example: "handshake.wasm",
        value: Value::Module(|p| &mut p.module),
    },
    Key {
        path: "settings",
        doc: "The probe's own settings. It checks them; `netsonde probe inspect` tells what it knows.",
        example: "{}",
        value: Value::Any(|p| &mut p.settings),
    },
    Key {
        path: "limits",
        doc: "What the probe may use. Whatever is cut off by a limit is counted.",
        example: "{ memory: 16MiB }",
        value: Value::Section,
    },
    Key {
        path: "limits.memory",
        doc: "Memory of its instance. 64KiB to 1GiB.",
        example: "16MiB",
        value: Value::Size(|p| &mut p.limits.memory, (64 << 10)..=(1 << 30)),
    },
    Key {
        path: "limits.deadline",
        doc: "CPU time of one call. 1ms to 10s.",
        example: "100ms",
        value: Value::Time(|p| &mut p.limits.deadline, MILLISECOND..=Duration::from_secs(10)),
    },
    Key {
        path: "limits.wall",
        doc: "Time that passes during one call, on a busy node more than its CPU time; not less than the deadline. 1ms to 1m.",
        example: "1s",
        value: Value::Time(|p| &mut p.limits.wall, MILLISECOND..=MINUTE),
    },
    Key {
        path: "limits.series",
        doc: "Series of each of its metrics; beyond, new ones become `other`, or are dropped if they are gauges. 1 to 1000000.",
        example: "10000",
        value: Value::Count(|p| &mut p.limits.series, 1..=1_000_000),
    },
    Key {
        path: "limits.events",
        doc: "Events a second. 1/s to 100000/s.",
        example: "1000/s",
        value: Value::Rate(|p| &mut p.limits.events, 1..=100_000),
    },
    Key {
        path: "limits.label",
        doc: "Length of a label's value; a longer one is cut. 8B to 4KiB.",
        example: "256B",
        value: Value::Size(|p| &mut p.limits.label, 8..=4096),
    },
    Key {
        path: "stack",
        doc: "Whether its events have the kernel's stack, where they come of rows of a tracepoint; `hooks.stacks` says of how many. Taking one \
              costs some microseconds. Names of functions need CAP_SYSLOG where kernel.kptr_restrict is set.",
        example: "true",
        value: Value::Bool(|p| &mut p.stack),
    },
    Key {
        path: "allow",
        doc: "Tables that no probe may ask unless it is said here: `node.pods`, which tells of every pod and its labels.",
        example: "[node.pods]",
        value: Value::Tables(|p| &mut p.allow),
    },
];
