//! What a person reads when a query cannot be answered, and what still works with few privileges.

use netsonde_tests::{Folder, agent::Agent, binary, netns::Netns, query::refused, traffic::Peer};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Queries that are wrong, where in them, and what is said.
const WRONG: &[(&str, &str, &[&str])] = &[
    ("SELECT time FROM hook.net_dev_queu", "hook.", &["no tracepoint `net_dev_queu`", "did you mean `net_dev_queue`?"]),
    (
        "SELECT tim FROM hook.net_dev_queue",
        "tim",
        &["no argument `tim`", "did you mean `time`?", "skb: struct sk_buff *"],
    ),
    (
        "SELECT skb.lenn FROM hook.net_dev_queue",
        "skb",
        &["`struct sk_buff` has no field `lenn`", "did you mean `len`?"],
    ),
    ("SELECT skb.dev.nam FROM hook.net_dev_queue", "skb", &["`struct net_device` has no field `nam`", "`name`"]),
    ("SELECT skb.len.x FROM hook.net_dev_queue", "skb", &["`skb.len` is unsigned int: it has no fields"]),
    ("SELECT skb.dev.name[16] FROM hook.net_dev_queue", "skb", &["char[16]: there is no element 16"]),
    ("SELECT skb.len[0] FROM hook.net_dev_queue", "skb", &["no array"]),
    ("SELECT skb.dev.nd_net FROM hook.net_dev_queue", "skb", &["possible_net_t", "name one of its fields"]),
    (
        "SELECT skb FROM hook.net_dev_queue",
        "skb",
        &["an address of the kernel, which stays in the kernel", "`skb IS NULL`"],
    ),
    ("SELECT skb.dev FROM hook.net_dev_queue", "skb", &["an address of the kernel", "`skb.dev IS NULL`"]),
    ("SELECT location FROM hook.kfree_skb", "location", &["an address of the kernel", "name(location)"]),
    ("SELECT name(skb) FROM hook.net_dev_queue", "name(skb)", &["`skb` points to data, which has no name"]),
    ("SELECT name(skb.len) FROM hook.net_dev_queue", "name(", &["`skb.len` has no names"]),
    (
        "SELECT (skb.sk::tcp_sok).snd_cwnd FROM hook.net_dev_queue",
        "skb",
        &["no struct `tcp_sok`", "did you mean `tcp_sock`"],
    ),
    ("SELECT (skb.len::tcp_sock).snd_cwnd FROM hook.net_dev_queue", "skb", &["only a pointer to a struct"]),
    (
        "SELECT name(reason) FROM hook.kfree_skb WHERE name(reason) = 'NETFILTER_DORP'",
        "name(reason) =",
        &[
            "enum skb_drop_reason has no member `NETFILTER_DORP`",
            "did you mean `NETFILTER_DROP`?",
            "maybe('NETFILTER_DORP')",
        ],
    ),
    (
        "SELECT name(oldstate, 'TCP_ESTAB') FROM hook.inet_sock_set_state",
        "name(",
        &["no enum of this kernel has a member `TCP_ESTAB`"],
    ),
    (
        "SELECT saddr FROM hook.sched_switch",
        "saddr",
        &["`saddr` cannot be told at hook.sched_switch: no argument is a packet"],
    ),
    ("SELECT laddr FROM hook.net_dev_xmit", "laddr", &["no argument is a socket"]),
    (
        "SELECT time FROM hook.net_dev_queue WHERE skb = 1",
        "skb = 1",
        &["an address of the kernel", "cannot be compared"],
    ),
    ("SELECT time FROM hook.net_dev_queue WHERE skb.len = 'a'", "skb.len = 'a'", &["an integer", "the text 'a'"]),
    ("SELECT time FROM hook.net_dev_queue WHERE comm = 1", "comm = 1", &["a text", "the number 1"]),
    (
        "SELECT time FROM hook.net_dev_queue WHERE saddr = '10.0.0'",
        "saddr =",
        &["'10.0.0' is no address", "'10.0.0.1' or 'fd00::1'"],
    ),
    ("SELECT time FROM hook.net_dev_queue WHERE comm > 'a'", "", &["texts are compared with =, <> or IN"]),
    ("SELECT sum(comm) FROM hook.net_dev_queue", "sum", &["sum(x) takes integers, and `comm` is none"]),
    ("SELECT pid FROM hook.sys_enter", "", &["hook.sys_enter makes more of them", "WHERE pid =", "count(*)"]),
];

