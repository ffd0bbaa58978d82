//! What is refused, in which words, and whether another kernel may have it.

use super::{
    kernel::{self, Options},
    world::refused,
};
use crate::query::{Asker, Kind, QueryError, plan};

fn error(sql: &str) -> QueryError {
    error_on(kernel::NEW, sql)
}

fn error_on(options: Options, sql: &str) -> QueryError {
    match plan(sql, &kernel::catalogue(options), Asker::Probe) {
        Ok(_) => panic!("accepted: {sql}"),
        Err(error) => error,
    }
}

#[test]
fn rule_26_what_a_kernel_lacks_is_absent() {
    for (sql, message) in [
        (
            "SELECT netns FROM hook.kfree_skbs",
            "line 1, column 19: this kernel has no tracepoint `kfree_skbs`; did you mean `kfree_skb`?",
        ),
        (
            "SELECT reasn FROM hook.tcp_send_reset",
            "line 1, column 8: hook.tcp_send_reset has no argument `reasn`; did you mean `reason`?; it has sk: struct sock *, skb: struct sk_buff *, reason: enum sk_rst_reason",
        ),
        (
            "SELECT skb.lenn FROM hook.kfree_skb",
            "line 1, column 8: `struct sk_buff` has no field `lenn`; did you mean `len`?",
        ),
        (
            "SELECT dev.queues[4].depth FROM hook.timer",
            "line 1, column 8: `dev.queues` is struct net_queue[4]: there is no element 4",
        ),
        (
            "SELECT (sk::tcp_sok).snd_cwnd FROM hook.tcp_receive_reset",
            "line 1, column 9: this kernel has no struct `tcp_sok`; did you mean `tcp_sock`?",
        ),
        (
            "SELECT saddr FROM hook.tcp_receive_reset",
            "line 1, column 8: `saddr` cannot be told at hook.tcp_receive_reset: no argument is a packet",
        ),
        (
            "SELECT laddr FROM hook.timer",
            "line 1, column 8: `laddr` cannot be told at hook.timer: no argument is a socket, or leads to one",
        ),
        (
            "SELECT protocol FROM hook.timer",
            "line 1, column 8: `protocol` cannot be told at hook.timer: no argument is a socket or a packet",
        ),
        (
            "SELECT netns FROM hook.quiet",
            "line 1, column 8: `netns` cannot be told at hook.quiet: no argument is a socket, a packet, a device or a namespace",
        ),
        (
            "SELECT netns FROM hook.kfree_skb WHERE name(reason) = 'NO_SOKET'",
            "line 1, column 40: enum skb_drop_reason has no member `NO_SOKET` on this kernel; did you mean `NO_SOCKET`?; maybe('NO_SOKET') takes it as one that nothing has",
        ),
        (
            "SELECT name(newstate, 'TCP_ESTABLISH') FROM hook.inet_sock_set_state",
            "line 1, column 8: no enum of this kernel has a member `TCP_ESTABLISH`",
        ),
        (
            "SELECT stack FROM hook.quiet",
            "line 1, column 8: stacks are no column: events of a probe have them if the configuration says `stack: true` of it",
        ),
        ("SELECT x FROM hook.quiet", "line 1, column 8: hook.quiet has no argument `x`; it has nothing"),
    ] {
        let error = error(sql);
        assert_eq!((error.to_string().as_str(), error.kind), (message, Kind::Absent), "{sql}");
    }
}

