//! netlink: the answer to one request for a dump, message by message, as include/uapi/linux/netlink.h has it.

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
/// Of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// Why an answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    #[error("the kernel refuses: errno {0}")]
    Refused(i32),
    #[error("the kernel lost a part of the answer; it is asked again in the next collection")]
    Overrun,
    #[error("what is there changed while it was listed; it is asked again in the next collection")]
    Interrupted,
    #[error("the kernel's answer is cut short; report it with the kernel's version")]
    Cut,
}

/// A request for everything of a kind: `ty` and what belongs into the body, whose length is `LENGTH` with the header.
pub(crate) fn request<const LENGTH: usize>(ty: u16, sequence: u32, body: &[u8]) -> [u8; LENGTH] {
    let mut message = [0; LENGTH];
    message[0..4].copy_from_slice(&(LENGTH as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&ty.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
    message[HEADER..].iter_mut().zip(body).for_each(|(place, byte)| *place = *byte);
    message
}

/// Follows the answer to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    sequence: u32,
    interrupted: bool,
}

impl Answer {
    pub fn new(sequence: u32) -> Self {
        Self { sequence, interrupted: false }
    }

    /// Takes one datagram: `each` gets type and body of its messages. True: that was the last one.
    pub fn take<E: From<DumpError>>(
        &mut self,
        mut datagram: &[u8],
        mut each: impl FnMut(u16, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        while !datagram.is_empty() {
            let length = u32_at(datagram, 0)? as usize;
            let message = datagram.get(..length).filter(|message| message.len() >= HEADER).ok_or(DumpError::Cut)?;
            datagram = datagram.get(align(length)..).unwrap_or_default();
            if u32_at(message, 8)? != self.sequence {
                continue;
            }
            self.interrupted |= u16_at(message, 6)? & NLM_F_DUMP_INTR != 0;
            match u16_at(message, 4)? {
                // Both carry an errno, negative, or 0.
                NLMSG_DONE | NLMSG_ERROR => {
                    return match u32_at(message, HEADER)? as i32 {
                        0 => Ok(true),
                        error => Err(DumpError::Refused(error.saturating_neg()).into()),
                    };
                }
                NLMSG_OVERRUN => return Err(DumpError::Overrun.into()),
                ty => each(ty, &message[HEADER..])?,
            }
        }
        Ok(false)
    }

    /// Whether all of it is of one moment, once `take` said that it has all.
    pub fn finish(&self) -> Result<(), DumpError> {
        if self.interrupted { Err(DumpError::Interrupted) } else { Ok(()) }
    }
}

pub(crate) fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, DumpError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|chunk| u16::from_ne_bytes(*chunk)).ok_or(DumpError::Cut)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DumpError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|chunk| u32::from_ne_bytes(*chunk)).ok_or(DumpError::Cut)
}

/// Messages as the kernel sends them, for the tests of those who read them.
#[cfg(test)]
pub(crate) mod made {
    use super::*;

    pub const INTERRUPTED: u16 = NLM_F_DUMP_INTR;

    pub fn message(ty: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend_from_slice(&(HEADER as u32 + body.len() as u32).to_ne_bytes());
        message.extend_from_slice(&ty.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(body);
        message.resize(align(message.len()), 0);
        message
    }

    pub fn done(sequence: u32, error: i32) -> Vec<u8> {
        message(NLMSG_DONE, 2, sequence, &error.to_ne_bytes())
    }

    pub fn refused(sequence: u32, error: i32) -> Vec<u8> {
        message(NLMSG_ERROR, 0, sequence, &error.to_ne_bytes())
    }

    pub fn overrun(sequence: u32) -> Vec<u8> {
        message(NLMSG_OVERRUN, 0, sequence, &[0; 4])
    }
}
