//! What a probe's slot needs of the kernel's tracepoints: somebody who answers queries over them.

use crate::source::hook::{HookId, Hooks, Owner};
use netsonde_core::{
    bpf::compile::{Budget, compile},
    query::Query,
};

/// Takes queries over tracepoints.
pub trait Tracepoints: Send + Sync {
    /// Has a query answered from now on; the same one again changes nothing.
    ///
    /// # Errors
    /// Why this node cannot, for people.
    fn attach(&self, owner: Owner, query: &Query) -> Result<HookId, String>;

    /// Ends all queries of a probe but these.
    fn keep(&self, probe: &str, hooks: &[HookId]);
}

impl Tracepoints for Hooks {
    fn attach(&self, owner: Owner, query: &Query) -> Result<HookId, String> {
        self.attach(owner, query).map_err(|error| error.to_string())
    }

    fn keep(&self, probe: &str, hooks: &[HookId]) {
        self.detach_others(probe, hooks);
    }
}

/// Looks at queries, and has none answered.
pub struct CompileOnly;

impl Tracepoints for CompileOnly {
    fn attach(&self, _: Owner, query: &Query) -> Result<HookId, String> {
        compile(query, Budget::default()).map(|_| 0).map_err(|error| error.to_string())
    }

    fn keep(&self, _: &str, _: &[HookId]) {}
}
