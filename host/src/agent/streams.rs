//! The thread that reads what streams have written, and turns it into rows for their probes.

use super::{board::Shared, collector::Message, namespaces::Namespaces};
use crate::{
    bpf::{kallsyms::Symbols, stacks::Stacks},
    source::hook::{HookId, Hooks, Reader, Rows},
};
use netsonde_core::{
    batch::{Batch, Column, Values},
    bpf::record::{NetnsKey, OwnerKey, Scoping},
    event::Stack,
    query::{Naming, Query},
    scope::{ScopeId, Scopes},
};
use std::{
    cell::RefCell,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

/// Rows of a stream query, as its probe gets them.
pub struct Stream {
    pub hook: HookId,
    pub probe: Arc<str>,
    pub batch: Batch,
    /// CLOCK_MONOTONIC in nanoseconds, by row.
    pub times: Vec<u64>,
    /// Whose namespace it was, by row.
    pub scopes: Column,
    /// Where the kernel was, by row; empty if it is not known of any.
    pub stacks: Vec<Option<Stack>>,
}

/// Why the stacks of rows have no names, if they have none: what probes that want them are told.
#[derive(Debug, Default)]
pub struct Nameless(Mutex<Option<Arc<str>>>);

impl Nameless {
    pub fn why(&self) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells it in the log, too, if it is new.
    fn set(&self, why: Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() == why.as_deref() {
            return;
        }
        match &why {
            Some(why) => tracing::warn!("Events have no stacks: {why}."),
            None => tracing::info!("Events have stacks again."),
        }
        *known = why.map(Arc::from);
    }
}

/// What stacks are written with.
pub struct Stacking {
    pub stacks: Stacks,
    pub nameless: Arc<Nameless>,
    /// Whether any probe wants stacks.
    pub wanted: bool,
}

/// Starts the thread. It ends when nobody takes the rows any more.
///
/// # Errors
/// If the system gives no thread.
pub fn start(
    mut reader: Reader,
    hooks: Arc<Hooks>,
    namespaces: Arc<Namespaces>,
    (mut symbols, mut stacking): (Symbols, Stacking),
    shared: Arc<Shared>,
    inbox: SyncSender<Message>,
) -> io::Result<()> {
    thread::Builder::new().name("streams".into()).spawn(move || {
        if stacking.wanted {
            stacking.nameless.set(stacking.stacks.why_none());
        }
        loop {
            // Anew each time: who owns a socket may be known only later.
            let mut whose = Whose::new(&namespaces);
            let rows = match reader.read(&hooks, Duration::MAX, &mut whose) {
                Ok(rows) => rows,
                Err(error) => return tracing::error!("No more rows of streams: {error}"),
            };
            let probe = |hook| hooks.owner(hook).map_or_else(String::new, |owner| owner.probe);
            for (hook, count) in reader.take_gone() {
                shared.rows().program_gone(&probe(hook), count);
                shared.board().figures.dropped(&probe(hook), "kernel", "program_gone", count);
            }
            for rows in rows {
                let (probe, drained) = (probe(rows.hook), rows.batch.rows as u64);
                let stream = answer(rows, probe.as_str().into(), &namespaces, &mut symbols, &mut stacking);
                let count = stream.batch.rows as u64;
                shared.rows().drained(&probe, drained, count);
                match inbox.try_send(Message::Rows(stream)) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => {
                        shared.rows().not_passed(&probe, count, "full");
                        shared.board().figures.dropped(&probe, "queue", "full", count);
                    }
                    Err(TrySendError::Disconnected(_)) => return,
                }
            }
        }
    })?;
    Ok(())
}

/// The query's own columns, from those of its table.
fn answer(
    rows: Rows,
    probe: Arc<str>,
    namespaces: &Namespaces,
    symbols: &mut Symbols,
    stacking: &mut Stacking,
) -> Stream {
    let Rows { hook, query, batch, times, scopes, stacks } = rows;
    let (answered, chosen) = {
        let names = Names::new(&query, &batch, symbols);
        let columns: Vec<&Column> = batch.columns.iter().collect();
        let scopes = namespaces.scopes();
        query.run_stream(batch.rows, &columns, &names.with(&scopes))
    };
    let stacks = match stacks.is_empty() {
        true => Vec::new(),
        false => chosen.iter().map(|&row| stacking.stack(stacks.get(row as usize))).collect(),
    };
    if chosen.len() == batch.rows {
        return Stream { hook, probe, batch: answered, times, scopes, stacks };
    }
    let times = chosen.iter().map(|&row| times[row as usize]).collect();
    Stream { hook, probe, batch: answered, times, scopes: scopes.pick(&chosen), stacks }
}

impl Stacking {
    /// The functions of a stack; None where it has no names.
    fn stack(&mut self, addresses: &[u64]) -> Option<Stack> {
        if addresses.is_empty() {
            return None;
        }
        let stack = self.stacks.stack(addresses);
        // A stack is a sign of names, too: it may be one that is remembered.
        self.nameless.set(if stack.is_some() { None } else { self.stacks.why_none() });
        stack
    }
}

/// Finds the scopes of rows: mostly that of the row before.
pub struct Whose<'a> {
    namespaces: &'a Namespaces,
    last_netns: Option<(NetnsKey, ScopeId)>,
    last_owner: Option<(OwnerKey, ScopeId)>,
}

impl<'a> Whose<'a> {
    pub fn new(namespaces: &'a Namespaces) -> Self {
        Self { namespaces, last_netns: None, last_owner: None }
    }
}

impl Scoping for Whose<'_> {
    fn netns(&mut self, netns: NetnsKey) -> ScopeId {
        remembered(&mut self.last_netns, netns, |netns| self.namespaces.of_row(netns))
    }

    fn owner(&mut self, owner: OwnerKey) -> ScopeId {
        remembered(&mut self.last_owner, owner, |owner| self.namespaces.of_owner(owner))
    }
}

fn remembered<K: Copy + Eq>(last: &mut Option<(K, ScopeId)>, key: K, find: impl FnOnce(K) -> ScopeId) -> ScopeId {
    match *last {
        Some((known, scope)) if known == key => scope,
        _ => {
            let scope = find(key);
            *last = Some((key, scope));
            scope
        }
    }
}

/// What the namespaces and the symbols of some rows are called.
pub struct Names<'a> {
    symbols: RefCell<&'a mut Symbols>,
}

impl<'a> Names<'a> {
    /// Looks up all symbols that the rows need at once, as the kernel's list is long.
    pub fn new(query: &Query, batch: &Batch, symbols: &'a mut Symbols) -> Self {
        for column in query.symbol_columns() {
            if let Some(Column { values: Values::U64(addresses), .. }) = batch.columns.get(column) {
                let mut addresses = addresses.clone();
                addresses.sort_unstable();
                addresses.dedup();
                symbols.names(&addresses);
            }
        }
        Self { symbols: RefCell::new(symbols) }
    }

    pub fn with<'s>(&'s self, scopes: &'s Scopes) -> impl Naming + 's {
        Named { symbols: &self.symbols, scopes }
    }
}

struct Named<'s, 'a> {
    symbols: &'s RefCell<&'a mut Symbols>,
    scopes: &'s Scopes,
}

impl Naming for Named<'_, '_> {
    fn scope(&self, scope: ScopeId) -> Option<String> {
        self.scopes.name(scope)
    }

    fn symbol(&self, address: u64) -> Option<String> {
        self.symbols.borrow_mut().names(&[address]).pop()?.map(|name| name.as_ref().to_owned())
    }
}
