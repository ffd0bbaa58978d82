//! Values of arguments and fields, as programs read them.

use super::world::World;

fn odd(columns: &str) -> World {
    World::new(&format!("SELECT {columns} FROM hook.odd"))
}

#[test]
fn rule_21_arguments_have_their_width_and_sign() {
    let mut world = odd("flag, tiny, big, wide, name(wide) AS w, verdict, name(verdict) AS v, value, count, signed");
    let dirty = 0xdead_beef_0000_0000_u64;
    let arguments = [
        dirty | 0x0100,
        dirty | 0xff,
        u64::MAX,
        1 << 63,
        dirty | 0xffff_ffff,
        0,
        0,
        0,
        dirty | 5,
        0,
        0,
        dirty | 7,
        u64::MAX - 1,
    ];
    assert_eq!(world.row(&arguments), "0 -1 18446744073709551615 9223372036854775808 TOP -1 DROP 5 7 -2");
    let arguments = [dirty | 1, 0x7f, 0, 3, 0xffff_fffb, 0, 0, 0, 0, 0, 0, u64::MAX, i64::MIN as u64];
    assert_eq!(world.row(&arguments), "1 127 0 3 0x3 -5 0xfffffffb 0 4294967295 -9223372036854775808");
}

#[test]
fn rule_21_bit_fields_have_their_width_and_sign() {
    let mut world = odd("dev.bits, dev.more, dev.minus, dev.on, dev.long_bits, dev.up");
    let device = world.object("net_device");
    let first = world.place(device, "net_device", "bits");
    let arguments = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, device, 0, 0];
    let bits: u64 = 5 | 77 << 3 | 0b10001 << 10 | 1 << 15 | 0x12_3456_789a << 16;
    world.machine.poke(first, &bits.to_le_bytes());
    world.set(device, "net_device", "up", 1);
    assert_eq!(world.row(&arguments), format!("5 77 -15 1 {} 1", 0x12_3456_789a_u64));
    world.machine.poke(first, &(!bits).to_le_bytes());
    assert_eq!(world.row(&arguments), format!("2 50 14 0 {} 1", !0x12_3456_789a_u64 & ((1 << 40) - 1)));
}

#[test]
fn arrays_texts_and_bytes_are_read_as_they_are() {
    let mut world = odd(
        "dev.queues[3].depth, dev.queues[0].dropped, dev.weights[2], dev.dev_addr, dev.short_name, dev.name, dev.address",
    );
    let net = world.net(1, 1);
    let device = world.device("sixteen-letters!", net);
    for (path, bytes) in [
        ("dev_addr", &[2, 0, 0, 0xab, 0xcd, 0xef][..]),
        ("short_name", b"abcde"),
        ("address", &[7; 16]),
        ("weights", &[0, 1, 0, 2, 1, 3]),
    ] {
        world.set_bytes(device, "net_device", path, bytes);
    }
    let queues = world.place(device, "net_device", "queues");
    world.machine.poke(queues, &99_u64.to_le_bytes());
    world.machine.poke(queues + 3 * 16 + 8, &(-7_i16).to_le_bytes());
    let arguments = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, device, 0, 0];
    let address = "07".repeat(16);
    assert_eq!(world.row(&arguments), format!("-7 99 259 020000abcdef abcde sixteen-letters! {address}"));
    world.set_bytes(device, "net_device", "name", b"lo\0");
    world.set_bytes(device, "net_device", "short_name", b"\0");
    assert!(world.row(&arguments).contains(" 020000abcdef  lo "));
}

#[test]
fn what_lies_beyond_the_reach_of_a_load_is_read_too() {
    let mut world =
        odd("far.here, far.there, far.text, far.wire, far.tiny, far.inner.b, far.smalls[1].a, far.next.text AS next");
    let (far, next) = (world.object("far"), world.object("far"));
    for (path, bytes) in [
        ("here", &1_u32.to_le_bytes()[..]),
        ("there", &2_u32.to_le_bytes()),
        ("text", b"twenty letters long!"),
        ("wire", &0x0102_0304_0506_0708_u64.to_be_bytes()),
        ("tiny", &[0xf0]),
        ("inner", &[0, 0, 9, 1]),
        ("smalls", &[0, 0, 0, 0, 4, 0, 0, 0]),
        ("next", &next.to_le_bytes()),
    ] {
        world.set_bytes(far, "far", path, bytes);
    }
    world.set_bytes(next, "far", "text", b"another\0");
    let arguments = [0, 0, 0, 0, 0, 0, 0, 0, 0, far, 0, 0, 0];
    assert_eq!(world.row(&arguments), "1 2 twenty letters long! 72623859790382856 -16 265 4 another");
}