#[test]
fn a_wrong_query_is_shown_with_its_place_and_what_was_meant() {
    for (sql, place, told) in WRONG {
        let (code, errors) = refused(sql, &[]);
        assert_eq!(code, 2, "{sql}: {errors}");
        for told in *told {
            assert!(errors.contains(told), "{sql}: {told:?} is missing in: {errors}");
        }
        let column = sql.find(place).unwrap() + 1;
        assert!(place.is_empty() || errors.contains(&format!("line 1, column {column}: ")), "{sql}: {errors}");
        assert!(!errors.contains("0xffff"), "an address of the kernel got out: {errors}");
    }
}

#[test]
fn groups_without_an_end_and_tables_with_one_are_refused() {
    let count = "SELECT count(*) FROM hook.net_dev_queue";
    let ask = |args: &[&str]| netsonde_tests::agent::command(args);
    let (code, _, errors) = ask(&["query", "--follow", count]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("use --for"), "{errors}");
    let (code, _, errors) = ask(&["query", "--for", "1s", "SELECT sockets.used FROM proc.net.sockstat"]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("are for tracepoints (hook.*)"), "{errors}");
}

#[test]
fn without_the_kernels_types_tracepoints_are_absent_and_tables_are_not() {
    let (code, errors) = refused("SELECT time FROM hook.net_dev_queue", &["--btf", "/nonexistent"]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("/nonexistent") && errors.contains("hook.net_dev_queue"), "{errors}");
    let (code, out, errors) = netsonde_tests::agent::command(&[
        "query",
        "--btf",
        "/nonexistent",
        "SELECT sockets.used FROM proc.net.sockstat",
    ]);
    assert_eq!(code, 0, "{out}{errors}");

    let agent = Agent::start("btf: /nonexistent\nprobes: { tcp_reset: {}, sockstat: {} }");
    let down = agent.probe("tcp_reset");
    assert_eq!(down["state"], "down", "{down}");
    assert!(down["why"].as_str().unwrap().contains("/nonexistent"), "{down}");
    assert_eq!(agent.probe("sockstat")["state"], "running");
}

/// The binary where everybody may read it: the build folder may be closed to others.
fn copy(folder: &Folder) -> PathBuf {
    let copy = folder.path().join("netsonde");
    std::fs::copy(binary(), &copy).unwrap();
    copy
}

/// Runs it as nobody with these capabilities.
fn as_nobody(binary: &Path, capabilities: &[&str], args: &[&str]) -> Output {
    let with = |of: &str| {
        let each = capabilities.iter().map(|capability| format!(",+{capability}")).collect::<String>();
        format!("--{of}=-all{each}")
    };
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", &with("inh-caps"), &with("ambient-caps")])
        .arg(binary)
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn two_capabilities_are_enough_for_tracepoints_and_none_of_them_can_be_missing() {
    let folder = Folder::new("capabilities");
    let copy = copy(&folder);
    let netns = Netns::new("capabilities");
    // Somebody sends all the time: no need to know when the query is attached.
    let _sender = netns.python(
        "import socket, time\nprint('ready')\nwhile True:\n    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 7777))\n    time.sleep(0.01)",
    );
    let args = [
        "query",
        "--json",
        "--count",
        "2",
        "--for",
        "30s",
        "SELECT saddr, dport FROM hook.net_dev_queue WHERE dport = 7777",
    ];
    let output = as_nobody(&copy, &["bpf", "perfmon"], &args);
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert_eq!(out.lines().count(), 2, "{out}{errors}");
    for line in out.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&row["saddr"], &row["dport"]), (&"127.0.0.1".into(), &7777.into()), "{line}");
    }
    // Groups, too: their maps are of another kind.
    let count = "SELECT count(*) AS n FROM hook.net_dev_queue WHERE dport = 7777";
    let output = as_nobody(&copy, &["bpf", "perfmon"], &["query", "--json", "--for", "1s", count]);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert!(rows[0]["n"].as_u64() > Some(0), "{rows}");

    for (have, missing) in [(&[][..], "CAP_BPF and CAP_PERFMON"), (&["perfmon"], "CAP_BPF"), (&["bpf"], "CAP_PERFMON")]
    {
        let output = as_nobody(&copy, have, &args);
        let errors = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{have:?}: {errors}");
        assert!(errors.contains(&format!("lacks {missing};")), "{have:?}: {errors}");
        assert!(errors.contains(&format!("give it {missing}")), "{have:?}: {errors}");
    }
}

