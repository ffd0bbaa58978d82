//! A made-up kernel: what the compiler looks for in a real one, in structs of the same names, and tracepoints with arguments of every kind.

use super::types::Types;
use crate::{
    bpf::btf::Btf,
    table::{Catalogue, Hooks},
};
use std::sync::Arc;

/// What older kernels lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `net.net_cookie` (Linux 5.12).
    pub cookie: bool,
    /// `bpf_rdonly_cast` (Linux 6.2).
    pub cast: bool,
    /// Why a reset was sent (Linux 6.10).
    pub reason: bool,
    /// CONFIG_IPV6.
    pub ipv6: bool,
    /// CONFIG_SOCK_CGROUP_DATA, as it is since Linux 5.15.
    pub cgroup: bool,
    /// `file.f_ref` (Linux 6.13), which was `f_count` before.
    pub file_ref: bool,
    /// BPF iterators (Linux 5.8).
    pub iterators: bool,
}

pub const NEW: Options =
    Options { cookie: true, cast: true, reason: true, ipv6: true, cgroup: true, file_ref: true, iterators: true };
pub const WITHOUT_CAST: Options = Options { cast: false, ..NEW };
pub const WITHOUT_COOKIE: Options = Options { cookie: false, ..NEW };

pub fn bytes(options: Options) -> Vec<u8> {
    let mut types = Types::new();
    enums(&mut types);
    net(&mut types, options);
    sockets(&mut types, options);
    packets(&mut types, options);
    odd(&mut types);
    tracepoints(&mut types, options);
    if options.cast {
        types.function("bpf_rdonly_cast", &["obj__ign: *const void", "btf_id__k: u32"]);
    }
    iterators(&mut types, options);
    types.finish()
}

pub fn btf(options: Options) -> Btf {
    Btf::parse(bytes(options)).expect("the builder writes BTF")
}

pub fn catalogue(options: Options) -> Catalogue {
    Catalogue { hooks: Hooks::known(Arc::new(btf(options))), ..Catalogue::default() }
}

fn enums(types: &mut Types) {
    let mut reasons = vec![("SKB_NOT_DROPPED_YET".to_owned(), 0), ("SKB_CONSUMED".to_owned(), 1)];
    for name in ["NOT_SPECIFIED", "NO_SOCKET", "SOCKET_CLOSE", "NETFILTER_DROP", "QUEUE_PURGE", "TCP_OLD_DATA"] {
        reasons.push((format!("SKB_DROP_REASON_{name}"), reasons.len() as i64));
    }
    for number in reasons.len()..40 {
        reasons.push((format!("SKB_DROP_REASON_R{number}"), number as i64));
    }
    reasons.push(("SKB_DROP_REASON_SUBSYS_MASK".to_owned(), 0xffff_0000));
    let reasons: Vec<(&str, i64)> = reasons.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    types.enumeration("skb_drop_reason", "skb_drop_reason", &reasons);
    let resets = [("SK_RST_REASON_NOT_SPECIFIED", 0), ("SK_RST_REASON_NO_SOCKET", 1), ("SK_RST_REASON_TCP_STATE", 2)];
    types.enumeration("sk_rst_reason", "sk_rst_reason", &resets);
    let states = [("TCP_ESTABLISHED", 1), ("TCP_SYN_SENT", 2), ("TCP_TIME_WAIT", 6), ("TCP_LISTEN", 10)];
    types.enumeration("", "tcp_states", &states);
    types.enumeration("", "protocols", &[("IPPROTO_IP", 0), ("IPPROTO_TCP", 6), ("IPPROTO_UDP", 17)]);
    types.enumeration("verdict", "verdict", &[("V_REPEAT", -2), ("V_DROP", -1), ("V_PASS", 0)]);
    types.wide_enumeration("wide", &[("WIDE_LOW", 1), ("WIDE_HIGH", 1 << 40), ("WIDE_TOP", 1 << 63)]);
}

