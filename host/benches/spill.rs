//! What an event costs from the log to a file: in one piece, and through the spill after an outage.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use netsonde::sink::{
    Sinks,
    file::File,
    spill::{self, Lines},
};
use netsonde_core::{
    config::FileSink,
    event::{Event, EventId, FieldValue, json},
    scope::Name,
};
use rustix::time::{ClockId, clock_gettime};
use std::{fs, path::Path, sync::Arc, thread, time::Duration};

const EVENTS: u64 = 1_000_000;

fn main() {
    let folder = std::env::temp_dir().join(format!("netsonde-bench-sink-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for batch in [1, 32, 1024] {
        let spent = through(&folder.join("events"), &folder, None, batch);
        tell(&format!("to a file as JSON lines, {batch} at once"), spent);
    }
    let later = folder.join("later");
    tell("to the spill, and from there to a file", through(&later.join("events"), &folder, Some(&later), 1024));
    let mut lines = Lines::default();
    let all = batches(1024);
    tell("(reference: written as JSON lines into memory)", spent(|| all.iter().for_each(|batch| lines.write(batch))));
    let text = String::from_utf8(std::mem::take(&mut lines.text)).unwrap();
    let count = text.lines().count() as u64;
    let read =
        spent(|| (0..EVENTS / count).for_each(|_| text.lines().for_each(|line| drop(json::read(line).unwrap()))));
    tell("(reference: read from JSON lines)", read);
    fs::remove_dir_all(&folder).unwrap();
}

/// CPU time of this process that all events take; the folder `missing` is made when all have been spilled.
fn through(file: &Path, folder: &Path, missing: Option<&Path>, at_once: usize) -> Duration {
    let sink = File::new("file", &FileSink { path: file.to_owned(), ..FileSink::default() });
    let settings = spill::Settings { folder: folder.join("spill"), size: 1 << 40, max_age: Duration::MAX };
    let sinks = Sinks::start(vec![(Box::new(sink), Some(settings))]).unwrap();
    let all = batches(at_once);
    let waiting = |sinks: &Sinks| sinks.counts().sinks["file"].waiting;
    let in_memory = |sinks: &Sinks| waiting(sinks) - sinks.counts().sinks["file"].spilled;
    let spent = spent(|| {
        for (index, batch) in all.iter().enumerate() {
            sinks.push(batch);
            // Never as much as would be spilled or dropped.
            if index.is_multiple_of((2048 / at_once).max(1)) {
                while in_memory(&sinks) > 4096 {
                    thread::sleep(Duration::from_micros(200));
                }
            }
        }
        missing.into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        while waiting(&sinks) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(sinks.drain(Duration::ZERO), 0);
    assert_eq!(sinks.counts().sinks["file"].delivered, EVENTS);
    fs::remove_file(file).unwrap();
    spent
}

fn batches(at_once: usize) -> Vec<Arc<[Event]>> {
    let (node, probe, ty): (Arc<str>, Arc<str>, Arc<str>) =
        ("worker-3".into(), "tcp_reset".into(), "TCPRESET_NOSOCK".into());
    let scope = Arc::new(Name { namespace: "shop".into(), pod: "web-1".into(), ..Name::default() });
    let names: [Arc<str>; 6] = ["protocol", "saddr", "sport", "daddr", "dport", "reason"].map(Into::into);
    let texts: [Arc<str>; 2] = ["TCP", "NO_SOCKET"].map(Into::into);
    let event = |seq: u64| {
        let values = [
            FieldValue::Text(texts[0].clone()),
            FieldValue::Address([10, 0, 0, 1].into()),
            FieldValue::U64(443),
            FieldValue::Address([10, 0, 0, 2].into()),
            FieldValue::U64(40_000 + seq % 1000),
            FieldValue::Text(texts[1].clone()),
        ];
        Event {
            id: EventId { run: 1, seq },
            unix_nanos: 1_795_262_400_000_000_000 + seq,
            node: node.clone(),
            probe: probe.clone(),
            ty: ty.clone(),
            scope: Some(scope.clone()),
            peer: None,
            fields: names.iter().cloned().zip(values).collect(),
            stack: None,
            repeats: None,
        }
    };
    (0..EVENTS).step_by(at_once).map(|at| (at..(at + at_once as u64).min(EVENTS)).map(event).collect()).collect()
}

fn spent(run: impl FnOnce()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let before = now();
    run();
    now() - before
}

fn tell(what: &str, spent: Duration) {
    println!("{:>8.0} ns an event {what}", spent.as_nanos() as f64 / EVENTS as f64);
}
