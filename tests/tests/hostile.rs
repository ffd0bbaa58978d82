//! Guests that do what they should not: the host stays up, the others stay right, and the message says what happened.

use netsonde_tests::{agent::Agent, guest, netns::Netns};
use serde_json::Value;
use std::time::Instant;

/// What the guest does, and what the operator must be able to read.
const FALLS: &[(&str, &str)] = &[
    ("loop_in_describe", "describe: stopped after"),
    ("panic_in_describe", "I do not want to be described"),
    ("foreign_column", "did you mean `TCP.inuse`?"),
    ("unsupported_sql", "JOIN"),
    ("reserved_label", "label `pod`"),
    ("nosy", "says `allow: [node.pods]` under `probes.nosy`"),
    ("error_in_start", "I do not like these queries"),
    ("loop", "process: stopped after"),
    ("grow", "bytes of memory; the limit is 16777216"),
    ("panic", "I fell on purpose"),
    ("error", "these rows make no sense"),
    ("wrong_column_count", "2 label"),
    ("short_column", "rows"),
    ("unknown_metric", "77"),
    ("unknown_code", "code 9 of 1 names"),
    ("million_samples", "1000000"),
    ("same_series_twice", "its series had a value in this output already"),
    ("nan_counter", "NaN"),
    ("negative_counter", "-1"),
    ("infinite_gauge", "infinite"),
    ("lying_length", "out of bounds"),
    ("aliased_lists", "fuel"),
    ("no_such_mode", "there is no mode no_such_mode"),
];

fn config(modes: &[&str]) -> String {
    let module = guest("hostile");
    let probe = |mode: &&str| format!("  {mode}: {{ module: {}, settings: {{ mode: {mode} }} }}\n", module.display());
    format!("probes:\n  sockstat: {{}}\n{}", modes.iter().map(probe).collect::<String>())
}

fn status(agent: &Agent, probe: &str) -> Value {
    let probes: Value = serde_json::from_slice(&agent.get("/probes").body).unwrap();
    probes["probes"].as_array().unwrap().iter().find(|status| status["name"] == probe).unwrap().clone()
}

#[test]
fn names_of_pods_are_told_to_whom_the_operator_lets_know_them() {
    let config = format!(
        "probes:\n  nosy: {{ module: {}, settings: {{ mode: nosy }}, allow: [node.pods] }}",
        guest("hostile").display()
    );
    let agent = Agent::start(&config);
    agent.page();
    assert_eq!(status(&agent, "nosy")["state"], "running", "{}", status(&agent, "nosy"));
    assert_eq!(agent.page().value("netsonde_query_up", &[("probe", "nosy")]), 1.0);
}

#[test]
fn a_label_of_pods_may_not_be_one_that_a_probe_has() {
    let config = format!(
        "pods: {{ cri: none, docker: none, labels: {{ label: app }} }}\n\
         probes:\n  sockstat: {{}}\n  hostile: {{ module: {}, settings: {{ mode: well }} }}",
        guest("hostile").display()
    );
    let agent = Agent::start(&config);
    agent.page();
    let why = status(&agent, "hostile")["why"].as_str().unwrap_or("").to_owned();
    assert!(why.contains("call the latter something else under `pods.labels`"), "{why}");
    let page = agent.page();
    let labels = &page.find("netsonde_sockstat_sockets_used", &[("netns", "host")]).next().unwrap().labels;
    assert_eq!(labels.get("label").map(String::as_str), Some(""), "it is there, and empty: {labels:?}");
}

#[test]
fn each_hostile_guest_is_down_alone_and_says_why() {
    let netns = Netns::new("hostile");
    let modes: Vec<&str> = FALLS.iter().map(|(mode, _)| *mode).collect();
    let agent = Agent::start(&config(&modes));
    agent.wait_until("every guest has fallen", |agent| {
        agent.page();
        modes.iter().all(|mode| status(agent, mode)["state"] == "down")
    });
    let page = agent.scrape();
    for (mode, told) in FALLS {
        let status = status(&agent, mode);
        let why = status["why"].as_str().unwrap_or("");
        assert!(why.contains(told), "{mode}: {why:?} does not tell {told:?}");
        assert_eq!(page.value("netsonde_probe_up", &[("probe", mode)]), 0.0, "{mode}");
        assert!(agent.log().contains(mode), "{mode} is not in the log");
    }
    assert_eq!(page.value("netsonde_probe_up", &[("probe", "sockstat")]), 1.0);
    let used = netns.kernel("sockstat");
    let used: f64 = used.lines().next().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap();
    assert_eq!(page.value("netsonde_sockstat_sockets_used", &[("netns", &netns.name)]), used);
}

#[test]
fn rule_32_a_runaway_guest_is_stopped_by_its_deadline() {
    let agent = Agent::start(&config(&["loop"]));
    agent.wait_until("it was stopped", |agent| {
        agent.page();
        status(agent, "loop")["state"] == "down"
    });
    let why = status(&agent, "loop")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("of CPU time; the limit is 100ms"), "{why}");
    // While it is down, collections do not wait for it.
    let began = Instant::now();
    agent.page();
    assert!(began.elapsed().as_secs() < 3);
}

