//! All tables that are read once a collection, from whatever source: first those that are read everywhere, then those that queries limit
//! to namespaces which rows of the first ones tell (rule 25).

mod chooser;
mod node;

use super::{
    reads::{Asked, Subquery},
    within::{self, Chosen},
};
use crate::{
    bpf::capability::{Capabilities, Capability},
    source::{
        diag::DiagSource,
        iter::Passed,
        proc::ProcSource,
        table::{Collected, Read, TableRows},
    },
};
use chooser::Chooser;
use netsonde_core::{
    bpf::record::Scoping,
    diag, pod,
    query::Naming,
    scope::{Namespace, Scopes},
    table::{Absent, Catalogue, Hooks, TableColumn},
};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// The sources, and which read goes to which.
#[derive(Debug)]
pub struct Tables {
    everywhere: Sources,
    /// Of each choice of namespaces.
    within: Vec<(Vec<Subquery>, Sources)>,
    node: Option<Node>,
    choosers: Vec<Chooser>,
    pods: Option<PodsRead>,
    /// Who knows the pods.
    scopes: Option<Arc<Mutex<Scopes>>>,
    hooks: Hooks,
    reads: usize,
}

/// A wanted `node.pods`: its number among the reads.
#[derive(Debug)]
struct PodsRead {
    number: usize,
    columns: Vec<TableColumn>,
}

/// A wanted `node.tcp`.
#[derive(Debug)]
struct Node {
    /// None: the kernel did not take the program, and why.
    pass: Result<node::Pass, String>,
    /// Its own number among the reads, and the numbers of those that it is made of.
    number: usize,
    of: Vec<usize>,
    columns: Vec<TableColumn>,
}

/// Whether other network namespaces may be entered, as far as is known before it is tried.
fn may_enter() -> bool {
    Capabilities::effective().is_ok_and(|capabilities| capabilities.has(Capability::SysAdmin))
}

/// A source for each kind of table, and its reads by their numbers.
#[derive(Debug)]
struct Sources {
    proc: ProcSource,
    diag: DiagSource,
    of_proc: Vec<usize>,
    of_diag: Vec<usize>,
}

impl Tables {
    /// `proc_root` is where procfs is mounted, `hooks` what programs in the kernel can be asked.
    pub fn new(proc_root: &Path, hooks: &Hooks) -> Self {
        let proc = ProcSource::new(proc_root, rustix::param::page_size() as u64);
        let everywhere = Sources::new(proc, DiagSource::new(proc_root));
        Self {
            everywhere,
            within: Vec::new(),
            node: None,
            choosers: Vec::new(),
            pods: None,
            scopes: None,
            hooks: hooks.clone(),
            reads: 0,
        }
    }

    /// The same with `node.pods`, from what `scopes` knows.
    pub fn with_pods(self, scopes: Arc<Mutex<Scopes>>) -> Self {
        Self { scopes: Some(scopes), ..self }
    }

    /// The tables of this node as it is now, without its tracepoints.
    pub fn catalogue(&self) -> Catalogue {
        let mut catalogue = self.everywhere.proc.catalogue();
        match self.everywhere.diag.table() {
            Ok(_) if !may_enter() => catalogue.absent.push(Absent {
                name: diag::TABLE.to_owned(),
                why: "it is asked within each network namespace, which needs CAP_SYS_ADMIN".to_owned(),
            }),
            Ok(table) => catalogue.tables.push(table),
            Err(absent) => catalogue.absent.push(absent),
        }
        if self.scopes.is_some() {
            catalogue.tables.push(pod::table::table());
        }
        match self.hooks.find_pass("socket") {
            Ok(_) => catalogue.tables.push(node::table()),
            Err(error) => catalogue.absent.push(Absent { name: node::TABLE.to_owned(), why: error.message }),
        }
        catalogue
    }

    /// Sets what the next collections read.
    pub fn prepare(&mut self, asked: &[Asked]) {
        let of = |within: &[Subquery]| {
            let reads = asked.iter().enumerate().filter(|(_, asked)| asked.within == within);
            reads.map(|(number, asked)| (number, asked.read.clone())).collect::<Vec<_>>()
        };
        self.reads = asked.len();
        let (passes, mut everywhere): (Vec<_>, Vec<_>) = of(&[]).into_iter().partition(|(_, read)| read.pass.is_some());
        self.prepare_choosers(passes);
        self.node = everywhere.iter().position(|(_, read)| read.table == node::TABLE).map(|at| {
            let (number, Read { columns, .. }) = everywhere.remove(at);
            let first = self.reads;
            everywhere.extend((first..).zip(node::reads(&self.everywhere.proc.catalogue())));
            self.reads = everywhere.iter().map(|(number, _)| number + 1).max().unwrap_or(first).max(first);
            let pass = match self.node.take() {
                Some(Node { pass: Ok(pass), .. }) => Ok(pass),
                _ => node::Pass::load(&self.hooks).map_err(|error| error.to_string()),
            };
            Node { pass, number, of: (first..self.reads).collect(), columns }
        });
        self.pods = everywhere.iter().position(|(_, read)| read.table == pod::table::TABLE).map(|at| {
            let (number, Read { columns, .. }) = everywhere.remove(at);
            PodsRead { number, columns }
        });
        self.everywhere.prepare(everywhere);
        self.within.clear();
        for Asked { within, .. } in asked.iter().filter(|asked| !asked.within.is_empty()) {
            if !self.within.iter().any(|(known, _)| known == within) {
                let mut sources = self.everywhere.another();
                sources.prepare(of(within));
                self.within.push((within.clone(), sources));
            }
        }
    }

