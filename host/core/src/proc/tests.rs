//! Every parser on files of several kernels, and on files that no kernel writes.

use super::{
    link::{Device, Devices, Veth},
    *,
};
use crate::{
    batch::{Column, Values},
    table::{Catalogue, Table},
};
use proptest::prelude::*;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("testdata/", $name)).as_slice()
    };
}

const PAGE: u64 = 4096;

fn host_files() -> HostFiles {
    HostFiles::new(|file| Ok(captured(file).to_vec()))
}

fn captured(file: File) -> &'static [u8] {
    match file {
        File::Sockstat => file!("sockstat-6.18.txt"),
        File::Sockstat6 => file!("sockstat6-6.18.txt"),
        File::Snmp => file!("snmp-6.18.txt"),
        File::Snmp6 => file!("snmp6-6.18.txt"),
        File::Netstat => file!("netstat-6.18.txt"),
        File::Dev => file!("dev-6.18.txt"),
        File::SoftnetStat => file!("softnet_stat-6.18.txt"),
    }
}

fn tables() -> Catalogue {
    catalogue(&host_files(), PAGE)
}

/// Columns by name, those of the catalogue.
fn columns(table: &Table, names: &[&str]) -> Vec<TableColumn> {
    names.iter().map(|name| table.column(name).unwrap_or_else(|| panic!("{}: no column {name}", table.name))).collect()
}

fn values(column: &Column) -> Vec<Option<String>> {
    let value = |row: usize| match &column.values {
        Values::U32(values) => values[row].to_string(),
        Values::U64(values) => values[row].to_string(),
        Values::S64(values) => values[row].to_string(),
        _ => column.text(row).unwrap_or_default().to_owned(),
    };
    (0..column.len()).map(|row| column.has(row).then(|| value(row))).collect()
}

/// Rows of `text` as one line each, `NULL` where there is no value; scope 7.
fn read(table: &str, names: &[&str], text: &[u8]) -> Result<Vec<String>, String> {
    let catalogue = tables();
    let columns = columns(catalogue.table(table).expect(table), names);
    let mut parser = Parser::new(table, &columns, PAGE).expect(table);
    let mut out = builders(&columns);
    let veth = |index, other| Device { kind: "veth".into(), veth: Some(Veth { index, other, elsewhere: true }) };
    let devices = Devices::from([(b"eth0".to_vec(), veth(2, 7))]);
    let elsewhere = Devices::from([(b"veth7".to_vec(), veth(7, 2))]);
    let peers = Peers::new([(7, &devices), (9, &elsewhere)]);
    let links = Links { devices: &devices, peers: Some(&peers) };
    let rows = parser.parse(text, Some(7), Some(links), &mut out).map_err(|error| error.to_string())?;
    let columns: Vec<_> = out.into_iter().map(|builder| values(&builder.finish())).collect();
    let cell = |row: usize, column: &Vec<Option<String>>| column[row].clone().unwrap_or("NULL".into());
    Ok((0..rows).map(|row| columns.iter().map(|column| cell(row, column)).collect::<Vec<_>>().join(" ")).collect())
}