#[test]
fn rule_26_what_older_kernels_lack_is_absent() {
    for (options, sql, message) in [
        (
            kernel::WITHOUT_CAST,
            "SELECT (sk::tcp_sock).snd_cwnd FROM hook.tcp_receive_reset",
            "`sk::tcp_sock` needs bpf_rdonly_cast, which came with Linux 6.2",
        ),
        (
            kernel::WITHOUT_COOKIE,
            "SELECT netns FROM hook.kfree_skb",
            "`netns` cannot be told at hook.kfree_skb: this kernel's namespaces have no cookie (that came with Linux 5.12)",
        ),
        (
            Options { cgroup: false, ..kernel::NEW },
            "SELECT cgroup FROM hook.tcp_receive_reset",
            "`cgroup` cannot be told at hook.tcp_receive_reset: this kernel's sockets have no cgroup",
        ),
    ] {
        let error = error_on(options, sql);
        assert_eq!((error.message.as_str(), error.kind), (message, Kind::Absent), "{sql}");
    }
}

#[test]
fn rule_26_what_makes_no_sense_on_any_kernel_is_an_error_of_the_text() {
    for (sql, message) in [
        ("SELECT reason.x FROM hook.kfree_skb", "`reason` is enum skb_drop_reason: it has no fields"),
        ("SELECT skb.len.x FROM hook.kfree_skb", "`skb.len` is unsigned int: it has no fields"),
        ("SELECT dev.queues.depth FROM hook.timer", "`dev.queues` is struct net_queue[4]: it has no fields"),
        ("SELECT skb.len[0] FROM hook.kfree_skb", "`skb.len` is unsigned int: no array"),
        ("SELECT dev.nd_net FROM hook.timer", "`dev.nd_net` is possible_net_t, 8 bytes: name one of its fields"),
        (
            "SELECT dev.queues FROM hook.timer",
            "`dev.queues` is struct net_queue[4], 64 bytes: take one element, as in x[0]",
        ),
        ("SELECT far.huge FROM hook.odd", "`far.huge` is __int128, 16 bytes: it has no value that a column could hold"),
        ("SELECT far.long_text FROM hook.odd", "`far.long_text` is char[129], 129 bytes: take one element, as in x[0]"),
        (
            "SELECT (reason::tcp_sock).snd_cwnd FROM hook.kfree_skb",
            "`reason` is enum skb_drop_reason: only a pointer to a struct can be taken for one to `tcp_sock`",
        ),
        ("SELECT name(text) FROM hook.odd", "`text` points to data, which has no name"),
        (
            "SELECT name(big) FROM hook.odd",
            "`big` has no names: name(x) takes a column that says who, such as netns, or an enum of the kernel",
        ),
        ("SELECT name(comm) FROM hook.odd", "`comm` is a text already: write comm without name()"),
        (
            "SELECT name(reason, 5) FROM hook.kfree_skb",
            "name(x) takes one column, or a column and a member of its enum: name(x, 'TCP_ESTABLISHED')",
        ),
        (
            "SELECT dev.weights[x] FROM hook.timer",
            "a path consists of names, indices such as [0], and casts such as ::tcp_sock",
        ),
        ("SELECT dev.weights[1.5] FROM hook.timer", "an index is a whole number, as in x[0]"),
        ("SELECT CAST(sk AS tcp_sock) FROM hook.tcp_receive_reset", "a cast is written as in (sk::tcp_sock).snd_cwnd"),
        (
            "SELECT sk::integer FROM hook.tcp_receive_reset",
            "a cast names a struct of the kernel, as in (sk::tcp_sock).snd_cwnd",
        ),
        (
            "SELECT netns FROM hook.kfree_skb WHERE saddr = '10.0.0.256'",
            "'10.0.0.256' is no address: write one such as '10.0.0.1' or 'fd00::1'",
        ),
        (
            "SELECT netns FROM hook.kfree_skb WHERE name(reason) < 'NO_SOCKET'",
            "`name(reason)` has no order: compare with = or <>, or compare the number itself",
        ),
        (
            "SELECT netns FROM hook.kfree_skb WHERE saddr < '10.0.0.2'",
            "`saddr` (an address) cannot be compared with the text '10.0.0.2': compare a text with 'a text', an integer with an integer",
        ),
        (
            "SELECT id FROM hook.sys_enter",
            "reading the rows of hook.sys_enter makes more of them: add WHERE pid = ..., or aggregate with count(*)",
        ),
        ("SELECT sum(comm) FROM hook.timer", "sum(x) takes integers, and `comm` is none"),
        (
            "SELECT reason AS a FROM hook.kfree_skb WHERE a = 1",
            "`a` is an alias of the select list: it is known in GROUP BY and ORDER BY only",
        ),
    ] {
        let error = error(sql);
        assert_eq!((error.message.as_str(), error.kind), (message, Kind::Text), "{sql}");
    }
    for sql in ["SELECT count(*) FROM hook.sys_enter", "SELECT id FROM hook.sys_enter WHERE pid = 5"] {
        plan(sql, &kernel::catalogue(kernel::NEW), Asker::Probe).unwrap();
    }
}