    /// The same query keeps its program.
    fn prepare_choosers(&mut self, passes: Vec<(usize, Read)>) {
        let mut before = std::mem::take(&mut self.choosers);
        let passes = passes.into_iter().filter_map(|(number, read)| Some((number, read.pass?)));
        let chooser = |(number, query)| match before.iter().position(|known| known.query == query) {
            Some(at) => before.swap_remove(at).renumbered(number),
            None => Chooser::load(number, query),
        };
        self.choosers = passes.map(chooser).collect();
    }

    /// Reads everything that was prepared, in each of `namespaces`, as long as it is not later than `deadline`.
    pub fn collect(
        &mut self,
        namespaces: &[Namespace],
        names: &dyn Naming,
        scopes: &mut dyn Scoping,
        deadline: Instant,
    ) -> Collected {
        let mut collected = self.everywhere(namespaces, deadline);
        // What is made of others and of passes, before it is asked which namespaces it tells.
        self.pods(&mut collected);
        self.node(&mut collected, scopes, deadline);
        self.choosers(&mut collected, scopes, deadline);
        self.within(&mut collected, namespaces, names, deadline);
        collected
    }

    /// The first half: what is read in every namespace.
    fn everywhere(&mut self, namespaces: &[Namespace], deadline: Instant) -> Collected {
        let mut collected =
            Collected { tables: vec![Err("nothing was read".to_owned()); self.reads], ..Collected::default() };
        self.everywhere.collect(&mut collected, namespaces, deadline);
        collected
    }

    fn node(&self, collected: &mut Collected, scopes: &mut dyn Scoping, deadline: Instant) {
        let Some(Node { pass, number, of, columns }) = &self.node else { return };
        let proc: Vec<_> = of.iter().map(|&number| &collected.tables[number]).collect();
        let rows = pass.as_ref().map_err(Clone::clone).and_then(|pass| pass.rows(&proc, columns, deadline, scopes));
        put_passed(collected, *number, rows);
    }

    fn pods(&self, collected: &mut Collected) {
        let (Some(PodsRead { number, columns }), Some(scopes)) = (&self.pods, &self.scopes) else { return };
        let batch = pod::table::rows(&scopes.lock().unwrap_or_else(PoisonError::into_inner), columns);
        collected.tables[*number] = Ok(TableRows { batch, failed: Vec::new(), overflows: 0 });
    }

    fn choosers(&self, collected: &mut Collected, scopes: &mut dyn Scoping, deadline: Instant) {
        for chooser in &self.choosers {
            put_passed(collected, chooser.number, chooser.rows(scopes, deadline));
        }
    }

    /// The second half: what is read where the rows of the first one say.
    fn within(&mut self, collected: &mut Collected, namespaces: &[Namespace], names: &dyn Naming, deadline: Instant) {
        for (within, sources) in &mut self.within {
            match within::choose(within, &collected.tables, names) {
                Ok(Chosen { scopes, failed, overflows }) => {
                    let chosen = namespaces.iter().filter(|namespace| scopes.binary_search(&namespace.scope).is_ok());
                    sources.collect(collected, &chosen.cloned().collect::<Vec<_>>(), deadline);
                    for table in sources.tables(collected).flatten() {
                        table.failed.extend(failed.iter().cloned());
                        table.overflows += overflows;
                    }
                }
                Err(why) => sources.tables(collected).for_each(|table| *table = Err(why.clone())),
            }
        }
    }
}

impl Sources {
    fn new(proc: ProcSource, diag: DiagSource) -> Self {
        Self { proc, diag, of_proc: Vec::new(), of_diag: Vec::new() }
    }

    /// The same without reads.
    fn another(&self) -> Self {
        Self::new(self.proc.another(), self.diag.another())
    }

    fn prepare(&mut self, reads: Vec<(usize, Read)>) {
        let (diag, proc): (Vec<_>, Vec<_>) = reads.into_iter().partition(|(_, read)| read.table == diag::TABLE);
        let (proc, diag): (Unzipped, Unzipped) = (proc.into_iter().unzip(), diag.into_iter().unzip());
        (self.of_proc, self.of_diag) = (proc.0, diag.0);
        self.proc.prepare(proc.1);
        self.diag.prepare(diag.1);
    }

    fn collect(&mut self, collected: &mut Collected, namespaces: &[Namespace], deadline: Instant) {
        let proc = self.proc.collect(namespaces, deadline);
        put(collected, &self.of_proc, proc);
        let diag = self.diag.collect(namespaces, deadline);
        put(collected, &self.of_diag, diag);
    }

    /// Those of these sources among all.
    fn tables<'a>(&self, collected: &'a mut Collected) -> impl Iterator<Item = &'a mut Result<TableRows, String>> {
        let own = [&self.of_proc[..], &self.of_diag].concat();
        let tables = collected.tables.iter_mut().enumerate();
        tables.filter(move |(number, _)| own.contains(number)).map(|(_, table)| table)
    }
}

type Unzipped = (Vec<usize>, Vec<Read>);

/// The same of a table that took a pass.
fn put_passed(collected: &mut Collected, number: usize, rows: Result<(TableRows, Passed), String>) {
    collected.tables[number] = rows.map(|(rows, passed)| {
        collected.passed.push(passed);
        rows
    });
}

/// Puts what a source gave where it belongs, and adds up times of the same name.
fn put(collected: &mut Collected, numbers: &[usize], part: Collected) {
    for (&number, table) in numbers.iter().zip(part.tables) {
        collected.tables[number] = table;
    }
    for (source, seconds) in part.durations {
        match collected.durations.iter_mut().find(|(known, _)| *known == source) {
            Some((_, all)) => *all += seconds,
            None => collected.durations.push((source, seconds)),
        }
    }
}

#[cfg(test)]
mod tests;
