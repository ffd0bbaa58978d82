use super::*;
use crate::probe::{Field, Query};

fn field(name: &str, logical: &str) -> Field {
    Field { name: name.into(), logical: logical.into(), nullable: false, attributes: vec![] }
}

fn metric(name: &str, kind: MetricKind, unit: &str) -> Metric {
    Metric {
        name: name.into(),
        help: "Help.".into(),
        kind,
        unit: unit.into(),
        labels: vec![],
        bounds: vec![],
        queries: vec![0],
        scoped: true,
        attributes: vec![],
    }
}

fn plan(metrics: impl Into<Vec<Metric>>) -> Plan {
    let query = Query { name: "q".into(), sql: "SELECT 1".into(), optional: false, attributes: vec![] };
    Plan { queries: vec![query], metrics: metrics.into(), ..Plan::default() }
}

fn with(base: Metric, change: impl FnOnce(&mut Metric)) -> Metric {
    let mut metric = base;
    change(&mut metric);
    metric
}

#[test]
fn names_are_built_from_probe_metric_and_unit() {
    let plan = plan([
        metric("tcp_inuse", MetricKind::Gauge, ""),
        metric("received", MetricKind::Counter, "bytes"),
        metric("bytes_seen", MetricKind::Counter, "bytes"),
    ]);
    let names: Vec<String> = families("sockstat", &plan, &[], false).unwrap().into_iter().map(|f| f.name).collect();
    assert_eq!(
        names,
        ["netsonde_sockstat_tcp_inuse", "netsonde_sockstat_received_bytes", "netsonde_sockstat_bytes_seen_bytes"]
    );
}

#[test]
fn rule_8_what_is_sampled_says_so_in_its_help() {
    let plan = plan([metric("resets", MetricKind::Counter, ""), metric("drops", MetricKind::Counter, "")]);
    let families = families("x", &plan, &[true], false).unwrap();
    assert!(families[0].help.starts_with("Help. (sampled"));
    assert_eq!(families[1].help, "Help.");
}

#[test]
fn rule_14_default_bounds_are_those_of_the_unit() {
    let own = with(metric("c", MetricKind::Histogram, "seconds"), |m| m.bounds = vec![1.0, 3.0]);
    let plan =
        plan([metric("a", MetricKind::Histogram, "seconds"), metric("b", MetricKind::GaugeHistogram, "bytes"), own]);
    let families = families("x", &plan, &[], false).unwrap();
    for (family, metric) in families.iter().zip(&plan.metrics) {
        assert_eq!(family.bounds.values().len(), bound_count(metric));
    }
    assert_eq!(families[0].bounds.values()[0], 2f64.powi(-20));
    assert_eq!(families[1].bounds.values()[0], 64.0);
    assert_eq!(families[2].bounds.values(), [1.0, 3.0]);
}

#[test]
fn a_scope_label_expands_to_four() {
    let plan = plan([with(metric("flows", MetricKind::Counter, ""), |m| m.labels = vec![field("peer", "scope")])]);
    let families = families("x", &plan, &[], false).unwrap();
    assert_eq!(families[0].labels[0].names(), ["peer_namespace", "peer_pod", "peer_node", "peer_type"]);
}

