//! The events of this run: numbered, within each probe's limit, kept for a while, and handed to the sinks and to those who follow.

use crate::sink::{Counts, Sinks};
use netsonde_core::{
    event::{
        self, Event, EventId, Origins, Stamp,
        rate::Rate,
        recent::{Recent, Since},
    },
    output::Checked,
    probe::Plan,
    scope::{ScopeId, Scopes},
};
use std::{
    collections::{HashMap, VecDeque},
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// Events that go to a sink at once.
const BATCH: usize = 1024;

/// What one call of a probe made.
pub struct Made<'a> {
    pub probe: &'a str,
    /// Events a second that the probe may make.
    pub per_second: u64,
    pub plan: &'a Plan,
    pub output: Checked<'a>,
    pub origins: &'a Origins,
}

/// All that happened, as far as it is still known. Its lock is taken after those of the scopes and the board, and is held neither to write
/// an event down nor to send it.
pub struct EventLog {
    run: u64,
    node: Arc<str>,
    log: Mutex<Log>,
    /// The sequence of the last event: wakes those who follow.
    latest: watch::Sender<u64>,
    sinks: Sinks,
}

#[derive(Default)]
struct Log {
    last: u64,
    rates: HashMap<Arc<str>, Rate>,
    recent: Recent,
    /// Events of scopes that have no name yet (rule 6), oldest first.
    waiting: VecDeque<(ScopeId, Event)>,
}

/// Events that wait for a name at most; beyond, the oldest go on without.
const MAX_WAITING: usize = 8192;

impl EventLog {
    /// `unix` is the time since the Unix epoch: it, and the process's number, make the ids of this run unlike those of others.
    pub fn new(node: &str, unix: Duration, sinks: Sinks) -> Self {
        let run = unix.as_nanos() as u64 ^ u64::from(process::id()) << 40;
        Self { run, node: node.into(), log: Mutex::default(), latest: watch::Sender::new(0), sinks }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the events of an output that was applied, at the monotonic time `now`. Gives how many were over the probe's limit.
    pub fn add(&self, made: &Made<'_>, scopes: &Scopes, now: Duration) -> u64 {
        let wanted = made.output.events.iter().map(|events| u64::from(events.count)).sum();
        if wanted == 0 {
            return 0;
        }
        let mut log = self.log();
        let (probe, granted) = log.grant(made, wanted, now);
        let stamp = Stamp { node: self.node.clone(), probe };
        let made = event::events(made.output, made.plan, made.origins, scopes, &stamp, granted as usize);
        log.waiting.extend(made.waiting);
        let too_many = log.waiting.len().saturating_sub(MAX_WAITING);
        let mut ready: Vec<Event> = log.waiting.drain(..too_many).map(|waiting| named(waiting, scopes)).collect();
        ready.extend(made.events);
        self.push(&mut log, ready);
        wanted - granted
    }

    /// Lets the events go on that waited for a name, if their scopes wait no more.
    pub fn settle(&self, scopes: &Scopes) {
        let mut log = self.log();
        if log.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut log.waiting).into_iter();
        let (waiting, ready): (VecDeque<_>, VecDeque<_>) = waiting.partition(|(scope, _)| scopes.is_held(*scope));
        log.waiting = waiting;
        self.push(&mut log, ready.into_iter().map(|waiting| named(waiting, scopes)).collect());
    }

    /// How many events wait for a name.
    pub fn waiting(&self) -> usize {
        self.log().waiting.len()
    }

    /// Numbers events, and hands them on.
    fn push(&self, log: &mut Log, mut events: Vec<Event>) {
        for (seq, event) in (log.last + 1..).zip(&mut events) {
            event.id = EventId { run: self.run, seq };
        }
        log.last += events.len() as u64;
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            // In the order of their numbers for the sinks, too: therefore under the lock, which only queues them.
            let batch: Arc<[Event]> = events.by_ref().take(BATCH).collect();
            log.recent.push(&batch);
            self.sinks.push(&batch);
        }
        self.latest.send_replace(log.last);
    }

    /// At most `limit` of the events after the sequence `seq` that are still known.
    pub fn since(&self, seq: u64, limit: usize) -> Since {
        self.log().recent.since(seq, limit)
    }

    /// The sequence after which the newest `limit` events begin that are wanted, not before `seq`.
    pub fn before_newest(&self, limit: usize, seq: u64, wanted: impl Fn(&Event) -> bool) -> u64 {
        self.log().recent.before_newest(limit, seq, wanted)
    }

    /// Tells the sequence of the last event whenever it has grown.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The number of this run in its events' ids.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// What became of events at the sinks.
    pub fn sink_counts(&self) -> Counts {
        self.sinks.counts()
    }

    /// Lets the sinks deliver what they have, for at most `wait`; nobody waits for a name any more. Gives how many events are lost with the
    /// end of the process.
    pub fn drain(&self, wait: Duration, scopes: &Scopes) -> usize {
        let mut log = self.log();
        let waiting = std::mem::take(&mut log.waiting);
        self.push(&mut log, waiting.into_iter().map(|waiting| named(waiting, scopes)).collect());
        drop(log);
        self.sinks.drain(wait)
    }
}

fn named((scope, mut event): (ScopeId, Event), scopes: &Scopes) -> Event {
    event::name(&mut event, Some(scope), scopes);
    event
}

