//! rtnetlink: which kind of device each one is. A dump by RTM_GETLINK, as include/uapi/linux/{netlink,rtnetlink,if_link}.h have it.
//!
//! Only the two attributes that are wanted are read, so a message with attributes of a newer kernel is as good as any.

use super::Kinds;
use crate::netlink::{self, Answer, DumpError, align, u16_at};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
/// Without counters the kernel need not gather them, and the answer is a third as long. Older kernels ignore it.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
/// `struct ifinfomsg`.
const IFINFO: usize = 16;

/// The request for all devices of a namespace.
pub fn request(sequence: u32) -> [u8; 40] {
    let mut body = [0; IFINFO + 8];
    body[16..18].copy_from_slice(&8u16.to_ne_bytes());
    body[18..20].copy_from_slice(&IFLA_EXT_MASK.to_ne_bytes());
    body[20..24].copy_from_slice(&RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    netlink::request(RTM_GETLINK, sequence, &body)
}

/// Gathers the answer to one request, datagram by datagram.
#[derive(Debug)]
pub struct Dump {
    answer: Answer,
    kinds: Kinds,
}

impl Dump {
    pub fn new(sequence: u32) -> Self {
        Self { answer: Answer::new(sequence), kinds: Kinds::new() }
    }

    /// Takes one datagram. True: that was the last one.
    pub fn take(&mut self, datagram: &[u8]) -> Result<bool, DumpError> {
        self.answer.take(datagram, |ty, body| match ty {
            RTM_NEWLINK => device(body.get(IFINFO..).ok_or(DumpError::Cut)?, &mut self.kinds),
            _ => Ok(()),
        })
    }

    /// The kinds, once `take` said that it has all.
    pub fn finish(self) -> Result<Kinds, DumpError> {
        self.answer.finish().map(|()| self.kinds)
    }
}

fn device(attributes: &[u8], kinds: &mut Kinds) -> Result<(), DumpError> {
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
        kinds.insert(name.to_owned(), String::from_utf8_lossy(kind).into_owned());
    }
    Ok(())
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

/// Up to the NUL at the end.
fn text(value: &[u8]) -> &[u8] {
    memchr::memchr(0, value).map_or(value, |end| &value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::made::{self, INTERRUPTED, message};
    use proptest::prelude::*;

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
        made::done(5, error)
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
            (made::refused(5, -1), DumpError::Refused(1)),
            (made::overrun(5), DumpError::Overrun),
            (whole[..whole.len() - 4].to_vec(), DumpError::Cut),
            (whole[..30].to_vec(), DumpError::Cut),
        ] {
            assert_eq!(Dump::new(5).take(&datagram), Err(error));
        }
        let mut dump = Dump::new(5);
        assert_eq!(dump.take(&[device("br0", Some("bridge"), 2 | INTERRUPTED), done(0)].concat()), Ok(true));
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
