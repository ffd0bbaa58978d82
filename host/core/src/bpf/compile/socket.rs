//! What is computed from a socket, and whose namespace it is.

use super::{
    super::{
        access::Computed,
        asm::{FP, Jump, Label, R1, R2, R3, Reg},
        hook::Way,
    },
    emit::Emit,
    paths::{NEW_SYN_RECV, NOT_FULL, TIME_WAIT},
};

/// Address families (include/linux/socket.h): macros, so not in BTF, but the same everywhere.
pub(super) const AF_INET: i32 = 2;
pub(super) const AF_INET6: i32 = 10;

/// The second word of an IPv4 address in IPv6's form, `::ffff:a.b.c.d`, without the address.
const MAPPED: i32 = 0xffff_0000_u32 as i32;

const IPPROTO_TCP: u64 = 6;

impl Emit<'_> {
    /// Finds the socket once, where there is more than one way to it.
    pub fn prepare_socket(&mut self) {
        let ways = self.ways();
        let Some(id) = self.hook.layout.socket.as_ref().map(|socket| socket.id) else { return };
        if self.socket.is_some() || ways.is_empty() {
            return;
        }
        if let [Way::Socket(_)] = ways {
            return;
        }
        let ways = ways.to_vec();
        let slot = self.room(8);
        let found = self.asm.label();
        self.no_pointer(slot, id);
        for way in ways {
            let next = self.asm.label();
            self.socket_by(way, next);
            // Of one kind, wherever it came from: the verifier wants each instruction to see one kind of pointer.
            self.keep_pointer(slot, id);
            self.asm.jump(found);
            self.asm.place(next);
        }
        self.asm.place(found);
        self.socket = Some(slot);
    }

    /// The ways to the socket that this kernel can go: without a cast, only the first.
    fn ways(&self) -> &[Way] {
        let ways = self.hook.sources.socket.as_slice();
        if self.hook.layout.cast.is_some() { ways } else { &ways[..ways.len().min(1)] }
    }

    fn socket_by(&mut self, way: Way, absent: Label) {
        match way {
            Way::PacketSocket(packet) => {
                let offset = self.hook.layout.packet.as_ref().map_or(0, |packet| packet.sk);
                self.argument(packet, absent);
                self.load(8, R1, offset);
                self.asm.jump_if(Jump::Eq, R1, 0, absent);
            }
            Way::Socket(index) | Way::Device(index) | Way::Net(index) | Way::Task(index) | Way::PacketDevice(index) => {
                self.argument(index, absent)
            }
        }
    }

    /// R1 = the socket.
    fn socket(&mut self, absent: Label) {
        match (self.socket, self.hook.sources.socket.first()) {
            (Some(slot), _) => {
                self.asm.load(8, R1, FP, slot);
                self.asm.jump_if(Jump::Eq, R1, 0, absent);
            }
            (None, Some(&way)) => self.socket_by(way, absent),
            (None, None) => self.asm.jump(absent),
        }
    }

    /// R1 = the socket, if it is one of IPv4 or IPv6; R2 = its family.
    pub fn internet_socket(&mut self, absent: Label) {
        let Some(family) = self.hook.layout.socket.as_ref().map(|socket| socket.family) else {
            return self.asm.jump(absent);
        };
        self.socket(absent);
        self.internet_family(family, absent);
    }

    /// R2 = the family of the socket in R1, if it is IPv4 or IPv6.
    pub fn internet_family(&mut self, offset: u32, absent: Label) {
        let good = self.asm.label();
        self.asm.load(2, R2, R1, offset as i32);
        self.asm.jump_if(Jump::Eq, R2, AF_INET, good);
        self.asm.jump_if(Jump::Ne, R2, AF_INET6, absent);
        self.asm.place(good);
    }

    /// Writes an address of the socket's to `base + at`.
    pub fn socket_address(&mut self, computed: Computed, base: Reg, at: i32, absent: Label) {
        let Some(socket) = self.hook.layout.socket.clone() else { return self.asm.jump(absent) };
        let (v4, v6) = match computed {
            Computed::Raddr => (socket.daddr, socket.v6_daddr),
            _ => (socket.rcv_saddr, socket.v6_rcv_saddr),
        };
        let (six, done) = (self.asm.label(), self.asm.label());
        self.internet_socket(absent);
        self.asm.jump_if(Jump::Ne, R2, AF_INET, six);
        self.asm.load(4, R2, R1, v4 as i32);
        self.mapped_address(base, at);
        self.asm.jump(done);
        self.asm.place(six);
        for part in [0, 8] {
            self.asm.load(8, R2, R1, v6 as i32 + part);
            self.asm.store(8, base, at + part, R2);
        }
        self.asm.place(done);
    }

    /// Writes the IPv4 address in R2, as it is in the packet, in IPv6's form.
    pub fn mapped_address(&mut self, base: Reg, at: i32) {
        self.asm.store_imm(8, base, at, 0);
        self.asm.store_imm(4, base, at + 8, MAPPED);
        self.asm.store(4, base, at + 12, R2);
    }

    /// R1 = a port of the socket's.
    pub fn socket_port(&mut self, computed: Computed, absent: Label) {
        let Some(socket) = self.hook.layout.socket.clone() else { return self.asm.jump(absent) };
        self.internet_socket(absent);
        if computed == Computed::Rport {
            self.asm.load(2, R1, R1, socket.dport as i32);
            return self.asm.big_endian_to_host(R1, 16);
        }
        let done = self.asm.label();
        self.asm.load(2, R2, R1, socket.num as i32);
        // A socket that was taken out of the tables has its port only in the larger struct, if it is a full one.
        if let (Some((inet_sock, sport)), Some(_)) = (socket.inet_sport, self.hook.layout.cast) {
            self.asm.jump_if(Jump::Ne, R2, 0, done);
            self.asm.load(1, R3, R1, socket.state as i32);
            for state in NOT_FULL {
                self.asm.jump_if(Jump::Eq, R3, state, done);
            }
            self.cast(inet_sock);
            self.asm.load(2, R2, R1, sport as i32);
            self.asm.big_endian_to_host(R2, 16);
        }
        self.asm.place(done);
        self.asm.mov(R1, R2);
    }

    /// R1 = the socket's protocol; sockets that are no full ones are TCP's.
    pub fn socket_protocol(&mut self, absent: Label) {
        let Some(socket) = self.hook.layout.socket.clone() else { return self.asm.jump(absent) };
        let (small, done) = (self.asm.label(), self.asm.label());
        self.internet_socket(absent);
        self.asm.load(1, R2, R1, socket.state as i32);
        for state in NOT_FULL {
            self.asm.jump_if(Jump::Eq, R2, state, small);
        }
        let (offset, size) = socket.protocol;
        self.asm.load(size, R1, R1, offset as i32);
        self.asm.jump(done);
        self.asm.place(small);
        self.asm.constant(R1, IPPROTO_TCP);
        self.asm.place(done);
    }

    /// R1 = the socket's family, whatever it is.
    pub fn socket_family(&mut self, absent: Label) {
        let Some(family) = self.hook.layout.socket.as_ref().map(|socket| socket.family) else {
            return self.asm.jump(absent);
        };
        self.socket(absent);
        self.asm.load(2, R1, R1, family as i32);
    }

    /// R1 = the number of the socket's cgroup.
    pub fn cgroup(&mut self, absent: Label) {
        let Some(socket) = self.hook.layout.socket.clone() else { return self.asm.jump(absent) };
        let Some(steps) = socket.cgroup else { return self.asm.jump(absent) };
        self.socket(absent);
        self.asm.load(1, R2, R1, socket.state as i32);
        for state in NOT_FULL {
            self.asm.jump_if(Jump::Eq, R2, state, absent);
        }
        self.number_of_cgroup(steps, absent);
    }

    /// R1 = the number of the cgroup that owns the socket: of a request, the listener's.
    pub fn owner_cgroup(&mut self, absent: Label) {
        let Some(socket) = self.hook.layout.socket.clone() else { return self.asm.jump(absent) };
        let Some(steps) = socket.cgroup else { return self.asm.jump(absent) };
        // What the verifier takes for a number, or for another pointer, must be cast.
        let (Some(listener), Some(_)) = (socket.listener, self.hook.layout.cast) else { return self.cgroup(absent) };
        let full = self.asm.label();
        self.socket(absent);
        self.asm.load(1, R2, R1, socket.state as i32);
        self.asm.jump_if(Jump::Eq, R2, TIME_WAIT, absent);
        self.asm.jump_if(Jump::Ne, R2, NEW_SYN_RECV, full);
        self.load(8, R1, listener);
        self.asm.jump_if(Jump::Eq, R1, 0, absent);
        self.asm.place(full);
        self.cast(socket.id);
        self.number_of_cgroup(steps, absent);
    }

    /// R1 = the number of the cgroup of the full socket in R1.
    fn number_of_cgroup(&mut self, [cgroup, node, id]: [u32; 3], absent: Label) {
        for offset in [cgroup, node] {
            self.load(8, R1, offset);
            self.asm.jump_if(Jump::Eq, R1, 0, absent);
        }
        self.load(8, R1, id);
    }

    /// Finds the namespace once: its cookie and its inode onto the stack, 0 where there is none.
    pub fn prepare_netns(&mut self) {
        if self.netns.is_none() {
            let ways = self.hook.sources.netns.clone();
            self.netns = Some(self.namespace(&ways));
        }
    }

    /// The same of the socket's own.
    pub fn prepare_owner(&mut self) {
        if self.owner.is_none() {
            let ways = self.hook.sources.socket.clone();
            self.owner = Some(self.namespace(&ways));
        }
    }

    fn namespace(&mut self, ways: &[Way]) -> i32 {
        let slot = self.room(16);
        self.asm.store_imm(8, FP, slot, 0);
        self.asm.store_imm(8, FP, slot + 8, 0);
        let layout = self.hook.layout.clone();
        let Some(net) = &layout.net else { return slot };
        let done = self.asm.label();
        for &way in ways {
            let next = self.asm.label();
            // What this kernel's types do not tell cannot be gone through.
            let (socket, packet) = (layout.socket.as_ref(), layout.packet.as_ref());
            let offset = match (way, socket, packet, layout.device_net) {
                (Way::Socket(_), Some(socket), ..) | (Way::PacketSocket(_), Some(socket), Some(_), _) => {
                    self.socket_by(way, next);
                    Some(socket.net)
                }
                (Way::PacketDevice(index), _, Some(packet), Some(net)) => {
                    self.argument(index, next);
                    self.load(8, R1, packet.dev);
                    self.asm.jump_if(Jump::Eq, R1, 0, next);
                    Some(net)
                }
                (Way::Device(index), _, _, Some(net)) => {
                    self.argument(index, next);
                    Some(net)
                }
                (Way::Net(index), ..) => {
                    self.argument(index, next);
                    None
                }
                (Way::Task(index), ..) => match &layout.task {
                    Some(task) => {
                        self.argument(index, next);
                        self.load(8, R1, task.nsproxy);
                        self.asm.jump_if(Jump::Eq, R1, 0, next);
                        Some(task.net_ns)
                    }
                    None => continue,
                },
                _ => continue,
            };
            if let Some(offset) = offset {
                self.load(8, R1, offset);
                self.asm.jump_if(Jump::Eq, R1, 0, next);
            }
            // The inode first: `load` may move R1 for an offset that is far away.
            self.asm.load(4, R2, R1, net.inum as i32);
            self.asm.load(8, R3, R1, net.cookie as i32);
            self.asm.jump_if(Jump::Eq, R3, 0, next);
            self.asm.store(8, FP, slot, R3);
            self.asm.store(8, FP, slot + 8, R2);
            self.asm.jump(done);
            self.asm.place(next);
        }
        self.asm.place(done);
        slot
    }
}