#[test]
fn files_of_each_kernel_give_the_wanted_columns() {
    let sockstat = ["netns", "FRAG.memory", "sockets.used", "TCP.inuse", "TCP.tw", "UDPLITE.inuse"];
    let snmp =
        ["Tcp.CurrEstab", "Tcp.MaxConn", "Udp.MemErrors", "UdpLite.InErrors", "IcmpMsg.InType3", "Ip.OutTransmits"];
    let netstat = ["netns", "TcpExt.ListenOverflows", "IpExt.InOctets", "MPTcpExt.MPCurrEstab"];
    let softnet = ["cpu", "processed", "dropped", "received_rps", "flow_limit_count", "backlog_len", "process_qlen"];
    let dev = ["netns", "name", "kind", "rx_bytes", "multicast", "tx_compressed"];
    let peer = ["name", "peer"];
    for (table, names, text, expected) in [
        ("proc.net.sockstat", &sockstat[..], file!("sockstat-3.10.txt"), &["7 4864 214 28 17 0"][..]),
        ("proc.net.sockstat", &sockstat, file!("sockstat-6.18.txt"), &["7 0 12 1 0 0"]),
        ("proc.net.sockstat", &sockstat, file!("sockstat-no-udplite.txt"), &["7 0 31 4 2 NULL"]),
        ("proc.net.sockstat6", &["TCP6.inuse", "FRAG6.memory"], file!("sockstat6-6.18.txt"), &["0 0"]),
        (
            "proc.sockstat",
            &["TCP.orphan", "TCP.alloc", "TCP.mem", "UDP.mem"],
            file!("sockstat-3.10.txt"),
            &["2 61 36864 12288"],
        ),
        ("proc.net.snmp", &snmp, file!("snmp-3.10.txt"), &["38 -1 NULL 0 112 NULL"]),
        ("proc.net.snmp", &snmp, file!("snmp-5.4.txt"), &["4 -1 NULL 0 NULL NULL"]),
        ("proc.net.snmp", &snmp, file!("snmp-6.1.txt"), &["4 -1 5 0 103 NULL"]),
        (
            "proc.net.snmp",
            &["IcmpMsg.InType15", "IcmpMsg.InType16", "IcmpMsg.OutType8"],
            file!("snmp-6.1.txt"),
            &["115 216 308"],
        ),
        ("proc.net.snmp", &snmp, file!("snmp-no-udplite.txt"), &["0 -1 0 NULL 1 6903"]),
        (
            "proc.net.snmp6",
            &["netns", "Ip6InReceives", "Icmp6OutType135", "Udp6MemErrors"],
            file!("snmp6-6.18.txt"),
            &["7 1 4 0"],
        ),
        (
            "proc.net.snmp6",
            &["netns", "Icmp6OutMLDv2Reports", "Icmp6OutType135"],
            file!("snmp6-5.4.txt"),
            &["7 4 NULL"],
        ),
        ("proc.net.netstat", &netstat, file!("netstat-6.18.txt"), &["7 0 141219380 0"]),
        ("proc.net.netstat", &netstat, file!("netstat-fewer-keys.txt"), &["7 0 1020300400 NULL"]),
        (
            "proc.net.dev",
            &dev,
            file!("dev-6.18.txt"),
            &["7 lo NULL 3245 0 0", "7 ifb0 NULL 0 0 0", "7 ifb1 NULL 0 0 0", "7 eth0 veth 141317959 0 0"],
        ),
        ("proc.net.dev", &dev, file!("dev-2.6-no-space.txt"), &["7 lo NULL 3245 0 0", "7 eth0 veth 3141317959 0 0"]),
        (
            "proc.net.dev",
            &dev,
            file!("dev-5.4-long-names.txt"),
            &[
                "7 lo NULL 3245 0 0",
                "7 vethabcdef01234 NULL 18446744073709551615 6 12",
                "7 eth0:1 NULL 141317959 0 0",
                "7 |weird| NULL 1 0 0",
            ],
        ),
        ("proc.net.dev", &peer, file!("dev-6.18.txt"), &["lo NULL", "ifb0 NULL", "ifb1 NULL", "eth0 9"]),
        (
            "proc.softnet_stat",
            &softnet,
            file!("softnet_stat-2.6.32.txt"),
            &["0 13 1 NULL NULL NULL NULL", "1 4294967295 0 NULL NULL NULL NULL"],
        ),
        (
            "proc.softnet_stat",
            &softnet,
            file!("softnet_stat-3.10.txt"),
            &["0 13 1 4 5 NULL NULL", "1 7269 0 0 0 NULL NULL"],
        ),
        ("proc.softnet_stat", &softnet, file!("softnet_stat-5.10.txt"), &["0 13 1 4 5 6 NULL", "3 7269 0 0 0 0 NULL"]),
        ("proc.softnet_stat", &softnet, file!("softnet_stat-6.8.txt"), &["1 13 1 4 5 13 7"]),
    ] {
        assert_eq!(
            read(table, names, text).as_deref(),
            Ok(&expected.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..]),
            "{table}"
        );
    }
}

