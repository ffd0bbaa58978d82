//! Whether a probe's types of events can be shown: their names are keys in every form that an event has.

use super::{counted::counted, make::field_names, peer};
use crate::probe::{EventType, Plan};
use thiserror::Error;

pub const MAX_TYPES: usize = 64;
pub const MAX_FIELDS: usize = 32;
const MAX_NAME_BYTES: usize = 128;

/// What the host itself says of every event.
const REFUSED_FIELDS: [&str; 10] =
    ["type", "time", "node", "id", "probe", "netns", "namespace", "pod", "container", "labels"];

/// Whether the host says this of events itself.
pub fn is_refused(field: &str) -> bool {
    REFUSED_FIELDS.contains(&field) || peer::NAMES.contains(&field)
}

/// What is wrong with the events of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EventError {
    #[error("{types} types of events; {MAX_TYPES} are allowed")]
    TooManyTypes { types: usize },
    #[error("two types of events are named `{ty}`")]
    TypeTwice { ty: String },
    #[error("event `{}`: the name needs the form [a-zA-Z_][a-zA-Z0-9_]*, and at most {MAX_NAME_BYTES} bytes", shown(.ty))]
    TypeName { ty: String },
    #[error("event `{ty}` has {fields} fields; {MAX_FIELDS} are allowed")]
    TooManyFields { ty: String, fields: usize },
    #[error("event `{ty}`: field `{}` needs the form [a-zA-Z_][a-zA-Z0-9_]*, and at most {MAX_NAME_BYTES} bytes", shown(.field))]
    FieldName { ty: String, field: String },
    #[error("event `{ty}`: field `{field}` is added by the host; choose another name")]
    FieldRefused { ty: String, field: String },
    #[error("event `{ty}` has field `{field}` twice")]
    FieldTwice { ty: String, field: String },
    #[error("event `{ty}` says that `{}` counts it, which is no counter of this plan with the host's own labels", shown(.counter))]
    NoCounter { ty: String, counter: String },
    #[error("event `{ty}`: its counter `{counter}` has no label `{}`", shown(.label))]
    NoLabel { ty: String, counter: String, label: String },
    #[error(
        "event `{ty}`: nothing says the label `{label}` of its counter `{counter}`: give the event a field of that name, or the \
         attribute `label:{label}`"
    )]
    NoSource { ty: String, counter: String, label: String },
}

/// Checks the types of events that `plan` declares.
///
/// # Errors
/// All that is wrong with them.
pub fn check(plan: &Plan) -> Result<(), Vec<EventError>> {
    let mut errors = Vec::new();
    if plan.events.len() > MAX_TYPES {
        return Err(vec![EventError::TooManyTypes { types: plan.events.len() }]);
    }
    for (index, ty) in plan.events.iter().enumerate() {
        if !is_name(&ty.name) {
            errors.push(EventError::TypeName { ty: ty.name.clone() });
        } else if plan.events[..index].iter().any(|before| before.name == ty.name) {
            errors.push(EventError::TypeTwice { ty: ty.name.clone() });
        } else {
            check_fields(ty, &mut errors);
            errors.extend(counted(plan, ty).err());
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn check_fields(declared: &EventType, errors: &mut Vec<EventError>) {
    let ty = || declared.name.clone();
    if declared.fields.len() > MAX_FIELDS {
        return errors.push(EventError::TooManyFields { ty: ty(), fields: declared.fields.len() });
    }
    let mut taken = Vec::new();
    for field in declared.fields.iter().map(|field| &field.name) {
        if !is_name(field) {
            errors.push(EventError::FieldName { ty: ty(), field: field.clone() });
        }
    }
    for name in declared.fields.iter().flat_map(field_names) {
        if REFUSED_FIELDS.contains(&name.as_str()) {
            errors.push(EventError::FieldRefused { ty: ty(), field: name });
        } else if taken.contains(&name) {
            errors.push(EventError::FieldTwice { ty: ty(), field: name });
        } else {
            taken.push(name);
        }
    }
}

fn is_name(name: &str) -> bool {
    let rest_is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let starts_well = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    rest_is_plain && starts_well && name.len() <= MAX_NAME_BYTES
}

/// A name that is none, in a message: on one line, not without end.
fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME_BYTES).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Field;

    fn plan(types: &[(&str, &[(&str, &str)])]) -> Plan {
        let field = |&(name, logical): &(&str, &str)| Field {
            name: name.into(),
            logical: logical.into(),
            nullable: true,
            attributes: vec![],
        };
        let ty = |&(name, fields): &(&str, &[(&str, &str)])| EventType {
            name: name.into(),
            help: String::new(),
            fields: fields.iter().map(field).collect(),
            attributes: vec![],
        };
        Plan { events: types.iter().map(ty).collect(), ..Plan::default() }
    }

    #[test]
    fn right_ones_pass() {
        let fields = &[("protocol", "name"), ("saddr", "address"), ("peer", "scope"), ("peer_", "text")];
        assert_eq!(check(&plan(&[("TCPRESET_NOSOCK", fields), ("Other_1", &[]), ("_", &[])])), Ok(()));
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        for (ty, fields, told) in [
            ("", &[][..], "event ``: the name needs the form"),
            ("A B", &[], "event `A B`: the name needs"),
            ("A\n", &[], "event `A\\n`: the name needs"),
            ("1A", &[], "event `1A`"),
            ("B", &[], "two types of events are named `B`"),
            ("A", &[("s port", "port")], "field `s port` needs the form"),
            ("A", &[("pod", "text")], "field `pod` is added by the host"),
            ("A", &[("x", "text"), ("x", "text")], "has field `x` twice"),
            ("A", &[("peer_pod", "text"), ("peer", "scope")], "has field `peer_pod` twice"),
        ] {
            let errors = check(&plan(&[("B", &[]), (ty, fields)])).unwrap_err();
            assert_eq!(errors.len(), 1, "{ty}: {errors:?}");
            assert!(errors[0].to_string().contains(told), "{ty}: {}", errors[0]);
        }
        let many: Vec<_> = (0..33).map(|index| (format!("f{index}"), "text")).collect();
        let many: Vec<_> = many.iter().map(|(name, logical)| (name.as_str(), *logical)).collect();
        assert_eq!(check(&plan(&[("A", &many)])).unwrap_err().len(), 1);
        assert_eq!(check(&plan(&[("A", &[][..]); 65])).unwrap_err(), [EventError::TooManyTypes { types: 65 }]);
    }
}
