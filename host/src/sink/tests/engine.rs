//! A sink that does what a test tells it, and remembers what it got: nothing on this machine refuses, hangs and recovers on demand.

use super::*;
use std::{collections::VecDeque, ops::Range, sync::Mutex};

/// What the sink answers to one delivery.
pub enum Answer {
    Yes,
    Later,
    After(Duration),
    /// Until the test lets it go on.
    Hang(mpsc::Receiver<()>),
}

#[derive(Default)]
pub struct Script {
    /// The next answers; then yes, unless it is down.
    pub answers: VecDeque<Answer>,
    pub down: bool,
    /// Sequences that it refuses.
    pub bad: Vec<u64>,
    /// What it took, in its order.
    pub got: Vec<u64>,
    /// Sizes of all deliveries.
    pub sizes: Vec<usize>,
    pub reopened: usize,
}

#[derive(Clone)]
pub struct Scripted {
    pub name: &'static str,
    pub script: Arc<Mutex<Script>>,
    pub batch: Batch,
}

impl Scripted {
    pub fn new(script: Script) -> Self {
        Self { name: "scripted", script: Arc::new(Mutex::new(script)), batch: Batch::default() }
    }

    pub fn down() -> Self {
        Self::new(Script { down: true, ..Script::default() })
    }

    pub fn script<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.script.lock().unwrap())
    }

    pub fn got(&self) -> Vec<u64> {
        self.script(|script| script.got.clone())
    }

    pub fn start(&self) -> Sinks {
        start(vec![Box::new(self.clone())])
    }
}

impl Sink for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn batch(&self) -> Batch {
        self.batch
    }

    fn open(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn deliver(&mut self, events: &[Event]) -> Result<(), SinkError> {
        let unavailable = |after| SinkError::Unavailable { place: "the test".into(), why: "it says so".into(), after };
        let answer = self.script(|script| {
            script.sizes.push(events.len());
            script.answers.pop_front().unwrap_or(if script.down { Answer::Later } else { Answer::Yes })
        });
        match answer {
            Answer::Yes => {}
            Answer::Later => return Err(unavailable(None)),
            Answer::After(after) => return Err(unavailable(Some(after))),
            Answer::Hang(go_on) => drop(go_on.recv()),
        }
        self.script(|script| {
            if events.iter().any(|event| script.bad.contains(&event.id.seq)) {
                return Err(SinkError::Refused { place: "the test".into(), why: "it is bad".into() });
            }
            script.got.extend(events.iter().map(|event| event.id.seq));
            Ok(())
        })
    }

    fn reopen(&mut self) {
        self.script(|script| script.reopened += 1);
    }
}

pub fn seqs(range: Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn rule_16_a_delivery_that_failed_is_repeated_before_those_behind_it() {
    let answers = [Answer::Yes, Answer::Later, Answer::Later];
    let mut sink = Scripted::new(Script { answers: answers.into(), ..Script::default() });
    sink.batch.events = 10;
    let sinks = sink.start();
    for at in 0..10 {
        sinks.push(&batch(at * 10..at * 10 + 10));
    }
    wait_until(|| delivered(&sinks) == 100);
    assert_eq!(sink.got(), seqs(0..100), "in order, none twice");
    assert_eq!((sinks.counts().sinks["scripted"].retries, balanced(&sinks)), (2, 0));
}

#[test]
fn what_the_other_side_asks_for_is_waited() {
    let asked = Duration::from_millis(1500);
    let sink = Scripted::new(Script { answers: [Answer::After(asked)].into(), ..Script::default() });
    let sinks = sink.start();
    let began = Instant::now();
    sinks.push(&batch(0..1));
    wait_until(|| delivered(&sinks) == 1);
    assert!(began.elapsed() >= asked);
}

#[test]
fn rule_17_bad_events_are_found_alone_and_counted_and_the_others_arrive() {
    for (bad, deliveries) in [(vec![7], 18), (vec![0, 99], 40), (vec![40, 41, 42], 40)] {
        let sink = Scripted::new(Script { bad: bad.clone(), ..Script::default() });
        let sinks = sink.start();
        sinks.push(&batch(0..100));
        sinks.push(&batch(100..101));
        assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
        let good: Vec<u64> = (0..101).filter(|seq| !bad.contains(seq)).collect();
        assert_eq!(sink.got(), good, "{bad:?}");
        assert_eq!(dropped(&sinks.counts(), "refused"), bad.len() as u64);
        assert!(sink.script(|script| script.sizes.len()) <= deliveries, "{bad:?}");
        assert_eq!(balanced(&sinks), 0);
    }
}

#[test]
fn a_sink_that_refuses_everything_is_not_asked_about_each() {
    let sink = Scripted::new(Script { bad: seqs(0..10_000), ..Script::default() });
    let sinks = sink.start();
    sinks.push(&batch(0..1000));
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    assert_eq!(dropped(&sinks.counts(), "refused"), 1000);
    let deliveries = sink.script(|script| script.sizes.len());
    assert!(deliveries < 140, "{deliveries}");
}

#[test]
fn a_delivery_is_as_large_as_the_sink_wants_it() {
    let (go, hang) = mpsc::channel();
    let mut sink = Scripted::new(Script { answers: [Answer::Hang(hang)].into(), ..Script::default() });
    sink.batch = Batch { events: 25, bytes: usize::MAX };
    let sinks = sink.start();
    sinks.push(&batch(0..60));
    for at in 60..100 {
        sinks.push(&batch(at..at + 1));
    }
    wait_until(|| !sink.script(|script| script.sizes.is_empty()));
    go.send(()).unwrap();
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    assert_eq!(sink.got(), seqs(0..100));
    assert_eq!(sink.script(|script| script.sizes.clone()), [25, 25, 10, 25, 15]);
}

#[test]
fn sinks_are_told_to_open_again_also_while_nothing_happens() {
    let sink = Scripted::new(Script::default());
    let sinks = sink.start();
    sinks.reopen();
    wait_until(|| sink.script(|script| script.reopened) == 1);
    sinks.push(&batch(0..1));
    assert_eq!((sinks.drain(Duration::from_secs(10)), sink.got()), (0, vec![0]));
}

#[test]
fn one_that_hangs_holds_up_nobody() {
    let (_go, hang) = mpsc::channel();
    let mut hanging = Scripted::new(Script { answers: [Answer::Hang(hang)].into(), ..Script::default() });
    hanging.name = "hanging";
    let (folder, well) = (Folder::new(), Scripted::new(Script::default()));
    let path = folder.path("events.log");
    let sinks = start(vec![Box::new(hanging), Box::new(line_file(&path)), Box::new(well.clone())]);
    let waiting = |sink: &str| sinks.counts().sinks[sink].waiting;
    for seq in 0..50_000 {
        sinks.push(&batch(seq..seq + 1));
        if seq % 8192 == 0 {
            wait_until(|| waiting("file") == 0 && waiting("scripted") == 0);
        }
    }
    wait_until(|| waiting("file") == 0 && waiting("scripted") == 0);
    assert_eq!(dropped(&sinks.counts(), "queue_full"), 50_000 - MAX_EVENTS as u64);
    assert_eq!((balanced(&sinks), well.got()), (MAX_EVENTS as u64, seqs(0..50_000)));
    assert_eq!(read(&path).lines().count(), 50_000);
    assert_eq!(sinks.drain(Duration::from_millis(100)), MAX_EVENTS);
}
