//! The thread that looks at the kernel: which namespaces there are, what their tables say, and what passes over its objects give.
//!
//! A read of procfs or of netlink may wait for a lock of the kernel's. The collection then goes on without it: whoever asks here waits
//! until a deadline, not for the kernel.

use super::{
    namespaces::{Namespaces, Walked},
    reads::Asked,
    streams::Whose,
    tables::Tables,
};
use crate::{
    scope::netns::WalkError,
    source::{
        iter::{PassId, Passed, Passes},
        table::Collected,
    },
};
use netsonde_core::{scope::ScopeId, table::Catalogue};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

/// How often the catalogue is made anew: a table may appear (a kernel module is loaded) or go.
const CATALOGUE_AGE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("the kernel has not answered within {0:.1?}")]
    Late(Duration),
    #[error("the read of an earlier collection has not ended")]
    Busy,
    #[error("the thread that reads the kernel has ended")]
    Ended,
    #[error("cannot look for network namespaces: {0}")]
    Walk(#[from] WalkError),
}

/// What one look at the kernel gave.
pub struct Look {
    /// Of the namespaces that could be seen.
    pub namespaces: usize,
    /// Processes whose namespace may not be looked at: needs CAP_SYS_PTRACE.
    pub hidden: usize,
    /// Why none of the namespaces is known to be the host's.
    pub no_host: Option<String>,
    pub collected: Collected,
    /// What each pass gave, or why it gave nothing.
    pub passed: HashMap<PassId, Result<Passed, String>>,
    /// The tables of this node, if they are not the same as before.
    pub catalogue: Option<Catalogue>,
}

impl Look {
    /// The namespaces that could not be read, in any table, each with the first reason.
    pub fn failed_scopes(&self) -> BTreeMap<ScopeId, &str> {
        let failed = self.collected.tables.iter().flatten().flat_map(|table| &table.failed);
        let mut reasons = BTreeMap::new();
        for (scope, why) in failed {
            reasons.entry(*scope).or_insert(why.as_str());
        }
        reasons
    }
}

/// What is wanted of the kernel.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub reads: Arc<Vec<Asked>>,
    pub passes: Arc<Vec<PassId>>,
}

struct Request {
    wanted: Wanted,
    deadline: Instant,
    reply: SyncSender<Result<Look, KernelError>>,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Places {
    pub proc_root: PathBuf,
    /// Where `ip netns` keeps its names.
    pub netns_folder: PathBuf,
    /// What stands for the host's namespace; None: process 1.
    pub host_netns: Option<PathBuf>,
}

/// A handle to the thread.
pub struct Kernel {
    requests: SyncSender<Request>,
}

impl Kernel {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        namespaces: Arc<Namespaces>,
        tables: Tables,
        passes: Arc<Passes>,
        catalogue: Catalogue,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::sync_channel::<Request>(1);
        let mut reader =
            Reader { namespaces, tables, passes, reads: Arc::default(), catalogue, looked: Instant::now() };
        thread::Builder::new().name("kernel".into()).spawn(move || {
            for request in inbox {
                let look = reader.look(&request);
                // Whoever asked may have given up.
                let _ = request.reply.send(look);
            }
        })?;
        Ok(Self { requests })
    }

    /// Walks the namespaces, reads the tables and makes the passes, until `deadline`.
    ///
    /// # Errors
    /// [`KernelError`]: then every table has failed for this collection.
    pub fn look(&self, wanted: Wanted, deadline: Instant) -> Result<Look, KernelError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let began = Instant::now();
        self.requests.try_send(Request { wanted, deadline, reply }).map_err(|error| match error {
            TrySendError::Full(_) => KernelError::Busy,
            TrySendError::Disconnected(_) => KernelError::Ended,
        })?;
        let wait = deadline.saturating_duration_since(began);
        answer.recv_timeout(wait).map_err(|error| match error {
            RecvTimeoutError::Timeout => KernelError::Late(wait),
            RecvTimeoutError::Disconnected => KernelError::Ended,
        })?
    }
}

struct Reader {
    namespaces: Arc<Namespaces>,
    tables: Tables,
    passes: Arc<Passes>,
    reads: Arc<Vec<Asked>>,
    catalogue: Catalogue,
    looked: Instant,
}

impl Reader {
    fn look(&mut self, request: &Request) -> Result<Look, KernelError> {
        if !Arc::ptr_eq(&self.reads, &request.wanted.reads) {
            self.reads = request.wanted.reads.clone();
            self.tables.prepare(&self.reads);
        }
        let began = Instant::now();
        let Walked { namespaces, hidden, no_host } = self.namespaces.look()?;
        let walked = began.elapsed().as_secs_f64();
        let names = |scope| self.namespaces.scopes().name(scope);
        let mut whose = Whose::new(&self.namespaces);
        let mut collected = self.tables.collect(&namespaces, &names, &mut whose, request.deadline);
        collected.durations.push(("namespaces", walked));
        let passed = self.pass(request);
        let catalogue = self.new_catalogue();
        Ok(Look { namespaces: namespaces.len(), hidden, no_host, collected, passed, catalogue })
    }

    fn pass(&self, request: &Request) -> HashMap<PassId, Result<Passed, String>> {
        let mut whose = Whose::new(&self.namespaces);
        let mut pass = |id: &PassId| {
            let passed = self.passes.pass(*id, request.deadline, &mut whose);
            (*id, passed.map_err(|error| error.to_string()))
        };
        request.wanted.passes.iter().map(&mut pass).collect()
    }

    fn new_catalogue(&mut self) -> Option<Catalogue> {
        if self.looked.elapsed() < CATALOGUE_AGE {
            return None;
        }
        self.looked = Instant::now();
        // The kernel's own types stay what they are.
        let catalogue = Catalogue { hooks: self.catalogue.hooks.clone(), ..self.tables.catalogue() };
        if catalogue == self.catalogue {
            return None;
        }
        self.catalogue = catalogue.clone();
        Some(catalogue)
    }
}
