//! A tracepoint, or a kind of the kernel's objects, as a table: its arguments, what can be reached from them, and what the host computes from a socket or a packet.

use super::{
    access::{Access, Computed},
    btf::{Btf, Kind, TypeId},
    computed,
    enums::EnumNames,
    layout::Layout,
    pass::{self, Pass},
    path::{self, Step},
    walk,
};
use crate::{
    nearest::did_you_mean,
    table::{HOOK, ITER, Logical, Names, Per, Table, TableColumn, Type},
};
use std::sync::Arc;

/// Why a tracepoint has no such column, or a kernel no such tracepoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HookError {
    pub message: String,
    /// Another kernel may have it. Otherwise it makes no sense on any.
    pub absent: bool,
}

impl HookError {
    pub fn absent(message: impl Into<String>) -> Self {
        Self { message: message.into(), absent: true }
    }

    pub fn wrong(message: impl Into<String>) -> Self {
        Self { message: message.into(), absent: false }
    }
}

/// A place of the running kernel where a program can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Without `hook.` or `iter.`.
    pub name: String,
    pub point: Point,
    /// BTF id of `typedef btf_trace_<name>`, or of the iterator's function.
    pub attach_btf_id: TypeId,
    pub arguments: Vec<Argument>,
    pub sources: Sources,
    pub layout: Arc<Layout>,
}

/// When a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// Whenever the kernel passes a tracepoint.
    Tracepoint,
    /// When somebody asks, once for each object.
    Pass(Arc<Pass>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub ty: TypeId,
    /// Its type as C spells it.
    pub text: String,
    pub slot: Slot,
}

/// Where an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A word of the context.
    Context(u32),
    /// The program has found it first.
    Found,
}

/// From which arguments the computed columns come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The sockets, best first.
    pub socket: Vec<Way>,
    pub packet: Option<u32>,
    /// The namespaces, best first (rule 27).
    pub netns: Vec<Way>,
}

/// From an argument, by its index, to a socket or to a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A `struct sock *`.
    Socket(u32),
    /// The socket of a `struct sk_buff *`.
    PacketSocket(u32),
    /// The device of a `struct sk_buff *`.
    PacketDevice(u32),
    /// A `struct net_device *`.
    Device(u32),
    /// A `struct net *`.
    Net(u32),
    /// A `struct task_struct *`.
    Task(u32),
}

/// Tracepoints at which the packet is freed, or somebody else's, by the time they fire: it must not be looked into (rule 27).
const FREED_PACKET: &[&str] = &["net_dev_xmit", "netif_rx_exit", "netif_receive_skb_exit", "napi_gro_receive_exit"];

/// Tracepoints that the agent itself sets off whenever it reads what they gave: a stream of them would never end.
const FED_BY_READER: &[&str] = &["sys_enter", "sys_exit"];

/// Begin of the typedef that every tracepoint has.
const TYPEDEF: &str = "btf_trace_";

/// What the kernel appends to the name of an argument that may be NULL.
const NULLABLE: &str = "__nullable";

