//! Tables of procfs: each wanted file is read once a namespace and collection, however many ask, and parsed into what each asked for.

use super::{
    enter::Visitor,
    link::LinkCache,
    read::{self, Texts},
    table::{Collected, LATE, Read, TableRows},
    ways::Ways,
};
use netsonde_core::{
    batch::{Batch, ColumnBuilder},
    proc::{File, HostFiles, Links, Parser, builders, catalogue, fingerprint},
    scope::{Namespace, ScopeId},
    table::{Catalogue, Per, TableColumn},
};
use rustix::{
    fd::{AsFd, BorrowedFd},
    io::Errno,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// Reads the tables of procfs. Between two collections it holds no descriptor.
#[derive(Debug)]
pub struct ProcSource {
    root: Arc<Path>,
    page_size: u64,
    tables: Vec<Result<Prepared, String>>,
    /// Files of the tables of each namespace, those of the node's own tables, and both.
    everywhere: Vec<File>,
    once: Vec<File>,
    on_host: Vec<File>,
    texts: Texts,
    links: LinkCache,
    /// The `dev` of each namespace that was read in this collection, if a table wants peers: these are known only at its end.
    devs: Vec<(ScopeId, Result<Vec<u8>, String>)>,
    visitor: Visitor,
}

#[derive(Debug)]
struct Prepared {
    columns: Vec<TableColumn>,
    parser: Parser,
    wants_links: bool,
    wants_peers: bool,
}

/// A table as far as it is filled.
struct Filling {
    out: Vec<ColumnBuilder>,
    rows: usize,
    failed: Vec<(ScopeId, String)>,
    /// Why the whole table fails.
    broken: Option<String>,
}

impl ProcSource {
    /// `proc_root` is where procfs is mounted, `page_size` in bytes.
    pub fn new(proc_root: impl Into<PathBuf>, page_size: u64) -> Self {
        Self {
            root: proc_root.into().into(),
            page_size,
            tables: Vec::new(),
            everywhere: Vec::new(),
            once: Vec::new(),
            on_host: Vec::new(),
            texts: Texts::default(),
            links: LinkCache::default(),
            devs: Vec::new(),
            visitor: Visitor::default(),
        }
    }

    /// Another one for the same places, which shares the thread that goes into namespaces.
    pub fn another(&self) -> Self {
        Self { visitor: self.visitor.clone(), ..Self::new(&*self.root, self.page_size) }
    }

    /// The tables of this node, by the host's files as they are now.
    pub fn catalogue(&self) -> Catalogue {
        let mut texts = Texts::default();
        let host = read::open_folder(&self.root).and_then(|root| {
            let process = read::open_process(root.as_fd(), 1);
            process.or_else(|_| read::open_below(root.as_fd(), c"self"))
        });
        let files = match host {
            Ok(host) => {
                texts.read(host.as_fd(), &File::ALL);
                HostFiles::new(|file| texts.get(file).map(<[u8]>::to_vec))
            }
            Err(error) => HostFiles::new(|_| Err(self.unreadable(error))),
        };
        catalogue(&files, self.page_size)
    }

    /// Sets what the next collections read.
    pub fn prepare(&mut self, reads: Vec<Read>) {
        let page_size = self.page_size;
        let prepare = |Read { table, columns, .. }: Read| {
            let parser = Parser::new(&table, &columns, page_size)
                .ok_or_else(|| format!("{table} is no table of procfs; `netsonde tables` lists those"))?;
            let wants = |name| parser.file() == File::Dev && columns.iter().any(|column| column.name == name);
            let (wants_links, wants_peers) = (wants("kind") || wants("peer"), wants("peer"));
            Ok(Prepared { columns, parser, wants_links, wants_peers })
        };
        self.tables = reads.into_iter().map(prepare).collect();
        let wanted = |file: File, per: Per| {
            let mut tables = self.tables.iter().flatten();
            tables.any(|table| table.parser.file() == file && table.parser.per() == per)
        };
        self.everywhere = File::ALL.into_iter().filter(|&file| wanted(file, Per::Namespace)).collect();
        self.once = File::ALL.into_iter().filter(|&file| wanted(file, Per::Node)).collect();
        let both = |file: &File| self.everywhere.contains(file) || self.once.contains(file);
        self.on_host = File::ALL.into_iter().filter(both).collect();
    }

    /// Reads everything that was prepared, in each of `namespaces`, as long as it is not later than `deadline`.
    pub fn collect(&mut self, namespaces: &[Namespace], deadline: Instant) -> Collected {
        self.links.keep(namespaces);
        self.texts.seconds = Default::default();
        let mut filling: Vec<Filling> = self.tables.iter().map(Filling::new).collect();
        match read::open_folder(&self.root) {
            Ok(root) => {
                for namespace in namespaces {
                    self.namespace(root.as_fd(), namespace, deadline, &mut filling);
                }
                self.with_peers(&mut filling);
                self.node(root.as_fd(), deadline, &mut filling);
            }
            Err(error) => {
                for filling in &mut filling {
                    filling.broken.get_or_insert_with(|| self.unreadable(error));
                }
            }
        }
        let durations = self.on_host.iter().map(|&file| (file.name(), self.texts.seconds[file as usize])).collect();
        Collected { tables: filling.into_iter().map(Filling::finish).collect(), durations, passed: Vec::new() }
    }

    /// Fills every table of one namespace; the node's own ones too, if it is the host's.
    fn namespace(&mut self, root: BorrowedFd<'_>, namespace: &Namespace, deadline: Instant, filling: &mut [Filling]) {
        let files = if namespace.host { &self.on_host } else { &self.everywhere };
        if files.is_empty() {
            return;
        }
        let mut ways = Ways { root, proc_root: &self.root, visitor: &self.visitor, namespace, deadline };
        let read = if Instant::now() < deadline { ways.read(files, &mut self.texts) } else { Err(LATE.to_owned()) };
        let way = match read {
            Ok(way) => way,
            Err(why) => {
                for (_, filling) in each(&mut self.tables, filling, Per::Namespace) {
                    filling.failed.push((namespace.scope, why.clone()));
                }
                return;
            }
        };
        let dev = self.texts.get(File::Dev);
        let links = match dev {
            Ok(dev) if self.tables.iter().flatten().any(|table| table.wants_links) => {
                let ask = || ways.devices(&way);
                let devices = self.links.get(namespace.scope, fingerprint(dev), Instant::now(), ask);
                devices.map(|devices| Links { devices, peers: None })
            }
            _ => None,
        };
        let mut wants_peers = false;
        for (table, filling) in each(&mut self.tables, filling, Per::Namespace) {
            match table.wants_peers {
                true => wants_peers = true,
                false => filling.namespace(table, self.texts.get(table.parser.file()), namespace.scope, links),
            }
        }
        if wants_peers {
            self.devs.push((namespace.scope, dev.map(<[u8]>::to_vec)));
        }
        if namespace.host {
            fill_node(&mut self.tables, filling, &self.texts);
        }
    }

    /// Fills the tables that want peers, once every namespace's devices are known.
    fn with_peers(&mut self, filling: &mut [Filling]) {
        if self.devs.is_empty() {
            return;
        }
        let peers = self.links.peers(Instant::now());
        for (scope, dev) in self.devs.drain(..) {
            let links = self.links.known(scope).map(|devices| Links { devices, peers: Some(&peers) });
            let tables = each(&mut self.tables, filling, Per::Namespace).filter(|(table, _)| table.wants_peers);
            for (table, filling) in tables {
                filling.namespace(table, dev.as_deref().map_err(Clone::clone), scope, links);
            }
        }
    }

    /// Fills the tables of the node, if the host's namespace did not: they are the same in every namespace.
    fn node(&mut self, root: BorrowedFd<'_>, deadline: Instant, filling: &mut [Filling]) {
        if each(&mut self.tables, filling, Per::Node).all(|(_, filling)| filling.is_done()) {
            return;
        }
        let own = if Instant::now() < deadline {
            read::open_below(root, c"self").map_err(|error| format!("open {}/self: {error}", self.root.display()))
        } else {
            Err(LATE.to_owned())
        };
        match own {
            Ok(own) => {
                self.texts.read(own.as_fd(), &self.once);
                fill_node(&mut self.tables, filling, &self.texts);
            }
            Err(why) => {
                for (_, filling) in each(&mut self.tables, filling, Per::Node) {
                    filling.broken.get_or_insert_with(|| why.clone());
                }
            }
        }
    }

    fn unreadable(&self, error: Errno) -> String {
        format!("open {}: {error}; set proc_root to where procfs is mounted", self.root.display())
    }
}

/// The tables that are read so often, each with its rows so far.
fn each<'a>(
    tables: &'a mut [Result<Prepared, String>],
    filling: &'a mut [Filling],
    per: Per,
) -> impl Iterator<Item = (&'a mut Prepared, &'a mut Filling)> {
    let pairs = tables.iter_mut().zip(filling);
    pairs.filter_map(move |(table, filling)| {
        Some((table.as_mut().ok().filter(|table| table.parser.per() == per)?, filling))
    })
}

