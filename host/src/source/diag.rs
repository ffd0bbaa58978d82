//! The table of sock_diag: the TCP sockets of each namespace, asked for inside it.

use super::{
    enter::Visitor,
    netlink::{ATTEMPTS, Netlink, PATIENCE},
    read,
    table::{Collected, LATE, Read, TableRows},
    ways::Ways,
};
use netsonde_core::{
    batch::{Batch, ColumnBuilder},
    diag::{self, Dump, Family, MAX_SOCKETS, Parser, Socket, Sockets},
    netlink::DumpError,
    proc::builders,
    scope::{Namespace, ScopeId},
    table::{Absent, Table, TableColumn},
};
use rustix::{
    fd::AsFd,
    io::Errno,
    net::{AddressFamily, SocketType, netlink::SOCK_DIAG},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// Under this name its time is told.
const SOURCE: &str = "sock_diag";

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("ask sock_diag for the TCP sockets: {0}")]
    Socket(#[from] Errno),
    #[error("ask sock_diag for the TCP sockets: no answer within {PATIENCE:?}")]
    Silent,
    #[error("ask sock_diag for the TCP sockets: this kernel has none (CONFIG_INET_TCP_DIAG, or the module tcp_diag)")]
    Without,
    #[error("ask sock_diag for the TCP sockets: {0}")]
    Diag(#[from] diag::DiagError),
    #[error("{LATE}")]
    Late,
}

impl From<DumpError> for AskError {
    fn from(error: DumpError) -> Self {
        AskError::Diag(error.into())
    }
}

impl AskError {
    fn refused(&self) -> Option<Errno> {
        match self {
            AskError::Diag(diag::DiagError::Dump(DumpError::Refused(error))) => Some(Errno::from_raw_os_error(*error)),
            _ => None,
        }
    }

    fn explained(self) -> Self {
        match (self.refused(), &self) {
            (Some(Errno::NOENT), _) => AskError::Without,
            (_, AskError::Socket(Errno::AGAIN)) => AskError::Silent,
            _ => self,
        }
    }
}

/// Reads the table. Between two collections it holds no descriptor.
#[derive(Debug)]
pub struct DiagSource {
    root: Arc<Path>,
    tables: Vec<Prepared>,
    visitor: Visitor,
}

#[derive(Debug)]
struct Prepared {
    columns: Vec<TableColumn>,
    parser: Parser,
    sockets: Sockets,
}

/// A table as far as it is filled.
struct Filling {
    out: Vec<ColumnBuilder>,
    rows: usize,
    failed: Vec<(ScopeId, String)>,
}

impl DiagSource {
    /// `proc_root` is where procfs is mounted: it leads into the namespaces.
    pub fn new(proc_root: impl Into<PathBuf>) -> Self {
        Self { root: proc_root.into().into(), tables: Vec::new(), visitor: Visitor::default() }
    }

    /// Another one for the same places, which shares the thread that goes into namespaces.
    pub fn another(&self) -> Self {
        Self { visitor: self.visitor.clone(), ..Self::new(&*self.root) }
    }

    /// The table, if this kernel has it.
    pub fn table(&self) -> Result<Table, Absent> {
        match supported() {
            Ok(()) => Ok(diag::table()),
            Err(why) => Err(Absent { name: diag::TABLE.to_owned(), why: why.to_string() }),
        }
    }

    /// Sets what the next collections read.
    pub fn prepare(&mut self, reads: Vec<Read>) {
        let prepare = |Read { columns, sockets, .. }: Read| {
            let sockets = sockets.unwrap_or(Sockets::ALL);
            Prepared { parser: Parser::new(&columns), columns, sockets }
        };
        self.tables = reads.into_iter().map(prepare).collect();
    }

    /// Reads everything that was prepared, in each of `namespaces`, as long as it is not later than `deadline`.
    pub fn collect(&mut self, namespaces: &[Namespace], deadline: Instant) -> Collected {
        if self.tables.is_empty() {
            return Collected::default();
        }
        let began = Instant::now();
        let mut filling: Vec<Filling> = self.tables.iter().map(Filling::new).collect();
        let opened = read::open_folder(&self.root);
        let tables = match opened {
            Ok(root) => {
                for namespace in namespaces {
                    let mut ways =
                        Ways { root: root.as_fd(), proc_root: &self.root, visitor: &self.visitor, namespace, deadline };
                    fill(&mut ways, &self.tables, &mut filling);
                }
                filling.into_iter().map(|filling| Ok(filling.finish())).collect()
            }
            Err(error) => {
                let why = format!("open {}: {error}; set proc_root to where procfs is mounted", self.root.display());
                filling.iter().map(|_| Err(why.clone())).collect()
            }
        };
        Collected { tables, durations: vec![(SOURCE, began.elapsed().as_secs_f64())], passed: Vec::new() }
    }
}

/// Fills every table of one namespace.
fn fill(ways: &mut Ways<'_>, tables: &[Prepared], filling: &mut [Filling]) {
    let (scope, deadline) = (ways.namespace.scope, ways.deadline);
    let wanted: Vec<(Sockets, usize)> =
        tables.iter().zip(filling.iter()).map(|(table, filling)| (table.sockets, MAX_SOCKETS - filling.rows)).collect();
    let answers = match Instant::now() < deadline {
        true => ways.inside(move || ask_all(&wanted, deadline)),
        false => Err(LATE.to_owned()),
    };
    let answers: Vec<Result<Vec<Socket>, String>> = match answers {
        Ok(answers) => answers.into_iter().map(|answer| answer.map_err(|error| error.to_string())).collect(),
        Err(why) => tables.iter().map(|_| Err(why.clone())).collect(),
    };
    for ((table, filling), answer) in tables.iter().zip(filling).zip(answers) {
        match answer {
            Ok(sockets) => {
                filling.rows += sockets.len();
                sockets.iter().for_each(|socket| table.parser.push(socket, scope, &mut filling.out));
            }
            Err(why) => filling.failed.push((scope, why)),
        }
    }
}

impl Filling {
    fn new(table: &Prepared) -> Self {
        Self { out: builders(&table.columns), rows: 0, failed: Vec::new() }
    }

    fn finish(self) -> TableRows {
        let columns = self.out.into_iter().map(ColumnBuilder::finish).collect();
        TableRows { batch: Batch { rows: self.rows, columns }, failed: self.failed, overflows: 0 }
    }
}

/// The sockets of the calling thread's namespace: each time those that are wanted, at most so many.
fn ask_all(wanted: &[(Sockets, usize)], deadline: Instant) -> Vec<Result<Vec<Socket>, AskError>> {
    wanted.iter().map(|&(sockets, most)| ask(sockets, most, deadline).map_err(AskError::explained)).collect()
}

fn ask(wanted: Sockets, most: usize, deadline: Instant) -> Result<Vec<Socket>, AskError> {
    let mut netlink = Netlink::open(Some(SOCK_DIAG), PATIENCE)?;
    let mut sockets = Vec::new();
    let mut sequence = 0;
    for family in wanted.families() {
        let begin = sockets.len();
        for attempt in 1.. {
            sequence += 1;
            let mut dump = Dump::new(sequence, most);
            let answered = netlink.ask(&wanted.request(family, sequence), |datagram| {
                if Instant::now() >= deadline {
                    return Err(AskError::Late);
                }
                Ok(dump.take(datagram, &mut sockets)?)
            });
            match answered.and_then(|()| Ok(dump.finish()?)) {
                Ok(()) => break,
                Err(AskError::Diag(diag::DiagError::Dump(DumpError::Interrupted))) if attempt < ATTEMPTS => {
                    sockets.truncate(begin);
                }
                // Without IPv6 there are no such sockets.
                Err(error) if family == Family::Inet6 && error.refused().is_some() && !has_ipv6() => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(sockets)
}

fn has_ipv6() -> bool {
    !matches!(rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None), Err(Errno::AFNOSUPPORT))
}

/// Whether this kernel answers at all. That it is short of something at the moment is no reason to take the table away.
fn supported() -> Result<(), AskError> {
    let answer = Netlink::open(Some(SOCK_DIAG), PATIENCE).map_err(AskError::from).and_then(|mut netlink| {
        let mut dump = Dump::new(1, 0);
        netlink.ask(&Sockets::none(1), |datagram| Ok(dump.take(datagram, &mut Vec::new())?))
    });
    match answer {
        Err(error @ AskError::Socket(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::PERM | Errno::ACCESS)) => {
            Err(error)
        }
        Err(error) if error.refused().is_some() => Err(error.explained()),
        _ => Ok(()),
    }
}
