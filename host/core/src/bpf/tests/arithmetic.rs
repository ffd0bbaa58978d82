//! Arithmetic in the kernel against arithmetic in the host: random expressions over random values must come to the same.

use super::{
    kernel,
    world::{BOUNDLESS, Names, World, planned, show},
};
use crate::{
    batch::Column,
    bpf::program::figure,
    table::{Catalogue, Logical, Per, Table, TableColumn, Type},
};
use proptest::{prelude::*, sample::select, strategy::ValueTree};
use std::sync::LazyLock;

/// Columns of `hook.odd` that expressions are made of; the first are arguments, which may have any value.
const COLUMNS: &[&str] =
    &["big", "signed", "tiny", "count", "wide", "verdict", "dev.ifindex", "dev.mtu", "dev.minus", "maybe(nothing)"];
const LITERALS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "-3",
    "7",
    "10",
    "1000",
    "4294967296",
    "-4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "NULL",
];

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let hooks = kernel::catalogue(kernel::NEW);
    // The same columns as a table that the host reads.
    let known = COLUMNS.iter().filter(|column| !column.starts_with("maybe"));
    let query = planned(&format!("SELECT {} FROM hook.odd", known.cloned().collect::<Vec<_>>().join(", ")), &hooks);
    let columns = query.columns.iter().map(|column| TableColumn {
        nullable: true,
        ..TableColumn::new(column.name.clone(), column.ty, Logical::Count)
    });
    let table = Table {
        name: "proc.odd".into(),
        help: String::new(),
        source: String::new(),
        per: Per::Node,
        columns: columns.collect(),
        open_prefixes: Vec::new(),
        elsewhere: Vec::new(),
    };
    Catalogue { tables: vec![table], ..hooks }
});

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![4 => select(COLUMNS), 2 => select(LITERALS)].prop_map(str::to_owned);
    leaf.prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            6 => (inner.clone(), select(&["+", "-", "*", "/", "%"][..]), inner)
                .prop_map(|(a, by, b)| format!("({a}) {by} ({b})")),
        ]
    })
}

fn comparison() -> impl Strategy<Value = String> {
    let by = select(&["=", "<>", "<", "<=", ">", ">="][..]);
    (expression(), by, expression()).prop_map(|(a, by, b)| format!("({a}) {by} ({b})"))
}

/// Near where something happens, or anywhere.
fn number() -> impl Strategy<Value = u64> {
    let near = select(&[0, 1 << 8, 1 << 31, 1 << 32, 3_037_000_500, 1 << 63, (1 << 63) / 10, u64::MAX / 10][..]);
    prop_oneof![4 => (near, -3..=3_i64).prop_map(|(near, by)| near.wrapping_add_signed(by)), 1 => any::<u64>()]
}

fn events() -> impl Strategy<Value = Vec<([u64; 6], Option<[u64; 3]>)>> {
    let device = prop::option::weighted(0.8, prop::array::uniform3(number()));
    prop::collection::vec((prop::array::uniform6(number()), device), 1..8)
}

impl World {
    fn numbers(&mut self, [tiny, big, wide, verdict, count, signed]: [u64; 6], device: Option<[u64; 3]>) {
        let device = device.map_or(0, |[ifindex, mtu, bits]| {
            let at = self.object("net_device");
            self.set(at, "net_device", "ifindex", ifindex);
            self.set(at, "net_device", "mtu", mtu);
            let place = self.place(at, "net_device", "bits");
            self.machine.poke(place, &bits.to_le_bytes()[..2]);
            at
        });
        self.run(&[0, tiny, big, wide, verdict, 0, 0, 0, 0, 0, device, count, signed]);
    }
}

