//! Which names of the page are taken, and by whom.

use super::{Family, FamilyError, Problem, taken};
use crate::probe::Plan;
use std::collections::{HashMap, hash_map::Entry};

/// The names of all families of all probes, with their suffixes: a gauge `x_count` and a histogram `x` cannot both be.
#[derive(Debug, Default)]
pub struct Names {
    owners: HashMap<String, String>,
}

impl Names {
    /// Takes the names of `families`, which were made from `plan` and are in its order: all of them, or none.
    ///
    /// # Errors
    /// Every name that something else has, and what.
    pub fn take(&mut self, probe: &str, plan: &Plan, families: &[Family]) -> Result<(), Vec<FamilyError>> {
        let mut mine = Vec::new();
        let mut errors = Vec::new();
        for (metric, family) in plan.metrics.iter().zip(families) {
            for name in taken(family) {
                match self.owners.entry(name.into_owned()) {
                    Entry::Vacant(free) => {
                        mine.push(free.key().clone());
                        free.insert(format!("metric `{}` of probe `{probe}`", metric.name));
                    }
                    Entry::Occupied(other) => errors.push(FamilyError::Metric {
                        probe: probe.to_owned(),
                        metric: metric.name.clone(),
                        problem: Problem::Taken { name: other.key().clone(), owner: other.get().clone() },
                    }),
                }
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        for name in mine {
            self.owners.remove(&name);
        }
        Err(errors)
    }
}
