//! Events on disk that wait for a sink: files of JSON lines, the oldest first, and a small one that tells how far they are delivered.
//!
//! In the sink's folder are segments `0000000100000000.jsonl`, `position` (the number of a segment, and the bytes of it that are done with) and
//! `lock`. A segment that is done with is removed before the position moves behind it: one whose number is below the position's was put
//! in front, and is yet to be delivered.

mod load;

use super::Batch;
use netsonde_core::event::{
    Event,
    json::{self, Json},
};
use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use load::{Found, left_behind};

/// A segment ends with the first write that makes it so long.
const SEGMENT: u64 = 4 << 20;

/// What is read at once, unless one line alone is longer.
const CHUNK: u64 = 1 << 20;

/// The first segment's number: there is room in front.
const FIRST: u64 = 1 << 32;

const MODE: u32 = 0o600;

/// What the configuration says of one sink's spill.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of all sinks.
    pub folder: PathBuf,
    /// Bytes.
    pub size: u64,
    pub max_age: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    #[error("cannot make the folder {}: {source}; `spill.folder` names another", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("the folder {} belongs to another user; remove it, or name another as `spill.folder`", path.display())]
    Foreign { path: PathBuf },
    #[error("another agent uses {}; give each its own `spill.folder`", path.display())]
    Shared { path: PathBuf },
    #[error("cannot {what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
}

/// One sink's events on disk. Whoever has it is the only one.
pub struct Spill {
    folder: PathBuf,
    size: u64,
    segments: VecDeque<Segment>,
    /// On disk, with what is done with of the first segment.
    bytes: u64,
    /// The last segment, while it may grow.
    tail: Option<File>,
    is_dirty: bool,
    /// Held as long as it is open.
    _lock: File,
}

struct Segment {
    number: u64,
    len: u64,
    /// Bytes that are done with.
    done: u64,
}

/// Events of the first segment.
#[derive(Debug, Default)]
pub struct Read {
    pub events: Vec<Event>,
    /// Where each ends in the segment.
    pub ends: Vec<u64>,
    /// The probes of lines among them that are no events.
    pub unreadable: Vec<Arc<str>>,
    /// Where the last line ends.
    pub end: u64,
}

/// Lines as they are stored, and where each ends.
#[derive(Debug, Default)]
pub struct Lines {
    pub text: Vec<u8>,
    pub ends: Vec<usize>,
}

impl Lines {
    /// Writes events over what was there.
    pub fn write(&mut self, events: &[Event]) {
        self.text.clear();
        self.text.shrink_to(SEGMENT as usize);
        self.ends.clear();
        for event in events {
            json::write(event, &mut self.text);
            self.ends.push(self.text.len());
        }
    }
}

impl Spill {
    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stores behind all others as many lines as there is room for, and gives how many that are.
    ///
    /// # Errors
    /// If the disk takes none; then none is there.
    pub fn append(&mut self, lines: &Lines) -> Result<usize, SpillError> {
        let (count, len) = self.room_for(lines);
        if count == 0 {
            return Ok(0);
        }
        if self.tail.is_none() {
            let number = self.segments.back().map_or(FIRST, |last| last.number + 1);
            self.tail = Some(self.create(&segment(number))?);
            self.segments.push_back(Segment { number, len: 0, done: 0 });
        }
        let (Some(tail), Some(last)) = (&self.tail, self.segments.back_mut()) else { return Ok(0) };
        if let Err(source) = tail.write_all_at(&lines.text[..len], last.len) {
            let path = self.folder.join(segment(last.number));
            let is_cut = tail.set_len(last.len).is_ok();
            if last.len == 0 {
                let _ = fs::remove_file(&path);
                self.segments.pop_back();
                self.tail = None;
            } else if !is_cut {
                self.tail = None;
            }
            return Err(SpillError::File { what: "write to", path, source });
        }
        last.len += len as u64;
        self.bytes += len as u64;
        self.is_dirty = true;
        if last.len >= SEGMENT.min(self.size / 4) {
            self.sync()?;
            self.tail = None;
        }
        Ok(count)
    }

    /// Stores all lines before all others, of which none has been read; gives where each ends, or None if there is no room for them.
    ///
    /// # Errors
    /// If the disk does not take them; then none is there.
    pub fn put_in_front(&mut self, lines: &Lines) -> Result<Option<Vec<u64>>, SpillError> {
        let (count, len) = self.room_for(lines);
        if count < lines.ends.len() || len == 0 {
            return Ok(None);
        }
        let number = self.segments.front().map_or(FIRST, |first| first.number - 1);
        let name = segment(number);
        let file = self.create("new")?;
        let stored = file.write_all_at(&lines.text, 0).and_then(|()| file.sync_data());
        stored.and_then(|()| fs::rename(self.folder.join("new"), self.folder.join(&name))).map_err(|source| {
            let _ = fs::remove_file(self.folder.join("new"));
            SpillError::File { what: "write to", path: self.folder.join(&name), source }
        })?;
        self.segments.push_front(Segment { number, len: len as u64, done: 0 });
        self.bytes += len as u64;
        Ok(Some(lines.ends.iter().map(|end| *end as u64).collect()))
    }

