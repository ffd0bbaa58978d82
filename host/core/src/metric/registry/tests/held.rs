//! Series of scopes that wait for their names.

use super::*;

/// A namespace that waits, as scope 2 beside pod `a`.
fn held(node: &mut Node) -> (ScopeId, ScopeId) {
    let a = node.pod("a");
    let held = node.add(Name { netns: Some("11".into()), ..Name::default() }, Some(Duration::from_secs(9999)));
    (a, held)
}

impl Node {
    fn settle(&mut self, id: ScopeId, name: Name) {
        let named = Scope { name: Arc::new(name), ..self.scopes.get(id).unwrap().clone() };
        self.scopes.replace(id, Scope { held: None, ..named });
        self.registry.settle_scope(id, &self.scopes);
        for metric in self.registry.probes.iter().flat_map(|probe| &probe.metrics) {
            metric.store.assert_consistent();
        }
    }
}

#[test]
fn rule_6_a_series_never_changes_from_netns_to_pod_and_loses_nothing() {
    let mut node = Node::new(&[("c", Counter), ("g", Gauge), ("h", Histogram), ("t", Counter)], 10);
    let (_, held) = held(&mut node);
    for _ in 0..2 {
        node.give(0, Add, &[(held, "x", 3.0)]).unwrap();
        node.give(1, Set, &[(held, "x", 5.0)]).unwrap();
        node.give(2, Observe, &[(held, "x", 1.0)]).unwrap();
        node.give(3, Total, &[(held, "x", 100.0)]).unwrap();
        assert_lines(&node, &[]);
        assert_eq!(node.registry.series(node.probe), 0);
    }
    node.settle(held, Name { namespace: "n".into(), pod: "b".into(), ..Name::default() });
    let lines = [
        r#"c_total{pod="b",x="x"} 6"#,
        r#"g{pod="b",x="x"} 5"#,
        r#"h_bucket{pod="b",x="x",le="+Inf"} 2"#,
        r#"h_bucket{pod="b",x="x",le="1.0"} 2"#,
        r#"h_bucket{pod="b",x="x",le="2.0"} 2"#,
        r#"h_count{pod="b",x="x"} 2"#,
        r#"h_sum{pod="b",x="x"} 2.0"#,
        r#"t_total{pod="b",x="x"} 100"#,
    ];
    assert_lines(&node, &lines);
    node.give(0, Add, &[(held, "x", 1.0)]).unwrap();
    assert!(node.lines().contains(&r#"c_total{pod="b",x="x"} 7"#.to_owned()));
}

#[test]
fn rule_5_one_that_gets_the_labels_of_another_is_merged_with_it() {
    let mut node = Node::new(&[("c", Counter), ("g", Gauge), ("h", Histogram), ("t", Counter)], 10);
    let (a, held) = held(&mut node);
    for (scope, value) in [(a, 1.0), (held, 2.0)] {
        node.give(0, Add, &[(scope, "x", value)]).unwrap();
        node.give(1, Set, &[(scope, "x", value)]).unwrap();
        node.give(2, Observe, &[(scope, "x", value)]).unwrap();
        node.give(3, Total, &[(scope, "x", value)]).unwrap();
    }
    node.settle(held, Name { namespace: "n".into(), pod: "a".into(), ..Name::default() });
    let lines = node.lines();
    for line in [
        r#"c_total{pod="a",x="x"} 3"#,
        r#"g{pod="a",x="x"} 2"#,
        r#"h_count{pod="a",x="x"} 2"#,
        r#"h_bucket{pod="a",x="x",le="1.0"} 1"#,
        r#"t_total{pod="a",x="x"} 3"#,
    ] {
        assert!(lines.contains(&line.to_owned()), "{line}: {lines:?}");
    }
    assert_eq!(lines.len(), 8);
    node.give(3, Total, &[(a, "x", 11.0), (held, "x", 12.0)]).unwrap();
    assert!(node.lines().contains(&r#"t_total{pod="a",x="x"} 23"#.to_owned()));
    node.kill(a);
    node.registry.forget_scope(a);
    assert!(node.lines().contains(&r#"t_total{pod="a",x="x"} 23"#.to_owned()), "the other one still feeds it");
}

#[test]
fn held_series_count_in_the_budget_and_go_with_their_scope() {
    let mut node = Node::new(&[("c", Counter)], 3);
    let (a, held) = held(&mut node);
    node.give(0, Add, &[(held, "1", 1.0), (held, "2", 1.0), (a, "1", 1.0), (a, "2", 1.0), (held, "3", 1.0)]).unwrap();
    assert_lines(&node, &[r#"c_total{pod="a",x="1"} 1"#, r#"c_total{pod="a",x="other"} 1"#]);
    node.settle(held, Name { namespace: "n".into(), pod: "a".into(), ..Name::default() });
    let lines = [r#"c_total{pod="a",x="1"} 2"#, r#"c_total{pod="a",x="2"} 1"#, r#"c_total{pod="a",x="other"} 2"#];
    assert_lines(&node, &lines);
    node.kill(held);
    node.registry.forget_scope(held);
    node.kill(a);
    node.registry.forget_scope(a);
    assert_lines(&node, &[]);
}

#[test]
fn rule_6_a_row_about_somebody_who_is_held_waits_too() {
    let (name, logical) = ("x".into(), "scope".into());
    let peer = Field { name, logical, nullable: true, attributes: vec![] };
    let mut node = Node::with(&[("g", Gauge)], Limits::default(), |metric| metric.labels = vec![peer.clone()]);
    let (a, held) = held(&mut node);
    let mut set = samples(0, Set, &[(a, "", 1.0)]);
    set.labels = vec![Column::full(Values::U32(vec![held]))];
    let output = Output { samples: vec![set], ..Output::default() };
    node.apply(output.clone()).unwrap();
    assert_lines(&node, &[]);
    node.settle(held, Name { namespace: "n".into(), pod: "b".into(), ..Name::default() });
    node.apply(output).unwrap();
    assert_lines(&node, &[r#"g{pod="a",x_namespace="n",x_pod="b",x_node="",x_type="pod"} 1"#]);
}
