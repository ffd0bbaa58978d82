use super::*;

/// What is refused, the word that the position points at, and a part of what is said.
const REFUSED: &[(&str, &str, &str)] = &[
    // Clauses of the query.
    ("WITH x AS (SELECT 1) SELECT netns FROM x", "WITH", "write one SELECT"),
    ("SELECT netns FROM proc.net.dev UNION SELECT netns FROM proc.net.snmp", "UNION", "a query for each"),
    ("SELECT netns FROM proc.net.dev EXCEPT SELECT netns FROM proc.net.snmp", "EXCEPT", "a query for each"),
    ("SELECT netns FROM proc.net.dev INTERSECT SELECT netns FROM proc.net.snmp", "INTERSECT", "a query for each"),
    ("SELECT netns FROM proc.net.dev LIMIT 5 OFFSET 2", "OFFSET", "OFFSET is not supported"),
    ("SELECT netns FROM proc.net.dev OFFSET 2", "OFFSET", "OFFSET is not supported"),
    ("SELECT netns FROM proc.net.dev FETCH FIRST 5 ROWS ONLY", "FETCH", "write LIMIT"),
    ("SELECT netns FROM proc.net.dev FOR UPDATE", "FOR", "FOR is not supported"),
    ("SELECT netns FROM proc.net.dev LIMIT -1", "1", "LIMIT takes a whole number"),
    ("SELECT netns FROM proc.net.dev LIMIT 1.5", "1.5", "LIMIT takes a whole number"),
    (
        "SELECT netns FROM proc.net.dev; SELECT netns FROM proc.net.snmp",
        "SELECT netns FROM proc.net.snmp",
        "one statement",
    ),
    ("SELECT netns FROM proc.net.dev nonsense here", "here", "not understood"),
    ("INSERT INTO proc.net.dev VALUES (1)", "INSERT", "begins with SELECT"),
    ("DELETE FROM proc.net.dev", "DELETE", "begins with SELECT"),
    ("EXPLAIN SELECT netns FROM proc.net.dev", "EXPLAIN", "begins with SELECT"),
    ("(SELECT netns FROM proc.net.dev)", "(", "begins with SELECT"),
    // Clauses of the select.
    ("SELECT DISTINCT netns FROM proc.net.dev", "DISTINCT", "GROUP BY"),
    ("SELECT DISTINCT ON (netns) netns FROM proc.net.dev", "DISTINCT", "GROUP BY"),
    ("SELECT ALL netns FROM proc.net.dev", "ALL", "leave it out"),
    ("SELECT count(*) FROM proc.net.dev GROUP BY name HAVING count(*) > 1", "HAVING", "take the groups"),
    ("SELECT netns INTO x FROM proc.net.dev", "INTO", "leave it out"),
    ("SELECT count(*) OVER w FROM proc.net.dev WINDOW w AS (PARTITION BY name)", "WINDOW", "use GROUP BY"),
    ("SELECT FROM proc.net.dev", "SELECT", "no columns are selected"),
    ("SELECT netns", "SELECT", "FROM is missing"),
    ("SELECT netns FROM proc.net.dev GROUP BY ALL", "GROUP", "name the columns"),
    ("SELECT netns FROM proc.net.dev GROUP BY ROLLUP (netns)", "netns\0", "grouping sets"),
    ("SELECT netns FROM proc.net.dev GROUP BY CUBE (netns)", "netns\0", "grouping sets"),
    ("SELECT netns FROM proc.net.dev GROUP BY 1", "1", "not their numbers"),
    ("SELECT netns FROM proc.net.dev ORDER BY 1", "1", "not their numbers"),
    ("SELECT netns FROM proc.net.dev ORDER BY netns USING <", "USING", "ASC or DESC"),
    // FROM.
    ("SELECT d.netns FROM proc.net.dev d JOIN proc.net.snmp s ON d.netns = s.netns", "JOIN", "one table"),
    ("SELECT d.netns FROM proc.net.dev d NATURAL JOIN proc.net.snmp", "JOIN", "one table"),
    ("SELECT netns FROM proc.net.dev, proc.net.snmp", "proc.net.snmp", "one table"),
    ("SELECT netns FROM (SELECT netns FROM proc.net.dev) d", "FROM", "ask the table itself"),
    ("SELECT netns FROM proc.net.dev(1)", "proc.net.dev", "like a function"),
    ("SELECT netns FROM LATERAL proc.net.dev(1)", "FROM", "the name of one table"),
    ("SELECT netns FROM unnest(netns)", "FROM", "the name of one table"),
    ("SELECT netns FROM proc.net.dev d(a, b)", "d(", "renamed in the select list"),
    ("SELECT netns FROM proc.net.dev TABLESAMPLE SYSTEM (10)", "proc.net.dev", "nothing more"),
    // The select list.
    ("SELECT rx_bytes & 1 FROM proc.net.dev", "rx_bytes", "there are + - * / % and comparisons"),
    ("SELECT rx_bytes ^ 2 FROM proc.net.dev", "rx_bytes", "there are + - * / % and comparisons"),
    ("SELECT +drift FROM proc.net.dev", "drift", "there are + - * / % and comparisons"),
    ("SELECT name || kind FROM proc.net.dev", "name", "there are + - * / % and comparisons"),
    ("SELECT rx_bytes + name FROM proc.net.dev", "name", "`name` is a text: + - * / % take integers"),
    ("SELECT -up FROM proc.net.dev", "up", "`up` is a truth value: + - * / % take integers"),
    ("SELECT netns * 2 FROM proc.net.dev", "netns", "`netns` is a handle of who: + - * / % take integers"),
    ("SELECT rx_bytes + '1' FROM proc.net.dev", "'1'", "'1' is a text: + - * / % take integers"),
    ("SELECT rx_bytes + TRUE FROM proc.net.dev", "TRUE", "true is a truth value: + - * / % take integers"),
    ("SELECT rx_bytes + $1 FROM proc.net.dev", "$1", "no parameters"),
    ("SELECT rx_bytes + 1.5 FROM proc.net.dev", "1.5", "is no integer"),
    ("SELECT rx_bytes + (name = kind) FROM proc.net.dev", "name", "a comparison gives no number"),
    ("SELECT rx_bytes + count(*) FROM proc.net.dev", "count", "of many rows"),
    ("SELECT rx_bytes + name(netns) FROM proc.net.dev", "name(", "name(x) is a text"),
    ("SELECT maybe(rx_bytes + 1) FROM proc.net.dev", "rx_bytes", "the name of a column"),
    ("SELECT name(drift + 1) FROM proc.net.dev", "name(", "`drift + 1` has no names"),
    ("SELECT name = kind FROM proc.net.dev", "name", "so does a comparison that is a column"),
    ("SELECT up = TRUE FROM proc.net.dev", "up", "so does a comparison that is a column"),
    ("SELECT netns = peer FROM proc.net.dev", "netns", "so does a comparison that is a column"),
    ("SELECT 1 < 2 FROM proc.net.dev", "1 <", "a comparison of literals"),
    ("SELECT 1 + 2 FROM proc.net.dev", "1 +", "a literal is no column"),
    ("SELECT -(1) FROM proc.net.dev", "1)", "a literal is no column"),
    ("SELECT 1 / 0 FROM proc.net.dev", "1 /", "a literal is no column"),
    (
        "SELECT rx_bytes + (18446744073709551615 + 1) FROM proc.net.dev",
        "18446744073709551615",
        "does not fit into 64 bits",
    ),
    ("SELECT rx_bytes + -(9223372036854775809) FROM proc.net.dev", "9223372036854775809", "does not fit into 64 bits"),
    ("SELECT rx_bytes::text FROM proc.net.dev", "rx_bytes", "casts are not supported"),
    ("SELECT CAST(rx_bytes AS text) FROM proc.net.dev", "rx_bytes", "casts are not supported"),
    ("SELECT NOT up FROM proc.net.dev", "up", "a condition is no column"),
    ("SELECT 1 FROM proc.net.dev", "1", "a literal is no column"),
    ("SELECT 'x' FROM proc.net.dev", "'x'", "a literal is no column"),
    ("SELECT NULL FROM proc.net.dev", "NULL", "a literal is no column"),
    ("SELECT name[1] FROM proc.net.dev", "name", "array indices"),
    ("SELECT CASE WHEN up THEN 1 END FROM proc.net.dev", "CASE", "CASE is not supported"),
    ("SELECT (SELECT netns FROM proc.net.dev) FROM proc.net.dev", "SELECT netns", "a SELECT within a query"),
    ("SELECT EXISTS (SELECT netns FROM proc.net.dev) FROM proc.net.dev", "SELECT netns", "a SELECT within a query"),
    ("SELECT (netns, name) FROM proc.net.dev", "netns", "one by one"),
    ("SELECT d.* FROM proc.net.dev d", "*", "write `*` without a table"),
    ("SELECT *, count(*) FROM proc.net.dev", "*", "cannot stand beside"),
    ("SELECT * FROM proc.net.dev GROUP BY netns", "*", "cannot stand beside"),
    ("SELECT *, rx_bytes FROM proc.net.dev", "rx_bytes", "two result columns are called `rx_bytes`"),
    ("SELECT name, kind AS name FROM proc.net.dev", "kind", "two result columns are called `name`"),
    ("SELECT sum(drift), SUM(drift) FROM proc.net.dev", "SUM", "two result columns are called `sum(drift)`"),
    ("SELECT name AS \"\" FROM proc.net.dev", "name", "may not be empty"),
    ("SELECT (kind IS NULL) IS NULL FROM proc.net.dev", "kind", "IS NULL"),
    // Functions.
    ("SELECT nam(netns) FROM proc.net.dev", "nam(", "no function `nam`; did you mean `name`"),
    ("SELECT \"COUNT\"(*) FROM proc.net.dev", "\"COUNT\"", "no function `COUNT`; did you mean `count`?"),
    ("SELECT pg.count(*) FROM proc.net.dev", "pg", "no function `pg.count`"),
    ("SELECT histogram(name) FROM proc.net.dev", "histogram", "histogram(x) takes integers, and `name` is none"),
    ("SELECT histogram(1) FROM proc.net.dev", "1", "a literal is no column"),
    ("SELECT histogram(*) FROM proc.net.dev", "histogram", "takes one column"),
    ("SELECT histogram(rx_bytes) AS h FROM proc.net.dev", "h FROM", "bucket, count and sum"),
    ("SELECT histogram(rx_bytes), count(*) FROM proc.net.dev", "count", "is the only aggregate of its query"),
    ("SELECT sum(drift), histogram(rx_bytes) FROM proc.net.dev", "histogram", "is the only aggregate of its query"),
    ("SELECT histogram(drift), histogram(rx_bytes) FROM proc.net.dev", "histogram(rx_bytes)", "is the only aggregate"),
    ("SELECT histogram(drift) FROM proc.net.dev ORDER BY sum(rx_bytes)", "sum", "is the only aggregate of its query"),
    (
        "SELECT histogram(drift) FROM proc.net.dev ORDER BY histogram(drift)",
        "histogram(drift)\0",
        "name bucket, count or sum",
    ),
    ("SELECT netns FROM proc.net.dev GROUP BY histogram(drift)", "histogram", "name bucket, count or sum"),
    ("SELECT histogram(drift) FROM proc.net.dev GROUP BY count", "count", "made of groups"),
    ("SELECT 2 * histogram(drift) FROM proc.net.dev", "histogram", "of many rows"),
    ("SELECT sum(histogram(drift)) FROM proc.net.dev", "histogram", "of many rows"),
    ("SELECT histogram(sum(drift)) FROM proc.net.dev", "sum", "of many rows"),
    ("SELECT netns FROM proc.net.dev WHERE histogram(drift) > 1", "histogram", "not in WHERE"),
    ("SELECT histogram(drift) FROM proc.net.dev WHERE bucket > 1", "bucket", "known in GROUP BY and ORDER BY only"),
    ("SELECT netns, histogram(drift) FROM proc.net.dev", "netns", "may differ within a group"),
    (
        "SELECT netns AS sum, histogram(drift) FROM proc.net.dev GROUP BY netns",
        "histogram",
        "two result columns are called `sum`",
    ),
    ("SELECT *, histogram(drift) FROM proc.net.dev", "*", "cannot stand beside"),
    ("SELECT avg(rx_bytes) FROM proc.net.dev", "avg", "sum(x) and count(x)"),
    ("SELECT count(DISTINCT name) FROM proc.net.dev", "count", "DISTINCT is not supported"),
    ("SELECT count(ALL name) FROM proc.net.dev", "count", "leave ALL out"),
    ("SELECT count(*) FILTER (WHERE up) FROM proc.net.dev", "count", "use WHERE"),
    ("SELECT count(*) OVER () FROM proc.net.dev", "count", "OVER is not supported"),
    ("SELECT sum(rx_bytes ORDER BY name) FROM proc.net.dev", "sum", "only a column"),
    ("SELECT sum(rx_bytes) WITHIN GROUP (ORDER BY name) FROM proc.net.dev", "sum", "nothing may follow"),
    ("SELECT sum(x => rx_bytes) FROM proc.net.dev", "sum", "arguments have no names"),
    ("SELECT sum((SELECT netns FROM proc.net.dev)) FROM proc.net.dev", "SELECT netns", "a SELECT within"),
    ("SELECT sum(*) FROM proc.net.dev", "sum", "takes one column"),
    ("SELECT sum(rx_bytes, drift) FROM proc.net.dev", "sum", "takes one column"),
    ("SELECT count() FROM proc.net.dev", "count", "takes one column"),
    ("SELECT count(d.*) FROM proc.net.dev d", "count", "takes one column"),
    ("SELECT sum(name) FROM proc.net.dev", "sum", "takes integers, and `name` is none"),
    ("SELECT min(netns) FROM proc.net.dev", "min", "takes integers, and `netns` is none"),
    ("SELECT max(up) FROM proc.net.dev", "max", "takes integers, and `up` is none"),
    ("SELECT sum(count(*)) FROM proc.net.dev", "count", "of many rows"),
    ("SELECT sum(rx_bytes > 1) FROM proc.net.dev", "sum", "sum(x) takes integers, and `rx_bytes > 1` is none"),
    ("SELECT sum(2 * 2) FROM proc.net.dev", "2", "a literal is no column"),
    ("SELECT count(*) IS NULL FROM proc.net.dev", "count", "of many rows"),
    ("SELECT user FROM proc.net.dev", "user", "in double quotes"),
    ("SELECT name(name) FROM proc.net.dev", "name(", "`name` is a text already"),
    ("SELECT name(rx_bytes) FROM proc.net.dev", "name(", "`rx_bytes` has no names"),
    ("SELECT name(netns, 'x') FROM proc.net.dev", "name(", "is for tracepoints"),
    ("SELECT maybe(name(netns)) FROM proc.net.dev", "name(netns)", "the name of a column"),
    ("SELECT maybe(1) FROM proc.net.dev", "1", "the name of a column"),
    // WHERE.
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes > (SELECT 1)", "SELECT 1", "a SELECT within"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes = ANY (1)", "rx_bytes", "a SELECT within"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes + 1", "rx_bytes", "neither true nor false"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes + 1 = 'x'", "rx_bytes", "cannot be compared"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes + name > 2", "name >", "`name` is a text"),
    ("SELECT netns FROM proc.net.dev WHERE name LIKE 'veth%'", "name", "patterns are not supported"),
    ("SELECT netns FROM proc.net.dev WHERE name ~ 'veth'", "name", "this operator is not supported"),
    ("SELECT netns FROM proc.net.dev WHERE name || 'x' = 'y'", "name", "this operator is not supported"),
    ("SELECT netns FROM proc.net.dev WHERE kind IS DISTINCT FROM 'x'", "kind", "IS DISTINCT FROM"),
    ("SELECT netns FROM proc.net.dev WHERE up IS TRUE", "up", "IS TRUE and IS FALSE"),
    ("SELECT netns FROM proc.net.dev WHERE up IS UNKNOWN", "up", "use IS NULL"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes", "rx_bytes", "neither true nor false"),
    ("SELECT netns FROM proc.net.dev WHERE 1", "1", "neither true nor false"),
    ("SELECT netns FROM proc.net.dev WHERE NOT rx_bytes", "rx_bytes", "neither true nor false"),
    ("SELECT netns FROM proc.net.dev WHERE sum(rx_bytes) > 1", "sum", "not in WHERE"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes = '1'", "rx_bytes", "cannot be compared"),
    ("SELECT netns FROM proc.net.dev WHERE name = 1", "name", "cannot be compared"),
    ("SELECT netns FROM proc.net.dev WHERE name = rx_bytes", "name", "cannot be compared"),
    ("SELECT netns FROM proc.net.dev WHERE name IN ('a', 1)", "1", "cannot be compared"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes IN (drift)", "drift", "IN takes literals"),
    ("SELECT netns FROM proc.net.dev WHERE up = 1", "up", "cannot be compared"),
    ("SELECT netns FROM proc.net.dev WHERE 'a' = 1", "'a'", "cannot be compared"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes BETWEEN 'a' AND 2", "rx_bytes", "cannot be compared"),
    ("SELECT netns FROM proc.net.dev WHERE up BETWEEN TRUE AND FALSE", "up", "not a condition"),
    ("SELECT netns FROM proc.net.dev WHERE netns = 1", "netns = 1", "name(netns) = 'host'"),
    ("SELECT netns FROM proc.net.dev WHERE netns = 'host'", "netns = 'host'", "name(netns) = 'host'"),
    ("SELECT netns FROM proc.net.dev WHERE netns IN (1, 2)", "1", "name(netns) = 'host'"),
    ("SELECT netns FROM proc.net.dev WHERE netns < peer", "netns < peer", "has no order"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes > 18446744073709551616", "18446744073709551616", "is no integer"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes > -9223372036854775809", "9223372036854775809", "is no integer"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes > 1.5", "1.5", "is no integer"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes > 1e3", "1e3", "is no integer"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes > 0x10", "0x10", "literals are"),
    ("SELECT netns FROM proc.net.dev WHERE rx_bytes > $1", "$1", "no parameters"),
    ("SELECT netns FROM proc.net.dev WHERE name = E'a'", "E'a'", "literals are"),
    // Groups.
    ("SELECT rx_bytes + 1, count(*) FROM proc.net.dev", "rx_bytes", "may differ within a group"),
    ("SELECT rx_bytes + drift FROM proc.net.dev GROUP BY rx_bytes", "rx_bytes", "may differ within a group"),
    ("SELECT name, count(*) FROM proc.net.dev", "name", "may differ within a group"),
    ("SELECT netns, name FROM proc.net.dev GROUP BY netns", "name", "may differ within a group"),
    ("SELECT netns, count(*) FROM proc.net.dev GROUP BY name(netns)", "netns", "may differ within a group"),
    ("SELECT maybe(nothing), count(*) FROM proc.net.dev", "maybe", "may differ within a group"),
    ("SELECT count(*) FROM proc.net.dev GROUP BY count(*)", "count(*)\0", "made of groups"),
    ("SELECT count(*) AS n FROM proc.net.dev GROUP BY n", "n\0", "made of groups"),
    ("SELECT netns FROM proc.net.dev GROUP BY netns ORDER BY name", "name", "may differ within a group"),
    ("SELECT netns FROM proc.net.dev ORDER BY count(*)", "count", "needs GROUP BY"),
];

#[test]
fn rule_26_what_is_not_supported_is_refused_with_its_place() {
    for (sql, word, said) in REFUSED {
        let error = error(sql, Asker::Person);
        assert!(error.message.contains(said), "{sql}: {error}");
        assert_eq!(error.kind, Kind::Text, "{sql}: {error}");
        // The last one of a word that ends in NUL, else the first one.
        let place = match word.strip_suffix('\0') {
            Some(word) => sql.rfind(word),
            None => sql.find(word),
        };
        let column = error.position.map(|position| (position.line, position.column as usize - 1));
        assert_eq!(column, place.map(|place| (1, place)), "{sql}: {error}");
    }
}

#[test]
fn rule_26_what_is_for_people_is_refused_to_probes() {
    for (sql, column) in [
        ("SELECT * FROM proc.net.dev", 8),
        ("SELECT netns FROM proc.net.dev ORDER BY netns", 32),
        ("SELECT netns FROM proc.net.dev LIMIT 3", 32),
    ] {
        assert!(plan(sql, &catalogue(), Asker::Person).is_ok(), "{sql}");
        let error = error(sql, Asker::Probe);
        assert!(error.message.contains("is for people, not for probes: "), "{error}");
        assert_eq!(error.position, Some(Position { line: 1, column }), "{error}");
        assert_eq!(error.kind, Kind::Text);
    }
}

#[test]
fn what_this_node_lacks_is_absent_with_near_names() {
    for (sql, kind, said) in [
        (
            "SELECT netns, TCP.in_use FROM proc.net.sockstat",
            Kind::Absent,
            "line 1, column 15: no column `TCP.in_use` in proc.net.sockstat; did you mean `TCP.inuse`?",
        ),
        (
            "SELECT TCP.orphan FROM proc.net.sockstat",
            Kind::Text,
            "line 1, column 8: `TCP.orphan` is of the whole node: ask proc.sockstat",
        ),
        (
            "SELECT maybe(TCP.orphan) FROM proc.net.sockstat",
            Kind::Text,
            "line 1, column 14: `TCP.orphan` is of the whole node: ask proc.sockstat",
        ),
        (
            "SELECT proc.net.dev.rx_bytes FROM proc.net.dev",
            Kind::Absent,
            "line 1, column 8: no column `proc.net.dev.rx_bytes` in proc.net.dev; did you mean `rx_bytes`?",
        ),
        (
            "SELECT netns\n  FROM proc.net.snmp6",
            Kind::Absent,
            "line 2, column 8: this node cannot give proc.net.snmp6: IPv6 is off in this kernel",
        ),
        (
            "SELECT netns FROM proc.net.sokstat",
            Kind::Absent,
            "line 1, column 19: no table `proc.net.sokstat` on this node; did you mean `proc.net.sockstat`?",
        ),
    ] {
        let error = error(sql, Asker::Probe);
        assert_eq!((error.to_string().as_str(), error.kind), (said, kind));
    }
}

#[test]
fn what_cannot_be_read_says_where() {
    for (sql, said) in [
        ("", "the query is empty: write SELECT columns FROM table"),
        (" -- only a comment", "the query is empty: write SELECT columns FROM table"),
        ("SELECT 'x", "line 1, column 8: Unterminated string literal"),
        ("SELECT netns FROM", "cannot read the query: Expected: identifier, found: EOF"),
        ("SELECT netns FROM proc.net.dev WHERE", "cannot read the query: Expected: an expression, found: EOF"),
        ("SELECT netns,\n FROM, x", "line 2, column 6: cannot read the query: Expected an expression, found: FROM"),
    ] {
        assert_eq!(error(sql, Asker::Person).to_string(), said, "{sql}");
    }
}

/// The parser recurses, and so does the freeing of its tree: neither may overflow half of a thread's usual 2 MiB.
#[test]
fn no_text_overflows_the_stack() {
    let opening = [
        "(",
        "[",
        "{",
        "NOT ",
        "- ",
        "~",
        "a.b(",
        "CASE ",
        "CASE WHEN ",
        "CAST(",
        "a[",
        "EXISTS(",
        "INTERVAL ",
        "ARRAY[",
    ]
    .into_iter()
    .chain([
        "(SELECT ",
        "SELECT (SELECT ",
        "EXTRACT(DAY FROM ",
        "a IN (",
        "a BETWEEN ",
        "x::ARRAY<",
        "x::a(",
        "name(",
        "x::STRUCT<a ",
    ])
    .map(|part| part.repeat(MAX_BYTES));
    let chained = [
        "+1",
        " OR a",
        " AND a",
        "=TRUE",
        " IS NULL",
        "::a",
        "[1]",
        " COLLATE a",
        " IN (1)",
        " LIKE a",
        "->a",
        ".a",
        "(a)",
    ]
    .into_iter()
    .chain([
        " AT TIME ZONE 'a'",
        " BETWEEN 1 AND 2",
        " UNION SELECT 1",
        " NOTNULL",
        " = ANY(a)",
        ",a",
        "::a[]",
        " a",
        "!",
    ])
    .map(|part| format!("a{}", part.repeat(MAX_BYTES)));
    let from = ["(", "a JOIN ", "a,", "(SELECT a FROM ", "a JOIN (", "LATERAL (", "a CROSS JOIN ", "XMLTABLE("]
        .map(|part| part.repeat(MAX_BYTES));
    let mut texts: Vec<String> = Vec::new();
    for part in opening.chain(chained) {
        texts.push(format!("SELECT {part}"));
        texts.push(format!("SELECT a FROM proc.net.dev WHERE {part}"));
        texts.push(format!("SELECT a FROM proc.net.dev GROUP BY {part}"));
    }
    texts.extend(from.map(|part| format!("SELECT a FROM {part}")));
    let run = move || {
        for mut text in texts {
            // Whole, and cut where the last bracket may be closed again.
            assert!(plan(&text, &catalogue(), Asker::Person).is_err());
            text.truncate(MAX_BYTES);
            assert!(plan(&text, &catalogue(), Asker::Person).is_err(), "{text}");
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn long_chains_are_fine() {
    for (part, rows) in [(" OR drift = 7", 1), (" OR netns = netns", 6), (" AND name IN ('eth0')", 1)] {
        let mut sql = "SELECT name FROM proc.net.dev WHERE drift = 7".to_owned();
        while sql.len() + part.len() <= MAX_BYTES {
            sql.push_str(part);
        }
        assert_eq!(devices().ask(&sql).len(), rows, "{part}");
    }
    let error = error(&"x".repeat(MAX_BYTES + 1), Asker::Person);
    assert_eq!(error.message, "a query may have 8192 bytes, this one has 8193: shorten it, or make it two");
}
