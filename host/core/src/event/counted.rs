//! Which counter an event is one of, so that a series leads to the latest of what it counts.
//!
//! The type says it in its attributes: `counter` is the name of one of the plan's counters. Each of that counter's labels has the value of
//! the attribute `label:NAME`, else that of the event's field of the same name; whose the series is is who the event happened to.

use super::EventError;
use crate::{
    metric::family::ScopeLabels,
    probe::{Attributes, EventType, Metric, MetricKind, Plan},
};

const COUNTER: &str = "counter";
const LABEL: &str = "label:";

/// The counter of a type of event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its place among the plan's metrics.
    pub metric: usize,
    /// Where its labels have their values from, in their order.
    pub labels: Vec<Source>,
}

/// Where a label's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is this for all events of the type.
    Value(String),
    /// From the field of this name.
    Field(String),
}

/// The counter of `ty`, if it says one.
///
/// # Errors
/// If there is no such counter, or a label of it that has no value.
pub fn counted(plan: &Plan, ty: &EventType) -> Result<Option<Counted>, EventError> {
    let Some(counter) = attribute(&ty.attributes, COUNTER) else { return Ok(None) };
    let is_it = |metric: &Metric| metric.name == counter && metric.kind == MetricKind::Counter;
    let index = plan.metrics.iter().position(is_it);
    let (name, counter) = (|| ty.name.clone(), counter.to_owned());
    // Of another system's labels it would take more than an event has.
    let own = index.filter(|index| ScopeLabels::of(&plan.metrics[*index]) != ScopeLabels::Cadvisor);
    let Some(index) = own else { return Err(EventError::NoCounter { ty: name(), counter }) };
    let labels = &plan.metrics[index].labels;
    let set = ty.attributes.iter().filter_map(|(name, _)| name.strip_prefix(LABEL));
    if let Some(label) = set.into_iter().find(|label| !labels.iter().any(|field| field.name == *label)) {
        return Err(EventError::NoLabel { ty: name(), counter, label: label.to_owned() });
    }
    let source = |label: &crate::probe::Field| {
        let value = attribute(&ty.attributes, &format!("{LABEL}{}", label.name));
        let has_field = ty.fields.iter().any(|field| field.name == label.name && field.logical != "scope");
        match value {
            _ if label.logical == "scope" => None,
            Some(value) => Some(Source::Value(value.to_owned())),
            None => has_field.then(|| Source::Field(label.name.clone())),
        }
        .ok_or_else(|| EventError::NoSource {
            ty: name(),
            counter: counter.clone(),
            label: label.name.clone(),
        })
    };
    Ok(Some(Counted { metric: index, labels: labels.iter().map(source).collect::<Result<_, _>>()? }))
}

/// Of a name that stands twice the first counts.
fn attribute<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Field;

    fn field(name: &str, logical: &str) -> Field {
        Field { name: name.into(), logical: logical.into(), nullable: true, attributes: vec![] }
    }

    fn plan(labels: &[(&str, &str)]) -> Plan {
        let metric = |name: &str, kind| Metric {
            name: name.into(),
            help: String::new(),
            kind,
            unit: String::new(),
            labels: labels.iter().map(|(name, logical)| field(name, logical)).collect(),
            bounds: vec![],
            queries: vec![],
            scoped: true,
            attributes: vec![],
        };
        let metrics = vec![metric("g", MetricKind::Gauge), metric("sent", MetricKind::Counter)];
        Plan { metrics, ..Plan::default() }
    }

    fn of(plan: &Plan, attributes: &[(&str, &str)]) -> Result<Option<Counted>, String> {
        let ty = EventType {
            name: "RESET".into(),
            help: String::new(),
            fields: vec![field("reason", "name"), field("peer", "scope")],
            attributes: attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        };
        counted(plan, &ty).map_err(|error| error.to_string())
    }

    #[test]
    fn a_label_has_the_value_that_the_type_says_else_that_of_the_field() {
        let plan = plan(&[("kind", "text"), ("reason", "text")]);
        let labels = |kind: &str, reason| vec![Source::Value(kind.into()), reason];
        let field = || Source::Field("reason".into());
        for (attributes, want) in [
            (&[][..], None),
            (&[("label:kind", "x")], None),
            (&[("counter", "sent"), ("label:kind", "a")], Some(labels("a", field()))),
            (
                &[("counter", "sent"), ("counter", "g"), ("label:kind", "a"), ("label:kind", "b")],
                Some(labels("a", field())),
            ),
            (
                &[("label:reason", ""), ("counter", "sent"), ("label:kind", "a")],
                Some(labels("a", Source::Value(String::new()))),
            ),
        ] {
            let want = want.map(|labels| Counted { metric: 1, labels });
            assert_eq!(of(&plan, attributes), Ok(want), "{attributes:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (labels, attributes, told) in [
            (&[][..], &[("counter", "received")][..], "`RESET` says that `received` counts it, which is no counter"),
            (&[], &[("counter", "g")], "`g` counts it, which is no counter"),
            (&[("kind", "text")], &[("counter", "sent")], "label `kind` of its counter `sent`"),
            (&[("peer", "text")], &[("counter", "sent")], "label `peer` of its counter `sent`"),
            (&[("peer", "scope")], &[("counter", "sent"), ("label:peer", "x")], "label `peer` of its counter `sent`"),
            (&[], &[("counter", "sent"), ("label:kind", "x")], "`sent` has no label `kind`"),
        ] {
            let error = of(&plan(labels), attributes).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
