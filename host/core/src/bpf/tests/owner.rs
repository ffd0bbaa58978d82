//! Who owns a socket: its namespace and its cgroup, in rows, in groups and in passes.

use super::{
    kernel::{self, NEW, Options},
    world::{BOUNDLESS, Names, World, show},
};
use crate::bpf::record::{Form, NetnsKey, OwnerKey, Scoping, head, netns, word};

impl World {
    /// The numbers of cgroups are above 32 bits once their inodes have been used again.
    pub fn put_into_cgroup(&mut self, sock: u64, number: u64) {
        let (cgroup, node) = (self.object("cgroup"), self.object("kernfs_node"));
        self.set(sock, "sock", "sk_cgrp_data.cgroup", cgroup);
        self.set(cgroup, "cgroup", "kn", node);
        self.set(node, "kernfs_node", "id", number);
    }

    fn owned(&mut self, cookie: u64, cgroup: u64) -> u64 {
        let net = self.net(cookie, 10 * cookie);
        let sock = self.socket(6, ("10.0.0.1", 80), ("10.0.0.2", 40_000), net);
        self.put_into_cgroup(sock, cgroup);
        sock
    }

    /// What the program has written of the owner in its only record.
    fn owner(&mut self, arguments: &[u64]) -> Option<(u64, u64, u64)> {
        self.machine.ring.clear();
        self.run(arguments);
        let cell = self.compiled.cells.iter().flatten().find(|cell| cell.form == Form::Owner).expect("an owner");
        let (record, at) = (&self.machine.ring[0], cell.offset as usize);
        let NetnsKey { cookie, inode } = netns(record, at)?;
        Some((cookie, inode, word(record, at + 16)))
    }
}

const ROWS: &str = "SELECT owner FROM hook.tcp_receive_reset";

#[test]
fn an_owner_is_a_namespace_and_a_cgroup() {
    let number = (5 << 32) | 4711;
    for (options, expected) in [(NEW, number), (kernel::WITHOUT_CAST, number), (Options { cgroup: false, ..NEW }, 0)] {
        let mut world = World::on(options, ROWS, BOUNDLESS);
        let net = world.net(7, 70);
        let sk = world.socket(6, ("10.0.0.1", 80), ("10.0.0.2", 40_000), net);
        assert_eq!(world.owner(&[sk]), Some((7, 70, 0)), "it has no cgroup yet");
        if options.cgroup {
            world.put_into_cgroup(sk, number);
        }
        assert_eq!(world.owner(&[sk]), Some((7, 70, expected)), "{options:?}");
        assert_eq!(world.owner(&[0]), None);
    }
}

#[test]
fn a_request_belongs_to_its_listener_and_time_wait_to_no_cgroup() {
    for (options, expected) in [(NEW, 4711), (kernel::WITHOUT_CAST, 0)] {
        let mut world = World::on(options, ROWS, BOUNDLESS);
        let listener = world.owned(7, 4711);
        let net = world.net(7, 70);
        let small = world.socket(0, ("10.0.0.1", 80), ("10.0.0.2", 40_000), net);
        for (state, owner) in [(12, expected), (6, 0)] {
            world.set(small, "sock_common", "skc_state", state);
            world.set(small, "sock_common", "skc_listener", listener);
            assert_eq!(world.owner(&[small]), Some((7, 70, owner)), "state {state}, {options:?}");
            let of_full = world.place(small, "sock", "sk_cgrp_data.cgroup");
            assert!(!world.machine.loads.contains(&of_full), "what a small socket does not have is not read");
        }
        world.set(small, "sock_common", "skc_state", 12);
        world.set(small, "sock_common", "skc_listener", 0);
        assert_eq!(world.owner(&[small]), Some((7, 70, 0)), "a request by cookie knows no listener");
    }
}

