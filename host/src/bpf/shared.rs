//! The maps that all programs share.

use super::{
    cpus::Cpus,
    error::BpfError,
    map::{Kind, Map, Shape},
    ring::Ring,
};
use netsonde_core::bpf::program::FIGURES;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Numbers of programs are below this.
pub const MAX_PROGRAMS: u32 = 256;

const FIRST: [u8; 4] = 0_u32.to_ne_bytes();

/// The ring, the figures of all programs, and the switch that says which of its two maps of groups a program writes to.
#[derive(Debug)]
pub struct Shared {
    cpus: Cpus,
    ring: OwnedFd,
    figures: Map,
    switch: Map,
    /// A map of maps, written to for what the kernel does afterwards: see [`Shared::settle`].
    barrier: Map,
    /// What the switch says.
    written: Mutex<usize>,
}

impl Shared {
    /// Makes the maps, with a ring of so many bytes: a power of two, and a page at least. The ring is for its one reader.
    pub fn new(ring_bytes: u32) -> Result<(Self, Ring), BpfError> {
        let cpus = Cpus::possible()?;
        let (reader, ring) = Ring::create(ring_bytes)?;
        let figures = Shape {
            name: "netsonde_figure",
            kind: Kind::PerCpuArray,
            key_bytes: 4,
            value_bytes: FIGURES * 8,
            entries: MAX_PROGRAMS,
        };
        let switch = Shape { name: "netsonde_switch", kind: Kind::Array, key_bytes: 4, value_bytes: 8, entries: 1 };
        let switch = Map::new(switch, cpus)?;
        let barrier = Map::of_maps("netsonde_settle", &switch, cpus)?;
        let shared = Self { cpus, ring, figures: Map::new(figures, cpus)?, switch, barrier, written: Mutex::new(0) };
        Ok((shared, reader))
    }

    /// Lets all programs write to the other of their maps of groups, and waits until none of them uses the first any more. Gives the
    /// index of that one: it can be emptied until the next flip, and has to be, or its groups wait for the flip after that.
    ///
    /// Waits for some milliseconds, on a busy machine for longer.
    pub fn flip(&self) -> Result<usize, BpfError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = *written;
        self.switch.write(&FIRST, &(1 - quiet as u64).to_ne_bytes())?;
        *written = 1 - quiet;
        self.settle()?;
        Ok(quiet)
    }

    /// Waits until every program that runs now has ended.
    ///
    /// The kernel does so (`synchronize_rcu`) after a write to a map of maps, for just this purpose (`maybe_wait_bpf_programs` in
    /// kernel/bpf/syscall.c, since 4.20). membarrier(2) does the same, but not where CPUs run without ticks (nohz_full), nor with one CPU.
    pub fn settle(&self) -> Result<(), BpfError> {
        self.barrier.write(&FIRST, &self.switch.as_fd().as_raw_fd().to_ne_bytes())
    }

    /// The figures of the program loaded as `id`, summed over CPUs. Programs go on counting meanwhile.
    pub fn figures(&self, id: u32) -> Result<[u64; FIGURES], BpfError> {
        let mut values = vec![0; self.figures.value_bytes()];
        self.figures.read(&id.to_ne_bytes(), &mut values)?;
        let mut sums = [0_u64; FIGURES];
        let (words, _) = values.as_chunks::<8>();
        for (place, word) in words.iter().enumerate() {
            let sum = &mut sums[place % FIGURES];
            *sum = sum.saturating_add(u64::from_ne_bytes(*word));
        }
        Ok(sums)
    }

    /// Sets the figures of `id` to zero, for the next program of this number. What a program that is attached counts meanwhile is lost.
    pub fn clear_figures(&self, id: u32) -> Result<(), BpfError> {
        self.figures.write(&id.to_ne_bytes(), &vec![0; self.figures.value_bytes()])
    }

    pub(super) fn cpus(&self) -> Cpus {
        self.cpus
    }

    pub(super) fn ring_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    pub(super) fn figures_fd(&self) -> BorrowedFd<'_> {
        self.figures.as_fd()
    }

    pub(super) fn switch_fd(&self) -> BorrowedFd<'_> {
        self.switch.as_fd()
    }
}
