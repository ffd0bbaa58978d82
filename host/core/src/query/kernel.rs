//! What of a filter the kernel tests, and what it cannot.

use super::{
    error::QueryError,
    expr::{Condition, Source},
};

/// What the kernel can test itself, and what only the host can: it alone knows what namespaces and symbols are called.
pub(super) fn split(filter: Option<Condition>, sources: &[Source]) -> (Option<Condition>, Option<Condition>) {
    let parts = match filter {
        None => return (None, None),
        Some(Condition::All(parts)) => parts,
        Some(other) => vec![other],
    };
    let is_of_host = |part: &Condition| {
        let mut named = false;
        part.for_each_source(&mut |source| {
            named |= matches!(sources[source], Source::ScopeName(_) | Source::Symbol(_))
        });
        named
    };
    let (host, kernel): (Vec<_>, Vec<_>) = parts.into_iter().partition(is_of_host);
    let all = |parts: Vec<Condition>| (!parts.is_empty()).then_some(Condition::All(parts));
    (all(kernel), all(host))
}

/// Refuses what a program has no test for.
pub(super) fn check(condition: &Condition) -> Result<(), QueryError> {
    let instead = match condition {
        Condition::IsUnknown(_) => "write IS NULL of a column, not of a condition",
        Condition::Conditions(..) => "compare columns, and join the conditions with AND and OR",
        Condition::Not(inner) => return check(inner),
        Condition::All(parts) | Condition::Any(parts) => return parts.iter().try_for_each(check),
        _ => return Ok(()),
    };
    Err(QueryError::text(None, format!("this condition cannot be tested in the kernel: {instead}")))
}
