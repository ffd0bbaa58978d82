//! `netsonde check`: every error at once, nothing started.

mod connect;

use super::{
    ConfigArgs, Failure, load,
    print::{self, BAD, GOOD, HEAD, SOME, Text},
};
use crate::{
    agent::{
        self,
        slot::{Health, Slot},
    },
    probe::engine::Engine,
};
use connect::Trial;
use netsonde_core::metric::registry::{Now, Registry};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a probe may take to describe itself and to start.
const WAIT: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// Try each sink, too, with a request that leaves nothing there
    #[arg(long)]
    connect: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let config = load::config(&self.config)?;
        let mut wrong = agent::security(&config).err().unwrap_or_default();
        let specs = agent::specs(&config);
        let catalogue = load::catalogue(&agent::places(&config), &config.btf);
        let engine = Engine::new(specs.len()).map_err(Failure::failed)?;
        let mut registry = Registry::new();
        let now = Now { monotonic: Duration::ZERO, unix: Duration::ZERO };
        let mut slots = agent::load(specs, &engine, &agent::open_cache(&config.cache_folder), &agent::nobody());
        for slot in &mut slots {
            let limits = slot.spec.series;
            let mut register = |name: &str, plan: &_, sampled: &[bool]| {
                registry.add_probe(name, plan, sampled, limits, now).map_err(agent::board::join)
            };
            slot.advance(&catalogue, &mut register, WAIT);
        }
        let trials = if self.connect { connect::all(&config) } else { Vec::new() };
        self.tell(&slots, &trials);
        let down = slots.iter().filter_map(|slot| match slot.health() {
            (Health::Running | Health::Degraded, _) => None,
            (_, why) if why.is_empty() => Some(format!("probe {}: has not started within {WAIT:?}", slot.spec.name)),
            (_, why) => Some(format!("probe {}: {why}", slot.spec.name)),
        });
        wrong.extend(down);
        let failed: Vec<String> = trials.iter().filter_map(|trial| trial.wrong()).collect();
        match (wrong.is_empty(), failed.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Failure::failed(failed.join("\n"))),
            (false, _) => Err(Failure::wrong(wrong.into_iter().chain(failed))),
        }
    }

    fn tell(&self, slots: &[Slot], trials: &[Trial]) {
        if self.json {
            let probe = |slot: &Slot| {
                let (health, why) = slot.health();
                json!({ "name": slot.spec.name, "module": slot.spec.source.to_string(), "state": health.as_str(), "why": why })
            };
            let probes = slots.iter().map(probe).collect();
            let sinks: Value = trials.iter().map(Trial::json).collect();
            print::json(&if self.connect { json!({ "probes": probes, "sinks": sinks }) } else { probes });
            return;
        }
        let row = |slot: &Slot| {
            let (health, why) = slot.health();
            let (text, style) = match health {
                Health::Running => ("good", GOOD),
                Health::Degraded => ("degraded", SOME),
                Health::Starting | Health::Down => ("wrong", BAD),
            };
            // What is wrong is told below, whole.
            let why = if health == Health::Degraded { why } else { String::new() };
            vec![
                Text::styled(slot.spec.name.clone(), HEAD),
                Text::styled(text, style),
                slot.spec.source.to_string().into(),
                why.into(),
            ]
        };
        print::table(&["PROBE", "CHECK", "MODULE", "WHY"], slots.iter().map(row).collect());
        if self.connect {
            print::out("");
            connect::tell(trials);
        }
    }
}
