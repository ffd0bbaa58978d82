//! A query of a test, its program in a machine, and the sockets and packets that it is run on.

use super::{
    kernel::{self, Options},
    run::Machine,
};
use crate::{
    batch::{Batch, Column, Values},
    bpf::{
        btf::{Btf, Kind, Member},
        compile::{Budget, CompileError, Compiled, compile},
        record::{Decoder, NetnsKey, OwnerKey, Scoping, head},
        totals::Totals,
    },
    query::{Asker, Naming, Query, plan},
    scope::ScopeId,
    table::{Catalogue, Hooks},
};
use std::{net::IpAddr, sync::Arc};

/// No row of a test is kept back.
pub const BOUNDLESS: Budget = Budget { rate: 1_000_000_000, burst: u32::MAX, stacks: 0 };

pub fn planned(sql: &str, catalogue: &Catalogue) -> Query {
    plan(sql, catalogue, Asker::Person).unwrap_or_else(|error| panic!("{}", error.render(sql)))
}

/// What the compiler says of a query that the planner takes.
pub fn refused(sql: &str) -> CompileError {
    compile(&planned(sql, &kernel::catalogue(kernel::NEW)), BOUNDLESS).expect_err("it cannot be compiled")
}

/// Names of namespaces by cookie, and of one place in the kernel's code.
pub struct Names;

impl Naming for Names {
    fn scope(&self, scope: ScopeId) -> Option<String> {
        (scope != 99).then(|| format!("ns{scope}"))
    }

    fn symbol(&self, address: u64) -> Option<String> {
        (address == 0xffff_ffff_8000_1234).then(|| "tcp_v4_rcv".into())
    }
}

/// A namespace's scope is its cookie, an owner's has its cgroup before that.
pub struct Whose;

impl Scoping for Whose {
    fn netns(&mut self, netns: NetnsKey) -> ScopeId {
        netns.cookie as ScopeId
    }

    fn owner(&mut self, owner: OwnerKey) -> ScopeId {
        1000 * owner.cgroup as ScopeId + self.netns(owner.netns)
    }
}

pub struct World {
    pub query: Query,
    pub compiled: Compiled,
    pub machine: Machine,
    pub totals: Totals,
    btf: Arc<Btf>,
}

impl World {
    pub fn new(sql: &str) -> Self {
        Self::on(kernel::NEW, sql, BOUNDLESS)
    }

    pub fn on(options: Options, sql: &str, budget: Budget) -> Self {
        Self::of(&kernel::catalogue(options), sql, budget)
    }

    pub fn of(catalogue: &Catalogue, sql: &str, budget: Budget) -> Self {
        let query = planned(sql, catalogue);
        let compiled = compile(&query, budget).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let Hooks::Known { btf, .. } = &catalogue.hooks else { panic!("no kernel") };
        let machine = Machine::new(&compiled.program);
        Self { query, compiled, machine, totals: Totals::default(), btf: btf.clone() }
    }

    fn structure(&self, name: &str) -> u32 {
        self.btf.find(Kind::Struct, name).unwrap_or_else(|| panic!("no struct {name}"))
    }

    fn member(&self, structure: &str, path: &str) -> Member {
        let mut at = Member { ty: self.structure(structure), offset: 0, bits: None };
        for name in path.split('.') {
            let member = self.btf.member(at.ty, name).unwrap_or_else(|| panic!("no {structure}.{path}"));
            at = Member { offset: at.offset + member.offset, ..member };
        }
        at
    }

    /// Whether the kernel's struct has this member.
    pub fn has(&self, structure: &str, name: &str) -> bool {
        self.btf.member(self.structure(structure), name).is_some()
    }

    /// Where a member of an object is.
    pub fn place(&self, object: u64, structure: &str, path: &str) -> u64 {
        object + u64::from(self.member(structure, path).offset)
    }

    /// An object of this struct, all zeros.
    pub fn object(&mut self, structure: &str) -> u64 {
        let bytes = self.btf.size(self.structure(structure));
        self.machine.object(bytes as usize)
    }

    /// Sets a number, of as many bytes as the kernel says.
    pub fn set(&mut self, object: u64, structure: &str, path: &str, value: u64) {
        let member = self.member(structure, path);
        let bytes = self.btf.size(member.ty) as usize;
        self.machine.poke(object + u64::from(member.offset), &value.to_le_bytes()[..bytes]);
    }

    pub fn set_bytes(&mut self, object: u64, structure: &str, path: &str, bytes: &[u8]) {
        self.machine.poke(self.place(object, structure, path), bytes);
    }

    pub fn net(&mut self, cookie: u64, inode: u64) -> u64 {
        let net = self.object("net");
        self.set(net, "net", "net_cookie", cookie);
        self.set(net, "net", "ns.inum", inode);
        net
    }

    pub fn device(&mut self, name: &str, net: u64) -> u64 {
        let device = self.object("net_device");
        self.set_bytes(device, "net_device", "name", name.as_bytes());
        self.set(device, "net_device", "nd_net.net", net);
        device
    }

