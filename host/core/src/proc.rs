//! procfs: the text of a file in, rows out. One module a format; the formats are told where they are read.
//!
//! A [`Parser`] is made for the columns that somebody wants and then fed the same file of one namespace after the other. It takes
//! whatever keys a kernel has: unknown ones are passed over, missing ones are NULL, and only what is wanted is looked at as a number.

mod catalogue;
mod dev;
mod help;
pub mod link;
mod long;
mod peer;
mod row;
mod snmp;
mod snmp6;
mod sockstat;
mod softnet_stat;
mod text;

pub use catalogue::{HostFiles, catalogue};
pub use dev::{Links, fingerprint};
pub use peer::Peers;

use crate::{
    batch::ColumnBuilder,
    scope::ScopeId,
    table::{Per, TableColumn},
};

/// A file under `/proc/PID/net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    Sockstat,
    Sockstat6,
    Snmp,
    Snmp6,
    Netstat,
    Dev,
    SoftnetStat,
}

impl File {
    /// Every file, in the order of their numbers (`file as usize`).
    pub const ALL: [File; 7] =
        [File::Sockstat, File::Sockstat6, File::Snmp, File::Snmp6, File::Netstat, File::Dev, File::SoftnetStat];

    pub fn name(self) -> &'static str {
        match self {
            File::Sockstat => "sockstat",
            File::Sockstat6 => "sockstat6",
            File::Snmp => "snmp",
            File::Snmp6 => "snmp6",
            File::Netstat => "netstat",
            File::Dev => "dev",
            File::SoftnetStat => "softnet_stat",
        }
    }

    /// Calls `visit` with each key of a key-value file. `dev` and `softnet_stat` have none.
    fn entries<'a>(self, text: &'a [u8], visit: Visit<'a, '_>) -> Result<(), Broken> {
        match self {
            File::Sockstat | File::Sockstat6 => sockstat::entries(text, visit),
            File::Snmp | File::Netstat => snmp::entries(text, visit),
            File::Snmp6 => snmp6::entries(text, visit),
            File::Dev | File::SoftnetStat => Ok(()),
        }
    }
}

/// One key of a key-value file; its column is called `group.key`, or `key` where the format has no groups.
struct Entry<'a> {
    line: usize,
    group: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
}

/// What is done with each entry. `Ok(false)` ends it: nothing more is wanted.
type Visit<'a, 'v> = &'v mut dyn FnMut(Entry<'a>) -> Result<bool, Broken>;

/// A file that is not as its format has been since long before this program. What was read of it is thrown away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "read {table}: line {}, {}: {}; the file is not in the format known here: report it with its text",
    broken.line, broken.key, broken.fault
)]
pub struct ParseError {
    pub table: String,
    pub broken: Broken,
}

/// Where a file is broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// From 1.
    pub line: usize,
    pub key: String,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("`{0}` is no number of 64 bits")]
    Number(String),
    #[error("there is no value")]
    NoValue,
    #[error("`{0}` is not how this line begins")]
    Format(String),
}

impl Broken {
    fn number(line: usize, key: String, text: &[u8]) -> Self {
        Self { line, key, fault: Fault::Number(text::excerpt(text)) }
    }

    fn no_value(line: usize, key: String) -> Self {
        Self { line, key, fault: Fault::NoValue }
    }

    fn format(line: usize, key: &str, text: &[u8]) -> Self {
        Self { line, key: key.to_owned(), fault: Fault::Format(text::excerpt(text)) }
    }
}

