//! Streams: token buckets over a clock of our own, the ring, figures.

use super::{
    kernel,
    world::{BOUNDLESS, World},
};
use crate::bpf::{
    compile::Budget,
    program::{Writes, figure},
    record::{Stacks, stack},
};

const SECOND: u64 = 1_000_000_000;

fn limited(rate: u32, burst: u32) -> World {
    World::on(kernel::NEW, "SELECT netns FROM hook.netns_ready", Budget { rate, burst, stacks: 0 })
}

impl World {
    /// How many of so many events pass at this time.
    fn passed(&mut self, now: u64, events: usize, net: u64) -> usize {
        self.machine.now = now;
        self.machine.ring.clear();
        (0..events).for_each(|_| self.run(&[net]));
        self.machine.ring.len()
    }
}

#[test]
fn a_namespace_has_a_burst_and_then_its_rate() {
    let mut world = limited(10, 5);
    let net = world.net(1, 1);
    let begin = 1000 * SECOND;
    for (nanos, passed) in [
        (0, 5),
        (0, 0),
        // One token in a tenth of a second.
        (SECOND / 10 - 1, 0),
        (SECOND / 10, 1),
        (SECOND / 2, 4),
        (SECOND, 5),
        // However long nothing came, no more than a burst.
        (100 * SECOND, 5),
        (100 * SECOND + SECOND / 10, 1),
    ] {
        assert_eq!(world.passed(begin + nanos, 50, net), passed, "{nanos}");
    }
    assert_eq!(world.machine.figure(figure::SUPPRESSED), 8 * 50 - 21);
    assert_eq!(world.machine.figure(figure::RUNS), 8 * 50);
}

#[test]
fn each_namespace_has_a_bucket_of_its_own() {
    let mut world = limited(1, 3);
    let (loud, quiet) = (world.net(1, 1), world.net(2, 2));
    assert_eq!(world.passed(1000 * SECOND, 100, loud), 3);
    assert_eq!(world.passed(1000 * SECOND, 2, quiet), 2);
    // What has no namespace has a bucket, too.
    assert_eq!(world.passed(1000 * SECOND, 100, 0), 3);
    assert_eq!(world.machine.figure(figure::SUPPRESSED), 97 + 97);
}

#[test]
fn soon_after_boot_rows_pass() {
    // The default burst is that of ten seconds.
    let mut world = limited(100, 1000);
    let net = world.net(1, 1);
    assert_eq!(world.passed(SECOND, 200, net), 100, "as many as the second had tokens for");
    assert_eq!(world.passed(2 * SECOND, 200, net), 100);
    assert_eq!(world.passed(3600 * SECOND, 2000, net), 1000);
}

/// Rows with stacks, so many a second.
fn with_stacks(rate: u32, stacks: u32) -> World {
    let budget = Budget { rate, burst: rate, stacks };
    let mut world = World::on(kernel::NEW, "SELECT netns, comm FROM hook.netns_ready", budget);
    world.machine.stack = vec![0xffff_8001, 0xffff_8002, 0xffff_8003];
    world
}

impl World {
    fn stacks(&self) -> Vec<Vec<u64>> {
        let Writes::Records { bytes } = self.compiled.program.writes else { panic!("no rows") };
        let mut stacks = Stacks::default();
        self.machine.ring.iter().for_each(|record| stacks.push(record, bytes));
        assert_eq!(stacks.is_empty(), (0..self.machine.ring.len()).all(|row| stacks.get(row).is_empty()));
        (0..self.machine.ring.len()).map(|row| stacks.get(row).to_vec()).collect()
    }
}