#[test]
fn every_column_of_dev_is_the_field_that_the_kernel_prints_there() {
    let text = file!("dev-5.4-long-names.txt").split_inclusive(|&byte| byte == b'\n');
    let text: Vec<u8> = text.enumerate().filter(|(line, _)| *line != 2).flat_map(|(_, line)| line).copied().collect();
    let row = |name| read("proc.net.dev", &[name], &text).unwrap()[0].clone();
    let expected = [
        ("rx_bytes", "18446744073709551615"),
        ("rx_packets", "7252"),
        ("rx_errors", "1"),
        ("rx_dropped", "2"),
        ("rx_fifo_errors", "3"),
        ("rx_frame_errors", "4"),
        ("rx_compressed", "5"),
        ("multicast", "6"),
        ("tx_bytes", "694367"),
        ("tx_packets", "6888"),
        ("tx_errors", "7"),
        ("tx_dropped", "8"),
        ("tx_fifo_errors", "9"),
        ("collisions", "10"),
        ("tx_carrier_errors", "11"),
        ("tx_compressed", "12"),
    ];
    for (name, value) in expected {
        assert_eq!(row(name), value, "{name}");
    }
}

#[test]
fn rule_24_columns_are_the_hosts_keys_and_unknown_ones_appear_by_themselves() {
    let mut files = host_files();
    let with_new_keys =
        String::from_utf8(captured(File::Snmp).to_vec()).unwrap().replace(" CurrEstab", " NewKey CurrEstab");
    let with_new_keys = with_new_keys.replace(" 71 0 7107", " 71 42 0 7107") + "Quic: Open\nQuic: 9\n";
    files = HostFiles::new(|file| {
        if file == File::Snmp {
            Ok(with_new_keys.clone().into())
        } else {
            files.get(file).map(<[u8]>::to_vec).map_err(str::to_owned)
        }
    });
    let catalogue = catalogue(&files, PAGE);
    let table = catalogue.table("proc.net.snmp").unwrap();
    let columns = columns(table, &["Tcp.NewKey", "Quic.Open", "Tcp.CurrEstab", "IcmpMsg.InType250"]);
    let mut parser = Parser::new("proc.net.snmp", &columns, PAGE).unwrap();
    let mut out = builders(&columns);
    for text in [with_new_keys.as_bytes(), file!("snmp-3.10.txt"), with_new_keys.as_bytes()] {
        assert_eq!(parser.parse(text, None, None, &mut out), Ok(1));
    }
    let out: Vec<_> = out.into_iter().map(|builder| values(&builder.finish())).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(out[0], [some("42"), None, some("42")]);
    assert_eq!(out[1], [some("9"), None, some("9")]);
    assert_eq!(out[2], [some("0"), some("38"), some("0")]);
    assert_eq!(out[3], [None, None, None]);
    assert_eq!(table.columns[0].name, "netns");
    assert!(table.column("Tcp.Nonsense").is_none());
    assert!(catalogue.table("proc.net.snmp6").unwrap().column("Icmp6InType250").is_some());
}

#[test]
fn rule_24_the_long_form_has_every_key_of_the_wide_one() {
    for table in ["proc.net.sockstat", "proc.net.sockstat6", "proc.net.snmp", "proc.net.snmp6", "proc.net.netstat"] {
        let catalogue = tables();
        let wide = catalogue.table(table).unwrap();
        let file = TABLES.iter().find(|(name, ..)| *name == table).unwrap().1;
        let names: Vec<&str> = wide.columns[1..].iter().map(|column| column.name.as_str()).collect();
        let row = read(table, &names, captured(file)).unwrap()[0].clone();
        let expected: Vec<String> = names
            .iter()
            .zip(row.split(' '))
            .map(|(key, value)| format!("7 {key} {}", if value == "-1" { "NULL" } else { value }))
            .collect();
        assert_eq!(read(&format!("{table}.long"), &["netns", "key", "value"], captured(file)), Ok(expected));
    }
}