/// The values of all columns, as a stream gives them, in the order of the host's query.
fn columns(events: &[([u64; 6], Option<[u64; 3]>)], wanted: &[TableColumn]) -> Vec<Column> {
    let names: Vec<&str> = wanted.iter().map(|column| column.name.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let mut all = World::of(&CATALOGUE, &format!("SELECT {} FROM hook.odd", names.join(", ")), BOUNDLESS);
    events.iter().for_each(|(numbers, device)| all.numbers(*numbers, *device));
    all.decoded().columns
}

/// The rows and the number of overflows, in the kernel and in the host.
fn both(select: &str, events: &[([u64; 6], Option<[u64; 3]>)]) -> Option<[(Vec<String>, u64); 2]> {
    let sql = |table: &str| select.replace("{}", table);
    // Made of literals alone, or of what does not fit.
    let host = crate::query::plan(&sql("proc.odd"), &CATALOGUE, crate::query::Asker::Person).ok()?;
    let mut world = World::of(&CATALOGUE, &sql("hook.odd"), BOUNDLESS);
    events.iter().for_each(|(numbers, device)| world.numbers(*numbers, *device));
    let columns = columns(events, &host.columns);
    let answered = host.run(events.len(), &columns.iter().collect::<Vec<_>>(), &Names);
    let mut rows = show(&answered.batch);
    let in_kernel = if world.query.grouping.is_some() {
        world.collect(0);
        rows.sort_unstable();
        world.grouped()
    } else {
        world.rows()
    };
    Some([(in_kernel, world.machine.figure(figure::OVERFLOW)), (rows, answered.overflows)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn rule_21_the_kernel_and_the_host_compute_the_same(
        a in expression(),
        b in expression(),
        c in comparison(),
        events in events(),
    ) {
        for select in [a.clone(), b.clone(), c.clone(), format!("({c}) IS NULL")] {
            let Some([kernel, host]) = both(&format!("SELECT {select} AS x FROM {{}}"), &events) else { continue };
            prop_assert_eq!(kernel, host, "{}", select);
        }
        let Some([kernel, host]) = both(&format!("SELECT {a} AS a, {c} AS c, {b} AS b FROM {{}}"), &events) else {
            return Ok(());
        };
        prop_assert_eq!(kernel.0, host.0, "{} | {} | {}", a, b, c);
        let aggregates = format!("SELECT {c} AS c, count(*), count({a}), min({b}), max({b}) FROM {{}} GROUP BY {c}");
        if let Some([kernel, host]) = both(&aggregates, &events) {
            prop_assert_eq!(kernel.0, host.0, "{}", aggregates);
        }
    }

    #[test]
    fn rule_23_the_kernel_and_the_host_fill_the_same_buckets(a in expression(), c in comparison(), events in events()) {
        for select in [
            format!("SELECT histogram({a}) FROM {{}}"),
            format!("SELECT {c} AS c, histogram({a}) FROM {{}} GROUP BY c, bucket"),
        ] {
            let Some([kernel, host]) = both(&select, &events) else { continue };
            // Sums of so large numbers wrap in the kernel.
            let counts = |rows: Vec<String>| -> Vec<String> {
                rows.iter().map(|row| row.rsplit_once(' ').expect("a sum").0.to_owned()).collect()
            };
            prop_assert_eq!(counts(kernel.0), counts(host.0), "{}", select);
        }
    }

    #[test]
    fn rule_21_the_kernel_and_the_host_choose_the_same_rows(
        a in expression(),
        by in select(&["=", "<>", "<", "<=", ">", ">=", "IN"][..]),
        b in expression(),
        literal in select(LITERALS),
        c in comparison(),
        events in events(),
    ) {
        let right = if by == "IN" { format!("({literal}, 1)") } else { format!("({b})") };
        for condition in [
            format!("({a}) {by} {right}"),
            format!("NOT (({a}) {by} {right}) OR {literal} < ({b})"),
            format!("({c}) IS NULL OR ({a}) IS NOT NULL AND NOT ({c})"),
            format!("({c}) = TRUE"),
            format!("({b}) BETWEEN {literal} AND ({a})"),
        ] {
            let select = format!("SELECT big, signed, dev.mtu FROM {{}} WHERE {condition}");
            let Some([kernel, host]) = both(&select, &events) else { continue };
            prop_assert_eq!(kernel.0, host.0, "{}", condition);
        }
    }
}

#[test]
fn most_random_expressions_are_computed() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut planned, mut overflows, mut nulls) = (0, 0, 0);
    for _ in 0..200 {
        let tree = |runner: &mut _| expression().new_tree(runner).unwrap().current();
        let select = format!("SELECT {} AS x FROM {{}}", tree(&mut runner));
        let events = events().new_tree(&mut runner).unwrap().current();
        let Some([(rows, overflowed), _]) = both(&select, &events) else { continue };
        planned += 1;
        overflows += usize::from(overflowed > 0);
        nulls += usize::from(rows.iter().all(|row| row == "NULL"));
    }
    assert!(planned > 120 && overflows > 20 && nulls < planned / 2, "{planned} {overflows} {nulls}");
}

#[test]
fn rule_21_an_expression_is_a_column_of_its_own() {
    let mut world = World::new(
        "SELECT dev.mtu * 1500 / 7 AS a, 10 * big > 9 * count AS full, (signed + 1) IS NULL AS b FROM hook.odd WHERE big - count < 5",
    );
    let names: Vec<&str> = world.query.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["dev.mtu * 1500 / 7", "10 * big > 9 * count", "signed + 1", "big - count"]);
    assert_eq!(world.query.columns[1].ty, Type::Bool);
    world.numbers([0, 9, 0, 0, 10, i64::MAX as u64], Some([0, 14, 0]));
    world.numbers([0, 16, 0, 0, 10, 5], Some([0, 14, 0]));
    world.numbers([0, 10, 0, 0, 10, 5], None);
    assert_eq!(world.rows(), ["3000 0 1", "NULL 1 0"]);
    assert_eq!(world.machine.figure(figure::OVERFLOW), 1);
}

