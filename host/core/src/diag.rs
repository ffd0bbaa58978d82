//! sock_diag(7): the TCP sockets of a namespace, as include/uapi/linux/{sock_diag,inet_diag}.h have them: one dump for IPv4, one for IPv6.
//!
//! Unlike a pass over the files of processes, it knows of sockets that no process holds: orphans, TIME_WAIT, requests, and connections that
//! nobody has accepted. Attributes after the fixed part are passed over.

use crate::{
    batch::ColumnBuilder,
    bpf::enums::EnumNames,
    netlink::{self, Answer, DumpError, u32_at},
    query::Query,
    scope::ScopeId,
    table::{Logical, Names, Per, Table, TableColumn, Type},
};
use std::sync::{Arc, LazyLock};

/// The table's name.
pub const TABLE: &str = "netlink.sock_diag";

/// Rows that one read may have, of all namespaces together: some 100 MB.
pub const MAX_SOCKETS: usize = 1_000_000;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const IPPROTO_TCP: u8 = 6;
/// `struct inet_diag_req_v2`, and `struct inet_diag_msg` without its attributes.
const REQUEST: usize = 56;
const MESSAGE: usize = 72;

/// include/net/tcp_states.h. The kernel tells a request (12) as SYN_RECV, and a socket that is only bound (13, since Linux 6.8) as CLOSE.
const STATES: [(&str, i64); 13] = [
    ("TCP_ESTABLISHED", 1),
    ("TCP_SYN_SENT", 2),
    ("TCP_SYN_RECV", 3),
    ("TCP_FIN_WAIT1", 4),
    ("TCP_FIN_WAIT2", 5),
    ("TCP_TIME_WAIT", 6),
    ("TCP_CLOSE", 7),
    ("TCP_CLOSE_WAIT", 8),
    ("TCP_LAST_ACK", 9),
    ("TCP_LISTEN", 10),
    ("TCP_CLOSING", 11),
    ("TCP_NEW_SYN_RECV", 12),
    ("TCP_BOUND_INACTIVE", 13),
];
const SYN_RECV: u32 = 1 << 3;
const CLOSE: u32 = 1 << 7;
const NEW_SYN_RECV: u32 = 1 << 12;
const BOUND_INACTIVE: u32 = 1 << 13;

/// A family of addresses, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Inet = 2,
    Inet6 = 10,
}

/// Why a dump gives no sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiagError {
    #[error(transparent)]
    Dump(#[from] DumpError),
    #[error(
        "more TCP sockets than the {MAX_SOCKETS} that a read may have of all namespaces: ask for fewer, by WHERE state = ... or netns IN (SELECT ...); counts are in proc.net.sockstat"
    )]
    TooMany,
}

/// Which sockets the kernel is asked for: those that a query's filter may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Bit n: those that the kernel tells as in state n.
    states: u32,
    inet: bool,
    inet6: bool,
}

impl Sockets {
    pub const ALL: Self = Self { states: u32::MAX, inet: true, inet6: true };

    /// Those that `query`, over this table, may be about.
    pub fn of(query: &Query) -> Self {
        let may = |column, value| query.may_have(column, value);
        let states =
            (0..u32::BITS).filter(|&state| may("state", state.into())).fold(0, |bits, state| bits | 1 << state);
        let states = if may("protocol", IPPROTO_TCP.into()) { states } else { 0 };
        let family = |family: Family| may("family", family as i128);
        Self { states, inet: family(Family::Inet), inet6: family(Family::Inet6) }
    }

    /// What must be asked for.
    pub fn families(self) -> impl Iterator<Item = Family> {
        let families = [(Family::Inet, self.inet), (Family::Inet6, self.inet6)];
        families.into_iter().filter(move |(_, wanted)| *wanted && self.states != 0).map(|(family, _)| family)
    }

