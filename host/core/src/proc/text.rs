//! Lines, fields and numbers of a procfs text.

/// Lines with their numbers (from 1), without the line feed.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text, number: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.number += 1;
        Some((self.number, line))
    }
}

/// What stands between white space.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// `TCP: inuse 1` as (`TCP`, ` inuse 1`). None without a colon.
pub(super) fn group(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((&line[..colon], &line[colon + 1..]))
}

/// A decimal number without sign; None if it is none, or has more than 64 bits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    number(text, 10)
}

/// A hexadecimal number without prefix; None if it is none, or has more than 64 bits.
pub(super) fn hexadecimal(text: &[u8]) -> Option<u64> {
    number(text, 16)
}

fn number(text: &[u8], radix: u32) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = char::from(byte).to_digit(radix)?;
        number.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

/// A decimal number that may have a minus sign.
pub(super) fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(decimal(digits)?),
        None => decimal(text)?.try_into().ok(),
    }
}

/// The start of `text`, as far as a message has room for it.
pub(super) fn excerpt(text: &[u8]) -> String {
    let (head, more) = if text.len() > 40 { (&text[..40], "…") } else { (text, "") };
    format!("{}{more}", head.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_whole_or_not_at_all() {
        for (text, expected) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("12x", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(hexadecimal(b"0000ffEE"), Some(0xffee));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!((signed(b"-1"), signed(b"7"), signed(b"--1"), signed(b"-")), (Some(-1), Some(7), None, None));
    }

    #[test]
    fn lines_are_counted_and_the_last_needs_no_line_feed() {
        let lines: Vec<_> = Lines::new(b"a\n\nb").collect();
        assert_eq!(lines, [(1, &b"a"[..]), (2, b""), (3, b"b")]);
    }
}