/// Fills the tables of the node that are not filled yet.
fn fill_node(tables: &mut [Result<Prepared, String>], filling: &mut [Filling], texts: &Texts) {
    for (table, filling) in each(tables, filling, Per::Node).filter(|(_, filling)| !filling.is_done()) {
        if let Err(why) = filling.parse(table, texts.get(table.parser.file()), None, None) {
            filling.broken = Some(why);
        }
    }
}

impl Filling {
    fn new(table: &Result<Prepared, String>) -> Self {
        let out = table.as_ref().map(|table| builders(&table.columns)).unwrap_or_default();
        Self { out, rows: 0, failed: Vec::new(), broken: table.as_ref().err().cloned() }
    }

    /// Whether a table of the node has its rows, or its reason.
    fn is_done(&self) -> bool {
        self.rows > 0 || self.broken.is_some()
    }

    /// Takes the rows of one namespace, or why there are none.
    fn namespace(
        &mut self,
        table: &mut Prepared,
        text: Result<&[u8], String>,
        scope: ScopeId,
        links: Option<Links<'_>>,
    ) {
        if let Err(why) = self.parse(table, text, Some(scope), links) {
            self.failed.push((scope, why));
        }
    }

    fn parse(
        &mut self,
        table: &mut Prepared,
        text: Result<&[u8], String>,
        scope: Option<ScopeId>,
        links: Option<Links<'_>>,
    ) -> Result<(), String> {
        self.rows += table.parser.parse(text?, scope, links, &mut self.out).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn finish(self) -> Result<TableRows, String> {
        if let Some(why) = self.broken {
            return Err(why);
        }
        let columns = self.out.into_iter().map(ColumnBuilder::finish).collect();
        Ok(TableRows { batch: Batch { rows: self.rows, columns }, failed: self.failed, overflows: 0 })
    }
}