fn net(types: &mut Types, options: Options) {
    types.structure("ns_common", &["stashed: *void", "inum: __u32"]);
    let cookie: &[&str] = if options.cookie { &["net_cookie: u64"] } else { &[] };
    let members = [&["passive: int", "ifindex: int"], cookie, &["ns: ns_common", "loopback_dev: *net_device"]];
    types.structure("net", &members.concat());
    types.structure("net_ref", &["net: *net"]);
    types.typedef("possible_net_t", "net_ref");
    types.structure("net_queue", &["dropped: u64", "depth: s16"]);
    types.structure(
        "net_device",
        &[
            "name: [char; 16]",
            "ifindex: int",
            "mtu: __u32",
            "group: s64",
            "flags: u16",
            "up: bool",
            "dev_addr: [u8; 6]",
            "short_name: [char; 5]",
            "address: [u8; 16]",
            "nd_net: possible_net_t",
            "queues: [net_queue; 4]",
            "weights: [__be16; 3]",
            "upper: *net_device",
            "bits: u32 : 3",
            "more: u32 : 7",
            "minus: int : 5",
            "on: bool : 1",
            "long_bits: u64 : 40",
        ],
    );
}

fn sockets(types: &mut Types, options: Options) {
    types.structure("in6_addr", &["in6_u: [u8; 16]"]);
    types.anonymous("daddr_pair", &["skc_daddr: __be32", "skc_rcv_saddr: __be32"]);
    types.anonymous_union("addresses", &["skc_addrpair: u64", ": daddr_pair"]);
    types.anonymous("port_pair", &["skc_dport: __be16", "skc_num: __u16"]);
    types.anonymous_union("ports", &["skc_portpair: __u32", ": port_pair"]);
    let v6: &[&str] = if options.ipv6 { &["skc_v6_daddr: in6_addr", "skc_v6_rcv_saddr: in6_addr"] } else { &[] };
    let common = [
        &[": addresses", ": ports", "skc_family: __u16", "skc_state: volatile u8", "skc_reuse: u8 : 4"],
        &["skc_reuseport: u8 : 1", "skc_net: possible_net_t"][..],
        v6,
        &[": flags_or_listener"],
    ];
    types.anonymous_union("flags_or_listener", &["skc_flags: u64", "skc_listener: *sock"]);
    types.structure("sock_common", &common.concat());
    types.structure("atomic", &["counter: int"]);
    types.typedef("atomic_t", "atomic");
    types.anonymous("backlog", &["rmem_alloc: atomic_t", "len: int", "head: *sk_buff"]);
    types.structure("kernfs_node", &["parent: *kernfs_node", "id: u64"]);
    types.structure("cgroup", &["flags: u64", "kn: *kernfs_node"]);
    types.structure("sock_cgroup_data", &["cgroup: *cgroup"]);
    let cgroup: &[&str] = if options.cgroup { &["sk_cgrp_data: sock_cgroup_data"] } else { &[] };
    let sock = [
        &["__sk_common: sock_common", "sk_backlog: backlog", "sk_err: int", "sk_protocol: u16", "sk_type: u16"],
        &["sk_mark: __u32", "sk_data_ready: *function", "sk_dst: *void"][..],
        cgroup,
    ];
    types.structure("sock", &sock.concat());
    types.structure("inet_sock", &["sk: sock", "inet_saddr: __be32", "uc_ttl: s16", "inet_sport: __be16"]);
    types.structure("inet_connection_sock", &["icsk_inet: inet_sock", "icsk_rto: __u32"]);
    let tcp = ["inet_conn: inet_connection_sock", "snd_cwnd: u32", "srtt_us: u32", "bytes_acked: u64"];
    types.structure("tcp_sock", &tcp);
    types.structure("udp_sock", &["inet: inet_sock", "len: int"]);
    types.structure("unix_sock", &["sk: sock", "peer: *sock"]);
}

fn packets(types: &mut Types, options: Options) {
    types.anonymous_union("device_or_scratch", &["dev: *net_device", "dev_scratch: u64"]);
    types.anonymous("listed", &["next: *sk_buff", "prev: *sk_buff", ": device_or_scratch"]);
    types.anonymous_union("list_or_tree", &[": listed", "rbnode: [u64; 3]"]);
    types.anonymous("headers", &["protocol: __be16", "transport_header: u16", "network_header: u16"]);
    types.anonymous_union("headers_or_group", &[": headers", "group: u64"]);
    types.structure(
        "sk_buff",
        &[
            ": list_or_tree",
            "sk: *sock",
            "cb: [char; 48]",
            "len: __u32",
            "mark: __u32",
            "pkt_type: u8 : 3",
            "ignore_df: u8 : 1",
            "priority: int",
            ": headers_or_group",
            "head: *u8",
            "truesize: __u32",
        ],
    );
    types.structure("iphdr", &["bytes: [u8; 20]"]);
    types.structure("udphdr", &["source: __be16", "dest: __be16", "len: __be16", "check: u16"]);
    if options.ipv6 {
        types.structure("ipv6hdr", &["bytes: [u8; 40]"]);
    }
}

