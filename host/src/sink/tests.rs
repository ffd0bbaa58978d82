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
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("netsonde-sink-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn event(seq: u64) -> Event {
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

fn batch(range: std::ops::Range<u64>) -> Arc<[Event]> {
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
    counts.dropped.get(&("p".into(), reason)).copied().unwrap_or(0)
}

#[test]
fn rule_16_what_is_counted_as_delivered_is_in_the_file() {
    let folder = Folder::new();
    let (lines, json) = (folder.path("events.log"), folder.path("events.jsonl"));
    let sink = |path: &Path, form| of(&config::Sink::File(config::FileSink { path: path.into(), form }));
    let sinks = Sinks::start(vec![sink(&lines, Form::Line), sink(&json, Form::Json)]).unwrap();
    sinks.push(&batch(1..3));
    sinks.push(&batch(3..4));
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    assert_eq!(sinks.counts(), Counts { delivered: [("file", 6)].into(), dropped: BTreeMap::new() });
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
}

#[test]
fn a_file_goes_on_where_it_ended_and_a_torn_line_is_ended_first() {
    let folder = Folder::new();
    let path = folder.path("events.log");
    for (before, want) in
        [("", line(1)), ("before\n", format!("before\n{}", line(1))), ("torn", format!("torn\n{}", line(1)))]
    {
        fs::write(&path, before).unwrap();
        File::new(path.clone(), Form::Line).deliver(&batch(1..2)).unwrap();
        assert_eq!(read(&path), want, "{before:?}");
    }
}

#[test]
fn a_file_that_was_moved_away_or_removed_is_made_anew() {
    let folder = Folder::new();
    let (path, moved) = (folder.path("events.log"), folder.path("events.log.1"));
    let mut file = File::new(path.clone(), Form::Line);
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
fn rule_17_a_folder_that_is_missing_is_told_its_events_are_counted_and_later_ones_arrive() {
    let folder = Folder::new();
    let path = folder.path("later/events.log");
    let mut file = File::new(path.clone(), Form::Line);
    let error = file.open().unwrap_err().to_string();
    assert!(error.contains("later/events.log") && error.contains("its folder must exist"), "{error}");

    let sinks = Sinks::start(vec![Box::new(file)]).unwrap();
    sinks.push(&batch(1..4));
    wait_until(|| dropped(&sinks.counts(), "write") == 3);
    fs::create_dir(folder.path("later")).unwrap();
    sinks.push(&batch(4..5));
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    assert_eq!(sinks.counts().delivered["file"], 1);
    assert_eq!(read(&path), line(4));
}

#[test]
fn rule_17_a_closed_pipe_is_counted_and_nothing_ends() {
    let (reader, writer) = io::pipe().unwrap();
    let out = fs::File::from(std::os::fd::OwnedFd::from(writer));
    let sinks = Sinks::start(vec![Box::new(Stdout::to(out, Form::Line))]).unwrap();
    sinks.push(&batch(1..3));
    wait_until(|| sinks.counts().delivered["stdout"] == 2);
    drop(reader);
    sinks.push(&batch(3..6));
    sinks.push(&batch(6..7));
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    assert_eq!((sinks.counts().delivered["stdout"], dropped(&sinks.counts(), "write")), (2, 4));
}

/// Delivers one batch each time it is told to.
struct Slow(mpsc::Receiver<()>);

impl Sink for Slow {
    fn name(&self) -> &'static str {
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
    let sinks = Sinks::start(vec![Box::new(Slow(told))]).unwrap();
    let batch = batch(0..1000);
    let batches = MAX_EVENTS / batch.len() + 5;
    (0..batches).for_each(|_| sinks.push(&batch));
    let full = dropped(&sinks.counts(), "queue_full");
    assert_eq!(full, 5000, "what is being delivered counts as waiting");
    go.send(()).unwrap();
    wait_until(|| sinks.counts().delivered["slow"] == 1000);
    let began = Instant::now();
    let waiting = sinks.drain(Duration::from_millis(100)) as u64;
    assert!(began.elapsed() < Duration::from_secs(5), "the end waits no longer than it may");
    assert_eq!(waiting, MAX_EVENTS as u64 / 1000 * 1000 - 1000);
    assert_eq!(full + 1000 + waiting, 1000 * batches as u64, "produced = dropped + delivered + waiting");
}

#[test]
fn the_memory_of_what_waits_is_bounded_but_one_batch_is_always_taken() {
    let (_go, told) = mpsc::channel();
    let sinks = Sinks::start(vec![Box::new(Slow(told))]).unwrap();
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
        assert!(began.elapsed() < Duration::from_secs(10), "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}
