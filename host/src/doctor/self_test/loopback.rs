//! Brings `lo` up, by rtnetlink (include/uapi/linux/{netlink,rtnetlink,if}.h).

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt},
};
use std::time::Duration;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFF_UP: u32 = 1;
/// `lo` is the first device of every namespace (`LOOPBACK_IFINDEX` in include/net/flow.h).
const LO: u32 = 1;
const SEQUENCE: u32 = 1;

/// The kernel answers at once, unless somebody holds the lock of all devices.
const PATIENCE: Duration = Duration::from_secs(2);

/// In the namespace of the calling thread.
pub fn up() -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut buffer = [0; 256];
    let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    answer(&buffer[..length.min(buffer.len())])
}

/// `struct nlmsghdr`, then `struct ifinfomsg`: family, type, index, flags, and which of them change.
fn request() -> [u8; 32] {
    let mut message = [0; 32];
    message[0..4].copy_from_slice(&32_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message[8..12].copy_from_slice(&SEQUENCE.to_ne_bytes());
    message[20..24].copy_from_slice(&LO.to_ne_bytes());
    message[24..28].copy_from_slice(&IFF_UP.to_ne_bytes());
    message[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    message
}

/// A message of type NLMSG_ERROR carries an errno, negative, or 0.
fn answer(message: &[u8]) -> Result<(), Errno> {
    let ty = message.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = message.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (ty, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error @ -4095..0)) => Err(Errno::from_raw_os_error(-error)),
        _ => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_word_means_that_it_is_up() {
        let message = |ty: u16, error: i32| {
            let mut message = [0; 36];
            message[4..6].copy_from_slice(&ty.to_ne_bytes());
            message[16..20].copy_from_slice(&error.to_ne_bytes());
            message
        };
        for (bytes, expected) in [
            (&message(2, 0)[..], Ok(())),
            (&message(2, -1), Err(Errno::PERM)),
            (&message(2, i32::MIN), Err(Errno::BADMSG)),
            (&message(2, 1), Err(Errno::BADMSG)),
            (&message(3, 0), Err(Errno::BADMSG)),
            (&message(2, 0)[..18], Err(Errno::BADMSG)),
            (&[], Err(Errno::BADMSG)),
        ] {
            assert_eq!(answer(bytes), expected, "{bytes:?}");
        }
    }
}
