//! Over a made-up procfs: a file that is not there tells whether somebody looked for it.

use super::*;
use crate::agent::reads::{Binding, Reads};
use netsonde_core::{
    batch::{Column, Values},
    query::{Asker, Query, plan},
    scope::ScopeId,
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    time::{Duration, Instant},
};

/// A procfs with these processes, each in a namespace of its own: pid, sockets in TIME_WAIT, connections. None: no such file.
struct Proc(PathBuf);

impl Proc {
    fn new(name: &str, processes: &[(u32, Option<u32>, Option<u32>)]) -> Self {
        let root = std::env::temp_dir().join(format!("netsonde-{name}-{}", std::process::id()));
        for (pid, time_wait, established) in [(1, Some(0), Some(0))].iter().chain(processes) {
            let net = root.join(pid.to_string()).join("net");
            fs::create_dir_all(&net).unwrap();
            fs::create_dir_all(net.with_file_name("ns")).unwrap();
            symlink(format!("net:[{pid}]"), net.with_file_name("ns").join("net")).unwrap();
            if let Some(time_wait) = time_wait {
                fs::write(net.join("sockstat"), format!("sockets: used 9\nTCP: inuse 4 orphan 0 tw {time_wait}\n"))
                    .unwrap();
            }
            if let Some(established) = established {
                fs::write(net.join("snmp"), format!("Tcp: CurrEstab OutRsts\nTcp: {established} 0\n")).unwrap();
            }
        }
        Self(root)
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn namespaces(pids: impl IntoIterator<Item = u32>) -> Vec<Namespace> {
    let namespace = |pid: u32| Namespace { scope: pid, inode: pid.into(), pids: vec![pid], path: None, host: false };
    pids.into_iter().map(namespace).collect()
}

fn name(scope: ScopeId) -> Option<String> {
    Some(format!("n{scope}"))
}

fn planned(tables: &Tables, sql: &str) -> Query {
    plan(sql, &tables.catalogue(), Asker::Probe).unwrap_or_else(|error| panic!("{}", error.render(sql)))
}

/// What the queries are given: the first column and the failed namespaces, or why all of it failed.
type Given = Result<(Vec<u64>, Vec<(ScopeId, String)>), String>;

fn given(tables: &mut Tables, queries: &[Query], namespaces: &[Namespace]) -> Vec<Given> {
    let mut reads = Reads::default();
    let bindings: Vec<Binding> = queries.iter().map(|query| reads.bind(query)).collect();
    tables.prepare(&reads.0);
    let collected =
        tables.collect(namespaces, &name, &mut |_| unreachable!("no pass"), Instant::now() + Duration::from_secs(5));
    let one = |(query, binding): (&Query, &Binding)| {
        let table = collected.tables[binding.read].as_ref().map_err(String::clone)?;
        let columns: Vec<&Column> = binding.columns.iter().map(|&column| &table.batch.columns[column]).collect();
        let rows = query.run(table.batch.rows, &columns, &name).batch.columns.remove(0);
        let numbers = match rows.values {
            Values::U32(values) => values.into_iter().map(u64::from).collect(),
            Values::U64(values) => values,
            other => panic!("{other:?}"),
        };
        Ok((numbers, table.failed.clone()))
    };
    queries.iter().zip(&bindings).map(one).collect()
}

#[test]
fn rule_25_a_table_is_read_only_where_the_subquery_says() {
    let processes = [(11, Some(5), Some(3)), (12, Some(0), None), (13, None, Some(3)), (14, Some(2), None)];
    let proc = Proc::new("limited", &processes);
    let mut tables = Tables::new(&proc.0, &Hooks::default());
    let all = planned(&tables, "SELECT netns, Tcp.CurrEstab FROM proc.net.snmp");
    let limited = planned(
        &tables,
        "SELECT netns, Tcp.CurrEstab FROM proc.net.snmp WHERE netns IN (SELECT netns FROM proc.net.sockstat WHERE TCP.tw > 0)",
    );
    let namespaces = namespaces(11..=14);
    let [everywhere, there] = &given(&mut tables, &[all, limited.clone()], &namespaces)[..] else { panic!() };
    let (rows, failed) = everywhere.as_ref().unwrap();
    assert_eq!((&rows[..], failed.len()), (&[11, 13][..], 2), "every file is looked for");
    let (rows, failed) = there.as_ref().unwrap();
    assert_eq!(rows, &[11]);
    // 12 was not looked at: its file is not there. 14 was. Of 13 nobody knows.
    let reasons: Vec<(u32, &str)> =
        failed.iter().map(|(scope, why)| (*scope, why.split(", ").next().unwrap())).collect();
    assert_eq!(reasons.len(), 2, "{failed:?}");
    assert!(reasons[0].0 == 14 && reasons[0].1.starts_with("read net/snmp"), "{failed:?}");
    assert_eq!(reasons[1], (13, "proc.net.sockstat"), "{failed:?}");
    assert!(failed[1].1.contains("says where to read") && failed[1].1.contains("read net/sockstat"), "{failed:?}");

    let none = [Namespace { pids: vec![12], ..namespaces[1].clone() }];
    assert_eq!(given(&mut tables, &[limited], &none), [Ok((vec![], vec![]))]);
}

#[test]
fn rule_25_of_several_subqueries_all_must_agree() {
    let processes =
        [(11, Some(5), Some(3)), (12, Some(5), Some(0)), (13, None, Some(0)), (14, None, Some(3)), (15, None, None)];
    let proc = Proc::new("several", &processes);
    let mut tables = Tables::new(&proc.0, &Hooks::default());
    let query = planned(
        &tables,
        "SELECT netns FROM proc.net.sockstat WHERE name(netns) <> 'x' \
         AND netns IN (SELECT netns FROM proc.net.sockstat WHERE TCP.tw > 0 AND name(netns) <> 'n16') \
         AND netns IN (SELECT netns FROM proc.net.snmp WHERE Tcp.CurrEstab > 0)",
    );
    let (rows, failed) = given(&mut tables, &[query], &namespaces(11..=15)).remove(0).unwrap();
    assert_eq!(rows, [11]);
    // What the second one leaves out need not be known to the first one, and 13 is left out.
    let mut failed: Vec<ScopeId> = failed.into_iter().map(|(scope, _)| scope).collect();
    failed.sort_unstable();
    assert_eq!(failed, [14, 15]);
}

#[test]
fn rule_25_where_nobody_can_say_where_to_read_nothing_is_read() {
    let proc = Proc::new("gone", &[(11, Some(5), Some(3))]);
    let mut tables = Tables::new(&proc.0, &Hooks::default());
    let sql = "SELECT netns FROM proc.net.snmp WHERE netns IN (SELECT netns FROM proc.net.sockstat)";
    let query = planned(&tables, sql);
    drop(proc);
    let why = given(&mut tables, &[query], &namespaces([11])).remove(0).unwrap_err();
    assert!(why.starts_with("proc.net.sockstat, which says where to read, has failed: open "), "{why}");
}

#[test]
fn rule_25_reads_are_shared_by_queries_that_look_in_the_same_places() {
    let tables = Tables::new(Path::new("/proc"), &Hooks::default());
    let mut reads = Reads::default();
    let mut bind = |sql: &str| reads.bind(&planned(&tables, sql)).read;
    let limit = |tw: u32| format!("netns IN (SELECT netns FROM proc.net.sockstat WHERE TCP.tw > {tw})");
    let snmp = "SELECT netns, Tcp.CurrEstab FROM proc.net.snmp";
    let everywhere = bind(snmp);
    assert_eq!(bind("SELECT Tcp.OutRsts FROM proc.net.snmp WHERE Tcp.OutRsts > 1"), everywhere);
    let limited = bind(&format!("{snmp} WHERE {}", limit(0)));
    assert_ne!(limited, everywhere);
    assert_eq!(bind(&format!("SELECT netns FROM proc.net.snmp WHERE Tcp.OutRsts > 1 AND {}", limit(0))), limited);
    assert_ne!(bind(&format!("{snmp} WHERE {}", limit(1))), limited);
    let asked: Vec<(&str, usize)> =
        reads.0.iter().map(|asked| (asked.read.table.as_str(), asked.within.len())).collect();
    // What the subqueries ask is one read for all.
    let expected = [("proc.net.snmp", 0), ("proc.net.sockstat", 0), ("proc.net.snmp", 1), ("proc.net.snmp", 1)];
    assert_eq!(asked, expected);
}