    /// How many of the lines there is room for, and how long those are.
    fn room_for(&self, lines: &Lines) -> (usize, usize) {
        let room = self.size.saturating_sub(self.bytes);
        let count = lines.ends.partition_point(|end| *end as u64 <= room);
        (count, count.checked_sub(1).map_or(0, |last| lines.ends[last]))
    }

    /// The oldest events that are not done with, as one batch; None if there are none.
    ///
    /// # Errors
    /// If the disk does not give them.
    pub fn read(&self, batch: Batch) -> Result<Option<Read>, SpillError> {
        let Some(first) = self.segments.front() else { return Ok(None) };
        let path = self.folder.join(segment(first.number));
        let failed = |source| SpillError::File { what: "read", path: path.clone(), source };
        let file = File::open(&path).map_err(failed)?;
        let left = first.len - first.done;
        let mut text = vec![0; left.min(CHUNK) as usize];
        file.read_exact_at(&mut text, first.done).map_err(failed)?;
        if !text.contains(&b'\n') {
            text.resize(left as usize, 0);
            file.read_exact_at(&mut text, first.done).map_err(failed)?;
        }
        Ok(Some(parse(&text, first.done, batch)))
    }

    /// The first segment is done with up to this; gives whether disk space became free.
    ///
    /// # Errors
    /// If the disk does not note it: then a later run delivers some of them again.
    pub fn advance(&mut self, to: u64) -> Result<bool, SpillError> {
        let Some(first) = self.segments.front_mut() else { return Ok(false) };
        first.done = to;
        let is_done = first.done >= first.len;
        if is_done {
            let (number, len) = (first.number, first.len);
            self.segments.pop_front();
            self.bytes -= len;
            if self.segments.is_empty() {
                self.tail = None;
            }
            let path = self.folder.join(segment(number));
            fs::remove_file(&path).map_err(|source| SpillError::File { what: "remove", path, source })?;
        }
        self.note_position()?;
        Ok(is_done)
    }

    fn note_position(&self) -> Result<(), SpillError> {
        let (path, new) = (self.folder.join("position"), self.folder.join("new"));
        let Some(first) = self.segments.front().filter(|first| first.done > 0) else {
            let removed = fs::remove_file(&path);
            let is_gone = removed.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::NotFound);
            return if is_gone {
                Ok(())
            } else {
                removed.map_err(|source| SpillError::File { what: "remove", path, source })
            };
        };
        let text = format!("{:016x} {}\n", first.number, first.done);
        let file = self.create("new")?;
        file.write_all_at(text.as_bytes(), 0).and_then(|()| fs::rename(new, &path)).map_err(|source| {
            // An old one may be of a segment that is no more, and whose number may come again.
            let _ = fs::remove_file(&path);
            SpillError::File { what: "write", path, source }
        })
    }

    /// An empty file in the folder.
    fn create(&self, name: &str) -> Result<File, SpillError> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(MODE).open(&path);
        file.map_err(|source| SpillError::File { what: "make", path, source })
    }

    /// Whether the last write may not be on the disk yet.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Returns when all that was stored is on the disk.
    ///
    /// # Errors
    /// If the disk says that it is not.
    pub fn sync(&mut self) -> Result<(), SpillError> {
        self.is_dirty = false;
        sync(self.tail.as_ref(), &self.folder)
    }

    /// The same for whoever does not want to hold others up meanwhile.
    pub fn sync_later(&mut self) -> io::Result<impl FnOnce() -> Result<(), SpillError> + use<>> {
        self.is_dirty = false;
        let (tail, folder) = (self.tail.as_ref().map(File::try_clone).transpose()?, self.folder.clone());
        Ok(move || sync(tail.as_ref(), &folder))
    }
}

/// The file, and that it has its name.
fn sync(tail: Option<&File>, folder: &Path) -> Result<(), SpillError> {
    let synced = tail.map_or(Ok(()), File::sync_data).and_then(|()| File::open(folder)?.sync_all());
    synced.map_err(|source| SpillError::File { what: "sync", path: folder.to_owned(), source })
}

fn segment(number: u64) -> String {
    format!("{number:016x}.jsonl")
}

/// The lines at the beginning of `text`, which begins at `start` of its segment.
fn parse(text: &[u8], start: u64, batch: Batch) -> Read {
    let mut read = Read { end: start, ..Read::default() };
    let mut bytes = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        let event = str::from_utf8(line).ok().and_then(|line| match json::read(line) {
            Ok(Json::Event(event)) => Some(event),
            Ok(Json::Missed(_)) | Err(_) => None,
        });
        let end = read.end + line.len() as u64;
        match event {
            Some(event) => {
                bytes += event.bytes();
                if !read.events.is_empty() && (read.events.len() >= batch.events || bytes > batch.bytes) {
                    return read;
                }
                read.events.push(event);
                read.ends.push(end);
            }
            None => read.unreadable.push(load::probe(line).into()),
        }
        read.end = end;
    }
    read
}

#[cfg(test)]
mod tests;
