//! What is computed from a packet: its headers are looked at once, and what they say is kept on the stack.
//!
//! The headers lie at `skb->head + skb->network_header`, where Linux has them from the moment it knows the protocol. Options of IPv4 are
//! skipped; extension headers of IPv6 are not: their packets have addresses, and no ports.

use super::{
    super::{
        access::Computed,
        asm::{Alu, FP, Jump, Label, R0, R1, R2, R3, R7, R8, Reg, helper},
    },
    emit::Emit,
    socket::{AF_INET, AF_INET6},
};

/// `htons(ETH_P_IP)` and `htons(ETH_P_IPV6)` (include/uapi/linux/if_ether.h), as a little-endian machine loads them.
const ETH_P_IP: i32 = 0x0008;
const ETH_P_IPV6: i32 = 0xdd86;

/// Offsets in the IPv4 header (RFC 791), the IPv6 header (RFC 8200), and of what they end with.
mod ipv4 {
    pub const FRAGMENT: i32 = 6;
    pub const PROTOCOL: i32 = 9;
    pub const SADDR: i32 = 12;
    pub const DADDR: i32 = 16;
    pub const BYTES: u32 = 20;
    /// The offset of a fragment, of which only the first has ports, in network byte order.
    pub const FRAGMENT_OFFSET: i32 = 0xff1f;
}
mod ipv6 {
    pub const NEXT_HEADER: i32 = 6;
    pub const SADDR: i32 = 8;
    pub const DADDR: i32 = 24;
    pub const BYTES: u32 = 40;
}

/// Protocols that begin with the two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [i32; 5] = [6, 17, 33, 132, 136];

/// What is kept on the stack, by its offset there.
mod area {
    /// u64: the address family, 0 where there is no IP header.
    pub const FAMILY: i32 = 0;
    pub const PROTOCOL: i32 = 8;
    /// u64: 1 if the ports are known.
    pub const HAS_PORTS: i32 = 16;
    pub const SPORT: i32 = 24;
    pub const DPORT: i32 = 32;
    pub const SADDR: i32 = 40;
    pub const DADDR: i32 = 56;
    /// A copy of the header, on kernels that cannot look at it where it is.
    pub const COPY: i32 = 72;
    pub const BYTES: u32 = 72;
}

