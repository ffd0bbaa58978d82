//! open-falcon: counts of sockets, to the agent that it has on the node.
//!
//! Source: modules/agent/http/push.go of open-falcon/falcon-plus. It answers 200 and `success`, or 400 and what it could not read; it hands on
//! what it has read without looking at it. Old timestamps are taken as long as those of a series rise (modules/graph/api/graph.go).

use super::{Counts, Rhythm, Target};
use crate::sink::{
    fault::Fault,
    http::{Content, Http},
};
use netsonde_core::{
    config::{FALCON_PUSH, OpenFalconSink},
    metric::{
        falcon::{Batch, Shape, batches},
        parse::Family,
    },
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Steps that wait while it cannot be reached. A longer outage leaves a gap.
const MAX_STEPS: usize = 10;

/// The agent of open-falcon.
pub struct Falcon {
    name: String,
    http: Http,
    shape: Shape,
    /// What was not sent yet, of the oldest step first.
    waiting: VecDeque<Step>,
}

struct Step {
    /// In the order in which they are sent; those that were are gone.
    batches: VecDeque<Batch>,
}

impl Step {
    fn items(&self) -> u64 {
        self.batches.iter().map(|batch| batch.items as u64).sum()
    }
}

impl Falcon {
    /// `node` is what the node is called where the configuration has no `endpoint`.
    pub fn new(name: &str, config: &OpenFalconSink, node: &str) -> Self {
        let mut remote = config.remote.clone();
        remote.timeout = remote.timeout.min(config.step / 2);
        let shape = Shape {
            endpoint: config.endpoint.clone().unwrap_or_else(|| node.to_owned()),
            prefix: config.prefix.clone().unwrap_or_default(),
            step: config.step,
        };
        Self { name: name.to_owned(), http: Http::new(&remote, FALCON_PUSH), shape, waiting: VecDeque::new() }
    }

    /// Sends one list.
    fn post(&mut self, body: &[u8]) -> Result<(), Fault> {
        let answer = self.http.post(Content { kind: "application/json", encoding: None, bytes: body })?.accepted()?;
        // Something else at this port may say yes to anything.
        if answer.trim_ascii() == b"success" {
            return Ok(());
        }
        let says = crate::sink::fault::quoted(&answer);
        Err(Fault::later(format!("it says `{says}`, and not `success` as open-falcon's agent does; is the URL right?")))
    }

    /// Takes one step in, and gives up the oldest ones where there are too many.
    fn keep(&mut self, batches: Vec<Batch>, counts: &Counts) {
        let step = Step { batches: batches.into() };
        counts.waiting(self.name(), step.items(), 0);
        self.waiting.push_back(step);
        while self.waiting.len() > MAX_STEPS {
            let Some(step) = self.waiting.pop_front() else { return };
            counts.waiting(self.name(), 0, step.items());
            counts.dropped(self.name(), "too_old", step.items());
        }
    }

    /// Sends what waits, until one is not taken or time is over.
    fn send(&mut self, until: Instant, counts: &Counts) -> Result<(), Fault> {
        let mut refused = None;
        while let Some(step) = self.waiting.front_mut() {
            let Some(batch) = step.batches.pop_front() else {
                self.waiting.pop_front();
                continue;
            };
            let result = match Instant::now() < until {
                true => self.post(&batch.body),
                false => Err(Fault::later("it has taken too long to send all; the rest is tried with the next step")),
            };
            let items = batch.items as u64;
            match result {
                Ok(()) => counts.sent(self.name(), items),
                Err(fault @ Fault::Never { .. }) => {
                    counts.dropped(self.name(), "refused", items);
                    refused = Some(fault);
                }
                Err(fault) => {
                    if let Some(step) = self.waiting.front_mut() {
                        step.batches.push_front(batch);
                    }
                    return Err(fault);
                }
            }
            counts.waiting(self.name(), 0, items);
        }
        refused.map_or(Ok(()), Err)
    }
}

impl Target for Falcon {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> &str {
        self.http.place()
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm::aligned(self.shape.step)
    }

    fn check(&mut self) -> Result<(), Fault> {
        self.post(b"[]")
    }

    fn push(&mut self, families: &[Family<'_>], at: Duration, until: Instant, counts: &Counts) -> Result<(), Fault> {
        let (batches, too_long) = batches(families, &self.shape, at);
        counts.dropped(self.name(), "too_long", too_long);
        self.keep(batches, counts);
        self.send(until, counts)
    }
}

#[cfg(test)]
mod tests;
