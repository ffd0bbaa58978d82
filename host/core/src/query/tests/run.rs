use super::*;

#[test]
fn a_query_says_what_it_reads_and_what_it_gives() {
    let sql = "SELECT d.netns, name(netns) AS who, rx_bytes, maybe(gone), maybe(kind) AS k, peer IS NULL FROM proc.net.dev AS d \
               WHERE drift > 0 AND rx_bytes > 1;";
    let query = plan(sql, &catalogue(), Asker::Probe).unwrap();
    let read: Vec<&str> = query.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(read, ["netns", "rx_bytes", "kind", "peer", "drift"]);
    let fields: Vec<(&str, &str, bool)> =
        query.fields.iter().map(|field| (field.name.as_str(), field.logical.as_str(), field.nullable)).collect();
    assert_eq!(
        fields,
        [
            ("netns", "scope", false),
            ("who", "name", true),
            ("rx_bytes", "bytes", false),
            ("gone", "count", true),
            ("k", "name", true),
            ("peer IS NULL", "bool", false),
        ]
    );
}

#[test]
fn aggregates_keep_what_their_column_means() {
    let sql = "SELECT netns, sum(rx_bytes), min(rx_bytes), max(drift), count(drift), count(*) FROM proc.net.dev GROUP BY netns";
    let fields = plan(sql, &catalogue(), Asker::Probe).unwrap().fields;
    let fields: Vec<(&str, &str, bool)> =
        fields.iter().map(|field| (field.name.as_str(), field.logical.as_str(), field.nullable)).collect();
    assert_eq!(
        fields,
        [
            ("netns", "scope", false),
            ("sum(rx_bytes)", "bytes", true),
            ("min(rx_bytes)", "bytes", false),
            ("max(drift)", "count", true),
            ("count(drift)", "count", false),
            ("count(*)", "count", false),
        ]
    );
}

#[test]
fn columns_have_the_forms_that_probes_are_promised() {
    let fixture = devices();
    let sql =
        "SELECT netns, name, rx_bytes, drift, up, name(netns) AS who, maybe(gone), peer IS NOT NULL FROM proc.net.dev";
    for sql in [sql.to_owned(), format!("{sql} WHERE name = 'veth1'")] {
        let batch = fixture.answer(&fixture.plan(&sql)).batch;
        let forms: Vec<&str> = batch.columns.iter().map(|column| form(&column.values)).collect();
        assert_eq!(forms, ["u32", "code", "u64", "s64", "u32", "code", "u64", "u32"]);
    }
    let sql = "SELECT name, count(*), sum(rx_bytes), sum(drift), max(drift) FROM proc.net.dev GROUP BY name";
    let batch = fixture.answer(&fixture.plan(sql)).batch;
    let forms: Vec<&str> = batch.columns.iter().map(|column| form(&column.values)).collect();
    assert_eq!(forms, ["code", "u64", "u64", "s64", "s64"]);
}

fn form(values: &Values) -> &'static str {
    match values {
        Values::U32(_) => "u32",
        Values::U64(_) => "u64",
        Values::S64(_) => "s64",
        Values::Code { .. } => "code",
        _ => "other",
    }
}

