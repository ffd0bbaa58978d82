//! WHERE in the kernel against WHERE in the host: random conditions over random rows must choose the same ones.

use super::{
    kernel,
    world::{BOUNDLESS, Names, World, show},
};
use crate::{batch::Column, table::Catalogue};
use proptest::{prelude::*, sample::select};
use std::sync::LazyLock;

/// What conditions speak of; the select list has them all, so that both queries have the same columns.
const COLUMNS: &str = "big, signed, tiny, count, flag, dev.ifindex, dev.mtu, dev.group, dev.name, dev.short_name, dev.on, \
                       dev.minus, dev.address, wide, verdict, comm, dev.upper.ifindex, dev.weights[1], cpu, far.tiny, \
                       dev IS NULL, far IS NULL, text IS NULL, dev.upper IS NULL";

const NUMBERS: &[&str] = &[
    "big",
    "signed",
    "tiny",
    "count",
    "dev.ifindex",
    "dev.mtu",
    "dev.group",
    "dev.minus",
    "dev.upper.ifindex",
    "dev.weights[1]",
    "cpu",
    "wide",
    "verdict",
    "far.tiny",
];
const UNSIGNED: &[&str] = &["big", "count", "dev.mtu", "dev.weights[1]", "cpu"];
const SIGNED: &[&str] = &["signed", "tiny", "dev.ifindex", "dev.group", "dev.minus", "dev.upper.ifindex", "far.tiny"];
const TEXTS: &[&str] = &["dev.name", "dev.short_name", "comm"];
const NULLABLE: &[&str] =
    &["dev", "dev.upper", "dev.name", "dev.ifindex", "dev.on", "far", "far.tiny", "text", "big", "comm"];
const LITERALS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "-128",
    "65535",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967295",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "NULL",
];
const WORDS: &[&str] =
    &["''", "'a'", "'eth0'", "'abcde'", "'abcdef'", "'sixteen-letters!'", "'sixteen-letters!!'", "'ether'", "NULL"];
const ENUMS: &[&str] = &[
    "name(wide) = 'HIGH'",
    "name(wide) <> 'TOP'",
    "name(wide) IN ('TOP', maybe('NONE'))",
    "name(verdict) = 'DROP'",
    "name(verdict) NOT IN ('PASS', NULL)",
    "name(verdict) = '0xfffffffb'",
    "name(verdict) <> maybe('NONE')",
    "name(wide) IS NULL",
    "flag",
    "dev.on",
    "NOT dev.on",
    "TRUE",
    "FALSE",
    "NULL",
    "maybe(nothing) = 1",
    "maybe(dev.nothing) IS NULL",
    "dev.on IS NULL",
];

fn list(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(select(of), 1..5).prop_map(|values| values.join(", "))
}

fn condition() -> impl Strategy<Value = String> {
    let comparison = || select(&["=", "<>", "<", "<=", ">", ">="][..]);
    let equality = || select(&["=", "<>"][..]);
    let not = || select(&["", "NOT "][..]);
    let leaf = prop_oneof![
        4 => (select(NUMBERS), comparison(), select(LITERALS)).prop_map(|(a, by, b)| format!("{a} {by} {b}")),
        2 => (select(NUMBERS), not(), list(LITERALS)).prop_map(|(a, not, list)| format!("{a} {not}IN ({list})")),
        1 => (select(NUMBERS), not(), select(LITERALS), select(LITERALS))
            .prop_map(|(a, not, low, high)| format!("{a} {not}BETWEEN {low} AND {high}")),
        2 => (select(UNSIGNED), comparison(), select(UNSIGNED)).prop_map(|(a, by, b)| format!("{a} {by} {b}")),
        2 => (select(SIGNED), comparison(), select(SIGNED)).prop_map(|(a, by, b)| format!("{a} {by} {b}")),
        2 => (select(SIGNED), comparison(), select(UNSIGNED)).prop_map(|(a, by, b)| format!("{a} {by} {b}")),
        2 => (select(TEXTS), equality(), select(WORDS)).prop_map(|(a, by, b)| format!("{a} {by} {b}")),
        2 => (select(TEXTS), not(), list(WORDS)).prop_map(|(a, not, list)| format!("{a} {not}IN ({list})")),
        2 => (select(NULLABLE), not()).prop_map(|(a, not)| format!("{a} IS {not}NULL")),
        2 => select(ENUMS).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("NOT ({a})")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" AND "))),
            prop::collection::vec(inner, 2..4).prop_map(|parts| format!("({})", parts.join(" OR "))),
        ]
    })
}

#[derive(Clone, Debug)]
struct Device {
    name: &'static [u8],
    short_name: &'static [u8],
    numbers: [u64; 4],
    bits: u8,
    has_upper: bool,
}

#[derive(Clone, Debug)]
struct Event {
    numbers: [u64; 6],
    comm: &'static [u8; 16],
    device: Option<Device>,
    far: Option<u8>,
    cpu: usize,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        select(
            &[
                0,
                1,
                2,
                7,
                u64::MAX,
                u64::MAX - 4,
                i64::MAX as u64,
                i64::MIN as u64,
                1 << 40,
                0xffff_ffff,
                0x8000_0000,
                0x7f,
                0x80
            ][..]
        ),
        any::<u64>(),
    ]
}

