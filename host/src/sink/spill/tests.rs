use super::*;
use crate::sink::tests::{Folder, batch, event};
use netsonde_core::event::FieldValue;
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

const ALL: Batch = Batch { events: usize::MAX, bytes: usize::MAX };

fn settings(folder: &Folder, size: u64) -> Settings {
    Settings { folder: folder.path("spill"), size, max_age: Duration::MAX }
}

fn open(folder: &Folder, size: u64) -> (Spill, Found) {
    Spill::open(&settings(folder, size), "s").unwrap()
}

fn lines(seqs: std::ops::Range<u64>) -> Lines {
    let mut lines = Lines::default();
    lines.write(&batch(seqs));
    lines
}

/// Reads all, and is done with it.
fn drained(spill: &mut Spill) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Some(read) = spill.read(ALL).unwrap() {
        seqs.extend(read.events.iter().map(|event| event.id.seq));
        spill.advance(read.end).unwrap();
    }
    seqs
}

fn found(count: u64) -> Found {
    Found { events: BTreeMap::from([("p".into(), count)]), torn: 0 }
}

#[test]
fn rule_16_what_was_stored_is_there_after_the_end_of_the_process_in_its_order() {
    let folder = Folder::new();
    let (mut spill, was) = open(&folder, 1 << 30);
    assert_eq!(was, Found::default());
    assert_eq!(spill.append(&lines(10..20)).unwrap(), 10);
    assert_eq!(spill.put_in_front(&lines(5..10)).unwrap().unwrap().len(), 5);
    assert_eq!(spill.append(&lines(20..30)).unwrap(), 10);
    let read = spill.read(Batch { events: 3, bytes: usize::MAX }).unwrap().unwrap();
    assert_eq!(read.events, *batch(5..8));
    spill.advance(read.ends[1]).unwrap();
    drop(spill);
    let (mut spill, was) = open(&folder, 1 << 30);
    assert_eq!(was, found(23));
    assert_eq!(spill.append(&lines(30..31)).unwrap(), 1);
    assert_eq!(drained(&mut spill), (7..31).collect::<Vec<_>>());
    assert_eq!(spill.bytes(), 0);
    drop(spill);
    assert_eq!(open(&folder, 1 << 30).1, Found::default());
}

#[test]
fn many_segments_are_one_list_and_each_is_removed_when_it_is_done_with() {
    let folder = Folder::new();
    let (mut spill, _) = open(&folder, 16 << 10);
    let one = lines(0..10).text.len() as u64;
    let count = (16 << 10) / one - 1;
    for at in 0..count {
        assert_eq!(spill.append(&lines(at * 10..at * 10 + 10)).unwrap(), 10);
    }
    assert!(spill.segments.len() > 2);
    assert_eq!(spill.bytes(), spill.segments.iter().map(|segment| segment.len).sum::<u64>());
    let read = spill.read(ALL).unwrap().unwrap();
    let before = spill.bytes();
    assert!(spill.advance(read.end).unwrap());
    assert_eq!(spill.bytes(), before - read.end);
    let mut seqs: Vec<u64> = read.events.iter().map(|event| event.id.seq).collect();
    seqs.extend(drained(&mut spill));
    assert_eq!(seqs, (0..count * 10).collect::<Vec<_>>());
}

#[test]
fn a_full_one_takes_what_fits_to_the_event() {
    let folder = Folder::new();
    let lines = lines(10..20);
    let (mut spill, _) = open(&folder, lines.ends[6] as u64 + 5);
    assert_eq!(spill.append(&lines).unwrap(), 7);
    assert_eq!((spill.append(&lines).unwrap(), spill.put_in_front(&lines).unwrap()), (0, None));
    assert_eq!(drained(&mut spill), (10..17).collect::<Vec<_>>());
    assert_eq!(spill.append(&lines).unwrap(), 7, "there is room again");
}