    /// A socket in the state TCP_ESTABLISHED, with room for a `struct tcp_sock`.
    pub fn socket(&mut self, protocol: u64, local: (&str, u16), remote: (&str, u16), net: u64) -> u64 {
        let sock = self.object("tcp_sock");
        let addresses = (parse(local.0), parse(remote.0));
        let family = match addresses {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                self.set_bytes(sock, "sock_common", "skc_rcv_saddr", &local.octets());
                self.set_bytes(sock, "sock_common", "skc_daddr", &remote.octets());
                2
            }
            (local, remote) => {
                self.set_bytes(sock, "sock_common", "skc_v6_rcv_saddr", &six(local));
                self.set_bytes(sock, "sock_common", "skc_v6_daddr", &six(remote));
                10
            }
        };
        self.set(sock, "sock_common", "skc_family", family);
        self.set(sock, "sock_common", "skc_state", 1);
        self.set(sock, "sock_common", "skc_num", local.1.into());
        self.set_bytes(sock, "sock_common", "skc_dport", &remote.1.to_be_bytes());
        self.set(sock, "sock_common", "skc_net.net", net);
        self.set(sock, "sock", "sk_protocol", protocol);
        self.set(sock, "sock", "sk_type", if protocol == 17 { 2 } else { 1 });
        sock
    }

    /// A packet of this Ethernet protocol whose network header begins so.
    pub fn packet(&mut self, protocol: u16, header: &[u8]) -> u64 {
        const HEADER: u64 = 64;
        let (packet, head) = (self.object("sk_buff"), self.machine.object(256));
        self.machine.poke(head + HEADER, header);
        self.set(packet, "sk_buff", "head", head);
        self.set(packet, "sk_buff", "network_header", HEADER);
        self.set_bytes(packet, "sk_buff", "protocol", &protocol.to_be_bytes());
        packet
    }

    pub fn run(&mut self, arguments: &[u64]) {
        self.machine.run(arguments);
    }

    /// What the records in the ring say, by the query's table.
    pub fn decoded(&self) -> Batch {
        let mut decoder = Decoder::new(&self.compiled.cells, &self.query.columns, head::PRESENT as usize);
        self.machine.ring.iter().for_each(|record| decoder.push(record, &mut Whose));
        decoder.finish()
    }

    /// The rows that a probe gets of a stream, as text.
    pub fn rows(&self) -> Vec<String> {
        let batch = self.decoded();
        let columns: Vec<&Column> = batch.columns.iter().collect();
        show(&self.query.run_stream(batch.rows, &columns, &Names).0)
    }

    /// What one event gives.
    pub fn row(&mut self, arguments: &[u64]) -> String {
        self.machine.ring.clear();
        self.run(arguments);
        self.rows().join("; ")
    }

    /// What a pass has handed to its reader, as text.
    pub fn handed_out(&self) -> Vec<String> {
        let mut decoder = Decoder::new(&self.compiled.cells, &self.query.columns, 0);
        self.machine.seq.iter().for_each(|row| decoder.push(row, &mut Whose));
        let batch = decoder.finish();
        let columns: Vec<&Column> = batch.columns.iter().collect();
        show(&self.query.run_pass(batch.rows, &columns, &Names).batch)
    }

    /// Takes the groups of one map out, as a collection does.
    pub fn collect(&mut self, map: usize) {
        for (key, values) in self.machine.groups(map) {
            self.totals.add(&self.compiled, &key, &values);
        }
        self.machine.clear_groups(map);
    }

    /// The rows that a probe gets of what was collected, sorted.
    pub fn grouped(&self) -> Vec<String> {
        let (batch, partial) = self.totals.rows(&self.query, &self.compiled, &mut Whose);
        let columns: Vec<&Column> = batch.columns.iter().collect();
        let answered = self.query.run_groups(batch.rows, &columns, &partial, &Names);
        let mut rows = show(&answered.batch);
        rows.sort_unstable();
        rows
    }
}

fn parse(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

/// As 16 bytes.
pub fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A line for each row, its values separated by a blank.
pub fn show(batch: &Batch) -> Vec<String> {
    let row = |row| batch.columns.iter().map(|column| value(column, row)).collect::<Vec<_>>().join(" ");
    (0..batch.rows).map(row).collect()
}

fn value(column: &Column, row: usize) -> String {
    if !column.has(row) {
        return "NULL".into();
    }
    match &column.values {
        Values::U32(values) => values[row].to_string(),
        Values::U64(values) => values[row].to_string(),
        Values::S64(values) => values[row].to_string(),
        Values::F64(values) => values[row].to_string(),
        Values::Code { codes, names } => names[codes[row] as usize].clone(),
        Values::Address(bytes) => {
            let bytes: [u8; 16] = bytes[16 * row..][..16].try_into().expect("16 bytes");
            IpAddr::from(bytes).to_canonical().to_string()
        }
        Values::Blob { ends, bytes } => {
            let from = if row == 0 { 0 } else { ends[row - 1] as usize };
            bytes[from..ends[row] as usize].iter().map(|byte| format!("{byte:02x}")).collect()
        }
    }
}