impl Emit<'_> {
    /// Looks at the packet's headers.
    pub fn prepare_packet(&mut self) {
        let (Some(argument), Some(packet)) = (self.hook.sources.packet, self.hook.layout.packet.clone()) else {
            return;
        };
        if self.packet.is_some() {
            return;
        }
        let copy = if self.hook.layout.cast.is_none() { ipv6::BYTES } else { 0 };
        let at = self.room(area::BYTES + copy);
        let (six, done) = (self.asm.label(), self.asm.label());
        self.asm.store_imm(8, FP, at + area::FAMILY, 0);
        if self.wants_ports {
            self.asm.store_imm(8, FP, at + area::HAS_PORTS, 0);
        }
        self.argument(argument, done);
        self.asm.mov(R7, R1);
        self.load(8, R2, packet.head);
        self.asm.mov(R8, R2);
        self.asm.load(2, R2, R7, packet.network_header as i32);
        // Where nobody has set it yet it is 0.
        self.asm.jump_if(Jump::Eq, R2, 0, done);
        self.asm.alu(Alu::Add, R8, R2);
        self.asm.load(2, R2, R7, packet.protocol as i32);
        self.asm.jump_if(Jump::Eq, R2, ETH_P_IPV6, six);
        self.asm.jump_if(Jump::Ne, R2, ETH_P_IP, done);
        self.ipv4(at, packet.iphdr, packet.udphdr, done);
        self.asm.jump(done);
        self.asm.place(six);
        self.ipv6(at, packet.ipv6hdr, packet.udphdr, done);
        self.asm.place(done);
        self.packet = Some(at);
    }

    fn ipv4(&mut self, at: i32, iphdr: u32, udphdr: u32, done: Label) {
        self.header(iphdr, ipv4::BYTES, at, done);
        self.asm.load(1, R2, R0, 0);
        self.asm.mov(R1, R2);
        self.asm.alu_imm(Alu::Rsh, R1, 4);
        self.asm.jump_if(Jump::Ne, R1, 4, done);
        if self.wants_ports {
            // The header's length, in words of four bytes.
            self.asm.alu_imm(Alu::And, R2, 15);
            self.asm.alu_imm(Alu::Lsh, R2, 2);
            self.asm.alu(Alu::Add, R8, R2);
        }
        if self.wants_addresses {
            for (from, to) in [(ipv4::SADDR, area::SADDR), (ipv4::DADDR, area::DADDR)] {
                self.asm.load(4, R2, R0, from);
                self.mapped_address(FP, at + to);
            }
        }
        self.asm.load(1, R3, R0, ipv4::PROTOCOL);
        self.asm.store(8, FP, at + area::PROTOCOL, R3);
        self.asm.store_imm(8, FP, at + area::FAMILY, AF_INET);
        if !self.wants_ports {
            return;
        }
        self.asm.load(2, R2, R0, ipv4::FRAGMENT);
        self.asm.alu_imm(Alu::And, R2, ipv4::FRAGMENT_OFFSET);
        self.asm.jump_if(Jump::Ne, R2, 0, done);
        self.ports(at, udphdr, done);
    }

    fn ipv6(&mut self, at: i32, ipv6hdr: u32, udphdr: u32, done: Label) {
        self.header(ipv6hdr, ipv6::BYTES, at, done);
        self.asm.load(1, R1, R0, 0);
        self.asm.alu_imm(Alu::Rsh, R1, 4);
        self.asm.jump_if(Jump::Ne, R1, 6, done);
        if self.wants_addresses {
            for (from, to) in [(ipv6::SADDR, area::SADDR), (ipv6::DADDR, area::DADDR)] {
                for part in [0, 8] {
                    self.asm.load(8, R2, R0, from + part);
                    self.asm.store(8, FP, at + to + part, R2);
                }
            }
        }
        self.asm.load(1, R3, R0, ipv6::NEXT_HEADER);
        self.asm.store(8, FP, at + area::PROTOCOL, R3);
        self.asm.store_imm(8, FP, at + area::FAMILY, AF_INET6);
        if self.wants_ports {
            self.asm.alu_imm(Alu::Add, R8, ipv6::BYTES as i32);
            self.ports(at, udphdr, done);
        }
    }

    /// The ports at R8, if the protocol in R3 has any.
    fn ports(&mut self, at: i32, udphdr: u32, done: Label) {
        let has_ports = self.asm.label();
        for protocol in WITH_PORTS {
            self.asm.jump_if(Jump::Eq, R3, protocol, has_ports);
        }
        self.asm.jump(done);
        self.asm.place(has_ports);
        self.header(udphdr, 4, at, done);
        for (from, to) in [(0, area::SPORT), (2, area::DPORT)] {
            self.asm.load(2, R2, R0, from);
            self.asm.big_endian_to_host(R2, 16);
            self.asm.store(8, FP, at + to, R2);
        }
        self.asm.store_imm(8, FP, at + area::HAS_PORTS, 1);
    }

    /// R0 = what is at the address in R8, to be read: in its place, or as a copy on the stack.
    fn header(&mut self, id: u32, bytes: u32, at: i32, absent: Label) {
        if self.hook.layout.cast.is_some() {
            self.asm.mov(R1, R8);
            self.cast(id);
            return;
        }
        self.stack_address(R1, at + area::COPY);
        self.asm.constant(R2, bytes.into());
        self.asm.mov(R3, R8);
        self.asm.call(helper::PROBE_READ_KERNEL);
        self.asm.jump_if(Jump::Ne, R0, 0, absent);
        self.stack_address(R0, at + area::COPY);
    }

    /// R1 = the family of the packet's header.
    pub fn packet_kind(&mut self, absent: Label) {
        let Some(at) = self.packet else { return self.asm.jump(absent) };
        self.asm.load(8, R1, FP, at + area::FAMILY);
        self.asm.jump_if(Jump::Eq, R1, 0, absent);
    }

    /// R1 = a port of the packet's.
    pub fn packet_port(&mut self, computed: Computed, absent: Label) {
        let Some(at) = self.packet else { return self.asm.jump(absent) };
        self.asm.load(8, R1, FP, at + area::HAS_PORTS);
        self.asm.jump_if(Jump::Eq, R1, 0, absent);
        let port = if computed == Computed::Sport { area::SPORT } else { area::DPORT };
        self.asm.load(8, R1, FP, at + port);
    }

    /// Writes an address of the packet's to `base + to`.
    pub fn packet_address(&mut self, computed: Computed, base: Reg, to: i32, absent: Label) {
        let Some(at) = self.packet else { return self.asm.jump(absent) };
        self.packet_kind(absent);
        let from = if computed == Computed::Saddr { area::SADDR } else { area::DADDR };
        for part in [0, 8] {
            self.asm.load(8, R1, FP, at + from + part);
            self.asm.store(8, base, to + part, R1);
        }
    }

    /// R1 = the protocol: the packet's, else the socket's.
    pub fn protocol(&mut self, absent: Label) {
        self.packet_or_socket(area::PROTOCOL, absent, Self::socket_protocol);
    }

    /// R1 = the address family: the packet's, else the socket's.
    pub fn family(&mut self, absent: Label) {
        self.packet_or_socket(area::FAMILY, absent, Self::socket_family);
    }

    fn packet_or_socket(&mut self, from: i32, absent: Label, of_socket: fn(&mut Self, Label)) {
        let Some(at) = self.packet else { return of_socket(self, absent) };
        let (none, done) = (self.asm.label(), self.asm.label());
        self.packet_kind(none);
        self.asm.load(8, R1, FP, at + from);
        self.asm.jump(done);
        self.asm.place(none);
        if self.hook.sources.socket.is_empty() {
            self.asm.jump(absent);
        } else {
            of_socket(self, absent);
        }
        self.asm.place(done);
    }
}
