//! What the forms of an event have in common: quoted texts, and numbers.

use super::FieldValue;
use crate::metric::value::Value;
use std::io::Write;

/// Appends `text` in double quotes, as JSON has it. Whatever would end the line or steer a terminal is escaped.
pub(super) fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    // Everything between two characters that need an escape goes in one piece.
    let mut begin = 0;
    for (at, character) in text.char_indices().filter(|(_, character)| needs_escape(*character)) {
        out.extend_from_slice(&text.as_bytes()[begin..at]);
        begin = at + character.len_utf8();
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            // None of these is beyond U+FFFF. Writing to a vector does not fail.
            other => drop(write!(out, "\\u{:04x}", u32::from(other))),
        }
    }
    out.extend_from_slice(&text.as_bytes()[begin..]);
    out.push(b'"');
}

fn needs_escape(character: char) -> bool {
    matches!(character, '"' | '\\') || breaks(character)
}

/// Control characters, and those at which Unicode ends a line or turns its direction.
pub(super) fn breaks(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || turns
}

/// Appends a number, a boolean or an address as it is; gives the text where it is one.
pub(super) fn push_plain<'v>(out: &mut Vec<u8>, value: &'v FieldValue) -> Option<&'v str> {
    match value {
        FieldValue::U64(value) => Value::U64(*value).write(out),
        FieldValue::S64(value) => Value::S64(*value).write(out),
        FieldValue::F64(value) => Value::F64(*value).write(out),
        FieldValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        // Rust writes IPv6 as RFC 5952 says. Writing to a vector does not fail.
        FieldValue::Address(address) => drop(write!(out, "{address}")),
        FieldValue::Text(text) => return Some(text),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_json_and_one_line() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\nb\r\tc", r#""a\nb\r\tc""#),
            ("\0\u{1b}[2J\u{7f}\u{9b}", r#""\u0000\u001b[2J\u007f\u009b""#),
            ("\u{85}\u{2028}\u{2029}\u{202e}", r#""\u0085\u2028\u2029\u202e""#),
            ("größer 🦀", "\"größer 🦀\""),
        ] {
            let mut out = Vec::new();
            push_quoted(&mut out, text);
            assert_eq!(String::from_utf8(out.clone()).unwrap(), quoted);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
