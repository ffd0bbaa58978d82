use super::*;

const DEV: &str = "FROM proc.net.dev";

fn names_where(condition: &str) -> Vec<String> {
    devices().ask(&format!("SELECT netns, name {DEV} WHERE {condition}"))
}

#[test]
fn rule_20_identifiers_are_case_sensitive() {
    let error = error("SELECT Netns FROM proc.net.dev", Asker::Probe);
    assert_eq!(error.to_string(), "line 1, column 8: no column `Netns` in proc.net.dev; did you mean `netns`?");
    assert_eq!(error.kind, Kind::Absent);
    // Functions are words of the language, not names.
    assert_eq!(devices().plan(&format!("SELECT COUNT(*) {DEV}")).fields[0].name, "count(*)");
}

#[test]
fn rule_20_a_row_whose_filter_is_null_is_left_out() {
    for (condition, rows) in [
        ("kind = 'veth'", &["2 eth0", "1 veth1"][..]),
        ("kind <> 'veth'", &[]),
        ("NOT (kind <> 'veth')", &["2 eth0", "1 veth1"]),
        ("kind IS NULL", &["1 lo", "1 eth0", "2 lo", "3 lo"]),
        ("kind IS NOT NULL", &["2 eth0", "1 veth1"]),
        ("kind = NULL", &[]),
        ("NOT (kind = NULL)", &[]),
        ("(kind = NULL) IS NULL AND name = 'veth1'", &["1 veth1"]),
        ("kind = 'veth' OR rx_bytes = 10", &["1 lo", "2 eth0", "1 veth1"]),
        ("NULL OR rx_bytes = 10", &["1 lo"]),
        ("NULL AND rx_bytes = 10", &[]),
        ("NOT (NULL AND rx_bytes = 10)", &["1 eth0", "2 lo", "2 eth0", "3 lo", "1 veth1"]),
        ("up", &["1 lo", "2 eth0", "3 lo"]),
        ("NOT up", &["1 eth0", "1 veth1"]),
        ("up = FALSE", &["1 eth0", "1 veth1"]),
        ("up IS NULL", &["2 lo"]),
        ("(up OR TRUE) AND name = 'lo'", &["1 lo", "2 lo", "3 lo"]),
        ("TRUE", &["1 lo", "1 eth0", "2 lo", "2 eth0", "3 lo", "1 veth1"]),
        ("FALSE", &[]),
        ("NULL", &[]),
        ("1 = 1 AND name = 'eth0'", &["1 eth0", "2 eth0"]),
        ("'a' > 'b'", &[]),
    ] {
        assert_eq!(names_where(condition), rows, "{condition}");
    }
}

#[test]
fn rule_20_in_and_not_in_with_null() {
    for (condition, rows) in [
        ("name IN ('veth1', 'none')", &["1 veth1"][..]),
        ("name NOT IN ('lo', 'eth0')", &["1 veth1"]),
        ("drift IN (7, NULL)", &["1 eth0"]),
        ("drift NOT IN (7, NULL)", &[]),
        ("drift NOT IN (7, -1)", &["3 lo"]),
        ("drift IN (NULL)", &[]),
        ("(drift NOT IN (7, NULL)) IS NULL AND netns = netns AND name = 'veth1'", &["1 veth1"]),
        ("name(netns) IN ('blue')", &["2 lo", "2 eth0"]),
        ("name(netns) NOT IN ('blue')", &["1 lo", "1 eth0", "1 veth1"]),
        ("maybe(nothing) IN (1, 2)", &[]),
        ("rx_bytes BETWEEN 10 AND 20", &["1 lo", "1 eth0"]),
        ("rx_bytes NOT BETWEEN 1 AND 30", &["2 eth0", "3 lo"]),
        ("drift NOT BETWEEN NULL AND -1", &["1 eth0", "3 lo"]),
    ] {
        assert_eq!(names_where(condition), rows, "{condition}");
    }
}

#[test]
fn rule_20_null_is_one_group() {
    let sql = format!("SELECT kind, count(*), count(kind), count(drift) {DEV} GROUP BY kind");
    assert_eq!(devices().ask(&sql), ["NULL 4 0 3", "veth 2 2 1"]);
    let sql = format!("SELECT maybe(nothing), count(*) {DEV} GROUP BY maybe(nothing)");
    assert_eq!(devices().ask(&sql), ["NULL 6"]);
    let sql = format!("SELECT name(netns), count(*) {DEV} GROUP BY name(netns)");
    assert_eq!(devices().ask(&sql), ["host 3", "blue 2", "NULL 1"]);
}