#[test]
fn what_is_of_the_node_is_not_in_a_namespaces_table() {
    let catalogue = tables();
    let sockstat = catalogue.table("proc.net.sockstat").unwrap();
    let node = catalogue.table("proc.sockstat").unwrap();
    let names: Vec<&str> = node.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, sockstat::NODE);
    for name in sockstat::NODE {
        assert!(sockstat.column(name).is_none(), "{name}");
        assert!(
            sockstat.elsewhere.iter().any(|(key, advice)| key == name && advice.contains("proc.sockstat")),
            "{name}"
        );
    }
    let long = read("proc.net.sockstat.long", &["key"], file!("sockstat-6.18.txt")).unwrap();
    assert!(!long.iter().any(|key| sockstat::NODE.contains(&key.as_str())), "{long:?}");
}

#[test]
fn a_file_that_cannot_be_read_takes_its_tables_away() {
    let files = HostFiles::new(|file| match file {
        File::Snmp6 => Err("read net/snmp6: no such file".into()),
        File::Netstat => Ok(Vec::new()),
        file => Ok(captured(file).to_vec()),
    });
    let catalogue = catalogue(&files, PAGE);
    let absent: Vec<&str> = catalogue.absent.iter().map(|absent| absent.name.as_str()).collect();
    assert_eq!(absent, ["proc.net.snmp6", "proc.net.snmp6.long", "proc.net.netstat"]);
    assert!(catalogue.absent[0].why.contains("no such file (a kernel without IPv6"));
    assert_eq!(catalogue.tables.len() + absent.len(), TABLES.len());
}

#[test]
fn a_broken_file_is_an_error_that_names_the_place_and_leaves_no_row() {
    let snmp = "Ip: A B\nIp: 1 2\nTcp: CurrEstab MaxConn\nTcp: ";
    let dev = "Inter-|   Receive\n face |bytes\n  lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
    for (table, name, text, message) in [
        ("proc.net.snmp", "Tcp.CurrEstab", format!("{snmp}x1 -1\n"), "line 4, Tcp.CurrEstab: `x1` is no number"),
        ("proc.net.snmp", "Tcp.CurrEstab", format!("{snmp}-1 -1\n"), "line 4, Tcp.CurrEstab: `-1` is no number"),
        ("proc.net.snmp", "Tcp.MaxConn", format!("{snmp}1\n"), "line 4, Tcp.MaxConn: there is no value"),
        ("proc.net.snmp", "Tcp.CurrEstab", "Tcp: CurrEstab\n".into(), "line 2, values of Tcp:: `` is not how"),
        ("proc.net.snmp", "Tcp.CurrEstab", "Tcp: CurrEstab\nUdp: 7\n".into(), "values of Tcp:: `Udp: 7` is not how"),
        ("proc.net.snmp.long", "key", format!("{snmp}7 x\n"), "line 4, Tcp.MaxConn: `x` is no number"),
        ("proc.net.sockstat", "TCP.tw", "TCP: inuse 1 tw\n".into(), "line 1, TCP.tw: there is no value"),
        (
            "proc.net.sockstat",
            "TCP.tw",
            "TCP: tw 18446744073709551616\n".into(),
            "TCP.tw: `18446744073709551616` is no",
        ),
        ("proc.sockstat", "TCP.mem", "TCP: mem 18446744073709551615\n".into(), "TCP.mem: `18446744073709551615` is no"),
        ("proc.net.snmp6", "Ip6InReceives", "Ip6InReceives\n".into(), "line 1, Ip6InReceives: `` is no number"),
        ("proc.net.dev", "rx_errors", format!("{dev}eth0: 1 2\n"), "line 4, rx_errors of eth0: there is no value"),
        ("proc.net.dev", "rx_bytes", format!("{dev}eth0: 1.5\n"), "line 4, rx_bytes of eth0: `1.5` is no number"),
        ("proc.net.dev", "name", format!("{dev}eth0 1 2\n"), "line 4, device: `eth0 1 2` is not how"),
        ("proc.net.dev", "name", "lo: 1\n".into(), "line 1, header: `lo: 1` is not how"),
        ("proc.softnet_stat", "processed", "00000001\n0000000g\n".into(), "line 2, processed: `0000000g` is no number"),
        ("proc.softnet_stat", "dropped", "00000001 00000002\n1\n".into(), "line 2, dropped: there is no value"),
    ] {
        let catalogue = tables();
        let columns =
            columns(catalogue.table(table).unwrap(), &["netns", name][usize::from(!table.contains(".net."))..]);
        let columns: Vec<TableColumn> = columns.into_iter().rev().collect();
        let mut parser = Parser::new(table, &columns, PAGE).unwrap();
        let mut out = builders(&columns);
        let whole = captured(parser.file());
        let rows = parser.parse(whole, Some(1), None, &mut out).unwrap();
        let error = parser.parse(text.as_bytes(), Some(2), None, &mut out).unwrap_err().to_string();
        assert!(error.starts_with(&format!("read {table}: line ")) && error.contains(message), "{error}");
        assert!(out.iter().all(|builder| builder.len() == rows), "{table}: rows of a broken file stayed");
    }
}