#[test]
fn addresses_of_the_kernel_never_leave_it() {
    for sql in ["SELECT sk + 0 FROM hook.tcp_send_reset", "SELECT sk > 5 FROM hook.tcp_send_reset"] {
        let error = error(sql);
        assert!(error.message.starts_with("`sk` is an address of the kernel: + - * / % take integers"), "{error}");
    }
    for column in ["sk", "arg.skb", "skb.dev", "sk.sk_data_ready", "(sk::tcp_sock)", "(sk::tcp_sock) AS x", "maybe(sk)"]
    {
        let error = error(&format!("SELECT {column} FROM hook.tcp_send_reset"));
        assert!(error.message.contains("is an address of the kernel, which stays in the kernel"), "{column}: {error}");
        assert_eq!(error.kind, Kind::Text);
    }
    let error = error("SELECT sk, count(*) FROM hook.tcp_send_reset GROUP BY sk");
    assert!(error.message.contains("stays in the kernel"), "{error}");
    let catalogue = kernel::catalogue(kernel::NEW);
    for column in ["sk IS NULL", "(sk::tcp_sock) IS NOT NULL", "name(sk.sk_data_ready)"] {
        plan(&format!("SELECT {column} FROM hook.tcp_send_reset"), &catalogue, Asker::Probe).unwrap();
    }
}

#[test]
fn rule_26_streams_have_neither_order_nor_limit() {
    let catalogue = kernel::catalogue(kernel::NEW);
    for (clause, message) in
        [("ORDER BY time", "a stream has no end to be sorted at"), ("LIMIT 5", "a stream has no LIMIT")]
    {
        let error = plan(&format!("SELECT time FROM hook.quiet {clause}"), &catalogue, Asker::Person).unwrap_err();
        assert!(error.message.starts_with(message), "{error}");
    }
    plan("SELECT cpu, count(*) FROM hook.quiet GROUP BY cpu ORDER BY cpu LIMIT 5", &catalogue, Asker::Person).unwrap();
}

#[test]
fn rule_26_conditions_of_conditions_are_refused() {
    for (condition, message) in [
        ("(big = 1 OR flag) IS NULL", "write IS NULL of a column, not of a condition"),
        ("NOT (flag AND (comm = 'x') IS NULL)", "write IS NULL of a column, not of a condition"),
        ("(big = 1) = flag", "compare columns, and join the conditions with AND and OR"),
        ("(big > 1) < TRUE", "compare columns, and join the conditions with AND and OR"),
    ] {
        let error = error(&format!("SELECT time FROM hook.odd WHERE {condition}"));
        assert_eq!(error.message, format!("this condition cannot be tested in the kernel: {message}"), "{condition}");
    }
    // What only the host can tell it tests all of.
    let sql = "SELECT time, netns FROM hook.kfree_skb WHERE (name(netns) = 'x') IS NULL";
    plan(sql, &kernel::catalogue(kernel::NEW), Asker::Probe).unwrap();
}

