//! The commands, as a person types them.

use netsonde_tests::{
    Folder,
    agent::command,
    binary, guest,
    netns::{Netns, run},
};
use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

#[test]
fn query_prints_rows_of_the_live_kernel() {
    let netns = Netns::new("query");
    let sql = format!(
        "SELECT name(netns), sockets.used, TCP.inuse FROM proc.net.sockstat WHERE name(netns) = '{}'",
        netns.name
    );
    let (code, out, errors) = command(&["query", &sql]);
    assert_eq!(code, 0, "{errors}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "a head and one row: {out}");
    assert!(lines[0].contains("sockets.used"), "{out}");
    assert!(lines[1].contains(&netns.name), "{out}");
    assert!(!out.contains('\u{1b}'), "no colour in a pipe");

    let (_, json, _) = command(&["query", "--json", &sql]);
    let rows: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows[0]["name(netns)"], netns.name.as_str());
    assert!(rows[0]["TCP.inuse"].is_u64());
}

#[test]
fn query_sorts_limits_and_groups() {
    let sql = "SELECT name, sum(rx_bytes) AS bytes FROM proc.net.dev GROUP BY name ORDER BY bytes DESC LIMIT 2";
    let (code, json, errors) = command(&["query", "--json", sql]);
    assert_eq!(code, 0, "{errors}");
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows[0]["bytes"].as_u64() >= rows[1]["bytes"].as_u64());
}

#[test]
fn the_other_end_of_a_veth_has_a_name() {
    let (one, two) = (Netns::new("end"), Netns::new("end"));
    run("ip", &["-n", &one.name, "link", "add", "v0", "type", "veth", "peer", "name", "eth0", "netns", &two.name]);
    let (code, json, errors) = command(&["query", "--json", "SELECT netns, name, name(peer) FROM proc.net.dev"]);
    assert_eq!(code, 0, "{errors}");
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    let peer = |netns: &Netns, device: &str| {
        let row = rows.iter().find(|row| row["netns"] == netns.name.as_str() && row["name"] == device);
        row.unwrap_or_else(|| panic!("no {device} of {}: {json}", netns.name))["name(peer)"].clone()
    };
    assert_eq!(peer(&one, "v0"), two.name.as_str());
    assert_eq!(peer(&two, "eth0"), one.name.as_str());
    assert_eq!(peer(&two, "lo"), Value::Null);
}

