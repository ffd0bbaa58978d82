//! Any text as a query over the tracepoints and the objects of the kernel that this runs on: refused, or a program and its listing. Without
//! `/sys/kernel/btf/vmlinux` there are none, and every query is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netsonde_core::{
    bpf::{
        btf::Btf,
        compile::{Budget, compile},
        listing::listing,
    },
    query::{Asker, plan},
    table::{Catalogue, Hooks},
};
use std::sync::{Arc, LazyLock};

static TRACEPOINTS: LazyLock<Catalogue> = LazyLock::new(|| {
    let hooks = match std::fs::read("/sys/kernel/btf/vmlinux") {
        Ok(bytes) => Hooks::known(Arc::new(Btf::parse(bytes).expect("the kernel's own BTF is whole"))),
        Err(error) => Hooks::Absent(error.to_string()),
    };
    Catalogue { hooks, ..Catalogue::default() }
});

/// Begins of queries, so that random ones get past the tracepoint's name.
const BEGINS: [&str; 6] = [
    "",
    "SELECT netns FROM hook.kfree_skb WHERE ",
    "SELECT count(*) FROM hook.inet_sock_set_state WHERE ",
    "SELECT netns, sum(1000 * sk.sk_rcvbuf / (sk::tcp_sock).",
    "SELECT histogram(sk.sk_rcvbuf) FROM iter.socket WHERE ",
    "SELECT time, skb.",
];

fuzz_target!(|input: (bool, u8, &str)| {
    let (person, begin, rest) = input;
    let begin = BEGINS[usize::from(begin) % BEGINS.len()];
    let end = if begin.ends_with('.') { " FROM hook.tcp_send_reset" } else { "" };
    let sql = format!("{begin}{rest}{end}");
    let asker = if person { Asker::Person } else { Asker::Probe };
    match plan(&sql, &TRACEPOINTS, asker) {
        Ok(query) => match compile(&query, Budget::default()) {
            Ok(compiled) => {
                assert_eq!(Ok(&compiled), compile(&query, Budget::default()).as_ref(), "{sql}");
                assert!(listing(&compiled.program).ends_with("exit\n"), "{sql}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        },
        Err(error) => assert!(!error.render(&sql).chars().any(|c| c.is_control() && c != '\n')),
    }
});
