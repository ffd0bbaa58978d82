//! How many values a map by CPU has.

use super::error::BpfError;

/// The CPUs that may ever be there, also those that are off: what the kernel counts values by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cpus(usize);

impl Cpus {
    pub(super) fn possible() -> Result<Self, BpfError> {
        aya::util::nr_cpus().map(Self).map_err(|(path, source)| BpfError::Cpus { path, source })
    }

    pub(super) fn get(self) -> usize {
        self.0
    }
}
