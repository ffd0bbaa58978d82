//! `netsonde check --connect`: each sink is asked whether it would take events or metrics, in the way in which it would get them.

use super::print::{self, BAD, GOOD, HEAD, Text};
use crate::{
    push::{self, Target},
    sink,
};
use netsonde_core::config::Config;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What became of one sink's trial.
pub struct Trial {
    sink: String,
    place: String,
    took: Duration,
    result: Result<(), String>,
}

impl Trial {
    /// What is wrong with it.
    pub fn wrong(&self) -> Option<String> {
        self.result.as_ref().err().map(|error| format!("sink {}: {error}", self.sink))
    }

    pub fn json(&self) -> Value {
        let why = self.result.as_ref().err().cloned().unwrap_or_default();
        json!({
            "name": self.sink,
            "place": self.place,
            "state": if self.result.is_ok() { "good" } else { "wrong" },
            "seconds": self.took.as_secs_f64(),
            "why": why,
        })
    }

    fn row(&self) -> Vec<Text> {
        let (text, style) = if self.result.is_ok() { ("good", GOOD) } else { ("wrong", BAD) };
        // What is wrong is told below, whole.
        vec![
            Text::styled(self.sink.clone(), HEAD),
            Text::styled(text, style),
            format!("{:.1} ms", self.took.as_secs_f64() * 1e3).into(),
            self.place.clone().into(),
        ]
    }
}

/// Tries the sinks of the configuration, one after the other.
pub fn all(config: &Config) -> Vec<Trial> {
    let events = |mut sink: Box<dyn sink::Sink>| {
        let began = Instant::now();
        let result = sink.check().map_err(|error| error.to_string());
        Trial { sink: sink.name().to_owned(), place: sink.place(), took: began.elapsed(), result }
    };
    let metrics = |mut target: Box<dyn Target>| {
        let (began, place) = (Instant::now(), target.place().to_owned());
        let result = target.check().map_err(|fault| format!("cannot push metrics to {place}: {fault}"));
        Trial { sink: target.name().to_owned(), place, took: began.elapsed(), result }
    };
    let targets = push::targets(config, "check");
    config.sinks.iter().filter_map(sink::of).map(events).chain(targets.into_iter().map(metrics)).collect()
}

pub fn tell(trials: &[Trial]) {
    if trials.is_empty() {
        print::out("The configuration has no sink.");
        return;
    }
    print::table(&["SINK", "CHECK", "TOOK", "PLACE"], trials.iter().map(Trial::row).collect());
}
