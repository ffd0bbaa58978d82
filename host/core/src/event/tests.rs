mod page;
mod slow;

use super::*;
use crate::{
    batch::{Batch, Bitmap, Column, Values},
    output::{self, Shape},
    probe::{Answer, Call, CallKind, EventType, Events, Field, Output, Plan},
    scope::{Name, Scope, ScopeId, Scopes},
};
use proptest::prelude::*;
use std::time::Duration;

/// The event with this sequence; even ones are of type `EVEN`.
pub(super) fn event(seq: u64) -> Event {
    Event {
        id: EventId { run: 0x0123_4567_89ab_cdef, seq },
        unix_nanos: 1_795_262_400_123_456_789 + seq,
        node: "worker-3".into(),
        probe: "tcp_reset".into(),
        ty: if seq.is_multiple_of(2) { "EVEN" } else { "ODD" }.into(),
        scope: Some(netns("host")),
        peer: None,
        fields: vec![("sport".into(), FieldValue::U64(seq))],
        stack: None,
        repeats: None,
    }
}

#[test]
fn stack_and_repeats_are_in_both_forms_and_are_read_back() {
    let mut event = event(1);
    event.stack = Some(["kfree_skb+0x1 [veth]", "tcp_v4_rcv+0xa3"].map(Into::into).into());
    event.repeats = Some(Repeats { count: 3, last_unix_nanos: event.unix_nanos + 1_000_000_000 });
    let mut text = Vec::new();
    json::write(&event, &mut text);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(r#","stack":["kfree_skb+0x1 [veth]","tcp_v4_rcv+0xa3"],"repeats":{"count":3,"#), "{text}");
    assert_eq!(json::read(&text).unwrap(), json::Json::Event(event.clone()));
    let line = line_of(&event);
    assert!(line.contains(" repeats=3 last_time=2026-11-21T12:00:01.123456790Z"), "{line}");
    assert!(line.ends_with(" stacktrace:kfree_skb+0x1[veth] tcp_v4_rcv+0xa3\n"), "{line}");
}

fn netns(name: &str) -> Arc<Name> {
    Arc::new(Name { netns: Some(name.into()), ..Name::default() })
}

fn pod(namespace: &str, pod: &str) -> Arc<Name> {
    Arc::new(Name { namespace: namespace.into(), pod: pod.into(), ..Name::default() })
}

fn line_of(event: &Event) -> String {
    let mut out = Vec::new();
    line::write(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn json_of(event: &Event) -> String {
    let mut out = Vec::new();
    json::write(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn reset() -> Event {
    let address = |text: &str| FieldValue::Address(text.parse().unwrap());
    let fields: Vec<(&str, FieldValue)> = vec![
        ("protocol", FieldValue::Text("TCP".into())),
        ("saddr", address("10.0.0.1")),
        ("sport", FieldValue::U64(1)),
        ("daddr", address("10.0.0.2")),
        ("dport", FieldValue::U64(2)),
        ("reason", FieldValue::Text("NO_SOCKET".into())),
    ];
    Event {
        ty: "TCPRESET_NOSOCK".into(),
        scope: Some(pod("shop", "web-1")),
        fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        unix_nanos: 1_795_262_400_123_456_789,
        ..event(7)
    }
}

/// With a container, labels, of which one has no value, and a peer.
fn with_everybody(event: &Event) -> Event {
    let labels = vec![("app".into(), "front".into()), ("team".into(), "".into())];
    let name = Name { container: "web".into(), labels, ..(*pod("shop", "web-1")).clone() };
    let peer = Peer { namespace: "shop".into(), pod: "db-0".into(), container: "".into() };
    Event { scope: Some(Arc::new(name)), peer: Some(peer), ..event.clone() }
}

#[test]
fn the_line_form_is_exactly_this() {
    let mut event = reset();
    let fields = "protocol=TCP saddr=10.0.0.1 sport=1 daddr=10.0.0.2 dport=2 reason=NO_SOCKET \
                  time=2026-11-21T12:00:00.123456789Z node=worker-3 id=0123456789abcdef-7\n";
    assert_eq!(line_of(&event), format!("type=TCPRESET_NOSOCK pod=web-1 namespace=shop {fields}"));
    let whole = "pod=web-1 namespace=shop container=web app=front peer_namespace=shop peer_pod=db-0";
    assert_eq!(line_of(&with_everybody(&event)), format!("type=TCPRESET_NOSOCK {whole} {fields}"));
    event.scope = Some(netns("host"));
    assert_eq!(line_of(&event), format!("type=TCPRESET_NOSOCK netns=host {fields}"));
    event.scope = None;
    assert_eq!(line_of(&event), format!("type=TCPRESET_NOSOCK {fields}"));
}

#[test]
fn the_json_form_is_exactly_this() {
    let mut event = reset();
    event.fields = vec![
        ("z".into(), FieldValue::U64(u64::MAX)),
        ("a".into(), FieldValue::S64(-1)),
        ("loss".into(), FieldValue::F64(0.5)),
        ("nan".into(), FieldValue::F64(f64::NAN)),
        ("up".into(), FieldValue::Bool(true)),
        ("saddr".into(), FieldValue::Address("2001:db8::1".parse().unwrap())),
        ("text".into(), FieldValue::Text("a \"b\"\n".into())),
    ];
    let head = r#"{"v":1,"id":"0123456789abcdef-7","time":"2026-11-21T12:00:00.123456789Z","unix_nanos":1795262400123456789,"node":"worker-3","probe":"tcp_reset","type":"TCPRESET_NOSOCK","#;
    let fields = r#""fields":{"z":18446744073709551615,"a":-1,"loss":0.5,"nan":"NaN","up":true,"saddr":"2001:db8::1","text":"a \"b\"\n"}}"#;
    assert_eq!(json_of(&event), format!("{head}\"namespace\":\"shop\",\"pod\":\"web-1\",{fields}\n"));
    let whole = r#""namespace":"shop","pod":"web-1","container":"web","labels":{"app":"front"},"peer_namespace":"shop","peer_pod":"db-0","#;
    assert_eq!(json_of(&with_everybody(&event)), format!("{head}{whole}{fields}\n"));
    event.scope = Some(netns("host"));
    assert_eq!(json_of(&event), format!("{head}\"netns\":\"host\",{fields}\n"));
    (event.scope, event.fields) = (None, vec![]);
    assert_eq!(json_of(&event), format!("{head}\"fields\":{{}}}}\n"));
}

#[test]
fn values_are_quoted_where_they_must_be() {
    for (text, want) in [
        ("plain/text:1.2-3_4%", "plain/text:1.2-3_4%"),
        ("größer", "größer"),
        ("", r#""""#),
        ("a b", r#""a b""#),
        ("a=b", r#""a=b""#),
        ("a\"b", r#""a\"b""#),
        ("a\\b", "a\\b"),
        ("a \\b", r#""a \\b""#),
        ("a\nb", r#""a\nb""#),
        ("\u{1b}[2J", r#""\u001b[2J""#),
        ("a\u{2028}b", r#""a\u2028b""#),
        ("a\u{a0}b", "\"a\u{a0}b\""),
    ] {
        let event = Event { fields: vec![("x".into(), FieldValue::Text(text.into()))], ..event(1) };
        assert!(line_of(&event).contains(&format!(" x={want} time=")), "{}", line_of(&event));
    }
}

#[test]
fn numbers_and_addresses_are_written_as_people_know_them() {
    for (value, want) in [
        (FieldValue::S64(i64::MIN), "-9223372036854775808"),
        (FieldValue::F64(1e16), "1e16"),
        (FieldValue::F64(f64::NEG_INFINITY), "-Inf"),
        (FieldValue::Bool(false), "false"),
        (FieldValue::Address("2001:db8:0:0:1:0:0:1".parse().unwrap()), "2001:db8::1:0:0:1"),
    ] {
        let event = Event { fields: vec![("x".into(), value)], ..event(1) };
        assert!(line_of(&event).contains(&format!(" x={want} ")), "{}", line_of(&event));
    }
}

#[test]
fn ids_are_read_as_they_are_written() {
    let id = EventId { run: 0x1f, seq: 42 };
    assert_eq!(id.to_string(), "000000000000001f-42");
    assert_eq!("000000000000001f-42".parse(), Ok(id));
    for wrong in
        ["", "42", "1f-42", "000000000000001f-", "000000000000001f-+4", "+00000000000001f-4", "x00000000000001f-4"]
    {
        assert_eq!(wrong.parse::<EventId>(), Err(NoEventId), "{wrong}");
    }
}

#[test]
fn lines_that_are_no_events_say_so() {
    assert_eq!(json::read("{\"missed\":7}\n").unwrap(), json::Json::Missed(7));
    let good = json_of(&event(1));
    for (line, told) in [
        (String::new(), "no JSON object"),
        ("[]".into(), "no JSON object"),
        ("{} x".into(), "no JSON object"),
        ("{\"a\":1,}".into(), "no JSON object"),
        ("{\"a\" 1}".into(), "no JSON object"),
        ("{\"a\":".into(), "no JSON object"),
        ("{}".into(), "no `fields`"),
        (good.replace("\"probe\"", "\"prob\""), "no `probe`"),
        (good.replace("0123456789abcdef", "0123"), "no `id`"),
        (good.replace(":1}", ":null}"), "no `fields`"),
    ] {
        let error = json::read(&line).unwrap_err().to_string();
        assert!(error.contains(told), "{line}: {error}");
    }
}

fn any_value() -> impl Strategy<Value = FieldValue> {
    prop_oneof![
        any::<u64>().prop_map(FieldValue::U64),
        (i64::MIN..0).prop_map(FieldValue::S64),
        any::<f64>().prop_map(FieldValue::F64),
        any::<bool>().prop_map(FieldValue::Bool),
        any::<IpAddr>().prop_map(FieldValue::Address),
        any::<String>().prop_map(|text| FieldValue::Text(text.into())),
    ]
}

fn any_who() -> impl Strategy<Value = Arc<Name>> {
    let text = || any::<String>().prop_map(Arc::from);
    let labels = prop::collection::vec(("[a-z]{1,4}", ".{1,4}"), 0..2);
    let name = (prop::option::of(text()), text(), text(), text(), labels);
    name.prop_map(|(netns, namespace, pod, container, labels)| {
        let labels = labels.into_iter().map(|(label, value)| (label.into(), value.into())).collect();
        Arc::new(Name { netns, namespace, pod, container, labels })
    })
}

proptest! {
    #[test]
    fn an_event_that_is_read_back_has_the_same_line_and_every_form_is_one_line(
        unix_nanos in any::<u64>(),
        run in any::<u64>(),
        node in any::<String>(),
        scope in prop::option::of(any_who()),
        values in prop::collection::vec(any_value(), 0..6),
    ) {
        let fields = values.into_iter().enumerate().map(|(index, value)| (format!("f{}", 9 - index).into(), value));
        let event = Event { id: EventId { run, seq: 3 }, unix_nanos, node: node.into(), scope, fields: fields.collect(), ..event(3) };
        let (line, json) = (line_of(&event), json_of(&event));
        for form in [&line, &json] {
            prop_assert_eq!(form.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{1b}', '\0']).count(), 1);
            prop_assert!(form.ends_with('\n'));
        }
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        match json::read(&json) {
            Ok(json::Json::Event(back)) => prop_assert_eq!(line_of(&back), line),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn both_forms_are_what_they_always_were(
        (run, seq, unix_nanos) in any::<(u64, u64, u64)>(),
        texts in prop::array::uniform3(prop_oneof![any::<String>(), "[a-z0-9-]{0,20}"]),
        scope in prop::option::of(any_who()),
        peer in prop::option::of(prop::array::uniform3(prop_oneof![any::<String>(), Just(String::new())])),
        values in prop::collection::vec((".{0,3}", any_value()), 0..6),
        stack in prop::option::of(prop::collection::vec(any::<String>(), 0..3)),
        repeats in prop::option::of(any::<(u64, u64)>()),
    ) {
        let [node, probe, ty] = texts.map(Arc::from);
        let peer = peer.map(|texts| {
            let [namespace, pod, container] = texts.map(Arc::from);
            Peer { namespace, pod, container }
        });
        let event = Event {
            id: EventId { run, seq },
            unix_nanos,
            node,
            probe,
            ty,
            scope,
            peer,
            fields: values.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            stack: stack.map(|frames| frames.into_iter().map(Into::into).collect()),
            repeats: repeats.map(|(count, last_unix_nanos)| Repeats { count, last_unix_nanos }),
        };
        prop_assert_eq!(json_of(&event), slow::json(&event));
        prop_assert_eq!(line_of(&event), slow::line(&event));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[{}\\[\\]\",:a1 ]{0,20}|.*") {
        let _ = json::read(&text);
    }
}

// ---- from an output ---------------------------------------------------------------------------------------------------------------

fn field(name: &str, logical: &str) -> Field {
    Field { name: name.into(), logical: logical.into(), nullable: true, attributes: vec![] }
}

fn plan(fields: &[(&str, &str)]) -> Plan {
    let ty = |name: &str, fields: &[(&str, &str)]| EventType {
        name: name.into(),
        help: String::new(),
        fields: fields.iter().map(|(name, logical)| field(name, logical)).collect(),
        attributes: vec![],
    };
    Plan { events: vec![ty("RESET", fields), ty("BARE", &[])], ..Plan::default() }
}

/// Scopes 1 and 2 are namespaces, 3 is a pod.
fn scopes() -> Scopes {
    let mut scopes = Scopes::default();
    for (netns, namespace, pod) in [(Some("host"), "", ""), (Some("blue"), "", ""), (None, "shop", "web-1")] {
        let netns = netns.map(Arc::from);
        let name = Arc::new(Name { netns, namespace: namespace.into(), pod: pod.into(), ..Name::default() });
        scopes.add(Scope { name, ..Scope::default() });
    }
    scopes
}

fn handles(handles: &[Option<ScopeId>]) -> Column {
    let mut present = Bitmap::zeros(handles.len());
    handles.iter().enumerate().for_each(|(row, handle)| present.set(row, handle.is_some()));
    Column { values: Values::U32(handles.iter().map(|handle| handle.unwrap_or(0)).collect()), present: Some(present) }
}

/// A call at 1,000 ns on the monotonic clock and 500,000 ns since the epoch.
fn call(columns: Vec<Column>, rows: usize) -> Call {
    let answer = Answer { query: 0, result: Ok(Batch { rows, columns }), failed_scopes: vec![] };
    Call {
        kind: CallKind::Stream,
        id: 1,
        monotonic_nanos: 1000,
        unix_nanos: 500_000,
        answers: vec![answer],
        gone: vec![],
    }
}

fn of_rows(ty: u32, rows: &[u32], fields: Vec<Column>) -> Events {
    Events { ty, count: rows.len() as u32, answer: Some(0), rows: rows.to_vec(), scopes: None, fields }
}

fn make(given: Vec<Events>, plan: &Plan, call: &Call, origins: &Origins, limit: usize) -> Vec<Event> {
    let (output, scopes) = (Output { events: given, ..Output::default() }, scopes());
    let checked = output::check(&output, plan, &Shape::from(call), &scopes).expect("the test's output is right");
    events(checked, plan, origins, &scopes, &Stamp { node: "n".into(), probe: "p".into() }, granted(limit)).events
}

fn granted(granted: usize) -> Limit {
    Limit { granted, over: 0 }
}

#[test]
fn rule_28_the_scope_is_the_events_own_else_scope_else_owner_else_netns_else_none() {
    let netns = (field("netns", "scope"), handles(&[Some(1), Some(1)]));
    let owner = (field("owner", "scope"), handles(&[Some(2), None]));
    let scope = (field("scope", "scope"), handles(&[Some(3), None]));
    let not_one = (field("netns", "name"), handles(&[Some(1), Some(1)]));
    let other = (field("peer", "scope"), handles(&[Some(1), Some(1)]));
    let always_null = (field("owner", "scope"), Column::null(2));
    for (columns, own, want) in [
        (vec![&netns], None, [Some("host"), Some("host")]),
        (vec![&netns, &owner], None, [Some("blue"), Some("host")]),
        (vec![&always_null, &netns], None, [Some("host"), Some("host")]),
        (vec![&owner], None, [Some("blue"), None]),
        (vec![&netns, &owner, &scope], None, [Some("shop/web-1"), None]),
        (vec![&netns], Some(handles(&[None, Some(2)])), [None, Some("blue")]),
        (vec![&not_one, &other], None, [None, None]),
        (vec![], None, [None, None]),
    ] {
        let fields: Vec<Field> = columns.iter().map(|(field, _)| field.clone()).collect();
        let call = call(columns.iter().map(|(_, column)| column.clone()).collect(), 2);
        let origins = Origins::of_tables(&call, |_| &fields);
        let given = Events { scopes: own, ..of_rows(1, &[0, 1], vec![]) };
        let made = make(vec![given], &plan(&[]), &call, &origins, 9);
        let who: Vec<Option<String>> = made.into_iter().map(|event| event.scope.map(|name| name.to_string())).collect();
        assert_eq!(who, want.map(|name| name.map(str::to_owned)), "{fields:?}");
    }
}

#[test]
fn rule_6_events_of_somebody_who_has_no_name_yet_wait_for_it() {
    let mut scopes = scopes();
    let name = netns("11");
    let held = scopes.add(Scope { name, held: Some(Duration::from_secs(2)), ..Scope::default() });
    let own = handles(&[Some(1), Some(held), None, Some(held)]);
    let given = Events { scopes: Some(own), ..of_rows(1, &[0, 1, 2, 3], vec![]) };
    let (output, plan, call) = (Output { events: vec![given], ..Output::default() }, plan(&[]), call(vec![], 4));
    let checked = output::check(&output, &plan, &Shape::from(&call), &scopes).unwrap();
    let stamp = Stamp { node: "n".into(), probe: "p".into() };
    let made = events(checked, &plan, &Origins::new(&call, vec![]), &scopes, &stamp, granted(9));
    let who = |event: &Event| event.scope.as_ref().map(ToString::to_string);
    assert_eq!(made.events.iter().map(who).collect::<Vec<_>>(), [Some("host".to_owned()), None]);
    assert_eq!(
        made.waiting.iter().map(|(scope, event)| (*scope, who(event))).collect::<Vec<_>>(),
        vec![(held, None); 2]
    );
    scopes.replace(held, Scope { name: pod("shop", "web-1"), ..Scope::default() });
    let (scope, mut event) = made.waiting.into_iter().next().unwrap();
    super::name(&mut event, Some(scope), &scopes);
    assert_eq!(who(&event).as_deref(), Some("shop/web-1"));
}

#[test]
fn rule_15_the_time_is_the_source_rows_and_events_come_in_its_order() {
    let call = call(vec![], 4);
    let times = Some(vec![900, 400, 1100, 2000]);
    let origins = Origins::new(&call, vec![Origin { times, ..Origin::default() }]);
    let nowhere = Events { answer: None, rows: vec![], ..of_rows(1, &[9], vec![]) };
    let given = || vec![of_rows(0, &[0, 1], vec![]), of_rows(1, &[2, 1], vec![]), nowhere.clone()];
    let made = |limit| -> Vec<(u64, u64, String)> {
        let events = make(given(), &plan(&[]), &call, &origins, limit);
        events.into_iter().zip(10..).map(|(event, seq)| (seq, event.unix_nanos, event.ty.to_string())).collect()
    };
    let all = [
        (10, 499_400, "RESET"),
        (11, 499_400, "BARE"),
        (12, 499_900, "RESET"),
        (13, 500_000, "BARE"),
        (14, 500_100, "BARE"),
    ];
    let all = all.map(|(seq, time, ty)| (seq, time, ty.to_owned()));
    assert_eq!(made(99), all);
    assert_eq!(made(2), all[..2], "the earliest are kept");
    assert_eq!(made(0), []);
    let extreme = Origins::new(&Call { unix_nanos: 10, ..call.clone() }, vec![]);
    assert_eq!(extreme.unix_nanos(Some(0), 0), 10, "no times: the call's");
    let early = Origin { times: Some(vec![0, u64::MAX]), ..Origin::default() };
    let extreme = Origins::new(&Call { unix_nanos: 10, ..call }, vec![early]);
    assert_eq!((extreme.unix_nanos(Some(0), 0), extreme.unix_nanos(Some(0), 1)), (0, u64::MAX - 990));
}

#[test]
fn the_stack_is_the_source_rows_and_may_be_none() {
    let call = call(vec![], 4);
    let stack = |frame: &str| -> Option<Stack> { Some([frame.into(), "tcp_v4_rcv+0x1".into()].into()) };
    let times = Some(vec![1, 2, 3, 4]);
    let origin = Origin { times, stacks: vec![stack("a+0x1"), None, stack("b+0xA3 [nf]")], ..Origin::default() };
    let nowhere = Events { answer: None, rows: vec![], ..of_rows(1, &[9], vec![]) };
    let given = vec![of_rows(0, &[2, 0, 1, 3], vec![]), nowhere];
    let events = make(given, &plan(&[]), &call, &Origins::new(&call, vec![origin]), 99);
    let told: Vec<Option<Stack>> = events.into_iter().map(|event| event.stack).collect();
    // The row beyond the end has none, and what has no row has none.
    assert_eq!(told, [stack("a+0x1"), None, stack("b+0xA3 [nf]"), None, None]);
}

#[test]
fn every_form_of_column_becomes_a_value_and_null_is_left_out() {
    let mapped = [[0; 10].as_slice(), &[0xff, 0xff, 10, 0, 0, 1], &[0x20, 1], &[0; 13], &[1]].concat();
    let columns = [
        ("u", "port", Column::full(Values::U32(vec![1, 2])), "u=1"),
        ("s", "count", Column::full(Values::S64(vec![-1, 2])), "s=-1"),
        ("f", "seconds", Column::full(Values::F64(vec![0.25, 2.0])), "f=0.25"),
        ("b", "bool", Column::full(Values::U32(vec![1, 0])), "b=true"),
        ("a", "address", Column::full(Values::Address(mapped)), "a=10.0.0.1"),
        ("t", "name", Column::full(Values::Code { codes: vec![1, 0], names: vec!["x".into(), "y".into()] }), "t=y"),
        ("y", "text", Column::full(Values::Blob { ends: vec![2, 4], bytes: b"h\xffho".to_vec() }), "y=h\u{fffd}"),
        ("n", "text", Column::null(2), ""),
        ("peer", "scope", handles(&[Some(3), Some(2)]), "peer_namespace=shop peer_pod=web-1"),
        ("gone", "scope", handles(&[None, Some(1)]), ""),
    ];
    let plan = plan(&columns.each_ref().map(|(name, logical, ..)| (*name, *logical)));
    let call = call(vec![], 2);
    let given = of_rows(0, &[0, 1], columns.iter().map(|(_, _, column, _)| column.clone()).collect());
    let made = make(vec![given], &plan, &call, &Origins::new(&call, vec![]), 9);
    let want: Vec<&str> = columns.iter().map(|column| column.3).filter(|text| !text.is_empty()).collect();
    let line = line_of(&made[0]);
    assert!(line.starts_with(&format!("type=RESET {} time=", want.join(" "))), "{line}");
    let line = line_of(&made[1]);
    let want = "u=2 s=2 f=2.0 b=false a=2001::1 t=x y=ho peer_netns=blue gone_netns=host time=";
    assert!(line.starts_with(&format!("type=RESET {want}")), "{line}");
}

#[test]
fn a_text_without_end_is_cut_at_a_character() {
    for (given, length) in [
        (vec![b'x'; MAX_TEXT], MAX_TEXT),
        (vec![b'x'; MAX_TEXT + 1], MAX_TEXT),
        ("é".repeat(1 << 20).into_bytes(), MAX_TEXT - 1),
        (vec![0xff; 1 << 20], MAX_TEXT - 1),
    ] {
        let ends = vec![given.len() as u32];
        let column = Column::full(Values::Blob { ends, bytes: given.clone() });
        let call = call(vec![], 1);
        let plan = plan(&[("t", "text")]);
        let made = make(vec![of_rows(0, &[0], vec![column])], &plan, &call, &Origins::new(&call, vec![]), 9);
        let FieldValue::Text(text) = &made[0].fields[0].1 else { panic!("{made:?}") };
        assert_eq!(text.len(), length);
        assert_eq!(text.ends_with('…'), given.len() > MAX_TEXT);
        assert!(made[0].bytes() > length);
    }
}
