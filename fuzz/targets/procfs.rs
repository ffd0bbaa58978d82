//! Any bytes as any file of procfs: no panic, no row half filled, and a file that was read before does not spoil the next.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netsonde_core::{
    batch::ColumnBuilder,
    proc::{Parser, builders},
};
use netsonde_fuzz::{TABLES, captured};

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, text) = input;
    let table = &TABLES.tables[choice as usize % TABLES.tables.len()];
    let Some(mut parser) = Parser::new(&table.name, &table.columns, 4096) else { return };
    let mut out = builders(&table.columns);
    let mut rows = 0;
    for text in [captured(parser.file()), text, captured(parser.file())] {
        if let Ok(more) = parser.parse(text, Some(7), None, &mut out) {
            rows += more;
        }
        assert!(out.iter().all(|column| ColumnBuilder::len(column) == rows), "{}", table.name);
    }
});
