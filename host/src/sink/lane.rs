//! The way of events to one sink: memory, then, while the sink cannot take them, the spill.
//!
//! Two threads work at it: [`work`](super::work) takes events from the front, [`store`](super::store) moves them from memory to the spill. The
//! order is that of coming: what is in hand is the oldest, then comes the spill, then what is on its way to it, then memory. Who takes both
//! locks takes that of the spill first; nothing is written or read under that of the state.

mod storing;

use super::{
    Batch, Retry, SinkError, Told,
    account::{Fate, Flows, Place},
    queue::{Part, Queue},
    spill::{Read, Settings, Spill},
};
use netsonde_core::event::Event;
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A delivery that takes longer lets a half full memory be spilled.
const SLOW: Duration = Duration::from_millis(50);

/// After the disk has failed, it is left alone for so long.
const DISK_PAUSE: Duration = Duration::from_secs(1);

pub struct Lane {
    pub name: Arc<str>,
    /// None: whatever does not fit into memory is dropped.
    pub settings: Option<Settings>,
    state: Mutex<State>,
    spill: Mutex<Option<Spill>>,
    /// Wakes the sink's thread.
    deliver: Condvar,
    /// Wakes the spill's thread.
    store: Condvar,
    /// Wakes whoever waits for the end.
    ended: Condvar,
}

#[derive(Default)]
pub struct State {
    pub flows: Flows,
    pub queue: Queue,
    /// In the ids of the events of this run of the agent, once there are some.
    run: Option<u64>,
    hand: Option<Hand>,
    /// Whether the sink's thread waits, and the spill's.
    idle: bool,
    pub store_idle: bool,
    /// The last delivery failed.
    failing: bool,
    retry_at: Option<Instant>,
    /// When what is in hand was given to the sink.
    since: Option<Instant>,
    pub spill: SpillState,
    reopen: bool,
    /// Nothing more is taken.
    closed: bool,
    /// The time for deliveries is over: what is left is stored.
    pub ending: bool,
    /// Whatever the sink says now comes too late.
    ended: bool,
    /// The threads have ended.
    pub work_over: bool,
    pub store_over: bool,
    pub retries: u64,
    pub last_error: Option<String>,
}

/// What the state knows of the spill.
#[derive(Default)]
pub struct SpillState {
    /// What an earlier run left is known, or that it cannot be.
    pub is_looked_at: bool,
    pub is_open: bool,
    /// There was no room for the next event.
    pub is_full: bool,
    pub pause_until: Option<Instant>,
    /// On disk.
    pub bytes: u64,
    pub dirty_since: Option<Instant>,
    told: Told,
}

/// What the sink is being given.
struct Hand {
    part: Part,
    /// How many events of memory they count as.
    counted: usize,
    /// Where each event ends in the spill's first segment, if they are there, too.
    ends: Option<Vec<u64>>,
}

/// What the sink's thread does next.
pub enum Next {
    Deliver {
        events: Arc<[Event]>,
        from: usize,
        /// They come from the spill.
        spilled: bool,
    },
    Reopen,
    End,
}

impl State {
    /// When events must be moved to the spill.
    pub fn store_at(&self, now: Instant) -> Option<Instant> {
        let spill = &self.spill;
        if self.queue.is_empty() || !spill.is_open || spill.is_full {
            return None;
        }
        let is_busy = self.hand.is_some() || self.flows.at(Place::Spill) > 0;
        let at = if self.failing || self.queue.is_beyond(3) && is_busy {
            now
        } else if self.queue.is_beyond(2) && is_busy {
            self.since.map_or(now, |since| since + SLOW)
        } else {
            return None;
        };
        Some(spill.pause_until.map_or(at, |until| until.max(at)))
    }

    /// Events that the end of the process takes away.
    pub fn unsaved(&self) -> u64 {
        [Place::Queue, Place::Hand, Place::Moving].map(|place| self.flows.at(place)).iter().sum()
    }

    /// So many more of those in hand are done with; gives how far the spill is.
    fn passed(&mut self, count: usize, fate: Fate) -> Option<u64> {
        let mut hand = self.hand.take()?;
        let part = &mut hand.part;
        let place = if hand.ends.is_some() { Place::Spill } else { Place::Hand };
        self.flows.ended(&part.rest()[..count], place, fate);
        part.from += count;
        let end = hand.ends.as_ref().and_then(|ends| ends.get(part.from.checked_sub(1)?).copied());
        if part.from < part.events.len() {
            self.hand = Some(hand);
        } else {
            self.queue.let_go(hand.counted, part.bytes);
            self.since = None;
        }
        end
    }
}

