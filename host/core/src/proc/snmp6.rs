//! `snmp6`: a key and its value a line, without groups. The kernel: `snmp6_seq_show` in net/ipv6/proc.c. `Icmp6InType128` and its like
//! are there once they are not zero.

use super::{Broken, Entry, Visit, row, row::Row, text};
use crate::{batch::ColumnBuilder, scope::ScopeId, table::TableColumn};

#[derive(Debug)]
pub(super) struct Parser(Row);

impl Parser {
    pub(super) fn new(columns: &[TableColumn]) -> Self {
        Self(Row::new(columns, false, |_| 1))
    }

    pub(super) fn parse(
        &mut self,
        text: &[u8],
        scope: Option<ScopeId>,
        out: &mut [ColumnBuilder],
    ) -> Result<usize, Broken> {
        let row = &mut self.0;
        row.clear();
        for (line, content) in text::Lines::new(text) {
            // The key alone decides first: most lines are not wanted, and their values need no look.
            let end = content.iter().position(u8::is_ascii_whitespace).unwrap_or(content.len());
            let Some(index) = row.find(b"", &content[..end]) else { continue };
            row.set(index, line, content[end..].trim_ascii())?;
            if row.is_complete() {
                break;
            }
        }
        row.push(scope, out);
        Ok(1)
    }
}

pub(super) fn entries<'a>(text: &'a [u8], visit: Visit<'a, '_>) -> Result<(), Broken> {
    for (line, content) in text::Lines::new(text) {
        let mut fields = text::fields(content);
        let Some(key) = fields.next() else { continue };
        let value = fields.next().ok_or_else(|| Broken::no_value(line, row::name(b"", key)))?;
        if !visit(Entry { line, group: b"", key, value })? {
            return Ok(());
        }
    }
    Ok(())
}
