//! What can go wrong with another machine, in the two kinds that matter to whoever has sent something.

use super::SinkError;
use std::{error::Error, time::Duration};

/// Longer than this nobody waits, whatever the other side asks for.
const LONGEST: Duration = Duration::from_secs(600);

/// Why the other side has not taken what it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It may take the same later; `after`: not before so long.
    #[error("{why}")]
    Later { why: String, after: Option<Duration> },
    /// It does not want this, now or ever.
    #[error("{why}")]
    Never { why: String },
}

impl Fault {
    pub fn later(why: impl Into<String>) -> Self {
        Self::Later { why: why.into(), after: None }
    }

    pub fn never(why: impl Into<String>) -> Self {
        Self::Never { why: why.into() }
    }

    /// `after` as the other side says it.
    pub fn later_after(why: impl Into<String>, after: Option<Duration>) -> Self {
        Self::Later { why: why.into(), after: after.map(|after| after.min(LONGEST)) }
    }

    /// The same of events that were sent to `place`.
    pub fn at(self, place: &str) -> SinkError {
        let place = place.to_owned();
        match self {
            Self::Later { why, after } => SinkError::Unavailable { place, why, after },
            Self::Never { why } => SinkError::Refused { place, why },
        }
    }
}

/// The error that the others tell of.
pub fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What another machine says, for a log: its first line, nothing that steers a terminal, and not without end.
pub fn quoted(text: &[u8]) -> String {
    const LONGEST: usize = 300;
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * LONGEST)]);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut shown: String = line.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if line.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_is_quoted_and_it_steers_nothing() {
        for (text, want) in [
            ("", String::new()),
            ("\n\n  entry too far behind \nmore", "entry too far behind".into()),
            ("a\u{1b}[2Jb", "a\u{fffd}[2Jb".into()),
            (&"x".repeat(5000), format!("{}…", "x".repeat(300))),
        ] {
            assert_eq!(quoted(text.as_bytes()), want);
        }
        assert_eq!(quoted(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn nobody_waits_for_days() {
        let fault = Fault::later_after("x", Some(Duration::from_secs(1 << 40)));
        assert_eq!(fault, Fault::Later { why: "x".into(), after: Some(Duration::from_secs(600)) });
    }
}
