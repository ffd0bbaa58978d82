//! What the forms of an event have in common: quoted texts, and numbers.

use super::{FieldValue, address};
use crate::metric::value::Value;

/// What a byte says about a text that has it.
const ESCAPED: u8 = 1;
const NOT_BARE: u8 = 2;

/// Of each byte: whether it may need an escape between quotes, and whether a text with it may not stand bare in a line. Beyond ASCII the
/// characters decide.
const CLASSES: [u8; 256] = {
    let mut classes = [ESCAPED | NOT_BARE; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        classes[byte] = match byte as u8 {
            b'"' => ESCAPED | NOT_BARE,
            b'\\' => ESCAPED,
            b' ' | b'=' => NOT_BARE,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// What the bytes of a text say together. Most texts are short, and plain: to look at all of one takes less than to look for its end.
fn classes(text: &str) -> u8 {
    text.bytes().fold(0, |classes, byte| classes | CLASSES[usize::from(byte)])
}

/// Appends `text` in double quotes, as JSON has it. Whatever would end the line or steer a terminal is escaped.
pub(super) fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    if classes(text) & ESCAPED == 0 {
        out.extend_from_slice(text.as_bytes());
    } else {
        push_escaped(out, text);
    }
    out.push(b'"');
}

/// Whether `text` may stand in a line without quotes.
pub(super) fn is_bare(text: &str) -> bool {
    let quoted = |character: char| character.is_whitespace() || matches!(character, '"' | '=') || breaks(character);
    !text.is_empty() && (classes(text) & NOT_BARE == 0 || !text.contains(quoted))
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
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
            // None of these is beyond U+FFFF.
            other => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let code = u32::from(other);
                out.extend_from_slice(b"\\u");
                out.extend([12, 8, 4, 0].map(|shift| DIGITS[(code >> shift & 0xf) as usize]));
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[begin..]);
}

fn needs_escape(character: char) -> bool {
    matches!(character, '"' | '\\') || breaks(character)
}

/// Control characters, and those at which Unicode ends a line or turns its direction.
pub(super) fn breaks(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || turns
}

pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    Value::U64(number).write(out);
}

/// Appends a number, a boolean or an address as it is; gives the text where it is one.
pub(super) fn push_plain<'v>(out: &mut Vec<u8>, value: &'v FieldValue) -> Option<&'v str> {
    match value {
        FieldValue::U64(value) => Value::U64(*value).write(out),
        FieldValue::S64(value) => Value::S64(*value).write(out),
        FieldValue::F64(value) => Value::F64(*value).write(out),
        FieldValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        FieldValue::Address(address) => address::push(out, *address),
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
