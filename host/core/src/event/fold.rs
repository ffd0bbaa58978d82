//! The same event twice is one event with a count.

use super::{Event, FieldValue, Repeats};
use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table::Entry};
use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hash, Hasher},
    time::Duration,
};

/// Events that wait for repeats at most, and their memory in bytes; beyond, the oldest go on before their time.
const MAX_OPEN: usize = 4096;
const MAX_BYTES: usize = 8 << 20;

/// Holds each event back for a while from its first on, and counts those that are like it meanwhile.
///
/// Events are alike that have the same probe and type, happened to the same, and have the same addresses and texts in the same fields.
/// Numbers may differ, as one end's port is another one each time: those of the first are shown.
#[derive(Debug)]
pub struct Fold {
    window: Duration,
    /// By what is alike: places in `open`, counted over all that ever were.
    places: HashTable<u64>,
    /// In the order of their beginnings, so that of their ends, too.
    open: VecDeque<Open>,
    /// How many have gone on.
    closed: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    hash: u64,
    event: Event,
    /// Monotonic: when it goes on.
    due: Duration,
}

impl Fold {
    /// Without a window every event goes on at once.
    pub fn new(window: Duration) -> Self {
        Self { window, places: HashTable::new(), open: VecDeque::new(), closed: 0, bytes: 0 }
    }

    pub fn is_off(&self) -> bool {
        self.window.is_zero()
    }

    /// Events that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Event> {
        self.open.iter().map(|open| &open.event)
    }

    /// When the next one goes on.
    pub fn next_due(&self) -> Option<Duration> {
        self.open.front().map(|open| open.due)
    }

    /// Takes an event in at the monotonic time `now`. Gives whether it was folded into another one.
    pub fn add(&mut self, event: Event, now: Duration) -> bool {
        let Self { open, closed, .. } = self;
        let hash = hash(&event);
        let at = |place: u64| (place - *closed) as usize;
        let entry = self.places.entry(
            hash,
            |&place| open[at(place)].hash == hash && is_alike(&open[at(place)].event, &event),
            |&place| open[at(place)].hash,
        );
        match entry {
            Entry::Occupied(entry) => {
                let place = at(*entry.get());
                let first = &mut self.open[place].event;
                let last = event.unix_nanos.max(first.unix_nanos);
                let repeats = first.repeats.get_or_insert(Repeats { count: 1, last_unix_nanos: first.unix_nanos });
                repeats.count += 1;
                repeats.last_unix_nanos = repeats.last_unix_nanos.max(last);
                true
            }
            Entry::Vacant(entry) => {
                entry.insert(*closed + open.len() as u64);
                self.bytes += event.bytes();
                self.open.push_back(Open { hash, event, due: now + self.window });
                false
            }
        }
    }

    /// The events whose time is up at `now`, and those that there is no room for; all of them with `None`.
    pub fn take(&mut self, now: Option<Duration>) -> Vec<Event> {
        let mut taken = Vec::new();
        while let Some(front) = self.open.front() {
            let is_due = now.is_none_or(|now| front.due <= now);
            if !is_due && self.open.len() <= MAX_OPEN && self.bytes <= MAX_BYTES {
                break;
            }
            let place = self.closed;
            if let Ok(entry) = self.places.find_entry(front.hash, |&other| other == place) {
                entry.remove();
            }
            self.closed += 1;
            let Some(open) = self.open.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(open.event.bytes());
            taken.push(open.event);
        }
        taken
    }
}

/// What must be the same: the addresses and texts.
fn telling(event: &Event) -> impl Iterator<Item = (&str, &FieldValue)> {
    let tells = |value: &FieldValue| matches!(value, FieldValue::Address(_) | FieldValue::Text(_));
    event.fields.iter().filter(move |(_, value)| tells(value)).map(|(name, value)| (&**name, value))
}

fn is_alike(a: &Event, b: &Event) -> bool {
    a.ty == b.ty && a.probe == b.probe && a.scope == b.scope && telling(a).eq(telling(b))
}

