//! Aggregates: groups over CPUs and both maps, to the rows that a probe gets.

use super::world::World;
use crate::bpf::program::figure;

impl World {
    /// An event of `hook.odd`: its device, `big`, `tiny` and `signed`.
    fn odd(&mut self, device: u64, big: u64, tiny: i8, signed: i64) {
        // Above its eight bits an argument may hold anything.
        let tiny = 0xabcd_ef00 | u64::from(tiny as u8);
        self.run(&[1, tiny, big, 0, 0, 0, 0, 0, 0, 0, device, 0, signed as u64]);
    }
}

#[test]
fn groups_add_up_over_cpus_and_over_the_switch() {
    let mut world = World::new("SELECT dev.ifindex, count(*), sum(big) FROM hook.odd GROUP BY dev.ifindex");
    let (a, b) = (world.object("net_device"), world.object("net_device"));
    world.set(a, "net_device", "ifindex", 2);
    world.set(b, "net_device", "ifindex", 3);
    world.odd(a, 10, 0, 0);
    world.machine.cpu = 1;
    world.odd(a, 20, 0, 0);
    world.odd(0, 1, 0, 0);
    world.machine.switch_to(1);
    world.odd(b, 7, 0, 0);
    world.odd(a, 30, 0, 0);
    world.collect(0);
    assert_eq!(world.grouped(), ["2 2 30", "NULL 1 1"]);
    world.machine.switch_to(0);
    world.odd(b, 1, 0, 0);
    world.collect(1);
    assert_eq!(world.grouped(), ["2 3 60", "3 1 7", "NULL 1 1"]);
    world.totals.clear();
    world.collect(0);
    assert_eq!(world.grouped(), ["3 1 1"]);
    assert!(!world.totals.is_empty());
}

#[test]
fn rule_20_null_is_one_group_and_not_that_of_zero() {
    let mut world = World::new("SELECT dev.ifindex, count(*), count(dev.ifindex) FROM hook.odd GROUP BY dev.ifindex");
    let zero = world.object("net_device");
    [0, zero, 0].into_iter().for_each(|device| world.odd(device, 0, 0, 0));
    world.collect(0);
    assert_eq!(world.grouped(), ["0 1 1", "NULL 2 0"]);
}

#[test]
fn rule_20_a_row_whose_filter_is_null_is_left_out() {
    let mut world = World::new("SELECT count(*) FROM hook.odd WHERE dev.ifindex <> 5");
    let zero = world.object("net_device");
    [0, zero, 0].into_iter().for_each(|device| world.odd(device, 0, 0, 0));
    world.collect(0);
    assert_eq!(world.grouped(), ["1"]);
}

#[test]
fn rule_20_without_group_by_there_is_one_row() {
    let mut world =
        World::new("SELECT count(*), count(dev.ifindex), sum(dev.ifindex), min(big), max(signed) FROM hook.odd");
    assert_eq!(world.grouped(), ["0 0 NULL NULL NULL"]);
    world.odd(0, 4, 0, -9);
    world.collect(0);
    assert_eq!(world.grouped(), ["1 0 NULL 4 -9"]);
}

#[test]
fn rule_21_least_and_greatest_have_the_sign_of_their_column() {
    let mut world = World::new(
        "SELECT min(signed), max(signed), min(big), max(big), min(tiny), max(tiny), sum(tiny) FROM hook.odd",
    );
    for (cpu, big, tiny, signed) in [(0, 5, -3, -1), (1, u64::MAX, 100, i64::MIN), (0, 6, 7, 2), (1, 0, -128, 1)] {
        world.machine.cpu = cpu;
        world.odd(0, big, tiny, signed);
    }
    world.collect(0);
    assert_eq!(world.grouped(), [format!("{} 2 0 {} -128 100 -24", i64::MIN, u64::MAX)]);
}

#[test]
fn rule_21_zero_is_a_value_of_its_own() {
    let mut world = World::new("SELECT min(signed), max(signed), sum(signed), count(signed) FROM hook.odd");
    world.odd(0, 0, 0, -5);
    world.machine.cpu = 1;
    world.odd(0, 0, 0, -4);
    world.collect(0);
    assert_eq!(world.grouped(), ["-5 -4 -9 2"], "a CPU that saw none counts for nothing");
}

#[test]
fn everything_can_be_counted() {
    let mut world = World::new(
        "SELECT count(comm), count(time), count(netns), count(dev.name), count(dev), count(maybe(nothing)), count(cpu), count(pid), \
         sum(maybe(nothing)) FROM hook.odd",
    );
    let net = world.net(1, 1);
    let device = world.device("eth0", net);
    world.odd(device, 0, 0, 0);
    world.odd(0, 0, 0, 0);
    world.collect(0);
    assert_eq!(world.grouped(), ["2 2 1 1 1 0 2 2 NULL"]);
}

