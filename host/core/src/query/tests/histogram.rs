//! `histogram(x)` of tables that the host reads.

use super::*;

#[test]
fn rule_23_a_histogram_is_a_row_for_each_bucket_that_is_not_empty() {
    let fixture = devices();
    // rx_bytes: 10, 20, 30, 0, 2^64 - 1, 5 and drift: -1, 7, NULL, -1, 0, NULL.
    for (sql, expected) in [
        (
            "SELECT histogram(rx_bytes) FROM proc.net.dev ORDER BY bucket",
            &["0 1 0", "3 1 5", "4 1 10", "5 2 50", "64 1 18446744073709551615"][..],
        ),
        ("SELECT histogram(drift) FROM proc.net.dev", &["0 3 -2", "3 1 7"]),
        ("SELECT histogram(drift) FROM proc.net.dev WHERE drift > 100", &[]),
        ("SELECT histogram(drift) FROM proc.net.dev WHERE up OR drift = 7", &["0 3 -2", "3 1 7"]),
        ("SELECT histogram(maybe(nothing)) FROM proc.net.dev", &[]),
        ("SELECT histogram(maybe(drift)) FROM proc.net.dev GROUP BY bucket ORDER BY sum DESC", &["3 1 7", "0 3 -2"]),
        ("SELECT (histogram(1000 * drift)) FROM proc.net.dev", &["0 3 -2000", "13 1 7000"]),
        (
            "SELECT name(netns), histogram(rx_bytes / 2) FROM proc.net.dev GROUP BY netns",
            &["host 3 1 5", "host 4 1 10", "blue 4 1 15", "blue 0 1 0", "NULL 63 1 9223372036854775807", "host 1 1 2"],
        ),
        (
            "SELECT histogram(rx_bytes), name AS device FROM proc.net.dev WHERE drift < 0 GROUP BY device, bucket",
            &["lo 4 1 10", "eth0 0 1 0"],
        ),
    ] {
        assert_eq!(fixture.ask(sql), expected, "{sql}");
    }
}

#[test]
fn rule_23_its_columns_are_bucket_count_and_sum() {
    let query =
        plan("SELECT histogram(rx_bytes), netns FROM proc.net.dev GROUP BY netns", &catalogue(), Asker::Probe).unwrap();
    let fields: Vec<(&str, &str, bool)> =
        query.fields.iter().map(|field| (field.name.as_str(), field.logical.as_str(), field.nullable)).collect();
    let expected =
        [("netns", "scope", false), ("bucket", "count", false), ("count", "count", false), ("sum", "bytes", true)];
    assert_eq!(fields, expected);
}

#[test]
fn rule_21_a_sum_of_a_bucket_that_overflows_is_null_and_counted() {
    let query = plan("SELECT histogram(rx_bytes) FROM proc.net.dev", &catalogue(), Asker::Probe).unwrap();
    let column = Column::full(Values::U64(vec![u64::MAX, u64::MAX, 3]));
    let answered = query.run(3, &[&column], &name);
    let rows: Vec<String> = (0..answered.batch.rows).map(|row| show(&answered.batch, row)).collect();
    assert_eq!((rows, answered.overflows), (vec!["64 2 NULL".to_owned(), "2 1 3".to_owned()], 1));
}
