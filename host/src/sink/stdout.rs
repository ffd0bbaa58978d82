//! Standard output, as it was when the agent started.

use super::{Sink, SinkError, format};
use netsonde_core::{config::Form, event::Event};
use std::{
    fs,
    io::{self, Write},
    os::fd::AsFd,
};

/// Writes past the buffer of the standard library: what a write has not told to be written is lost, and counted.
pub struct Stdout {
    form: Form,
    out: Option<fs::File>,
    /// The last write may have ended within a line.
    torn: bool,
    text: Vec<u8>,
}

impl Stdout {
    pub fn new(form: Form) -> Self {
        Self { form, out: None, torn: false, text: Vec::new() }
    }

    /// The same on another descriptor.
    pub fn to(out: fs::File, form: Form) -> Self {
        Self { out: Some(out), ..Self::new(form) }
    }
}

fn opened(out: &mut Option<fs::File>) -> Result<&mut fs::File, SinkError> {
    Ok(match out {
        Some(out) => out,
        none => none.insert(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?.into()),
    })
}

impl Sink for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
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
        let written = out.write_all(&self.text);
        self.torn = written.is_err();
        written.map_err(failed)
    }
}

fn failed(source: io::Error) -> SinkError {
    SinkError::Write { place: "standard output".into(), source }
}
