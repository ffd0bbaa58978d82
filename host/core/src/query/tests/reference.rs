//! Random texts and random conditions: the first must never panic, the second must agree with a reading of SQL row by row.

use super::*;
use proptest::prelude::*;

const VALID: &[&str] = &[
    "SELECT netns, TCP.inuse, maybe(TCP.tw) AS tw FROM proc.net.sockstat WHERE FRAG.memory IS NOT NULL AND TCP.inuse > 0",
    "SELECT name(netns) AS who, count(*), sum(d.rx_bytes) FROM proc.net.dev d WHERE name NOT IN ('lo', NULL) GROUP BY who ORDER BY who DESC NULLS LAST LIMIT 5;",
    "SELECT *, peer IS NULL FROM proc.net.dev WHERE (drift BETWEEN -1 AND 18446744073709551615) OR NOT up = TRUE",
    "SELECT -(rx_bytes + 1) * 2 % drift AS x, 10 * rx_bytes > 9 * drift FROM proc.net.dev WHERE rx_bytes / (2 - 2) <> drift - 7",
    "SELECT netns, histogram(rx_bytes - 5) FROM proc.net.dev GROUP BY netns, bucket",
    "SELECT netns, IcmpMsg.InType3, \"Tcp.MaxConn\" FROM proc.net.snmp",
];

/// Words that a query may have, so that random ones get past the parser now and then.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS",
    "NULL",
    "AS",
    "BETWEEN",
    "TRUE",
    "(",
    ")",
    "*",
    ",",
    ".",
    "=",
    "<",
    "-",
    "+",
    "/",
    "%",
    "1",
    "'lo'",
    "netns",
    "name",
    "rx_bytes",
    "drift",
    "up",
    "count",
    "sum",
    "histogram",
    "maybe",
    "d",
    "proc.net.dev",
    "DISTINCT",
    "JOIN",
    "UNION",
    "CASE",
    "WHEN",
    "::",
    "[",
    "]",
    "\"",
    "'",
    ";",
    "--",
    "/*",
    "\u{0}",
    "é",
    "OVER",
    "FILTER",
];

