//! What is done in the namespace: things that the kernel answers with resets and drops, each between ports that are known.

use super::Trouble;
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt},
    time::{ClockId, clock_gettime},
};
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

/// Everything here is on one machine, and answered at once.
const WAIT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A connection to a port where nobody listens: a reset, and a drop.
    ClosedPort,
    /// A connection that is thrown away: a reset.
    Abort,
    /// A datagram for a port that nobody has: a drop.
    Datagram,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub what: What,
    pub address: IpAddr,
    pub from: u16,
    pub to: u16,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub at: u64,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::ClosedPort => "connection to a closed port",
            What::Abort => "connection thrown away",
            What::Datagram => "datagram to a closed port",
        };
        write!(f, "{what}, {} to {}", SocketAddr::new(self.address, self.from), self.to)
    }
}

/// Does everything; without `::1` only by IPv4.
///
/// # Errors
/// If loopback does not behave as it should.
pub fn all() -> Result<Vec<Act>, Trouble> {
    let mut acts = by(Ipv4Addr::LOCALHOST.into(), 40_001)?;
    let six = Ipv6Addr::LOCALHOST.into();
    if has(six) {
        acts.extend(by(six, 40_011)?);
    }
    Ok(acts)
}

fn has(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Ports count up from `first`: nobody else is in the namespace.
fn by(address: IpAddr, first: u16) -> Result<Vec<Act>, Trouble> {
    type Done = fn(&mut Act) -> io::Result<()>;
    let all: [(What, Done); 3] = [(What::ClosedPort, closed_port), (What::Abort, abort), (What::Datagram, datagram)];
    let act = |((what, act), index): ((What, Done), u16)| {
        let mut done = Act { what, address, from: first + index, to: 7_000 + first % 100 + index, at: 0 };
        act(&mut done).map_err(|error| Trouble::Failed(format!("{done}: {error}")))?;
        Ok(done)
    };
    all.into_iter().zip(0..).map(act).collect()
}

/// CLOCK_MONOTONIC in nanoseconds, by which the kernel gives the times of rows.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn tcp(act: &Act) -> io::Result<OwnedFd> {
    let family = if act.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Of a connection, the time to wait for its answer (socket(7)).
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(WAIT))?;
    bind(&socket, &SocketAddr::new(act.address, act.from))?;
    Ok(socket)
}

fn closed_port(act: &mut Act) -> io::Result<()> {
    let socket = tcp(act)?;
    act.at = now();
    match connect(&socket, &SocketAddr::new(act.address, act.to)) {
        Err(Errno::CONNREFUSED) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => Err(io::Error::other("somebody listens there")),
    }
}

/// Closed with nothing to linger for, a connection is reset (tcp(7)).
fn abort(act: &mut Act) -> io::Result<()> {
    let to = SocketAddr::new(act.address, act.to);
    let listener = TcpListener::bind(to)?;
    sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, Some(WAIT))?;
    let socket = tcp(act)?;
    connect(&socket, &to)?;
    let _other_end = listener.accept()?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    act.at = now();
    drop(socket);
    Ok(())
}

fn datagram(act: &mut Act) -> io::Result<()> {
    let socket = UdpSocket::bind((act.address, act.from))?;
    act.at = now();
    socket.send_to(b"netsonde", (act.address, act.to)).map(|_| ())
}