#[test]
fn a_torn_line_is_cut_off_and_what_is_no_event_is_told() {
    let folder = Folder::new();
    let (mut spill, _) = open(&folder, 1 << 20);
    spill.append(&lines(1..4)).unwrap();
    drop(spill);
    let path = folder.path("spill/s").join(segment(FIRST));
    let mut text = fs::read(&path).unwrap();
    let whole = text.len();
    text.extend_from_slice(b"{\"garbage\":1,\"probe\":\"q\"}\n\xff\xfe\n{\"v\":1,\"id\":\"00");
    fs::write(&path, &text).unwrap();
    let (mut spill, was) = open(&folder, 1 << 20);
    assert_eq!(was.torn, 15);
    assert_eq!(was.events, BTreeMap::from([("p".into(), 3), ("q".into(), 1), ("".into(), 1)]));
    assert_eq!(fs::metadata(&path).unwrap().len(), (whole + 29) as u64);
    let read = spill.read(ALL).unwrap().unwrap();
    assert_eq!((read.events.len(), read.unreadable), (3, vec!["q".into(), "".into()]));
    spill.advance(read.end).unwrap();
    assert_eq!(drained(&mut spill), [0; 0]);
}

#[test]
fn a_position_that_is_none_repeats_rather_than_loses() {
    for position in ["", "garbage", "0000000100000000 99999999\n", "0000000100000007 3\n", "0000000100000000 1"] {
        let folder = Folder::new();
        let (mut spill, _) = open(&folder, 1 << 20);
        spill.append(&lines(1..4)).unwrap();
        drop(spill);
        fs::write(folder.path("spill/s/position"), position).unwrap();
        assert_eq!(drained(&mut open(&folder, 1 << 20).0), [1, 2, 3], "{position:?}");
    }
}

#[test]
fn two_do_not_share_one_and_nobody_else_reads_it() {
    let folder = Folder::new();
    let (mut spill, _) = open(&folder, 1 << 20);
    spill.append(&lines(1..4)).unwrap();
    let error = Spill::open(&settings(&folder, 1 << 20), "s").err().unwrap().to_string();
    assert!(error.contains("another agent uses") && error.contains("`spill.folder`"), "{error}");
    assert!(Spill::open(&settings(&folder, 1 << 20), "t").is_ok(), "another sink's is another folder");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.path("spill/s")), mode(folder.path("spill/s").join(segment(FIRST)))), (0o700, 0o600));
}

#[test]
fn what_a_sink_left_that_is_no_more_is_found() {
    let folder = Folder::new();
    let (mut spill, _) = open(&folder, 1 << 20);
    assert!(left_behind(&folder.path("spill"), &[]).is_empty(), "there is nothing in it");
    spill.append(&lines(1..4)).unwrap();
    assert_eq!(left_behind(&folder.path("spill"), &["t"]), ["s"]);
    assert!(left_behind(&folder.path("spill"), &["t", "s"]).is_empty());
    assert!(left_behind(&folder.path("none"), &[]).is_empty());
}

#[test]
fn what_a_sink_sends_is_the_same_from_the_spill() {
    let fields = [
        ("a", FieldValue::Address("10.0.0.1".parse().unwrap())),
        ("b", FieldValue::Address("2001:db8::1".parse().unwrap())),
        ("c", FieldValue::S64(-1)),
        ("d", FieldValue::U64(u64::MAX)),
        ("e", FieldValue::F64(2.0)),
        ("f", FieldValue::F64(f64::NAN)),
        ("g", FieldValue::Bool(true)),
        ("h", FieldValue::Text("a \"b\"\n".into())),
    ];
    let given = Event {
        fields: fields.map(|(name, value)| (name.into(), value)).into(),
        stack: Some(["skb_release_data+0xa3".into(), "f+0x1 [m]".into()].into()),
        repeats: Some(netsonde_core::event::Repeats { count: 3, last_unix_nanos: 9 }),
        ..event(1)
    };
    let folder = Folder::new();
    let (mut spill, _) = open(&folder, 1 << 20);
    let mut lines = Lines::default();
    lines.write(std::slice::from_ref(&given));
    spill.append(&lines).unwrap();
    let read = spill.read(ALL).unwrap().unwrap();
    for form in [netsonde_core::config::Form::Line, netsonde_core::config::Form::Json] {
        let written = |event: &Event| {
            let mut text = Vec::new();
            crate::sink::format(form, std::slice::from_ref(event), &mut text);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(written(&read.events[0]), written(&given));
    }
}
