//! Protobuf messages written as bytes, where types with a `String` for each label would cost more than what is in them.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>

use prost::encoding::{WireType, encode_key, encode_varint, varint::encoded_len_varint};

/// Appends a field of text, or of bytes.
pub fn text(out: &mut Vec<u8>, tag: u32, text: &str) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a field of an integer without zigzag.
pub fn integer(out: &mut Vec<u8>, tag: u32, value: u64) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

/// Appends a field whose content `write` appends: a message, or a text that is made in its place.
pub fn nested(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let at = out.len();
    // Room for the length of a short one; only what is longer must move.
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    let width = encoded_len_varint(length as u64);
    if width > 1 {
        out.resize(out.len() + width - 1, 0);
        out.copy_within(at + 1..at + 1 + length, at + width);
    }
    encode_varint(length as u64, &mut &mut out[at..at + width]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    struct Inner {
        #[prost(string, tag = "1")]
        text: String,
        #[prost(uint64, tag = "20")]
        number: u64,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Outer {
        #[prost(message, repeated, tag = "3")]
        inner: Vec<Inner>,
    }

    #[test]
    fn every_length_is_written_as_prost_writes_it() {
        let lengths = [0, 1, 120, 121, 122, 123, 127, 128, 129, 16_370, 16_383, 16_384, 16_400, 2_097_140, 2_097_152];
        let inner = |length: usize| Inner { text: "x".repeat(length), number: u64::MAX - length as u64 };
        let want = Outer { inner: lengths.map(inner).into() };
        let mut out = Vec::new();
        for length in lengths {
            let inner = inner(length);
            nested(&mut out, 3, |out| {
                // Prost leaves an empty text out.
                if length > 0 {
                    text(out, 1, &inner.text);
                }
                integer(out, 20, inner.number);
            });
        }
        assert!(out == want.encode_to_vec(), "not the same bytes");
    }
}