#[test]
fn rule_26_what_the_kernel_cannot_test_is_refused_when_it_is_compiled() {
    for (condition, message) in [
        ("comm < 'b'", "texts are compared with =, <> or IN"),
        ("comm = dev.name", "only columns of numbers are compared with each other"),
    ] {
        let error = refused(&format!("SELECT time FROM hook.odd WHERE {condition}"));
        assert_eq!(
            error.to_string(),
            format!("this condition cannot be tested in the kernel: {message}"),
            "{condition}"
        );
    }
}

#[test]
fn rule_26_names_are_not_compared_as_numbers() {
    for condition in ["name(wide) = name(verdict)", "name(wide) < name(wide)", "name(wide) = comm"] {
        let error = refused(&format!("SELECT time FROM hook.odd WHERE {condition}"));
        assert!(error.to_string().contains("only columns of numbers"), "{condition}: {error}");
    }
}

#[test]
fn what_is_too_much_for_a_program_is_refused() {
    let many: Vec<String> = (0..65).map(|index| format!("skb.cb[{index}] IS NULL AS c{index}")).collect();
    let many = many.iter().take(48).cloned().collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT {many}, skb.len, skb.mark, skb.priority, skb.truesize, skb.pkt_type, skb.ignore_df, skb.group, \
        skb.protocol, saddr, sport, daddr, dport, laddr, lport, raddr, rport, family FROM hook.kfree_skb"
    );
    assert!(refused(&sql).to_string().starts_with("the query has 65 columns; a program can tell of 64"));
    let keys: Vec<String> = (0..10).map(|index| format!("skb.{}cb", "next.".repeat(index))).collect();
    let keys = keys.join(", ");
    let error = refused(&format!("SELECT {keys}, count(*) FROM hook.kfree_skb GROUP BY {keys}"));
    assert!(error.to_string().starts_with("the query takes "), "{error}");
    assert!(
        error.to_string().ends_with("bytes of the 512 that a program has: select fewer or shorter columns"),
        "{error}"
    );
}

#[test]
fn maybe_takes_paths_arguments_and_names_for_null() {
    let catalogue = kernel::catalogue(kernel::NEW);
    for column in [
        "maybe(skb.nothing)",
        "maybe(nothing)",
        "maybe(skb.cb[48])",
        "maybe((skb.sk::nothing).x)",
        "maybe(arg.nothing)",
        "name(maybe(nothing))",
    ] {
        let query = plan(&format!("SELECT {column} AS x FROM hook.kfree_skb"), &catalogue, Asker::Probe);
        let query = query.unwrap_or_else(|error| panic!("{column}: {error}"));
        assert!(query.columns.is_empty() && query.fields[0].nullable, "{column}");
    }
    for (column, message) in [("maybe(skb.len.x)", "it has no fields"), ("maybe(skb.len[0])", "no array")] {
        let error = error(&format!("SELECT {column} FROM hook.kfree_skb"));
        assert!(error.message.contains(message) && error.kind == Kind::Text, "{error}");
    }
}

#[test]
fn rule_25_where_all_namespaces_come_at_once_there_is_no_reading_of_some() {
    let mut catalogue = kernel::catalogue(kernel::NEW);
    catalogue.tables.push(crate::diag::table());
    let refused = |sql: &str| plan(sql, &catalogue, Asker::Probe).unwrap_err();
    for table in ["hook.kfree_skb", "iter.socket"] {
        let sql = format!("SELECT netns FROM {table} WHERE netns IN (SELECT netns FROM netlink.sock_diag)");
        let error = refused(&sql);
        assert!(error.message.starts_with(&format!("{table} is not read namespace by namespace")), "{error}");
        assert_eq!(error.kind, Kind::Text);
    }
    let error = refused("SELECT netns FROM netlink.sock_diag WHERE netns IN (SELECT netns FROM hook.kfree_skb)");
    assert!(error.message.ends_with("such as proc.net.sockstat: hook.kfree_skb is none"), "{error}");
}