#[test]
fn what_is_not_wanted_may_be_broken() {
    assert_eq!(read("proc.net.sockstat", &["TCP.tw"], b"TCP: inuse x tw 3\nUDP: inuse"), Ok(vec!["3".into()]));
    assert_eq!(read("proc.net.snmp", &["Tcp.CurrEstab"], b"Tcp: CurrEstab Bad\nTcp: 3 x\nUdp"), Ok(vec!["3".into()]));
}

#[test]
fn a_device_that_stands_twice_is_taken_once() {
    let mut text = file!("dev-6.18.txt").to_vec();
    text.extend_from_slice(b"  eth0: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n");
    let rows = read("proc.net.dev", &["name", "rx_bytes"], &text).unwrap();
    assert_eq!(rows, ["lo 3245", "ifb0 0", "ifb1 0", "eth0 141317959"]);
}

#[test]
fn names_of_devices_may_be_any_bytes() {
    let text = b"Inter-|\n face |\n\xff\xfe: 1 2\n:: 3 4\n";
    assert_eq!(read("proc.net.dev", &["name", "rx_bytes"], text).unwrap(), ["\u{fffd}\u{fffd} 1", ": 3"]);
}

#[test]
fn the_fingerprint_follows_names_and_order_but_not_counters() {
    let with = |devices: &str| fingerprint(format!("Inter-|\n face |\n{devices}").as_bytes());
    assert_eq!(with("lo: 1 2\neth0: 3 4\n"), with("lo: 5 6\neth0: 7 8\n"));
    for other in ["eth0: 3 4\nlo: 1 2\n", "lo: 1 2\n", "lo: 1 2\neth1: 3 4\n", "loe: 1 2\nth0: 3 4\n"] {
        assert_ne!(with("lo: 1 2\neth0: 3 4\n"), with(other), "{other}");
    }
}

#[test]
fn a_table_without_columns_still_counts_rows() {
    let mut parser = Parser::new("proc.net.dev", &[], PAGE).unwrap();
    assert_eq!(parser.parse(file!("dev-6.18.txt"), None, None, &mut []), Ok(4));
}

