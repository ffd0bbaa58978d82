//! What stands behind the `?` of `/events`.

use netsonde_core::event::{EventId, filter::Filter, recent};

/// Which events, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsQuery {
    pub filter: Filter,
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
    "{0}; allowed are id, type, probe, namespace, pod, container, netns, node and reason (each also several times), after=TIME and \
     before=TIME (RFC 3339, or seconds since 1970), since=SEQ (or an event's id), limit=N (0 to {max}), and follow",
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
            _ if self.filter.set(key, &value).map_err(|error| QueryError(format!("`{key}` has {error}")))? => {}
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

    fn of(parts: &[(&str, &str)]) -> EventsQuery {
        let mut query = EventsQuery::default();
        parts.iter().for_each(|(key, value)| assert_eq!(query.filter.set(key, value), Ok(true)));
        query
    }

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
            ("type=A&type=%42%c3%a9+c&probe=p", of(&[("type", "A"), ("type", "Bé c"), ("probe", "p")])),
            (
                "pod=a&reason=R&after=2026-11-21T12:00:00%2b00:00&before=1795262401.5&id=0000000000000001-7",
                of(&[
                    ("pod", "a"),
                    ("reason", "R"),
                    ("after", "1795262400"),
                    ("before", "1795262401.5"),
                    ("id", "0000000000000001-7"),
                ]),
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
            ("id=7", "`id` has a value that is no id of an event"),
            ("after=10m", "`after` has a value that is no time"),
            ("pod=", "`pod` has no value"),
        ] {
            let message = EventsQuery::parse(text).unwrap_err().to_string();
            assert!(message.contains(told) && message.contains("limit=N (0 to 4096)"), "{text}: {message}");
        }
    }
}
