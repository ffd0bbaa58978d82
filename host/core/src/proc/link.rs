//! rtnetlink: which kind of device each one is. A dump by RTM_GETLINK, as include/uapi/linux/{netlink,rtnetlink,if_link}.h have it.
//!
//! Only the two attributes that are wanted are read, so a message with attributes of a newer kernel is as good as any.

use super::Kinds;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
/// Without counters the kernel need not gather them, and the answer is a third as long. Older kernels ignore it.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
/// `struct nlmsghdr`, and `struct ifinfomsg` after it.
const HEADER: usize = 16;
const IFINFO: usize = 16;

/// Why an answer gives no kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    #[error("the kernel refuses the list of devices: errno {0}")]
    Refused(i32),
    #[error("the kernel lost a part of the list of devices; it is asked again in the next collection")]
    Overrun,
    #[error("the list of devices changed while it was read; it is asked again in the next collection")]
    Interrupted,
    #[error("the kernel's list of devices is cut short; report it with the kernel's version")]
    Cut,
}

/// The request for all devices of a namespace.
pub fn request(sequence: u32) -> [u8; 40] {
    let mut message = [0; 40];
    message[0..4].copy_from_slice(&40u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
    message[32..34].copy_from_slice(&8u16.to_ne_bytes());
    message[34..36].copy_from_slice(&IFLA_EXT_MASK.to_ne_bytes());
    message[36..40].copy_from_slice(&RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    message
}

/// Gathers the answer to one request, datagram by datagram.
#[derive(Debug)]
pub struct Dump {
    sequence: u32,
    kinds: Kinds,
    interrupted: bool,
}

impl Dump {
    pub fn new(sequence: u32) -> Self {
        Self { sequence, kinds: Kinds::new(), interrupted: false }
    }

    /// Takes one datagram. True: that was the last one.
    pub fn take(&mut self, mut datagram: &[u8]) -> Result<bool, DumpError> {
        while !datagram.is_empty() {
            let length = u32_at(datagram, 0)? as usize;
            let message = datagram.get(..length).filter(|message| message.len() >= HEADER).ok_or(DumpError::Cut)?;
            datagram = datagram.get(align(length)..).unwrap_or_default();
            if u32_at(message, 8)? != self.sequence {
                continue;
            }
            self.interrupted |= u16_at(message, 6)? & NLM_F_DUMP_INTR != 0;
            match u16_at(message, 4)? {
                RTM_NEWLINK => self.device(message.get(HEADER + IFINFO..).ok_or(DumpError::Cut)?)?,
                // Both carry an errno, negative, or 0.
                NLMSG_DONE | NLMSG_ERROR => {
                    return match u32_at(message, HEADER)? as i32 {
                        0 => Ok(true),
                        error => Err(DumpError::Refused(error.saturating_neg())),
                    };
                }
                NLMSG_OVERRUN => return Err(DumpError::Overrun),
                _ => {}
            }
        }
        Ok(false)
    }

    /// The kinds, once `take` said that it has all.
    pub fn finish(self) -> Result<Kinds, DumpError> {
        if self.interrupted { Err(DumpError::Interrupted) } else { Ok(self.kinds) }
    }

    fn device(&mut self, attributes: &[u8]) -> Result<(), DumpError> {
        let (mut name, mut kind) = (None, None);
        for attribute in Attributes(attributes) {
            match attribute? {
                (IFLA_IFNAME, value) => name = Some(text(value)),
                (IFLA_LINKINFO, nested) => {
                    for attribute in Attributes(nested) {
                        if let (IFLA_INFO_KIND, value) = attribute? {
                            kind = Some(text(value));
                        }
                    }
                }
                _ => {}
            }
        }
        if let (Some(name), Some(kind)) = (name, kind) {
            self.kinds.insert(name.to_owned(), String::from_utf8_lossy(kind).into_owned());
        }
        Ok(())
    }
}

/// `struct rtattr`: length, type, value, padding.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), DumpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let attribute = self.attribute();
        if attribute.is_err() {
            self.0 = &[];
        }
        Some(attribute)
    }
}