impl Hook {
    /// The names of all tracepoints of a kernel, by alphabet.
    pub fn names(btf: &Btf) -> Vec<&str> {
        let mut names: Vec<&str> = btf.names_after(Kind::Typedef, TYPEDEF).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The tracepoint of this name.
    ///
    /// # Errors
    /// If there is none, with near names, or its arguments have no names.
    pub fn find(btf: &Btf, layout: &Arc<Layout>, name: &str) -> Result<Self, HookError> {
        let attach_btf_id = btf.find(Kind::Typedef, &format!("{TYPEDEF}{name}")).ok_or_else(|| {
            let near = did_you_mean(name, btf.names_after(Kind::Typedef, TYPEDEF));
            HookError::absent(format!("this kernel has no tracepoint `{name}`{near}"))
        })?;
        // The first exists once a tracepoint, the second once a class of them.
        let function = btf
            .find(Kind::Func, &format!("__traceiter_{name}"))
            .or_else(|| btf.find(Kind::Func, &format!("__bpf_trace_{name}")))
            .ok_or_else(|| HookError::absent(format!("the arguments of tracepoint `{name}` have no names in BTF")))?;
        // The first parameter is the tracepoint's own data.
        let arguments: Vec<Argument> = btf
            .params(function)
            .into_iter()
            .skip(1)
            .zip(0..)
            .map(|((name, ty), slot)| Argument {
                name: name.strip_suffix(NULLABLE).unwrap_or(name).to_owned(),
                ty,
                text: btf.describe(ty),
                slot: Slot::Context(slot),
            })
            .collect();
        let sources = sources(btf, name, &arguments);
        Ok(Self {
            name: name.to_owned(),
            point: Point::Tracepoint,
            attach_btf_id,
            arguments,
            sources,
            layout: layout.clone(),
        })
    }

    /// Whether the agent itself sets it off by reading.
    pub fn is_fed_by_reader(&self) -> bool {
        self.point == Point::Tracepoint && FED_BY_READER.contains(&self.name.as_str())
    }

    pub fn pass(&self) -> Option<&Pass> {
        match &self.point {
            Point::Tracepoint => None,
            Point::Pass(pass) => Some(pass),
        }
    }

    /// With its schema: `hook.kfree_skb`.
    pub fn table_name(&self) -> String {
        let schema = if self.pass().is_some() { ITER } else { HOOK };
        format!("{schema}{}", self.name)
    }

    /// It as a table: its arguments and the computed columns.
    pub fn table(&self, btf: &Btf) -> Table {
        let arguments = (0..self.arguments.len()).map(|index| self.argument(btf, index));
        // Rule 22: behind an argument of its name it is not to be seen.
        let computed = computed::ALL.iter().filter(|(name, _)| self.index(name).is_none());
        let computed = computed.filter_map(|&(name, _)| self.computed(btf, name).ok());
        let (help, source, per) = match self.pass() {
            None => {
                let (help, source) = ("Each passing of the kernel's tracepoint", "the tracepoint");
                (format!("{help} {}", self.name), format!("{source} {}, by BPF", self.name), Per::Event)
            }
            Some(Pass { target, .. }) => {
                let help = pass::NAMES.iter().find(|(name, _)| *name == self.name).map_or("", |(_, help)| help);
                (help.to_owned(), format!("the BPF iterator {target}"), Per::Pass)
            }
        };
        Table {
            name: self.table_name(),
            help,
            source,
            per,
            columns: arguments.chain(computed).collect(),
            open_prefixes: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    /// The column at the end of a path; its name is `text`. Rule 22: an argument goes before a computed column of its name, and `arg.x` is
    /// always the argument.
    ///
    /// # Errors
    /// If the kernel's types have no such path, with near names; or if what lies there is no value.
    pub fn column(&self, btf: &Btf, steps: &[Step], text: &str) -> Result<TableColumn, HookError> {
        let steps = match steps {
            [Step::Field(arg), rest @ ..] if arg == "arg" && !rest.is_empty() && self.index("arg").is_none() => rest,
            [Step::Field(name)] if self.index(name).is_none() => {
                return self.computed(btf, name).map(|column| TableColumn { name: text.to_owned(), ..column });
            }
            steps => steps,
        };
        let (Some(Step::Field(root)), rest) = (steps.first(), steps.get(1..).unwrap_or_default()) else {
            return Err(HookError::wrong("a path begins with the name of an argument"));
        };
        let index = self.index(root).ok_or_else(|| self.no_argument(root))?;
        if rest.is_empty() {
            return Ok(TableColumn { name: text.to_owned(), ..self.argument(btf, index) });
        }
        path::column(btf, &self.layout, &self.arguments[index], index as u32, rest, text)
    }

    /// The fields at the end of a path that begins with an argument, each with its type as C spells it.
    ///
    /// # Errors
    /// As [`column`](Self::column), or if there are none.
    pub fn fields(&self, btf: &Btf, steps: &[Step]) -> Result<Vec<(String, String)>, HookError> {
        let (Some(Step::Field(root)), rest) = (steps.first(), steps.get(1..).unwrap_or_default()) else {
            return Err(HookError::wrong("a path begins with the name of an argument"));
        };
        let index = self.index(root).ok_or_else(|| self.no_argument(root))?;
        path::members(btf, &self.layout, &self.arguments[index], rest)
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.arguments.iter().position(|argument| argument.name == name)
    }

    fn argument(&self, btf: &Btf, index: usize) -> TableColumn {
        let argument = &self.arguments[index];
        let (ty, logical, names) = value_type(btf, argument.ty);
        let pointer = ty == Type::Pointer;
        let access = Access::Argument {
            index: index as u32,
            size: btf.size(argument.ty).clamp(1, 8),
            signed: btf.is_signed(argument.ty),
            pointer,
            hidden: !walk::argument_is_seen(btf, argument.ty),
        };
        TableColumn {
            names,
            nullable: pointer,
            access: Some(Arc::new(access)),
            ..TableColumn::new(argument.name.clone(), ty, logical).help(argument.text.clone())
        }
    }

    fn computed(&self, btf: &Btf, name: &str) -> Result<TableColumn, HookError> {
        let Some(&(_, computed)) = computed::ALL.iter().find(|(other, _)| *other == name) else {
            if name == "stack" {
                return Err(HookError::absent(STACK));
            }
            return Err(self.no_argument(name));
        };
        self.available(computed)
            .map_err(|lack| HookError::absent(format!("`{name}` cannot be told at {}: {lack}", self.table_name())))?;
        if let Some(field) = self.of_task(computed) {
            let steps = ["task", field].map(|name| Step::Field(name.to_owned()));
            let column = computed::column(name, computed);
            let help = format!("{} of the task", if field == "tgid" { "Process" } else { "Name" });
            return Ok(TableColumn {
                name: column.name,
                logical: column.logical,
                help,
                ..self.column(btf, &steps, name)?
            });
        }
        let names = (computed == Computed::Protocol)
            .then(|| btf.enum_with("IPPROTO_TCP"))
            .flatten()
            .map(|id| Names::Enum(Arc::new(EnumNames::of(btf, id).and(computed::IPV6_PROTOCOLS))));
        let access = Some(Arc::new(Access::Computed(computed)));
        Ok(TableColumn { names, access, ..computed::column(name, computed) })
    }

    /// In a pass the current task is the reader itself: what is meant is the task that the object is of.
    fn of_task(&self, computed: Computed) -> Option<&'static str> {
        self.pass()?;
        match computed {
            Computed::Pid => Some("tgid"),
            Computed::Comm => Some("comm"),
            _ => None,
        }
    }

    /// Whether this tracepoint has at hand what a computed column needs.
    fn available(&self, computed: Computed) -> Result<(), &'static str> {
        let Sources { socket, packet, netns } = &self.sources;
        let (has_socket, has_packet) = (!socket.is_empty(), packet.is_some());
        let (socket, packet) = (has_socket && self.layout.socket.is_some(), has_packet && self.layout.packet.is_some());
        match computed {
            Computed::Time | Computed::Cpu if self.pass().is_some() => Err("a pass has no time and no CPU of its own"),
            Computed::Time | Computed::Cpu | Computed::Pid | Computed::Comm => Ok(()),
            Computed::Netns if netns.is_empty() => Err("no argument is a socket, a packet, a device or a namespace"),
            Computed::Netns | Computed::Owner if self.layout.net.is_none() => {
                Err("this kernel's namespaces have no cookie (that came with Linux 5.12)")
            }
            Computed::Netns => Ok(()),
            Computed::Protocol | Computed::Family if socket || packet => Ok(()),
            Computed::Protocol | Computed::Family => Err("no argument is a socket or a packet"),
            Computed::Cgroup if socket && self.layout.socket.as_ref().is_some_and(|sock| sock.cgroup.is_none()) => {
                Err("this kernel's sockets have no cgroup")
            }
            _ if computed.is_of_packet() && packet || computed.is_of_socket() && socket => Ok(()),
            _ if computed.is_of_packet() => Err("no argument is a packet"),
            _ => Err("no argument is a socket, or leads to one"),
        }
    }

    fn no_argument(&self, name: &str) -> HookError {
        let have: Vec<String> =
            self.arguments.iter().map(|argument| format!("{}: {}", argument.name, argument.text)).collect();
        let known = self.arguments.iter().map(|argument| argument.name.as_str());
        let near = did_you_mean(name, known.chain(computed::ALL.iter().map(|(name, _)| *name)));
        let have = if have.is_empty() { "nothing".to_owned() } else { have.join(", ") };
        HookError::absent(format!("{} has no argument `{name}`{near}; it has {have}", self.table_name()))
    }
}

/// Why there is no column `stack`.
const STACK: &str = "stacks are no column: events of a probe have them if the configuration says `stack: true` of it";

fn sources(btf: &Btf, hook: &str, arguments: &[Argument]) -> Sources {
    let of = |structure: &str| -> Vec<u32> {
        let is = |argument: &Argument| {
            btf.pointee(argument.ty).is_some_and(|ty| ty.kind == Kind::Struct && btf.name(ty.id) == structure)
        };
        (0..).zip(arguments).filter(|(_, argument)| is(argument)).map(|(index, _)| index).collect()
    };
    // A socket that only says for whom the packet was: the packet's own goes first.
    let receiver = |index: &u32| arguments[*index as usize].name == "rx_sk";
    let packets = if FREED_PACKET.contains(&hook) { Vec::new() } else { of("sk_buff") };
    let (receivers, sockets): (Vec<u32>, Vec<u32>) = of("sock").into_iter().partition(receiver);

    let packet_sockets = || packets.iter().copied().map(Way::PacketSocket);
    let receivers = || receivers.iter().copied().map(Way::Socket);
    let own: Vec<Way> = sockets.into_iter().map(Way::Socket).collect();
    // A tracepoint with a socket of its own: that one, also where it is NULL.
    let socket = if own.is_empty() { packet_sockets().chain(receivers()).collect() } else { own.clone() };
    let netns = own.into_iter().chain(packet_sockets()).chain(receivers());
    let devices = packets.iter().copied().map(Way::PacketDevice).chain(of("net_device").into_iter().map(Way::Device));
    Sources {
        socket,
        packet: packets.first().copied(),
        netns: netns.chain(devices).chain(of("net").into_iter().map(Way::Net)).collect(),
    }
}

/// What a value of a kernel's type is as a column; `Pointer` for what is none of its own.
pub(super) fn value_type(btf: &Btf, id: TypeId) -> (Type, Logical, Option<Names>) {
    let ty = btf.strip(id);
    match ty.kind {
        Kind::Ptr => {
            // What is behind `void *` may be code: a caller, a function.
            let symbol = matches!(btf.pointee(id).map(|ty| ty.kind), Some(Kind::Void | Kind::FuncProto));
            (Type::Pointer, Logical::Pointer, symbol.then_some(Names::Symbol))
        }
        Kind::Enum | Kind::Enum64 => {
            let names = Names::Enum(Arc::new(EnumNames::of(btf, ty.id)));
            (if btf.is_signed(id) { Type::S64 } else { Type::U64 }, Logical::Count, Some(names))
        }
        _ if btf.is_bool(id) => (Type::Bool, Logical::Bool, None),
        _ if btf.is_signed(id) => (Type::S64, Logical::Count, None),
        _ => (Type::U64, Logical::Count, None),
    }
}
