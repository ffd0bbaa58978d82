//! What the rows come to by owner, protocol and family of addresses.

use netsonde_sdk::prelude::*;
use std::collections::BTreeMap;

/// As the label `protocol` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Mptcp,
    Raw,
    Unix,
    Netlink,
    Packet,
    #[default]
    Other,
}

/// Address families (include/linux/socket.h).
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
const AF_PACKET: u64 = 17;

/// Types of sockets (include/linux/net.h).
const SOCK_STREAM: u64 = 1;
const SOCK_DGRAM: u64 = 2;
const SOCK_RAW: u64 = 3;

impl Protocol {
    /// A raw socket may have any number for its protocol, that of TCP too.
    fn of(family: Option<u64>, kind: Option<u64>, protocol: Option<u64>) -> Self {
        match (family, kind, protocol) {
            (Some(AF_INET | AF_INET6), Some(SOCK_STREAM), Some(6)) => Protocol::Tcp,
            (Some(AF_INET | AF_INET6), Some(SOCK_DGRAM), Some(17)) => Protocol::Udp,
            (Some(AF_INET | AF_INET6), Some(SOCK_STREAM), Some(262)) => Protocol::Mptcp,
            (Some(AF_INET | AF_INET6), Some(SOCK_RAW), _) => Protocol::Raw,
            (Some(AF_UNIX), ..) => Protocol::Unix,
            (Some(AF_NETLINK), ..) => Protocol::Netlink,
            (Some(AF_PACKET), ..) => Protocol::Packet,
            _ => Protocol::Other,
        }
    }

    pub fn is_tcp(self) -> bool {
        self == Protocol::Tcp
    }

    fn label(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Mptcp => "mptcp",
            Protocol::Raw => "raw",
            Protocol::Unix => "unix",
            Protocol::Netlink => "netlink",
            Protocol::Packet => "packet",
            Protocol::Other => "other",
        }
    }
}

/// As the label `family` has it; empty for what is not of the internet.
fn family_label(family: Option<u64>) -> &'static str {
    match family {
        Some(AF_INET) => "ipv4",
        Some(AF_INET6) => "ipv6",
        _ => "",
    }
}

/// Sums and greatest values of a group of sockets; None where no row had a value. Of TCP the kernel keeps what is to be sent in a queue
/// (`sk_wmem_queued`), and `sk_wmem_alloc` is only that part of it which is on its way to the device; the others have no such queue.
#[derive(Default)]
pub struct Amounts {
    protocol: Protocol,
    pub sockets: Option<f64>,
    receive: Option<f64>,
    deficit: Option<f64>,
    queue: Option<f64>,
    send: Option<f64>,
    pub forward_alloc: Option<f64>,
    pub backlog: Option<f64>,
    receive_share: Option<f64>,
    queue_share: Option<f64>,
    send_share: Option<f64>,
    pub receive_full: Option<f64>,
    queue_full: Option<f64>,
    send_full: Option<f64>,
    pub drops: Option<f64>,
    pub unread: Option<f64>,
    pub unsent: Option<f64>,
    pub unacked: Option<f64>,
}

impl Amounts {
    fn has_queue(&self) -> bool {
        matches!(self.protocol, Protocol::Tcp | Protocol::Mptcp)
    }

    /// What UDP has given to programs and not taken off its account yet (`forward_deficit`) is not in its buffers any more. A kernel that
    /// cannot tell how much that is cannot tell the rest either.
    pub fn receive(&self) -> Option<f64> {
        match self.protocol {
            Protocol::Udp => Some((self.receive? - self.deficit?).max(0.0)),
            _ => self.receive,
        }
    }

    pub fn send(&self) -> Option<f64> {
        if self.has_queue() { self.queue } else { self.send }
    }

    pub fn receive_share(&self) -> Option<f64> {
        Some(self.receive_share? / 1000.0)
    }

    pub fn send_share(&self) -> Option<f64> {
        Some(if self.has_queue() { self.queue_share? } else { self.send_share? } / 1000.0)
    }

    pub fn send_full(&self) -> Option<f64> {
        if self.has_queue() { self.queue_full } else { self.send_full }
    }
}

