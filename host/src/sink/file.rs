//! A file, to whose end events are written.

mod rotate;

use super::{Sink, SinkError, format};
use netsonde_core::{
    config::{FileSink, Form, Rotate},
    event::Event,
};
use std::{
    fs::{self, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::PathBuf,
    time::SystemTime,
};

/// Owner and group may read it: events name pods and addresses.
const MODE: u32 = 0o640;

/// The file is opened again after a failure, and when another one has its name, or none: whoever rotates it need not tell.
pub struct File {
    name: String,
    target: Target,
    rotate: Rotate,
    form: Form,
    text: Vec<u8>,
    clock: fn() -> SystemTime,
}

struct Target {
    path: PathBuf,
    open: Option<Open>,
}

struct Open {
    file: fs::File,
    /// Device and inode.
    identity: (u64, u64),
    /// Its last line has no end: somebody's write before failed in its midst.
    torn: bool,
    /// When it was made.
    born: SystemTime,
}

impl File {
    pub fn new(name: &str, config: &FileSink) -> Self {
        Self {
            name: name.to_owned(),
            target: Target { path: config.path.clone(), open: None },
            rotate: config.rotate.clone(),
            form: config.form,
            text: Vec::new(),
            clock: SystemTime::now,
        }
    }

    /// The same by another clock.
    #[cfg(test)]
    pub fn by(self, clock: fn() -> SystemTime) -> Self {
        Self { clock, ..self }
    }
}

impl Target {
    /// The file that has the name now, and how long it is if it is one that can be cut.
    fn file(&mut self, now: SystemTime) -> Result<(&mut Open, Option<u64>), SinkError> {
        let named = fs::metadata(&self.path).ok();
        let same = |open: &Open| named.as_ref().is_some_and(|about| identity(about) == open.identity);
        if let Some(open) = self.open.take().filter(same) {
            let len = named.filter(Metadata::is_file).map(|about| about.len());
            return Ok((self.open.insert(open), len));
        }
        let (open, len) = self.append(now).map_err(|source| SinkError::Open { path: self.path.clone(), source })?;
        Ok((self.open.insert(open), len))
    }

    fn append(&self, now: SystemTime) -> io::Result<(Open, Option<u64>)> {
        // To be read, too: its last byte tells whether it ends with a line.
        let file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(&self.path)?;
        let about = file.metadata()?;
        let mut last = *b"\n";
        if about.is_file() && about.len() > 0 {
            file.read_exact_at(&mut last, about.len() - 1)?;
        }
        let born = about.created().unwrap_or(now);
        let open = Open { file, identity: identity(&about), torn: last != *b"\n", born };
        Ok((open, about.is_file().then_some(about.len())))
    }
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

impl Sink for File {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        self.target.path.display().to_string()
    }

    fn open(&mut self) -> Result<(), SinkError> {
        self.target.file((self.clock)()).map(|_| ())
    }

    fn deliver(&mut self, events: &[Event]) -> Result<(), SinkError> {
        let now = (self.clock)();
        format(self.form, events, &mut self.text);
        let (mut open, mut len) = self.target.file(now)?;
        if let Some(long) = len
            && rotate::is_due(
                &self.rotate,
                long,
                self.text.len() as u64,
                now.duration_since(open.born).unwrap_or_default(),
            )
        {
            self.target.open = None;
            rotate::rotate(&self.target.path, self.rotate.keep)
                .map_err(|source| SinkError::Rotate { path: self.target.path.clone(), source })?;
            (open, len) = self.target.file(now)?;
        }
        if open.torn {
            self.text.insert(0, b'\n');
        }
        let written = open.file.write_all(&self.text);
        if written.is_ok() {
            open.torn = false;
        } else if let (Some(before), Ok(about)) = (len, open.file.metadata())
            && about.len() > before
        {
            // Without the half of it that is there, which is written again. If it stays, its line is ended first.
            let _ = open.file.set_len(before);
        }
        written.map_err(|source| {
            self.target.open = None;
            SinkError::Write { place: self.target.path.display().to_string(), source }
        })
    }

    fn reopen(&mut self) {
        self.target.open = None;
    }
}
