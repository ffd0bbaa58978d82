//! Arithmetic and comparisons as columns (rule 21), of tables that the host reads.

use super::*;

fn one(expression: &str) -> Vec<String> {
    devices().ask(&format!("SELECT {expression} AS x FROM proc.net.dev"))
}

#[test]
fn rule_21_arithmetic_of_columns_and_literals() {
    let max = u64::MAX.to_string();
    // rx_bytes: 10, 20, 30, 0, 2^64 - 1, 5 and drift: -1, 7, NULL, -1, 0, NULL.
    for (expression, expected) in [
        ("rx_bytes / 4", ["2", "5", "7", "0", "4611686018427387903", "1"]),
        ("rx_bytes % 4", ["2", "0", "2", "0", "3", "1"]),
        ("1000 * rx_bytes", ["10000", "20000", "30000", "0", "NULL", "5000"]),
        ("rx_bytes + 1", ["11", "21", "31", "1", "NULL", "6"]),
        ("rx_bytes - 20", ["-10", "0", "10", "-20", "NULL", "-15"]),
        ("-rx_bytes", ["-10", "-20", "-30", "0", "NULL", "-5"]),
        ("rx_bytes + drift", ["9", "27", "NULL", "-1", "NULL", "NULL"]),
        ("rx_bytes / drift", ["-10", "2", "NULL", "0", "NULL", "NULL"]),
        ("rx_bytes % drift", ["0", "6", "NULL", "0", "NULL", "NULL"]),
        ("drift / rx_bytes", ["0", "0", "NULL", "NULL", "NULL", "NULL"]),
        ("drift / 2 * 2", ["0", "6", "NULL", "0", "0", "NULL"]),
        ("-(drift - 1)", ["2", "-6", "NULL", "2", "1", "NULL"]),
        ("rx_bytes + maybe(nothing)", ["NULL"; 6]),
        ("rx_bytes / (1 - 1)", ["NULL"; 6]),
        ("rx_bytes + NULL", ["NULL"; 6]),
        ("rx_bytes + 2 * 3 - -4", ["20", "30", "40", "10", "NULL", "15"]),
        ("rx_bytes / 1", ["10", "20", "30", "0", &max, "5"]),
        ("10 * rx_bytes > 15 * 10", ["0", "1", "1", "0", "NULL", "0"]),
        ("rx_bytes > drift", ["1", "1", "NULL", "1", "1", "NULL"]),
        ("drift <> -1", ["0", "1", "NULL", "0", "1", "NULL"]),
        ("drift < 18446744073709551615", ["1", "1", "NULL", "1", "1", "NULL"]),
        ("(drift + 1) IS NULL", ["0", "0", "1", "0", "0", "1"]),
        ("(drift > 1) IS NOT NULL", ["1", "1", "0", "1", "1", "0"]),
    ] {
        assert_eq!(one(expression), expected, "{expression}");
    }
}

#[test]
fn rule_21_overflows_are_counted_in_the_rows_that_count() {
    let fixture = devices();
    let overflows = |sql: &str| fixture.answer(&fixture.plan(&format!("SELECT {sql}"))).overflows;
    for (sql, expected) in [
        ("rx_bytes + 1 FROM proc.net.dev", 1),
        ("rx_bytes + 1, rx_bytes * 2, rx_bytes / 0, rx_bytes - 1 FROM proc.net.dev", 3),
        ("10 * rx_bytes > 1 FROM proc.net.dev", 1),
        ("rx_bytes + 1 FROM proc.net.dev WHERE rx_bytes < 100", 0),
        ("rx_bytes FROM proc.net.dev WHERE rx_bytes + 1 < 100", 1),
        ("rx_bytes + 1 FROM proc.net.dev WHERE rx_bytes + 1 < 100", 1),
        ("sum(rx_bytes), sum(rx_bytes + 1) FROM proc.net.dev", 2),
    ] {
        assert_eq!(overflows(sql), expected, "{sql}");
    }
}