#[test]
fn operands_with_calls_on_their_way_do_not_lose_each_other() {
    let mut world = World::new(
        "SELECT (sk::tcp_sock).snd_cwnd * lport - (sk::tcp_sock).srtt_us AS a, pid + cpu * (rport - lport) AS b, \
         lport < rport AS c, (sk::udp_sock).len + 1 AS d FROM hook.tcp_receive_reset",
    );
    let sk = world.socket(6, ("10.0.0.1", 100), ("10.0.0.2", 250), 0);
    world.set(sk, "tcp_sock", "snd_cwnd", 10);
    world.set(sk, "tcp_sock", "srtt_us", 1);
    world.machine.cpu = 1;
    assert_eq!(world.row(&[sk]), "999 4392 1 NULL");
    assert_eq!(world.row(&[0]), "NULL NULL NULL NULL");
}

#[test]
fn rule_23_buckets_of_every_size() {
    let mut world = World::new("SELECT dev.ifindex, histogram(big) FROM hook.odd GROUP BY dev.ifindex");
    let (mut sums, mut counts) = ([Some(0_u64); 65], [0; 65]);
    for power in 0..64 {
        for big in [(1_u64 << power) - 1, 1 << power, (1 << power) + 1] {
            world.numbers([0, big, 0, 0, 0, 0], None);
            let bucket = crate::arithmetic::bucket(big.into()) as usize;
            (sums[bucket], counts[bucket]) = (sums[bucket].and_then(|sum| sum.checked_add(big)), counts[bucket] + 1);
        }
    }
    world.collect(0);
    let sum = |bucket: usize| sums[bucket].map_or("NULL".to_owned(), |sum| sum.to_string());
    let mut expected: Vec<String> =
        (0..65).map(|bucket| format!("NULL {bucket} {} {}", counts[bucket], sum(bucket))).collect();
    expected.sort_unstable();
    assert_eq!(world.grouped(), expected);
    // NULL is in no bucket, and below one there is only one.
    let mut world = World::new("SELECT histogram(dev.ifindex) FROM hook.odd");
    for ifindex in [0, 1, 5, 8, (-7_i32) as u64] {
        world.numbers([0; 6], Some([ifindex, 0, 0]));
    }
    world.numbers([0; 6], None);
    world.collect(0);
    assert_eq!(world.grouped(), ["0 3 -6", "3 2 13"]);
}

#[test]
fn many_expressions_share_the_stack() {
    let deep = (0..20).fold("big".to_owned(), |inner, _| format!("count + ({inner})"));
    let columns: Vec<String> = (0..20).map(|index| format!("{deep} + {index} AS c{index}")).collect();
    let mut world = World::new(&format!("SELECT {} FROM hook.odd", columns.join(", ")));
    world.numbers([0, 1, 0, 0, 2, 0], None);
    assert!(world.rows()[0].starts_with("41 42 43 "), "{:?}", world.rows());
}

#[test]
fn what_the_types_rule_out_is_not_looked_at() {
    // Below 2^32 both, so that nothing overflows, and nothing is below zero.
    let listing = |expression: &str| {
        let world = World::new(&format!("SELECT {expression} AS x FROM hook.odd"));
        crate::bpf::listing::listing(&world.compiled.program)
    };
    let overflow = format!("(r9 +{})", 8 * figure::OVERFLOW);
    for (expression, divides, overflows) in [
        ("(dev.mtu - count + 6442450944) % 4294967296 - 2147483648", false, false),
        ("(dev.mtu + 1) * count / 4096", false, false),
        ("tiny % 8 - signed / 16 * 2", false, false),
        ("1000 * dev.mtu / (count + 1)", true, false),
        ("signed - tiny", false, true),
        ("big * 2", false, true),
        ("dev.mtu * count * 2", false, true),
    ] {
        let listing = listing(expression);
        let has = [listing.contains(" /= ") || listing.contains(" %= "), listing.contains(&overflow)];
        assert_eq!(has, [divides, overflows], "{expression}\n{listing}");
    }
}
