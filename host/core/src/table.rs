//! What can be asked: tables and their columns, as far as this node has them.

use crate::{
    batch::ColumnBuilder,
    bpf::{
        access::Access,
        btf::Btf,
        enums::EnumNames,
        hook::{Hook, HookError},
        layout::Layout,
        pass,
    },
};
use std::sync::Arc;

/// What a value means. The name goes to probes as the column's `logical` type, and to people in `netsonde tables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logical {
    /// A handle of who: host, namespace, pod.
    Scope,
    Count,
    Bytes,
    /// A text of the kernel's: a device, a key.
    Name,
    Bool,
    /// By CLOCK_MONOTONIC, or a duration.
    Nanoseconds,
    Address,
    Port,
    /// An address of the kernel: it never leaves the host.
    Pointer,
    /// Bytes as they are: a hardware address, a cookie.
    Octets,
}

impl Logical {
    pub fn as_str(self) -> &'static str {
        match self {
            Logical::Scope => "scope",
            Logical::Count => "count",
            Logical::Bytes => "bytes",
            Logical::Name => "name",
            Logical::Bool => "bool",
            Logical::Nanoseconds => "nanoseconds",
            Logical::Address => "address",
            Logical::Port => "port",
            Logical::Pointer => "pointer",
            Logical::Octets => "octets",
        }
    }
}

/// The form of a column's values, as SQL sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    U64,
    S64,
    Text,
    Scope,
    Bool,
    /// 16 bytes; IPv4 as `::ffff:a.b.c.d`.
    Address,
    Octets,
    Pointer,
}

impl Type {
    /// An empty column of the form that this type's values have.
    pub fn builder(self) -> ColumnBuilder {
        match self {
            Type::U64 | Type::Pointer => ColumnBuilder::u64(),
            Type::S64 => ColumnBuilder::s64(),
            Type::Text => ColumnBuilder::text(),
            Type::Scope | Type::Bool => ColumnBuilder::u32(),
            Type::Address => ColumnBuilder::address(),
            Type::Octets => ColumnBuilder::blob(),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Type::U64 => "u64",
            Type::S64 => "s64",
            Type::Text => "text",
            Type::Scope => "scope",
            Type::Bool => "bool",
            Type::Address => "address",
            Type::Octets => "octets",
            Type::Pointer => "pointer",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// The kernel's own spelling: `TCP.inuse`, `Tcp.CurrEstab`, `rx_bytes`.
    pub name: String,
    pub ty: Type,
    pub logical: Logical,
    pub nullable: bool,
    /// One line for people; empty where the name says it all.
    pub help: String,
    /// What `name(x)` gives of it.
    pub names: Option<Names>,
    /// Of a tracepoint: how it is had in the kernel.
    pub access: Option<Arc<Access>>,
}

/// Where the names of a column's values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    Enum(Arc<EnumNames>),
    /// The symbol that an address of code lies in.
    Symbol,
}

impl TableColumn {
    /// A column that is never NULL, with nothing more to say of it.
    pub fn new(name: impl Into<String>, ty: Type, logical: Logical) -> Self {
        Self { name: name.into(), ty, logical, nullable: false, help: String::new(), names: None, access: None }
    }

    pub fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: help.into(), ..self }
    }
}

/// How often a table is read in one collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Once for each network namespace; every row has a `netns`.
    Namespace,
    /// Once.
    Node,
    /// Never: a row comes with each event.
    Event,
    /// Once, by a program in the kernel that sees each of its objects: the rows are of all namespaces.
    Pass,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// With its schema: `proc.net.sockstat`.
    pub name: String,
    pub help: String,
    /// Where the rows come from, for people: `/proc/PID/net/sockstat`.
    pub source: String,
    pub per: Per,
    pub columns: Vec<TableColumn>,
    /// Columns with these beginnings resolve on every kernel, as nullable counts: the kernel prints them only once they are not zero.
    pub open_prefixes: Vec<&'static str>,
    /// Names that people look for here, and the better answer: (`TCP.orphan`, "is of the whole node: ask proc.sockstat").
    pub elsewhere: Vec<(String, String)>,
}

