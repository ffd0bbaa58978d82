//! What can be asked: tables and their columns, as far as this node has them.

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
}

impl Logical {
    pub fn as_str(self) -> &'static str {
        match self {
            Logical::Scope => "scope",
            Logical::Count => "count",
            Logical::Bytes => "bytes",
            Logical::Name => "name",
            Logical::Bool => "bool",
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
}

/// How often a table is read in one collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Once for each network namespace; every row has a `netns`.
    Namespace,
    /// Once.
    Node,
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
        self.open_prefixes.iter().any(|prefix| name.starts_with(prefix) && name.len() > prefix.len()).then(|| {
            TableColumn {
                name: name.to_owned(),
                ty: Type::U64,
                logical: Logical::Count,
                nullable: true,
                help: String::new(),
            }
        })
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
}

impl Catalogue {
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}
