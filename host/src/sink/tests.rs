mod engine;
mod rotation;
mod spilled;

use super::{file::File, queue::MAX_EVENTS, stdout::Stdout, *};
use netsonde_core::{
    event::{EventId, FieldValue},
    scope::Name,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

/// A folder for one test, removed at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("netsonde-sink-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn event(seq: u64) -> Event {
    Event {
        id: EventId { run: 1, seq },
        unix_nanos: 0,
        node: "n".into(),
        probe: "p".into(),
        ty: "RESET".into(),
        scope: Some(Arc::new(Name { netns: Some("host".into()), ..Name::default() })),
        peer: None,
        fields: vec![("seq".into(), FieldValue::U64(seq))],
        stack: None,
        repeats: None,
    }
}

pub fn batch(range: std::ops::Range<u64>) -> Arc<[Event]> {
    range.map(event).collect()
}

fn line(seq: u64) -> String {
    let id = EventId { run: 1, seq };
    format!("type=RESET netns=host seq={seq} time=1970-01-01T00:00:00.000000000Z node=n id={id}\n")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn dropped(counts: &Counts, reason: &'static str) -> u64 {
    counts.dropped().get(&("p".into(), reason)).copied().unwrap_or(0)
}

fn delivered(sinks: &Sinks) -> u64 {
    sinks.counts().sinks.values().map(|figures| figures.delivered).sum()
}

/// No event is anywhere else than the counts say; gives how many wait.
fn balanced(sinks: &Sinks) -> u64 {
    let mut waiting = 0;
    for (of, account) in &sinks.counts().accounts {
        let dropped: u64 = account.dropped.values().sum();
        assert_eq!(account.produced, account.delivered + dropped + account.waiting, "{of:?}: {account:?}");
        waiting += account.waiting;
    }
    waiting
}

fn file(path: &Path, form: Form) -> config::FileSink {
    config::FileSink { path: path.into(), form, ..config::FileSink::default() }
}

fn line_file(path: &Path) -> File {
    File::new("file", &file(path, Form::Line))
}

/// Those without a spill.
fn start(sinks: Vec<Box<dyn Sink>>) -> Sinks {
    Sinks::start(sinks.into_iter().map(|sink| (sink, None)).collect()).unwrap()
}

#[test]
fn rule_16_what_is_counted_as_delivered_is_in_the_file() {
    let folder = Folder::new();
    let (lines, json) = (folder.path("events.log"), folder.path("events.jsonl"));
    let sinks = start(vec![
        Box::new(File::new("lines", &file(&lines, Form::Line))),
        of(&config::Sink::File(file(&json, Form::Json))).unwrap(),
    ]);
    sinks.push(&batch(1..3));
    sinks.push(&batch(3..4));
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    let account = Account { produced: 3, delivered: 3, ..Account::default() };
    let of = |sink: &str| ((sink.into(), "p".into()), account.clone());
    assert_eq!(sinks.counts().accounts, [of("file"), of("lines")].into());
    assert_eq!(read(&lines), [1, 2, 3].map(line).concat());
    let ids: Vec<String> = read(&json)
        .lines()
        .map(|line| match json::read(line).unwrap() {
            json::Json::Event(event) => event.id.to_string(),
            json::Json::Missed(_) => panic!("{line}"),
        })
        .collect();
    assert_eq!(ids, ["0000000000000001-1", "0000000000000001-2", "0000000000000001-3"]);
    assert_eq!(fs::metadata(&json).unwrap().permissions().mode() & 0o137, 0, "others may not read it");
    sinks.push(&batch(4..5));
    assert_eq!(dropped(&sinks.counts(), "ended"), 2, "after the end, by each sink");
    assert_eq!(balanced(&sinks), 0);
}

#[test]
fn a_file_goes_on_where_it_ended_and_a_torn_line_is_ended_first() {
    let folder = Folder::new();
    let path = folder.path("events.log");
    for (before, want) in
        [("", line(1)), ("before\n", format!("before\n{}", line(1))), ("torn", format!("torn\n{}", line(1)))]
    {
        fs::write(&path, before).unwrap();
        line_file(&path).deliver(&batch(1..2)).unwrap();
        assert_eq!(read(&path), want, "{before:?}");
    }
}

#[test]
fn a_file_that_was_moved_away_or_removed_is_made_anew() {
    let folder = Folder::new();
    let (path, moved) = (folder.path("events.log"), folder.path("events.log.1"));
    let mut file = line_file(&path);
    file.deliver(&batch(1..2)).unwrap();
    fs::rename(&path, &moved).unwrap();
    file.deliver(&batch(2..3)).unwrap();
    file.deliver(&batch(3..4)).unwrap();
    assert_eq!((read(&moved), read(&path)), (line(1), [2, 3].map(line).concat()));
    fs::remove_file(&path).unwrap();
    file.deliver(&batch(4..5)).unwrap();
    assert_eq!(read(&path), line(4));
}

#[test]
fn rule_17_a_folder_that_is_missing_is_told_and_its_events_arrive_when_it_is_there() {
    let folder = Folder::new();
    let path = folder.path("later/events.log");
    let mut file = line_file(&path);
    let error = file.open().unwrap_err().to_string();
    assert!(error.contains("later/events.log") && error.contains("its folder must exist"), "{error}");

    let sinks = start(vec![Box::new(file)]);
    sinks.push(&batch(1..4));
    wait_until(|| sinks.counts().sinks["file"].retries > 0);
    let last = sinks.counts().sinks["file"].last_error.clone().unwrap();
    assert!(last.contains("its folder must exist"), "{last}");
    assert_eq!((delivered(&sinks), balanced(&sinks)), (0, 3));
    fs::create_dir(folder.path("later")).unwrap();
    sinks.push(&batch(4..5));
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    assert_eq!((delivered(&sinks), balanced(&sinks)), (4, 0));
    assert_eq!(read(&path), [1, 2, 3, 4].map(line).concat());
    assert_eq!(sinks.counts().sinks["file"].last_error, None);
}

#[test]
fn rule_17_a_closed_pipe_is_counted_and_nothing_ends() {
    let (reader, writer) = io::pipe().unwrap();
    let out = fs::File::from(std::os::fd::OwnedFd::from(writer));
    let sinks = start(vec![Box::new(Stdout::to("stdout", out, Form::Line))]);
    sinks.push(&batch(1..3));
    wait_until(|| delivered(&sinks) == 2);
    drop(reader);
    sinks.push(&batch(3..6));
    sinks.push(&batch(6..7));
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    assert_eq!((delivered(&sinks), dropped(&sinks.counts(), "refused")), (2, 4));
    assert_eq!(balanced(&sinks), 0);
}

#[test]
fn a_pipe_on_which_nobody_waits_is_waited_for() {
    let (mut reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let out = fs::File::from(std::os::fd::OwnedFd::from(writer));
    let sinks = start(vec![Box::new(Stdout::to("stdout", out, Form::Line))]);
    sinks.push(&batch(0..2000));
    let mut text = String::new();
    let reads = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        std::io::Read::read_to_string(&mut reader, &mut text).map(|_| text)
    });
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    drop(sinks);
    let text = reads.join().unwrap().unwrap();
    assert_eq!(text, (0..2000).map(line).collect::<String>(), "once, and in order");
}

