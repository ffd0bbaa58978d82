//! What holds for any sequence of outputs.

use super::tests::{Node, at, samples, texts};
use super::*;
use crate::{
    batch::{Bitmap, Column, Values},
    metric::format::Format,
    probe::{Buckets, MetricKind, Operation, Output, Samples},
};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, HashSet};

impl Node {
    fn assert_consistent(&self) {
        for metric in self.registry.probes.iter().flat_map(|probe| &probe.metrics) {
            metric.store.assert_consistent();
        }
    }

    /// The value of the only series.
    fn only_value(&self) -> Option<u64> {
        let lines = self.lines();
        assert!(lines.len() <= 1);
        lines.first().and_then(|line| line.rsplit(' ').next()).map(|value| value.parse().unwrap())
    }
}

/// What rule 10 says of the parts of one series, in the plainest way.
#[derive(Default)]
struct Totals {
    sum: Option<u64>,
    parts: BTreeMap<usize, (u64, u64)>,
}

impl Totals {
    fn expire(&mut self, now: u64) {
        self.parts.retain(|_, (_, seen)| now - *seen < PART_LIFETIME.as_secs());
        if self.parts.is_empty() {
            self.sum = None;
        }
    }

    fn take(&mut self, part: usize, total: u64, now: u64) {
        let increase = match self.parts.insert(part, (total, now)) {
            Some((last, _)) if last <= total => total - last,
            _ => total,
        };
        self.sum = Some(self.sum.unwrap_or(0) + increase);
    }
}

proptest! {
    /// Parts come, go, start anew and come back; between collections pass up to two minutes.
    #[test]
    fn rule_10_counters_never_fall_while_their_scope_and_a_part_live(
        steps in vec((1u64..120, vec(proptest::option::of(0u64..50), 3)), 1..40),
    ) {
        let mut node = Node::new(&[("c", MetricKind::Counter)], 10);
        let pod = node.pod("a");
        let (mut model, mut clock) = (Totals::default(), 1000);
        for (seconds, totals) in steps {
            clock += seconds;
            node.now = at(clock);
            node.registry.expire_parts(node.now);
            model.expire(clock);
            let before = node.only_value();
            let names = ["eth0", "eth1", "eth2"];
            let given: Vec<(&str, u64)> =
                names.into_iter().zip(&totals).filter_map(|(name, total)| total.map(|total| (name, total))).collect();
            node.totals(pod, &given).unwrap();
            for (part, total) in totals.into_iter().enumerate().filter_map(|(part, total)| Some((part, total?))) {
                model.take(part, total, clock);
            }
            prop_assert_eq!(node.only_value(), model.sum);
            prop_assert!(before <= node.only_value());
            node.assert_consistent();
        }
    }
}

/// Texts that are equal when cut, are `other` already, or need care on the page.
const LABELS: [&str; 8] =
    ["a", "b", "other", "", "long long long 1 1", "long long long 1 2", "\"quoted\\\n", "long long lon…"];
const KINDS: [(&str, MetricKind); 5] = [
    ("c", MetricKind::Counter),
    ("g", MetricKind::Gauge),
    ("h", MetricKind::Histogram),
    ("s", MetricKind::GaugeHistogram),
    ("i", MetricKind::Info),
];

#[derive(Clone, Debug)]
enum Step {
    Give(Vec<Given>),
    Collect,
    Kill(usize),
    Forget(usize),
    Wait(u64),
}

/// For a metric: rows of a scope, a label and a small number; totals if it is a counter and `total` is set.
#[derive(Clone, Debug)]
struct Given {
    metric: u32,
    total: bool,
    rows: Vec<(usize, usize, u64)>,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = vec((0usize..5, 0..LABELS.len(), 0u64..4), 0..8);
    let given = (0u32..5, any::<bool>(), rows).prop_map(|(metric, total, rows)| Given { metric, total, rows });
    prop_oneof![
        6 => vec(given, 1..4).prop_map(Step::Give),
        1 => Just(Step::Collect),
        1 => (0usize..4).prop_map(Step::Kill),
        1 => (0usize..4).prop_map(Step::Forget),
        1 => (1u64..400).prop_map(Step::Wait),
    ]
}