impl<'a> Attributes<'a> {
    fn attribute(&mut self) -> Result<(u16, &'a [u8]), DumpError> {
        let length = usize::from(u16_at(self.0, 0)?);
        // The upper two bits are flags: nested, network byte order.
        let ty = u16_at(self.0, 2)? & 0x3fff;
        let value = self.0.get(4..length).ok_or(DumpError::Cut)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Ok((ty, value))
    }
}

fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Up to the NUL at the end.
fn text(value: &[u8]) -> &[u8] {
    memchr::memchr(0, value).map_or(value, |end| &value[..end])
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, DumpError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|chunk| u16::from_ne_bytes(*chunk)).ok_or(DumpError::Cut)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DumpError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|chunk| u32::from_ne_bytes(*chunk)).ok_or(DumpError::Cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(ty: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
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

    fn attribute(ty: u16, value: &[u8]) -> Vec<u8> {
        let mut attribute = (4 + value.len() as u16).to_ne_bytes().to_vec();
        attribute.extend_from_slice(&ty.to_ne_bytes());
        attribute.extend_from_slice(value);
        attribute.resize(align(attribute.len()), 0);
        attribute
    }

    fn device(name: &str, kind: Option<&str>, flags: u16) -> Vec<u8> {
        let mut body = vec![0; IFINFO];
        body.extend(attribute(77, b"of a newer kernel"));
        body.extend(attribute(IFLA_IFNAME, format!("{name}\0").as_bytes()));
        if let Some(kind) = kind {
            let nested = [attribute(IFLA_INFO_KIND, kind.as_bytes()), attribute(2, &[1, 2, 3])].concat();
            body.extend(attribute(IFLA_LINKINFO | 0x8000, &nested));
        }
        message(RTM_NEWLINK, flags, 5, &body)
    }

    fn done(error: i32) -> Vec<u8> {
        message(NLMSG_DONE, 2, 5, &error.to_ne_bytes())
    }

    #[test]
    fn kinds_are_gathered_over_several_datagrams() {
        let mut dump = Dump::new(5);
        assert_eq!(dump.take(&[device("lo", None, 2), device("br0", Some("bridge"), 2)].concat()), Ok(false));
        assert_eq!(dump.take(&message(RTM_NEWLINK, 2, 4, b"of another request")), Ok(false));
        assert_eq!(dump.take(&[device("v0", Some("veth\0"), 2), done(0)].concat()), Ok(true));
        let expected =
            [("br0", "bridge"), ("v0", "veth")].map(|(name, kind)| (name.as_bytes().to_vec(), kind.to_owned()));
        assert_eq!(dump.finish(), Ok(Kinds::from(expected)));
    }

    #[test]
    fn an_answer_that_is_not_whole_is_an_error() {
        let whole = [device("br0", Some("bridge"), 2), done(0)].concat();
        for (datagram, error) in [
            (done(-13), DumpError::Refused(13)),
            (message(NLMSG_ERROR, 0, 5, &(-1i32).to_ne_bytes()), DumpError::Refused(1)),
            (message(NLMSG_OVERRUN, 0, 5, &[0; 4]), DumpError::Overrun),
            (whole[..whole.len() - 4].to_vec(), DumpError::Cut),
            (whole[..30].to_vec(), DumpError::Cut),
        ] {
            assert_eq!(Dump::new(5).take(&datagram), Err(error));
        }
        let mut dump = Dump::new(5);
        assert_eq!(dump.take(&[device("br0", Some("bridge"), 2 | NLM_F_DUMP_INTR), done(0)].concat()), Ok(true));
        assert_eq!(dump.finish(), Err(DumpError::Interrupted));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0..200usize, bytes in prop::collection::vec(any::<u8>(), 0..8), cut in 0..200usize) {
            let mut datagram = [device("br0", Some("bridge"), 2), device("v0", Some("veth"), 2), done(0)].concat();
            for (place, byte) in datagram.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            datagram.truncate(cut);
            let _ = Dump::new(5).take(&datagram);
        }
    }
}
