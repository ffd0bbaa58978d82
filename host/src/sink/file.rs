//! A file, to whose end events are written.

use super::{Sink, SinkError, format};
use netsonde_core::{config::Form, event::Event};
use std::{
    fs::{self, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::PathBuf,
};

/// Owner and group may read it: events name pods and addresses.
const MODE: u32 = 0o640;

/// The file is opened again after a failure, and when another one has its name, or none: whoever rotates it need not tell.
pub struct File {
    target: Target,
    form: Form,
    text: Vec<u8>,
}

struct Target {
    path: PathBuf,
    open: Option<Open>,
}

struct Open {
    file: fs::File,
    /// Device and inode.
    identity: (u64, u64),
    /// Its last line has no end: a write before failed in its midst.
    torn: bool,
}

impl File {
    pub fn new(path: PathBuf, form: Form) -> Self {
        Self { target: Target { path, open: None }, form, text: Vec::new() }
    }
}

impl Target {
    /// The file that has the name now.
    fn file(&mut self) -> Result<&mut Open, SinkError> {
        let named = fs::metadata(&self.path).ok().map(|about| identity(&about));
        let open = match self.open.take().filter(|open| named == Some(open.identity)) {
            Some(open) => open,
            None => self.append().map_err(|source| SinkError::Open { path: self.path.clone(), source })?,
        };
        Ok(self.open.insert(open))
    }

    fn append(&self) -> io::Result<Open> {
        // To be read, too: its last byte tells whether it ends with a line.
        let file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(&self.path)?;
        let about = file.metadata()?;
        let mut last = *b"\n";
        if about.is_file() && about.len() > 0 {
            file.read_exact_at(&mut last, about.len() - 1)?;
        }
        Ok(Open { file, identity: identity(&about), torn: last != *b"\n" })
    }
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

impl Sink for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn open(&mut self) -> Result<(), SinkError> {
        self.target.file().map(|_| ())
    }

    fn deliver(&mut self, events: &[Event]) -> Result<(), SinkError> {
        let open = self.target.file()?;
        format(self.form, events, &mut self.text);
        if std::mem::take(&mut open.torn) {
            self.text.insert(0, b'\n');
        }
        let written = open.file.write_all(&self.text);
        written.map_err(|source| {
            self.target.open = None;
            SinkError::Write { place: self.target.path.display().to_string(), source }
        })
    }
}