impl Lane {
    pub fn new(name: Arc<str>, settings: Option<Settings>) -> Self {
        let mut state = State::default();
        state.spill.is_looked_at = settings.is_none();
        state.store_over = settings.is_none();
        Self {
            name,
            settings,
            state: Mutex::new(state),
            spill: Mutex::default(),
            deliver: Condvar::new(),
            store: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn spill(&self) -> MutexGuard<'_, Option<Spill>> {
        self.spill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds events of together so many bytes, without waiting.
    pub fn push(&self, events: &Arc<[Event]>, bytes: usize) {
        let mut state = self.state();
        if state.closed {
            return state.flows.kept_out(events, "ended");
        }
        if !state.queue.push(events, bytes) {
            let reason = if state.spill.is_full { "spill_full" } else { "queue_full" };
            return state.flows.kept_out(events, reason);
        }
        state.flows.came(events, Place::Queue);
        state.run = events.last().map(|event| event.id.run);
        if std::mem::take(&mut state.idle) {
            self.deliver.notify_one();
        }
        if state.store_idle && state.store_at(Instant::now()).is_some() {
            state.store_idle = false;
            self.store.notify_one();
        }
    }

    /// Whether an event is of an earlier run of the agent.
    pub fn is_of_earlier_run(&self) -> impl Fn(&Event) -> bool + use<> {
        let run = self.state().run;
        move |event| Some(event.id.run) != run
    }

    /// What the sink is to do; waits until there is something.
    pub fn next(&self, batch: Batch) -> Next {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if state.ended {
                return Next::End;
            }
            if std::mem::take(&mut state.reopen) {
                return Next::Reopen;
            }
            let pause = state.retry_at.and_then(|at| at.checked_duration_since(now)).filter(|left| !left.is_zero());
            if let Some(left) = pause {
                state = self.deliver.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if let Some(hand) = &state.hand {
                let (events, from, spilled) = (hand.part.events.clone(), hand.part.from, hand.ends.is_some());
                state.since = Some(now);
                return Next::Deliver { events, from, spilled };
            }
            if state.spill.is_looked_at && state.flows.at(Place::Spill) > 0 {
                drop(state);
                self.take_from_spill(batch);
                state = self.state();
                continue;
            }
            if state.spill.is_looked_at && state.flows.at(Place::Moving) == 0 {
                if let Some(part) = state.queue.take(batch) {
                    state.flows.moved(part.rest(), Place::Queue, Place::Hand);
                    state.hand = Some(Hand { counted: part.rest().len(), part, ends: None });
                    continue;
                }
                if state.closed {
                    return Next::End;
                }
            }
            state.idle = true;
            state = self.deliver.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take_from_spill(&self, batch: Batch) {
        let mut held = self.spill();
        let Some(spill) = held.as_mut() else { return };
        let read = spill.read(batch);
        let mut state = self.state();
        // Then the end has stored, or will store, whatever is left.
        if state.ended {
            return;
        }
        match read {
            Ok(Some(Read { events, ends, unreadable, end })) => {
                unreadable.iter().for_each(|probe| state.flows.unreadable(probe));
                if events.is_empty() {
                    drop(state);
                    self.advance(spill, end);
                } else {
                    // Bytes of nothing: memory is bounded for what comes, and this is one batch.
                    let part = Part { events: events.into(), from: 0, bytes: 0 };
                    state.hand = Some(Hand { part, counted: 0, ends: Some(ends) });
                }
            }
            Ok(None) => state.retry_at = Some(Instant::now() + DISK_PAUSE),
            Err(error) => {
                state.retry_at = Some(Instant::now() + DISK_PAUSE);
                drop(state);
                self.disk_failed(&error);
            }
        }
    }

    /// Of those in hand so many more are done with.
    pub fn passed(&self, count: usize, fate: Fate) {
        let spilled = self.state().hand.as_ref().is_some_and(|hand| hand.ends.is_some());
        let mut spill = spilled.then(|| self.spill());
        let mut state = self.state();
        if state.ended {
            return;
        }
        if fate == Fate::Delivered {
            state.failing = false;
            state.retry_at = None;
            state.last_error = None;
        }
        let end = state.passed(count, fate);
        // What was too large for an empty spill is no more.
        state.spill.is_full &= state.flows.at(Place::Spill) > 0;
        drop(state);
        if let (Some(Some(spill)), Some(end)) = (spill.as_deref_mut(), end) {
            self.advance(spill, end);
        }
    }

    fn advance(&self, spill: &mut Spill, to: u64) {
        let freed = spill.advance(to);
        let mut state = self.state();
        state.spill.bytes = spill.bytes();
        if !matches!(freed, Ok(false)) && std::mem::take(&mut state.spill.is_full) {
            self.store.notify_one();
        }
        drop(state);
        if let Err(error) = freed {
            self.disk_failed(&error);
        }
    }

    /// The sink could not take what is in hand, which goes to the spill, and is tried again after `delay`.
    pub fn failed(&self, error: &SinkError, delay: Duration) {
        debug_assert!(error.retry() != Retry::Never);
        let mut state = self.state();
        state.failing = true;
        state.retries += 1;
        state.retry_at = Some(Instant::now() + delay);
        state.last_error = Some(error.to_string());
        state.since = None;
        drop(state);
        self.store_hand();
        self.store.notify_one();
    }

    /// Waits for something to do with the spill, at most until then.
    pub fn wait_to_store<'l>(
        &'l self,
        mut state: MutexGuard<'l, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'l, State> {
        state.store_idle = true;
        let mut state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(left) => self.store.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            None => self.store.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
        state.store_idle = false;
        state
    }

    /// What the sink writes to is to be opened again.
    pub fn reopen(&self) {
        self.state().reopen = true;
        self.deliver.notify_one();
    }

    /// Takes no more; a delivery that failed is tried once more at once.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.retry_at = None;
        self.deliver.notify_one();
    }

    /// Waits until the sink has all, at most until then.
    pub fn wait_for_work(&self, until: Instant) {
        drop(self.wait_for(until, |state| state.work_over));
    }

    /// The time for deliveries is over: what is left is stored.
    pub fn end(&self) {
        let mut state = self.state();
        state.ending = true;
        // Of the others the spill's thread says so, when it takes what is in hand.
        state.ended |= self.settings.is_none();
        drop(state);
        self.deliver.notify_one();
        self.store.notify_one();
    }

    /// Waits until the spill has what is left, at most until then.
    pub fn wait_for_store(&self, until: Instant) {
        drop(self.wait_for(until, |state| state.store_over));
    }

    fn wait_for(&self, until: Instant, is_over: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state();
        while !is_over(&state) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// A thread of this lane ends.
    pub fn over(&self, note: impl FnOnce(&mut State)) {
        note(&mut self.state());
        self.ended.notify_all();
        self.store.notify_one();
    }
}