fn device() -> impl Strategy<Value = Device> {
    const NAMES: &[&[u8]] = &[b"eth0\0\0\0\0ether", b"", b"a", b"sixteen-letters!", b"eth0"];
    const SHORT_NAMES: &[&[u8]] = &[b"abcde", b"", b"a\0xyz", b"eth0"];
    let (name, short_name) = (select(NAMES), select(SHORT_NAMES));
    (name, short_name, prop::array::uniform4(number()), any::<u8>(), any::<bool>())
        .prop_map(|(name, short_name, numbers, bits, has_upper)| Device { name, short_name, numbers, bits, has_upper })
}

fn event() -> impl Strategy<Value = Event> {
    let comm = select(&[b"eth0\0xxxxxxxxxxx", b"sixteen-letters!", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"][..]);
    (prop::array::uniform6(number()), comm, prop::option::of(device()), prop::option::of(any::<u8>()), 0..2_usize)
        .prop_map(|(numbers, comm, device, far, cpu)| Event { numbers, comm, device, far, cpu })
}

impl World {
    fn event(&mut self, event: &Event) {
        let device = event.device.as_ref().map_or(0, |device| {
            let at = self.object("net_device");
            self.set_bytes(at, "net_device", "name", device.name);
            self.set_bytes(at, "net_device", "short_name", device.short_name);
            for (name, value) in ["ifindex", "mtu", "group"].into_iter().zip(device.numbers) {
                self.set(at, "net_device", name, value);
            }
            self.set_bytes(at, "net_device", "weights", &device.numbers[3].to_be_bytes()[..6]);
            let bits = self.place(at, "net_device", "bits");
            self.machine.poke(bits, &[device.bits, device.bits]);
            if device.has_upper {
                let upper = self.object("net_device");
                self.set(upper, "net_device", "ifindex", device.numbers[1]);
                self.set(at, "net_device", "upper", upper);
            }
            at
        });
        let far = event.far.map_or(0, |tiny| {
            let at = self.object("far");
            self.set(at, "far", "tiny", tiny.into());
            at
        });
        let [flag, tiny, big, wide, verdict, signed] = event.numbers;
        (self.machine.comm, self.machine.cpu) = (*event.comm, event.cpu);
        self.run(&[flag & 1, tiny, big, wide, verdict, 0, 0, flag, 0, far, device, big, signed]);
    }
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| kernel::catalogue(kernel::NEW));

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn rule_20_the_kernel_and_the_host_choose_the_same_rows(
        condition in condition(),
        events in prop::collection::vec(event(), 1..12),
    ) {
        let mut all = World::of(&CATALOGUE, &format!("SELECT {COLUMNS} FROM hook.odd"), BOUNDLESS);
        let sql = format!("SELECT {COLUMNS} FROM hook.odd WHERE {condition}");
        let mut some = World::of(&CATALOGUE, &sql, BOUNDLESS);
        prop_assert!(some.query.afterwards.is_none());
        prop_assert_eq!(&all.query.columns, &some.query.columns);
        for event in &events {
            all.event(event);
            some.event(event);
        }
        let batch = all.decoded();
        let columns: Vec<&Column> = batch.columns.iter().collect();
        prop_assert_eq!(some.rows(), show(&some.query.run(batch.rows, &columns, &Names).batch), "{}", sql);
    }
}

#[test]
fn addresses_are_compared_in_either_form() {
    for (condition, expected) in [
        ("raddr = '10.0.0.2'", "10.0.0.2"),
        ("raddr = '::ffff:10.0.0.2'", "10.0.0.2"),
        ("raddr IN ('fd00::2', '1.2.3.4')", "fd00::2"),
        ("raddr <> '10.0.0.2'", "fd00::2"),
        ("raddr NOT IN ('10.0.0.2', NULL)", ""),
        ("NOT (raddr = 'fd00::2')", "10.0.0.2"),
        ("raddr IS NOT NULL AND lport = 80", "10.0.0.2 fd00::2"),
        ("raddr IS NULL", "NULL"),
    ] {
        let mut world = World::new(&format!("SELECT raddr FROM hook.tcp_receive_reset WHERE {condition}"));
        let four = world.socket(6, ("10.0.0.1", 80), ("10.0.0.2", 2), 0);
        let six = world.socket(6, ("fd00::1", 80), ("fd00::2", 2), 0);
        [four, six, 0].into_iter().for_each(|sk| world.run(&[sk]));
        assert_eq!(world.rows().join(" "), expected, "{condition}");
    }
}

#[test]
fn namespaces_are_compared_by_cookie() {
    for (condition, expected) in
        [("netns = owner", "1"), ("netns <> owner", ""), ("netns IS NULL", "NULL"), ("owner IS NOT NULL", "1")]
    {
        let mut world = World::new(&format!("SELECT netns FROM hook.tcp_receive_reset WHERE {condition}"));
        let net = world.net(1, 1);
        let sk = world.socket(6, ("10.0.0.1", 80), ("10.0.0.2", 2), net);
        [sk, 0].into_iter().for_each(|sk| world.run(&[sk]));
        assert_eq!(world.rows().join(" "), expected, "{condition}");
    }
}