#[test]
fn a_bitmap_is_there_only_if_a_value_is_missing() {
    let fixture = devices();
    let nulls = |sql: &str| {
        let batch = fixture.answer(&fixture.plan(sql)).batch;
        batch.columns.iter().map(|column| column.present.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(nulls("SELECT rx_bytes, drift FROM proc.net.dev"), [false, true]);
    assert_eq!(nulls("SELECT rx_bytes, drift FROM proc.net.dev WHERE drift IS NOT NULL"), [false, false]);
    assert_eq!(nulls("SELECT sum(drift) FROM proc.net.dev GROUP BY name, drift"), [true]);
    assert_eq!(nulls("SELECT sum(drift) FROM proc.net.dev"), [false]);
    // Also where the table gave one that says nothing.
    let full = Column { values: Values::U64(vec![1, 2]), present: Some(crate::batch::Bitmap(vec![u64::MAX])) };
    let query = fixture.plan("SELECT rx_bytes FROM proc.net.dev");
    assert_eq!(query.run(2, &[&full], &name).batch.columns, [Column::full(Values::U64(vec![1, 2]))]);
}

#[test]
fn a_dictionary_has_only_what_the_rows_have() {
    let fixture = devices();
    let batch = fixture.answer(&fixture.plan("SELECT name FROM proc.net.dev WHERE name <> 'lo'")).batch;
    let names = ["eth0".to_owned(), "veth1".to_owned()].to_vec();
    assert_eq!(batch.columns, [Column::full(Values::Code { codes: vec![0, 0, 1], names })]);
}

#[test]
fn a_text_that_stands_twice_in_a_dictionary_is_one() {
    let names = ["lo", "eth0", "lo"].map(str::to_owned).to_vec();
    let column = Column::full(Values::Code { codes: vec![0, 1, 2, 1], names });
    let fixture = devices();
    let run = |sql: &str| {
        let batch = fixture.plan(sql).run(4, &[&column], &name).batch;
        (0..batch.rows).map(|row| show(&batch, row)).collect::<Vec<_>>()
    };
    assert_eq!(run("SELECT name, count(*) FROM proc.net.dev GROUP BY name"), ["lo 2", "eth0 2"]);
    assert_eq!(run("SELECT name FROM proc.net.dev WHERE name = 'lo'"), ["lo", "lo"]);
    assert_eq!(run("SELECT name FROM proc.net.dev ORDER BY name"), ["eth0", "eth0", "lo", "lo"]);
}

#[test]
fn a_scope_is_asked_for_its_name_once() {
    let fixture = devices();
    let query = fixture.plan("SELECT name(netns) FROM proc.net.dev WHERE name(netns) <> 'x' ORDER BY netns");
    let asked = std::cell::RefCell::new(Vec::new());
    let scopes = Column::full(Values::U32(vec![1, 2, 1, 2, 9]));
    let names = |scope| {
        asked.borrow_mut().push(scope);
        name(scope)
    };
    let batch = query.run(5, &[&scopes], &names).batch;
    assert_eq!((0..batch.rows).map(|row| show(&batch, row)).collect::<Vec<_>>(), ["blue", "blue", "host", "host"]);
    assert_eq!(*asked.borrow(), [1, 2, 9]);
}

#[test]
fn group_by_and_what_depends_on_it() {
    let fixture = devices();
    for (sql, rows) in [
        (
            "SELECT name(netns), count(*) FROM proc.net.dev GROUP BY netns, name",
            &["host 1", "host 1", "blue 1", "blue 1", "NULL 1", "host 1"][..],
        ),
        ("SELECT name FROM proc.net.dev GROUP BY name", &["lo", "eth0", "veth1"]),
        (
            "SELECT name, kind IS NULL AS odd, count(*) FROM proc.net.dev GROUP BY name, kind",
            &["lo 1 3", "eth0 1 1", "eth0 0 1", "veth1 0 1"],
        ),
        ("SELECT count(*) FROM proc.net.dev GROUP BY up", &["3", "2", "1"]),
        ("SELECT up, count(*) FROM proc.net.dev WHERE rx_bytes < 30 GROUP BY up", &["1 2", "0 2"]),
        ("SELECT (name), (count(*)) FROM proc.net.dev d GROUP BY (d.name), name", &["lo 3", "eth0 2", "veth1 1"]),
    ] {
        assert_eq!(fixture.ask(sql), rows, "{sql}");
    }
}

#[test]
fn order_by_and_limit() {
    let fixture = devices();
    for (sql, rows) in [
        (
            "SELECT rx_bytes FROM proc.net.dev ORDER BY rx_bytes",
            &["0", "5", "10", "20", "30", "18446744073709551615"][..],
        ),
        ("SELECT rx_bytes FROM proc.net.dev ORDER BY rx_bytes DESC LIMIT 2", &["18446744073709551615", "30"]),
        // As PostgreSQL: NULL is greater than every value.
        ("SELECT drift FROM proc.net.dev ORDER BY drift", &["-1", "-1", "0", "7", "NULL", "NULL"]),
        ("SELECT drift FROM proc.net.dev ORDER BY drift DESC", &["NULL", "NULL", "7", "0", "-1", "-1"]),
        ("SELECT drift FROM proc.net.dev ORDER BY drift NULLS FIRST", &["NULL", "NULL", "-1", "-1", "0", "7"]),
        ("SELECT drift FROM proc.net.dev ORDER BY drift DESC NULLS LAST LIMIT 3", &["7", "0", "-1"]),
        ("SELECT name FROM proc.net.dev ORDER BY kind, rx_bytes", &["eth0", "veth1", "lo", "eth0", "lo", "lo"]),
        // A scope is ordered by what it is called.
        ("SELECT netns FROM proc.net.dev ORDER BY netns", &["2", "2", "1", "1", "1", "3"]),
        (
            "SELECT netns, count(*) FROM proc.net.dev GROUP BY netns ORDER BY netns DESC NULLS LAST",
            &["1 3", "2 2", "3 1"],
        ),
        ("SELECT name FROM proc.net.dev GROUP BY name ORDER BY sum(drift), count(*)", &["lo", "eth0", "veth1"]),
        ("SELECT name FROM proc.net.dev LIMIT 1", &["lo"]),
        ("SELECT name FROM proc.net.dev LIMIT 0", &[]),
        ("SELECT name FROM proc.net.dev WHERE up LIMIT ALL", &["lo", "eth0", "lo"]),
        ("SELECT count(*) FROM proc.net.dev ORDER BY count(*) LIMIT 5", &["6"]),
    ] {
        assert_eq!(fixture.ask(sql), rows, "{sql}");
    }
}

#[test]
fn star_is_every_column_of_the_table() {
    let query = devices().plan("SELECT *, name(netns) AS who FROM proc.net.dev");
    let names: Vec<&str> = query.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["netns", "name", "kind", "rx_bytes", "drift", "up", "peer", "who"]);
}

/// A table that breaks its promise must not take the host down.
#[test]
fn columns_of_another_form_or_length_count_as_null() {
    let query = devices().plan("SELECT name, rx_bytes FROM proc.net.dev WHERE rx_bytes IS NULL ORDER BY name");
    let short = Column::full(Values::U64(vec![1]));
    let batch = query.run(2, &[&short, &short], &name).batch;
    assert_eq!((0..batch.rows).map(|row| show(&batch, row)).collect::<Vec<_>>(), ["NULL NULL", "NULL NULL"]);
    assert_eq!(query.run(2, &[], &name).batch.rows, 2);
}

/// 200,000 groups of two rows each: with anything but linear work this test would not end.
#[test]
fn many_groups_take_linear_time() {
    let rows = 400_000;
    let column = Column::full(Values::U64((0..rows as u64).map(|row| row % 200_000 * 65_536).collect()));
    let query = devices().plan("SELECT rx_bytes, count(*) FROM proc.net.dev GROUP BY rx_bytes");
    let batch = query.run(rows, &[&column], &name).batch;
    assert_eq!((batch.rows, show(&batch, 7).as_str()), (200_000, "458752 2"));
}