    /// The request for those of a family.
    pub fn request(self, family: Family, sequence: u32) -> [u8; netlink::HEADER + REQUEST] {
        let mut body = [0; REQUEST];
        body[0] = family as u8;
        body[1] = IPPROTO_TCP;
        body[4..8].copy_from_slice(&self.kernel_states().to_ne_bytes());
        netlink::request(SOCK_DIAG_BY_FAMILY, sequence, &body)
    }

    /// `idiag_states`, which goes by the states that sockets are in, not by those that the kernel tells.
    fn kernel_states(self) -> u32 {
        let told = self.states & !(NEW_SYN_RECV | BOUND_INACTIVE);
        let also = |state: u32, kept: u32| if told & state != 0 { kept } else { 0 };
        told | also(SYN_RECV, NEW_SYN_RECV) | also(CLOSE, BOUND_INACTIVE)
    }

    /// A request that the kernel answers with nothing, if it can answer at all.
    pub fn none(sequence: u32) -> [u8; netlink::HEADER + REQUEST] {
        Self { states: 0, ..Self::ALL }.request(Family::Inet, sequence)
    }
}

/// One socket: `struct inet_diag_msg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket([u8; MESSAGE]);

impl Socket {
    fn number(&self, at: usize) -> u64 {
        u32_at(&self.0, at).map_or(0, u64::from)
    }

    fn port(&self, at: usize) -> u64 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]]).into()
    }

    fn address(&self, at: usize) -> [u8; 16] {
        let mut address = [0; 16];
        if self.0[0] == Family::Inet as u8 {
            address[10..12].copy_from_slice(&[0xff; 2]);
            address[12..].copy_from_slice(&self.0[at..at + 4]);
        } else {
            address.copy_from_slice(&self.0[at..at + 16]);
        }
        address
    }
}

/// Gathers the answer to one request, datagram by datagram.
#[derive(Debug)]
pub struct Dump {
    answer: Answer,
    most: usize,
}

impl Dump {
    /// At most `most` sockets are wanted in all.
    pub fn new(sequence: u32, most: usize) -> Self {
        Self { answer: Answer::new(sequence), most }
    }

    /// Appends the sockets of one datagram to `sockets`. True: that was the last one.
    ///
    /// # Errors
    /// If the kernel refuses, the answer is cut short, or there are too many: then what was appended is of no use.
    pub fn take(&mut self, datagram: &[u8], sockets: &mut Vec<Socket>) -> Result<bool, DiagError> {
        self.answer.take(datagram, |ty, body| {
            if ty != SOCK_DIAG_BY_FAMILY {
                return Ok(());
            }
            if sockets.len() >= self.most {
                return Err(DiagError::TooMany);
            }
            sockets.push(Socket(*body.first_chunk().ok_or(DumpError::Cut)?));
            Ok(())
        })
    }

    /// Whether the sockets are of one moment, once `take` said that it has all.
    ///
    /// # Errors
    /// [`DumpError::Interrupted`].
    pub fn finish(&self) -> Result<(), DumpError> {
        self.answer.finish()
    }
}

/// Turns sockets into the wanted columns.
#[derive(Debug)]
pub struct Parser(Vec<Field>);

#[derive(Clone, Copy, Debug)]
enum Field {
    Scope,
    Byte(usize),
    Protocol,
    Address(usize),
    Port(usize),
    Number(usize),
    Expires,
    Unknown,
}

impl Parser {
    /// A parser for `columns`, as [`table`] has them; any other is NULL.
    pub fn new(columns: &[TableColumn]) -> Self {
        let field = |column: &TableColumn| match column.name.as_str() {
            "netns" => Field::Scope,
            "family" => Field::Byte(0),
            "protocol" => Field::Protocol,
            "state" => Field::Byte(1),
            "timer" => Field::Byte(2),
            "lport" => Field::Port(4),
            "rport" => Field::Port(6),
            "laddr" => Field::Address(8),
            "raddr" => Field::Address(24),
            "expires" => Field::Expires,
            "rqueue" => Field::Number(56),
            "wqueue" => Field::Number(60),
            "uid" => Field::Number(64),
            "inode" => Field::Number(68),
            _ => Field::Unknown,
        };
        Self(columns.iter().map(field).collect())
    }