#[test]
fn the_owner_of_a_drop_is_that_of_the_socket_it_tells_the_namespace_of() {
    let mut world = World::new("SELECT netns, owner, lport FROM hook.kfree_skb");
    let (own, receiver) = (world.owned(1, 11), world.owned(2, 22));
    let packet = world.packet(0x0800, &[0x45; 20]);
    let device = world.net(3, 30);
    let device = world.device("eth0", device);
    world.set(packet, "sk_buff", "dev", device);
    assert_eq!(world.owner(&[packet, 0, 0, 0]), None, "a device is nobody's");
    assert_eq!(world.owner(&[packet, 0, 0, receiver]), Some((2, 20, 22)));
    world.set(packet, "sk_buff", "sk", own);
    assert_eq!(world.owner(&[packet, 0, 0, receiver]), Some((1, 10, 11)));
    assert_eq!(world.rows(), ["1 11001 80"]);
    assert_eq!(word(&world.machine.ring[0], head::NETNS as usize), 1);
}

#[test]
fn owners_are_named_and_tested_as_namespaces_are() {
    let mut world = World::new(
        "SELECT name(owner) AS who, owner IS NULL AS unknown FROM hook.tcp_receive_reset WHERE owner IS NOT NULL",
    );
    let sk = world.owned(7, 3);
    [sk, 0].into_iter().for_each(|sk| world.run(&[sk]));
    assert_eq!(world.rows(), ["ns3007 0"]);
    let mut world = World::new("SELECT lport FROM hook.tcp_receive_reset WHERE name(owner) = 'ns3007'");
    let (one, other) = (world.owned(7, 3), world.owned(7, 4));
    [one, other, 0].into_iter().for_each(|sk| world.run(&[sk]));
    assert_eq!(world.rows(), ["80"]);
}

#[test]
fn owners_make_groups_and_cgroups_of_one_scope_are_one_group() {
    const SQL: &str = "SELECT owner, count(*) FROM hook.tcp_receive_reset GROUP BY owner";
    let mut world = World::new(SQL);
    let socks = [world.owned(7, 3), world.owned(7, 4), world.owned(8, 3)];
    for sk in [socks[0], socks[1], socks[1], socks[2], 0] {
        world.run(&[sk]);
    }
    world.collect(0);
    assert_eq!(world.grouped(), ["3007 1", "3008 1", "4007 2", "NULL 1"]);

    /// Both cgroups are a container's.
    struct Container;
    impl Scoping for Container {
        fn netns(&mut self, netns: NetnsKey) -> u32 {
            netns.cookie as u32
        }

        fn owner(&mut self, owner: OwnerKey) -> u32 {
            if owner.cgroup < 5 { 50 } else { self.netns(owner.netns) }
        }
    }
    let answer = |scopes: &mut dyn Scoping| {
        let (batch, partial) = world.totals.rows(&world.query, &world.compiled, scopes);
        let columns: Vec<_> = batch.columns.iter().collect();
        let mut rows = show(&world.query.run_groups(batch.rows, &columns, &partial, &Names).batch);
        rows.sort_unstable();
        rows
    };
    assert_eq!(answer(&mut Container), ["50 4", "NULL 1"]);
    // Whoever knows only namespaces has them.
    assert_eq!(answer(&mut |netns: NetnsKey| netns.cookie as u32), ["7 3", "8 1", "NULL 1"]);
}

#[test]
fn a_pass_tells_owners_too() {
    let mut world = World::new("SELECT owner, lport FROM iter.socket");
    let sock = world.owned(7, 3);
    world.meet_once(sock);
    assert_eq!(world.handed_out(), ["3007 80"]);
    let mut world = World::new("SELECT owner, count(*) FROM iter.socket GROUP BY owner");
    for (cookie, cgroup) in [(7, 3), (7, 3), (7, 4)] {
        let sock = world.owned(cookie, cgroup);
        world.meet_once(sock);
    }
    world.collect(0);
    assert_eq!(world.grouped(), ["3007 2", "4007 1"]);
}
