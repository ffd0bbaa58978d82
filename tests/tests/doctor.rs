//! `netsonde doctor`: what it finds here, with everything and with nothing. Only one of these tests runs the self-test: the number of a
//! namespace that is gone may be used again by another one's.

use netsonde_tests::{Folder, agent::command, binary};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

/// An address that is free now.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// All checks: subject, name, verdict, and everything that is said.
fn checks(json: &str) -> Vec<(String, String, String, String)> {
    let report: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let mut checks = Vec::new();
    for group in report["groups"].as_array().unwrap() {
        for check in group["checks"].as_array().unwrap() {
            let text = |key: &str| check[key].as_str().unwrap().to_owned();
            let said = format!("{}; {}; {}", text("found"), text("takes_away"), text("to_do"));
            let is_good = text("verdict") == "good";
            assert_eq!(text("takes_away").is_empty() && text("to_do").is_empty(), is_good, "{check}");
            assert!(!text("found").is_empty(), "{check}");
            checks.push((group["subject"].as_str().unwrap().to_owned(), text("name"), text("verdict"), said));
        }
    }
    checks
}

fn self_test(json: &str) -> String {
    let report: Value = serde_json::from_str(json).unwrap();
    report["self_test"].as_str().unwrap().to_owned()
}

/// The verdict and the words of a check.
fn check<'a>(checks: &'a [(String, String, String, String)], subject: &str, name: &str) -> (&'a str, &'a str) {
    let found = checks.iter().find(|(of, called, ..)| of == subject && called == name);
    let (_, _, verdict, said) = found.unwrap_or_else(|| panic!("no {subject}: {name} in {checks:#?}"));
    (verdict, said)
}

