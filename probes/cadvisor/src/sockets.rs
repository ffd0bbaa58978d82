//! What cAdvisor would read from a namespace's /proc/net/{tcp,tcp6,udp,udp6}, from the pass over processes' sockets and the kernel's dumps.

use netsonde_sdk::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Which of the two files a socket is in: by its own family, whatever the addresses.
#[derive(Clone, Copy)]
pub enum Family {
    Inet,
    Inet6,
}

impl Family {
    fn of(number: Option<u64>) -> Option<Self> {
        match number {
            Some(2) => Some(Family::Inet),
            Some(10) => Some(Family::Inet6),
            _ => None,
        }
    }
}

/// cAdvisor's words, in the order of the kernel's numbers, which begin at 1. The kernel's dumps tell a request (12) as SYN_RECV.
pub const TCP_STATES: [&str; 11] = [
    "established",
    "synsent",
    "synrecv",
    "finwait1",
    "finwait2",
    "timewait",
    "close",
    "closewait",
    "lastack",
    "listen",
    "closing",
];
/// A socket in CLOSE is in none of the kernel's tables, and so not in /proc/net/tcp: there are always 0.
const CLOSE: u64 = 7;
const TCP: Option<u64> = Some(6);

/// States in which there are sockets that no process can hold.
const REST: &[u64] = &[3, 5, 6];
const ALL_BUT_CLOSE: &[u64] = &[1, 2, 3, 4, 5, 6, 8, 9, 10, 11];

/// cAdvisor's words, which are no states: how many sockets, how many packets they dropped, how many bytes wait in them.
pub const UDP_STATES: [&str; 4] = ["listen", "dropped", "rxqueued", "txqueued"];

/// The kernel's dumps of TCP sockets.
pub struct Dumps {
    /// Where a process holds every socket but those that none can hold: requests, and what is left of closed connections.
    pub rest: Query,
    /// Where there are others as well: orphans, connections that wait to be accepted.
    pub whole: Query,
}

/// By family. What is not known this time is None.
#[derive(Clone)]
struct Counts {
    tcp: [[Option<f64>; TCP_STATES.len()]; 2],
    udp: [[f64; UDP_STATES.len()]; 2],
    /// States that the pass cannot tell of.
    untold: &'static [u64],
}

/// By namespace.
pub struct Sockets(BTreeMap<Scope, Counts>);

impl Sockets {
    /// No sockets at all in each of the node's namespaces.
    ///
    /// # Errors
    /// If the rows lack a column.
    pub fn none_of(node: &Rows<'_>) -> Result<Self> {
        let (inuse, owned) = (node.column("inuse")?, node.column("owned")?);
        let (tw, requests) = (node.column("tw")?, node.column("requests")?);
        let netns = node.column("netns")?;
        let counts = |row| {
            let untold = match (inuse.u64(row) > owned.u64(row), tw.u64(row) > Some(0) || requests.u64(row) > Some(0)) {
                (true, _) => ALL_BUT_CLOSE,
                (false, true) => REST,
                (false, false) => &[],
            };
            let (tcp, udp) = ([[Some(0.0); TCP_STATES.len()]; 2], [[0.0; UDP_STATES.len()]; 2]);
            Some((netns.scope(row)?, Counts { tcp, udp, untold }))
        };
        Ok(Self((0..node.len()).filter_map(counts).collect()))
    }

    /// Adds the sockets that processes hold; of the `failed` namespaces nothing is known.
    ///
    /// # Errors
    /// If the rows lack a column.
    pub fn hold(&mut self, rows: &Rows<'_>, failed: &[Scope]) -> Result<()> {
        let (netns, family) = (rows.column("netns")?, rows.column("family")?);
        let (protocol, state, sockets) = (rows.column("protocol")?, rows.column("state")?, rows.column("sockets")?);
        let (receive, deficit, send) = (rows.column("receive")?, rows.column("deficit")?, rows.column("send")?);
        let (drops, numa_drops) = (rows.column("drops")?, rows.column("numa_drops")?);
        for row in 0..rows.len() {
            let counts = netns.scope(row).and_then(|scope| self.0.get_mut(&scope));
            let (Some(counts), Some(family)) = (counts, Family::of(family.u64(row))) else { continue };
            if protocol.u64(row) == TCP {
                counts.add(family, state.u64(row).filter(|state| *state != CLOSE), sockets.f64(row));
                continue;
            }
            let number = |column: &Column| column.f64(row).unwrap_or(0.0);
            // What was given to programs and not taken off the account yet is not in the buffers any more.
            let received = (number(receive) - number(deficit)).max(0.0);
            let more = [number(sockets), number(drops) + number(numa_drops), received, number(send).max(0.0)];
            counts.udp[family as usize].iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        self.0.retain(|scope, _| !failed.contains(scope));
        Ok(())
    }

    /// Takes the dumps' counts for those of the namespaces in them. Where there is no answer, and the pass cannot tell all, a state is not known:
    /// better none than too few.
    ///
    /// # Errors
    /// If the rows lack a column.
    pub fn put_in(&mut self, call: &Call, dumps: &Dumps) -> Result<()> {
        let dumps = [(dumps.rest, REST), (dumps.whole, ALL_BUT_CLOSE)];
        for (dump, states) in dumps {
            let (unanswered, failed) = (call.rows(dump).is_none(), call.failed_scopes(dump));
            let is_lost = |(scope, counts): &(&Scope, &mut Counts)| {
                failed.contains(scope) || unanswered && counts.untold == states
            };
            self.0.iter_mut().filter(is_lost).for_each(|(_, counts)| counts.put(states, None));
        }
        for (dump, states) in dumps {
            if let Some(rows) = call.rows(dump) {
                self.replace(&rows, states)?;
            }
        }
        Ok(())
    }

    fn replace(&mut self, dump: &Rows<'_>, states: &[u64]) -> Result<()> {
        let (netns, family, state) = (dump.column("netns")?, dump.column("family")?, dump.column("state")?);
        let sockets = dump.column("sockets")?;
        let told: BTreeSet<Scope> = (0..dump.len()).filter_map(|row| netns.scope(row)).collect();
        for (_, counts) in self.0.iter_mut().filter(|(scope, _)| told.contains(scope)) {
            counts.put(states, Some(0.0));
        }
        for row in 0..dump.len() {
            let counts = netns.scope(row).and_then(|scope| self.0.get_mut(&scope));
            if let (Some(counts), Some(family)) = (counts, Family::of(family.u64(row))) {
                counts.add(family, state.u64(row).filter(|state| states.contains(state)), sockets.f64(row));
            }
        }
        Ok(())
    }

    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.0.keys().copied()
    }

    /// Of each namespace the states, in their order.
    pub fn tcp(&self, family: Family) -> Vec<Option<f64>> {
        self.0.values().flat_map(|counts| counts.tcp[family as usize]).collect()
    }

    /// The same.
    pub fn udp(&self, family: Family) -> Vec<Option<f64>> {
        self.0.values().flat_map(|counts| counts.udp[family as usize].map(Some)).collect()
    }
}

impl Counts {
    fn add(&mut self, family: Family, state: Option<u64>, more: Option<f64>) {
        let count = state.and_then(|state| self.tcp[family as usize].get_mut((state as usize).checked_sub(1)?));
        if let Some(Some(count)) = count {
            *count += more.unwrap_or(0.0);
        }
    }

    fn put(&mut self, states: &[u64], count: Option<f64>) {
        for family in &mut self.tcp {
            states.iter().for_each(|state| family[*state as usize - 1] = count);
        }
    }
}
