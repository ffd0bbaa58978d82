//! Outages and ends with a spill.

use super::{
    engine::{Answer, Script, Scripted, seqs},
    *,
};

const SIZE: u64 = 64 << 20;

fn settings(folder: &Folder, size: u64) -> spill::Settings {
    spill::Settings { folder: folder.path("spill"), size, max_age: Duration::MAX }
}

fn with_spill(sink: &Scripted, settings: spill::Settings) -> Sinks {
    Sinks::start(vec![(Box::new(sink.clone()), Some(settings))]).unwrap()
}

fn figures(sinks: &Sinks) -> SinkFigures {
    sinks.counts().sinks["scripted"].clone()
}

/// What a killed process leaves: the folder as it is now, without its lock.
fn as_killed(folder: &Folder) -> Folder {
    let copy = Folder::new();
    fs::create_dir_all(copy.path("spill/scripted")).unwrap();
    for entry in fs::read_dir(folder.path("spill/scripted")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path("spill/scripted").join(entry.file_name())).unwrap();
    }
    copy
}

#[test]
fn rule_17_an_outage_within_the_spill_loses_nothing_and_keeps_the_order() {
    let folder = Folder::new();
    let sink = Scripted::down();
    let sinks = with_spill(&sink, settings(&folder, SIZE));
    let many = 5 * MAX_EVENTS as u64;
    for at in (0..many).step_by(512) {
        sinks.push(&batch(at..at + 512));
        if at % 4096 == 0 {
            balanced(&sinks);
            // As fast as the disk, not as fast as this loop.
            wait_until(|| figures(&sinks).spilled >= at);
        }
    }
    wait_until(|| figures(&sinks).spilled == many);
    assert_eq!((balanced(&sinks), delivered(&sinks)), (many, 0));
    assert!(figures(&sinks).spill_bytes > 0 && figures(&sinks).retries > 0);
    sink.script(|script| script.down = false);
    sinks.push(&batch(many..many + 10));
    wait_until(|| delivered(&sinks) == many + 10);
    assert_eq!(sink.got(), seqs(0..many + 10), "in order, and none twice: no delivery had half succeeded");
    wait_until(|| figures(&sinks).spill_bytes == 0);
    assert_eq!((balanced(&sinks), figures(&sinks).spilled, figures(&sinks).last_error), (0, 0, None));
}

#[test]
fn rule_17_a_delivery_that_hangs_lets_the_memory_behind_it_be_spilled() {
    let folder = Folder::new();
    let (go, hang) = mpsc::channel();
    let sink = Scripted::new(Script { answers: [Answer::Hang(hang)].into(), ..Script::default() });
    let sinks = with_spill(&sink, settings(&folder, SIZE));
    sinks.push(&batch(0..100));
    wait_until(|| !sink.script(|script| script.sizes.is_empty()));
    let many = 3 * MAX_EVENTS as u64;
    for at in (100..many).step_by(100) {
        sinks.push(&batch(at..at + 100));
        wait_until(|| at - figures(&sinks).spilled < MAX_EVENTS as u64 * 15 / 16);
    }
    assert_eq!(balanced(&sinks), sinks.counts().accounts.values().next().unwrap().produced);
    assert!(figures(&sinks).spilled > many / 2);
    go.send(()).unwrap();
    assert_eq!(sinks.drain(Duration::from_secs(20)), 0);
    let got = sink.got();
    assert_eq!(got, seqs(0..got.len() as u64));
    assert!(got.len() as u64 >= many && balanced(&sinks) == 0);
    assert!(sinks.counts().dropped().is_empty());
}

#[test]
fn rule_17_a_delivery_that_fails_after_others_were_spilled_goes_in_front_of_them() {
    let folder = Folder::new();
    let (go, hang) = mpsc::channel();
    let script = Script { answers: [Answer::Hang(hang)].into(), bad: vec![], ..Script::default() };
    let sink = Scripted::new(script);
    let sinks = with_spill(&sink, settings(&folder, SIZE));
    sinks.push(&batch(0..100));
    wait_until(|| !sink.script(|script| script.sizes.is_empty()));
    for at in (100..14_100).step_by(100) {
        sinks.push(&batch(at..at + 100));
    }
    wait_until(|| figures(&sinks).spilled > 0);
    // The end comes while the sink still has the first ones.
    assert_eq!(sinks.drain(Duration::ZERO), 0, "all are in the spill");
    assert_eq!(balanced(&sinks), 14_100);
    go.send(()).unwrap();
    let next = Scripted::new(Script::default());
    let sinks = with_spill(&next, settings(&folder, SIZE));
    wait_until(|| delivered(&sinks) == 14_100);
    assert_eq!(next.got(), seqs(0..14_100));
    let account = sinks.counts().accounts.into_values().next().unwrap();
    assert_eq!((account.produced, account.resumed, account.waiting), (14_100, 14_100, 0));
}

#[test]
fn rule_16_what_was_spilled_outlives_a_kill_and_comes_first() {
    let folder = Folder::new();
    let sink = Scripted::down();
    let sinks = with_spill(&sink, settings(&folder, SIZE));
    sinks.push(&batch(0..1000));
    sinks.push(&batch(1000..1500));
    wait_until(|| figures(&sinks).spilled == 1500);
    let killed = as_killed(&folder);

    let next = Scripted::new(Script { answers: [Answer::Later].into(), ..Script::default() });
    let resumed = with_spill(&next, settings(&killed, SIZE));
    resumed.push(&batch(1500..1600));
    wait_until(|| delivered(&resumed) == 1600);
    assert_eq!((next.got(), balanced(&resumed)), (seqs(0..1600), 0));
    let account = resumed.counts().accounts.into_values().next().unwrap();
    assert_eq!((account.produced, account.resumed), (1600, 1500));
}

