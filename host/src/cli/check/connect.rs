//! `netsonde check --connect`: each sink is asked whether it would take events, in the way in which it would get them.

use super::print::{self, BAD, GOOD, HEAD, Text};
use crate::sink::{self, SinkError};
use netsonde_core::config::Config;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What became of one sink's trial.
pub struct Trial {
    sink: String,
    place: String,
    took: Duration,
    result: Result<(), SinkError>,
}

impl Trial {
    /// What is wrong with it.
    pub fn wrong(&self) -> Option<String> {
        self.result.as_ref().err().map(|error| format!("sink {}: {error}", self.sink))
    }

    pub fn json(&self) -> Value {
        let why = self.result.as_ref().err().map(ToString::to_string).unwrap_or_default();
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
    let sinks = config.sinks.iter().filter(|sink| sink.takes_events()).map(sink::of);
    let trial = |mut sink: Box<dyn sink::Sink>| {
        let began = Instant::now();
        let result = sink.check();
        Trial { sink: sink.name().to_owned(), place: sink.place(), took: began.elapsed(), result }
    };
    sinks.map(trial).collect()
}

pub fn tell(trials: &[Trial]) {
    if trials.is_empty() {
        print::out("The configuration has no sink.");
        return;
    }
    print::table(&["SINK", "CHECK", "TOOK", "PLACE"], trials.iter().map(Trial::row).collect());
}
