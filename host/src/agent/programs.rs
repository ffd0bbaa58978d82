//! What a probe's slot needs of programs in the kernel: somebody who answers queries over tracepoints and over the kernel's objects.

use crate::source::{
    hook::{HookId, Hooks, Owner},
    iter::{PassId, Passes},
};
use netsonde_core::{
    bpf::compile::{Budget, compile},
    query::Query,
};
use std::sync::Arc;

/// Takes queries that programs in the kernel answer.
pub trait Programs: Send + Sync {
    /// Has a query over a tracepoint answered from now on; the same one again changes nothing.
    ///
    /// # Errors
    /// Why this node cannot, for people.
    fn attach(&self, owner: Owner, query: &Query) -> Result<HookId, String>;

    /// Has a query over the kernel's objects ready to be asked.
    ///
    /// # Errors
    /// Why this node cannot, for people.
    fn ready(&self, owner: Owner, query: &Query) -> Result<PassId, String>;

    /// Ends all queries of a probe but these.
    fn keep(&self, probe: &str, hooks: &[HookId], passes: &[PassId]);
}

/// Those of the kernel.
pub struct Loaded {
    pub hooks: Arc<Hooks>,
    pub passes: Arc<Passes>,
}

impl Programs for Loaded {
    fn attach(&self, owner: Owner, query: &Query) -> Result<HookId, String> {
        self.hooks.attach(owner, query).map_err(|error| error.to_string())
    }

    fn ready(&self, owner: Owner, query: &Query) -> Result<PassId, String> {
        self.passes.attach(owner, query).map_err(|error| error.to_string())
    }

    fn keep(&self, probe: &str, hooks: &[HookId], passes: &[PassId]) {
        self.hooks.detach_others(probe, hooks);
        self.passes.keep(probe, passes);
    }
}

/// Looks at queries, and has none answered.
pub struct CompileOnly;

impl Programs for CompileOnly {
    fn attach(&self, _: Owner, query: &Query) -> Result<HookId, String> {
        compile(query, Budget::default()).map(|_| 0).map_err(|error| error.to_string())
    }

    fn ready(&self, owner: Owner, query: &Query) -> Result<PassId, String> {
        self.attach(owner, query)
    }

    fn keep(&self, _: &str, _: &[HookId], _: &[PassId]) {}
}
