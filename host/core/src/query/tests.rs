use super::*;
use crate::{
    batch::{ColumnBuilder, Values},
    table::{Absent, Catalogue, Hooks, Logical, Table, Type},
};

mod arithmetic;
mod histogram;
mod reference;
mod refused;
mod rules;
mod run;
mod within;

/// A table as tests write it down, and its rows.
pub struct Fixture {
    pub catalogue: Catalogue,
    pub rows: usize,
    columns: Vec<(&'static str, Column)>,
}

fn column(name: &str, ty: Type, logical: Logical, nullable: bool) -> TableColumn {
    TableColumn { nullable, ..TableColumn::new(name, ty, logical) }
}

fn table(name: &str, per: Per, columns: Vec<TableColumn>) -> Table {
    Table {
        name: name.into(),
        help: String::new(),
        source: String::new(),
        per,
        columns,
        open_prefixes: Vec::new(),
        elsewhere: Vec::new(),
    }
}

fn catalogue() -> Catalogue {
    let netns = || column("netns", Type::Scope, Logical::Scope, false);
    let sockstat = Table {
        elsewhere: vec![("TCP.orphan".into(), "is of the whole node: ask proc.sockstat".into())],
        ..table(
            "proc.net.sockstat",
            Per::Namespace,
            vec![
                netns(),
                column("TCP.inuse", Type::U64, Logical::Count, false),
                column("FRAG.memory", Type::U64, Logical::Bytes, true),
            ],
        )
    };
    let snmp = Table {
        open_prefixes: vec!["IcmpMsg."],
        ..table(
            "proc.net.snmp",
            Per::Namespace,
            vec![
                netns(),
                column("Tcp.CurrEstab", Type::U64, Logical::Count, true),
                column("Tcp.MaxConn", Type::S64, Logical::Count, true),
            ],
        )
    };
    let long = vec![
        netns(),
        column("key", Type::Text, Logical::Name, false),
        column("value", Type::S64, Logical::Count, false),
    ];
    let dev = vec![
        netns(),
        column("name", Type::Text, Logical::Name, false),
        column("kind", Type::Text, Logical::Name, true),
        column("rx_bytes", Type::U64, Logical::Bytes, false),
        column("drift", Type::S64, Logical::Count, true),
        column("up", Type::Bool, Logical::Bool, true),
        column("peer", Type::Scope, Logical::Scope, true),
    ];
    Catalogue {
        tables: vec![
            sockstat,
            snmp,
            table("proc.net.snmp.long", Per::Namespace, long),
            table("proc.net.dev", Per::Namespace, dev),
            table("proc.softnet_stat", Per::Node, vec![column("dropped", Type::U64, Logical::Count, false)]),
        ],
        absent: vec![Absent { name: "proc.net.snmp6".into(), why: "IPv6 is off in this kernel".into() }],
        hooks: Hooks::Absent("not part of these tests".into()),
    }
}

fn numbers(mut builder: ColumnBuilder, values: &[Option<i128>]) -> Column {
    for value in values {
        match value {
            None => builder.push_null(),
            Some(value) => match i64::try_from(*value) {
                Ok(value) => builder.push_s64(value),
                Err(_) => builder.push_u64(*value as u64),
            },
        }
    }
    builder.finish()
}

fn texts(values: &[Option<&str>]) -> Column {
    let mut builder = ColumnBuilder::text();
    for value in values {
        match value {
            None => builder.push_null(),
            Some(value) => builder.push_text(value.as_bytes()),
        }
    }
    builder.finish()
}

/// Six devices in three namespaces: 1 is `host`, 2 is `blue`, 3 has no name.
fn devices() -> Fixture {
    let some = |values: &[i128]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let max = u64::MAX as i128;
    Fixture {
        catalogue: catalogue(),
        rows: 6,
        columns: vec![
            ("netns", numbers(ColumnBuilder::u32(), &some(&[1, 1, 2, 2, 3, 1]))),
            ("name", texts(&[Some("lo"), Some("eth0"), Some("lo"), Some("eth0"), Some("lo"), Some("veth1")])),
            ("kind", texts(&[None, None, None, Some("veth"), None, Some("veth")])),
            ("rx_bytes", numbers(ColumnBuilder::u64(), &some(&[10, 20, 30, 0, max, 5]))),
            ("drift", numbers(ColumnBuilder::s64(), &[Some(-1), Some(7), None, Some(-1), Some(0), None])),
            ("up", numbers(ColumnBuilder::u32(), &[Some(1), Some(0), None, Some(1), Some(1), Some(0)])),
            ("peer", numbers(ColumnBuilder::u32(), &[None, None, None, Some(1), None, Some(2)])),
        ],
    }
}

fn name(scope: ScopeId) -> Option<String> {
    match scope {
        1 => Some("host".into()),
        2 => Some("blue".into()),
        _ => None,
    }
}

impl Fixture {
    fn plan(&self, sql: &str) -> Query {
        plan(sql, &self.catalogue, Asker::Person).unwrap_or_else(|error| panic!("{}", error.render(sql)))
    }

    fn answer(&self, query: &Query) -> Answered {
        let column = |wanted: &TableColumn| {
            &self.columns.iter().find(|(name, _)| *name == wanted.name).expect("the fixture has it").1
        };
        let columns: Vec<&Column> = query.columns.iter().map(column).collect();
        query.run(self.rows, &columns, &name)
    }

    /// The rows as text, a line each, the values separated by a blank.
    fn ask(&self, sql: &str) -> Vec<String> {
        let batch = self.answer(&self.plan(sql)).batch;
        (0..batch.rows).map(|row| show(&batch, row)).collect()
    }
}

fn show(batch: &Batch, row: usize) -> String {
    let value = |column: &Column| {
        assert_eq!(column.len(), batch.rows);
        if !column.has(row) {
            return "NULL".to_owned();
        }
        match &column.values {
            Values::U32(v) => v[row].to_string(),
            Values::U64(v) => v[row].to_string(),
            Values::S64(v) => v[row].to_string(),
            Values::Code { codes, names } => names[codes[row] as usize].clone(),
            other => panic!("no query gives {other:?}"),
        }
    };
    batch.columns.iter().map(value).collect::<Vec<_>>().join(" ")
}

fn error(sql: &str, asker: Asker) -> QueryError {
    match plan(sql, &catalogue(), asker) {
        Ok(_) => panic!("accepted: {sql}"),
        Err(error) => error,
    }
}