#[test]
fn rule_33_over_the_series_budget_new_series_collapse_and_are_counted() {
    let agent = Agent::start(&config(&["many_series"]));
    let page = agent.scrape();
    let series: Vec<_> = page.find("netsonde_many_series_counter_total", &[]).collect();
    assert_eq!(series.len(), 10_001, "10,000 and `other`");
    let other = page.value("netsonde_many_series_counter_total", &[("label", "other")]);
    assert!(other >= 10_000.0, "{other}");
    let dropped: f64 =
        page.find("netsonde_dropped_total", &[("probe", "many_series"), ("stage", "budget")]).map(|s| s.value).sum();
    assert!(dropped >= 10_000.0, "{dropped}");
    assert_eq!(page.value("netsonde_probe_up", &[("probe", "many_series")]), 1.0);
}

#[test]
fn rule_33_an_absurd_label_is_cut_at_a_character() {
    let agent = Agent::start(&config(&["absurd_label"]));
    let page = agent.scrape();
    let label = page.find("netsonde_absurd_label_gauge", &[]).next().unwrap().labels["label"].clone();
    assert!(label.len() <= 256 && label.ends_with("é…"), "{} bytes", label.len());
}

#[test]
fn a_guest_that_talks_too_much_is_heard_sixteen_times_a_call() {
    let agent = Agent::start(&config(&["chatter"]));
    let page = agent.scrape();
    let calls = page.value("netsonde_probe_run_duration_seconds_count", &[("probe", "chatter")]);
    let dropped = page.value("netsonde_dropped_total", &[("probe", "chatter"), ("stage", "log"), ("reason", "lines")]);
    assert_eq!(dropped, calls * 84.0);
    assert_eq!(agent.log().matches("and another thing").count() as f64, calls * 16.0);
}

#[test]
fn rule_17_a_probe_that_fell_is_started_again_logged_once_and_its_rows_are_counted() {
    let agent = Agent::start(&config(&["panic"]));
    agent.wait_until("it has fallen three times", |agent| {
        let page = agent.scrape();
        page.value("netsonde_probe_run_duration_seconds_count", &[("probe", "panic")]) >= 3.0
    });
    assert_eq!(agent.log().matches("to be started again").count(), 1, "{}", agent.log());
    let lost =
        agent.page().value("netsonde_dropped_total", &[("probe", "panic"), ("stage", "guest"), ("reason", "trap")]);
    assert!(lost >= 3.0, "the rows of three calls were lost: {lost}");
}

#[test]
fn what_is_no_probe_is_named_with_what_was_expected() {
    let folder = netsonde_tests::Folder::new("modules");
    let text = folder.write("text.wasm", "this is no module");
    let core = folder.write("core.wasm", b"\0asm\x01\0\0\0");
    let broken = folder.write("broken.wasm", b"\0asm\x0d\0\x01\0rubbish");
    let modules = [
        ("text", text, "is no WebAssembly"),
        ("core", core, "is a core module, not a component"),
        ("broken", broken, "does not compile"),
        ("missing", folder.path().join("missing.wasm"), "cannot read the module"),
        ("other_version", guest("other_version"), "netsonde:probe/guest@0.9.0`; this host serves netsonde:probe@0.1.0"),
        ("other_import", guest("other_import"), "wants to import `other:files/files`"),
    ];
    let probes: String =
        modules.iter().map(|(name, path, _)| format!("  {name}: {{ module: {} }}\n", path.display())).collect();
    let agent = Agent::start(&format!("probes:\n  sockstat: {{}}\n{probes}"));
    for (name, _, told) in &modules {
        let why = status(&agent, name)["why"].as_str().unwrap().to_owned();
        assert!(why.contains(told), "{name}: {why}");
    }
    assert_eq!(agent.page().value("netsonde_probe_up", &[("probe", "sockstat")]), 1.0);
}

#[test]
fn a_drop_in_probe_works_by_configuration() {
    let folder = netsonde_tests::Folder::new("dropin");
    std::fs::copy(guest("listen_overflows"), folder.path().join("listen_overflows.wasm")).unwrap();
    let netns = Netns::new("dropin");
    let agent =
        Agent::start(&format!("probe_folder: {}\nprobes: {{ listen_overflows: {{}} }}", folder.path().display()));
    let labels = [("netns", netns.name.as_str())];
    assert_eq!(agent.scrape().value("netsonde_listen_overflows_overflows_total", &labels), 0.0);
    // A queue for one, and nobody who accepts.
    let mut full = netns.python(
        "import socket, sys, time\n\
         a = socket.socket(); a.bind(('127.0.0.1', 5060)); a.listen(0)\n\
         kept = []\n\
         for i in range(6):\n\
         \x20   s = socket.socket(); s.setblocking(False); s.connect_ex(('127.0.0.1', 5060)); kept.append(s)\n\
         time.sleep(0.5)\n\
         print('ready')\n\
         sys.stdin.readline()",
    );
    let counted = agent.scrape().value("netsonde_listen_overflows_overflows_total", &labels);
    assert!(counted >= 1.0, "{counted}");
    full.tell("end");
}