/// The namespaces that any thread is in, or a mount holds.
fn holds(inode: u64) -> bool {
    let folders = |path: &str| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut tasks = folders("/proc").flat_map(|process| folders(&process.join("task").display().to_string()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    tasks.any(|task| fs::metadata(task.join("ns/net")).is_ok_and(|about| about.ino() == inode))
        || mounts.contains(&format!("net:[{inode}]"))
}

#[test]
fn as_root_all_is_good_and_rows_arrive_from_a_namespace_that_is_gone_afterwards() {
    let folder = Folder::new("doctor");
    let cache = folder.path().join("cache");
    let (code, json, errors) =
        command(&["doctor", "--json", "--listen", &free(), "--cache-folder", cache.to_str().unwrap()]);
    let checks = checks(&json);
    assert_eq!((code, self_test(&json).as_str()), (0, "passed"), "{checks:#?} {errors}");
    assert_eq!(errors, "");
    for (subject, name, verdict, said) in &checks {
        // Some processes protect themselves, also from root; and the clock and limits are this machine's.
        let may = (subject, name.as_str()) == (&"procfs".to_owned(), "processes") || subject == "machine";
        assert!(verdict == "good" || may, "{subject}: {name}: {said}");
    }
    for (table, rows) in [("hook.tcp_send_reset", 4), ("hook.kfree_skb", 4)] {
        let seen: Vec<_> = checks.iter().filter(|(of, name, ..)| of == "self-test" && name == table).collect();
        assert_eq!(seen.len(), rows, "IPv4 and IPv6: {seen:#?}");
        assert!(seen.iter().all(|(.., said)| said.contains("in the kernel after") && said.contains("here after")));
        assert!(check(&checks, "self-test", &format!("{table} counts")).1.starts_with("counted 4 of 4;"));
    }
    let namespace = check(&checks, "self-test", "namespace").1;
    let inode: u64 = namespace.split(['[', ']']).nth(1).unwrap().parse().unwrap();
    assert!(!holds(inode), "{namespace}");
    assert!(!cache.exists(), "it looks, and makes nothing");
}

#[test]
fn without_capabilities_it_names_them_and_what_they_take_away() {
    let folder = Folder::new("doctor-nobody");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // A copy where everybody may read it: the build folder may be closed to others.
    let copy = folder.path().join("netsonde");
    fs::copy(binary(), &copy).unwrap();
    let listen = free();
    let run = |json: &[&str]| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
            .arg(&copy)
            .args(["doctor", "--listen", &listen])
            .args(json)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, json, errors) = run(&["--json"]);
    assert_eq!((code, self_test(&json).as_str()), (Some(0), "skipped"), "{json} {errors}");
    let checks = checks(&json);
    for capability in ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYSLOG"] {
        assert_eq!(check(&checks, "capabilities", capability).0, "missing");
    }
    for (subject, name, told) in [
        ("self-test", "rows", "CAP_BPF, CAP_PERFMON"),
        ("probes", "tcp_reset", "lacks CAP_BPF and CAP_PERFMON"),
        ("probes", "packet_loss", "lacks CAP_BPF and CAP_PERFMON"),
    ] {
        let (verdict, said) = check(&checks, subject, name);
        assert!(verdict == "missing" && said.contains(told), "{subject}: {name}: {verdict}: {said}");
    }
    assert_eq!(check(&checks, "procfs", "processes").0, "partly");
    assert_eq!(check(&checks, "probes", "sockstat").0, "good", "what needs no privilege works");
    assert_eq!(check(&checks, "tracepoints", "hook.kfree_skb").0, "good", "the types are everybody's");

    let (_, text, _) = run(&[]);
    assert!(text.contains("capabilities: CAP_BPF missing\n  takes away  hook.*"), "{text}");
    assert!(text.ends_with("self-test skipped\n") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn without_types_the_tracepoints_are_gone_and_procfs_is_not() {
    let folder = Folder::new("doctor-btf");
    let file = folder.write("netsonde.yaml", format!("btf: /nonexistent\nlisten: {}\n", free()));
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" doctor --json --listen \"$1\"";
    let hidden = Command::new("unshare")
        .args(["-m", "sh", "-c", hide])
        .arg(binary())
        .arg(free())
        .output()
        .map(|output| (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap()))
        .unwrap();
    let (code, json, _) = command(&["doctor", "--json", "--btf", "/nonexistent", "--listen", &free()]);
    let (config_code, config_json, _) = command(&["doctor", "--json", "--config", file.to_str().unwrap()]);
    for (code, json, path) in [
        (code, json, "/nonexistent"),
        (config_code, config_json, "/nonexistent"),
        (hidden.0, hidden.1, "/sys/kernel/btf/vmlinux"),
    ] {
        assert_eq!((code, self_test(&json).as_str()), (0, "skipped"), "{json}");
        let checks = checks(&json);
        let (verdict, said) = check(&checks, "types", "BTF");
        assert!(verdict == "missing" && said.contains(path) && said.contains("CONFIG_DEBUG_INFO_BTF"), "{said}");
        assert_eq!(check(&checks, "probes", "tcp_reset").0, "missing");
        assert_eq!(check(&checks, "probes", "traffic").0, "good");
    }
}

#[test]
fn an_agent_that_would_not_start_or_do_anything_is_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, json, errors) = command(&["doctor", "--json", "--no-self-test", "--listen", &address]);
    assert_eq!(code, 1, "{json}");
    assert!(errors.contains(&address) && errors.contains("another program"), "{errors}");
    assert_eq!(check(&checks(&json), "places", "listen").0, "missing");

    let folder = Folder::new("doctor-useless");
    let file = folder.write("netsonde.yaml", format!("listen: {}\nprobes: {{ a: {{ module: a.wasm }} }}\n", free()));
    let (code, json, errors) = command(&["doctor", "--json", "--no-self-test", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{json}");
    assert!(errors.contains("no probe would run"), "{errors}");
    assert!(check(&checks(&json), "probes", "a").1.contains("a.wasm"), "{json}");
}

#[test]
fn help_teaches_what_it_needs_and_what_its_exit_code_says() {
    let (code, out, _) = command(&["doctor", "--help"]);
    assert_eq!(code, 0);
    for told in ["CAP_BPF", "Exit code 1", "--no-self-test", "leaves nothing behind"] {
        assert!(out.contains(told), "{told}: {out}");
    }
}
