//! A receiver of events: Loki's push API, and OTLP logs over HTTP.
//!
//! The real Loki is in no registry at hand, so this is what tests have instead. It decodes what comes with the protocols' own message types,
//! and answers as the real one was seen to answer (see [`loki`]); and it can fail in every way that a receiver can.
//!
//! ```no_run
//! use netsonde_tests::receiver::{Receiver, Say};
//! use std::time::Duration;
//!
//! let receiver = Receiver::start();
//! // ... an agent with `sinks: [{ loki: { url: ... } }]` of `receiver.url()` ...
//! receiver.answer_with(Say::Status(429, "slow down"));
//! receiver.answer_with(Say::Well);
//! receiver.away();
//! receiver.back();
//! receiver.wait_for(1000, Duration::from_secs(30));
//! let ids = receiver.received();
//! ```

pub mod loki;
mod otlp;
mod serve;

use rustls::ServerConfig;
use serve::Serving;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// As the real receiver does: what it takes is kept.
    Well,
    /// This status and text, and nothing is kept. No `Retry-After`, as the real Loki sends none.
    Status(u16, &'static str),
    /// The same with a `Retry-After` of so many seconds.
    After(u16, u64),
    /// Nothing, until it says something else: then the request that waited gets that.
    Nothing,
    /// Something that is no HTTP; the connection ends.
    Garbage,
    /// The request is read, and the connection ends.
    Close,
    /// The request is kept, and the connection ends without an answer: whoever sends it again makes doubles.
    KeepAndClose,
}

/// What was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Labels of its stream; of OTLP the attributes of its resource.
    pub labels: BTreeMap<String, String>,
    pub unix_nanos: u64,
    pub line: String,
    /// Structured metadata; of OTLP the record's attributes.
    pub metadata: BTreeMap<String, String>,
    /// Whose it is: `X-Scope-OrgID`.
    pub tenant: String,
}

impl Entry {
    /// Of the event.
    pub fn id(&self) -> &str {
        let of = |name: &str| self.metadata.get(name).map(String::as_str);
        of("id").or_else(|| of("log.record.uid")).unwrap_or_default()
    }
}

/// It ends with the test.
pub struct Receiver {
    serving: Serving,
    state: Arc<State>,
    scheme: &'static str,
}

#[derive(Default)]
struct State {
    say: Mutex<Option<Say>>,
    changed: Condvar,
    entries: Mutex<Vec<Entry>>,
    requests: AtomicU64,
    /// What `Authorization` must be, else 401.
    authorization: Mutex<Option<String>>,
}

impl State {
    fn say(&self) -> Say {
        self.say.lock().unwrap().unwrap_or(Say::Well)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap()
    }
}

impl Receiver {
    /// On a port of its own of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same with TLS.
    pub fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::<State>::default();
        Self { serving: Serving::start(tls, state.clone()), state, scheme }
    }

    /// For the configuration: `http://127.0.0.1:PORT`, over TLS `https://localhost:PORT`.
    pub fn url(&self) -> String {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}", self.scheme, self.serving.port())
    }

    /// From now on.
    pub fn answer_with(&self, say: Say) {
        *self.state.say.lock().unwrap() = Some(say);
        self.state.changed.notify_all();
    }

    /// Whoever does not say this gets 401: `Bearer abc`, `Basic ...`.
    pub fn want(&self, authorization: &str) {
        *self.state.authorization.lock().unwrap() = Some(authorization.to_owned());
    }

    /// Nobody listens any more, and all connections end.
    pub fn away(&self) {
        self.serving.away();
    }

    /// It listens again, on the same port.
    pub fn back(&self) {
        self.serving.back();
    }

    /// All that was kept, in the order in which it came, doubles too.
    pub fn entries(&self) -> Vec<Entry> {
        self.state.entries().clone()
    }

    /// The ids of the events of all that was kept.
    pub fn received(&self) -> Vec<String> {
        self.state.entries().iter().map(|entry| entry.id().to_owned()).collect()
    }

    /// How many requests came, whatever the answer.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Forgets what was kept.
    pub fn clear(&self) {
        self.state.entries().clear();
    }

    /// Waits until so many entries were kept.
    ///
    /// # Panics
    /// If that takes longer than `within`.
    pub fn wait_for(&self, entries: usize, within: Duration) {
        let began = Instant::now();
        loop {
            let have = self.state.entries().len();
            if have >= entries {
                return;
            }
            assert!(began.elapsed() < within, "only {have} of {entries} entries within {within:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