#[test]
fn a_pointer_that_is_null_on_the_way_makes_null() {
    let mut world = odd("dev.upper.upper.ifindex, dev.upper.ifindex AS upper, dev.upper IS NULL AS gone, dev.ifindex");
    let (device, upper) = (world.object("net_device"), world.object("net_device"));
    let arguments = |device| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, device, 0, 0];
    assert_eq!(world.row(&arguments(0)), "NULL NULL 1 NULL");
    assert_eq!(world.row(&arguments(device)), "NULL NULL 1 0");
    world.set(device, "net_device", "upper", upper);
    world.set(upper, "net_device", "ifindex", 8);
    assert_eq!(world.row(&arguments(device)), "NULL 8 0 0");
    world.set(upper, "net_device", "upper", device);
    world.set(device, "net_device", "ifindex", (-3_i32) as u32 as u64);
    assert_eq!(world.row(&arguments(device)), "-3 8 0 -3");
}

#[test]
fn pointers_that_several_columns_need_are_loaded_once() {
    let mut world = World::new(
        "SELECT skb.dev.ifindex, skb.dev.mtu, skb.dev.upper.ifindex AS upper, skb.dev.upper.name FROM hook.kfree_skb WHERE skb.dev.group = 0",
    );
    let (packet, device, upper) = (world.object("sk_buff"), world.object("net_device"), world.object("net_device"));
    world.set(packet, "sk_buff", "dev", device);
    world.set(device, "net_device", "upper", upper);
    world.run(&[packet, 0, 2, 0]);
    let loads = |world: &World, at: u64| world.machine.loads.iter().filter(|load| **load == at).count();
    // For its namespace, which every record has, the device is asked once more.
    assert_eq!(loads(&world, world.place(packet, "sk_buff", "dev")), 2);
    assert_eq!(loads(&world, world.place(device, "net_device", "upper")), 1);
    assert_eq!(loads(&world, world.place(device, "net_device", "mtu")), 1);
    assert_eq!(world.rows(), ["0 0 0 "]);
}

#[test]
fn casts_are_checked() {
    let columns = "(sk::tcp_sock).snd_cwnd, (sk::inet_sock).uc_ttl AS ttl, (sk::udp_sock).len, (sk::unix_sock).peer IS NULL AS alone";
    let mut world = World::new(&format!("SELECT {columns} FROM hook.tcp_receive_reset"));
    let sk = world.socket(6, ("10.0.0.1", 1), ("10.0.0.2", 2), 0);
    world.set(sk, "tcp_sock", "snd_cwnd", 10);
    world.set(sk, "inet_sock", "uc_ttl", 0xffff);
    assert_eq!(world.row(&[sk]), "10 -1 NULL 1");
    // A raw socket may have TCP's protocol.
    world.set(sk, "sock", "sk_type", 3);
    assert_eq!(world.row(&[sk]), "NULL -1 NULL 1");
    world.set(sk, "sock", "sk_type", 2);
    world.set(sk, "sock", "sk_protocol", 17);
    world.set(sk, "udp_sock", "len", 33);
    assert_eq!(world.row(&[sk]), "NULL -1 33 1");
    // And other families have protocols by the same numbers.
    world.set(sk, "sock_common", "skc_family", 16);
    assert_eq!(world.row(&[sk]), "NULL NULL NULL 1");
    world.set(sk, "sock_common", "skc_family", 10);
    assert_eq!(world.row(&[sk]), "NULL -1 33 1");
    // Of sockets in TIME_WAIT and of requests there is no more than a `struct sock_common`.
    for state in [6, 12] {
        world.set(sk, "sock_common", "skc_state", state);
        assert_eq!(world.row(&[sk]), "NULL NULL NULL 1");
    }
    world.set(sk, "sock_common", "skc_state", 1);
    world.set(sk, "sock_common", "skc_family", 1);
    world.set(sk, "unix_sock", "peer", sk);
    assert!(world.row(&[sk]).ends_with(" 0"), "it has a peer now");
    assert_eq!(world.row(&[0]), "NULL NULL NULL 1");
}

#[test]
fn a_socket_by_its_smaller_half_is_checked_too() {
    let columns = "((common::sock)::tcp_sock).snd_cwnd AS a, (common::tcp_sock).snd_cwnd AS b, (common::sock).sk_mark AS c, (other.sk::tcp_sock).snd_cwnd AS d";
    let mut world = World::new(&format!("SELECT {columns} FROM hook.unix_pair"));
    let sk = world.socket(6, ("10.0.0.1", 1), ("10.0.0.2", 2), 0);
    world.set(sk, "tcp_sock", "snd_cwnd", 10);
    world.set(sk, "sock", "sk_mark", 5);
    assert_eq!(world.row(&[sk, sk]), "10 10 5 10");
    world.set(sk, "sock_common", "skc_state", 6);
    assert_eq!(world.row(&[sk, sk]), "NULL NULL NULL NULL");
}