#[test]
fn a_wrong_query_is_shown_with_its_place_and_what_was_meant() {
    let (code, out, errors) = command(&["query", "SELECT netns, TCP.in_use FROM proc.net.sockstat"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        errors.contains("line 1, column 15: no column `TCP.in_use` in proc.net.sockstat; did you mean `TCP.inuse`?"),
        "{errors}"
    );
    assert!(errors.contains("              ^"), "{errors}");
}

#[test]
fn rule_24_the_kernels_keys_are_the_columns_also_in_long_form() {
    let (_, json, errors) = command(&["tables", "--json", "proc.net.netstat"]);
    let table: Value = serde_json::from_str(&json).unwrap_or_else(|_| panic!("{json} {errors}"));
    let columns: Vec<&str> =
        table["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap();
    for line in text.lines().step_by(2) {
        let (protocol, keys) = line.split_once(": ").unwrap();
        for key in keys.split_whitespace() {
            assert!(columns.contains(&format!("{protocol}.{key}").as_str()), "{protocol}.{key}");
        }
    }
    let (_, json, _) = command(&[
        "query",
        "--json",
        "SELECT key, value FROM proc.net.snmp.long WHERE key = 'Ip.DefaultTTL' AND name(netns) = 'host'",
    ]);
    let rows: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows[0]["value"], 64);
    let (code, _, errors) = command(&["query", "SELECT IcmpMsg.InType255 FROM proc.net.snmp"]);
    assert_eq!(code, 0, "{errors}");
}

#[test]
fn tables_lists_what_this_node_has() {
    let (code, out, _) = command(&["tables"]);
    assert_eq!(code, 0);
    for table in [
        "proc.net.sockstat",
        "proc.net.sockstat6",
        "proc.net.snmp",
        "proc.net.snmp.long",
        "proc.net.snmp6",
        "proc.net.netstat",
        "proc.net.dev",
        "proc.sockstat",
        "proc.softnet_stat",
        "netlink.sock_diag",
    ] {
        assert!(out.lines().any(|line| line.split_whitespace().next() == Some(table)), "{table}: {out}");
    }
    let (code, _, errors) = command(&["tables", "proc.net.sokstat"]);
    assert_eq!(code, 2);
    assert!(errors.contains("proc.net.sockstat"), "{errors}");
}

#[test]
fn softnet_stat_has_a_row_for_each_cpu() {
    let (_, json, _) = command(&["query", "--json", "SELECT * FROM proc.softnet_stat"]);
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(rows.len(), std::fs::read_to_string("/proc/net/softnet_stat").unwrap().lines().count());
    assert!(rows.iter().any(|row| row["processed"].as_u64() > Some(0)));
}

#[test]
fn inspect_shows_what_a_module_will_look_at_before_it_is_let_in() {
    let (code, out, errors) = command(&["probe", "inspect", guest("listen_overflows").to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("SELECT netns, TcpExt.ListenOverflows AS n FROM proc.net.netstat"), "{out}");
    assert!(out.contains("netsonde_listen_overflows_overflows_total"), "{out}");
    let (code, _, errors) = command(&["probe", "inspect", guest("other_version").to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(errors.contains("0.9.0"), "{errors}");
    let (_, out, _) = command(&["probe", "list"]);
    assert!(out.contains("sockstat") && out.contains("traffic"), "{out}");
}

#[test]
fn check_lists_every_error_and_starts_nothing() {
    let folder = Folder::new("check");
    let file = folder.write(
        "netsonde.yaml",
        "lisen: 127.0.0.1:1\nprobes:\n  sockstat: { limits: { memry: 1MiB } }\n  traffic: { limits: { deadline: 5 } }\n",
    );
    let path = file.to_str().unwrap();
    for args in [["check", "--config", path], ["run", "--config", path]] {
        let (code, _, errors) = command(&args);
        assert_eq!(code, 2, "{errors}");
        for told in ["netsonde.yaml:1:1", "`listen`", "netsonde.yaml:3", "`memory`", "netsonde.yaml:4", "100ms"] {
            assert!(errors.contains(told), "{told:?} is missing in: {errors}");
        }
    }
    let file = folder.write(
        "modules.yaml",
        format!(
            "probes:\n  a: {{ module: nowhere.wasm }}\n  b: {{ module: {} }}\n  traffic: {{ settings: {{ loopbak: true }} }}\n",
            guest("other_version").display()
        ),
    );
    let (code, out, errors) = command(&["check", "--config", file.to_str().unwrap()]);
    let said = out + &errors;
    assert_eq!(code, 2, "{said}");
    for told in ["nowhere.wasm", "0.9.0", "loopbak"] {
        assert!(said.contains(told), "{told:?} is missing in: {said}");
    }
    let good = folder.write("good.yaml", "probes: { sockstat: {} }\n");
    let (code, out, errors) = command(&["check", "--config", good.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{errors}");
}

#[test]
fn print_config_is_a_configuration_with_its_manual() {
    let (code, out, errors) = command(&["run", "--print-config"]);
    assert_eq!(code, 0, "{errors}");
    let folder = Folder::new("print");
    let file = folder.write("netsonde.yaml", &out);
    let (code, again, errors) = command(&["run", "--print-config", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(out, again);
    assert!(out.contains("# ") && out.contains("min_interval: 1s"), "{out}");
}

#[test]
fn without_privileges_it_serves_what_it_can_and_says_what_is_missing() {
    let netns = Netns::new("nobody");
    let folder = Folder::new("nobody");
    // A copy where everybody may read it: the build folder may be closed to others.
    let copy = folder.path().join("netsonde");
    std::fs::copy(binary(), &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&copy)
        .args(["query", "--json", "SELECT name(netns), sockets.used FROM proc.net.sockstat"])
        .output()
        .unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert!(!rows.is_empty(), "its own namespace at least: {errors}");
    assert!(rows.iter().all(|row| row["name(netns)"] != netns.name.as_str()), "it cannot enter that one");
    assert!(errors.contains("CAP_SYS_ADMIN") || errors.contains("CAP_SYS_PTRACE"), "{errors}");
}

#[test]
fn the_page_about_events_has_every_type_and_field_of_the_built_in_probes_and_no_other() {
    let page = include_str!("../../docs/events.md");
    let words = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut told: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for section in page.split("\n### ").skip(1) {
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let fields = rows.map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            (words(cells[1]).concat(), cells[2].to_owned())
        });
        let fields: Vec<(String, String)> = fields.collect();
        for ty in words(section.lines().next().unwrap()) {
            told.insert(ty, fields.clone());
        }
    }
    let (code, list, errors) = command(&["probe", "list", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let list: Value = serde_json::from_str(&list).unwrap();
    let mut declared: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for probe in list.as_array().unwrap() {
        let (code, plan, errors) = command(&["probe", "inspect", "--json", probe["module"].as_str().unwrap()]);
        assert_eq!(code, 0, "{errors}");
        let plan: Value = serde_json::from_str(&plan).unwrap();
        for event in plan["events"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let fields = event["fields"].as_array().unwrap().iter();
            let fields = fields.map(|field| (text(&field["name"]), text(&field["type"]))).collect();
            let ty = text(&event["name"]);
            let counter = text(&event["counter"]);
            assert!(page.contains(&format!("Counted by `{counter}`")), "{ty} {counter}");
            declared.insert(ty, fields);
        }
    }
    assert_eq!(told, declared);
}
