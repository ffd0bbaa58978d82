//! Sizes, times and rates: a whole number and its unit, as people write them (`16MiB`, `100ms`, `1000/s`).

use std::{ops::RangeInclusive, time::Duration};

const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// `100ms`, `5s`, `2m`, `1h`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    with_unit(text, TIMES, "ms, s, m or h").map(Duration::from_millis)
}

/// `256B`, `64KiB`, `16MiB`, `1GB`, in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    with_unit(text, SIZES, "B, KiB, MiB, GiB, kB, MB or GB")
}

/// `1000/s`, in ones a second.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    with_unit(text, &[("/s", 1)], "/s")
}

/// `1%`, `0.25%`, in hundredths of a percent.
pub fn parse_percent(text: &str) -> Result<u64, String> {
    let wrong = || format!("{} is no percentage with at most two decimals", quoted(text));
    let number = text.strip_suffix('%').ok_or_else(|| format!("{} has no unit (%)", quoted(text)))?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "00"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
        return Err(wrong());
    }
    format!("{whole}{decimals:0<2}").parse().map_err(|_| wrong())
}

fn with_unit(text: &str, units: &[(&str, u64)], names: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.trim_start_matches(' ');
    if digits.is_empty() {
        return Err(format!("{} does not begin with a whole number", quoted(text)));
    }
    if unit.is_empty() {
        return Err(format!("{} has no unit ({names})", quoted(text)));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("{} has no unit that is known here ({names}), or is no whole number", quoted(text)));
    };
    let too_large = || format!("{} is too large", quoted(text));
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)).ok_or_else(too_large)
}

/// The shortest way to write it that `parse_time` reads back; whole milliseconds.
pub fn show_time(time: Duration) -> String {
    match u64::try_from(time.as_millis()).unwrap_or(u64::MAX) {
        0 => "0s".to_owned(),
        millis => largest_unit(millis, TIMES),
    }
}

/// In bytes, or the largest power of 1024 that divides it.
pub fn show_size(bytes: u64) -> String {
    largest_unit(bytes, &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
}

pub fn show_rate(per_second: u64) -> String {
    format!("{per_second}/s")
}

pub fn show_percent(hundredths: u64) -> String {
    let (whole, decimals) = (hundredths / 100, hundredths % 100);
    match decimals {
        0 => format!("{whole}%"),
        decimals => format!("{whole}.{decimals:02}%"),
    }
}

fn largest_unit(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| number >= *factor && number.is_multiple_of(*factor);
    let (unit, factor) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{}{unit}", number / factor)
}

/// Nothing if `value` lies within; else what to say about it.
pub fn within<T: PartialOrd + Copy>(
    value: T,
    bounds: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(format!(
        "{} is out of bounds; from {} to {} is possible",
        show(value),
        show(*bounds.start()),
        show(*bounds.end())
    ))
}

/// Somebody's text in a message: in back quotes, on one line, not without end.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_has_two_decimals_at_most() {
        for (text, hundredths) in [("1%", 100), ("0.5%", 50), ("0.05%", 5), ("12.34%", 1234)] {
            assert_eq!(parse_percent(text), Ok(hundredths), "{text}");
            assert_eq!(parse_percent(&show_percent(hundredths)), Ok(hundredths), "{text}");
        }
        for text in ["1", "%", ".5%", "1.%", "1.234%", "-1%", "1 %", "1e2%", "99999999999999999999%"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn units_are_read() {
        for (text, bytes) in [
            ("256B", 256),
            ("64KiB", 65_536),
            ("16 MiB", 16 << 20),
            ("1GB", 1_000_000_000),
            ("2GiB", 2 << 30),
            ("3kB", 3000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, millis) in [("100ms", 100), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_rate("1000/s"), Ok(1000));
    }

    #[test]
    fn what_is_no_quantity_says_why() {
        for (text, part) in [
            ("5", "has no unit (ms, s, m or h)"),
            ("", "whole number"),
            ("s", "whole number"),
            ("-5s", "whole number"),
            ("1.5s", "no unit that is known here"),
            ("5S", "no unit that is known here"),
            ("5 parsecs", "no unit that is known here"),
            ("99999999999999999999s", "too large"),
            ("18446744073709551615h", "too large"),
        ] {
            let message = parse_time(text).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for millis in [0, 1, 100, 1000, 1500, 60_000, 90_000, 3_600_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(parse_time(&show_time(time)), Ok(time));
        }
        for bytes in [0, 1, 256, 1024, 1500, 16 << 20, 1 << 30, u64::MAX] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!((show_time(Duration::from_secs(90)), show_size(16 << 20)), ("90s".to_owned(), "16MiB".to_owned()));
    }

    #[test]
    fn quoted_text_stays_on_its_line() {
        assert_eq!(quoted("a\n\u{1b}[31m"), "`a\\n\\u{1b}[31m`");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 63);
    }
}
