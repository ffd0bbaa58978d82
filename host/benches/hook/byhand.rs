//! Programs as somebody would write them who has no more to do than this one thing: no figures, no switch, no tokens.

use netsonde_core::bpf::{
    hook::Hook,
    layout::Layout,
    program::{Map, Patch, Program, Writes},
};

const FP: u8 = 10;

/// Instructions, with jumps to labels that come later.
#[derive(Default)]
struct Code {
    words: Vec<u64>,
    patches: Vec<(usize, Patch)>,
    jumps: Vec<(usize, &'static str)>,
}

impl Code {
    fn op(&mut self, code: u8, dst: u8, src: u8, offset: i32, imm: i32) {
        let low = u64::from(code) | u64::from(dst | src << 4) << 8 | u64::from(offset as u16) << 16;
        self.words.push(low | u64::from(imm as u32) << 32);
    }

    fn load(&mut self, size: u32, dst: u8, src: u8, offset: u32) {
        let code = [(1, 0x71), (2, 0x69), (4, 0x61), (8, 0x79)].iter().find(|(bytes, _)| *bytes == size).unwrap().1;
        self.op(code, dst, src, offset as i32, 0);
    }

    fn store(&mut self, dst: u8, offset: i32, src: u8) {
        self.op(0x7b, dst, src, offset, 0);
    }

    fn set(&mut self, dst: u8, value: i32) {
        self.op(0xb7, dst, 0, 0, value);
    }

    fn mov(&mut self, dst: u8, src: u8) {
        self.op(0xbf, dst, src, 0, 0);
    }

    fn add(&mut self, dst: u8, value: i32) {
        self.op(0x07, dst, 0, 0, value);
    }

    fn call(&mut self, helper: i32) {
        self.op(0x85, 0, 0, 0, helper);
    }

    fn map(&mut self, map: Map) {
        self.patches.push((self.words.len(), Patch::Map(map)));
        self.op(0x18, 1, 1, 0, 0);
        self.words.push(0);
    }

    /// `code`: 0x15 if equal, 0x55 if not, 0x05 always.
    fn jump(&mut self, code: u8, dst: u8, value: i32, to: &'static str) {
        self.jumps.push((self.words.len(), to));
        self.op(code, dst, 0, 0, value);
    }

    fn label(&mut self, label: &'static str) {
        for (at, _) in self.jumps.extract_if(.., |(_, to)| *to == label) {
            self.words[at] |= ((self.words.len() - at - 1) as u64 & 0xffff) << 16;
        }
    }

    fn cast(&mut self, layout: &Layout, id: u32) {
        self.set(2, id as i32);
        self.op(0x85, 0, 2, 0, layout.cast.unwrap() as i32);
    }

    /// r7 = the packet, r8 = its cookie, r9 = its inode.
    fn packet_and_netns(&mut self, layout: &Layout) {
        let (packet, net) = (layout.packet.as_ref().unwrap(), layout.net.as_ref().unwrap());
        self.load(8, 7, 1, 0);
        self.load(8, 1, 7, packet.sk);
        self.jump(0x15, 1, 0, "device");
        self.load(8, 1, 1, layout.socket.as_ref().unwrap().net);
        self.jump(0x05, 0, 0, "net");
        self.label("device");
        self.load(8, 1, 7, packet.dev);
        self.jump(0x15, 1, 0, "out");
        self.load(8, 1, 1, layout.device_net.unwrap());
        self.label("net");
        self.load(8, 8, 1, net.cookie);
        self.load(4, 9, 1, net.inum);
    }

    /// r0 = the IPv4 header, r7 = where it is; what is none goes out.
    fn header(&mut self, layout: &Layout) {
        let packet = layout.packet.as_ref().unwrap();
        self.load(2, 1, 7, packet.protocol);
        self.jump(0x55, 1, 8, "out");
        self.load(2, 2, 7, packet.network_header);
        self.load(8, 7, 7, packet.head);
        self.op(0x0f, 7, 2, 0, 0);
        self.mov(1, 7);
        self.cast(layout, packet.iphdr);
    }

