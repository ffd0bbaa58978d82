//! What happens over the budget of series, and to labels that are too long.

use super::*;

#[test]
fn rule_10_parts_count_in_the_budget_and_are_never_collapsed() {
    let mut node = Node::new(&[("c", Counter)], 3);
    let pod = node.pod("a");
    let applied = node.totals(pod, &[("a", 1), ("b", 10), ("c", 100), ("d", 1000)]).unwrap();
    assert_eq!((applied.samples, applied.count(Reason::PartBudget)), (3, 1));
    let applied = node.give(0, Total, &[(pod, "new", 1.0)]).unwrap();
    assert_eq!((applied.samples, applied.count(Reason::SeriesBudget)), (0, 1));
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 111"#]);
    node.now = at(1200);
    node.totals(pod, &[("a", 2)]).unwrap();
    node.registry.expire_parts(at(1300));
    node.totals(pod, &[("d", 1001)]).unwrap();
    assert_lines(&node, &[r#"c_total{pod="a",x="a"} 1113"#]);
}

#[test]
fn rule_10_totals_whose_labels_were_cut_stay_apart() {
    let mut node = Node::new(&[("c", Counter)], 10);
    let pod = node.pod("a");
    let (one, two) = ("a".repeat(17) + "1", "a".repeat(17) + "2");
    for (first, second) in [(100.0, 50.0), (101.0, 51.0)] {
        let applied = node.give(0, Total, &[(pod, &one, first), (pod, &two, second)]).unwrap();
        assert_eq!((applied.samples, applied.count(Reason::LabelCut)), (2, 2));
    }
    assert_lines(&node, &[r#"c_total{pod="a",x="aaaaaaaaaaaaa…"} 152"#]);
}

#[test]
fn rule_33_over_budget_counters_and_histograms_collapse_to_other_in_their_scope() {
    let mut node = Node::new(&[("c", Counter), ("h", Histogram)], 2);
    let (a, b) = (node.pod("a"), node.pod("b"));
    let rows = [(a, "1", 1.0), (a, "2", 1.0), (a, "3", 1.0), (a, "4", 1.0), (b, "1", 1.0), (a, "1", 1.0)];
    for _ in 0..2 {
        let applied = node.give(0, Add, &rows).unwrap();
        assert_eq!((applied.samples, applied.count(Reason::SeriesOther)), (6, 3));
        assert_eq!(node.give(1, Observe, &rows).unwrap().count(Reason::SeriesOther), 3);
    }
    let lines = node.lines();
    assert_eq!(
        lines[..4],
        [
            r#"c_total{pod="a",x="1"} 4"#,
            r#"c_total{pod="a",x="2"} 2"#,
            r#"c_total{pod="a",x="other"} 4"#,
            r#"c_total{pod="b",x="other"} 2"#
        ]
    );
    assert!(lines.contains(&r#"h_count{pod="a",x="other"} 4"#.to_owned()), "{lines:?}");
}

#[test]
fn rule_33_new_gauges_are_dropped_and_existing_series_stay() {
    let mut node = Node::new(&[("g", Gauge)], 2);
    let pod = node.pod("a");
    let applied = node.give(0, Set, &[(pod, "1", 1.0), (pod, "2", 1.0), (pod, "3", 1.0)]).unwrap();
    assert_eq!((applied.samples, applied.count(Reason::SeriesBudget)), (2, 1));
    node.registry.begin_collection();
    // "2" is not given any more: its place is free, for the first that is new.
    let applied = node.give(0, Set, &[(pod, "3", 2.0), (pod, "4", 2.0), (pod, "1", 2.0)]).unwrap();
    assert_eq!((applied.samples, applied.count(Reason::SeriesBudget)), (2, 1));
    assert_lines(&node, &[r#"g{pod="a",x="1"} 2"#, r#"g{pod="a",x="3"} 2"#]);
}

#[test]
fn rule_33_a_metric_without_labels_is_dropped_over_budget() {
    let limits = Limits { series: 1, label_bytes: 16, ..Limits::default() };
    let mut node = Node::with(&[("c", Counter)], limits, |metric| metric.labels.clear());
    let (a, b) = (node.pod("a"), node.pod("b"));
    let samples = Samples { labels: vec![], ..samples(0, Add, &[(a, "", 1.0), (b, "", 1.0)]) };
    let applied = node.apply(Output { samples: vec![samples], ..Output::default() }).unwrap();
    assert_eq!((applied.samples, applied.count(Reason::SeriesBudget)), (1, 1));
    assert_lines(&node, &[r#"c_total{pod="a"} 1"#]);
}

#[test]
fn rule_33_values_that_become_equal_by_cutting_are_merged_and_counted() {
    let mut node = Node::new(&[("g", Gauge), ("c", Counter)], 10);
    let pod = node.pod("a");
    let (one, two) = ("a".repeat(17) + "1", "a".repeat(17) + "2");
    for _ in 0..2 {
        let rows = [(pod, one.as_str(), 1.0), (pod, &two, 2.0), (pod, "aaaaaaaaaaaaa…", 3.0)];
        assert_eq!(node.give(0, Set, &rows).unwrap().count(Reason::LabelCut), 2);
        assert_eq!(node.give(1, Add, &rows).unwrap().count(Reason::LabelCut), 2);
        assert!(node.give(0, Set, &[(pod, &one, 1.0), (pod, &two, 1.0), (pod, &one, 1.0)]).is_err(), "rule 9");
    }
    assert_lines(&node, &[r#"c_total{pod="a",x="aaaaaaaaaaaaa…"} 12"#, r#"g{pod="a",x="aaaaaaaaaaaaa…"} 3"#]);
    assert_eq!(node.registry.series(node.probe), 2);
}
