//! The flight recorder: every event of the last minutes, unfolded, with those that a budget kept back.

use super::{Event, json, recent::Kept};
use crate::scope::Name;
use std::{collections::HashMap, collections::VecDeque, sync::Arc, time::Duration};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was handed to the sinks, or will be.
    Sent,
    /// It is counted in another one that is like it.
    Folded,
    /// Its probe was over its limit of events a second.
    OverLimit,
}

impl Fate {
    /// As in a dump.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Folded => "folded",
            Self::OverLimit => "over_limit",
        }
    }
}

/// What is kept, and when it is to be written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How long an event is kept.
    pub keep: Duration,
    pub events: usize,
    /// Memory in bytes.
    pub bytes: usize,
    /// So many events of one type that happen to the same within `within` are a burst; 0: none are.
    pub burst: u64,
    pub within: Duration,
    /// Only of this type; None: of any.
    pub ty: Option<String>,
}

/// Many events of one type that happened to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    pub ty: Arc<str>,
    pub scope: Option<Arc<Name>>,
    pub count: u64,
}

/// One event of the ring.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub event: Kept,
    pub fate: Fate,
    /// Monotonic: when it came.
    at: Duration,
}

/// The last events, oldest first.
#[derive(Debug)]
pub struct Recorder {
    limits: Limits,
    kept: VecDeque<Recorded>,
    bytes: usize,
    /// How many of each type and scope there were within the time of a burst: those in `kept` from `young` on.
    lately: HashMap<(Arc<str>, Option<Arc<Name>>), u64>,
    young: usize,
}

impl Recorder {
    pub fn new(limits: Limits) -> Self {
        Self { limits, kept: VecDeque::new(), bytes: 0, lately: HashMap::new(), young: 0 }
    }

    /// Takes an event that came at the monotonic time `now`. Gives the burst that is complete with it.
    pub fn push(&mut self, event: Kept, fate: Fate, now: Duration) -> Option<Burst> {
        self.expire(now);
        self.bytes += event.bytes();
        let burst = self.count(&event);
        self.kept.push_back(Recorded { event, fate, at: now });
        while self.kept.len() > self.limits.events || self.bytes > self.limits.bytes {
            self.forget_oldest();
        }
        burst
    }

    /// Forgets what is too old at `now`.
    pub fn expire(&mut self, now: Duration) {
        while self.kept.front().is_some_and(|oldest| oldest.at + self.limits.keep < now) {
            self.forget_oldest();
        }
        while self.kept.get(self.young).is_some_and(|next| next.at + self.limits.within < now) {
            self.uncount(self.young);
            self.young += 1;
        }
    }

    /// All that is kept, oldest first.
    pub fn all(&self) -> Vec<Recorded> {
        self.kept.iter().cloned().collect()
    }

    fn watches(&self, event: &Event) -> bool {
        self.limits.burst > 0 && self.limits.ty.as_ref().is_none_or(|ty| **ty == *event.ty)
    }

    fn count(&mut self, event: &Event) -> Option<Burst> {
        if !self.watches(event) {
            return None;
        }
        let count = self.lately.entry((event.ty.clone(), event.scope.clone())).or_default();
        *count += 1;
        let is_burst = *count == self.limits.burst;
        is_burst.then(|| Burst { ty: event.ty.clone(), scope: event.scope.clone(), count: *count })
    }

    fn uncount(&mut self, index: usize) {
        let Some(event) = self.kept.get(index).map(|recorded| recorded.event.clone()) else { return };
        if !self.watches(&event) {
            return;
        }
        let key = (event.ty.clone(), event.scope.clone());
        if let Some(count) = self.lately.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.lately.remove(&key);
            }
        }
    }

    fn forget_oldest(&mut self) {
        match self.young.checked_sub(1) {
            Some(young) => self.young = young,
            None => self.uncount(0),
        }
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= oldest.event.bytes();
        }
    }
}

