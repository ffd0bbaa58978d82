//! Any text as a query: refused with a place in the text, or answered from the captured node's rows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netsonde_core::{
    batch::{Batch, Column, ColumnBuilder},
    proc::{Parser, builders},
    query::{Asker, plan},
};
use netsonde_fuzz::{TABLES, captured};

fuzz_target!(|input: (bool, &str)| {
    let (person, sql) = input;
    let asker = if person { Asker::Person } else { Asker::Probe };
    let query = match plan(sql, &TABLES, asker) {
        Ok(query) => query,
        Err(error) => {
            assert!(!error.render(sql).chars().any(|c| c.is_control() && c != '\n'));
            return;
        }
    };
    let Some(mut parser) = Parser::new(&query.table, &query.columns, 4096) else {
        panic!("{} has no parser", query.table)
    };
    let mut out = builders(&query.columns);
    let mut rows = 0;
    for scope in 1..3 {
        rows += parser.parse(captured(parser.file()), Some(scope), None, &mut out).unwrap_or(0);
    }
    let columns: Vec<Column> = out.into_iter().map(ColumnBuilder::finish).collect();
    let columns: Vec<&Column> = columns.iter().collect();
    let Batch { rows, columns } = query.run(rows, &columns, &|scope: u32| Some(scope.to_string())).batch;
    assert_eq!(columns.len(), query.fields.len());
    assert!(columns.iter().all(|column| column.len() == rows), "{sql}");
});
