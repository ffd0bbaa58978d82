//! One line of the page: name, labels, value, and an exemplar.

use super::Exemplar;
use crate::metric::value::Value;
use std::{borrow::Cow, time::Duration};

/// The labels of a series as they stand on the page, in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels<'p>(&'p str);

impl<'p> Labels<'p> {
    /// Names and values, without escapes.
    pub fn iter(self) -> impl Iterator<Item = (&'p str, Cow<'p, str>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (name, value, after) = first_label(rest)?;
            rest = after.strip_prefix(',').unwrap_or(after);
            Some((name, unescape(value)))
        })
    }

    /// The value of one label.
    pub fn get(self, name: &str) -> Option<Cow<'p, str>> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Splits off the label `le`, which comes last.
    pub(super) fn split_bound(self) -> Option<(Labels<'p>, &'p str)> {
        // A quote within a value has a backslash before it, so this cannot be a part of one.
        let at = self.0.rfind("le=\"")?;
        let bound = self.0[at + 4..].strip_suffix('"')?;
        let rest = &self.0[..at];
        match rest.strip_suffix(',') {
            Some(labels) => Some((Labels(labels), bound)),
            None if rest.is_empty() => Some((Labels(""), bound)),
            None => None,
        }
    }
}

/// Name, escaped value, and what follows its closing quote.
fn first_label(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once("=\"")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', &rest.as_bytes()[from..])?;
        if rest.as_bytes()[at] == b'"' {
            return is_name.then_some((name, &rest[..at], &rest[at + 1..]));
        }
        // Whatever is escaped is one byte, or the rest of the text is not there.
        from = at + 2;
        if from > rest.len() {
            return None;
        }
    }
}

/// A text without its escapes.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

/// What it is, of which family, and the rest of a line of metadata, without the `# ` before it.
pub(super) fn metadata(text: &str) -> Option<(&str, &str, &str)> {
    let (what, rest) = text.split_once(' ')?;
    let (name, value) = rest.split_once(' ')?;
    Some((what, name, value))
}

/// A line of samples.
#[derive(Debug)]
pub(super) struct Line<'p> {
    pub name: &'p str,
    pub labels: Labels<'p>,
    pub value: Value,
    pub exemplar: Option<Exemplar<'p>>,
    text: &'p str,
}

impl<'p> Line<'p> {
    pub fn parse(text: &'p str) -> Result<Self, &'static str> {
        let end = text.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = text.split_at(end);
        let (labels, rest) = labels(rest)?;
        let rest = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let (number, exemplar) = match rest.split_once(" # ") {
            Some((number, exemplar)) => (number, Some(self::exemplar(exemplar)?)),
            None => (rest, None),
        };
        Ok(Self { name, labels, value: value(number).ok_or("a value that is no number")?, exemplar, text: number })
    }

    /// The value as a time, to the nanosecond: a float of this size is only good for a quarter of a microsecond.
    pub fn seconds(&self) -> Result<Duration, &'static str> {
        time(self.text).ok_or("a time that is none")
    }
}

/// `{...}` if it is there, and what follows.
fn labels(text: &str) -> Result<(Labels<'_>, &str), &'static str> {
    let Some(all) = text.strip_prefix('{') else { return Ok((Labels(""), text)) };
    let mut rest = all;
    while !rest.starts_with('}') {
        let (_, _, after) = first_label(rest).ok_or("a label that is not `name=\"value\"`")?;
        rest = match after.strip_prefix(',') {
            Some(next) => next,
            None if after.starts_with('}') => after,
            None => return Err("no comma between labels"),
        };
    }
    let inside = &all[..all.len() - rest.len()];
    Ok((Labels(inside), &rest[1..]))
}

/// `{...} value [time]`, what follows `# `.
fn exemplar(text: &str) -> Result<Exemplar<'_>, &'static str> {
    let (labels, rest) = labels(text)?;
    let rest = rest.strip_prefix(' ').ok_or("no space before an exemplar's value")?;
    let (number, at) = match rest.split_once(' ') {
        Some((number, at)) => (number, Some(time(at).ok_or("an exemplar's time that is none")?)),
        None => (rest, None),
    };
    let value = value(number).ok_or("an exemplar's value that is no number")?.as_f64();
    Ok(Exemplar { labels, value, time: at })
}

/// Whole numbers stay whole.
fn value(text: &str) -> Option<Value> {
    if let Ok(value) = text.parse::<u64>() {
        return Some(Value::U64(value));
    }
    match text.parse::<i64>() {
        Ok(value) => Some(Value::S64(value)),
        Err(_) => text.parse().ok().map(Value::F64),
    }
}

/// `1700000000.250` since the Unix epoch.
fn time(text: &str) -> Option<Duration> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        // As another program might write it: `1.7e9`.
        return Duration::try_from_secs_f64(text.parse().ok()?).ok();
    }
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = nanos.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(Duration::new(seconds.parse().ok()?, nanos))
}
