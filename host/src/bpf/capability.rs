//! Which of the kernel's capabilities the agent has.

use rustix::{
    io::Errno,
    thread::{CapabilitySet, capabilities},
};
use std::fmt;

/// The capabilities that something in the agent needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    Bpf,
    Perfmon,
    NetAdmin,
    SysAdmin,
    SysPtrace,
    Syslog,
}

impl Capability {
    pub const ALL: [Self; 6] =
        [Self::Bpf, Self::Perfmon, Self::NetAdmin, Self::SysAdmin, Self::SysPtrace, Self::Syslog];

    /// The kernel's name (include/uapi/linux/capability.h).
    pub fn name(self) -> &'static str {
        match self {
            Self::Bpf => "CAP_BPF",
            Self::Perfmon => "CAP_PERFMON",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::Syslog => "CAP_SYSLOG",
        }
    }

    fn bit(self) -> CapabilitySet {
        match self {
            Self::Bpf => CapabilitySet::BPF,
            Self::Perfmon => CapabilitySet::PERFMON,
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::SysAdmin => CapabilitySet::SYS_ADMIN,
            Self::SysPtrace => CapabilitySet::SYS_PTRACE,
            Self::Syslog => CapabilitySet::SYSLOG,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(CapabilitySet);

impl Capabilities {
    /// Those in effect for the calling thread, by capget(2). They count only in the user namespace that the thread is in, and the kernel
    /// wants them in the first one: in another, it may refuse although they are there.
    pub fn effective() -> Result<Self, Errno> {
        capabilities(None).map(|sets| Self(sets.effective))
    }

    pub fn has(self, capability: Capability) -> bool {
        self.0.contains(capability.bit())
    }

    /// Whether what needs `capability` is allowed: CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, which were split from it in Linux 5.8.
    pub fn allows(self, capability: Capability) -> bool {
        let stands_in = matches!(capability, Capability::Bpf | Capability::Perfmon) && self.has(Capability::SysAdmin);
        stands_in || self.has(capability)
    }

    /// Those of `needed` that are not allowed.
    pub fn missing(self, needed: &[Capability]) -> Vec<Capability> {
        needed.iter().copied().filter(|&capability| !self.allows(capability)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from include/uapi/linux/capability.h.
    const NUMBERS: [(Capability, u32); 6] = [
        (Capability::Bpf, 39),
        (Capability::Perfmon, 38),
        (Capability::NetAdmin, 12),
        (Capability::SysAdmin, 21),
        (Capability::SysPtrace, 19),
        (Capability::Syslog, 34),
    ];

    fn only(number: u32) -> Capabilities {
        Capabilities(CapabilitySet::from_bits_retain(1 << number))
    }

    #[test]
    fn each_capability_is_its_own_bit() {
        for (capability, number) in NUMBERS {
            for other in Capability::ALL {
                assert_eq!(only(number).has(other), other == capability, "{other} in bit {number}");
            }
        }
    }

    #[test]
    fn sys_admin_stands_for_bpf_and_perfmon_alone() {
        let missing = |number| only(number).missing(&Capability::ALL);
        use Capability::{Bpf, NetAdmin, Perfmon, SysAdmin, SysPtrace, Syslog};
        assert_eq!(missing(21), [NetAdmin, SysPtrace, Syslog]);
        assert_eq!(missing(39), [Perfmon, NetAdmin, SysAdmin, SysPtrace, Syslog]);
        assert_eq!(missing(38), [Bpf, NetAdmin, SysAdmin, SysPtrace, Syslog]);
    }

    /// The same as the kernel prints of this thread.
    #[test]
    fn the_effective_ones_are_those_in_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        let bits = u64::from_str_radix(effective, 16).unwrap();
        assert_eq!(Capabilities::effective().unwrap().0.bits(), bits);
    }
}
