//! Tracepoints as tables: arguments, rule 22's order of names, rule 27's sources.

use super::{
    kernel::{self, Options},
    world::{World, planned},
};
use crate::{
    bpf::hook::{Hook, Way},
    query::{Asker, plan},
    table::{Hooks, Table, Type},
};

fn hook(name: &str) -> Hook {
    kernel::catalogue(kernel::NEW).hooks.find(name).unwrap().0
}

fn table(name: &str, options: Options) -> Table {
    let hooks = kernel::catalogue(options).hooks;
    let (hook, btf) = hooks.find(name).unwrap();
    hook.table(btf)
}

fn names(table: &Table) -> Vec<&str> {
    table.columns.iter().map(|column| column.name.as_str()).collect()
}

#[test]
fn arguments_have_the_types_of_the_kernel() {
    let table = table("odd", kernel::NEW);
    let columns: Vec<(&str, Type, bool, &str)> = table
        .columns
        .iter()
        .take(13)
        .map(|column| (column.name.as_str(), column.ty, column.nullable, column.help.as_str()))
        .collect();
    assert_eq!(
        columns,
        [
            ("flag", Type::Bool, false, "_Bool"),
            ("tiny", Type::S64, false, "signed char"),
            ("big", Type::U64, false, "u64"),
            ("wide", Type::U64, false, "enum wide"),
            ("verdict", Type::S64, false, "enum verdict"),
            ("data", Type::Pointer, true, "void *"),
            ("code", Type::Pointer, true, "function *"),
            ("text", Type::Pointer, true, "char *"),
            ("value", Type::U64, false, "struct small"),
            ("far", Type::Pointer, true, "struct far *"),
            ("dev", Type::Pointer, true, "struct net_device *"),
            ("count", Type::U64, false, "counter_t"),
            ("signed", Type::S64, false, "long int"),
        ]
    );
}

#[test]
fn computed_columns_are_there_where_their_source_is() {
    let anywhere = ["time", "cpu", "pid", "comm"];
    assert_eq!(names(&table("quiet", kernel::NEW)), anywhere);
    assert_eq!(names(&table("net_dev_xmit", kernel::NEW))[4..], ["netns", "time", "cpu", "pid", "comm"]);
    assert_eq!(names(&table("netns_ready", kernel::NEW))[1..], ["netns", "time", "cpu", "pid", "comm"]);
    let all = names(&table("kfree_skb", kernel::NEW)).len();
    assert_eq!(all, 4 + 17);
    let old = table("kfree_skb", kernel::WITHOUT_COOKIE);
    assert!(!names(&old).contains(&"netns") && !names(&old).contains(&"owner") && names(&old).contains(&"saddr"));
    let without = table("kfree_skb", Options { cgroup: false, ..kernel::NEW });
    assert!(!names(&without).contains(&"cgroup") && names(&without).contains(&"laddr"));
}

#[test]
fn names_end_where_the_kernel_marks_what_may_be_null() {
    let names: Vec<String> = hook("tcp_send_reset").arguments.into_iter().map(|argument| argument.name).collect();
    assert_eq!(names, ["sk", "skb", "reason"]);
}

#[test]
fn tracepoints_of_a_class_have_the_names_of_the_class() {
    assert_eq!(hook("of_a_class").arguments[0].text, "struct net_device *");
    let hooks = kernel::catalogue(kernel::NEW).hooks;
    let error = hooks.find("nameless").unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.absent),
        ("the arguments of tracepoint `nameless` have no names in BTF", true)
    );
    assert!(hooks.names().is_sorted() && hooks.names().contains(&"nameless"));
    let none = Hooks::Absent("there is no /sys/kernel/btf/vmlinux".into());
    assert!(none.names().is_empty());
    let error = none.find("kfree_skb").unwrap_err();
    assert_eq!(error.to_string(), "this node cannot give hook.kfree_skb: there is no /sys/kernel/btf/vmlinux");
}

#[test]
fn rule_22_an_argument_goes_before_a_computed_column() {
    let row = |columns: &str| {
        let mut world = World::new(&format!("SELECT {columns} FROM hook.timer t"));
        world.machine.now = 77_000_000_000;
        world.row(&[11, 12, 0])
    };
    assert_eq!(row("time, pid, cpu"), "11 12 0");
    assert_eq!(row("t.time, t.pid"), "11 12");
    assert_eq!(row("arg.time, t.arg.pid"), "11 12");
    assert_eq!(row("arg.time AS x, time AS y"), "11 11");
}

#[test]
fn rule_22_an_argument_of_a_name_hides_the_computed_column_in_the_table() {
    let table = table("timer", kernel::NEW);
    assert_eq!(names(&table).iter().filter(|name| **name == "time").count(), 1);
    let star = planned("SELECT * FROM hook.timer", &kernel::catalogue(kernel::NEW));
    let fields: Vec<&str> = star.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(fields, ["time", "pid", "netns", "cpu", "comm"], "and addresses of the kernel are left out");
}