/// The tables of this module, and how each is read: (name, file, how often, shape).
const TABLES: [(&str, File, Per, Shape); 13] = [
    ("proc.net.sockstat", File::Sockstat, Per::Namespace, Shape::Wide),
    ("proc.net.sockstat.long", File::Sockstat, Per::Namespace, Shape::Long),
    ("proc.net.sockstat6", File::Sockstat6, Per::Namespace, Shape::Wide),
    ("proc.net.sockstat6.long", File::Sockstat6, Per::Namespace, Shape::Long),
    ("proc.net.snmp", File::Snmp, Per::Namespace, Shape::Wide),
    ("proc.net.snmp.long", File::Snmp, Per::Namespace, Shape::Long),
    ("proc.net.snmp6", File::Snmp6, Per::Namespace, Shape::Wide),
    ("proc.net.snmp6.long", File::Snmp6, Per::Namespace, Shape::Long),
    ("proc.net.netstat", File::Netstat, Per::Namespace, Shape::Wide),
    ("proc.net.netstat.long", File::Netstat, Per::Namespace, Shape::Long),
    ("proc.net.dev", File::Dev, Per::Namespace, Shape::Wide),
    ("proc.sockstat", File::Sockstat, Per::Node, Shape::Wide),
    ("proc.softnet_stat", File::SoftnetStat, Per::Node, Shape::Wide),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The file's keys are columns.
    Wide,
    /// The file's keys are rows.
    Long,
}

/// Turns one file's text into the wanted columns of one table.
#[derive(Debug)]
pub struct Parser {
    table: &'static str,
    file: File,
    per: Per,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Sockstat(sockstat::Parser),
    Snmp(snmp::Parser),
    Snmp6(snmp6::Parser),
    Dev(dev::Parser),
    SoftnetStat(softnet_stat::Parser),
    Long(long::Parser),
}

impl Parser {
    /// A parser for `columns` of `table`, as the [`catalogue`] has them; None if no table of this module has that name. A column that the
    /// file turns out not to have is NULL. `page_size` is in bytes.
    pub fn new(table: &str, columns: &[TableColumn], page_size: u64) -> Option<Self> {
        let &(table, file, per, shape) = TABLES.iter().find(|(name, ..)| *name == table)?;
        let format = match (file, shape) {
            (_, Shape::Long) => Format::Long(long::Parser::new(file, columns)),
            (File::Sockstat | File::Sockstat6, _) => Format::Sockstat(sockstat::Parser::new(columns, page_size)),
            (File::Snmp | File::Netstat, _) => Format::Snmp(snmp::Parser::new(columns)),
            (File::Snmp6, _) => Format::Snmp6(snmp6::Parser::new(columns)),
            (File::Dev, _) => Format::Dev(dev::Parser::new(columns)),
            (File::SoftnetStat, _) => Format::SoftnetStat(softnet_stat::Parser::new(columns)),
        };
        Some(Self { table, file, per, format })
    }

    pub fn file(&self) -> File {
        self.file
    }

    pub fn per(&self) -> Per {
        self.per
    }

    /// Appends the rows of `text` to `out`, one builder a column in the order of `new`, and says how many. `scope` goes into the column
    /// `netns`, what `links` has of the same namespace into `kind` and `peer`. After an error `out` is as it was.
    pub fn parse(
        &mut self,
        text: &[u8],
        scope: Option<ScopeId>,
        links: Option<Links<'_>>,
        out: &mut [ColumnBuilder],
    ) -> Result<usize, ParseError> {
        match &mut self.format {
            Format::Sockstat(parser) => parser.parse(text, scope, out),
            Format::Snmp(parser) => parser.parse(text, scope, out),
            Format::Snmp6(parser) => parser.parse(text, scope, out),
            Format::Dev(parser) => parser.parse(text, scope, links, out),
            Format::SoftnetStat(parser) => parser.parse(text, out),
            Format::Long(parser) => parser.parse(text, scope, out),
        }
        .map_err(|broken| ParseError { table: self.table.to_owned(), broken })
    }
}

/// An empty builder for each of `columns`, as [`Parser::parse`] wants them.
pub fn builders(columns: &[TableColumn]) -> Vec<ColumnBuilder> {
    columns.iter().map(|column| column.ty.builder()).collect()
}

/// Appends a scope, or NULL.
fn push_scope(out: &mut ColumnBuilder, scope: Option<ScopeId>) {
    match scope {
        Some(scope) => out.push_u64(scope.into()),
        None => out.push_null(),
    }
}

#[cfg(test)]
mod tests;