#[test]
fn rule_16_a_kill_amid_deliveries_repeats_at_most_the_last_batch() {
    let folder = Folder::new();
    let sink = Scripted::down();
    let sinks = with_spill(&sink, settings(&folder, SIZE));
    sinks.push(&batch(0..5000));
    wait_until(|| figures(&sinks).spilled == 5000);
    let (_go, hang) = mpsc::channel();
    sink.script(|script| {
        script.down = false;
        script.answers = [Answer::Yes, Answer::Yes, Answer::Hang(hang)].into();
    });
    wait_until(|| delivered(&sinks) == 2048);
    let killed = as_killed(&folder);
    let next = Scripted::new(Script::default());
    let resumed = with_spill(&next, settings(&killed, SIZE));
    wait_until(|| balanced(&resumed) == 0 && delivered(&resumed) > 0);
    assert_eq!([sink.got(), next.got()].concat(), seqs(0..5000));
}

#[test]
fn rule_17_a_full_spill_drops_the_newest_to_the_event() {
    let folder = Folder::new();
    let sink = Scripted::down();
    let sinks = with_spill(&sink, settings(&folder, 1 << 20));
    let many = 50_000;
    for at in (0..many).step_by(100) {
        sinks.push(&batch(at..at + 100));
        // Until the spill is full the disk is waited for.
        wait_until(|| {
            let now = figures(&sinks);
            now.waiting - now.spilled < MAX_EVENTS as u64 / 2 || now.spill_bytes > (1 << 20) - 1024
        });
    }
    let lost = dropped(&sinks.counts(), "spill_full");
    let (waiting, spilled) = (balanced(&sinks), figures(&sinks).spilled);
    assert_eq!(lost + waiting, many, "to the event");
    assert!(figures(&sinks).spill_bytes <= 1 << 20 && spilled > 1000, "{:?}", figures(&sinks));
    assert!(waiting - spilled > MAX_EVENTS as u64 - 100, "memory is full, too");
    sink.script(|script| script.down = false);
    wait_until(|| balanced(&sinks) == 0);
    let got = sink.got();
    assert_eq!(got.len() as u64, waiting);
    assert!(got.is_sorted_by(|a, b| a < b));
    assert_eq!(got[..spilled as usize], seqs(0..spilled), "the oldest are there");
    sinks.push(&batch(many..many + 10));
    wait_until(|| delivered(&sinks) == waiting + 10);
}

#[test]
fn what_is_not_delivered_at_the_end_is_for_the_next_run() {
    let folder = Folder::new();
    let sink = Scripted::down();
    let sinks = with_spill(&sink, settings(&folder, SIZE));
    sinks.push(&batch(0..10));
    assert_eq!(sinks.drain(Duration::from_millis(100)), 0);
    assert_eq!(balanced(&sinks), 10);
    let next = Scripted::new(Script::default());
    let sinks = with_spill(&next, settings(&folder, SIZE));
    assert_eq!((sinks.drain(Duration::from_secs(10)), next.got()), (0, seqs(0..10)));
    assert_eq!(fs::read_dir(folder.path("spill/scripted")).unwrap().count(), 1, "only the lock is left");
}

#[test]
fn rule_17_what_is_too_old_is_dropped_and_counted() {
    let folder = Folder::new();
    let sink = Scripted::new(Script { answers: [Answer::Later].into(), ..Script::default() });
    let hour = spill::Settings { max_age: Duration::from_secs(3600), ..settings(&folder, SIZE) };
    let sinks = with_spill(&sink, hour);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    // Of this run is the last; one of it that seems old comes of a clock that has jumped.
    let young = |seq: u64| seq.is_multiple_of(3);
    let run = |seq: u64| if seq.is_multiple_of(9) { event(seq).id.run } else { event(seq).id.run + 1 };
    let time = |seq: u64| if young(seq) && !seq.is_multiple_of(9) { now } else { 5 };
    let mixed = (0..100).map(|seq| {
        let id = netsonde_core::event::EventId { run: run(seq), seq };
        Event { unix_nanos: time(seq), id, ..event(seq) }
    });
    sinks.push(&mixed.collect());
    wait_until(|| balanced(&sinks) == 0);
    assert_eq!(sink.got(), (0..100).filter(|seq| young(*seq)).collect::<Vec<_>>());
    assert_eq!(dropped(&sinks.counts(), "too_old"), 66);
}

#[test]
fn rule_17_without_a_folder_memory_alone_is_there_and_what_is_beyond_is_counted() {
    let folder = Folder::new();
    // Not even root makes a folder below a file.
    fs::write(folder.path("spill"), "a file").unwrap();
    let sink = Scripted::down();
    let sinks = with_spill(&sink, settings(&folder, SIZE));
    for at in (0..20_000).step_by(100) {
        sinks.push(&batch(at..at + 100));
    }
    assert_eq!(dropped(&sinks.counts(), "queue_full"), 20_000 - MAX_EVENTS as u64 / 100 * 100);
    sink.script(|script| script.down = false);
    wait_until(|| balanced(&sinks) == 0);
    assert_eq!(sink.got(), seqs(0..MAX_EVENTS as u64 / 100 * 100));
}

#[test]
fn two_agents_do_not_share_a_spill() {
    let folder = Folder::new();
    let (first, second) = (Scripted::down(), Scripted::down());
    let holder = with_spill(&first, settings(&folder, SIZE));
    holder.push(&batch(0..10));
    wait_until(|| figures(&holder).spilled == 10);
    let sinks = with_spill(&second, settings(&folder, SIZE));
    sinks.push(&batch(0..10));
    wait_until(|| figures(&sinks).retries > 0);
    assert_eq!((figures(&sinks).spilled, sinks.drain(Duration::ZERO)), (0, 10));
}
