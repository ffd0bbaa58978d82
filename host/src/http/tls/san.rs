//! The alternative names of a certificate (RFC 5280, 4.2.1.6), compared letter by letter as Prometheus does; what TLS libraries offer takes
//! `*.example` for `a.example`, which here would let in more than the file says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `subjectAltName`, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// `[3]` in the part of a certificate that is signed.
const EXTENSIONS: u8 = 0xa3;
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

/// The names of a certificate: DNS, e-mail, URI, and IP addresses as they are written. None where it has none, or is no certificate.
pub fn names(certificate: &[u8]) -> Vec<String> {
    extension(certificate).and_then(|extension| inside(extension, SEQUENCE)).map(list).unwrap_or_default()
}

fn extension(certificate: &[u8]) -> Option<&[u8]> {
    let signed = inside(inside(certificate, SEQUENCE)?, SEQUENCE)?;
    let (_, extensions) = elements(signed).find(|(tag, _)| *tag == EXTENSIONS)?;
    elements(inside(extensions, SEQUENCE)?).filter(|(tag, _)| *tag == SEQUENCE).find_map(|(_, extension)| {
        let mut parts = elements(extension);
        // Between them may be whether it is critical.
        parts.next().filter(|part| *part == (OBJECT_ID, SUBJECT_ALT_NAME))?;
        parts.find(|(tag, _)| *tag == OCTETS).map(|(_, value)| value)
    })
}

fn list(names: &[u8]) -> Vec<String> {
    let name = |(tag, bytes): (u8, &[u8])| match tag {
        EMAIL | DNS | URI => String::from_utf8(bytes.to_vec()).ok(),
        IP => address(bytes).map(|address| address.to_canonical().to_string()),
        _ => None,
    };
    elements(names).filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)))).ok()
}

/// What is in the first element, if it has this tag.
fn inside(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    element(bytes).filter(|(found, ..)| *found == tag).map(|(_, inside, _)| inside)
}

fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, inside, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, inside))
    })
}

/// Tag, content, and what comes behind (DER, X.690, 8.1; tags of one byte, as certificates have them).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (inside, rest) = rest.split_at_checked(length)?;
    (tag & 0x1f != 0x1f).then_some((tag, inside, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn every_kind_of_name_is_found() {
        let der = certificate(vec![
            SanType::DnsName("*.example".try_into().unwrap()),
            SanType::Rfc822Name("a@example".try_into().unwrap()),
            SanType::URI("spiffe://x/y".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::IpAddress("fd00::1".parse().unwrap()),
        ]);
        assert_eq!(names(&der), ["*.example", "a@example", "spiffe://x/y", "10.0.0.1", "fd00::1"]);
        assert_eq!(names(&certificate(vec![])), [""; 0]);
    }

    #[test]
    fn what_is_cut_or_changed_is_no_certificate_and_no_panic() {
        let der = certificate(vec![SanType::DnsName("a.example".try_into().unwrap())]);
        for end in 0..der.len() {
            assert_eq!(names(&der[..end]), [""; 0], "{end}");
        }
        for at in 0..der.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = der.clone();
                changed[at] = byte;
                let _ = names(&changed);
            }
        }
    }
}
