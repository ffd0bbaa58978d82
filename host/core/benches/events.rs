//! What the two forms of an event cost, for a reset between two pods.
//!
//! References in the same run: the plain way of writing them, by `core::fmt`, which the tests hold them against, and copying the finished text.

use divan::{Bencher, black_box, counter::ItemsCount};
use netsonde_core::{
    event::{Event, EventId, FieldValue, Peer, json, line},
    scope::Name,
};
use std::sync::Arc;

#[path = "../src/event/tests/slow.rs"]
mod slow;

/// Events that are written one after the other, as a sink does.
const EVENTS: u64 = 1000;

fn main() {
    divan::main();
}

/// One of the thirteen fields of `tcp_reset`.
fn events() -> Vec<Event> {
    let name = Name { namespace: "shop".into(), pod: "checkout-7d9c6b0042-x2x4q".into(), ..Name::default() };
    let peer = Peer { namespace: "shop".into(), pod: "payment-5f6d9c0017-b7k2m".into(), container: "".into() };
    let (scope, node, probe, ty) = (Arc::new(name), "worker-3".into(), "tcp_reset".into(), "TCPRESET_NOSOCK".into());
    let text = |text: &str| FieldValue::Text(text.into());
    let fields = [
        ("protocol", text("TCP")),
        ("saddr", FieldValue::Address([10, 244, 3, 17].into())),
        ("sport", FieldValue::U64(8080)),
        ("daddr", FieldValue::Address([10, 244, 12, 201].into())),
        ("dport", FieldValue::U64(51_234)),
        ("reason", text("NO_SOCKET")),
        ("state", text("ESTABLISHED")),
        ("direction", text("sent")),
        ("kind", text("nosock")),
        ("pid", FieldValue::U64(123_456)),
        ("comm", text("nginx")),
        ("mark", FieldValue::U64(0)),
        ("age", FieldValue::F64(12.5)),
    ];
    let fields: Vec<(Arc<str>, FieldValue)> = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let event = Event {
        id: EventId::NONE,
        unix_nanos: 0,
        node,
        probe,
        ty,
        scope: Some(scope),
        peer: Some(peer),
        fields,
        stack: None,
        repeats: None,
    };
    let numbered = |seq| Event {
        id: EventId { run: 0x0123_4567_89ab_cdef, seq },
        unix_nanos: 1_795_262_400_123_456_789 + seq * 7919,
        ..event.clone()
    };
    (1..=EVENTS).map(numbered).collect()
}

fn write(bencher: Bencher<'_, '_>, write: impl Fn(&Event, &mut Vec<u8>)) {
    let (events, mut out) = (events(), Vec::new());
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        out.clear();
        events.iter().for_each(|event| write(black_box(event), &mut out));
        out.len()
    });
}

#[divan::bench_group(name = "1000_events")]
mod forms {
    use super::*;

    #[divan::bench]
    fn json_object(bencher: Bencher<'_, '_>) {
        write(bencher, json::write);
    }

    #[divan::bench]
    fn json_object_by_fmt(bencher: Bencher<'_, '_>) {
        write(bencher, |event, out| out.extend_from_slice(slow::json(event).as_bytes()));
    }

    #[divan::bench]
    fn one_line(bencher: Bencher<'_, '_>) {
        write(bencher, line::write);
    }

    #[divan::bench]
    fn one_line_by_fmt(bencher: Bencher<'_, '_>) {
        write(bencher, |event, out| out.extend_from_slice(slow::line(event).as_bytes()));
    }

    #[divan::bench]
    fn reference_copy_of_the_json(bencher: Bencher<'_, '_>) {
        let events = events();
        let texts: Vec<Vec<u8>> = events.iter().map(|event| slow::json(event).into_bytes()).collect();
        let mut out = Vec::new();
        bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
            out.clear();
            texts.iter().for_each(|text| out.extend_from_slice(black_box(text)));
            out.len()
        });
    }
}
