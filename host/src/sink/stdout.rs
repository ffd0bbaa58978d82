//! Standard output, as it was when the agent started.

use super::{Sink, SinkError, format};
use netsonde_core::{config::Form, event::Event};
use rustix::event::{PollFd, PollFlags, poll};
use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
};

/// Writes past the buffer of the standard library: what a write has not told to be written is given again.
pub struct Stdout {
    name: String,
    form: Form,
    out: Option<fs::File>,
    /// The last write may have ended within a line.
    torn: bool,
    text: Vec<u8>,
}

impl Stdout {
    pub fn new(name: &str, form: Form) -> Self {
        Self { name: name.to_owned(), form, out: None, torn: false, text: Vec::new() }
    }

    /// The same on another descriptor.
    pub fn to(name: &str, out: fs::File, form: Form) -> Self {
        Self { out: Some(out), ..Self::new(name, form) }
    }
}

fn opened(out: &mut Option<fs::File>) -> Result<&mut fs::File, SinkError> {
    Ok(match out {
        Some(out) => out,
        none => none.insert(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?.into()),
    })
}

impl Sink for Stdout {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&mut self) -> Result<(), SinkError> {
        opened(&mut self.out).map(|_| ())
    }

    fn deliver(&mut self, events: &[Event]) -> Result<(), SinkError> {
        let out = opened(&mut self.out)?;
        format(self.form, events, &mut self.text);
        if self.torn {
            self.text.insert(0, b'\n');
        }
        let written = write(out, &self.text);
        self.torn = written.is_err();
        written.map_err(failed)
    }
}

/// Waits for whoever reads, also where another process has said that nobody waits on this descriptor.
fn write(out: &mut fs::File, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match out.write(text) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => text = &text[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(out, PollFlags::OUT)], None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn failed(source: io::Error) -> SinkError {
    let place = "standard output".to_owned();
    match source.kind() {
        // Nobody can ever read it.
        ErrorKind::BrokenPipe => SinkError::Refused { place, why: "nobody reads it any more".to_owned() },
        _ => SinkError::Write { place, source },
    }
}
