//! A program that the kernel runs for each of its objects, whenever somebody asks: a BPF iterator, with the maps of its own.

use super::{
    cpus::Cpus,
    error::{BpfError, Denied, LoadError},
    groups::Groups,
    map::{Kind, Map, Shape},
    program::{load, patched},
    sys,
};
use netsonde_core::bpf::program::{self, FIGURES, Patch, Program, Writes, figure};
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    io::Errno,
};
use std::time::Instant;

/// The kernel hands out no more at once (`bpf_seq_read` in kernel/bpf/bpf_iter.c: eight pages).
const READ_BYTES: usize = 64 << 10;

/// Its number among programs that share figures: it has its own.
const ID: u32 = 0;

/// Why a pass gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    #[error(transparent)]
    Bpf(#[from] BpfError),
    #[error("begin a pass: {0}")]
    Begin(Errno),
    #[error("read what a pass gives: {0}")]
    Read(Errno),
    #[error("it did not end before the collection's deadline")]
    Late,
    #[error("it gave {bytes} bytes, which are no rows of {row} bytes; please report this")]
    Cut { bytes: usize, row: usize },
    #[error(
        "there are more groups, or more shared sockets, than a pass has room for ({0} were left out): ask for fewer by WHERE or GROUP BY"
    )]
    Full(u64),
    #[error("{0} rows could not be added to their group; please report this")]
    Groups(u64),
}

/// A loaded program for passes. Dropped, it is gone.
#[derive(Debug)]
pub struct Passing {
    link: OwnedFd,
    writes: Writes,
    groups: Option<Groups>,
    seen: Option<Groups>,
    figures: Map,
}

impl Passing {
    /// Loads a program. It does not run before a pass.
    ///
    /// # Errors
    /// [`LoadError`], mostly for want of CAP_BPF and CAP_PERFMON.
    pub fn load(program: &Program) -> Result<Self, LoadError> {
        let table = || program.table.clone();
        let map_error = |source| LoadError::Map { table: table(), source };
        let cpus = Cpus::possible().map_err(map_error)?;
        let uses_seen = program.patches.iter().any(|(_, patch)| *patch == Patch::Map(program::Map::Seen));
        let groups = match program.writes {
            Writes::Records { .. } => None,
            Writes::Groups { key_bytes, value_bytes } => {
                Some(Groups::of_pass("netsonde_groups", key_bytes, value_bytes, cpus).map_err(map_error)?)
            }
        };
        let seen = uses_seen.then(|| Groups::of_pass("netsonde_seen", 8, 8, cpus)).transpose().map_err(map_error)?;
        let figures =
            Shape { name: "netsonde_passes", kind: Kind::Array, key_bytes: 4, value_bytes: FIGURES * 8, entries: 1 };
        let figures = Map::new(figures, cpus).map_err(map_error)?;
        let descriptor = |map: program::Map| -> Option<BorrowedFd<'_>> {
            match map {
                program::Map::Figures => Some(figures.as_fd()),
                program::Map::Groups(0) => groups.as_ref().map(AsFd::as_fd),
                program::Map::Seen => seen.as_ref().map(AsFd::as_fd),
                _ => None,
            }
        };
        let code = patched(program, |patch| match patch {
            Patch::Id => Some(ID),
            Patch::Map(map) => descriptor(map).map(|fd| fd.as_raw_fd() as u32),
        });
        let code = code.map_err(|what| LoadError::Malformed { table: table(), what })?;
        let loaded = load(program, sys::Attach::Iterator, &code)?;
        let link = sys::link_iterator(loaded.as_fd()).map_err(|error| match error {
            Errno::PERM => LoadError::NotPermitted { table: table(), denied: Denied::now() },
            error => LoadError::Attach { table: table(), error },
        })?;
        Ok(Self { link, writes: program.writes, groups, seen, figures })
    }

    /// Makes one pass: gives `row` each record, or `group` each group's key and value. One pass at a time. Says how many values did not fit
    /// into 64 bits, and are NULL (rule 21).
    ///
    /// # Errors
    /// [`PassError`]; then what was given is not all.
    pub fn pass(
        &self,
        deadline: Instant,
        row: &mut dyn FnMut(&[u8]),
        group: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, PassError> {
        let before = self.figures()?;
        let read = self.read(deadline, row);
        // Also after an error: what is left over would be of the next pass.
        if let Some(groups) = &self.groups {
            groups.take(|key, value| group(key, value))?;
        }
        if let Some(seen) = &self.seen {
            seen.take(|_, _| {})?;
        }
        read?;
        let after = self.figures()?;
        let lost = |index: usize| after[index].wrapping_sub(before[index]);
        match (lost(figure::MAP_FULL), lost(figure::MAP_ERROR)) {
            (0, 0) => Ok(lost(figure::OVERFLOW)),
            (0, lost) => Err(PassError::Groups(lost)),
            (lost, _) => Err(PassError::Full(lost)),
        }
    }

    fn read(&self, deadline: Instant, row: &mut dyn FnMut(&[u8])) -> Result<(), PassError> {
        let pass = sys::begin_pass(self.link.as_fd()).map_err(PassError::Begin)?;
        let bytes = match self.writes {
            Writes::Records { bytes } => bytes.max(1),
            Writes::Groups { .. } => 1,
        };
        let mut buffer = vec![0; READ_BYTES];
        // A record may be cut between two reads.
        let mut kept = 0;
        while Instant::now() < deadline {
            match rustix::io::read(&pass, &mut buffer[kept..]) {
                Ok(0) if kept > 0 => return Err(PassError::Cut { bytes: kept, row: bytes }),
                Ok(0) => return Ok(()),
                Ok(length) => {
                    let have = kept + length;
                    let whole = have - have % bytes;
                    buffer[..whole].chunks_exact(bytes).for_each(&mut *row);
                    buffer.copy_within(whole..have, 0);
                    kept = have - whole;
                }
                // The kernel rests after a million objects without a row.
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(PassError::Read(error)),
            }
        }
        Err(PassError::Late)
    }

    /// What the program has counted since it was loaded, as `program::figure` numbers it.
    ///
    /// # Errors
    /// If the kernel does not give them.
    pub fn figures(&self) -> Result<[u64; FIGURES], BpfError> {
        let mut bytes = [0; 8 * FIGURES];
        self.figures.read(&ID.to_ne_bytes(), &mut bytes)?;
        let mut figures = [0; FIGURES];
        let (words, _) = bytes.as_chunks::<8>();
        figures.iter_mut().zip(words).for_each(|(figure, word)| *figure = u64::from_ne_bytes(*word));
        Ok(figures)
    }
}