#[test]
fn rule_12_what_may_not_be_is_refused_with_its_reason() {
    use MetricKind::*;
    let labelled = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, logical)| field(name, logical)).collect();
        with(metric("x", Gauge, ""), |m| m.labels = labels)
    };
    for (metric, want) in [
        (metric("Sent", Gauge, ""), "[a-z_][a-z0-9_]*"),
        (metric("__x", Gauge, ""), "`__`"),
        (metric("", Gauge, ""), "[a-z_]"),
        (metric("sent_total", Counter, ""), "leave `_total` away"),
        (metric("sent_total", Gauge, ""), "only counters end in `_total`"),
        (metric("sent_bytes", Counter, "bytes"), "leave `_bytes` away"),
        (metric("bytes", Counter, "bytes"), "leave `_bytes` away"),
        (metric("build_info", Info, ""), "leave `_info` away"),
        (metric("build", Info, "bytes"), "no unit"),
        (metric("x", Gauge, "KiB"), "base unit"),
        (with(metric("x", Gauge, ""), |m| m.queries = vec![1]), "query 1, but the plan has 1"),
        (with(metric("x", Gauge, ""), |m| m.help = "x".repeat(1025)), "1025 bytes"),
        (labelled(&[("pod", "text")]), "label `pod` is added by the host"),
        (labelled(&[("netns", "text")]), "label `netns` is added"),
        (labelled(&[("le", "text")]), "label `le` is added"),
        (labelled(&[("quantile", "text")]), "label `quantile` is added"),
        (labelled(&[("__name__", "text")]), "label `__name__`: names with `__`"),
        (labelled(&[("9", "text")]), "label `9` needs the form"),
        (labelled(&[("a-b", "text")]), "label `a-b` needs the form"),
        (labelled(&[("a", "text"), ("a", "text")]), "label `a` stands twice"),
        (labelled(&[("peer_pod", "text"), ("peer", "scope")]), "label `peer_pod` stands twice"),
        (labelled(&[("a", "text"); 17]), "17 labels; 16"),
        (with(metric("x", Gauge, ""), |m| m.bounds = vec![1.0]), "for histograms only"),
        (with(metric("x", Histogram, ""), |m| m.bounds = vec![1.0, 1.0]), "bound 1 is not finite, or not above"),
        (with(metric("x", Histogram, ""), |m| m.bounds = vec![f64::INFINITY]), "bound 0 is not finite"),
        (with(metric("x", Histogram, ""), |m| m.bounds = (0..65).map(f64::from).collect()), "65 bounds"),
    ] {
        let name = metric.name.clone();
        let errors = families("p", &plan([metric]), &[], false).unwrap_err();
        let text = errors[0].to_string();
        assert!(text.starts_with(&format!("probe `p`, metric `{name}`: ")) && text.contains(want), "{text}");
    }
}