/// The rows, for an output; scope 4 is NULL. Rows that are there already are left out if the metric takes them once.
fn fill(output: &mut Output, scopes: &[ScopeId], given: Given) {
    let Given { metric, total, mut rows } = given;
    let operation = match (KINDS[metric as usize].1, total) {
        (MetricKind::Counter, true) => Operation::Total,
        (MetricKind::Counter, false) => Operation::Add,
        (MetricKind::Histogram, _) => Operation::Observe,
        _ => Operation::Set,
    };
    if matches!(operation, Operation::Set | Operation::Total) {
        let mut seen = HashSet::new();
        rows.retain(|&(scope, label, _)| seen.insert((scope, label)));
    }
    let mut who = Column::full(Values::U32(rows.iter().map(|row| scopes.get(row.0).copied().unwrap_or(0)).collect()));
    who.present = Some(Bitmap(vec![rows.iter().enumerate().map(|(at, row)| u64::from(row.0 < 4) << at).sum()]));
    let labels = vec![texts(rows.iter().map(|row| LABELS[row.1]))];
    let numbers = rows.iter().map(|row| if KINDS[metric as usize].0 == "i" { 1 } else { row.2 });
    if KINDS[metric as usize].1 == MetricKind::GaugeHistogram || (operation == Operation::Observe && total) {
        let (counts, bounds) = (numbers.collect(), rows.iter().map(|row| row.2 as u32 % 3).collect());
        let buckets = Buckets { metric, scopes: Some(who), labels, bounds, counts, sums: vec![1.0; rows.len()] };
        return output.buckets.push(buckets);
    }
    let values = Column::full(Values::U64(numbers.collect()));
    output.samples.push(Samples { scopes: Some(who), labels, values, ..samples(metric, operation, &[]) });
}

proptest! {
    /// Scopes 0 and 1 look the same; the budget is three series a metric.
    #[test]
    fn rules_3_5_and_33_no_page_has_a_series_twice_and_no_budget_is_overdrawn(steps in vec(step(), 1..40)) {
        let mut node = Node::new(&KINDS, 3);
        let mut scopes = [node.pod("a"), node.pod("a"), node.pod("b"), node.netns("host")];
        let mut clock = 1000;
        for step in steps {
            match step {
                Step::Give(given) => {
                    let mut output = Output::default();
                    for given in given {
                        fill(&mut output, &scopes, given);
                    }
                    let before = node.lines();
                    // The same metric may be there twice, and its rows with it.
                    if node.apply(output).is_err() {
                        prop_assert_eq!(node.lines(), before);
                    }
                }
                Step::Collect => node.registry.begin_collection(),
                Step::Kill(scope) => node.kill(scopes[scope]),
                Step::Forget(scope) => {
                    let old = scopes[scope];
                    node.kill(old);
                    node.registry.forget_scope(old);
                    node.scopes.forget(old);
                    scopes[scope] = [node.pod("a"), node.pod("b"), node.netns("host")][scope.saturating_sub(1)];
                }
                Step::Wait(seconds) => {
                    clock += seconds;
                    node.now = at(clock);
                    node.registry.expire_parts(node.now);
                }
            }
            node.assert_consistent();
            for format in [Format::Text0_0_4, Format::OpenMetrics1_0_0(None)] {
                let page = node.page(format);
                let mut seen = HashSet::new();
                for line in page.lines().filter(|line| *line != "# EOF") {
                    // Of metadata the name counts, of samples all but the value.
                    let key = match line.strip_prefix("# ") {
                        Some(metadata) => metadata.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "),
                        None => line.rsplit_once(' ').unwrap().0.to_owned(),
                    };
                    prop_assert!(seen.insert(key), "twice: {line}\n{page}");
                }
            }
        }
    }
}
