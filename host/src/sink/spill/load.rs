//! What an earlier run has left on the disk.

use super::{MODE, Segment, Settings, Spill, SpillError};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::geteuid,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, DirBuilder, DirEntry, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

const FOLDER_MODE: u32 = 0o700;

/// What was in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Events that are not delivered, by probe.
    pub events: BTreeMap<Arc<str>, u64>,
    /// Bytes of lines without an end, which are cut off.
    pub torn: u64,
}

impl Spill {
    /// Opens the folder of the sink of this name, or makes it, and looks what is in it.
    ///
    /// # Errors
    /// If it is another's, in use, or cannot be written.
    pub fn open(settings: &Settings, sink: &str) -> Result<(Self, Found), SpillError> {
        let folder = settings.folder.join(sink);
        make(&folder)?;
        let lock = lock(&folder)?;
        let _ = fs::remove_file(folder.join("new"));
        let (segments, found) = segments(&folder)?;
        let bytes = segments.iter().map(|segment| segment.len).sum();
        let size = settings.size;
        let spill = Self { folder, size, segments, bytes, tail: None, is_dirty: false, _lock: lock };
        // Of a segment that is no more, it would be in the way of one that gets its number.
        spill.note_position()?;
        Ok((spill, found))
    }
}

fn make(folder: &Path) -> Result<(), SpillError> {
    let failed = |source| SpillError::Folder { path: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed)?;
    let about = fs::symlink_metadata(folder).map_err(failed)?;
    if about.uid() != geteuid().as_raw() || !about.is_dir() {
        return Err(SpillError::Foreign { path: folder.to_owned() });
    }
    if about.mode() & 0o777 != FOLDER_MODE {
        fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE)).map_err(failed)?;
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File, SpillError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(&path);
    let file = file.map_err(|source| SpillError::File { what: "make", path: path.clone(), source })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(SpillError::Shared { path: folder.to_owned() }),
        Err(error) => Err(SpillError::File { what: "lock", path, source: error.into() }),
    }
}

/// Folders of sinks that are not among these, with events in them.
pub fn left_behind(folder: &Path, sinks: &[&str]) -> Vec<String> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let name = |entry: &DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut left: Vec<String> = entries(folder)
        .filter(|entry| !sinks.contains(&name(entry).as_str()))
        .filter(|entry| entries(&entry.path()).any(|inner| number(&name(&inner)).is_some()))
        .map(|entry| name(&entry))
        .collect();
    left.sort_unstable();
    left
}

/// All segments in their order, without those that have nothing left.
fn segments(folder: &Path) -> Result<(VecDeque<Segment>, Found), SpillError> {
    let listed = fs::read_dir(folder).and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<Vec<String>>>()
    });
    let names = listed.map_err(|source| SpillError::File { what: "list", path: folder.to_owned(), source })?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    let position = fs::read_to_string(folder.join("position")).ok().and_then(|text| position(&text));
    let mut found = Found::default();
    let mut segments = VecDeque::new();
    for number in numbers {
        let done = position.filter(|(of, _)| *of == number).map_or(0, |(_, done)| done);
        let path = folder.join(super::segment(number));
        let failed = |source| SpillError::File { what: "read", path: path.clone(), source };
        let text = fs::read(&path).map_err(failed)?;
        let len = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        found.torn += (text.len() - len) as u64;
        if len < text.len() {
            OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(len as u64)).map_err(failed)?;
        }
        // A position behind the end is none: rather twice than never.
        let done = if done <= len as u64 { done } else { 0 };
        if done == len as u64 {
            fs::remove_file(&path).map_err(failed)?;
            continue;
        }
        count(&text[done as usize..len], &mut found.events);
        segments.push_back(Segment { number, len: len as u64, done });
    }
    Ok((segments, found))
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

fn position(text: &str) -> Option<(u64, u64)> {
    let (number, done) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((u64::from_str_radix(number, 16).ok()?, done.parse().ok()?))
}

fn count(text: &[u8], events: &mut BTreeMap<Arc<str>, u64>) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let probe = probe(line);
        match events.get_mut(probe) {
            Some(count) => *count += 1,
            None => drop(events.insert(probe.into(), 1)),
        }
    }
}

/// The probe of an event's line, without reading all of it; empty if it has none. Within a text of the line a quote is escaped.
pub fn probe(line: &[u8]) -> &str {
    const BEFORE: &[u8] = br#","probe":""#;
    let begin = line.windows(BEFORE.len()).position(|window| window == BEFORE).map(|at| at + BEFORE.len());
    let rest = begin.map_or(&[][..], |begin| &line[begin..]);
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(0);
    str::from_utf8(&rest[..end]).unwrap_or_default()
}
