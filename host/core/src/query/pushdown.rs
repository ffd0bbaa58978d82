//! What a query's filter leaves of a table, for sources that need not give the rest.

use super::{
    Query,
    expr::{Condition, Source, SourceId, Truth},
};

impl Query {
    /// Whether a row with this value in `column` may pass the filter. True, too, where that is not known.
    pub fn may_have(&self, column: &str, value: i128) -> bool {
        let is_column = |source: SourceId| match self.sources[source] {
            Source::Table(index) => self.columns[index].name == column,
            _ => false,
        };
        self.filter.as_ref().is_none_or(|filter| may(filter, &is_column, value))
    }
}

fn may(condition: &Condition, is_column: &dyn Fn(SourceId) -> bool, value: i128) -> bool {
    match condition {
        Condition::Constant(truth) => *truth == Truth::True,
        Condition::Number(source, test) if is_column(*source) => test.accepts(&value),
        Condition::Not(inner) => !must(inner, is_column, value),
        Condition::All(parts) => parts.iter().all(|part| may(part, is_column, value)),
        Condition::Any(parts) => parts.iter().any(|part| may(part, is_column, value)),
        _ => true,
    }
}

/// Whether a row with this value passes for certain.
fn must(condition: &Condition, is_column: &dyn Fn(SourceId) -> bool, value: i128) -> bool {
    match condition {
        Condition::Constant(truth) => *truth == Truth::True,
        Condition::Number(source, test) if is_column(*source) => test.accepts(&value),
        Condition::All(parts) => parts.iter().all(|part| must(part, is_column, value)),
        Condition::Any(parts) => parts.iter().any(|part| must(part, is_column, value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::query::{Asker, plan};
    use crate::{diag, table::Catalogue};

    #[test]
    fn what_the_filter_leaves_of_a_column() {
        let catalogue = Catalogue { tables: vec![diag::table()], ..Catalogue::default() };
        let all: Vec<i128> = (0..14).collect();
        for (condition, states) in [
            ("TRUE", &all[..]),
            ("FALSE", &[]),
            ("state = 10", &[10]),
            ("10 = state", &[10]),
            ("state IN (1, 8, 99)", &[1, 8]),
            ("name(state) = 'LISTEN'", &[10]),
            ("name(state) IN ('TCP_LISTEN', 'TIME_WAIT') AND lport > 100", &[6, 10]),
            ("state NOT IN (0, 2, 3, 4, 5, 7, 9, 11, 12, 13)", &[1, 6, 8, 10]),
            ("NOT state > 2", &[0, 1, 2]),
            ("state BETWEEN 4 AND 6 AND state <> 5", &[4, 6]),
            ("state = 1 OR state = 2", &[1, 2]),
            // Any row may have a port.
            ("state = 1 OR lport = 80", &all),
            ("NOT (state = 1 AND lport = 80)", &all),
            ("NOT (state = 1 OR lport = 80)", &[0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
            ("state = lport", &all),
            ("state IN (1, NULL)", &[1]),
            ("(state = 1) = TRUE", &[1]),
            ("(state = 1) = (lport = 80)", &all),
        ] {
            let sql = format!("SELECT count(*) FROM netlink.sock_diag WHERE {condition}");
            let query = plan(&sql, &catalogue, Asker::Probe).unwrap_or_else(|error| panic!("{}", error.render(&sql)));
            let left: Vec<i128> = all.iter().copied().filter(|&state| query.may_have("state", state)).collect();
            assert_eq!(left, states, "{condition}");
        }
    }
}
