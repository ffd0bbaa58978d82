//! The ledger: the account of every row and event of a probe, stage by stage. Nothing is lost in silence.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A part of the way that rows and events take. What one has delivered, the next is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Rows of streams, from the tracepoint into the agent.
    Kernel,
    /// Rows, until the probe is called with them.
    Queue,
    /// Rows, until the probe's answer to them is taken in.
    Guest,
    /// Events of the probe, until they are handed to every sink: within its limit, folded, named.
    Budget,
    /// Events that one sink was given, by its name.
    Sink(Arc<str>),
}

impl Stage {
    /// As in the metrics' label `stage`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Queue => "queue",
            Self::Guest => "guest",
            Self::Budget => "budget",
            Self::Sink(_) => "sink",
        }
    }

    /// Name of the sink, if it is one.
    pub fn sink(&self) -> Option<&str> {
        if let Self::Sink(name) = self { Some(name) } else { None }
    }
}

/// `kernel`, `sink loki`.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sink() {
            Some(sink) => write!(f, "sink {sink}"),
            None => f.write_str(self.as_str()),
        }
    }
}

/// What became of the rows or events of one probe in one stage, since the agent started. `waiting` is counted where they wait, not computed
/// from the others: else nothing could ever be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub produced: u64,
    /// Those of `produced` that an earlier run of the agent has left: only sinks have any.
    pub resumed: u64,
    pub delivered: u64,
    /// By reason; reasons are from closed lists.
    pub dropped: BTreeMap<&'static str, u64>,
    pub waiting: u64,
}

impl Account {
    pub fn drop(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.dropped.entry(reason).or_default() += count;
        }
    }

    /// What was dropped, for whatever reason.
    pub fn all_dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// What nobody knows of: 0, or there is a bug. In the kernel's stage, rows that are on their way.
    pub fn difference(&self) -> i128 {
        let known = [self.delivered, self.all_dropped(), self.waiting];
        i128::from(self.produced) - known.into_iter().map(i128::from).sum::<i128>()
    }
}

/// All accounts at one moment, by probe and stage.
pub type Accounts = BTreeMap<(Arc<str>, Stage), Account>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_17_the_difference_is_what_nobody_counted() {
        let mut account = Account { produced: 10, delivered: 4, waiting: 1, ..Account::default() };
        account.drop("full", 2);
        account.drop("full", 1);
        account.drop("late", 0);
        assert_eq!((account.all_dropped(), account.difference()), (3, 2));
        assert_eq!(account.dropped.len(), 1, "a reason for which nothing was dropped is none");
        account.drop("late", 3);
        assert_eq!(account.difference(), -1, "counted twice");
    }
}
