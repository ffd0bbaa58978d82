//! Whether each configured probe would run here: its queries are planned, compiled, and shown to the kernel where that is allowed.

use super::Check;
use crate::{
    agent::{
        self, board,
        programs::Loaded,
        slot::{Health, Host, Slot},
    },
    probe::{cache::Cache, engine::Engine},
    source::hook::Hooks,
};
use netsonde_core::{
    config::Config,
    metric::registry::{Now, Registry},
    table::Catalogue,
};
use std::{sync::Arc, time::Duration};
use tracing::subscriber::{NoSubscriber, with_default};

/// How long a probe may take to describe itself and to start.
const WAIT: Duration = Duration::from_secs(5);

/// The checks, and why the agent would have nothing to do.
pub fn look(config: &Config, catalogue: Catalogue) -> (Vec<Check>, Option<String>) {
    let hooks = Hooks::new(agent::hook_limits(&config.hooks)).map(|(hooks, _)| Arc::new(hooks));
    let hooks = hooks.map_err(|error| error.to_string());
    let specs = agent::specs(config);
    if specs.is_empty() {
        return (vec![Check::good("all", "the configuration names none")], None);
    }
    // What is wrong with a probe is in the checks: the log would only say it again.
    let slots: Result<_, String> = with_default(NoSubscriber::default(), || {
        let engine = Engine::new(specs.len()).map_err(|error| error.to_string())?;
        let host = match &hooks {
            Ok(hooks) => {
                let programs = Loaded { hooks: hooks.clone(), passes: Arc::default() };
                Host { programs: Arc::new(programs), ..agent::nobody() }
            }
            Err(_) => agent::nobody(),
        };
        Ok(started(agent::load(specs, &engine, &cache(config), &host), &catalogue))
    });
    let slots = match slots {
        Ok(slots) => slots,
        Err(why) => {
            let useless = format!("no probe would run: {why}");
            return (vec![Check::missing("all", why, "every probe", "see the message")], Some(useless));
        }
    };
    let checks: Vec<Check> = slots.iter().map(|slot| judge(slot, hooks.as_ref().err())).collect();
    let runs = checks.iter().any(|check| check.verdict != super::Verdict::Missing);
    (checks, (!runs).then(|| "no probe would run".into()))
}

/// The cache, if it is there already: what the agent makes should be the agent's user's.
fn cache(config: &Config) -> Cache {
    let folder = &config.cache_folder;
    let there = folder.exists().then(|| Cache::open(folder).ok());
    there.flatten().unwrap_or_else(Cache::none)
}

fn started(mut slots: Vec<Slot>, catalogue: &Catalogue) -> Vec<Slot> {
    let mut registry = Registry::new();
    let now = Now { monotonic: Duration::ZERO, unix: Duration::ZERO };
    for slot in &mut slots {
        let limits = slot.spec.series;
        let mut register = |name: &str, plan: &_, sampled: &[bool]| {
            registry.add_probe(name, plan, sampled, limits, now).map_err(board::join)
        };
        slot.advance(catalogue, &mut register, WAIT);
    }
    slots
}

/// `no_hooks`: why no program is loaded here; then queries over tracepoints were compiled, no more.
fn judge(slot: &Slot, no_hooks: Option<&String>) -> Check {
    let name = &slot.spec.name;
    let (health, why) = slot.health();
    let what = format!("the probe {name}");
    match health {
        Health::Running | Health::Degraded => {}
        Health::Down => return Check::missing(name, why, what, "see `netsonde check`, and what is missing above"),
        Health::Starting => {
            let found = format!("has not started within {WAIT:?}{}{why}", if why.is_empty() { "" } else { ": " });
            return Check::missing(name, found, what, "try again on a machine that is less busy, or raise its limits");
        }
    }
    let all = slot.plan.queries.len();
    let hooked: Vec<usize> = slot.hooks().map(|(index, ..)| index).collect();
    if let (Some(no_hooks), false) = (no_hooks, hooked.is_empty()) {
        let found = format!("{} of its {all} queries fit this kernel, but no program can be loaded", hooked.len());
        return match hooked.iter().all(|&index| slot.plan.queries[index].optional) {
            true => Check::partly(name, found, format!("a part of {what}"), no_hooks),
            false => Check::missing(name, found, what, no_hooks),
        };
    }
    if health == Health::Degraded {
        return Check::partly(name, why, format!("a part of {what}"), "run a kernel that has it, where that matters");
    }
    let kernel = match hooked.len() {
        0 => String::new(),
        programs => format!(", the kernel takes {programs} program{}", if programs == 1 { "" } else { "s" }),
    };
    Check::good(name, format!("{all} quer{} answered{kernel}", if all == 1 { "y is" } else { "ies are" }))
}
