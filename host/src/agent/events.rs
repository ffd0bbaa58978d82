//! The events of this run: numbered, within each probe's limit, named, folded, kept for a while, and handed to the sinks and to those who
//! follow.

use super::dump::Why;
use crate::sink::{Counts, Sinks};
use netsonde_core::{
    config,
    event::{
        self, Event, EventId, Limit, Origins, Stamp,
        fold::Fold,
        rate::Rate,
        recent::{Kept, Recent, Since},
        recorder::{self, Fate, Recorded, Recorder},
    },
    ledger::Account,
    output::Checked,
    probe::Plan,
    scope::{ScopeId, Scopes},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
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
    /// The position of the last event: wakes those who follow.
    latest: watch::Sender<u64>,
    sinks: Sinks,
    /// Who writes the flight recorder down on a burst.
    bursts: Option<SyncSender<Why>>,
    /// Events over a probe's limit that the recorder is told of in one call.
    over: usize,
}

struct Log {
    /// Sequence of the last id.
    last: u64,
    rates: HashMap<Arc<str>, Rate>,
    /// Events of scopes that have no name yet (rule 6), oldest first.
    waiting: VecDeque<(ScopeId, Event)>,
    fold: Fold,
    recent: Recent,
    recorder: Option<Recorder>,
    /// By probe; without what waits.
    accounts: BTreeMap<Arc<str>, Account>,
}

/// Events that wait for a name at most; beyond, the oldest go on without.
const MAX_WAITING: usize = 8192;

impl EventLog {
    /// `unix` is the time since the Unix epoch: it, and the process's number, make the ids of this run unlike those of others. `bursts` are
    /// told to whoever takes them; one that is not taken at once is not told.
    pub fn new(
        config: &config::Config,
        node: &str,
        unix: Duration,
        sinks: Sinks,
        bursts: Option<SyncSender<Why>>,
    ) -> Self {
        let run = unix.as_nanos() as u64 ^ u64::from(process::id()) << 40;
        let recorder = &config.recorder;
        let limits = recorder::Limits {
            keep: recorder.keep,
            events: recorder.events as usize,
            bytes: recorder.size as usize,
            burst: recorder.burst,
            within: recorder.within,
            ty: recorder.burst_type.clone(),
        };
        let recorder = (!limits.keep.is_zero()).then_some(limits);
        let over = recorder.as_ref().map_or(0, |limits| limits.events);
        let log = Log {
            last: 0,
            rates: HashMap::new(),
            waiting: VecDeque::new(),
            fold: Fold::new(config.events.fold),
            recent: Recent::default(),
            recorder: recorder.map(Recorder::new),
            accounts: BTreeMap::new(),
        };
        Self { run, node: node.into(), log: Mutex::new(log), latest: watch::Sender::new(0), sinks, bursts, over }
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
        let account = log.accounts.entry(probe.clone()).or_default();
        account.produced += wanted;
        account.drop("events", wanted - granted);
        let limit = Limit { granted: granted as usize, over: self.over };
        let stamp = Stamp { node: self.node.clone(), probe };
        let made = event::events(made.output, made.plan, made.origins, scopes, &stamp, limit);
        log.waiting.extend(made.waiting);
        let too_many = log.waiting.len().saturating_sub(MAX_WAITING);
        let mut ready: Vec<Event> = log.waiting.drain(..too_many).map(|waiting| named(waiting, scopes)).collect();
        ready.extend(made.events);
        self.arrive(&mut log, ready, now);
        self.record_over_limit(&mut log, made.over, now);
        wanted - granted
    }

    /// Lets the events go on that waited for a name, if their scopes wait no more, and those that waited for repeats long enough.
    pub fn settle(&self, scopes: &Scopes, now: Duration) {
        let mut log = self.log();
        if !log.waiting.is_empty() {
            let waiting = std::mem::take(&mut log.waiting).into_iter();
            let (waiting, ready): (VecDeque<_>, VecDeque<_>) = waiting.partition(|(scope, _)| scopes.is_held(*scope));
            log.waiting = waiting;
            self.arrive(&mut log, ready.into_iter().map(|waiting| named(waiting, scopes)).collect(), now);
        }
        let due = log.fold.take(Some(now));
        self.push(&mut log, due);
    }

    /// The monotonic time at which [`settle`](Self::settle) has something to do for those that wait for repeats.
    pub fn next_due(&self) -> Option<Duration> {
        self.log().fold.next_due()
    }

    /// How many events wait for a name, or for repeats.
    pub fn waiting(&self) -> usize {
        let log = self.log();
        log.waiting.len() + log.fold.waiting().count()
    }

    /// Numbers events that have their names, and lets them go on, at once or folded.
    fn arrive(&self, log: &mut Log, mut events: Vec<Event>, now: Duration) {
        if events.is_empty() {
            return;
        }
        self.number(log, &mut events);
        if log.fold.is_off() {
            return self.push_batches(log, events, |log, batch| self.record(log, batch, Fate::Sent, now));
        }
        for event in events {
            let recorded: Option<Arc<[Event]>> = log.recorder.is_some().then(|| [event.clone()].into());
            let probe = event.probe.clone();
            let folded = log.fold.add(event, now);
            if folded {
                log.accounts.entry(probe).or_default().drop("folded", 1);
            }
            if let Some(batch) = recorded {
                self.record(log, &batch, if folded { Fate::Folded } else { Fate::Sent }, now);
            }
        }
        let due = log.fold.take(Some(now));
        self.push(log, due);
    }

