//! Who was turned away, by reason. Counted without a lock: those who are turned away may be many.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing says who else may see the page.
    Unconfigured,
    NoCredentials,
    NoCertificate,
    WrongToken,
    WrongPassword,
    /// By a name that is not this machine's own: what a page of another site makes a browser ask.
    ForeignHost,
    /// Too many passwords are being checked.
    Busy,
}

impl Refusal {
    pub const ALL: [Refusal; 7] = [
        Refusal::Unconfigured,
        Refusal::NoCredentials,
        Refusal::NoCertificate,
        Refusal::WrongToken,
        Refusal::WrongPassword,
        Refusal::ForeignHost,
        Refusal::Busy,
    ];

    /// As a label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Unconfigured => "unconfigured",
            Refusal::NoCredentials => "no_credentials",
            Refusal::NoCertificate => "no_certificate",
            Refusal::WrongToken => "wrong_token",
            Refusal::WrongPassword => "wrong_password",
            Refusal::ForeignHost => "foreign_host",
            Refusal::Busy => "busy",
        }
    }
}

/// Why a connection ended before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHandshake {
    /// Too many others had not ended theirs.
    TooMany,
    Timeout,
    /// The client went without a word, as those do who only look whether a port is open.
    Closed,
    /// HTTP without TLS.
    Plain,
    /// What TLS itself finds wrong: versions, ciphers, certificates.
    Tls,
}

impl NoHandshake {
    pub const ALL: [NoHandshake; 5] =
        [NoHandshake::TooMany, NoHandshake::Timeout, NoHandshake::Closed, NoHandshake::Plain, NoHandshake::Tls];

    /// As a label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            NoHandshake::TooMany => "too_many",
            NoHandshake::Timeout => "timeout",
            NoHandshake::Closed => "closed",
            NoHandshake::Plain => "plain_http",
            NoHandshake::Tls => "tls",
        }
    }
}

/// All counts, from the agent's start.
#[derive(Debug, Default)]
pub struct Counts {
    refusals: [AtomicU64; Refusal::ALL.len()],
    handshakes: [AtomicU64; NoHandshake::ALL.len()],
}

impl Counts {
    pub fn refused(&self, why: Refusal) {
        self.refusals[why as usize].fetch_add(1, Relaxed);
    }

    pub fn no_handshake(&self, why: NoHandshake) {
        self.handshakes[why as usize].fetch_add(1, Relaxed);
    }

    /// Requests by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.iter().map(|why| (why.as_str(), self.refusals[*why as usize].load(Relaxed)))
    }

    /// Connections by reason.
    pub fn handshakes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NoHandshake::ALL.iter().map(|why| (why.as_str(), self.handshakes[*why as usize].load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count() {
        let counts = Counts::default();
        Refusal::ALL.iter().for_each(|why| counts.refused(*why));
        NoHandshake::ALL.iter().for_each(|why| counts.no_handshake(*why));
        assert!(counts.refusals().chain(counts.handshakes()).all(|(_, count)| count == 1));
    }
}