#[test]
fn rows_have_the_stack_as_far_as_its_own_budget_goes_and_what_it_withholds_is_counted() {
    let mut world = with_stacks(1000, 3);
    let (loud, quiet) = (world.net(1, 1), world.net(2, 2));
    let stack = world.machine.stack.clone();
    for (seconds, net, rows, stacks) in [
        (0, loud, 10, 3),
        (0, quiet, 5, 0),
        (1, quiet, 10, 3),
        (100, loud, 2, 2),
        (100, loud, 5, 1),
        (100, quiet, 1, 0),
    ] {
        assert_eq!(world.passed((1000 + seconds) * SECOND, rows, net), rows, "a row without a stack is a row");
        let expected: Vec<Vec<u64>> =
            (0..rows).map(|row| if row < stacks { stack.clone() } else { Vec::new() }).collect();
        assert_eq!(world.stacks(), expected, "{seconds}");
        // The row itself is the same with a stack and without.
        assert!(world.rows().iter().all(|row| row.ends_with(" curl")), "{:?}", world.rows());
    }
    let figure = |index| world.machine.figure(index);
    assert_eq!((figure(figure::STACK_SUPPRESSED), figure(figure::STACK_LOST)), (7 + 5 + 7 + 4 + 1, 0));
    assert_eq!((figure(figure::SUPPRESSED), figure(figure::RING_FULL)), (0, 0));
}

#[test]
fn a_row_that_is_kept_back_takes_no_stack_from_others() {
    let mut world = with_stacks(2, 100);
    let net = world.net(1, 1);
    assert_eq!(world.passed(1000 * SECOND, 500, net), 2);
    assert_eq!(world.passed(1001 * SECOND, 500, net), 2);
    assert_eq!(world.stacks().iter().filter(|stack| !stack.is_empty()).count(), 2);
    assert_eq!(world.machine.figure(figure::STACK_SUPPRESSED), 0);
}

#[test]
fn a_row_comes_also_where_its_stack_cannot_be_had() {
    let mut world = with_stacks(1000, 100);
    let net = world.net(1, 1);
    world.machine.stack.clear();
    assert_eq!(world.passed(1000 * SECOND, 2, net), 2);
    assert_eq!(world.stacks(), [[0; 0], [0; 0]]);
    assert_eq!(world.machine.figure(figure::STACK_LOST), 2);
    // The ring has room for the row alone.
    world.machine.stack = vec![1];
    world.machine.ring_bytes = 400;
    assert_eq!(world.passed(1000 * SECOND, 3, net), 3);
    assert_eq!(world.stacks(), [[0; 0], [0; 0], [0; 0]]);
    assert_eq!((world.machine.figure(figure::STACK_LOST), world.machine.figure(figure::RING_FULL)), (5, 0));
    world.machine.ring_room = 0;
    assert_eq!(world.passed(1000 * SECOND, 1, net), 0);
    assert_eq!((world.machine.figure(figure::STACK_LOST), world.machine.figure(figure::RING_FULL)), (6, 1));
}

