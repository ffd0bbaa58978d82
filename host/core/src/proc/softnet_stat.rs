//! `softnet_stat`: a line of hexadecimal numbers for each CPU that is online. The kernel: `softnet_seq_show` in net/core/net-procfs.c.
//! Columns were added over time: `received_rps` (2.6.35), `flow_limit_count` (3.11), `backlog_len` and the CPU (5.10), both queues (6.4).

use super::{Broken, text};
use crate::{batch::ColumnBuilder, table::TableColumn};

/// Columns, their place in the line, and whether every kernel has them.
pub(super) const COLUMNS: [(&str, usize, bool); 9] = [
    ("cpu", 12, false),
    ("processed", 0, true),
    ("dropped", 1, true),
    ("time_squeeze", 2, true),
    ("received_rps", 9, false),
    ("flow_limit_count", 10, false),
    ("backlog_len", 11, false),
    ("input_qlen", 13, false),
    ("process_qlen", 14, false),
];

const FIELDS: usize = 15;

#[derive(Debug)]
pub(super) struct Parser {
    /// Indices into `COLUMNS`.
    outputs: Vec<Option<usize>>,
}

impl Parser {
    pub(super) fn new(columns: &[TableColumn]) -> Self {
        let place = |column: &TableColumn| COLUMNS.iter().position(|(name, ..)| *name == column.name);
        Self { outputs: columns.iter().map(place).collect() }
    }

    pub(super) fn parse(&mut self, text: &[u8], out: &mut [ColumnBuilder]) -> Result<usize, Broken> {
        let before = out.first().map_or(0, ColumnBuilder::len);
        let mut rows = 0;
        for (line, content) in text::Lines::new(text) {
            if let Err(broken) = self.line(line, content, out) {
                out.iter_mut().for_each(|builder| builder.truncate(before));
                return Err(broken);
            }
            rows += 1;
        }
        Ok(rows)
    }

    fn line(&self, line: usize, content: &[u8], out: &mut [ColumnBuilder]) -> Result<(), Broken> {
        let mut numbers = [None; FIELDS];
        for (number, field) in numbers.iter_mut().zip(text::fields(content)) {
            *number = Some(field);
        }
        for (output, builder) in self.outputs.iter().zip(out) {
            let Some((name, place, always)) = output.map(|output| COLUMNS[output]) else {
                builder.push_null();
                continue;
            };
            match numbers[place] {
                Some(field) => match text::hexadecimal(field) {
                    Some(number) => builder.push_u64(number),
                    None => return Err(Broken::number(line, name.to_owned(), field)),
                },
                None if always => return Err(Broken::no_value(line, name.to_owned())),
                // Older kernels do not say which CPU it is: the line's place is right as long as all of them are online.
                None if name == "cpu" => builder.push_u64(line as u64 - 1),
                None => builder.push_null(),
            }
        }
        Ok(())
    }
}
