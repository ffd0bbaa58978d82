//! The tables that this node has: what its files look like right now decides about the columns.

use super::{File, Shape, TABLES, dev, help, row, sockstat, softnet_stat};
use crate::table::{Absent, Catalogue, Logical, Per, Table, TableColumn, Type};

/// Each file as the host's namespace has it at start, or why it cannot be read.
#[derive(Clone, Debug)]
pub struct HostFiles([Result<Vec<u8>, String>; File::ALL.len()]);

impl HostFiles {
    pub fn new(read: impl FnMut(File) -> Result<Vec<u8>, String>) -> Self {
        Self(File::ALL.map(read))
    }

    pub fn get(&self, file: File) -> Result<&[u8], &str> {
        self.0[file as usize].as_deref().map_err(String::as_str)
    }
}

/// The tables of `files`. `page_size` (bytes) is only told to people.
pub fn catalogue(files: &HostFiles, page_size: u64) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for (name, file, per, shape) in TABLES {
        match columns(files, file, per, shape) {
            Ok(columns) => catalogue.tables.push(Table {
                name: name.to_owned(),
                help: help::table(name, page_size),
                source: match per {
                    Per::Namespace => format!("/proc/PID/net/{}", file.name()),
                    Per::Node | Per::Event | Per::Pass => format!("/proc/net/{}", file.name()),
                },
                per,
                columns,
                open_prefixes: if shape == Shape::Wide { open_prefixes(file) } else { Vec::new() },
                elsewhere: if name == "proc.net.sockstat" { elsewhere() } else { Vec::new() },
            }),
            Err(why) => catalogue.absent.push(Absent { name: name.to_owned(), why }),
        }
    }
    catalogue
}

fn columns(files: &HostFiles, file: File, per: Per, shape: Shape) -> Result<Vec<TableColumn>, String> {
    let hint = match file {
        File::Sockstat6 | File::Snmp6 => " (a kernel without IPv6 does not have it)",
        _ => "",
    };
    let text = files.get(file).map_err(|why| format!("{why}{hint}"))?;
    let mut columns = Vec::new();
    if per == Per::Namespace {
        columns.push(column("netns", Type::Scope, Logical::Scope, false, "the network namespace"));
    }
    match (file, shape) {
        (_, Shape::Long) => {
            columns.push(column(
                "key",
                Type::Text,
                Logical::Name,
                false,
                "the kernel's key, as the wide table's column",
            ));
            columns.push(column("value", Type::U64, Logical::Count, true, "NULL if it is below zero (Tcp.MaxConn)"));
        }
        (File::Dev, _) => columns.extend(dev_columns()),
        (File::SoftnetStat, _) => columns.extend(softnet_columns()),
        _ => {
            let keys = columns.len();
            key_columns(file, per, text, &mut columns)?;
            if columns.len() == keys {
                return Err(format!("/proc/net/{} has no keys", file.name()));
            }
        }
    }
    Ok(columns)
}

fn key_columns(file: File, per: Per, text: &[u8], columns: &mut Vec<TableColumn>) -> Result<(), String> {
    file.entries(text, &mut |entry| {
        let name = row::name(entry.group, entry.key);
        let of_node = file == File::Sockstat && sockstat::is_node(entry.group, entry.key);
        if of_node == (per == Per::Node) && !columns.iter().any(|column| column.name == name) {
            columns.push(key_column(&name));
        }
        Ok(true)
    })
    .map_err(|broken| format!("/proc/net/{}: line {}, {}: {}", file.name(), broken.line, broken.key, broken.fault))
}

fn key_column(name: &str) -> TableColumn {
    let bytes = name.ends_with("Octets") || name.ends_with(".memory") || name.ends_with(".mem");
    // RFC 2012: -1 where there is no limit. The only key that the kernel prints with a sign.
    let ty = if name == "Tcp.MaxConn" { Type::S64 } else { Type::U64 };
    column(name, ty, if bytes { Logical::Bytes } else { Logical::Count }, true, help::key(name))
}

fn dev_columns() -> impl Iterator<Item = TableColumn> {
    let kind = "veth, bridge, ... as rtnetlink says; NULL for lo, for hardware, or where it may not be asked";
    let peer = "where the other end of a veth is; NULL if that is not known for certain";
    let number = |name: &'static str| {
        let logical = if name.ends_with("_bytes") { Logical::Bytes } else { Logical::Count };
        column(name, Type::U64, logical, false, help::dev(name))
    };
    [
        column("name", Type::Text, Logical::Name, false, "the device"),
        column("kind", Type::Text, Logical::Name, true, kind),
        column("peer", Type::Scope, Logical::Scope, true, peer),
    ]
    .into_iter()
    .chain(dev::FIELDS.into_iter().map(number))
}

fn softnet_columns() -> impl Iterator<Item = TableColumn> {
    softnet_stat::COLUMNS
        .into_iter()
        .map(|(name, _, always)| column(name, Type::U64, Logical::Count, !always && name != "cpu", help::softnet(name)))
}

fn column(name: &str, ty: Type, logical: Logical, nullable: bool, help: &str) -> TableColumn {
    TableColumn { nullable, ..TableColumn::new(name, ty, logical).help(help) }
}

/// Keys that the kernel prints only once they are not zero.
fn open_prefixes(file: File) -> Vec<&'static str> {
    match file {
        File::Snmp => vec!["IcmpMsg."],
        File::Snmp6 => vec!["Icmp6InType", "Icmp6OutType"],
        _ => Vec::new(),
    }
}

fn elsewhere() -> Vec<(String, String)> {
    let advice = "is of the whole node, not of a namespace: ask proc.sockstat";
    sockstat::NODE.iter().map(|name| (name.to_string(), advice.to_owned())).collect()
}