/// Delivers one batch each time it is told to.
struct Slow(mpsc::Receiver<()>);

impl Sink for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn open(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn deliver(&mut self, _: &[Event]) -> Result<(), SinkError> {
        self.0.recv().map_err(|_| SinkError::Write { place: "nowhere".into(), source: io::Error::other("ended") })
    }
}

#[test]
fn rule_17_a_full_queue_drops_and_counts_and_the_ledger_balances() {
    let (go, told) = mpsc::channel();
    let sinks = start(vec![Box::new(Slow(told))]);
    let batch = batch(0..1000);
    let batches = MAX_EVENTS / batch.len() + 5;
    (0..batches).for_each(|_| sinks.push(&batch));
    let full = dropped(&sinks.counts(), "queue_full");
    assert_eq!(full, 5000, "what is being delivered counts as waiting");
    go.send(()).unwrap();
    wait_until(|| delivered(&sinks) == 1000);
    balanced(&sinks);
    let began = Instant::now();
    let waiting = sinks.drain(Duration::from_millis(100)) as u64;
    assert!(began.elapsed() < Duration::from_secs(5), "the end waits no longer than it may");
    assert_eq!(waiting, MAX_EVENTS as u64 / 1000 * 1000 - 1000);
    assert_eq!(full + 1000 + waiting, 1000 * batches as u64, "produced = dropped + delivered + waiting");
    assert_eq!(balanced(&sinks), waiting);
}

#[test]
fn the_memory_of_what_waits_is_bounded_but_one_batch_is_always_taken() {
    let (_go, told) = mpsc::channel();
    let sinks = start(vec![Box::new(Slow(told))]);
    let text = FieldValue::Text("x".repeat(1 << 20).into());
    let fat = |fields: usize| Arc::from([Event { fields: vec![("t".into(), text.clone()); fields], ..event(1) }]);
    sinks.push(&fat(33));
    sinks.push(&fat(1));
    assert_eq!(dropped(&sinks.counts(), "queue_full"), 1);
    assert_eq!(sinks.drain(Duration::ZERO), 1);
}

fn wait_until(done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}