type Group = (Option<Scope>, Protocol, &'static str);

/// The amounts of each group, in an order that stays.
pub struct Sums(BTreeMap<Group, Amounts>);

impl Sums {
    /// Adds the rows up. Several are of one group: sockets that are nearly full and others, raw ones of several protocols.
    ///
    /// # Errors
    /// If the rows lack a column.
    pub fn of(rows: &Rows<'_>) -> Result<Self> {
        let [owner, family, protocol, kind] = columns(rows, ["owner", "family", "protocol", "kind"])?;
        let [unconnected, receive_full, queue_full, send_full] =
            columns(rows, ["unconnected", "receive_full", "queue_full", "send_full"])?;
        let [sockets, receive, deficit, queue, send, forward_alloc, backlog] =
            columns(rows, ["sockets", "receive", "deficit", "queue", "send", "forward_alloc", "backlog"])?;
        let [receive_share, queue_share, send_share] = columns(rows, ["receive_share", "queue_share", "send_share"])?;
        let [drops, numa_drops] = columns(rows, ["drops", "numa_drops"])?;
        let [unread, unsent, unacked] = columns(rows, ["unread", "unsent", "unacked"])?;

        let mut sums: BTreeMap<Group, Amounts> = BTreeMap::new();
        for row in 0..rows.len() {
            let protocol = Protocol::of(family.u64(row), kind.u64(row), protocol.u64(row));
            let group = (owner.scope(row), protocol, family_label(family.u64(row)));
            let to = sums.entry(group).or_insert_with(|| Amounts { protocol, ..Amounts::default() });
            let full = |column: &Column| Some(if column.bool(row) == Some(true) { sockets.f64(row)? } else { 0.0 });
            add(&mut to.sockets, sockets.f64(row));
            add(&mut to.receive_full, full(receive_full));
            add(&mut to.queue_full, full(queue_full));
            add(&mut to.send_full, full(send_full));
            add(&mut to.receive, receive.f64(row));
            add(&mut to.deficit, deficit.f64(row));
            add(&mut to.queue, queue.f64(row));
            add(&mut to.send, send.f64(row));
            add(&mut to.forward_alloc, forward_alloc.f64(row));
            add(&mut to.backlog, backlog.f64(row));
            raise(&mut to.receive_share, receive_share.f64(row));
            raise(&mut to.queue_share, queue_share.f64(row));
            raise(&mut to.send_share, send_share.f64(row));
            add(&mut to.drops, drops.f64(row));
            add(&mut to.drops, numa_drops.f64(row));
            let connected = unconnected.bool(row) != Some(true);
            let bytes = |column: &Column| column.f64(row).map(|bytes| if connected { bytes } else { 0.0 });
            add(&mut to.unread, bytes(unread));
            add(&mut to.unsent, bytes(unsent));
            add(&mut to.unacked, bytes(unacked));
        }
        Ok(Self(sums))
    }

    /// Scope, protocol and family of each group of these protocols.
    pub fn labels(&self, wanted: impl Fn(Protocol) -> bool) -> (Column, Column, Column) {
        let groups: Vec<&Group> = self.0.keys().filter(|(_, protocol, _)| wanted(*protocol)).collect();
        (
            Column::scopes(groups.iter().map(|(scope, ..)| *scope)),
            Column::texts(groups.iter().map(|(_, protocol, _)| Some(protocol.label()))),
            Column::texts(groups.iter().map(|(.., family)| Some(*family))),
        )
    }

    /// One value of each of the same groups. The kernel reads a socket while it works: what came out as a little less than nothing is 0.
    pub fn values(&self, wanted: impl Fn(Protocol) -> bool, value: fn(&Amounts) -> Option<f64>) -> Column {
        let amounts = self.0.values().filter(|amounts| wanted(amounts.protocol));
        Column::numbers(amounts.map(|amounts| Some(value(amounts)?.max(0.0))))
    }
}

fn columns<'a, const N: usize>(rows: &Rows<'a>, names: [&str; N]) -> Result<[&'a Column; N]> {
    let columns = names.iter().map(|name| rows.column(name)).collect::<Result<Vec<_>>>()?;
    columns.try_into().map_err(|_| "columns went missing".to_owned())
}

fn add(to: &mut Option<f64>, more: Option<f64>) {
    if let Some(more) = more {
        *to = Some(to.unwrap_or(0.0) + more);
    }
}

fn raise(to: &mut Option<f64>, other: Option<f64>) {
    if let Some(other) = other {
        *to = Some(to.map_or(other, |to| to.max(other)));
    }
}
