//! What became of pushes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Figures of all targets, by their names.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<String, Figures>>);

/// Figures of one target, since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// By result: `ok`; `failed`, where the other side did not take it; `no_page`, where there was nothing to send.
    pub pushes: BTreeMap<&'static str, u64>,
    /// Values that the other side has taken.
    pub samples: u64,
    /// Values that it will never have, by reason: `refused`, as it does not want them; `too_old`, as newer ones needed their place; `too_long`,
    /// as it would throw them away for their names.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Values that wait to be sent again.
    pub waiting: u64,
    /// All pushes together, the collection included.
    pub took: Duration,
    /// Why the last push did not go well. Empty: it did.
    pub last_error: String,
}

/// All results that there are.
const RESULTS: [&str; 3] = ["ok", "failed", "no_page"];

impl Counts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Figures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is one of this name: its counts are there from the start, so that the first of each is an increase.
    pub fn began(&self, name: &str) {
        let mut figures = self.lock();
        let figures = figures.entry(name.to_owned()).or_default();
        for result in RESULTS {
            figures.pushes.entry(result).or_default();
        }
    }

    pub fn sent(&self, name: &str, samples: u64) {
        self.lock().entry(name.to_owned()).or_default().samples += samples;
    }

    pub fn dropped(&self, name: &str, reason: &'static str, samples: u64) {
        if samples > 0 {
            *self.lock().entry(name.to_owned()).or_default().dropped.entry(reason).or_default() += samples;
        }
    }

    /// How many more, or fewer, values wait.
    pub fn waiting(&self, name: &str, more: u64, fewer: u64) {
        let mut figures = self.lock();
        let figures = figures.entry(name.to_owned()).or_default();
        figures.waiting = (figures.waiting + more).saturating_sub(fewer);
    }

    /// A push has ended. What is wrong is logged once for each cause, and when all is well again.
    pub fn ended(&self, name: &str, took: Duration, result: Result<(), (&'static str, String)>) {
        let mut figures = self.lock();
        let figures = figures.entry(name.to_owned()).or_default();
        figures.took += took;
        let (result, why) = match result {
            Ok(()) => ("ok", None),
            Err((result, why)) => (result, Some(why)),
        };
        *figures.pushes.entry(result).or_default() += 1;
        let why = why.unwrap_or_default();
        match (why.is_empty(), figures.last_error.is_empty()) {
            (true, false) => tracing::info!(sink = name, "Metrics are pushed again."),
            (false, _) if why != figures.last_error => tracing::warn!(sink = name, "Metrics cannot be pushed: {why}"),
            _ => {}
        }
        figures.last_error = why;
    }

    pub fn now(&self) -> BTreeMap<String, Figures> {
        self.lock().clone()
    }
}