#[test]
fn expressions_stand_wherever_columns_do() {
    let fixture = devices();
    for (sql, expected) in [
        ("SELECT name FROM proc.net.dev WHERE 10 * drift > 9 * rx_bytes - 115", &["lo", "eth0", "eth0"][..]),
        (
            "SELECT name FROM proc.net.dev WHERE 5 < drift * 1 OR -drift = 1 AND rx_bytes % 2 = 0",
            &["lo", "eth0", "eth0"],
        ),
        ("SELECT rx_bytes FROM proc.net.dev WHERE rx_bytes % 20 IN (10, 5 * 1)", &["10", "30", "5"]),
        ("SELECT rx_bytes FROM proc.net.dev WHERE rx_bytes / 10 BETWEEN 1 + 1 AND 2 * 2", &["20", "30"]),
        ("SELECT rx_bytes FROM proc.net.dev WHERE (rx_bytes > 2 * 10) = TRUE AND (drift > 0) IS NULL", &["30"]),
        ("SELECT rx_bytes FROM proc.net.dev WHERE FALSE = (rx_bytes > 5)", &["0", "5"]),
        ("SELECT rx_bytes FROM proc.net.dev WHERE (rx_bytes + 1) IS NULL", &["18446744073709551615"]),
        ("SELECT sum(drift - 1), max(10 * drift / 2), count(drift % 0) FROM proc.net.dev", &["1 35 0"]),
        (
            "SELECT drift > 0, count(*) FROM proc.net.dev GROUP BY drift > 0 ORDER BY drift > 0",
            &["0 3", "1 1", "NULL 2"],
        ),
        ("SELECT drift * 2 AS d, count(*) FROM proc.net.dev WHERE drift < 0 GROUP BY d", &["-2 2"]),
        ("SELECT drift + 1, count(*) FROM proc.net.dev WHERE drift > 0 GROUP BY drift", &["8 1"]),
        (
            "SELECT rx_bytes FROM proc.net.dev ORDER BY -(rx_bytes / 10), rx_bytes LIMIT 2",
            &["18446744073709551615", "30"],
        ),
    ] {
        assert_eq!(fixture.ask(sql), expected, "{sql}");
    }
}

#[test]
fn an_expression_has_one_spelling_and_one_type() {
    for (expression, name, ty, logical) in [
        ("d.rx_bytes+1", "rx_bytes + 1", "u64", "bytes"),
        ("((rx_bytes)) - (drift)", "rx_bytes - drift", "s64", "count"),
        ("rx_bytes - rx_bytes", "rx_bytes - rx_bytes", "s64", "bytes"),
        ("1000*rx_bytes/(2*3)", "1000 * rx_bytes / 6", "u64", "count"),
        ("(rx_bytes + 1) * 2", "(rx_bytes + 1) * 2", "u64", "count"),
        ("rx_bytes - (drift - 1)", "rx_bytes - (drift - 1)", "s64", "count"),
        ("(rx_bytes * drift) + 1", "rx_bytes * drift + 1", "s64", "count"),
        ("rx_bytes / (2 * drift)", "rx_bytes / (2 * drift)", "s64", "count"),
        ("-(-drift)", "-(-drift)", "s64", "count"),
        ("-drift * -1", "-drift * -1", "s64", "count"),
        ("-(drift * 2)", "-(drift * 2)", "s64", "count"),
        ("rx_bytes % 1024", "rx_bytes % 1024", "u64", "bytes"),
        ("(10*rx_bytes)>drift", "10 * rx_bytes > drift", "u32", "bool"),
        ("rx_bytes != 1", "rx_bytes <> 1", "u32", "bool"),
        ("(drift + 1) IS NULL", "(drift + 1) IS NULL", "u32", "bool"),
        ("sum(drift * 2)", "sum(drift * 2)", "s64", "count"),
        ("max(rx_bytes - 1)", "max(rx_bytes - 1)", "s64", "bytes"),
    ] {
        let fixture = devices();
        let query = fixture.plan(&format!("SELECT {expression} FROM proc.net.dev d"));
        let field = &query.fields[0];
        assert_eq!((field.name.as_str(), field.logical.as_str()), (name, logical), "{expression}");
        let column = &fixture.answer(&query).batch.columns[0];
        let form = match column.values {
            Values::U64(_) => "u64",
            Values::S64(_) => "s64",
            _ => "u32",
        };
        assert_eq!(form, ty, "{expression}");
        // What it is called is what may be asked for.
        assert_eq!(fixture.plan(&format!("SELECT {name} FROM proc.net.dev")).fields[0].name, name);
    }
}

#[test]
fn operations_nest_so_deeply_and_no_deeper() {
    let fixture = devices();
    let row = |operations: usize| format!("SELECT drift{} AS x FROM proc.net.dev LIMIT 1", " + 1".repeat(operations));
    assert_eq!(fixture.ask(&row(63)), ["62"]);
    let error = error(&row(64), Asker::Person);
    assert!(error.message.starts_with("the expression nests too deeply: 64 operations"), "{error}");
}
