//! The `.long` form of a key-value file: a row for each key. For kernels' keys that nobody knows beforehand.

use super::{Broken, File, push_scope, row, sockstat, text};
use crate::{
    batch::ColumnBuilder,
    scope::ScopeId,
    table::{TableColumn, Type},
};

#[derive(Debug)]
pub(super) struct Parser {
    file: File,
    outputs: Vec<Output>,
    /// The key of the row at hand, `TCP.inuse`.
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Output {
    Scope,
    Key,
    Value,
}

impl Parser {
    pub(super) fn new(file: File, columns: &[TableColumn]) -> Self {
        let output = |column: &TableColumn| match column.ty {
            Type::Scope => Output::Scope,
            Type::Text => Output::Key,
            _ => Output::Value,
        };
        Self { file, outputs: columns.iter().map(output).collect(), key: Vec::new() }
    }

    pub(super) fn parse(
        &mut self,
        text: &[u8],
        scope: Option<ScopeId>,
        out: &mut [ColumnBuilder],
    ) -> Result<usize, Broken> {
        let before = out.first().map_or(0, ColumnBuilder::len);
        let mut rows = 0;
        let result = self.file.entries(text, &mut |entry| {
            if self.file == File::Sockstat && sockstat::is_node(entry.group, entry.key) {
                return Ok(true);
            }
            // Below zero there is only `Tcp.MaxConn`, which says "no limit" so: NULL here.
            let value = match text::decimal(entry.value) {
                Some(value) => Some(value),
                None if text::signed(entry.value).is_some() => None,
                None => return Err(Broken::number(entry.line, row::name(entry.group, entry.key), entry.value)),
            };
            self.key.clear();
            if !entry.group.is_empty() {
                self.key.extend_from_slice(entry.group);
                self.key.push(b'.');
            }
            self.key.extend_from_slice(entry.key);
            for (output, builder) in self.outputs.iter().zip(&mut *out) {
                match (output, value) {
                    (Output::Scope, _) => push_scope(builder, scope),
                    (Output::Key, _) => builder.push_text(&self.key),
                    (Output::Value, Some(value)) => builder.push_u64(value),
                    (Output::Value, None) => builder.push_null(),
                }
            }
            rows += 1;
            Ok(true)
        });
        if result.is_err() {
            out.iter_mut().for_each(|builder| builder.truncate(before));
        }
        result.map(|()| rows)
    }
}
