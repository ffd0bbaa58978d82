//! What can go wrong between the agent and bpf(2), in words that say what to do.

use super::capability::{Capabilities, Capability};
use rustix::io::Errno;
use std::fmt;

/// What programs need; maps alone need the first.
const NEEDED: [Capability; 2] = [Capability::Bpf, Capability::Perfmon];

/// Why the kernel answered EPERM, as far as that can be seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The capabilities that the calling thread lacks; None: they could not be read.
    pub missing: Option<Vec<Capability>>,
}

impl Denied {
    pub(super) fn now() -> Self {
        Self { missing: Capabilities::effective().ok().map(|effective| effective.missing(&NEEDED)) }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing.as_deref() {
            None => formatter.write_str("not permitted (EPERM); give the agent CAP_BPF and CAP_PERFMON"),
            Some([]) => formatter.write_str(
                "not permitted (EPERM), although the agent has CAP_BPF and CAP_PERFMON; let it run in the first user namespace, and \
                 allow bpf(2) in its seccomp profile, security module and lockdown; before Linux 5.11 also raise RLIMIT_MEMLOCK",
            ),
            Some(missing) => {
                let names: Vec<&str> = missing.iter().map(|capability| capability.name()).collect();
                let names = names.join(" and ");
                write!(
                    formatter,
                    "not permitted (EPERM), the agent lacks {names}; give it {names} (before Linux 5.8: CAP_SYS_ADMIN)"
                )
            }
        }
    }
}

/// What fails about maps and the ring.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    #[error("make the BPF map {map} of {bytes} bytes: {denied}")]
    MapNotPermitted { map: &'static str, bytes: u64, denied: Denied },
    #[error(
        "make the BPF map {map} of {bytes} bytes: no memory (ENOMEM); raise the agent's memory limit, which BPF maps count against"
    )]
    MapMemory { map: &'static str, bytes: u64 },
    #[error("make the BPF map {map} of {bytes} bytes: {error}; this kernel may be too old for such maps")]
    Map { map: &'static str, bytes: u64, error: Errno },
    #[error("make a ring of {bytes} bytes: that must be a power of two, and at least a page ({page} bytes)")]
    RingBytes { bytes: u32, page: usize },
    #[error("map a ring of {bytes} bytes into the agent's memory: {source}")]
    RingMemory { bytes: u32, source: aya::maps::MapError },
    #[error("wait for records in the ring: {0}")]
    RingWait(Errno),
    #[error("{what} the BPF map {map}: {error}")]
    Access { what: &'static str, map: &'static str, error: Errno },
    #[error("count the possible CPUs in {path}: {source}; the agent needs sysfs under /sys")]
    Cpus { path: &'static str, source: std::io::Error },
}

/// What fails about a program.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("load a BPF program for {table}: {denied}")]
    NotPermitted { table: String, denied: Denied },
    #[error("the kernel refuses the BPF program for {table}: {error}; {}", verifier(.lines))]
    Refused {
        table: String,
        error: Errno,
        /// What the kernel's verifier said last; empty if it said nothing.
        lines: Vec<String>,
    },
    #[error(
        "the BPF program for {table} is too large for this kernel ({instructions} instructions); ask for fewer columns \
         or split the query"
    )]
    TooLarge { table: String, instructions: usize },
    #[error("attach a BPF program to {table}: {error}")]
    Attach { table: String, error: Errno },
    #[error("maps for {table}: {source}")]
    Map { table: String, source: BpfError },
    /// Not the user's fault, and nothing that a kernel can cause.
    #[error("the BPF program for {table} is not complete: {what}; please report this")]
    Malformed { table: String, what: String },
}

fn verifier(lines: &[String]) -> String {
    match lines {
        [] => "its verifier says nothing about it".to_owned(),
        lines => format!("its verifier's last words:\n  {}", lines.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_nothing_else() {
        let says = |missing: Option<&[Capability]>| Denied { missing: missing.map(<[_]>::to_vec) }.to_string();
        assert_eq!(
            says(Some(&[Capability::Perfmon])),
            "not permitted (EPERM), the agent lacks CAP_PERFMON; give it CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)"
        );
        assert!(says(Some(&NEEDED)).contains("lacks CAP_BPF and CAP_PERFMON;"));
        assert!(says(Some(&[])).contains("although the agent has CAP_BPF and CAP_PERFMON;"));
        assert!(says(None).ends_with("give the agent CAP_BPF and CAP_PERFMON"));
    }

    #[test]
    fn a_refusal_ends_with_the_verifiers_words() {
        let refused = |lines: &[&str]| LoadError::Refused {
            table: "hook.kfree_skb".into(),
            error: Errno::ACCESS,
            lines: lines.iter().map(ToString::to_string).collect(),
        };
        let text = refused(&["10: (69) r1 = *(u16 *)(r1 +16)", "R1 invalid mem access 'scalar'"]).to_string();
        assert!(
            text.ends_with("last words:\n  10: (69) r1 = *(u16 *)(r1 +16)\n  R1 invalid mem access 'scalar'"),
            "{text}"
        );
        assert!(refused(&[]).to_string().ends_with("says nothing about it"));
    }
}