#[test]
fn rule_20_zero_is_not_the_group_of_null() {
    let sql = format!("SELECT drift, count(*) {DEV} GROUP BY drift");
    assert_eq!(devices().ask(&sql), ["-1 2", "7 1", "NULL 2", "0 1"]);
}

#[test]
fn rule_20_sum_skips_null_and_of_nothing_is_null() {
    let sql = format!("SELECT kind, sum(drift), min(drift), max(drift) {DEV} GROUP BY kind");
    assert_eq!(devices().ask(&sql), ["NULL 6 -1 7", "veth -1 -1 -1"]);
    let sql = format!("SELECT name, sum(drift), min(drift) {DEV} WHERE drift IS NULL GROUP BY name");
    assert_eq!(devices().ask(&sql), ["lo NULL NULL", "veth1 NULL NULL"]);
    let sql = format!("SELECT sum(maybe(nothing)), count(maybe(nothing)) {DEV}");
    assert_eq!(devices().ask(&sql), ["NULL 0"]);
}

#[test]
fn rule_20_without_group_by_there_is_one_row() {
    let fixture = devices();
    let all = "SELECT count(*), count(drift), sum(drift), min(rx_bytes), max(drift) FROM proc.net.dev";
    assert_eq!(fixture.ask(all), ["6 4 5 0 7"]);
    assert_eq!(fixture.ask(&format!("{all} WHERE FALSE")), ["0 0 NULL NULL NULL"]);
    assert_eq!(fixture.ask(&format!("SELECT count(*) {DEV} WHERE FALSE GROUP BY name")), [""; 0]);
    let empty =
        fixture.plan(all).run(0, &[&Column::full(Values::S64(vec![])), &Column::full(Values::U64(vec![]))], &name);
    assert_eq!(show(&empty.batch, 0), "0 0 NULL NULL NULL");
    let nullable: Vec<bool> = fixture.plan(all).fields.iter().map(|field| field.nullable).collect();
    assert_eq!(nullable, [false, false, true, true, true]);
}

#[test]
fn rule_21_signed_and_unsigned_compare_by_value() {
    for (condition, rows) in [
        // As bits, -1 is 18446744073709551615.
        ("drift = 18446744073709551615", &[][..]),
        ("drift < 18446744073709551615 AND netns <> netns OR drift < 0", &["1 lo", "2 eth0"]),
        ("rx_bytes = 18446744073709551615", &["3 lo"]),
        ("rx_bytes > -1 AND name = 'eth0'", &["1 eth0", "2 eth0"]),
        ("rx_bytes >= 18446744073709551615", &["3 lo"]),
        ("drift >= -9223372036854775808 AND name = 'eth0'", &["1 eth0", "2 eth0"]),
        ("rx_bytes < drift", &[]),
        ("drift < rx_bytes", &["1 lo", "1 eth0", "2 eth0", "3 lo"]),
        ("drift <> rx_bytes AND name = 'lo'", &["1 lo", "3 lo"]),
        ("10 < rx_bytes", &["1 eth0", "2 lo", "3 lo"]),
        ("20 >= rx_bytes AND 5 <= rx_bytes", &["1 lo", "1 eth0", "1 veth1"]),
    ] {
        assert_eq!(names_where(condition), rows, "{condition}");
    }
}

#[test]
fn rule_21_a_sum_that_overflows_is_null_and_counted() {
    let fixture = devices();
    let answered = fixture.answer(&fixture.plan(&format!("SELECT sum(rx_bytes) {DEV}")));
    assert_eq!((show(&answered.batch, 0).as_str(), answered.overflows), ("NULL", 1));
    let answered = fixture.answer(
        &fixture.plan(&format!("SELECT sum(rx_bytes), max(rx_bytes) {DEV} WHERE netns = peer OR name(netns) IS NULL")),
    );
    assert_eq!(
        (show(&answered.batch, 0).as_str(), answered.overflows),
        ("18446744073709551615 18446744073709551615", 0)
    );
}