    fn program(mut self, hook: &Hook, writes: Writes) -> Program {
        self.label("out");
        self.set(0, 0);
        self.op(0x95, 0, 0, 0, 0);
        let (table, attach_btf_id) = (hook.table_name(), hook.attach_btf_id);
        Program { table, attach_btf_id, code: self.words, patches: self.patches, writes }
    }
}

/// SELECT netns, protocol, reason, count(*) FROM hook.kfree_skb WHERE reason is a drop GROUP BY netns, protocol, reason
pub fn drops(hook: &Hook, layout: &Layout, no_drop: &[i32]) -> Program {
    let mut code = Code::default();
    code.load(8, 6, 1, 16);
    no_drop.iter().for_each(|&reason| code.jump(0x15, 6, reason, "out"));
    code.packet_and_netns(layout);
    code.header(layout);
    code.load(1, 1, 0, 9);
    for (offset, register) in [(-32, 8), (-24, 9), (-16, 1), (-8, 6)] {
        code.store(FP, offset, register);
    }
    code.map(Map::Groups(0));
    code.mov(2, FP);
    code.add(2, -32);
    code.call(1);
    code.jump(0x15, 0, 0, "new");
    code.load(8, 1, 0, 0);
    code.add(1, 1);
    code.store(0, 0, 1);
    code.jump(0x05, 0, 0, "out");
    code.label("new");
    code.set(1, 1);
    code.store(FP, -40, 1);
    code.map(Map::Groups(0));
    code.mov(2, FP);
    code.add(2, -32);
    code.mov(3, FP);
    code.add(3, -40);
    code.set(4, 1);
    code.call(2);
    code.program(hook, Writes::Groups { key_bytes: 32, value_bytes: 8 })
}

/// SELECT time, netns, protocol, saddr, sport, daddr, dport, reason, location FROM hook.kfree_skb WHERE reason is a drop
pub fn drop_rows(hook: &Hook, layout: &Layout, no_drop: &[i32]) -> Program {
    const BYTES: i32 = 96;
    let mut code = Code::default();
    code.load(8, 6, 1, 16);
    no_drop.iter().for_each(|&reason| code.jump(0x15, 6, reason, "out"));
    code.load(8, 2, 1, 8);
    code.store(FP, -8, 2);
    code.packet_and_netns(layout);
    code.header(layout);
    for (from, size, to) in [(12, 4, -16), (16, 4, -24), (9, 1, -32)] {
        code.load(size, 1, 0, from);
        code.store(FP, to, 1);
    }
    code.load(1, 1, 0, 0);
    code.op(0x57, 1, 0, 0, 15);
    code.op(0x67, 1, 0, 0, 2);
    code.op(0x0f, 1, 7, 0, 0);
    code.cast(layout, layout.packet.as_ref().unwrap().udphdr);
    code.load(2, 7, 0, 0);
    code.load(2, 1, 0, 2);
    code.store(FP, -40, 1);
    code.map(Map::Ring);
    code.set(2, BYTES);
    code.set(3, 0);
    code.call(131);
    code.jump(0x15, 0, 0, "out");
    for (offset, register) in [(0, 8), (8, 9), (16, 6), (24, 7)] {
        code.store(0, offset, register);
    }
    code.mov(6, 0);
    for (from, to) in [(-8, 32), (-16, 40), (-24, 48), (-32, 56), (-40, 72)] {
        code.op(0x79, 1, FP, from, 0);
        code.store(6, to, 1);
    }
    code.call(5);
    code.store(6, 64, 0);
    code.mov(1, 6);
    code.set(2, 0);
    code.call(132);
    code.program(hook, Writes::Records { bytes: BYTES as usize })
}