#[test]
fn rule_12_the_hosts_own_words_are_no_probe_names() {
    for probe in ["probe", "source", "rows", "dropped", "build", "process", "a-b", "9", "", "__x", "Ab"] {
        assert_eq!(families(probe, &plan([]), &[], false).unwrap_err().len(), 1, "{probe}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let plan = plan([metric("A", MetricKind::Gauge, "B"), metric("c_total", MetricKind::Counter, "")]);
    assert_eq!(families("rows", &plan, &[], false).unwrap_err().len(), 4);
    let many = Plan { metrics: vec![metric("x", MetricKind::Gauge, ""); 257], ..plan };
    assert!(families("x", &many, &[], false).unwrap_err()[0].to_string().contains("257 metrics; 256"));
}

#[test]
fn rule_12_families_are_unique_with_their_suffixes() {
    use MetricKind::*;
    for (first, second, name) in [
        (("x", Gauge), ("x", Gauge), "netsonde_p_x"),
        (("x", Gauge), ("x", Counter), "netsonde_p_x"),
        (("x", Histogram), ("x_count", Gauge), "netsonde_p_x_count"),
        (("x_sum", Gauge), ("x", Histogram), "netsonde_p_x_sum"),
        (("x", Counter), ("x_created", Gauge), "netsonde_p_x_created"),
        (("x", GaugeHistogram), ("x_gsum", Unknown), "netsonde_p_x_gsum"),
        (("x", Info), ("x_info", Gauge), "netsonde_p_x_info"),
    ] {
        let plan = plan([metric(first.0, first.1, ""), metric(second.0, second.1, "")]);
        let families = families("p", &plan, &[], false).unwrap();
        let errors = Names::default().take("p", &plan, &families).unwrap_err();
        let want = format!("the page would have `{name}` twice: metric `{}` of probe `p` has it too", first.0);
        assert!(errors[0].to_string().ends_with(&want), "{}", errors[0]);
    }
}

#[test]
fn rule_12_families_are_unique_over_all_probes_and_a_refused_probe_takes_no_name() {
    let mut names = Names::default();
    let take = |names: &mut Names, probe: &str, metrics: &[&str]| {
        let metrics: Vec<Metric> = metrics.iter().map(|name| metric(name, MetricKind::Gauge, "")).collect();
        let plan = plan(metrics);
        let families = families(probe, &plan, &[], false).unwrap();
        names.take(probe, &plan, &families)
    };
    take(&mut names, "a", &["b_c"]).unwrap();
    let errors = take(&mut names, "a_b", &["d", "c"]).unwrap_err();
    assert!(errors[0].to_string().contains("metric `b_c` of probe `a` has it too"), "{}", errors[0]);
    take(&mut names, "a", &["b_d"]).unwrap();
}

fn attributes(attributes: &[(&str, &str)]) -> Vec<(String, String)> {
    attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn of(family: &str, kind: MetricKind) -> Metric {
    with(metric("x", kind, ""), |m| m.attributes = attributes(&[("family", family)]))
}

#[test]
fn rule_13_a_compatibility_family_has_the_upstreams_name_untouched() {
    use MetricKind::*;
    let named = |family: &str, kind, unit: &str| with(of(family, kind), |m| m.unit = unit.into());
    for (metric, name) in [
        (named("container_network_tcp_usage_total", Gauge, ""), "container_network_tcp_usage_total"),
        (named("container_network_receive_bytes_total", Counter, ""), "container_network_receive_bytes_total"),
        (named("container_network_receive_bytes_total", Counter, "bytes"), "container_network_receive_bytes_total"),
        (named("Rx:count", Counter, "bytes"), "Rx:count"),
        (named("_total", Counter, ""), "_total"),
        (named("kube_pod_info", Info, ""), "kube_pod_info"),
        (named("latency", Histogram, "seconds"), "latency"),
    ] {
        let plan = plan([metric]);
        let family = families("p", &plan, &[], true).unwrap().remove(0);
        assert_eq!((family.name.as_str(), family.foreign, family.unit.as_str()), (name, true, ""));
        assert_eq!(sample_name("p", &plan.metrics[0]), name);
        assert_eq!(family.scoped, ScopeLabels::Own);
    }
    assert_eq!(sample_name("p", &metric("received", Counter, "bytes")), "netsonde_p_received_bytes_total");
}

#[test]
fn rule_13_scope_labels_are_the_upstreams_for_metrics_of_scopes() {
    let cadvisor = with(of("a_total", MetricKind::Gauge), |m| {
        m.attributes.extend(attributes(&[("scope-labels", "cadvisor"), ("scope-labels", "twice"), ("unknown", "x")]));
    });
    let node = with(metric("n", MetricKind::Gauge, ""), |m| m.scoped = false);
    let families = families("p", &plan([cadvisor, node]), &[], true).unwrap();
    assert_eq!([families[0].scoped, families[1].scoped], [ScopeLabels::Cadvisor, ScopeLabels::Node]);
}

#[test]
fn rule_13_what_no_compatibility_family_may_be_is_refused_with_its_reason() {
    let given = |pairs: &[(&str, &str)]| with(metric("x", MetricKind::Gauge, ""), |m| m.attributes = attributes(pairs));
    let labelled = with(given(&[("scope-labels", "cadvisor")]), |m| m.labels = vec![field("image", "text")]);
    let of_node = with(given(&[("scope-labels", "cadvisor")]), |m| m.scoped = false);
    for (metric, foreign, want) in [
        (
            given(&[("family", "a")]),
            false,
            "`family` is for compatibility probes, which the configuration chooses by `compat`",
        ),
        (given(&[("scope-labels", "cadvisor")]), false, "`scope-labels` is for compatibility probes"),
        (given(&[("family", "netsonde_probe_up")]), true, "`netsonde_probe_up` needs the form"),
        (given(&[("family", "process_open_fds")]), true, "`process_open_fds` needs the form"),
        (given(&[("family", "a-b")]), true, "`a-b` needs the form"),
        (given(&[("family", "9a")]), true, "`9a` needs the form"),
        (given(&[("family", "")]), true, "`` needs the form"),
        (given(&[("scope-labels", "kubeskoop")]), true, "no `scope-labels` called `kubeskoop`, only `cadvisor`"),
        (of_node, true, "this one is of the node"),
        (labelled, true, "label `image` is added by the host"),
    ] {
        let errors = families("p", &plan([metric]), &[], foreign).unwrap_err();
        assert!(errors.len() == 1 && errors[0].to_string().contains(want), "{errors:?}");
    }
}

#[test]
fn rule_12_compatibility_families_are_unique_too() {
    use MetricKind::*;
    for (first, second, name) in [
        (of("a_total", Gauge), of("a_total", Gauge), "a_total"),
        (of("a_total", Gauge), of("a_total", Counter), "a_total"),
        (of("a_count", Counter), of("a", Histogram), "a_count"),
        (of("a", Counter), of("a", Gauge), "a"),
    ] {
        let plan = plan([first, second]);
        let families = families("p", &plan, &[], true).unwrap();
        let errors = Names::default().take("p", &plan, &families).unwrap_err();
        assert!(errors[0].to_string().contains(&format!("the page would have `{name}` twice")), "{}", errors[0]);
    }
    let plan = plan([of("a", Counter), of("a_total", Gauge), of("b_total", Counter)]);
    let families = families("p", &plan, &[], true).unwrap();
    Names::default().take("p", &plan, &families).unwrap();
}