    /// Appends a row to `out`, one builder a column in the order of `new`.
    pub fn push(&self, socket: &Socket, scope: ScopeId, out: &mut [ColumnBuilder]) {
        for (field, out) in self.0.iter().zip(out) {
            match *field {
                Field::Scope => out.push_u64(scope.into()),
                Field::Byte(at) => out.push_u64(socket.0[at].into()),
                Field::Protocol => out.push_u64(IPPROTO_TCP.into()),
                Field::Address(at) => out.push_address(&socket.address(at)),
                Field::Port(at) => out.push_u64(socket.port(at)),
                Field::Number(at) => out.push_u64(socket.number(at)),
                // In milliseconds; of no timer it says nothing.
                Field::Expires if socket.0[2] != 0 => out.push_u64(socket.number(52) * 1_000_000),
                Field::Expires | Field::Unknown => out.push_null(),
            }
        }
    }
}

static STATE_NAMES: LazyLock<Arc<EnumNames>> =
    LazyLock::new(|| Arc::new(EnumNames::fixed("the enum of TCP's states", &STATES)));
static PROTOCOL_NAMES: LazyLock<Arc<EnumNames>> =
    LazyLock::new(|| Arc::new(EnumNames::fixed("the enum of protocols", &[("IPPROTO_TCP", IPPROTO_TCP.into())])));

/// The table, as every kernel has it that answers at all.
pub fn table() -> Table {
    let number = |name: &str, help: &str| TableColumn::new(name, Type::U64, Logical::Count).help(help);
    let address = |name: &str, help: &str| TableColumn::new(name, Type::Address, Logical::Address).help(help);
    let port = |name: &str| TableColumn::new(name, Type::U64, Logical::Port);
    let bytes = |name: &str, help: &str| TableColumn::new(name, Type::U64, Logical::Bytes).help(help);
    let named =
        |column: TableColumn, names: &Arc<EnumNames>| TableColumn { names: Some(Names::Enum(names.clone())), ..column };
    let state = "1 ESTABLISHED, 3 SYN_RECV (requests too), 6 TIME_WAIT, 8 CLOSE_WAIT, 10 LISTEN, ...: name(state)";
    let inode = "of the file that holds it; 0 without one: orphans, TIME_WAIT, requests, connections not accepted yet";
    let timer = "0 none, 1 retransmission, 2 keep-alive, 3 TIME_WAIT, 4 zero window probe";
    let columns = vec![
        TableColumn::new("netns", Type::Scope, Logical::Scope).help("the network namespace"),
        number("family", "of the socket: 2 IPv4, 10 IPv6 (which may carry IPv4)"),
        named(number("protocol", "6, TCP"), &PROTOCOL_NAMES),
        named(number("state", state), &STATE_NAMES),
        address("laddr", "its own address"),
        port("lport"),
        address("raddr", "the other end's"),
        port("rport"),
        bytes("rqueue", "received and not read; of LISTEN: connections that wait to be accepted"),
        bytes("wqueue", "written and not acknowledged; of LISTEN: how many connections may wait"),
        number("uid", "the owner, who made it; 0 too where nobody holds it"),
        number("inode", inode),
        number("timer", timer),
        TableColumn::new("expires", Type::U64, Logical::Nanoseconds).nullable().help("time until the timer runs out"),
    ];
    Table {
        name: TABLE.to_owned(),
        help: "TCP sockets of a namespace, those too that no process holds; dear: limit it by state and netns"
            .to_owned(),
        source: "sock_diag(7)".to_owned(),
        per: Per::Namespace,
        columns,
        open_prefixes: Vec::new(),
        elsewhere: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
