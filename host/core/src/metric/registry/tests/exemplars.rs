//! From a series to the latest of the events that it counts.

use super::*;
use crate::{
    event::{Event, EventId, FieldValue},
    probe::EventType,
};

/// A counter of scopes with the labels `kind` and `reason`, and one of the node; types of events of both, and one of neither.
fn node(label_bytes: usize) -> Node {
    let mut node = Node::new(&[], 10);
    let field = |name: &str| Field { name: name.into(), logical: "text".into(), nullable: true, attributes: vec![] };
    let metric = |name: &str, labels: &[&str], scoped| Metric {
        name: name.into(),
        help: "Help.".into(),
        kind: Counter,
        unit: String::new(),
        labels: labels.iter().map(|label| field(label)).collect(),
        bounds: vec![],
        queries: vec![],
        scoped,
        attributes: vec![],
    };
    let ty = |name: &str, attributes: &[(&str, &str)]| EventType {
        name: name.into(),
        help: String::new(),
        fields: vec![field("reason")],
        attributes: attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    };
    node.plan = Plan {
        metrics: vec![metric("sent", &["kind", "reason"], true), metric("seen", &["reason"], false)],
        events: vec![
            ty("SENT", &[("counter", "sent"), ("label:kind", "a")]),
            ty("SEEN", &[("counter", "seen")]),
            ty("OTHER", &[]),
        ],
        ..Plan::default()
    };
    let limits = Limits { label_bytes, ..Limits::default() };
    node.probe = node.registry.add_probe("q", &node.plan, &[], limits, at(1000)).unwrap();
    node
}

fn add(node: &mut Node, scope: ScopeId, reason: &str) {
    let labels = vec![texts(["a"].into_iter()), texts([reason].into_iter())];
    let sent = Samples { labels, ..samples(0, Add, &[(scope, "", 1.0)]) };
    let seen =
        Samples { scopes: None, labels: vec![texts([reason].into_iter())], ..samples(1, Add, &[(scope, "", 1.0)]) };
    node.apply(Output { samples: vec![sent, seen], ..Output::default() }).unwrap();
}

/// Event `seq` of somebody, at `seq` seconds and a quarter.
fn happened(node: &mut Node, ty: &str, seq: u64, scope: Option<ScopeId>, reason: Option<&str>) {
    let event = Event {
        id: EventId { run: 0x1f, seq },
        unix_nanos: seq * 1_000_000_000 + 250_000_000,
        node: "n".into(),
        probe: "q".into(),
        ty: ty.into(),
        scope: scope.map(|scope| node.scopes.get(scope).unwrap().name.clone()),
        peer: None,
        fields: reason.map(|reason| ("reason".into(), FieldValue::Text(reason.into()))).into_iter().collect(),
        stack: None,
        repeats: None,
    };
    node.registry.exemplar(node.probe, &event);
}

/// What stands behind the values of the page's samples: name, labels' end, exemplar.
fn exemplars(node: &Node) -> Vec<String> {
    let page = node.page(Format::OpenMetrics1_0_0(None));
    let lines = page.lines().filter(|line| line.contains(" # "));
    lines
        .map(|line| line.replace("netsonde_q_", "").replace("namespace=\"n\",", "").replace(",container=\"\"", ""))
        .collect()
}

#[test]
fn the_latest_event_of_a_series_is_its_exemplar_in_openmetrics_only() {
    let mut node = node(256);
    let (a, b) = (node.pod("a"), node.pod("b"));
    add(&mut node, a, "X");
    add(&mut node, b, "X");
    happened(&mut node, "SENT", 2, Some(a), Some("X"));
    happened(&mut node, "SENT", 3, Some(a), Some("X"));
    happened(&mut node, "SENT", 1, Some(a), Some("X"));
    happened(&mut node, "SEEN", 4, Some(a), Some("X"));
    for (ty, scope, reason) in [
        ("SENT", Some(b), None),
        ("SENT", None, Some("X")),
        ("SENT", Some(b), Some("Y")),
        ("OTHER", Some(b), Some("X")),
    ] {
        happened(&mut node, ty, 9, scope, reason);
    }
    let want = [
        r#"sent_total{pod="a",kind="a",reason="X"} 1 # {event_id="000000000000001f-3"} 1 3.250"#,
        r#"seen_total{reason="X"} 2 # {event_id="000000000000001f-4"} 1 4.250"#,
    ];
    assert_eq!(exemplars(&node), want);
    for format in [Format::Text0_0_4, Format::Text1_0_0(None)] {
        assert!(!node.page(format).contains("event_id"));
    }
}

#[test]
fn what_an_event_lacks_is_the_empty_label_and_what_is_too_long_is_cut_as_labels_are() {
    let mut node = node(8);
    let pod = node.pod("a");
    add(&mut node, pod, "");
    add(&mut node, pod, "much too long");
    happened(&mut node, "SEEN", 1, None, None);
    happened(&mut node, "SEEN", 2, None, Some("much too long"));
    let want = [
        r#"seen_total{reason=""} 1 # {event_id="000000000000001f-1"} 1 1.250"#,
        r#"seen_total{reason="much …"} 1 # {event_id="000000000000001f-2"} 1 2.250"#,
    ];
    assert_eq!(exemplars(&node), want);
}

#[test]
fn rule_5_of_series_that_are_merged_the_later_exemplar_stays() {
    let mut node = node(256);
    let a = node.pod("a");
    let held = node.add(Name { netns: Some("11".into()), ..Name::default() }, Some(Duration::from_secs(2)));
    add(&mut node, a, "X");
    add(&mut node, held, "X");
    happened(&mut node, "SENT", 5, Some(a), Some("X"));
    // Its series is not on the page yet, nor has it an exemplar: its events wait, too.
    happened(&mut node, "SENT", 6, Some(held), Some("X"));
    let name = node.scopes.get(a).unwrap().name.clone();
    node.scopes.replace(held, Scope { name, ..Scope::default() });
    node.registry.settle_scope(held, &node.scopes);
    assert_eq!(
        exemplars(&node),
        [r#"sent_total{pod="a",kind="a",reason="X"} 2 # {event_id="000000000000001f-5"} 1 5.250"#]
    );
    happened(&mut node, "SENT", 7, Some(held), Some("X"));
    assert_eq!(
        exemplars(&node),
        [r#"sent_total{pod="a",kind="a",reason="X"} 2 # {event_id="000000000000001f-7"} 1 7.250"#]
    );
}