#[test]
fn many_different_headers_do_not_pile_up() {
    let columns = columns(tables().table("proc.net.snmp").unwrap(), &["Tcp.CurrEstab"]);
    let mut parser = snmp::Parser::new(&columns);
    let mut out = builders(&columns);
    for i in 0..1000 {
        let text = format!("IcmpMsg: InType{i}\nIcmpMsg: 1\nTcp: A CurrEstab\nTcp: 1 {i}\n");
        assert_eq!(parser.parse(text.as_bytes(), None, &mut out), Ok(1));
        assert!(parser.remembered() <= 64);
    }
    let expected: Vec<_> = (0..1000).map(|i| Some(i.to_string())).collect();
    assert_eq!(values(&out.remove(0).finish()), expected);
}

/// A captured file with some bytes put elsewhere, taken out or changed.
fn mutated() -> impl Strategy<Value = (File, Vec<u8>)> {
    let change = (any::<prop::sample::Index>(), prop::option::of(any::<u8>()), any::<bool>());
    let token = prop::sample::select(vec![" ", "\n", ":", "Tcp:", "-1", "99999999999999999999", "\n\n", "x 1"]);
    let insert = (any::<prop::sample::Index>(), token);
    let changes = (prop::collection::vec(change, 0..8), prop::collection::vec(insert, 0..4));
    (prop::sample::select(File::ALL.to_vec()), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(file, (changes, inserts), end, cut)| {
            let mut text = captured(file).to_vec();
            for (at, byte, remove) in changes {
                let at = at.index(text.len());
                match (byte, remove) {
                    (Some(byte), _) => text[at] = byte,
                    (None, true) => drop(text.remove(at)),
                    (None, false) => {}
                }
            }
            for (at, token) in inserts {
                let at = at.index(text.len());
                text.splice(at..at, token.bytes());
            }
            if cut {
                text.truncate(end.index(text.len()));
            }
            (file, text)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Nothing panics, an error leaves the builders as they were, all columns have the same number of rows.
    #[test]
    fn no_bytes_make_a_parser_panic((file, text) in mutated()) {
        let catalogue = tables();
        for (table, ..) in TABLES.iter().filter(|(_, of, ..)| *of == file) {
            let columns = &catalogue.table(table).unwrap().columns;
            let mut parser = Parser::new(table, columns, PAGE).unwrap();
            let mut out = builders(columns);
            let before = parser.parse(captured(file), Some(1), None, &mut out).unwrap();
            let rows = before + parser.parse(&text, Some(2), None, &mut out).unwrap_or(0);
            prop_assert!(out.iter().all(|builder| builder.len() == rows));
            // The same parser is none the worse for it.
            prop_assert_eq!(parser.parse(captured(file), Some(3), None, &mut out), Ok(before));
        }
        fingerprint(&text);
        let _ = super::catalogue(&HostFiles::new(|_| Ok(text.clone())), PAGE);
    }

    /// What a kernel may add is a column, with its value, wherever it stands.
    #[test]
    fn rule_24_any_new_key_is_read(group in "[A-Z][A-Za-z]{0,8}", key in "[A-Za-z][A-Za-z0-9]{0,20}", value: u64, first: bool) {
        let (group, key) = (format!("{group}New"), format!("{key}New"));
        let old = String::from_utf8(captured(File::Snmp).to_vec()).unwrap();
        let pair = format!("{group}: {key} Other\n{group}: {value} 1\n");
        let text = if first { pair + &old } else { old + &pair };
        let files = HostFiles::new(|_| Ok(text.clone().into_bytes()));
        let catalogue = super::catalogue(&files, PAGE);
        let name = format!("{group}.{key}");
        let columns = columns(catalogue.table("proc.net.snmp").unwrap(), &[&name, "Tcp.OutRsts"]);
        let mut out = builders(&columns);
        Parser::new("proc.net.snmp", &columns, PAGE).unwrap().parse(text.as_bytes(), None, None, &mut out).unwrap();
        prop_assert_eq!(values(&out.remove(0).finish()), [Some(value.to_string())]);
        prop_assert_eq!(values(&out.remove(0).finish()), [Some("75".to_owned())]);
    }
}