#[test]
fn presence_is_a_key_like_any_other() {
    let sql = "SELECT sk IS NULL AS a, skb IS NOT NULL AS b, count(*) FROM hook.tcp_send_reset GROUP BY sk IS NULL, skb IS NOT NULL";
    let mut world = World::new(sql);
    let (sk, skb) = (world.object("tcp_sock"), world.object("sk_buff"));
    for arguments in [[0, skb, 0], [sk, 0, 0], [sk, skb, 0], [sk, skb, 1]] {
        world.run(&arguments);
    }
    world.collect(0);
    assert_eq!(world.grouped(), ["0 0 1", "0 1 2", "1 1 1"]);
    let crate::bpf::program::Writes::Groups { key_bytes, .. } = world.compiled.program.writes else { panic!() };
    assert_eq!(key_bytes, 8, "two bits of the one word");
}

#[test]
fn names_that_are_equal_are_one_group() {
    let sql = "SELECT name(location) AS place, count(*), max(reason) FROM hook.kfree_skb GROUP BY name(location)";
    let mut world = World::new(sql);
    let place = 0xffff_ffff_8000_1234;
    for (location, reason) in [(place, 2), (place, 5), (1, 9), (2, 3)] {
        world.run(&[0, location, reason, 0]);
    }
    world.collect(0);
    assert_eq!(world.grouped(), ["NULL 2 9", "tcp_v4_rcv 2 5"]);
    let sql = "SELECT name(reason) AS reason, count(*) FROM hook.kfree_skb WHERE name(location) <> 'tcp_v4_rcv' GROUP BY name(reason), location";
    let mut world = World::new(sql);
    for (location, reason) in [(place, 2), (0, 3)] {
        world.run(&[0, location, reason, 0]);
    }
    world.collect(0);
    assert_eq!(world.grouped(), [""; 0]);
}

#[test]
fn addresses_and_texts_are_keys() {
    let mut world = World::new("SELECT raddr, comm, count(*) FROM hook.tcp_receive_reset GROUP BY raddr, comm");
    let net = world.net(1, 1);
    let a = world.socket(6, ("10.0.0.1", 1), ("10.0.0.2", 2), net);
    let b = world.socket(6, ("10.0.0.1", 9), ("10.0.0.2", 8), net);
    let c = world.socket(6, ("fd00::1", 1), ("fd00::2", 2), net);
    [a, b, c, 0].into_iter().for_each(|sk| world.run(&[sk]));
    world.machine.comm = *b"sshd\0xxxxxxxxxxx";
    world.run(&[a]);
    world.collect(0);
    assert_eq!(world.grouped(), ["10.0.0.2 curl 2", "10.0.0.2 sshd 1", "NULL curl 1", "fd00::2 curl 1"]);
}

#[test]
fn a_full_map_is_counted() {
    let mut world = World::new("SELECT big, count(*) FROM hook.odd GROUP BY big");
    world.machine.groups_room = 3;
    (0..10).for_each(|big| world.odd(0, big % 5, 0, 0));
    assert_eq!((world.machine.figure(figure::MAP_FULL), world.machine.figure(figure::MAP_ERROR)), (4, 0));
    world.collect(0);
    assert_eq!(world.grouped(), ["0 2", "1 2", "2 2"]);
}

#[test]
fn rule_21_a_sum_that_does_not_fit_is_null_and_counted_once() {
    let mut world = World::new("SELECT tiny, sum(big), sum(signed), count(*) FROM hook.odd GROUP BY tiny");
    let most = u64::MAX;
    // Two that fit just so, one that is too large by one, and again; the same of signed ones, at both ends.
    for (tiny, big, signed) in [
        (1, most - 1, i64::MAX - 1),
        (1, 1, 1),
        (2, most, i64::MAX),
        (2, 1, 1),
        (2, most, i64::MAX),
        (3, 0, i64::MIN),
        (3, most, -1),
        (4, 5, i64::MIN),
        (4, 5, i64::MAX),
    ] {
        world.odd(0, big, tiny, signed);
    }
    world.collect(0);
    let max = i64::MAX;
    assert_eq!(
        world.grouped(),
        [format!("1 {most} {max} 2"), "2 NULL NULL 3".into(), format!("3 {most} NULL 2"), "4 10 -1 2".into()]
    );
    assert_eq!(world.machine.figure(figure::OVERFLOW), 3);
}

#[test]
fn rule_21_a_sum_that_does_not_fit_over_cpus_or_collections_is_null() {
    for collected_between in [false, true] {
        let mut world = World::new("SELECT sum(big) FROM hook.odd");
        world.odd(0, u64::MAX, 0, 0);
        if collected_between {
            world.collect(0);
        }
        world.machine.cpu = 1;
        world.odd(0, 1, 0, 0);
        world.collect(0);
        assert_eq!(world.grouped(), ["NULL"], "{collected_between}");
    }
}
