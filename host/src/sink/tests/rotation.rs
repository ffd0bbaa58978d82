//! Files that the agent itself puts aside.

use super::*;
use std::{cell::Cell, time::SystemTime};

thread_local! {
    /// How much later it is for the file.
    static LATER: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn clock() -> SystemTime {
    SystemTime::now() + LATER.get()
}

fn rotating(path: &Path, rotate: config::Rotate) -> File {
    File::new("file", &config::FileSink { rotate, ..file(path, Form::Line) }).by(clock)
}

/// The sequences in a file and in those that were put aside.
fn files(path: &Path) -> Vec<Vec<u64>> {
    let names = (0..).map(|age| if age == 0 { path.to_owned() } else { format!("{}.{age}", path.display()).into() });
    let texts = names.map_while(|name| fs::read_to_string(name).ok());
    let seq = |line: &str| line.split_once("seq=").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    texts.map(|text| text.lines().map(seq).collect()).collect()
}

#[test]
fn a_file_is_put_aside_before_it_grows_too_long_and_the_oldest_go() {
    let folder = Folder::new();
    let path = folder.path("events.log");
    let size = Some(3 * line(1).len() as u64);
    let mut file = rotating(&path, config::Rotate { size, age: None, keep: 2 });
    for seq in 0..9 {
        file.deliver(&batch(seq..seq + 1)).unwrap();
    }
    assert_eq!(files(&path), [[6, 7, 8], [3, 4, 5], [0, 1, 2]]);
    file.deliver(&batch(9..10)).unwrap();
    assert_eq!(files(&path), [vec![9], vec![6, 7, 8], vec![3, 4, 5]]);
    // Another run goes on where this one ended; more than fits is one file.
    let mut file = rotating(&path, config::Rotate { size, age: None, keep: 2 });
    file.deliver(&batch(0..2)).unwrap();
    file.deliver(&batch(2..7)).unwrap();
    assert_eq!(files(&path), [vec![2, 3, 4, 5, 6], vec![9, 0, 1], vec![6, 7, 8]]);
}

#[test]
fn a_file_is_put_aside_when_it_is_old() {
    let folder = Folder::new();
    let path = folder.path("events.log");
    let mut file = rotating(&path, config::Rotate { size: None, age: Some(Duration::from_secs(3600)), keep: 9 });
    // The file that is made then is of now, by the kernel's clock.
    for (seq, later) in [(0, 0), (1, 3000), (2, 3700), (3, 0)] {
        LATER.set(Duration::from_secs(later));
        file.deliver(&batch(seq..seq + 1)).unwrap();
    }
    assert_eq!(files(&path), [[2, 3], [0, 1]]);
}

#[test]
fn a_file_that_was_moved_is_opened_again_when_it_is_told() {
    let folder = Folder::new();
    let (path, moved) = (folder.path("events.log"), folder.path("moved"));
    let sinks = start(vec![Box::new(line_file(&path))]);
    sinks.push(&batch(0..1));
    wait_until(|| delivered(&sinks) == 1);
    fs::rename(&path, &moved).unwrap();
    sinks.reopen();
    sinks.push(&batch(1..2));
    assert_eq!(sinks.drain(Duration::from_secs(10)), 0);
    assert_eq!((read(&moved), read(&path)), (line(0), line(1)));
}

#[test]
fn a_full_device_is_told_to_be_tried_again() {
    let error = line_file(Path::new("/dev/full")).deliver(&batch(0..1)).unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert!(error.to_string().contains("cannot write to /dev/full"), "{error}");
}
