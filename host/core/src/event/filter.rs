//! Which events somebody wants.

use super::{Event, EventId, FieldValue, time};

/// Values that a key may have at most.
pub const MAX_VALUES: usize = 16;

/// What an event can be chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Id,
    Type,
    Probe,
    Namespace,
    Pod,
    Container,
    Netns,
    Node,
    /// The field of this name.
    Reason,
}

impl Key {
    pub const ALL: [Key; 9] =
        [Key::Id, Key::Type, Key::Probe, Key::Namespace, Key::Pod, Key::Container, Key::Netns, Key::Node, Key::Reason];

    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Key::Id => "id",
            Key::Type => "type",
            Key::Probe => "probe",
            Key::Namespace => "namespace",
            Key::Pod => "pod",
            Key::Container => "container",
            Key::Netns => "netns",
            Key::Node => "node",
            Key::Reason => "reason",
        }
    }
}

/// Why a value is none that could be wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("no value")]
    Empty,
    #[error("more than {MAX_VALUES} values")]
    TooMany,
    #[error("a value that is no id of an event, which is like `0123456789abcdef-42`")]
    NoId,
    #[error("a value that is no time, which is like `2026-11-21T12:00:00Z`, or `1795262400.5` in seconds since 1970")]
    NoTime,
}

/// One of several values of a key is enough; of several keys, each must have one. What nothing is said of may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    ids: Vec<EventId>,
    /// By the place of the key in [`Key::ALL`].
    texts: [Vec<String>; Key::ALL.len()],
    /// Since the Unix epoch: this moment is the first that is wanted.
    pub after_nanos: Option<u64>,
    /// This one is the first that is not.
    pub before_nanos: Option<u64>,
}

impl Filter {
    /// Wants one more value of a key.
    ///
    /// # Errors
    /// If it is none, or one too many.
    pub fn want(&mut self, key: Key, value: &str) -> Result<(), FilterError> {
        let texts = &mut self.texts[key as usize];
        let have = if key == Key::Id { self.ids.len() } else { texts.len() };
        match key {
            _ if value.is_empty() => return Err(FilterError::Empty),
            _ if have == MAX_VALUES => return Err(FilterError::TooMany),
            Key::Id => self.ids.push(value.parse().map_err(|_| FilterError::NoId)?),
            _ => texts.push(value.to_owned()),
        }
        Ok(())
    }