fn hash(event: &Event) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    event.ty.hash(&mut hasher);
    if let Some(name) = &event.scope {
        name.hash(&mut hasher);
    }
    for (name, value) in telling(event) {
        name.hash(&mut hasher);
        match value {
            FieldValue::Address(address) => address.hash(&mut hasher),
            FieldValue::Text(text) => text.hash(&mut hasher),
            _ => {}
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::tests::event, scope::Name};
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    fn reset(seq: u64, address: &str, reason: &str, port: u64) -> Event {
        let fields = [
            ("saddr", FieldValue::Address(address.parse().unwrap())),
            ("reason", FieldValue::Text(reason.into())),
            ("sport", FieldValue::U64(port)),
        ];
        Event { ty: "RESET".into(), fields: fields.map(|(name, value)| (name.into(), value)).into(), ..event(seq) }
    }

    #[test]
    fn repeats_inside_the_window_are_one_event_with_first_and_last_time() {
        let mut fold = Fold::new(SECOND);
        let (a, b) = ("10.0.0.1", "10.0.0.2");
        let added = [(1, a, "X", 5), (2, a, "X", 6), (3, b, "X", 5), (4, a, "Y", 5), (5, a, "X", 7)];
        let folded = added.map(|(seq, address, reason, port)| fold.add(reset(seq, address, reason, port), SECOND));
        assert_eq!(folded, [false, true, false, false, true], "another address, another reason: not alike");
        assert_eq!((fold.waiting().count(), fold.next_due()), (3, Some(2 * SECOND)));
        assert!(fold.take(Some(2 * SECOND - Duration::from_nanos(1))).is_empty());
        let taken = fold.take(Some(2 * SECOND));
        assert_eq!(taken.iter().map(|event| event.id.seq).collect::<Vec<_>>(), [1, 3, 4]);
        let repeats = Repeats { count: 3, last_unix_nanos: event(5).unix_nanos };
        assert_eq!(taken.iter().map(|event| event.repeats).collect::<Vec<_>>(), [Some(repeats), None, None]);
        assert_eq!(taken[0].unix_nanos, event(1).unix_nanos);
        assert!(taken[0].fields.contains(&("sport".into(), FieldValue::U64(5))), "the first one's port");
        assert!(!fold.add(reset(6, a, "X", 5), 2 * SECOND), "a new window");
        assert_eq!(fold.take(None).len(), 1);
        assert_eq!((fold.places.len(), fold.bytes, fold.next_due()), (0, 0, None));
    }

    #[test]
    fn what_differs_in_type_probe_or_scope_is_another_event() {
        let mut fold = Fold::new(SECOND);
        let first = reset(1, "10.0.0.1", "X", 1);
        let other = Some(Arc::new(Name { pod: "p".into(), ..Name::default() }));
        let all = [
            first.clone(),
            Event { ty: "OTHER".into(), ..first.clone() },
            Event { probe: "other".into(), ..first.clone() },
            Event { scope: other, ..first.clone() },
            Event { scope: None, ..first.clone() },
            Event { fields: Vec::new(), ..first },
        ];
        assert!(all.iter().all(|event| !fold.add(event.clone(), SECOND)));
        assert!(all.iter().all(|event| fold.add(event.clone(), SECOND)));
        assert_eq!(fold.take(None).len(), all.len());
    }

    #[test]
    fn too_many_that_wait_go_on_before_their_time_the_oldest_first() {
        let mut fold = Fold::new(SECOND);
        for seq in 0..MAX_OPEN as u64 + 3 {
            assert!(!fold.add(reset(seq, "10.0.0.1", &seq.to_string(), 1), SECOND));
        }
        let seqs = |events: Vec<Event>| events.iter().map(|event| event.id.seq).collect::<Vec<_>>();
        assert_eq!(seqs(fold.take(Some(SECOND))), [0, 1, 2]);
        assert!(fold.add(reset(9999, "10.0.0.1", "3", 1), SECOND), "those that are left are found");
        assert!(!fold.add(reset(9999, "10.0.0.1", "2", 1), SECOND), "those that went on are not");
        assert_eq!(fold.take(None).len(), MAX_OPEN + 1);
    }
}