#[test]
fn rule_21_a_signed_sum_may_pass_through_what_does_not_fit() {
    let query = plan("SELECT sum(value) FROM proc.net.snmp.long", &catalogue(), Asker::Probe).unwrap();
    let sum = |values: &[i64]| {
        let answered = query.run(values.len(), &[&Column::full(Values::S64(values.to_vec()))], &name);
        (show(&answered.batch, 0), answered.overflows)
    };
    assert_eq!(sum(&[i64::MAX, 1, -2]), ((i64::MAX - 1).to_string(), 0));
    assert_eq!(sum(&[i64::MAX, 1]), ("NULL".into(), 1));
    assert_eq!(sum(&[i64::MIN, -1]), ("NULL".into(), 1));
}

#[test]
fn rule_22_an_alias_of_the_table_goes_first_and_alone() {
    let fixture = devices();
    let query = fixture.plan("SELECT d.rx_bytes, name, d.name AS n FROM proc.net.dev d WHERE d.name = 'veth1'");
    assert_eq!(query.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["rx_bytes", "name", "n"]);
    assert_eq!(show(&fixture.answer(&query).batch, 0), "5 veth1 veth1");

    assert!(plan("SELECT TCP.inuse FROM proc.net.sockstat", &catalogue(), Asker::Probe).is_ok());
    assert!(plan("SELECT TCP.TCP.inuse FROM proc.net.sockstat TCP", &catalogue(), Asker::Probe).is_ok());
    assert!(plan("SELECT \"TCP.inuse\" FROM proc.net.sockstat TCP", &catalogue(), Asker::Probe).is_ok());
    let error = error("SELECT TCP.inuse FROM proc.net.sockstat TCP", Asker::Probe);
    assert!(error.message.starts_with("no column `inuse` in proc.net.sockstat"), "{error}");
}

#[test]
fn rule_22_a_select_alias_is_known_in_group_by_and_order_by_only() {
    let fixture = devices();
    let rows =
        fixture.ask(&format!("SELECT name(netns) AS who, count(*) AS n {DEV} GROUP BY who ORDER BY n DESC, who"));
    assert_eq!(rows, ["host 3", "blue 2", "NULL 1"]);
    let rows = fixture.ask(&format!("SELECT peer IS NULL AS alone, count(*) {DEV} GROUP BY alone"));
    assert_eq!(rows, ["1 4", "0 2"]);
    for (sql, position) in [
        ("SELECT rx_bytes AS r FROM proc.net.dev WHERE r > 1", 46),
        ("SELECT rx_bytes AS r, r FROM proc.net.dev", 23),
        ("SELECT rx_bytes AS r, sum(r) FROM proc.net.dev GROUP BY r", 27),
    ] {
        let error = error(sql, Asker::Person);
        assert_eq!(
            error.to_string(),
            format!(
                "line 1, column {position}: `r` is an alias of the select list: it is known in GROUP BY and ORDER BY only"
            )
        );
        assert_eq!(error.kind, Kind::Text);
    }
}

#[test]
fn rule_22_in_group_by_a_column_goes_before_an_alias_and_in_order_by_after_it() {
    let fixture = devices();
    // Grouped by the handle: both unnamed and named scopes stay apart, whatever they are called.
    let rows = fixture.ask(&format!("SELECT name(netns) AS netns, count(*) {DEV} GROUP BY netns"));
    assert_eq!(rows, ["host 3", "blue 2", "NULL 1"]);
    let rows =
        fixture.ask(&format!("SELECT drift AS rx_bytes, name {DEV} WHERE drift IS NOT NULL ORDER BY rx_bytes, name"));
    assert_eq!(rows, ["-1 eth0", "-1 lo", "0 lo", "7 eth0"]);
}

#[test]
fn rule_24_icmp_messages_always_resolve() {
    let query = plan("SELECT netns, IcmpMsg.InType3 FROM proc.net.snmp", &catalogue(), Asker::Probe).unwrap();
    let column = &query.columns[1];
    assert_eq!((column.name.as_str(), column.ty, column.nullable), ("IcmpMsg.InType3", Type::U64, true));
    assert!(query.fields[1].nullable);
    assert_eq!(error("SELECT IcmpMsg. FROM proc.net.snmp", Asker::Probe).kind, Kind::Text);
    assert_eq!(error("SELECT Icmp.InType3 FROM proc.net.snmp", Asker::Probe).kind, Kind::Absent);
}

#[test]
fn rule_24_long_tables_are_tables() {
    let query = plan("SELECT netns, key, value FROM proc.net.snmp.long", &catalogue(), Asker::Probe).unwrap();
    assert_eq!((query.table.as_str(), query.per), ("proc.net.snmp.long", Per::Namespace));
}
