//! A probe in the agent when the tables of the node change under it. Real guests, tables as a captured node has them.

use netsonde::{
    agent::{
        self,
        slot::{Health, Slot, Spec},
    },
    probe::{cache::Cache, engine::Engine, limits::Limits, module::Source},
};
use netsonde_core::{
    config,
    metric::registry::{self, Now, Registry},
    probe::Plan,
    proc::{File, HostFiles, catalogue},
    table::Catalogue,
};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(5);
const NOW: Now = Now { monotonic: Duration::ZERO, unix: Duration::ZERO };

/// The tables of a node that lacks these files.
fn tables(lacking: &[File]) -> Catalogue {
    let read = |file: File| match file {
        file if lacking.contains(&file) => Err("there is no such file".to_owned()),
        File::Sockstat => Ok(include_bytes!("../core/src/proc/testdata/sockstat-6.18.txt").to_vec()),
        File::Sockstat6 => Ok(include_bytes!("../core/src/proc/testdata/sockstat6-6.18.txt").to_vec()),
        File::Snmp => Ok(include_bytes!("../core/src/proc/testdata/snmp-6.18.txt").to_vec()),
        _ => Err("not part of this test".to_owned()),
    };
    catalogue(&HostFiles::new(read), 4096)
}

fn sockstat(engine: &Engine) -> Slot {
    let spec = Spec {
        name: "sockstat".into(),
        source: Source::Builtin("sockstat".into()),
        settings: "{}".into(),
        limits: Limits::from(&config::Limits::default()),
        series: registry::Limits::default(),
        events: 1000,
        stack: false,
        allow: vec![],
        pod_labels: vec![],
    };
    Slot::load(spec, engine, &Cache::none(), agent::nobody())
}

#[test]
fn rule_4_a_change_of_a_querys_state_makes_a_new_start() {
    let engine = Engine::new(1).unwrap();
    let mut registry = Registry::new();
    let mut register = |name: &str, plan: &Plan, sampled: &[bool]| {
        registry
            .add_probe(name, plan, sampled, registry::Limits::default(), NOW)
            .map_err(|errors| format!("{errors:?}"))
    };
    let mut slot = sockstat(&engine);
    slot.advance(&tables(&[File::Sockstat6]), &mut register, WAIT);
    let (health, why) = slot.health();
    assert_eq!(health, Health::Degraded, "{why}");
    assert!(why.contains("query `v6`") && why.contains("there is no such file"), "{why}");

    slot.replan(&tables(&[]), &mut register);
    assert_eq!(slot.health().0, Health::Starting, "a new instance, with a new start");
    slot.advance(&tables(&[]), &mut register, WAIT);
    assert_eq!(slot.health(), (Health::Running, String::new()));

    slot.replan(&tables(&[]), &mut register);
    assert_eq!(slot.health().0, Health::Running, "nothing changed: the instance stays");

    slot.replan(&tables(&[File::Snmp]), &mut register);
    let (health, why) = slot.health();
    assert_eq!(health, Health::Down, "a query that is not optional cannot be answered");
    assert!(why.contains("query `established`"), "{why}");

    slot.replan(&tables(&[]), &mut register);
    slot.advance(&tables(&[]), &mut register, WAIT);
    assert_eq!(slot.health().0, Health::Running, "it is there again");
}
