//! Families and labels of another system (rule 13).

use super::*;
use crate::pod::{Network, Pod, Source};
use std::sync::Arc;

fn sandbox(name: &str) -> Arc<Pod> {
    Arc::new(Pod {
        id: "3c9d".into(),
        source: Source::Cri,
        namespace: "shop".into(),
        name: name.into(),
        uid: "1f".into(),
        labels: vec![],
        annotations: vec![],
        network: Network::Own { path: None, pid: None },
        ips: vec![],
        ready: true,
        created_unix: Duration::ZERO,
        containers: vec![],
        cgroup: Some("/kubepods/pod1f/3c9d".into()),
        image: Some("pause:3.9".into()),
    })
}

#[test]
fn rule_13_series_are_of_those_whom_the_other_system_shows() {
    let limits = Limits { foreign: true, ..Limits::default() };
    let mut node = Node::with(&[("g", Gauge), ("c", Counter)], limits, |metric| {
        let family = if metric.kind == Gauge { "usage_total" } else { "rx_bytes_total" };
        metric.attributes = vec![("family".into(), family.into()), ("scope-labels".into(), "cadvisor".into())];
    });
    let (host, nobody) = (node.netns("host"), node.netns("blue"));
    let pod = node.scopes.add(Scope { pod: Some(sandbox("web-1")), ..Scope::default() });
    let mut gauges = samples(0, Set, &[(host, "a", 1.0), (nobody, "a", 2.0), (pod, "a", 3.0), (pod, "a", 4.0)]);
    if let Some(scopes) = &mut gauges.scopes {
        scopes.present = Some(Bitmap(vec![0b0111]));
    }
    let totals = samples(1, Total, &[(nobody, "a", 5.0), (pod, "a", 6.0)]);
    let applied = node.apply(Output { samples: vec![gauges, totals], ..Output::default() }).unwrap();
    // Whom it does not show is no loss.
    assert_eq!((applied.samples, Reason::ALL.map(|reason| applied.count(reason))), (3, [0; 5]));

    let page = node.page(Format::Text0_0_4);
    let pod = r#"container="",id="/kubepods/pod1f/3c9d",image="pause:3.9",name="3c9d",namespace="shop",pod="web-1""#;
    let want = [
        "# HELP usage_total Help.".to_owned(),
        "# TYPE usage_total gauge".to_owned(),
        r#"usage_total{container="",id="/",image="",name="",namespace="",pod="",x="a"} 1"#.to_owned(),
        format!(r#"usage_total{{{pod},x="a"}} 3"#),
        "# HELP rx_bytes_total Help.".to_owned(),
        "# TYPE rx_bytes_total counter".to_owned(),
        format!(r#"rx_bytes_total{{{pod},x="a"}} 6"#),
    ];
    assert_eq!(page.lines().collect::<Vec<_>>(), want);
}

#[test]
fn rule_13_without_the_configurations_word_there_are_none() {
    let mut node = Node::new(&[("g", Gauge)], 10);
    let mut plan = node.plan.clone();
    plan.metrics[0].attributes = vec![("family".into(), "usage_total".into())];
    let errors = node.registry.add_probe("q", &plan, &[], Limits::default(), at(0)).unwrap_err();
    assert!(errors[0].to_string().contains("`compat`"), "{}", errors[0]);
}