    /// Takes `key=value` as of a URL, where `after` and `before` are times. False if there is no such key.
    ///
    /// # Errors
    /// If the value is no good.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, FilterError> {
        let time = || match value {
            "" => Err(FilterError::Empty),
            value => time::parse(value).map(Some).ok_or(FilterError::NoTime),
        };
        match key {
            "after" => self.after_nanos = time()?,
            "before" => self.before_nanos = time()?,
            _ => match Key::ALL.into_iter().find(|have| have.as_str() == key) {
                Some(key) => self.want(key, value)?,
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// `key=value` by which [`set`](Self::set) makes it again.
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        let texts = Key::ALL.into_iter().flat_map(|key| self.texts[key as usize].iter().map(move |text| (key, text)));
        let mut parts: Vec<_> = self.ids.iter().map(|id| (Key::Id.as_str(), id.to_string())).collect();
        parts.extend(texts.map(|(key, text)| (key.as_str(), text.clone())));
        for (key, nanos) in [("after", self.after_nanos), ("before", self.before_nanos)] {
            let seconds = |nanos: u64| format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            parts.extend(nanos.map(|nanos| (key, seconds(nanos))));
        }
        parts
    }

    /// Whether it wants this event. A key that does not apply to it has no value that could be wanted.
    pub fn wants(&self, event: &Event) -> bool {
        let in_time = self.after_nanos.is_none_or(|after| event.unix_nanos >= after)
            && self.before_nanos.is_none_or(|before| event.unix_nanos < before);
        let right_id = self.ids.is_empty() || self.ids.contains(&event.id);
        in_time && right_id && Key::ALL.into_iter().all(|key| self.wants_text(key, event))
    }

    fn wants_text(&self, key: Key, event: &Event) -> bool {
        let wanted = &self.texts[key as usize];
        wanted.is_empty() || text(key, event).is_some_and(|have| wanted.iter().any(|wanted| wanted == have))
    }
}

/// What an event has at this key.
fn text(key: Key, event: &Event) -> Option<&str> {
    let name = event.scope.as_deref();
    match key {
        Key::Id => None,
        Key::Type => Some(&event.ty),
        Key::Probe => Some(&event.probe),
        Key::Namespace => name.map(|name| &*name.namespace),
        Key::Pod => name.map(|name| &*name.pod),
        Key::Container => name.map(|name| &*name.container),
        Key::Netns => name?.netns.as_deref(),
        Key::Node => Some(&event.node),
        Key::Reason => event.fields.iter().find_map(|(name, value)| match value {
            FieldValue::Text(text) if &**name == "reason" => Some(&**text),
            _ => None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::tests::event, scope::Name};
    use std::sync::Arc;

    fn filter(parts: &[(&str, &str)]) -> Filter {
        let mut filter = Filter::default();
        for (key, value) in parts {
            assert_eq!(filter.set(key, value), Ok(true), "{key}={value}");
        }
        filter
    }

    fn reset() -> Event {
        let name = Name { namespace: "shop".into(), pod: "web-1".into(), ..Name::default() };
        let reason = ("reason".into(), FieldValue::Text("NO_SOCKET".into()));
        Event { scope: Some(Arc::new(name)), fields: vec![reason], unix_nanos: 1_795_262_400_000_000_000, ..event(7) }
    }

    #[test]
    fn one_value_of_each_key_must_be_it() {
        for (parts, wanted) in [
            (&[][..], true),
            (&[("type", "ODD")], true),
            (&[("type", "EVEN"), ("type", "ODD")], true),
            (&[("type", "EVEN")], false),
            (&[("type", "ODD"), ("probe", "tcp_reset"), ("node", "worker-3"), ("reason", "NO_SOCKET")], true),
            (&[("type", "ODD"), ("probe", "packet_loss")], false),
            (&[("namespace", "shop"), ("pod", "web-1")], true),
            (&[("namespace", "shop"), ("pod", "web-2"), ("pod", "web")], false),
            (&[("netns", "host")], false),
            (&[("container", "web")], false),
            (&[("reason", "no_socket")], false),
            (&[("id", "0123456789abcdef-7")], true),
            (&[("id", "0123456789abcdef-6"), ("id", "0123456789abcdef-7")], true),
            (&[("id", "0123456789abcdee-7")], false),
            (&[("after", "2026-11-21T12:00:00Z")], true),
            (&[("before", "2026-11-21T12:00:00Z")], false),
            (&[("after", "1795262399"), ("before", "1795262400.000000001")], true),
            (&[("after", "1795262400.000000001")], false),
        ] {
            let filter = filter(parts);
            assert_eq!(filter.wants(&reset()), wanted, "{parts:?}");
            let mut again = Filter::default();
            filter.parts().iter().for_each(|(key, value)| assert_eq!(again.set(key, value), Ok(true)));
            assert_eq!(again, filter);
        }
        let nobody = Event { scope: None, fields: vec![], ..reset() };
        for key in ["namespace", "pod", "container", "netns", "reason"] {
            assert!(!filter(&[(key, "x")]).wants(&nobody), "{key}");
        }
        assert!(filter(&[("netns", "host")]).wants(&event(1)));
    }

    #[test]
    fn what_is_no_value_is_told() {
        let mut full = Filter::default();
        (0..MAX_VALUES).for_each(|_| full.want(Key::Pod, "a").unwrap());
        (0..MAX_VALUES).for_each(|_| full.want(Key::Id, "0123456789abcdef-7").unwrap());
        assert_eq!(full.set("id", "0123456789abcdef-7"), Err(FilterError::TooMany));
        for (key, value, error) in [
            ("pod", "a", FilterError::TooMany),
            ("type", "", FilterError::Empty),
            ("after", "", FilterError::Empty),
            ("id", "7", FilterError::TooMany),
            ("before", "yesterday", FilterError::NoTime),
        ] {
            assert_eq!(full.set(key, value), Err(error), "{key}={value}");
        }
        assert_eq!(Filter::default().set("id", "7"), Err(FilterError::NoId));
        assert_eq!(Filter::default().set("pods", "a"), Ok(false));
    }
}