/// An agent of a user with these capabilities, as setpriv(1) writes them.
fn agent_as_nobody(copy: &Path, capabilities: &str, config: &str) -> Agent {
    Agent::start_with(config, |file| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")]);
        command.arg(copy).args(["run", "--config"]).arg(file);
        command
    })
}

#[test]
fn an_agent_without_privileges_serves_the_rest_and_says_which_are_missing() {
    let folder = Folder::new("unprivileged");
    let copy = copy(&folder);
    let agent = agent_as_nobody(&copy, "-all", "probes: { tcp_reset: {}, packet_loss: {}, sockstat: {} }");
    for probe in ["tcp_reset", "packet_loss"] {
        let down = agent.probe(probe);
        assert_eq!(down["state"], "down", "{down}");
        let why = down["why"].as_str().unwrap();
        assert!(why.contains("CAP_BPF and CAP_PERFMON"), "{why}");
    }
    let page = agent.scrape();
    assert_eq!(page.value("netsonde_probe_up", &[("probe", "tcp_reset")]), 0.0);
    assert_eq!(page.value("netsonde_probe_up", &[("probe", "sockstat")]), 1.0);
    assert!(page.find("netsonde_sockstat_sockets_used", &[]).count() > 0, "its own namespace at least");
    assert!(agent.log().contains("CAP_BPF and CAP_PERFMON"), "{}", agent.log());
}

#[test]
fn an_agent_with_two_capabilities_counts_resets() {
    let folder = Folder::new("two");
    let copy = copy(&folder);
    let agent = agent_as_nobody(&copy, "-all,+bpf,+perfmon", "probes: { tcp_reset: {} }");
    agent.until_attached(4);
    let netns = Netns::new("two");
    let mut peer = Peer::new(&netns);
    peer.run("refused('127.0.0.1', 4715, 12)");
    // It may not look at other users' processes, but the names of `ip netns` are there for all.
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(format!("/run/netns/{}", netns.name)).unwrap());
    agent.wait_until("the resets are counted, by name or by inode", |agent| {
        let page = agent.page();
        let sum = |netns: &str| -> f64 {
            page.find("netsonde_tcp_reset_sent_total", &[("netns", netns), ("kind", "nosock")])
                .map(|sample| sample.value)
                .sum()
        };
        sum(&netns.name) + sum(&inode.to_string()) == 12.0
    });
}

#[test]
fn an_agent_that_may_not_look_at_others_reads_its_own_namespace_and_passes_over_all() {
    let folder = Folder::new("own");
    let copy = copy(&folder);
    let netns = Netns::new("own");
    let mut peer = Peer::new(&netns);
    peer.run("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)");
    let agent = agent_as_nobody(&copy, "-all,+bpf,+perfmon", "probes: { sockstat: {}, socket_memory: {} }");
    let page = agent.page();
    // Of the first processes of its own namespace, which the kernel names, it may look at none.
    assert!(page.get("netsonde_sockstat_sockets_used", &[("netns", "host")]).is_some(), "its own namespace at least");
    let labels = [("netns", netns.name.as_str()), ("protocol", "udp"), ("family", "ipv4")];
    assert_eq!(page.value("netsonde_socket_memory_sockets", &labels), 1.0);
    assert_eq!(page.find("netsonde_sockstat_sockets_used", &[("netns", &netns.name)]).count(), 0);
    assert!(agent.log().contains("give the agent CAP_SYS_"), "{}", agent.log());
}

#[test]
fn connections_that_no_process_holds_are_not_told_without_the_right_to_enter_namespaces() {
    let folder = Folder::new("unheld");
    let copy = copy(&folder);
    let agent = agent_as_nobody(&copy, "-all,+bpf,+perfmon", "probes: { tcp_state: {} }");
    let probe = agent.probe("tcp_state");
    assert_eq!(probe["state"], "degraded", "{probe:#}");
    assert!(probe["why"].as_str().unwrap().contains("CAP_SYS_ADMIN"), "{probe:#}");
    let listening = [("netns", "host"), ("state", "listen")];
    assert!(agent.page().find("netsonde_tcp_state_connections", &listening).count() > 0, "what processes hold");
}
