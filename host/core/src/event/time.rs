//! A moment as people and logs write it.

use std::fmt;

/// Bytes of [`Rfc3339`] as text.
const LENGTH: usize = "2026-11-21T12:00:00.123456789Z".len();

const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 24 * 60 * 60;

/// Nanoseconds since the Unix epoch, shown as in RFC 3339, in UTC, with all nine digits: `2026-11-21T12:00:00.123456789Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339(pub u64);

impl Rfc3339 {
    /// The text. It is put together by hand: every event has one, and `core::fmt` takes ten times as long.
    pub(super) fn text(self) -> [u8; LENGTH] {
        let (seconds, nanos) = (self.0 / NANOS, self.0 % NANOS);
        // 64 bits of nanoseconds end in the year 2554.
        let (year, month, day) = civil_from_days(seconds / DAY);
        let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        for (at, value) in [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, hour),
            (14, minute),
            (17, second),
            (20, nanos / 10_000_000),
            (22, nanos / 100_000 % 100),
            (24, nanos / 1000 % 100),
            (26, nanos / 10 % 100),
        ] {
            text[at] = digit(value / 10);
            text[at + 1] = digit(value % 10);
        }
        text[28] = digit(nanos % 10);
        text
    }
}

/// Of a number below 10.
fn digit(value: u64) -> u8 {
    b'0' + value as u8
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ASCII, all of it.
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// Nanoseconds since the Unix epoch, from a moment as of RFC 3339, with any offset and up to nine decimals, or from seconds since the epoch
/// with as many. None if it is neither, or no moment that 64 bits hold.
pub fn parse(text: &str) -> Option<u64> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let nanos = |decimals: &str| match decimals.len() {
        1..=9 => number(decimals).map(|nanos| nanos * 10u64.pow(9 - decimals.len() as u32)),
        _ => None,
    };
    let whole = |seconds: u64, decimals: Option<&str>| {
        seconds.checked_mul(NANOS)?.checked_add(decimals.map_or(Some(0), nanos)?)
    };
    let Some((date, clock)) = text.split_once(['T', 't', ' ']) else {
        let (seconds, decimals) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
        return whole(number(seconds)?, decimals);
    };
    let parts = |text: &str, lengths: &[usize], separator: char| -> Option<Vec<u64>> {
        let parts: Vec<&str> = text.split(separator).collect();
        let fits = parts.iter().map(|part| part.len()).eq(lengths.iter().copied());
        if fits { parts.into_iter().map(number).collect() } else { None }
    };
    let zone = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at(zone);
    let (clock, decimals) = clock.split_once('.').map_or((clock, None), |(whole, rest)| (whole, Some(rest)));
    let (&[year, month, day], &[hour, minute, second]) =
        (parts(date, &[4, 2, 2], '-')?.as_slice(), parts(clock, &[2, 2, 2], ':')?.as_slice())
    else {
        return None;
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => match parts(&zone[1..], &[2, 2], ':')?.as_slice() {
            &[hours @ 0..=23, minutes @ 0..=59] => hours * 3600 + minutes * 60,
            _ => return None,
        },
    };
    // The second 60 of a leap is the next minute's first.
    if year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_from_civil(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    let utc = if zone.starts_with('-') { seconds.checked_add(offset) } else { seconds.checked_sub(offset) };
    whole(utc?, decimals)
}

/// Days since 1970-01-01, from a year after 1969, month and day; None if there is no such day. It undoes [`civil_from_days`], from the same
/// page.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let from_march = year - u64::from(month <= 2);
    let (era, year_of_era) = (from_march / 400, from_march % 400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01: `civil_from_days` of Howard Hinnant's "chrono-Compatible
/// Low-Level Date Algorithms" (<https://howardhinnant.github.io/date_algorithms.html>), without the part for days before the epoch.
///
/// It counts years from 1 March, so that a leap day is a year's last, in eras of 400 years, which are all of the same length.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, 0, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, 1, "2000-03-01T00:00:00.000000001Z"),
            (1_000_000_000, 0, "2001-09-09T01:46:40.000000000Z"),
            (1_709_164_800, 0, "2024-02-29T00:00:00.000000000Z"),
            (1_709_251_200, 0, "2024-03-01T00:00:00.000000000Z"),
            (1_735_689_599, 999_999_999, "2024-12-31T23:59:59.999999999Z"),
            (1_795_262_400, 123_456_789, "2026-11-21T12:00:00.123456789Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX / NANOS, u64::MAX % NANOS, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(Rfc3339(seconds * NANOS + nanos).to_string(), text);
        }
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        let noon = 1_795_262_400 * NANOS;
        for (text, want) in [
            ("2026-11-21T12:00:00Z", Some(noon)),
            ("2026-11-21T12:00:00.123456789Z", Some(noon + 123_456_789)),
            ("2026-11-21 13:30:00.5+01:30", Some(noon + NANOS / 2)),
            ("2026-11-21t11:00:00-01:00", Some(noon)),
            ("1970-01-01T00:00:00z", Some(0)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800 * NANOS)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800 * NANOS)),
            ("1795262400", Some(noon)),
            ("1795262400.25", Some(noon + NANOS / 4)),
            ("0.000000001", Some(1)),
            ("", None),
            (".5", None),
            ("1.", None),
            ("1.0000000001", None),
            ("-1", None),
            ("18446744074", None),
            ("2026-11-21", None),
            ("2026-11-21T12:00:00", None),
            ("2026-11-21T12:00Z", None),
            ("2026-02-29T12:00:00Z", None),
            ("2026-13-01T12:00:00Z", None),
            ("2026-00-01T12:00:00Z", None),
            ("2026-11-00T12:00:00Z", None),
            ("2026-11-21T24:00:00Z", None),
            ("2026-11-21T12:60:00Z", None),
            ("2026-11-21T12:00:00+24:00", None),
            ("1969-12-31T23:59:59Z", None),
            ("1970-01-01T00:00:00+00:01", None),
            ("2600-01-01T00:00:00Z", None),
            ("é026-11-21T12:00:00Z", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_moment_is_read_back(nanos in proptest::prelude::any::<u64>()) {
            proptest::prop_assert_eq!(parse(&Rfc3339(nanos).to_string()), Some(nanos));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9:.TZ+é -]{0,30}|.*") {
            let _ = parse(&text);
        }
    }

    /// Day by day over what 64 bits can hold, against the calendar's rule itself.
    #[test]
    fn every_day_follows_the_one_before() {
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let mut date = (1970, 1, 1);
        for day in 0..u64::MAX / NANOS / DAY {
            assert_eq!(civil_from_days(day), date);
            let length = match date.1 {
                2 => 28 + u64::from(leap(date.0)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            date = match date {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, month, day) if day == length => (year, month + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
        }
    }
}