    fn number(&self, log: &mut Log, events: &mut [Event]) {
        for (seq, event) in (log.last + 1..).zip(&mut *events) {
            event.id = EventId { run: self.run, seq };
        }
        log.last += events.len() as u64;
    }

    fn record_over_limit(&self, log: &mut Log, mut events: Vec<Event>, now: Duration) {
        if events.is_empty() {
            return;
        }
        self.number(log, &mut events);
        self.record(log, &events.into(), Fate::OverLimit, now);
    }

    fn record(&self, log: &mut Log, batch: &Arc<[Event]>, fate: Fate, now: Duration) {
        let Some(recorder) = &mut log.recorder else { return };
        for event in Kept::all(batch) {
            if let (Some(burst), Some(bursts)) = (recorder.push(event, fate, now), &self.bursts) {
                // One that comes while another is being written down is in that file, too.
                let _ = bursts.try_send(Why::Burst(burst));
            }
        }
    }

    /// Hands numbered events on.
    fn push(&self, log: &mut Log, events: Vec<Event>) {
        self.push_batches(log, events, |_, _| {});
    }

    fn push_batches(&self, log: &mut Log, events: Vec<Event>, mut also: impl FnMut(&mut Log, &Arc<[Event]>)) {
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            // In the order of their numbers for the sinks, too: therefore under the lock, which only queues them.
            let batch: Arc<[Event]> = events.by_ref().take(BATCH).collect();
            for alike in batch.chunk_by(|a, b| Arc::ptr_eq(&a.probe, &b.probe)) {
                log.accounts.entry(alike[0].probe.clone()).or_default().delivered += alike.len() as u64;
            }
            log.recent.push(&batch);
            self.sinks.push(&batch);
            also(log, &batch);
        }
        self.latest.send_replace(log.recent.last());
    }

    /// What became of the events of each probe, until they were handed on; and, at the same moment, at the sinks.
    pub fn accounts(&self) -> (BTreeMap<Arc<str>, Account>, Counts) {
        let log = self.log();
        let mut accounts = log.accounts.clone();
        let named = log.waiting.iter().map(|(_, event)| event);
        for event in named.chain(log.fold.waiting()) {
            accounts.entry(event.probe.clone()).or_default().waiting += 1;
        }
        (accounts, self.sinks.counts())
    }

    /// What the flight recorder has, the oldest first; None if nothing is recorded.
    pub fn recorded(&self, now: Duration) -> Option<Vec<Recorded>> {
        let mut log = self.log();
        let recorder = log.recorder.as_mut()?;
        recorder.expire(now);
        Some(recorder.all())
    }

    /// At most `limit` of the events after a position that are still known.
    pub fn since(&self, position: u64, limit: usize) -> Since {
        self.log().recent.since(position, limit)
    }

    /// The position of the event with this sequence in its id, or of the last before it, and how many after it are no longer known at most.
    pub fn position_of(&self, seq: u64) -> (u64, u64) {
        self.log().recent.position_of(seq)
    }

    /// The sequence of the last id.
    pub fn last_seq(&self) -> u64 {
        self.log().last
    }

    /// The position after which the newest `limit` events begin that are wanted, not before `position`.
    pub fn before_newest(&self, limit: usize, position: u64, wanted: impl Fn(&Event) -> bool) -> u64 {
        self.log().recent.before_newest(limit, position, wanted)
    }

    /// Tells the position of the last event whenever it has grown.
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

    /// Lets the sinks open anew what they write to.
    pub fn reopen_sinks(&self) {
        self.sinks.reopen();
    }

    /// Lets the sinks deliver what they have, for at most `wait`; nobody waits for a name or for repeats any more. Gives how many events are
    /// lost with the end of the process.
    pub fn drain(&self, wait: Duration, scopes: &Scopes, now: Duration) -> usize {
        let mut log = self.log();
        let waiting = std::mem::take(&mut log.waiting);
        self.arrive(&mut log, waiting.into_iter().map(|waiting| named(waiting, scopes)).collect(), now);
        let folded = log.fold.take(None);
        self.push(&mut log, folded);
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
        config::{Config, Events as Folding},
        event::Repeats,
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
        let log = EventLog::new(&Config::default(), "n", Duration::from_secs(1), Sinks::default(), None);
        let mut scopes = scopes();
        add_of(&log, ("p", 10), 2, 0, Some(2), &scopes);
        add_of(&log, ("p", 10), 1, 0, Some(1), &scopes);
        assert_eq!((who(&log), log.waiting()), (vec![(1, "a".into())], 2));
        log.settle(&scopes, Duration::ZERO);
        assert_eq!(log.waiting(), 2, "it has no name yet");
        scopes.give_up(Duration::from_secs(2));
        log.settle(&scopes, Duration::ZERO);
        assert_eq!((who(&log), log.waiting()), (vec![(1, "a".into()), (2, "b".into()), (3, "b".into())], 0));
    }

    #[test]
    fn too_many_that_wait_go_on_without_the_oldest_first_and_none_is_lost_at_the_end() {
        let log = EventLog::new(&Config::default(), "n", Duration::from_secs(1), Sinks::default(), None);
        let (scopes, many) = (scopes(), MAX_WAITING as u32);
        add_of(&log, ("p", 1_000_000), many, 0, Some(2), &scopes);
        assert_eq!((who(&log).len(), log.waiting()), (0, MAX_WAITING));
        add_of(&log, ("p", 1_000_000), 3, 0, Some(2), &scopes);
        assert_eq!((who(&log).len(), log.waiting()), (3, MAX_WAITING));
        log.drain(Duration::ZERO, &scopes, Duration::ZERO);
        assert_eq!((*log.follow().borrow(), log.waiting()), (u64::from(many) + 3, 0));
    }

    #[test]
    fn events_are_numbered_over_all_probes_and_each_has_its_own_limit() {
        let log = EventLog::new(&Config::default(), "n", Duration::from_secs(1), Sinks::default(), None);
        let latest = log.follow();
        assert_eq!((add(&log, "a", 7, 0), add(&log, "b", 7, 0)), (0, 0));
        assert_eq!(add(&log, "a", 7, 0), 4, "3 of 10 are left");
        assert_eq!((add(&log, "a", 7, 500), add(&log, "a", 0, 500)), (2, 0));
        assert_eq!(*latest.borrow(), 7 + 7 + 3 + 5);
        let since = log.since(0, usize::MAX);
        // Those over the limit have numbers, too.
        assert!(since.events.iter().map(|event| event.id.seq).eq((1..=17).chain(22..=26)));
        assert_eq!(since.events.iter().filter(|event| &*event.probe == "b").count(), 7);
        assert!(since.events.iter().all(|event| event.id.run == log.run() && event.unix_nanos == 7));
    }

    fn folding() -> EventLog {
        let config = Config { events: Folding { fold: Duration::from_secs(1) }, ..Config::default() };
        EventLog::new(&config, "n", Duration::from_secs(1), Sinks::default(), None)
    }

    #[test]
    fn repeats_are_one_event_when_the_window_ends_and_the_recorder_has_each() {
        let (log, scopes) = (folding(), Scopes::default());
        assert_eq!(add(&log, "p", 5, 0), 0);
        assert_eq!((*log.follow().borrow(), log.waiting()), (0, 1));
        assert_eq!(log.next_due(), Some(Duration::from_secs(1)));
        assert_eq!(add(&log, "p", 7, 0), 2, "10 a second");
        log.settle(&scopes, Duration::from_secs(1));
        let told = log.since(0, 9).events;
        assert_eq!((told.len(), told[0].repeats), (1, Some(Repeats { count: 10, last_unix_nanos: 7 })));
        assert_eq!((told[0].id.seq, log.waiting(), log.next_due()), (1, 0, None));
        let recorded = log.recorded(Duration::from_secs(1)).unwrap();
        let fates: Vec<(u64, Fate)> = recorded.iter().map(|recorded| (recorded.event.id.seq, recorded.fate)).collect();
        let folded = (2..=10).map(|seq| (seq, Fate::Folded));
        let over = [11, 12].map(|seq| (seq, Fate::OverLimit));
        assert_eq!(fates, [(1, Fate::Sent)].into_iter().chain(folded).chain(over).collect::<Vec<_>>());
    }

    #[test]
    fn rule_17_every_event_is_delivered_dropped_or_waits() {
        let (log, mut scopes) = (folding(), scopes());
        let look = |log: &EventLog| {
            let account = log.accounts().0.remove("p").unwrap();
            assert_eq!(account.difference(), 0, "{account:?}");
            let dropped = |reason| account.dropped.get(reason).copied().unwrap_or(0);
            (account.produced, account.delivered, dropped("events"), dropped("folded"), account.waiting)
        };
        add_of(&log, ("p", 10), 4, 0, Some(2), &scopes);
        assert_eq!(look(&log), (4, 0, 0, 0, 4), "waiting for a name");
        add_of(&log, ("p", 10), 8, 0, Some(1), &scopes);
        assert_eq!(look(&log), (12, 0, 2, 5, 5), "and for repeats");
        scopes.give_up(Duration::from_secs(2));
        log.settle(&scopes, Duration::from_millis(10));
        assert_eq!(look(&log), (12, 0, 2, 8, 2));
        log.drain(Duration::ZERO, &scopes, Duration::from_millis(20));
        assert_eq!(look(&log), (12, 2, 2, 8, 0));
    }

    #[test]
    fn two_runs_have_other_ids() {
        let runs = [1, 2].map(|nanos| {
            EventLog::new(&Config::default(), "n", Duration::from_nanos(nanos), Sinks::default(), None).run()
        });
        assert_ne!(runs[0], runs[1]);
    }
}
