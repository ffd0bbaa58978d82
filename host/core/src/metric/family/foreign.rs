//! Families of another system, under its names and with its labels (rule 13). A probe says so by attributes of its metric, and may do so only
//! if the configuration chose it by `compat`: two series of one name from two programs are for the operator to wish for.

use super::{MAX_NAME_BYTES, Problem};
use crate::{
    metric::exposition::{sample_suffix, split},
    probe::{Metric, MetricKind},
};

/// The attribute with the family's exact name.
const FAMILY: &str = "family";
/// The attribute with the form in which labels tell whose a series is.
const SCOPE_LABELS: &str = "scope-labels";
/// What the agent's own families begin with.
const OWN: [&str; 2] = ["netsonde_", "process_"];

/// How the labels of a series tell whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeLabels {
    /// It is the node's.
    Node,
    /// `netns`, `namespace`, `pod`, ...
    Own,
    /// As cAdvisor in a kubelet does: `container`, `id`, `image`, `name`, `namespace`, `pod`.
    Cadvisor,
}

impl ScopeLabels {
    pub(crate) fn of(metric: &Metric) -> Self {
        match attribute(metric, SCOPE_LABELS) {
            _ if !metric.scoped => ScopeLabels::Node,
            Some("cadvisor") => ScopeLabels::Cadvisor,
            _ => ScopeLabels::Own,
        }
    }

    /// Labels that it adds to those which every metric is refused.
    pub(super) fn refused(self) -> &'static [&'static str] {
        match self {
            ScopeLabels::Node | ScopeLabels::Own => &[],
            ScopeLabels::Cadvisor => &["id", "image", "name"],
        }
    }
}

/// The family's exact name, if it is another system's.
pub(super) fn name(metric: &Metric) -> Option<&str> {
    attribute(metric, FAMILY)
}

/// Of a name that stands twice the first counts.
fn attribute<'m>(metric: &'m Metric, name: &str) -> Option<&'m str> {
    metric.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// `allowed`: whether the probe was chosen by `compat`.
pub(super) fn problems(metric: &Metric, allowed: bool, problems: &mut Vec<Problem>) {
    for attribute in [FAMILY, SCOPE_LABELS].into_iter().filter(|name| !allowed && attribute(metric, name).is_some()) {
        problems.push(Problem::Foreign { attribute });
    }
    if let Some(name) = name(metric).filter(|name| !is_page_name(name)) {
        problems.push(Problem::ForeignName { name: name.to_owned() });
    }
    if let Some(form) = attribute(metric, SCOPE_LABELS) {
        if form != "cadvisor" {
            problems.push(Problem::ScopeLabels { form: form.to_owned() });
        }
        if !metric.scoped {
            problems.push(Problem::ScopeLabelsOfNode);
        }
    }
}

/// Prometheus' rule for names, without those that are the agent's own.
fn is_page_name(name: &str) -> bool {
    let rest_is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
    let starts_well = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    let is_own = OWN.iter().any(|own| name.starts_with(own));
    rest_is_plain && starts_well && !is_own && name.len() <= MAX_NAME_BYTES
}

/// The name of a family without the ending of its samples, and that ending if they have it.
pub(super) fn parts(name: &str, kind: MetricKind, foreign: bool) -> (&str, &'static str) {
    if foreign { split(name, kind) } else { (name, sample_suffix(kind)) }
}