impl Table {
    /// The column called `name`, also one that only `open_prefixes` knows.
    pub fn column(&self, name: &str) -> Option<TableColumn> {
        if let Some(column) = self.columns.iter().find(|column| column.name == name) {
            return Some(column.clone());
        }
        self.open_prefixes
            .iter()
            .any(|prefix| name.starts_with(prefix) && name.len() > prefix.len())
            .then(|| TableColumn::new(name, Type::U64, Logical::Count).nullable())
    }
}

/// A table that this node cannot give, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    pub name: String,
    pub why: String,
}

/// Every table of this node, in the order in which people see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    pub tables: Vec<Table>,
    pub absent: Vec<Absent>,
    pub hooks: Hooks,
}

/// What programs in this node's kernel can be asked: its tracepoints, each a table `hook.<tracepoint>`, and its own objects, each kind a
/// table `iter.<kind>`.
#[derive(Clone, Debug)]
pub enum Hooks {
    Known {
        btf: Arc<Btf>,
        layout: Arc<Layout>,
        /// Why passes over the kernel's objects would not see all of the node.
        blind: Option<String>,
    },
    /// None, and why.
    Absent(String),
}

impl Default for Hooks {
    fn default() -> Self {
        Hooks::Absent("nobody has looked for them".into())
    }
}

/// A kernel's types do not change while it runs: the same bytes, or none.
impl PartialEq for Hooks {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Hooks::Known { btf: a, blind: x, .. }, Hooks::Known { btf: b, blind: y, .. }) => {
                Arc::ptr_eq(a, b) && x == y
            }
            (Hooks::Absent(a), Hooks::Absent(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Hooks {}

impl Hooks {
    pub fn known(btf: Arc<Btf>) -> Self {
        let layout = Arc::new(Layout::of(&btf));
        Hooks::Known { btf, layout, blind: None }
    }

    /// Takes the tables of the kernel's objects away, and says why.
    pub fn without_passes(self, why: String) -> Self {
        match self {
            Hooks::Known { btf, layout, .. } => Hooks::Known { btf, layout, blind: Some(why) },
            absent => absent,
        }
    }

    /// The names of all tracepoints, without `hook.`, by alphabet.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Hooks::Known { btf, .. } => Hook::names(btf),
            Hooks::Absent(_) => Vec::new(),
        }
    }

    /// A tracepoint by its name without `hook.`.
    ///
    /// # Errors
    /// If this kernel has none of that name, with near ones, or none at all.
    pub fn find(&self, name: &str) -> Result<(Hook, &Btf), HookError> {
        match self {
            Hooks::Known { btf, layout, .. } => Ok((Hook::find(btf, layout, name)?, btf)),
            Hooks::Absent(why) => Err(HookError::absent(format!("this node cannot give {HOOK}{name}: {why}"))),
        }
    }

    /// A kind of the kernel's objects by its name without `iter.`.
    ///
    /// # Errors
    /// If there is none of that name, or this kernel or this agent cannot look at them.
    pub fn find_pass(&self, name: &str) -> Result<(Hook, &Btf), HookError> {
        let absent = |why: &str| HookError::absent(format!("this node cannot give {ITER}{name}: {why}"));
        match self {
            Hooks::Known { btf, layout, blind } => {
                let found = pass::find(btf, layout, name)?;
                blind.as_deref().map_or(Ok((found, btf)), |why| Err(absent(why)))
            }
            Hooks::Absent(why) => Err(absent(why)),
        }
    }

    /// A table of either kind, by its whole name; None: it is of neither.
    pub fn find_table(&self, name: &str) -> Option<Result<(Hook, &Btf), HookError>> {
        let hook = name.strip_prefix(HOOK).map(|name| self.find(name));
        hook.or_else(|| name.strip_prefix(ITER).map(|name| self.find_pass(name)))
    }
}

/// The name of the schema of tracepoints, with its dot, and of that of the kernel's objects.
pub const HOOK: &str = "hook.";
pub const ITER: &str = "iter.";

impl Catalogue {
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}
