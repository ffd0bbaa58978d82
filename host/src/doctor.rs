//! What this node offers: checks, a file a subject, that look, say what they found and change nothing; and a live self-test.
//!
//! Like `agent`, it knows every part; it starts none that stays.

mod capabilities;
mod kernel;
mod machine;
mod places;
mod pods;
mod probes;
mod procfs;
mod self_test;
mod symbols;
mod tracepoints;
mod types;

use crate::{
    bpf::capability::Capabilities,
    source::{btf, iter},
};
use netsonde_core::{
    config::Config,
    table::{Catalogue, Hooks},
};

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// It does, with less than there could be.
    Partly,
    Missing,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Partly => "partly",
            Verdict::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub verdict: Verdict,
    pub found: String,
    /// What that takes away, and what to do about it; both are empty where all is good.
    pub lost: String,
    pub todo: String,
}

impl Check {
    fn good(name: impl Into<String>, found: impl Into<String>) -> Self {
        let (name, found) = (name.into(), found.into());
        Self { name, verdict: Verdict::Good, found, lost: String::new(), todo: String::new() }
    }

    fn partly(
        name: impl Into<String>,
        found: impl Into<String>,
        lost: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Partly, lost: lost.into(), todo: todo.into(), ..Self::good(name, found) }
    }

    fn missing(
        name: impl Into<String>,
        found: impl Into<String>,
        lost: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Missing, ..Self::partly(name, found, lost, todo) }
    }
}

/// The checks of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub subject: &'static str,
    pub checks: Vec<Check>,
}

/// How the self-test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// Somebody did not want it, or this node does not let it run.
    Skipped,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        }
    }
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Report {
    pub groups: Vec<Group>,
    /// Why the agent would be of no use with this configuration.
    pub useless: Option<String>,
    pub self_test: Outcome,
}

/// Looks at everything that this configuration needs. Takes a second or two, and the self-test at most as long again as it waits for rows.
pub fn examine(config: &Config, with_self_test: bool) -> Report {
    let capabilities = Capabilities::effective();
    let types = btf::read(&config.btf);
    let hooks = match &types {
        Ok(types) => iter::seeing(Hooks::known(types.clone()), &config.proc_root),
        Err(error) => Hooks::Absent(error.to_string()),
    };
    let mut groups = Vec::new();
    let mut add = |subject, checks| groups.push(Group { subject, checks });

    add("kernel", kernel::look());
    add("types", types::look(&config.btf, &types, &hooks));
    add("capabilities", capabilities::look(&config.proc_root, &capabilities));
    let tracepoints = tracepoints::look(&hooks);
    add("tracepoints", tracepoints);
    add("symbols", symbols::look(&config.proc_root));
    add("procfs", procfs::look(config, &capabilities));
    add("pods", pods::look(config));
    add("machine", machine::look(&config.proc_root));
    let (places, no_listen) = places::look(config);
    add("places", places);
    let tables = crate::agent::tables::Tables::new(&config.proc_root, &hooks);
    let (probes, no_probe) = probes::look(config, Catalogue { hooks: hooks.clone(), ..tables.catalogue() });
    add("probes", probes);
    let (checks, self_test) = if with_self_test {
        self_test::run(&config.proc_root, hooks, &capabilities)
    } else {
        self_test::left_out("--no-self-test")
    };
    add("self-test", checks);
    Report { groups, useless: no_listen.or(no_probe), self_test }
}