#[test]
fn a_stack_is_as_long_as_its_room_and_what_it_says_of_itself() {
    let mut world = with_stacks(1000, 100);
    let net = world.net(1, 1);
    world.machine.stack = (1..=200).collect();
    world.run(&[net]);
    assert_eq!(world.stacks(), [(1..=u64::from(stack::FRAMES)).collect::<Vec<u64>>()]);
    let Writes::Records { bytes } = world.compiled.program.writes else { panic!("no rows") };
    let record = world.machine.ring[0].clone();
    for (length, frames) in [(0_i64, 0), (16, 2), (15, 1), (-14, 0), (i64::MIN, 0), (i64::MAX, 64)] {
        world.machine.ring[0][bytes..bytes + 8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(world.stacks()[0].len(), frames, "{length}");
    }
    for cut in 0..record.len() {
        world.machine.ring[0] = record[..cut].to_vec();
        assert!(world.stacks()[0].len() <= cut / 8);
    }
}

#[test]
fn a_filter_is_before_the_bucket() {
    let budget = Budget { rate: 1, burst: 2, stacks: 0 };
    let mut world = World::on(kernel::NEW, "SELECT err FROM hook.tcp_retransmit_skb WHERE err < 0", budget);
    for err in [0_i32, 1, 2, 3, -1, 4, -2, -3] {
        world.run(&[0, 0, err as u32 as u64]);
    }
    assert_eq!(world.rows(), ["-1", "-2"]);
    assert_eq!((world.machine.figure(figure::SUPPRESSED), world.machine.figure(figure::RUNS)), (1, 8));
}

#[test]
fn a_full_ring_is_counted() {
    let mut world = World::new("SELECT time FROM hook.quiet");
    world.machine.ring_room = 3;
    (0..10).for_each(|_| world.run(&[]));
    assert_eq!((world.machine.ring.len(), world.machine.figure(figure::RING_FULL)), (3, 7));
}

#[test]
fn of_256_runs_the_time_of_one_is_taken_on_each_cpu() {
    let mut world = World::on(kernel::NEW, "SELECT cpu FROM hook.quiet WHERE cpu = 5", BOUNDLESS);
    world.machine.tick = 40;
    (0..600).for_each(|_| world.run(&[]));
    world.machine.cpu = 1;
    (0..10).for_each(|_| world.run(&[]));
    let figure = |index| world.machine.figure(index);
    assert_eq!((figure(figure::RUNS), figure(figure::TIMED), figure(figure::NANOS)), (610, 4, 4 * 40));
    assert_eq!(world.rows(), [""; 0]);
}

#[test]
fn every_record_has_its_head() {
    let mut world = World::new("SELECT time, cpu, pid, comm, netns FROM hook.netns_ready");
    let net = world.net(5, 1000);
    (world.machine.cpu, world.machine.now, world.machine.pid) = (1, 777, 99);
    assert_eq!(world.row(&[net]), "777 1 99 curl 5");
    let record = &world.machine.ring[0];
    assert_eq!(record[..4], super::run::ID.to_le_bytes());
    assert_eq!(record[4..8], 1_u32.to_le_bytes());
    assert_eq!(record[16..24], 777_u64.to_le_bytes());
    assert_eq!(record[24..40], [5_u64.to_le_bytes(), 1000_u64.to_le_bytes()].concat());
    world.machine.comm = *b"sixteen-letters!";
    assert_eq!(world.row(&[net]), "777 1 99 sixteen-letters! 5");
}

#[test]
fn what_has_no_value_leaves_zeros_behind() {
    let mut world = World::new("SELECT skb.len, skb.cb, saddr, sport, laddr, skb.dev.name FROM hook.kfree_skb");
    assert_eq!(world.row(&[0, 0, 0, 0]), "NULL NULL NULL NULL NULL NULL");
    let record = &world.machine.ring[0];
    assert!(record[8..16].iter().chain(&record[40..]).all(|byte| *byte == 0), "{record:02x?}");
}

#[test]
fn what_only_the_host_knows_is_filtered_afterwards() {
    let mut world = World::new(
        "SELECT reason, name(location) FROM hook.kfree_skb WHERE name(location) = 'tcp_v4_rcv' AND reason > 2 AND name(netns) IS NULL",
    );
    assert!(world.query.filter.is_some() && world.query.afterwards.is_some());
    let place = 0xffff_ffff_8000_1234;
    for (reason, location) in [(2, place), (3, place), (4, place + 1), (5, place), (6, 0)] {
        world.run(&[0, location, reason, 0]);
    }
    assert_eq!(world.machine.ring.len(), 4, "the reason is tested in the kernel");
    assert_eq!(world.rows(), ["3 tcp_v4_rcv", "5 tcp_v4_rcv"]);
    // Which row of the batch each one was: events take time and scope from there.
    let batch = world.decoded();
    let columns: Vec<_> = batch.columns.iter().collect();
    assert_eq!(world.query.run_stream(batch.rows, &columns, &super::world::Names).1, [0, 2]);
    let whole = World::new("SELECT reason FROM hook.kfree_skb WHERE name(location) = 'x' OR reason > 2");
    assert!(whole.query.filter.is_none(), "what stands together under OR is tested together");
}

#[test]
fn a_record_that_was_cut_has_no_values() {
    let mut world = World::new("SELECT big, dev.name, signed FROM hook.odd");
    let net = world.net(1, 1);
    let device = world.device("eth0", net);
    let arguments = [0, 0, 5, 0, 0, 0, 0, 0, 0, 0, device, 0, 8];
    assert_eq!(world.row(&arguments), "5 eth0 8");
    world.machine.ring[0].truncate(48);
    assert_eq!(world.rows(), ["5 NULL NULL"]);
    world.machine.ring[0].clear();
    assert_eq!(world.rows(), ["NULL NULL NULL"]);
}