impl Log {
    /// The probe's name, shared by its events, and how many of them may pass.
    fn grant(&mut self, made: &Made<'_>, wanted: u64, now: Duration) -> (Arc<str>, u64) {
        let known = self.rates.get_key_value(made.probe).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| made.probe.into());
        let rate = self.rates.entry(name.clone()).or_insert_with(|| Rate::new(made.per_second, now));
        (name, rate.take(wanted, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_core::{
        batch::{Column, Values},
        output::{Shape, check},
        probe::{Call, CallKind, EventType, Events, Output},
        scope::FoundNetns,
    };

    fn plan() -> Plan {
        let ty = EventType { name: "TICK".into(), help: String::new(), fields: vec![], attributes: vec![] };
        Plan { events: vec![ty], ..Plan::default() }
    }

    /// Adds `count` events of `probe`, which may make 10 a second.
    fn add(log: &EventLog, probe: &str, count: u32, millis: u64) -> u64 {
        add_of(log, (probe, 10), count, millis, None, &Scopes::default())
    }

    /// The same of a probe with its limit, for one of `scopes`.
    fn add_of(
        log: &EventLog,
        (probe, per_second): (&str, u64),
        count: u32,
        millis: u64,
        scope: Option<ScopeId>,
        scopes: &Scopes,
    ) -> u64 {
        let handles = scope.map(|scope| Column::full(Values::U32(vec![scope; count as usize])));
        let events = Events { ty: 0, count, answer: None, rows: vec![], scopes: handles, fields: vec![] };
        let output = Output { events: vec![events], ..Output::default() };
        let call = Call {
            kind: CallKind::Collection,
            id: 1,
            monotonic_nanos: 0,
            unix_nanos: 7,
            answers: vec![],
            gone: vec![],
        };
        let plan = plan();
        let checked = check(&output, &plan, &Shape::from(&call), scopes).unwrap();
        let origins = Origins::new(&call, vec![]);
        let made = Made { probe, per_second, plan: &plan, output: checked, origins: &origins };
        log.add(&made, scopes, Duration::from_millis(millis))
    }

    /// Scopes of which 1 is called `a` and 2 waits for its name.
    fn scopes() -> Scopes {
        let mut scopes = Scopes::default();
        let found = |inode, name: &str| FoundNetns { inode, name: Some(name.into()), ..FoundNetns::default() };
        scopes.observe(vec![found(11, "a")], Duration::ZERO, Duration::ZERO);
        scopes.expect_pods();
        scopes.observe(vec![found(11, "a"), found(12, "b")], Duration::ZERO, Duration::ZERO);
        assert!(!scopes.is_held(1) && scopes.is_held(2));
        scopes
    }

    fn who(log: &EventLog) -> Vec<(u64, String)> {
        let events = log.since(0, usize::MAX).events;
        events.iter().map(|event| (event.id.seq, event.scope.as_ref().unwrap().to_string())).collect()
    }

    #[test]
    fn rule_6_events_wait_for_the_name_of_their_scope_and_are_numbered_then() {
        let log = EventLog::new("n", Duration::from_secs(1), Sinks::default());
        let mut scopes = scopes();
        add_of(&log, ("p", 10), 2, 0, Some(2), &scopes);
        add_of(&log, ("p", 10), 1, 0, Some(1), &scopes);
        assert_eq!((who(&log), log.waiting()), (vec![(1, "a".into())], 2));
        log.settle(&scopes);
        assert_eq!(log.waiting(), 2, "it has no name yet");
        scopes.give_up(Duration::from_secs(2));
        log.settle(&scopes);
        assert_eq!((who(&log), log.waiting()), (vec![(1, "a".into()), (2, "b".into()), (3, "b".into())], 0));
    }

    #[test]
    fn too_many_that_wait_go_on_without_the_oldest_first_and_none_is_lost_at_the_end() {
        let log = EventLog::new("n", Duration::from_secs(1), Sinks::default());
        let (scopes, many) = (scopes(), MAX_WAITING as u32);
        add_of(&log, ("p", 1_000_000), many, 0, Some(2), &scopes);
        assert_eq!((who(&log).len(), log.waiting()), (0, MAX_WAITING));
        add_of(&log, ("p", 1_000_000), 3, 0, Some(2), &scopes);
        assert_eq!((who(&log).len(), log.waiting()), (3, MAX_WAITING));
        log.drain(Duration::ZERO, &scopes);
        assert_eq!((*log.follow().borrow(), log.waiting()), (u64::from(many) + 3, 0));
    }

    #[test]
    fn events_are_numbered_over_all_probes_and_each_has_its_own_limit() {
        let log = EventLog::new("n", Duration::from_secs(1), Sinks::default());
        let latest = log.follow();
        assert_eq!((add(&log, "a", 7, 0), add(&log, "b", 7, 0)), (0, 0));
        assert_eq!(add(&log, "a", 7, 0), 4, "3 of 10 are left");
        assert_eq!((add(&log, "a", 7, 500), add(&log, "a", 0, 500)), (2, 0));
        assert_eq!(*latest.borrow(), 7 + 7 + 3 + 5);
        let since = log.since(0, usize::MAX);
        assert!(since.events.iter().map(|event| event.id.seq).eq(1..=22));
        assert_eq!(since.events.iter().filter(|event| &*event.probe == "b").count(), 7);
        assert!(since.events.iter().all(|event| event.id.run == log.run() && event.unix_nanos == 7));
    }

    #[test]
    fn two_runs_have_other_ids() {
        let runs = [1, 2].map(|nanos| EventLog::new("n", Duration::from_nanos(nanos), Sinks::default()).run());
        assert_ne!(runs[0], runs[1]);
    }
}
