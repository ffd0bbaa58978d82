use super::*;

const IN: &str = "netns IN (SELECT netns FROM proc.net.sockstat WHERE TCP.inuse > 1)";

fn plan_of(condition: &str) -> Query {
    devices().plan(&format!("SELECT name FROM proc.net.dev d WHERE {condition}"))
}

#[test]
fn rule_25_a_subquery_says_where_and_the_rest_which_rows() {
    let of_rows = |condition: &str| plan_of(condition).filter;
    for (condition, rows, subqueries) in [
        (IN.to_owned(), None, 1),
        (format!("({IN})"), None, 1),
        (format!("{IN} AND name = 'lo'"), of_rows("name = 'lo'"), 1),
        (format!("name = 'lo' AND ((up) AND ({IN}))"), of_rows("name = 'lo' AND up"), 1),
        (format!("{IN} AND (name = 'lo' OR up) AND {IN}"), of_rows("name = 'lo' OR up"), 2),
        (format!("d.{IN} AND NOT up"), of_rows("NOT up"), 1),
    ] {
        let query = plan_of(&condition);
        assert_eq!((&query.filter, query.within.len()), (&rows, subqueries), "{condition}");
        let inner = &query.within[0];
        let columns: Vec<&str> = inner.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((inner.table.as_str(), columns), ("proc.net.sockstat", vec!["netns", "TCP.inuse"]), "{condition}");
    }
    assert!(plan_of("up").within.is_empty());
}

#[test]
fn rule_25_the_outer_query_is_any_and_so_is_the_inner_filter() {
    let grouped = format!("SELECT name, count(*) FROM proc.net.dev WHERE {IN} GROUP BY name ORDER BY name LIMIT 3");
    assert_eq!(devices().plan(&grouped).within.len(), 1);
    // Answered as any other, once the rows are there.
    assert_eq!(devices().ask(&grouped), ["eth0 2", "lo 3", "veth1 1"]);
    let inner = "SELECT s.netns AS n FROM proc.net.sockstat s WHERE name(s.netns) <> 'host' AND maybe(nothing) IS NULL";
    let query = plan_of(&format!("netns IN ({inner})"));
    assert_eq!(query.within.len(), 1);
    for asker in [Asker::Person, Asker::Probe] {
        assert!(plan(&format!("SELECT name FROM proc.net.dev WHERE {IN}"), &catalogue(), asker).is_ok());
    }
}

#[test]
fn rule_25_the_namespaces_of_a_subquery_are_each_told_once() {
    let fixture = devices();
    let namespaces = |condition: &str| {
        let query = plan_of(&format!("netns IN (SELECT netns FROM proc.net.dev WHERE {condition})"));
        let inner = &query.within[0];
        let column = |wanted: &TableColumn| &fixture.columns.iter().find(|(name, _)| *name == wanted.name).unwrap().1;
        let columns: Vec<&Column> = inner.columns.iter().map(column).collect();
        inner.namespaces(fixture.rows, &columns, &name)
    };
    assert_eq!(namespaces("TRUE"), (vec![1, 2, 3], 0));
    assert_eq!(namespaces("name = 'eth0'"), (vec![1, 2], 0));
    assert_eq!(namespaces("name(netns) = 'blue'"), (vec![2], 0));
    assert_eq!(namespaces("FALSE"), (vec![], 0));
    assert_eq!(namespaces("rx_bytes + 1 > 21"), (vec![2], 1), "an overflow is counted, and NULL");
}

