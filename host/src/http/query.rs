//! What stands behind the `?` of `/events`.

use netsonde_core::event::{EventId, recent};

/// Values that a key may have at most.
const MAX_VALUES: usize = 16;

/// Which events, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsQuery {
    /// One of these types; empty: any.
    pub types: Vec<String>,
    /// Of one of these probes; empty: of any.
    pub probes: Vec<String>,
    /// Only those after this one.
    pub since: Option<Since>,
    /// Of those that there are already, the newest so many.
    pub limit: Option<usize>,
    /// Each new one, too, as it comes.
    pub follow: bool,
}

/// The last event that somebody has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Seq(u64),
    Id(EventId),
}

/// The query is no good; the message says what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; allowed are type=TYPE and probe=PROBE (also several times), since=SEQ (or an event's id), limit=N (0 to {max}), and follow",
    max = recent::MAX_EVENTS
)]
pub struct QueryError(String);

impl EventsQuery {
    /// Reads the query of a URL, without its `?`.
    ///
    /// # Errors
    /// The first thing that is wrong, with all that is allowed.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = decoded(value).ok_or_else(|| QueryError(format!("`{key}` has a value that is no text")))?;
            query.set(key, value)?;
        }
        Ok(query)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), QueryError> {
        let wrong = |what: &str| Err(QueryError(format!("`{key}` has {what}")));
        match key {
            "type" | "probe" => {
                let values = if key == "type" { &mut self.types } else { &mut self.probes };
                match value.as_str() {
                    "" => return wrong("no value"),
                    _ if values.len() == MAX_VALUES => return wrong("more than 16 values"),
                    _ => values.push(value),
                }
            }
            "since" => match (value.parse(), value.parse()) {
                (Ok(seq), _) => self.since = Some(Since::Seq(seq)),
                (_, Ok(id)) => self.since = Some(Since::Id(id)),
                _ => return wrong("a value that is no sequence and no id of an event"),
            },
            "limit" => match value.parse() {
                Ok(limit) if limit <= recent::MAX_EVENTS => self.limit = Some(limit),
                _ => return wrong("a value that is no such number"),
            },
            "follow" => match value.as_str() {
                "" | "1" | "true" => self.follow = true,
                "0" | "false" => self.follow = false,
                _ => return wrong("a value that is not `true` or `false`"),
            },
            _ => {
                let shown: String = key.chars().take(60).flat_map(char::escape_debug).collect();
                return Err(QueryError(format!("`{shown}` is not known here")));
            }
        }
        Ok(())
    }
}

/// The text behind `%41` and `+`. None if it is none.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                let digit = |digit: u8| (digit as char).to_digit(16);
                (digit(digits[0])? * 16 + digit(digits[1])?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_read() {
        let id = EventId { run: 1, seq: 7 };
        for (text, want) in [
            ("", EventsQuery::default()),
            ("&", EventsQuery::default()),
            ("follow", EventsQuery { follow: true, ..EventsQuery::default() }),
            ("follow=true&follow=0", EventsQuery::default()),
            ("since=7&limit=0", EventsQuery { since: Some(Since::Seq(7)), limit: Some(0), ..EventsQuery::default() }),
            (
                "since=0000000000000001-7&limit=4096",
                EventsQuery { since: Some(Since::Id(id)), limit: Some(4096), ..EventsQuery::default() },
            ),
            (
                "type=A&type=%42%c3%a9+c&probe=p",
                EventsQuery {
                    types: vec!["A".into(), "Bé c".into()],
                    probes: vec!["p".into()],
                    ..EventsQuery::default()
                },
            ),
        ] {
            assert_eq!(EventsQuery::parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_allowed() {
        let many = ["type=a"; 17].join("&");
        for (text, told) in [
            ("typ=A", "`typ` is not known here"),
            ("type", "`type` has no value"),
            ("type=%4", "`type` has a value that is no text"),
            ("type=%ff", "no text"),
            ("type=%+1", "no text"),
            ("since=x", "no sequence and no id"),
            ("since=-1", "no sequence"),
            ("limit=4097", "no such number"),
            ("limit=", "no such number"),
            ("follow=yes", "not `true` or `false`"),
            (&many, "more than 16"),
        ] {
            let message = EventsQuery::parse(text).unwrap_err().to_string();
            assert!(message.contains(told) && message.contains("limit=N (0 to 4096)"), "{text}: {message}");
        }
    }
}