/// What lies far away, or has no value.
fn odd(types: &mut Types) {
    types.structure("small", &["a: u16", "b: u16"]);
    types.structure(
        "far",
        &[
            "here: u32",
            "padding: [u8; 40000]",
            "there: u32",
            "text: [char; 20]",
            "next: *far",
            "huge: __int128",
            "long_text: [char; 129]",
            "inner: small",
            "smalls: [small; 2]",
            "wire: __be64",
            "tiny: s8",
        ],
    );
    types.typedef("count_t", "volatile u32");
    types.typedef("counter_t", "count_t");
}

fn tracepoints(types: &mut Types, options: Options) {
    let reset = ["sk: *sock", "skb__nullable: *sk_buff", "reason: const sk_rst_reason"];
    types.tracepoint("tcp_send_reset", &reset[..if options.reason { 3 } else { 2 }]);
    types.tracepoint("tcp_receive_reset", &["sk: *sock"]);
    types.tracepoint("kfree_skb", &["skb: *sk_buff", "location: *void", "reason: skb_drop_reason", "rx_sk: *sock"]);
    types.tracepoint("tcp_retransmit_skb", &["sk: *const sock", "skb: *const sk_buff", "err: int"]);
    types.tracepoint("net_dev_xmit", &["skb: *sk_buff", "rc: int", "dev: *net_device", "len: __u32"]);
    types.tracepoint("net_dev_queue", &["skb: *sk_buff"]);
    types.tracepoint("inet_sock_set_state", &["sk: *const sock", "oldstate: const int", "newstate: const int"]);
    types.tracepoint("netns_ready", &["net: *net"]);
    types.tracepoint("quiet", &[]);
    types.tracepoint("timer", &["time: u64", "pid: int", "dev: *net_device"]);
    types.tracepoint("sys_enter", &["regs: *void", "id: s64"]);
    types.tracepoint("unix_pair", &["common: *sock_common", "other: *inet_sock"]);
    types.tracepoint(
        "odd",
        &[
            "flag: bool",
            "tiny: s8",
            "big: u64",
            "wide: wide",
            "verdict: verdict",
            "data: *void",
            "code: *function",
            "text: *char",
            "value: small",
            "far: *far",
            "dev: *net_device",
            "count: counter_t",
            "signed: s64",
        ],
    );
    // The parameters of a class of tracepoints have names only in the class's function.
    types.trace_typedef("of_a_class", &["dev: *net_device"]);
    types.function("__bpf_trace_of_a_class", &["__data: *void", "dev: *net_device"]);
    types.trace_typedef("nameless", &["dev: *net_device"]);
}

fn iterators(types: &mut Types, options: Options) {
    types.structure("nsproxy", &["count: int", "net_ns: *net"]);
    types.structure("fdtable", &["max_fds: u32", "fd: *void"]);
    types.structure("files_struct", &["count: atomic_t", "fdt: *fdtable"]);
    types.structure("signal_struct", &["nr_threads: int"]);
    let task = [
        "pid: int",
        "tgid: int",
        "comm: [char; 16]",
        "nsproxy: *nsproxy",
        "files: *files_struct",
        "signal: *signal_struct",
    ];
    types.structure("task_struct", &task);
    types.structure("atomic64", &["counter: s64"]);
    types.structure("file_ref", &["refcnt: atomic64"]);
    let references = if options.file_ref { "f_ref: file_ref" } else { "f_count: atomic64" };
    types.structure("file", &["f_mode: u32", "f_op: *void", "private_data: *void", references]);
    types.structure("socket", &["state: u32", "sk: *sock"]);
    types.structure("seq_file", &["count: u64"]);
    types.structure("bpf_iter_meta", &["seq: *seq_file", "seq_num: u64"]);
    if options.iterators {
        types.function("bpf_iter_task", &["meta: *bpf_iter_meta", "task: *task_struct"]);
        let files = ["meta: *bpf_iter_meta", "task: *task_struct", "fd: u32", "file: *file"];
        types.function("bpf_iter_task_file", &files);
    }
}