fn never_panics(sql: &str) {
    for asker in [Asker::Person, Asker::Probe] {
        match plan(sql, &catalogue(), asker) {
            Ok(query) => {
                assert!(!query.fields.is_empty());
                let columns: Vec<Column> = query.columns.iter().map(|_| Column::null(2)).collect();
                let answered = query.run(2, &columns.iter().collect::<Vec<_>>(), &name);
                assert_eq!(answered.batch.columns.len(), query.fields.len());
            }
            Err(error) => {
                assert!(!error.message.is_empty());
                error.render(sql);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered_or_refused(text in any::<String>()) {
        never_panics(&text);
        never_panics(&format!("SELECT {text} FROM proc.net.dev"));
        never_panics(&format!("SELECT netns FROM proc.net.dev {text}"));
    }

    #[test]
    fn any_words_are_answered_or_refused(words in prop::collection::vec(prop::sample::select(WORDS), 0..30)) {
        let text = words.join(" ");
        never_panics(&format!("SELECT {text}"));
        never_panics(&format!("SELECT netns FROM proc.net.dev WHERE {text}"));
    }

    #[test]
    fn a_changed_query_is_answered_or_refused(
        sql in prop::sample::select(VALID),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4usize, prop::sample::select(WORDS)), 1..4),
    ) {
        let mut text: Vec<char> = sql.chars().collect();
        for (place, removed, word) in changes {
            let place = place.index(text.len() + 1);
            let end = text.len().min(place + removed * 3);
            text.splice(place..end, word.chars());
        }
        never_panics(&text.into_iter().collect::<String>());
    }

    #[test]
    fn where_agrees_with_a_reading_row_by_row(condition in condition(), rows in prop::collection::vec(row(), 0..70)) {
        let sql = format!("SELECT rx_bytes, drift, name, kind, up FROM proc.net.dev WHERE {}", condition.sql());
        let query = plan(&sql, &catalogue(), Asker::Probe).map_err(|error| TestCaseError::fail(error.render(&sql)))?;
        let numbers = |builder, of: fn(&Row) -> Option<i128>| numbers(builder, &rows.iter().map(of).collect::<Vec<_>>());
        let texts = |of: fn(&Row) -> Option<&'static str>| texts(&rows.iter().map(of).collect::<Vec<_>>());
        let columns = [
            numbers(ColumnBuilder::u64(), |row| row.rx_bytes.map(i128::from)),
            numbers(ColumnBuilder::s64(), |row| row.drift.map(i128::from)),
            texts(|row| row.name),
            texts(|row| row.kind),
            numbers(ColumnBuilder::u32(), |row| row.up.map(i128::from)),
        ];
        let batch = query.run(rows.len(), &columns.iter().collect::<Vec<_>>(), &name).batch;
        let got: Vec<String> = (0..batch.rows).map(|row| show(&batch, row)).collect();
        let expected: Vec<String> = rows.iter().filter(|row| condition.of(row) == Some(true)).map(Row::show).collect();
        prop_assert_eq!(got, expected, "{}", sql);
    }
}

/// A row of the columns that conditions speak of.
#[derive(Clone, Debug)]
struct Row {
    rx_bytes: Option<u64>,
    drift: Option<i64>,
    name: Option<&'static str>,
    kind: Option<&'static str>,
    up: Option<bool>,
}

impl Row {
    fn show(&self) -> String {
        fn show<T: ToString>(value: Option<T>) -> String {
            value.map_or("NULL".into(), |value| value.to_string())
        }
        [show(self.rx_bytes), show(self.drift), show(self.name), show(self.kind), show(self.up.map(u8::from))].join(" ")
    }
}

fn row() -> impl Strategy<Value = Row> {
    let unsigned = prop::option::of(prop::sample::select(&[0, 1, 2, i64::MAX as u64 + 1, u64::MAX][..]));
    let signed = prop::option::of(prop::sample::select(&[i64::MIN, -1, 0, 1, 2, i64::MAX][..]));
    let text = || prop::option::of(prop::sample::select(&["", "a", "ab", "b"][..]));
    (unsigned, signed, text(), text(), prop::option::of(any::<bool>()))
        .prop_map(|(rx_bytes, drift, name, kind, up)| Row { rx_bytes, drift, name, kind, up })
}

#[derive(Clone, Debug)]
enum Number {
    RxBytes,
    Drift,
    Literal(i128),
    Null,
}

#[derive(Clone, Debug)]
enum Text {
    Name,
    Kind,
    Literal(&'static str),
    Null,
}

#[derive(Clone, Debug)]
enum Logic {
    Constant(Option<bool>),
    Up,
    Numbers(Number, &'static str, Number),
    Texts(Text, &'static str, Text),
    NumberIn(Number, bool, Vec<Option<i128>>),
    TextIn(Text, bool, Vec<Option<&'static str>>),
    Between(Number, bool, Number, Number),
    NumberIsNull(Number, bool),
    TextIsNull(Text, bool),
    IsNull(Box<Logic>),
    Not(Box<Logic>),
    And(Box<Logic>, Box<Logic>),
    Or(Box<Logic>, Box<Logic>),
    Same(Box<Logic>, &'static str, Box<Logic>),
}

const LITERALS: &[i128] = &[i64::MIN as i128, -1, 0, 1, 2, i64::MAX as i128 + 1, u64::MAX as i128];
const TEXTS: &[&str] = &["", "a", "ab", "b", "c"];
const COMPARISONS: &[&str] = &["=", "<>", "!=", "<", "<=", ">", ">="];

fn condition() -> impl Strategy<Value = Logic> {
    let number_column = || prop_oneof![Just(Number::RxBytes), Just(Number::Drift)];
    let number = || prop_oneof![4 => number_column(), 4 => prop::sample::select(LITERALS).prop_map(Number::Literal), 1 => Just(Number::Null)];
    let text_column = || prop_oneof![Just(Text::Name), Just(Text::Kind)];
    let text = || prop_oneof![4 => text_column(), 4 => prop::sample::select(TEXTS).prop_map(Text::Literal), 1 => Just(Text::Null)];
    let comparison = || prop::sample::select(COMPARISONS);
    let numbers = prop::collection::vec(prop::option::weighted(0.9, prop::sample::select(LITERALS)), 1..4);
    let texts = prop::collection::vec(prop::option::weighted(0.9, prop::sample::select(TEXTS)), 1..4);
    let leaf = prop_oneof![
        1 => any::<Option<bool>>().prop_map(Logic::Constant),
        1 => Just(Logic::Up),
        4 => (number(), comparison(), number()).prop_map(|(a, by, b)| Logic::Numbers(a, by, b)),
        4 => (text(), comparison(), text()).prop_map(|(a, by, b)| Logic::Texts(a, by, b)),
        2 => (number_column(), any::<bool>(), numbers).prop_map(|(a, not, list)| Logic::NumberIn(a, not, list)),
        2 => (text_column(), any::<bool>(), texts).prop_map(|(a, not, list)| Logic::TextIn(a, not, list)),
        1 => (number(), any::<bool>(), number(), number()).prop_map(|(a, not, low, high)| Logic::Between(a, not, low, high)),
        1 => (number(), any::<bool>()).prop_map(|(a, not)| Logic::NumberIsNull(a, not)),
        1 => (text(), any::<bool>()).prop_map(|(a, not)| Logic::TextIsNull(a, not)),
    ];
    leaf.prop_recursive(4, 24, 2, move |inner| {
        let inner = inner.prop_map(Box::new);
        prop_oneof![
            inner.clone().prop_map(Logic::IsNull),
            inner.clone().prop_map(Logic::Not),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Logic::And(a, b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Logic::Or(a, b)),
            (inner.clone(), prop::sample::select(COMPARISONS), inner).prop_map(|(a, by, b)| Logic::Same(a, by, b)),
        ]
    })
}

fn accepts(by: &str, ordering: std::cmp::Ordering) -> bool {
    match by {
        "=" => ordering.is_eq(),
        "<>" | "!=" => ordering.is_ne(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    }
}

fn compare<T: Ord>(a: Option<T>, by: &str, b: Option<T>) -> Option<bool> {
    Some(accepts(by, a?.cmp(&b?)))
}

fn is_in<T: Ord + Copy>(value: Option<T>, list: &[Option<T>]) -> Option<bool> {
    let equal: Vec<Option<bool>> = list.iter().map(|&element| compare(value, "=", element)).collect();
    if equal.contains(&Some(true)) {
        Some(true)
    } else if equal.contains(&None) {
        None
    } else {
        Some(false)
    }
}

fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    or(a.map(|a| !a), b.map(|b| !b)).map(|either| !either)
}

impl Number {
    fn of(&self, row: &Row) -> Option<i128> {
        match self {
            Number::RxBytes => row.rx_bytes.map(i128::from),
            Number::Drift => row.drift.map(i128::from),
            Number::Literal(value) => Some(*value),
            Number::Null => None,
        }
    }

    fn sql(&self) -> String {
        match self {
            Number::RxBytes => "rx_bytes".into(),
            Number::Drift => "drift".into(),
            Number::Literal(value) => value.to_string(),
            Number::Null => "NULL".into(),
        }
    }
}

impl Text {
    fn of(&self, row: &Row) -> Option<&'static str> {
        match self {
            Text::Name => row.name,
            Text::Kind => row.kind,
            Text::Literal(text) => Some(text),
            Text::Null => None,
        }
    }

    fn sql(&self) -> String {
        match self {
            Text::Name => "name".into(),
            Text::Kind => "kind".into(),
            Text::Literal(text) => format!("'{text}'"),
            Text::Null => "NULL".into(),
        }
    }
}

impl Logic {
    fn of(&self, row: &Row) -> Option<bool> {
        let not = |negated: bool, truth: Option<bool>| truth.map(|truth| truth != negated);
        match self {
            Logic::Constant(truth) => *truth,
            Logic::Up => row.up,
            Logic::Numbers(a, by, b) => compare(a.of(row), by, b.of(row)),
            Logic::Texts(a, by, b) => compare(a.of(row), by, b.of(row)),
            Logic::NumberIn(a, negated, list) => not(*negated, is_in(a.of(row), list)),
            Logic::TextIn(a, negated, list) => not(*negated, is_in(a.of(row), list)),
            Logic::Between(a, negated, low, high) => {
                not(*negated, and(compare(a.of(row), ">=", low.of(row)), compare(a.of(row), "<=", high.of(row))))
            }
            Logic::NumberIsNull(a, negated) => Some(a.of(row).is_none() != *negated),
            Logic::TextIsNull(a, negated) => Some(a.of(row).is_none() != *negated),
            Logic::IsNull(a) => Some(a.of(row).is_none()),
            Logic::Not(a) => not(true, a.of(row)),
            Logic::And(a, b) => and(a.of(row), b.of(row)),
            Logic::Or(a, b) => or(a.of(row), b.of(row)),
            Logic::Same(a, by, b) => compare(a.of(row), by, b.of(row)),
        }
    }

    fn sql(&self) -> String {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        fn list<T>(list: &[Option<T>], show: impl Fn(&T) -> String) -> String {
            let list = list.iter().map(|element| element.as_ref().map_or("NULL".into(), &show));
            list.collect::<Vec<_>>().join(", ")
        }
        match self {
            Logic::Constant(truth) => truth.map_or("NULL".into(), |truth| truth.to_string().to_uppercase()),
            Logic::Up => "up".into(),
            Logic::Numbers(a, by, b) => format!("{} {by} {}", a.sql(), b.sql()),
            Logic::Texts(a, by, b) => format!("{} {by} {}", a.sql(), b.sql()),
            Logic::NumberIn(a, negated, values) => {
                format!("{} {}IN ({})", a.sql(), not(negated), list(values, |value| value.to_string()))
            }
            Logic::TextIn(a, negated, values) => {
                format!("{} {}IN ({})", a.sql(), not(negated), list(values, |value| format!("'{value}'")))
            }
            Logic::Between(a, negated, low, high) => {
                format!("{} {}BETWEEN {} AND {}", a.sql(), not(negated), low.sql(), high.sql())
            }
            Logic::NumberIsNull(a, negated) => format!("{} IS {}NULL", a.sql(), not(negated)),
            Logic::TextIsNull(a, negated) => format!("{} IS {}NULL", a.sql(), not(negated)),
            Logic::IsNull(a) => format!("({}) IS NULL", a.sql()),
            Logic::Not(a) => format!("NOT ({})", a.sql()),
            Logic::And(a, b) => format!("({}) AND ({})", a.sql(), b.sql()),
            Logic::Or(a, b) => format!("({}) OR ({})", a.sql(), b.sql()),
            Logic::Same(a, by, b) => format!("({}) {by} ({})", a.sql(), b.sql()),
        }
    }
}
