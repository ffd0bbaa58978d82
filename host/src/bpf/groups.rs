//! A map of groups that is emptied as a whole: one of a program's two, or a pass's only one.

use super::{
    cpus::Cpus,
    error::BpfError,
    map::{Kind, Map, Shape},
    sys::NOT_SUPPORTED,
};
use rustix::{
    fd::{AsFd, BorrowedFd},
    io::Errno,
};

/// What one map may take of the kernel's memory, values of all CPUs together, unless that were too few groups to be of use.
const BYTES: usize = 4 << 20;
const FEWEST: usize = 1024;
const MOST: usize = 4096;

/// What a pass may come to. Memory is taken as entries come.
const OF_A_PASS: usize = 65_536;

/// What the values that are read at once take. A bucket holds a few entries, and has to fit.
const READ_BYTES: usize = 256 << 10;
const READ_FEWEST: usize = 32;

#[derive(Debug)]
pub(super) struct Groups {
    map: Map,
    entries: usize,
}

/// How many groups a map has room for.
fn entries(value_bytes: usize, cpus: usize) -> usize {
    (BYTES / (cpus * value_bytes).max(1)).clamp(FEWEST, MOST)
}

impl Groups {
    /// An empty map. No key and no value is without bytes.
    pub(super) fn new(name: &'static str, key_bytes: usize, value_bytes: usize, cpus: Cpus) -> Result<Self, BpfError> {
        let entries = entries(value_bytes.next_multiple_of(8), cpus.get());
        // Not allocated as needed (BPF_F_NO_PREALLOC): a tracepoint may be where memory cannot be had.
        let shape = Shape { name, kind: Kind::PerCpuHash, key_bytes, value_bytes, entries: entries as u32 };
        Ok(Self { map: Map::new(shape, cpus)?, entries })
    }

    /// The same for a pass, which has one value for all CPUs.
    pub(super) fn of_pass(
        name: &'static str,
        key_bytes: usize,
        value_bytes: usize,
        cpus: Cpus,
    ) -> Result<Self, BpfError> {
        let shape = Shape { name, kind: Kind::Hash, key_bytes, value_bytes, entries: OF_A_PASS as u32 };
        Ok(Self { map: Map::new(shape, cpus)?, entries: OF_A_PASS })
    }

    /// Moves all groups out of the map: to `each` its key, and its values, one for each CPU, each in a multiple of eight bytes. Nobody may
    /// write to the map meanwhile.
    pub(super) fn take(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), BpfError> {
        let (key, value) = (self.map.key_bytes(), self.map.value_bytes());
        let mut room = (READ_BYTES / value).max(READ_FEWEST).min(self.entries);
        let (mut keys, mut values) = (vec![0; room * key], vec![0; room * value]);
        let mut from = None;
        loop {
            match self.map.raw().take_batch(from, &mut keys, &mut values) {
                Ok(batch) => {
                    let groups = keys.chunks_exact(key).zip(values.chunks_exact(value));
                    groups.take(batch.count).for_each(|(key, value)| each(key, value));
                    from = batch.next;
                    if from.is_none() {
                        return Ok(());
                    }
                }
                Err(Errno::NOSPC) if room < self.entries => {
                    room = (room * 2).min(self.entries);
                    keys.resize(room * key, 0);
                    values.resize(room * value, 0);
                }
                Err(Errno::INVAL | NOT_SUPPORTED) if from.is_none() => return self.take_singly(each),
                Err(error) => return Err(self.map.failed("empty", error)),
            }
        }
    }

    /// The same with three calls a group, for kernels that know no batches.
    fn take_singly(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), BpfError> {
        let (mut key, mut value) = (vec![0; self.map.key_bytes()], vec![0; self.map.value_bytes()]);
        let map = self.map.raw();
        let take_one = |key: &mut [u8], value: &mut [u8]| {
            map.first_key(key)?;
            map.lookup(key, value)?;
            map.delete(key)
        };
        // One call more than there can be groups: to see that there are no more.
        for _ in 0..=self.entries {
            match take_one(&mut key, &mut value) {
                Ok(()) => each(&key, &value),
                Err(Errno::NOENT) => return Ok(()),
                Err(error) => return Err(self.map.failed("empty", error)),
            }
        }
        Ok(())
    }
}

impl AsFd for Groups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_map_takes_four_mebibytes_within_bounds() {
        for (value_bytes, cpus, expected) in [
            (8, 2, 4096),     // more would be of no use
            (512, 4, 2048),   // 4 MiB / 2,048 bytes
            (144, 16, 1820),  // 4 MiB / 2,304 bytes
            (512, 128, 1024), // no fewer, though it is 64 MiB
        ] {
            assert_eq!(entries(value_bytes, cpus), expected, "{value_bytes} bytes on {cpus} CPUs");
        }
    }

    type Found = BTreeMap<u32, u64>;

    /// A map with the keys 0..count, whose values are 3 × key on each CPU.
    fn filled(count: u32, cpus: Cpus) -> Groups {
        // A key that is no multiple of eight bytes, and a value that is rounded up.
        let groups = Groups::new("netsonde_test", 4, 12, cpus)
            .expect("this test makes BPF maps: run it as root, or with CAP_BPF and CAP_PERFMON");
        for key in 0..count {
            let mut one = [0; 16];
            one[..8].copy_from_slice(&(u64::from(key) * 3).to_ne_bytes());
            groups.map.write(&key.to_ne_bytes(), &one.repeat(cpus.get())).unwrap();
        }
        groups
    }

    fn note(found: &mut Found, key: &[u8], value: &[u8], cpus: Cpus) {
        assert_eq!(value.len(), cpus.get() * 16);
        let sum = value.chunks(16).map(|one| u64::from_ne_bytes(one[..8].try_into().unwrap())).sum();
        let before = found.insert(u32::from_ne_bytes(key.try_into().unwrap()), sum);
        assert_eq!(before, None, "a key came twice");
    }

    #[test]
    fn every_group_is_taken_once_in_batches_and_singly() {
        let cpus = Cpus::possible().unwrap();
        for count in [0, 1, 31, 2_000, 4_096] {
            let groups = filled(count, cpus);
            assert!(groups.entries >= count as usize, "this machine has more CPUs than the test can use");
            let expected: Found = (0..count).map(|key| (key, u64::from(key) * 3 * cpus.get() as u64)).collect();

            let mut found = Found::new();
            groups.take(|key, value| note(&mut found, key, value, cpus)).unwrap();
            assert_eq!(found, expected, "in batches");
            groups.take(|_, _| panic!("the map is empty")).unwrap();

            let groups = filled(count, cpus);
            let mut found = Found::new();
            groups.take_singly(|key, value| note(&mut found, key, value, cpus)).unwrap();
            assert_eq!(found, expected, "singly");
            groups.take(|_, _| panic!("the map is empty")).unwrap();
        }
    }
}
