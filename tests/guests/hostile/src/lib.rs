//! A guest that misbehaves on request: `settings: { mode: ... }`. It speaks the bare interface, since the SDK would not let it.

use netsonde_sdk::{
    bindings::exports::netsonde::probe::guest::Guest,
    log,
    types::{
        Call, Coded, Column, Field, Metric, MetricKind, Operation, Output, Plan, Query, QueryState, Samples, Values,
    },
};
use std::cell::RefCell;

thread_local! {
    static MODE: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Hostile;

impl Guest for Hostile {
    fn describe(settings: String) -> Result<Plan, String> {
        std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
        let settings: serde_json::Value = serde_json::from_str(&settings).map_err(|error| error.to_string())?;
        let mode = settings["mode"].as_str().ok_or("settings: mode is missing")?.to_owned();
        MODE.set(mode.clone());
        match mode.as_str() {
            "loop_in_describe" => spin(),
            "panic_in_describe" => panic!("I do not want to be described"),
            "foreign_column" => return Ok(plan("SELECT netns, TCP.in_use FROM proc.net.sockstat")),
            "unsupported_sql" => {
                return Ok(plan("SELECT netns FROM proc.net.sockstat a JOIN proc.net.dev b ON a.netns = b.netns"));
            }
            "nosy" => return Ok(plan("SELECT namespace, pod, labels FROM node.pods")),
            "reserved_label" => {
                let mut plan = plan(QUERY);
                plan.metrics[0].labels[0].name = "pod".into();
                return Ok(plan);
            }
            _ => {}
        }
        Ok(plan(QUERY))
    }

    fn start(_: Vec<QueryState>) -> Result<(), String> {
        match MODE.with_borrow(String::clone).as_str() {
            "error_in_start" => Err("I do not like these queries".into()),
            _ => Ok(()),
        }
    }

    fn process(call: Call) -> Result<Output, String> {
        let mode = MODE.with_borrow(String::clone);
        let label = || vec![text("x")];
        match mode.as_str() {
            "loop" => spin(),
            "grow" => grow(),
            "panic" => panic!("I fell on purpose"),
            "error" => Err("these rows make no sense".into()),
            "well" | "nosy" => Ok(one(GAUGE, Operation::Set, label(), Values::U64s(vec![call.id]))),
            "chatter" => {
                (0..100).for_each(|_| log::info("and another thing"));
                Ok(one(GAUGE, Operation::Set, label(), Values::U64s(vec![1])))
            }
            "wrong_column_count" => Ok(one(GAUGE, Operation::Set, vec![text("x"), text("y")], Values::U64s(vec![1]))),
            "short_column" => Ok(one(GAUGE, Operation::Set, label(), Values::U64s(vec![1, 2, 3]))),
            "unknown_metric" => Ok(one(77, Operation::Set, label(), Values::U64s(vec![1]))),
            "unknown_code" => {
                let label =
                    Column { values: Values::Codes(Coded { codes: vec![9], names: vec!["x".into()] }), present: None };
                Ok(one(GAUGE, Operation::Set, vec![label], Values::U64s(vec![1])))
            }
            "absurd_label" => Ok(one(GAUGE, Operation::Set, vec![text(&"é".repeat(1 << 19))], Values::U64s(vec![1]))),
            "million_samples" => {
                Ok(one(GAUGE, Operation::Set, vec![numbers(1_000_000)], Values::U64s(vec![1; 1_000_000])))
            }
            "many_series" => Ok(one(COUNTER, Operation::Add, vec![numbers(20_000)], Values::U64s(vec![1; 20_000]))),
            "same_series_twice" => Ok(one(GAUGE, Operation::Set, vec![texts(&["x", "x"])], Values::U64s(vec![1, 2]))),
            "nan_counter" => Ok(one(COUNTER, Operation::Add, label(), Values::F64s(vec![f64::NAN]))),
            "negative_counter" => Ok(one(COUNTER, Operation::Add, label(), Values::S64s(vec![-1]))),
            "infinite_gauge" => Ok(one(GAUGE, Operation::Set, label(), Values::F64s(vec![f64::INFINITY]))),
            "lying_length" => Ok(one(GAUGE, Operation::Set, label(), Values::U64s(lie(vec![1], 1 << 28)))),
            "aliased_lists" => Ok(one(GAUGE, Operation::Set, vec![aliased()], Values::U64s(vec![1]))),
            other => Err(format!("there is no mode {other}")),
        }
    }
}

netsonde_sdk::bindings::export_guest!(Hostile with_types_in netsonde_sdk::bindings);

const QUERY: &str = "SELECT netns, sockets.used FROM proc.net.sockstat";
const GAUGE: u32 = 0;
const COUNTER: u32 = 1;

fn plan(sql: &str) -> Plan {
    let query = Query { name: "sockets".into(), sql: sql.into(), optional: false, attributes: vec![] };
    let metric = |name: &str, kind| Metric {
        name: name.into(),
        help: "What a hostile guest says".into(),
        kind,
        unit: String::new(),
        labels: vec![Field { name: "label".into(), logical: "text".into(), nullable: false, attributes: vec![] }],
        bounds: vec![],
        queries: vec![0],
        scoped: false,
        attributes: vec![],
    };
    let metrics = vec![metric("gauge", MetricKind::Gauge), metric("counter", MetricKind::Counter)];
    Plan { queries: vec![query], metrics, events: vec![], attributes: vec![] }
}

fn one(metric: u32, operation: Operation, labels: Vec<Column>, values: Values) -> Output {
    let values = Column { values, present: None };
    let samples = Samples { metric, operation, scopes: None, labels, parts: None, values, extras: vec![] };
    Output { samples: vec![samples], buckets: vec![], events: vec![] }
}

fn text(text: &str) -> Column {
    texts(&[text])
}

fn texts(texts: &[&str]) -> Column {
    let names = texts.iter().map(|text| text.to_string()).collect();
    Column { values: Values::Codes(Coded { codes: (0..texts.len() as u32).collect(), names }), present: None }
}

fn numbers(count: u32) -> Column {
    Column { values: Values::U32s((0..count).collect()), present: None }
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns + 1);
    }
}

fn grow() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

/// A list that says it is longer than the memory.
fn lie(values: Vec<u64>, len: usize) -> Vec<u64> {
    let mut values = std::mem::ManuallyDrop::new(values);
    // SAFETY: unsound on purpose. The guest never reads it: the host does, and must notice.
    unsafe { Vec::from_raw_parts(values.as_mut_ptr(), len, len) }
}

/// A dictionary of 100,000 texts that are all the same 64 KiB: 6 GiB to lift, from under a megabyte.
fn aliased() -> Column {
    let mut shared = std::mem::ManuallyDrop::new("x".repeat(1 << 16).into_bytes());
    let (start, len) = (shared.as_mut_ptr(), shared.len());
    // SAFETY: unsound on purpose. The texts overlap, and are never dropped: the call ends in the host's refusal.
    let name = || unsafe { String::from_raw_parts(start, len, len) };
    let names = (0..100_000).map(|_| name()).collect();
    Column { values: Values::Codes(Coded { codes: vec![0], names }), present: None }
}
