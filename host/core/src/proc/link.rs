//! rtnetlink: which kind of device each one is, and of a veth where its other end is. A dump by RTM_GETLINK, as
//! include/uapi/linux/{netlink,rtnetlink,if_link}.h have it.
//!
//! Only the attributes that are wanted are read, so a message with attributes of a newer kernel is as good as any.

use crate::netlink::{self, Answer, DumpError, align, u16_at, u32_at};
use std::collections::HashMap;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
/// Without counters the kernel need not gather them, and the answer is a third as long. Older kernels ignore it.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
/// `struct ifinfomsg`, and where the device's number is in it.
const IFINFO: usize = 16;
const IFINFO_INDEX: usize = 4;

/// The devices of one namespace by name, those that have a kind.
pub type Devices = HashMap<Vec<u8>, Device>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `veth`, `bridge`.
    pub kind: String,
    /// Of a veth that has another end.
    pub veth: Option<Veth>,
}

/// One end of a pair of veths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Veth {
    /// Its number in its namespace.
    pub index: u32,
    /// The number of the other end in the namespace where that is.
    pub other: u32,
    /// Whether that is another namespace.
    pub elsewhere: bool,
}

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
    devices: Devices,
}

impl Dump {
    pub fn new(sequence: u32) -> Self {
        Self { answer: Answer::new(sequence), devices: Devices::new() }
    }

    /// Takes one datagram. True: that was the last one.
    pub fn take(&mut self, datagram: &[u8]) -> Result<bool, DumpError> {
        self.answer.take(datagram, |ty, body| match ty {
            RTM_NEWLINK => device(body, &mut self.devices),
            _ => Ok(()),
        })
    }

    /// The devices, once `take` said that it has all.
    pub fn finish(self) -> Result<Devices, DumpError> {
        self.answer.finish().map(|()| self.devices)
    }
}

fn device(message: &[u8], devices: &mut Devices) -> Result<(), DumpError> {
    let index = u32_at(message, IFINFO_INDEX)?;
    let (mut name, mut kind, mut other, mut elsewhere) = (None, None, None, false);
    for attribute in Attributes(message.get(IFINFO..).ok_or(DumpError::Cut)?) {
        match attribute? {
            (IFLA_IFNAME, value) => name = Some(text(value)),
            (IFLA_LINK, value) => other = Some(u32_at(value, 0)?),
            (IFLA_LINK_NETNSID, _) => elsewhere = true,
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
        // Older kernels leave out an other end of the same number, also where that is another namespace's.
        let other = other.or(elsewhere.then_some(index)).filter(|&other| other != 0 && kind == b"veth");
        let veth = other.map(|other| Veth { index, other, elsewhere });
        devices.insert(name.to_owned(), Device { kind: String::from_utf8_lossy(kind).into_owned(), veth });
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
        end(name, kind, flags, 0, &[])
    }

    /// A device with a number, and these attributes besides.
    fn end(name: &str, kind: Option<&str>, flags: u16, index: u32, numbers: &[(u16, u32)]) -> Vec<u8> {
        let mut body = vec![0; IFINFO];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body.extend(attribute(77, b"of a newer kernel"));
        for (ty, number) in numbers {
            body.extend(attribute(*ty, &number.to_ne_bytes()));
        }
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
        let expected = [("br0", "bridge"), ("v0", "veth")]
            .map(|(name, kind)| (name.as_bytes().to_vec(), Device { kind: kind.to_owned(), veth: None }));
        assert_eq!(dump.finish(), Ok(Devices::from(expected)));
    }

    #[test]
    fn a_veth_says_where_its_other_end_is() {
        let veth = |index, other, elsewhere| Some(Veth { index, other, elsewhere });
        for (kind, index, numbers, expected) in [
            ("veth", 7, &[(IFLA_LINK, 2), (IFLA_LINK_NETNSID, 0)][..], veth(7, 2, true)),
            ("veth\0", 7, &[(IFLA_LINK, 2), (IFLA_LINK_NETNSID, u32::MAX)], veth(7, 2, true)),
            ("veth", 7, &[(IFLA_LINK, 8)], veth(7, 8, false)),
            // The same number on both sides: of an older kernel there is no IFLA_LINK then.
            ("veth", 2, &[(IFLA_LINK_NETNSID, 3)], veth(2, 2, true)),
            ("veth", 2, &[(IFLA_LINK, 0)], None),
            ("veth", 2, &[], None),
            ("macvlan", 7, &[(IFLA_LINK, 2), (IFLA_LINK_NETNSID, 0)], None),
        ] {
            let mut dump = Dump::new(5);
            let datagram = [end("v0", Some(kind), 2, index, numbers), done(0)].concat();
            assert_eq!(dump.take(&datagram), Ok(true));
            assert_eq!(dump.finish().unwrap()[b"v0".as_slice()].veth, expected, "{kind} {index} {numbers:?}");
        }
    }

    #[test]
    fn a_number_that_is_cut_is_an_error() {
        let mut body = vec![0; IFINFO];
        body.extend(attribute(IFLA_LINK, &[1, 2]));
        assert_eq!(Dump::new(5).take(&message(RTM_NEWLINK, 2, 5, &body)), Err(DumpError::Cut));
        assert_eq!(Dump::new(5).take(&message(RTM_NEWLINK, 2, 5, &[0; 6])), Err(DumpError::Cut));
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
            let mut datagram = [device("br0", Some("bridge"), 2), end("v0", Some("veth"), 2, 7, &[(IFLA_LINK, 2)]), done(0)].concat();
            for (place, byte) in datagram.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            datagram.truncate(cut);
            let _ = Dump::new(5).take(&datagram);
        }
    }
}
