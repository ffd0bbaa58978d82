//! One row of a table whose columns are keys: which of them are wanted, and what this row has of them so far.

use super::{Broken, push_scope, text};
use crate::{
    batch::ColumnBuilder,
    scope::ScopeId,
    table::{TableColumn, Type},
};
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

/// The wanted keys and their values. Made once, filled again for each file.
#[derive(Debug)]
pub(super) struct Row {
    keys: Vec<Key>,
    by_name: HashTable<usize>,
    /// Where each output column comes from.
    outputs: Vec<Output>,
    /// Keys that this row has no value of yet.
    missing: usize,
}

#[derive(Debug)]
struct Key {
    group: Box<[u8]>,
    key: Box<[u8]>,
    signed: bool,
    /// What the kernel's number is multiplied with: the page size, or 1.
    factor: u64,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Missing,
    Unsigned(u64),
    Signed(i64),
}

#[derive(Debug)]
enum Output {
    Scope,
    Key(usize),
}

impl Row {
    /// A row of `columns`. With `grouped`, `TCP.inuse` is the key `inuse` of the group `TCP`. `factor` says by column name what to
    /// multiply with.
    pub(super) fn new(columns: &[TableColumn], grouped: bool, factor: impl Fn(&str) -> u64) -> Self {
        let mut row = Self { keys: Vec::new(), by_name: HashTable::new(), outputs: Vec::new(), missing: 0 };
        for column in columns {
            if column.ty == Type::Scope {
                row.outputs.push(Output::Scope);
                continue;
            }
            let (group, key) = if grouped { column.name.split_once('.') } else { None }.unwrap_or(("", &column.name));
            let index = row.find(group.as_bytes(), key.as_bytes()).unwrap_or_else(|| {
                let signed = column.ty == Type::S64;
                row.add(Key {
                    group: group.as_bytes().into(),
                    key: key.as_bytes().into(),
                    signed,
                    factor: factor(&column.name),
                    value: Value::Missing,
                })
            });
            row.outputs.push(Output::Key(index));
        }
        row
    }

    fn add(&mut self, key: Key) -> usize {
        let index = self.keys.len();
        let hashed = hash(&key.group, &key.key);
        self.keys.push(key);
        let keys = &self.keys;
        self.by_name.insert_unique(hashed, index, |&index| hash(&keys[index].group, &keys[index].key));
        index
    }

    /// The number under which a wanted key is `set`.
    pub(super) fn find(&self, group: &[u8], key: &[u8]) -> Option<usize> {
        let same = |&index: &usize| *self.keys[index].key == *key && *self.keys[index].group == *group;
        self.by_name.find(hash(group, key), same).copied()
    }

    /// Starts a new row.
    pub(super) fn clear(&mut self) {
        self.missing = self.keys.len();
        for key in &mut self.keys {
            key.value = Value::Missing;
        }
    }

    /// Whether every wanted key has its value: the rest of the file need not be read.
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Takes the value of a key that `find` gave. Of a key that stands twice the first counts.
    pub(super) fn set(&mut self, index: usize, line: usize, value: &[u8]) -> Result<(), Broken> {
        let key = &mut self.keys[index];
        if key.value != Value::Missing {
            return Ok(());
        }
        let number = if key.signed {
            text::signed(value).map(Value::Signed)
        } else {
            text::decimal(value).and_then(|number| number.checked_mul(key.factor)).map(Value::Unsigned)
        };
        key.value = number.ok_or_else(|| Broken::number(line, name(&key.group, &key.key), value))?;
        self.missing -= 1;
        Ok(())
    }

    /// Appends the row to `out`.
    pub(super) fn push(&self, scope: Option<ScopeId>, out: &mut [ColumnBuilder]) {
        for (output, builder) in self.outputs.iter().zip(out) {
            match output {
                Output::Scope => push_scope(builder, scope),
                Output::Key(index) => match self.keys[*index].value {
                    Value::Missing => builder.push_null(),
                    Value::Unsigned(number) => builder.push_u64(number),
                    Value::Signed(number) => builder.push_s64(number),
                },
            }
        }
    }
}

fn hash(group: &[u8], key: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(group);
    hasher.write(key);
    hasher.finish()
}

/// A key's column name: `TCP.inuse`, or `Ip6InReceives` where there are no groups.
pub(super) fn name(group: &[u8], key: &[u8]) -> String {
    let key = text::excerpt(key);
    if group.is_empty() { key } else { format!("{}.{key}", text::excerpt(group)) }
}
