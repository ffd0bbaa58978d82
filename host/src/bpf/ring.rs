//! The reader of the ring that all programs write their records to.

use super::{error::BpfError, map::not_made};
use aya::maps::{self, MapData, MapError, RingBuf};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{AsFd, OwnedFd},
    io::Errno,
    param::page_size,
};
use std::{
    fmt,
    time::{Duration, Instant},
};

const NAME: &str = "netsonde_ring";
/// BPF_MAP_TYPE_RINGBUF
const KIND: u32 = 27;

/// After so many records a drain looks at the clock: it costs as much as one or two records.
const RECORDS_A_LOOK: usize = 16;

/// The reader. There is one for the whole life of the ring.
pub struct Ring(RingBuf<MapData>);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    pub records: usize,
    /// The ring was empty, or its next record still being written. False: one of the limits was reached first.
    pub emptied: bool,
}

impl Ring {
    /// Makes the ring, and a descriptor of it for programs.
    pub(super) fn create(bytes: u32) -> Result<(Self, OwnedFd), BpfError> {
        let page = page_size();
        if !bytes.is_power_of_two() || (bytes as usize) < page {
            return Err(BpfError::RingBytes { bytes, page });
        }
        let not_made =
            |error: &std::io::Error| not_made(NAME, bytes.into(), Errno::from_io_error(error).unwrap_or(Errno::IO));
        let map = aya_obj::Map::new_from_params(KIND, 0, 0, bytes, 0);
        let map = MapData::create(map, NAME, None).map_err(|error| match &error {
            MapError::CreateError { io_error, .. } => not_made(io_error),
            _ => BpfError::RingMemory { bytes, source: error },
        })?;
        let descriptor = map.fd().as_fd().try_clone_to_owned().map_err(|error| not_made(&error))?;
        let ring = RingBuf::try_from(maps::Map::RingBuf(map));
        Ok((Self(ring.map_err(|source| BpfError::RingMemory { bytes, source })?), descriptor))
    }

    /// Waits until there is a record. False: there was none in time, or a signal came.
    ///
    /// Only records that were submitted with a wake-up end the waiting; those that are there before are always seen.
    pub fn wait(&self, timeout: Duration) -> Result<bool, BpfError> {
        // Longer than the kernel can count: without an end.
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(BpfError::RingWait(error)),
        }
    }

    /// Hands over the records that are there, oldest first, at most so many and not much longer than `until`: a tracepoint that the reader
    /// itself passes for each record would never let it end. Each record's room is free again when `each` returns.
    pub fn drain(&mut self, most: usize, until: Instant, mut each: impl FnMut(&[u8])) -> Drained {
        let mut records = 0;
        while records < most {
            if records % RECORDS_A_LOOK == 0 && Instant::now() >= until {
                return Drained { records, emptied: false };
            }
            let Some(record) = self.0.next() else { return Drained { records, emptied: true } };
            each(&record);
            records += 1;
        }
        Drained { records, emptied: false }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Ring").field(&self.0.as_fd()).finish()
    }
}
