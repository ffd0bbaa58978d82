//! What is computed from sockets and packets.

use super::{
    kernel::{self, Options},
    world::{BOUNDLESS, World},
};

const PACKET: &str = "SELECT family, protocol, saddr, sport, daddr, dport FROM hook.kfree_skb";
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// An IPv4 header with so many words of options, and the ports behind it.
fn four(protocol: u8, options: usize, fragment: u16) -> Vec<u8> {
    let mut header = vec![0; 20 + 4 * options];
    header[0] = 0x40 | (5 + options) as u8;
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[9] = protocol;
    header[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend([0x1f, 0x90, 0x00, 0x35]);
    header
}

fn six(protocol: u8) -> Vec<u8> {
    let mut header = vec![0; 40];
    header[0] = 0x60;
    header[6] = protocol;
    (header[8], header[23], header[24], header[39]) = (0xfd, 1, 0xfd, 2);
    header.extend([0x1f, 0x90, 0x00, 0x35]);
    header
}

#[test]
fn packets_are_read_from_their_headers() {
    for options in [kernel::NEW, kernel::WITHOUT_CAST] {
        for (ethernet, header, expected) in [
            (IPV4, four(6, 0, 0), "2 6 10.0.0.1 8080 10.0.0.2 53"),
            (IPV4, four(17, 3, 0), "2 17 10.0.0.1 8080 10.0.0.2 53"),
            (IPV4, four(132, 10, 0), "2 132 10.0.0.1 8080 10.0.0.2 53"),
            // ICMP has no ports; a later fragment neither, the first one has, and "don't fragment" is no fragment.
            (IPV4, four(1, 0, 0), "2 1 10.0.0.1 NULL 10.0.0.2 NULL"),
            (IPV4, four(17, 0, 0x0001), "2 17 10.0.0.1 NULL 10.0.0.2 NULL"),
            (IPV4, four(17, 0, 0x1fff), "2 17 10.0.0.1 NULL 10.0.0.2 NULL"),
            (IPV4, four(17, 0, 0x2000), "2 17 10.0.0.1 8080 10.0.0.2 53"),
            (IPV4, four(6, 0, 0x4000), "2 6 10.0.0.1 8080 10.0.0.2 53"),
            (IPV6, six(6), "10 6 fd00::1 8080 fd00::2 53"),
            (IPV6, six(44), "10 44 fd00::1 NULL fd00::2 NULL"),
            // What says it is of one kind and begins as the other.
            (IPV4, six(6), "NULL NULL NULL NULL NULL NULL"),
            (IPV6, four(6, 0, 0), "NULL NULL NULL NULL NULL NULL"),
            (0x0806, four(6, 0, 0), "NULL NULL NULL NULL NULL NULL"),
        ] {
            let mut world = World::on(options, PACKET, BOUNDLESS);
            let packet = world.packet(ethernet, &header);
            assert_eq!(world.row(&[packet, 0, 0, 0]), expected, "{options:?}");
            world.set(packet, "sk_buff", "network_header", 0);
            assert_eq!(world.row(&[packet, 0, 0, 0]), "NULL NULL NULL NULL NULL NULL", "nobody has set it");
            assert_eq!(world.row(&[0, 0, 0, 0]), "NULL NULL NULL NULL NULL NULL");
        }
    }
}

const SOCKET: &str = "SELECT family, protocol, laddr, lport, raddr, rport FROM hook.tcp_receive_reset";

#[test]
fn sockets_of_both_families_and_of_none() {
    for options in [kernel::NEW, kernel::WITHOUT_CAST] {
        let mut world = World::on(options, SOCKET, BOUNDLESS);
        let four = world.socket(6, ("10.0.0.1", 80), ("10.0.0.2", 40_000), 0);
        assert_eq!(world.row(&[four]), "2 6 10.0.0.1 80 10.0.0.2 40000");
        let six = world.socket(262, ("fd00::1", 80), ("fd00::2", 40_000), 0);
        assert_eq!(world.row(&[six]), "10 262 fd00::1 80 fd00::2 40000");
        let mapped = world.socket(6, ("::ffff:10.0.0.1", 80), ("::ffff:10.0.0.2", 1), 0);
        world.set(mapped, "sock_common", "skc_family", 10);
        let bytes = |address: &str| super::world::six(address.parse().unwrap());
        world.set_bytes(mapped, "sock_common", "skc_v6_rcv_saddr", &bytes("::ffff:10.0.0.1"));
        world.set_bytes(mapped, "sock_common", "skc_v6_daddr", &bytes("::ffff:10.0.0.2"));
        assert_eq!(world.row(&[mapped]), "10 6 10.0.0.1 80 10.0.0.2 1");
        world.set(mapped, "sock_common", "skc_family", 1);
        assert_eq!(world.row(&[mapped]), "1 NULL NULL NULL NULL NULL");
        assert_eq!(world.row(&[0]), "NULL NULL NULL NULL NULL NULL");
    }
}

#[test]
fn sockets_in_time_wait_are_read_as_far_as_they_go() {
    let sql = "SELECT protocol, laddr, lport, raddr, rport, cgroup, netns, owner FROM hook.tcp_receive_reset";
    let mut world = World::new(sql);
    let net = world.net(7, 70);
    let sk = world.socket(0, ("10.0.0.1", 80), ("10.0.0.2", 40_000), net);
    world.put_into_cgroup(sk, 4711);
    assert_eq!(world.row(&[sk]), "0 10.0.0.1 80 10.0.0.2 40000 4711 7 4711007");
    for state in [6, 12] {
        world.set(sk, "sock_common", "skc_state", state);
        assert_eq!(world.row(&[sk]), "6 10.0.0.1 80 10.0.0.2 40000 NULL 7 7");
        let protocol = world.place(sk, "sock", "sk_protocol");
        assert!(!world.machine.loads.contains(&protocol), "what a small socket does not have is not read");
    }
}

#[test]
fn a_socket_out_of_the_tables_still_has_its_port() {
    for (options, expected) in [(kernel::NEW, "80"), (kernel::WITHOUT_CAST, "0")] {
        let mut world = World::on(options, "SELECT lport FROM hook.tcp_receive_reset", BOUNDLESS);
        let sk = world.socket(6, ("10.0.0.1", 0), ("10.0.0.2", 40_000), 0);
        world.set_bytes(sk, "inet_sock", "inet_sport", &80_u16.to_be_bytes());
        assert_eq!(world.row(&[sk]), expected);
        world.set(sk, "sock_common", "skc_state", 6);
        assert_eq!(world.row(&[sk]), "0", "of a small one there is no more");
    }
}

#[test]
fn packet_and_socket_are_never_mixed() {
    let sql = "SELECT saddr, laddr, sport, lport, protocol, family FROM hook.tcp_send_reset";
    for options in [kernel::NEW, kernel::WITHOUT_CAST] {
        let mut world = World::on(options, sql, BOUNDLESS);
        let sk = world.socket(6, ("fd00::1", 80), ("fd00::2", 40_000), 0);
        let other = world.socket(6, ("fd00::9", 9), ("fd00::8", 8), 0);
        let skb = world.packet(IPV4, &four(17, 0, 0));
        world.set(skb, "sk_buff", "sk", other);
        assert_eq!(world.row(&[sk, skb, 0]), "10.0.0.1 fd00::1 8080 80 17 2");
        assert_eq!(world.row(&[sk, 0, 0]), "NULL fd00::1 NULL 80 6 10");
        assert_eq!(world.row(&[0, skb, 0]), "10.0.0.1 NULL 8080 NULL 17 2");
    }
}

#[test]
fn rule_27_the_socket_of_a_drop_is_the_packets_else_the_receivers() {
    let mut world = World::new("SELECT lport, owner FROM hook.kfree_skb");
    let (a, b) = (world.net(1, 10), world.net(2, 20));
    let own = world.socket(6, ("10.0.0.1", 1), ("10.0.0.2", 2), a);
    let receiver = world.socket(6, ("10.0.0.1", 3), ("10.0.0.2", 4), b);
    let packet = world.packet(IPV4, &four(6, 0, 0));
    assert_eq!(world.row(&[packet, 0, 0, 0]), "NULL NULL");
    assert_eq!(world.row(&[packet, 0, 0, receiver]), "3 2");
    world.set(packet, "sk_buff", "sk", own);
    assert_eq!(world.row(&[packet, 0, 0, receiver]), "1 1");
    assert_eq!(world.row(&[0, 0, 0, receiver]), "3 2");
}

#[test]
fn protocols_and_states_have_the_names_of_their_enums() {
    let sql = "SELECT name(protocol) AS protocol, name(oldstate, 'TCP_ESTABLISHED') AS old, name(newstate, 'TCP_ESTABLISHED') AS new, newstate \
               FROM hook.inet_sock_set_state WHERE name(oldstate, 'TCP_ESTABLISHED') <> 'LISTEN'";
    let mut world = World::new(sql);
    let sk = world.socket(6, ("10.0.0.1", 1), ("10.0.0.2", 2), 0);
    assert_eq!(world.row(&[sk, 2, 1]), "TCP SYN_SENT ESTABLISHED 1");
    assert_eq!(world.row(&[sk, 1, 77]), "TCP ESTABLISHED 0x4d 77");
    assert_eq!(world.row(&[sk, 10, 1]), "");
}

#[test]
fn kernels_without_ipv6_say_what_they_cannot() {
    let catalogue = kernel::catalogue(Options { ipv6: false, ..kernel::NEW });
    for sql in [PACKET, SOCKET] {
        let error = crate::query::plan(sql, &catalogue, crate::query::Asker::Probe).unwrap_err();
        assert_eq!(error.kind, crate::query::Kind::Absent, "{error}");
    }
}
