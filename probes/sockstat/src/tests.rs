use super::*;
use netsonde_sdk::test::{Harness, Table};

const V4: &[&str] = &[
    "netns",
    "sockets.used",
    "TCP.inuse",
    "TCP.tw",
    "UDP.inuse",
    "UDPLITE.inuse",
    "RAW.inuse",
    "FRAG.inuse",
    "FRAG.memory",
];
const V6: &[&str] =
    &["netns", "TCP6.inuse", "UDP6.inuse", "UDPLITE6.inuse", "RAW6.inuse", "FRAG6.inuse", "FRAG6.memory"];

fn probe() -> Harness<Sockstat> {
    Harness::new("{}").unwrap()
}

#[test]
fn each_number_becomes_the_gauge_of_its_namespace() {
    let v4 = Table::new(V4).row(&[&7, &20, &3, &4, &5, &6, &8, &9, &1024]).row(&[&8, &1, &0, &0, &0, &0, &0, &0, &0]);
    let v6 = Table::new(V6).row(&[&7, &30, &31, &32, &33, &34, &35]);
    let established = Table::new(&["netns", "Tcp.CurrEstab"]).row(&[&7, &2]);
    let got = probe().collect(&[("v4", v4), ("v6", v6), ("established", established)]).unwrap();
    for (metric, labels, want) in [
        ("sockets_used", vec![], 20.0),
        ("tcp_inuse", vec!["ipv4"], 3.0),
        ("tcp_inuse", vec!["ipv6"], 30.0),
        ("tcp_time_wait", vec![], 4.0),
        ("tcp_established", vec![], 2.0),
        ("udp_inuse", vec!["ipv4"], 5.0),
        ("udplite_inuse", vec!["ipv6"], 32.0),
        ("raw_inuse", vec!["ipv4"], 8.0),
        ("frag_inuse", vec!["ipv4"], 9.0),
        ("frag_memory", vec!["ipv4"], 1024.0),
        ("frag_memory", vec!["ipv6"], 35.0),
    ] {
        assert_eq!(got.get(metric, Some(7), &labels), Some(want), "{metric} {labels:?}");
    }
    assert_eq!(got.get("sockets_used", Some(8), &[]), Some(1.0));
}

#[test]
fn what_is_of_the_node_names_no_namespace() {
    let node = Table::new(&["TCP.orphan", "TCP.alloc", "TCP.mem", "UDP.mem"]).row(&[&1, &2, &4096, &8192]);
    let got = probe().collect(&[("node", node)]).unwrap();
    assert_eq!(got.get("tcp_orphan", None, &[]), Some(1.0));
    assert_eq!(got.get("udp_memory", None, &[]), Some(8192.0));
    assert_eq!(got.len(), 4);
}

#[test]
fn a_key_that_a_kernel_lacks_gives_no_sample() {
    let v4 = Table::new(V4).row(&[&7, &20, &3, &4, &5, &None::<u64>, &8, &9, &1024]);
    let got = probe().collect(&[("v4", v4)]).unwrap();
    assert_eq!(got.get("udplite_inuse", Some(7), &["ipv4"]), None);
    assert_eq!(got.get("udp_inuse", Some(7), &["ipv4"]), Some(5.0));
}

#[test]
fn without_rows_there_are_no_samples() {
    assert!(probe().collect(&[]).unwrap().is_empty());
}

#[test]
fn settings_are_refused_by_name() {
    let error = Harness::<Sockstat>::new(r#"{"colour": 1}"#).err().unwrap();
    assert!(error.contains("colour"), "{error}");
}