#[test]
fn rule_22_a_declared_alias_is_nothing_else() {
    let catalogue = kernel::catalogue(kernel::NEW);
    let sql = "SELECT skb.len FROM hook.kfree_skb skb";
    let error = plan(sql, &catalogue, Asker::Probe).unwrap_err();
    assert!(error.message.starts_with("hook.kfree_skb has no argument `len`"), "{error}");
    assert_eq!(planned("SELECT skb.skb.len FROM hook.kfree_skb skb", &catalogue).fields[0].name, "skb.len");
    assert_eq!(planned("SELECT reason FROM hook.kfree_skb reason", &catalogue).fields[0].name, "reason");
}

#[test]
fn rule_27_the_namespace_is_the_sockets_then_the_packets_then_the_devices() {
    use Way::*;
    for (name, socket, packet, netns) in [
        ("tcp_send_reset", vec![Socket(0)], Some(1), vec![Socket(0), PacketSocket(1), PacketDevice(1)]),
        ("kfree_skb", vec![PacketSocket(0), Socket(3)], Some(0), vec![PacketSocket(0), Socket(3), PacketDevice(0)]),
        ("tcp_receive_reset", vec![Socket(0)], None, vec![Socket(0)]),
        ("net_dev_queue", vec![PacketSocket(0)], Some(0), vec![PacketSocket(0), PacketDevice(0)]),
        ("netns_ready", vec![], None, vec![Net(0)]),
        ("quiet", vec![], None, vec![]),
        ("odd", vec![], None, vec![Device(10)]),
    ] {
        let sources = hook(name).sources;
        assert_eq!((sources.socket, sources.packet, sources.netns), (socket, packet, netns), "{name}");
    }
}

#[test]
fn rule_27_a_packet_that_was_freed_is_not_looked_into() {
    let sources = hook("net_dev_xmit").sources;
    assert_eq!((sources.socket, sources.packet, sources.netns), (vec![], None, vec![Way::Device(2)]));
    let catalogue = kernel::catalogue(kernel::NEW);
    let error = plan("SELECT saddr FROM hook.net_dev_xmit", &catalogue, Asker::Probe).unwrap_err();
    assert!(error.message.contains("no argument is a packet"), "{error}");
}

#[test]
fn rule_27_each_way_to_the_namespace_is_gone_in_its_order() {
    let mut world = World::new("SELECT netns FROM hook.kfree_skb");
    let (of_socket, of_receiver, of_device) = (world.net(1, 100), world.net(2, 200), world.net(3, 300));
    let socket = world.socket(6, ("10.0.0.1", 1), ("10.0.0.2", 2), of_socket);
    let receiver = world.socket(6, ("10.0.0.1", 1), ("10.0.0.2", 2), of_receiver);
    let device = world.device("eth0", of_device);
    let packet = world.packet(0x0800, &[]);
    assert_eq!(world.row(&[packet, 0, 0, 0]), "NULL");
    world.set(packet, "sk_buff", "dev", device);
    assert_eq!(world.row(&[packet, 0, 0, 0]), "3");
    assert_eq!(world.row(&[packet, 0, 0, receiver]), "2");
    world.set(packet, "sk_buff", "sk", socket);
    assert_eq!(world.row(&[packet, 0, 0, receiver]), "1");
    assert_eq!(world.row(&[0, 0, 0, 0]), "NULL");
}

#[test]
fn rule_29_a_record_has_cookie_and_inode() {
    let mut world = World::new("SELECT netns FROM hook.netns_ready");
    let net = world.net(0x1_0000_0005, 4_026_531_840);
    world.run(&[net]);
    let record = &world.machine.ring[0];
    let found = crate::bpf::record::netns(record, crate::bpf::record::head::NETNS as usize).unwrap();
    assert_eq!((found.cookie, found.inode), (0x1_0000_0005, 4_026_531_840));
    let mut world = World::new("SELECT netns, count(*) FROM hook.netns_ready GROUP BY netns");
    // The inode of one that is gone may be used again: two groups.
    let (old, new) = (world.net(5, 77), world.net(6, 77));
    [old, new, new].into_iter().for_each(|net| world.run(&[net]));
    world.collect(0);
    assert_eq!(world.grouped(), ["5 1", "6 2"]);
}

#[test]
fn kernels_without_ipv6_still_tell_namespaces() {
    let options = Options { ipv6: false, ..kernel::NEW };
    let mut world = World::on(options, "SELECT netns FROM hook.kfree_skb", super::world::BOUNDLESS);
    let net = world.net(3, 300);
    let device = world.device("eth0", net);
    let packet = world.object("sk_buff");
    world.set(packet, "sk_buff", "dev", device);
    let socket = world.object("tcp_sock");
    world.set(socket, "sock_common", "skc_net.net", net);
    // Where the layout of sockets or packets is not known, nothing may be taken for a namespace.
    let row = world.row(&[packet, 0, 0, socket]);
    assert!(["3", "NULL"].contains(&row.as_str()), "{row}");
}