/// Appends the event as a JSON object on a line, with the member `fate` behind all others.
pub fn write(recorded: &Recorded, out: &mut Vec<u8>) {
    json::write(&recorded.event, out);
    out.truncate(out.len() - b"}\n".len());
    out.extend_from_slice(br#","fate":""#);
    out.extend_from_slice(recorded.fate.as_str().as_bytes());
    out.extend_from_slice(b"\"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits { keep: 60 * SECOND, events: 10, bytes: usize::MAX, burst: 3, within: 5 * SECOND, ty: None }
    }

    fn push(recorder: &mut Recorder, seq: u64, second: u32) -> Option<Burst> {
        let event = Kept::all(&[event(seq)].into()).next().unwrap();
        recorder.push(event, Fate::Sent, second * SECOND)
    }

    fn seqs(recorder: &Recorder) -> Vec<u64> {
        recorder.all().iter().map(|recorded| recorded.event.id.seq).collect()
    }

    #[test]
    fn it_is_bounded_by_time_number_and_memory() {
        let mut recorder = Recorder::new(limits());
        (0..12).for_each(|seq| drop(push(&mut recorder, seq, seq as u32)));
        assert_eq!(seqs(&recorder), (2..12).collect::<Vec<_>>());
        recorder.expire(65 * SECOND);
        assert_eq!(seqs(&recorder), (5..12).collect::<Vec<_>>());
        recorder.expire(1000 * SECOND);
        assert_eq!((seqs(&recorder), recorder.bytes, recorder.lately.len()), (vec![], 0, 0));
        let mut small = Recorder::new(Limits { bytes: 2 * event(1).bytes(), ..limits() });
        (0..5).for_each(|seq| drop(push(&mut small, seq, 0)));
        assert_eq!(seqs(&small), [3, 4]);
    }

    #[test]
    fn a_burst_of_one_type_in_one_scope_is_told_once_and_again_when_it_comes_again() {
        let mut recorder = Recorder::new(limits());
        // Even ones are of one type, odd ones of another.
        let told = |recorder: &mut Recorder, seq, second| push(recorder, seq, second).map(|burst| burst.count);
        for (seq, second, want) in [(0, 0, None), (2, 1, None), (1, 1, None), (4, 5, Some(3)), (6, 5, None)] {
            assert_eq!(told(&mut recorder, seq, second), want, "{seq}");
        }
        assert_eq!(told(&mut recorder, 8, 11), None, "the others are no longer within the time");
        assert_eq!(told(&mut recorder, 10, 12), None);
        assert_eq!(told(&mut recorder, 12, 13), Some(3));
    }

    #[test]
    fn what_is_forgotten_before_its_time_is_no_longer_part_of_a_burst() {
        let mut recorder = Recorder::new(Limits { events: 2, burst: 2, ..limits() });
        for seq in [0, 2, 4, 6, 8] {
            assert_eq!(push(&mut recorder, seq, 0), if seq == 2 { Some(burst(2)) } else { None }, "{seq}");
        }
        assert_eq!(recorder.lately.values().collect::<Vec<_>>(), [&2]);
        let mut others = Recorder::new(Limits { ty: Some("ODD".into()), ..limits() });
        assert!([0, 2, 4, 6].into_iter().all(|seq| push(&mut others, seq, 0).is_none()));
    }

    fn burst(count: u64) -> Burst {
        Burst { ty: "EVEN".into(), scope: event(0).scope, count }
    }

    #[test]
    fn a_dump_tells_the_fate_and_can_be_read_as_events() {
        let event = Kept::all(&[event(1)].into()).next().unwrap();
        let mut out = Vec::new();
        write(&Recorded { event: event.clone(), fate: Fate::OverLimit, at: SECOND }, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(",\"fate\":\"over_limit\"}\n"), "{text}");
        assert_eq!(json::read(&text).unwrap(), json::Json::Event((*event).clone()));
    }
}
