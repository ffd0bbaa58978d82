//! `sockstat` and `sockstat6`: lines like `TCP: inuse 1 orphan 0`. The kernel: `sockstat_seq_show` in net/ipv4/proc.c, `sockstat6_seq_show`
//! in net/ipv6/proc.c, `socket_seq_show` in net/socket.c.
//!
//! `orphan`, `alloc` and the `mem`s are of the whole node, in whichever namespace they are read: they are a table of their own,
//! `proc.sockstat`. `mem` is in pages; `memory` of the fragment queues is in bytes.

use super::{Broken, Entry, Visit, row, row::Row, text};
use crate::{batch::ColumnBuilder, scope::ScopeId, table::TableColumn};

/// The keys that are of the whole node.
pub(super) const NODE: [&str; 4] = ["TCP.orphan", "TCP.alloc", "TCP.mem", "UDP.mem"];
/// Those of them that the kernel prints in pages.
const PAGES: [&str; 2] = ["TCP.mem", "UDP.mem"];

/// Whether a key of `sockstat` is of the whole node.
pub(super) fn is_node(group: &[u8], key: &[u8]) -> bool {
    matches!((group, key), (b"TCP", b"orphan" | b"alloc" | b"mem") | (b"UDP", b"mem"))
}

#[derive(Debug)]
pub(super) struct Parser(Row);

impl Parser {
    pub(super) fn new(columns: &[TableColumn], page_size: u64) -> Self {
        Self(Row::new(columns, true, |name| if PAGES.contains(&name) { page_size } else { 1 }))
    }

    pub(super) fn parse(
        &mut self,
        text: &[u8],
        scope: Option<ScopeId>,
        out: &mut [ColumnBuilder],
    ) -> Result<usize, Broken> {
        let row = &mut self.0;
        row.clear();
        entries(text, &mut |entry| {
            if let Some(index) = row.find(entry.group, entry.key) {
                row.set(index, entry.line, entry.value)?;
            }
            Ok(!row.is_complete())
        })?;
        row.push(scope, out);
        Ok(1)
    }
}

pub(super) fn entries<'a>(text: &'a [u8], visit: Visit<'a, '_>) -> Result<(), Broken> {
    for (line, content) in text::Lines::new(text) {
        let Some((group, rest)) = text::group(content) else { continue };
        let mut fields = text::fields(rest);
        while let Some(key) = fields.next() {
            let value = fields.next().ok_or_else(|| Broken::no_value(line, row::name(group, key)))?;
            if !visit(Entry { line, group, key, value })? {
                return Ok(());
            }
        }
    }
    Ok(())
}
