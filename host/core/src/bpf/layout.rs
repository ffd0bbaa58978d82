//! Where the running kernel keeps what the computed columns are made of.

use super::{
    btf::{Btf, Kind, TypeId},
    walk::seen,
};

/// Offsets in bytes. What this kernel lacks is None, and with it the columns that need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub packet: Option<Packet>,
    pub socket: Option<Socket>,
    pub net: Option<Net>,
    /// Of `struct net_device`: its namespace.
    pub device_net: Option<u32>,
    pub task: Option<Task>,
    /// The kernel function `bpf_rdonly_cast` (Linux 6.2).
    pub cast: Option<TypeId>,
}

/// Of `struct sk_buff`, and the types of headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub head: u32,
    pub network_header: u32,
    pub protocol: u32,
    pub sk: u32,
    pub dev: u32,
    pub iphdr: TypeId,
    pub ipv6hdr: TypeId,
    pub udphdr: TypeId,
}

/// Of `struct sock`. Everything up to `net` is in `struct sock_common`, which TIME_WAIT and request sockets have too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub id: TypeId,
    pub family: u32,
    pub state: u32,
    pub num: u32,
    pub dport: u32,
    pub daddr: u32,
    pub rcv_saddr: u32,
    pub v6_daddr: u32,
    pub v6_rcv_saddr: u32,
    pub net: u32,
    /// With its size: it grew from one byte to two.
    pub protocol: (u32, u32),
    pub kind: (u32, u32),
    /// `sk_cgrp_data.cgroup`, `cgroup.kn`, `kernfs_node.id`. Before Linux 5.15 the first shared its place with numbers of version 1.
    pub cgroup: Option<[u32; 3]>,
    /// Of a request: the listener.
    pub listener: Option<u32>,
    /// `struct inet_sock` and the port that it keeps after the socket was taken out of the tables.
    pub inet_sport: Option<(TypeId, u32)>,
}

/// Of `struct net`: its cookie, never used again in a boot (Linux 5.12), and the inode that people know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    pub cookie: u32,
    pub inum: u32,
}

/// Of `struct task_struct`: `nsproxy`, and `nsproxy.net_ns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub nsproxy: u32,
    pub net_ns: u32,
}

impl Layout {
    pub fn of(btf: &Btf) -> Self {
        Self {
            packet: packet(btf),
            socket: socket(btf),
            net: net(btf),
            device_net: Struct::find(btf, "net_device").and_then(|device| device.at(&["nd_net", "net"])),
            task: task(btf),
            cast: btf.find(Kind::Func, "bpf_rdonly_cast"),
        }
    }
}

pub(super) struct Struct<'a> {
    btf: &'a Btf,
    pub(super) id: TypeId,
}

impl<'a> Struct<'a> {
    pub(super) fn find(btf: &'a Btf, name: &str) -> Option<Self> {
        Some(Self { btf, id: btf.find(Kind::Struct, name)? })
    }

    /// The offset of a member of a member of this struct.
    pub(super) fn at(&self, path: &[&str]) -> Option<u32> {
        self.sized(path).map(|(offset, _)| offset)
    }

    fn sized(&self, path: &[&str]) -> Option<(u32, u32)> {
        let mut at = (0_u32, self.id);
        for name in path {
            let member = self.btf.member(at.1, name)?;
            at = (at.0.saturating_add(member.offset), member.ty);
        }
        Some((at.0, self.btf.size(at.1)))
    }
}

fn packet(btf: &Btf) -> Option<Packet> {
    let skb = Struct::find(btf, "sk_buff")?;
    Some(Packet {
        head: skb.at(&["head"])?,
        network_header: skb.at(&["network_header"])?,
        protocol: skb.at(&["protocol"])?,
        sk: skb.at(&["sk"])?,
        dev: skb.at(&["dev"])?,
        iphdr: btf.find(Kind::Struct, "iphdr")?,
        ipv6hdr: btf.find(Kind::Struct, "ipv6hdr")?,
        udphdr: btf.find(Kind::Struct, "udphdr")?,
    })
}

fn socket(btf: &Btf) -> Option<Socket> {
    let sock = Struct::find(btf, "sock")?;
    let common = |name| sock.at(&["__sk_common", name]);
    let step = |name: &str, path: &[&str]| Struct::find(btf, name)?.at(path);
    let cgroup =
        || Some([sock.at(&["sk_cgrp_data", "cgroup"])?, step("cgroup", &["kn"])?, step("kernfs_node", &["id"])?]);
    let inet = Struct::find(btf, "inet_sock");
    Some(Socket {
        id: sock.id,
        family: common("skc_family")?,
        state: common("skc_state")?,
        num: common("skc_num")?,
        dport: common("skc_dport")?,
        daddr: common("skc_daddr")?,
        rcv_saddr: common("skc_rcv_saddr")?,
        v6_daddr: common("skc_v6_daddr")?,
        v6_rcv_saddr: common("skc_v6_rcv_saddr")?,
        net: sock.at(&["__sk_common", "skc_net", "net"])?,
        protocol: sock.sized(&["sk_protocol"])?,
        kind: sock.sized(&["sk_type"])?,
        cgroup: cgroup(),
        listener: common("skc_listener").filter(|&offset| seen(btf, sock.id, offset, 8).is_some()),
        inet_sport: inet.and_then(|inet| Some((inet.id, inet.at(&["inet_sport"])?))),
    })
}

fn task(btf: &Btf) -> Option<Task> {
    let nsproxy = Struct::find(btf, "task_struct")?.at(&["nsproxy"])?;
    Some(Task { nsproxy, net_ns: Struct::find(btf, "nsproxy")?.at(&["net_ns"])? })
}

fn net(btf: &Btf) -> Option<Net> {
    let net = Struct::find(btf, "net")?;
    Some(Net { cookie: net.at(&["net_cookie"])?, inum: net.at(&["ns", "inum"])? })
}