#[test]
fn rule_25_what_a_subquery_may_not_be_is_refused_with_its_place() {
    let sub = |rest: &str| format!("netns IN (SELECT netns FROM proc.net.sockstat {rest})");
    for (condition, word, said) in [
        // Where it stands.
        (format!("{IN} OR up"), "netns", "beside AND"),
        (format!("NOT {IN}"), "netns", "beside AND"),
        (format!("NOT (up AND {IN})"), "netns", "beside AND"),
        (format!("({IN}) = TRUE"), "netns", "beside AND"),
        (format!("({IN}) IS NULL"), "netns", "beside AND"),
        ("netns NOT IN (SELECT netns FROM proc.net.sockstat)".into(), "netns", "turn the condition"),
        // What is asked for.
        ("name IN (SELECT netns FROM proc.net.sockstat)".into(), "name", "takes netns on its left, not `name`"),
        ("peer IN (SELECT netns FROM proc.net.sockstat)".into(), "peer", "takes netns on its left, not `peer`"),
        ("name(netns) IN (SELECT netns FROM proc.net.sockstat)".into(), "name", "not `name(netns)`"),
        ("(netns, up) IN (SELECT netns FROM proc.net.sockstat)".into(), "netns", "one by one"),
        ("5 IN (SELECT netns FROM proc.net.sockstat)".into(), "5", "a literal"),
        // What the subquery gives.
        ("netns IN (SELECT name(netns) FROM proc.net.sockstat)".into(), "SELECT", "selects netns and nothing else"),
        ("netns IN (SELECT TCP.inuse FROM proc.net.sockstat)".into(), "SELECT", "selects netns and nothing else"),
        ("netns IN (SELECT peer FROM proc.net.dev)".into(), "SELECT", "selects netns and nothing else"),
        ("netns IN (SELECT netns, key FROM proc.net.snmp.long)".into(), "SELECT", "selects netns and nothing else"),
        ("netns IN (SELECT * FROM proc.net.sockstat)".into(), "SELECT", "selects netns and nothing else"),
        ("netns IN (SELECT count(*) FROM proc.net.sockstat)".into(), "SELECT", "no aggregates"),
        (sub("GROUP BY netns"), "SELECT", "no GROUP BY"),
        (sub("ORDER BY netns"), "netns)", "no ORDER BY"),
        (sub("LIMIT 3"), "LIMIT", "no LIMIT"),
        (sub(&format!("WHERE {IN}")), "netns IN (SELECT netns FROM proc.net.sockstat WHERE TCP", "none within itself"),
        (sub(&format!("WHERE up OR {IN}")), "up", "no column `up`"),
        (sub(&format!("WHERE NOT {IN}")), "netns IN (SELECT netns FROM proc.net.sockstat WHERE TCP", "beside AND"),
        ("netns IN (SELECT DISTINCT netns FROM proc.net.sockstat)".into(), "DISTINCT", "GROUP BY"),
        (
            "netns IN (SELECT netns FROM proc.net.snmp UNION SELECT netns FROM proc.net.dev)".into(),
            "UNION",
            "a query for",
        ),
        ("netns IN (SELECT netns FROM proc.net.nothing)".into(), "proc.net.nothing", "no table"),
        ("netns IN (SELECT netns FROM proc.softnet_stat)".into(), "netns FROM proc.soft", "no column `netns`"),
        ("netns IN (SELECT d.netns FROM proc.net.sockstat)".into(), "d.netns", "no column `d.netns`"),
        ("netns = (SELECT netns FROM proc.net.sockstat)".into(), "SELECT", "stands only in WHERE, as netns IN"),
    ] {
        let sql = format!("SELECT kind FROM proc.net.dev WHERE {condition}");
        let error = error(&sql, Asker::Person);
        assert!(error.message.contains(said), "{sql}: {error}");
        let start = sql.find("WHERE").unwrap();
        let column = error.position.map(|position| position.column as usize - 1);
        assert_eq!(column, sql[start..].find(word).map(|at| start + at), "{sql}: {error}");
    }
    let of_node =
        error("SELECT dropped FROM proc.softnet_stat WHERE netns IN (SELECT netns FROM proc.net.dev)", Asker::Person);
    assert!(of_node.message.starts_with("proc.softnet_stat is not read namespace by namespace"), "{of_node}");
    let column = error(&format!("SELECT {IN} FROM proc.net.dev"), Asker::Person);
    assert!(column.message.contains("stands only in WHERE, as netns IN"), "{column}");
}

#[test]
fn rule_25_a_table_that_is_not_here_is_absent_also_within() {
    let sql = "SELECT name FROM proc.net.dev WHERE netns IN (SELECT netns FROM proc.net.snmp6)";
    assert_eq!(error(sql, Asker::Probe).kind, Kind::Absent);
}
