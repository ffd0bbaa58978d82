//! Whose a series or an event is, by what the agent writes beside it, as a text that can be compared:
//! `NAMESPACE/POD/CONTAINER`, with nothing behind the last slash if no container is meant, or `netns=NAME`.

use crate::page::{Page, Sample};
use serde_json::Value;
use std::collections::BTreeSet;

/// # Panics
/// If the series has only some of the labels that each one of somebody has.
pub fn of_sample(sample: &Sample) -> Option<String> {
    let label = |name: &str| sample.labels.get(name).map(String::as_str);
    let pod = ["namespace", "pod", "container"].map(label);
    match (label("netns"), pod) {
        (Some(netns), [Some(""), Some(""), Some("")]) => Some(format!("netns={netns}")),
        (None, [Some(namespace), Some(pod), Some(container)]) => Some(format!("{namespace}/{pod}/{container}")),
        (None, [None, None, None]) => None,
        _ => panic!("labels of half a pod: {sample:?}"),
    }
}

pub fn of_event(event: &Value) -> String {
    let part = |name: &str| event[name].as_str().unwrap_or_default();
    match event["netns"].as_str() {
        Some(netns) => format!("netns={netns}"),
        None => format!("{}/{}/{}", part("namespace"), part("pod"), part("container")),
    }
}

/// `NAMESPACE/POD`, empty if nobody of this node is known.
pub fn peer_of(event: &Value) -> String {
    match (event["peer_namespace"].as_str(), event["peer_pod"].as_str()) {
        (Some(namespace), Some(pod)) => format!("{namespace}/{pod}"),
        (None, None) => String::new(),
        _ => panic!("half a peer: {event}"),
    }
}

impl Page {
    /// Samples of this name whose owner begins like this, and that have at least these labels.
    pub fn whose<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.find(name, labels).filter(move |sample| of_sample(sample).is_some_and(|whose| whose.starts_with(owner)))
    }

    /// Their sum; 0 of none.
    pub fn sum_of(&self, name: &str, owner: &str, labels: &[(&str, &str)]) -> f64 {
        // The sum of nothing would be -0.
        0.0 + self.whose(name, owner, labels).map(|sample| sample.value).sum::<f64>()
    }

    /// All owners that have a series.
    pub fn owners(&self) -> BTreeSet<String> {
        self.0.iter().filter_map(of_sample).collect()
    }

    /// # Panics
    /// If a series is there twice (rule 5).
    pub fn check_unique(&self) {
        let mut seen = BTreeSet::new();
        for sample in &self.0 {
            assert!(seen.insert((&sample.name, &sample.labels)), "there twice: {sample:?}");
        }
    }
}
