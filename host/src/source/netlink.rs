//! Dumps of netlink, asked for in the namespace of the calling thread.

use netsonde_core::netlink::DumpError;
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt},
};
use std::time::Duration;

/// How long to wait for the kernel: it answers at once, unless somebody holds a lock that it needs.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// A dump of what changes while it is made is asked for again, so often in all.
pub(super) const ATTEMPTS: u32 = 5;
/// The kernel fills no datagram of a dump with more.
const DATAGRAM: usize = 32 * 1024;

/// A socket, and room for what it receives.
pub(super) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    /// None as protocol: rtnetlink. `patience` is for each datagram.
    pub(super) fn open(protocol: Option<Protocol>, patience: Duration) -> Result<Self, Errno> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(patience))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Sends a request, and gives `take` the datagrams of its answer until that says that it has all. After an error the socket is of no
    /// use any more: the kernel may not be done with the answer.
    pub(super) fn ask<E: From<Errno> + From<DumpError>>(
        &mut self,
        request: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        rustix::net::send(&self.socket, request, SendFlags::empty())?;
        loop {
            match rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC) {
                Ok((_, length)) => {
                    if take(self.buffer.get(..length).ok_or(DumpError::Cut)?)? {
                        return Ok(());
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
