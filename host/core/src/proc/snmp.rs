//! `snmp` and `netstat`: pairs of lines, `Tcp: RtoAlgorithm RtoMin` and `Tcp: 1 200`. The kernel: `snmp_seq_show` and `netstat_seq_show`
//! in net/ipv4/proc.c. A group may have several pairs (`IcmpMsg`, one for every 16 types that are not zero) or none.

use super::{Broken, Entry, Visit, row, row::Row, text};
use crate::{batch::ColumnBuilder, scope::ScopeId, table::TableColumn};

/// Header lines that are remembered. A kernel has five to eight; those of `IcmpMsg` vary with what a namespace has seen.
const HEADERS: usize = 64;

/// Headers hardly ever change from one namespace to the next: they are compared as bytes, not read again.
#[derive(Debug)]
pub(super) struct Parser {
    row: Row,
    headers: Vec<Header>,
    /// Which of `headers` likely comes next.
    next: usize,
}

#[derive(Debug)]
struct Header {
    line: Box<[u8]>,
    /// Length of `Tcp:`, with the colon.
    group: usize,
    /// (Place among the values, number of the wanted key), by place.
    wanted: Vec<(usize, usize)>,
}

impl Parser {
    pub(super) fn new(columns: &[TableColumn]) -> Self {
        Self { row: Row::new(columns, true, |_| 1), headers: Vec::new(), next: 0 }
    }

    pub(super) fn parse(
        &mut self,
        text: &[u8],
        scope: Option<ScopeId>,
        out: &mut [ColumnBuilder],
    ) -> Result<usize, Broken> {
        self.row.clear();
        self.next = 0;
        let mut lines = text::Lines::new(text);
        while let Some((line, header)) = lines.next() {
            if self.row.is_complete() {
                break;
            }
            if header.is_empty() {
                continue;
            }
            self.pair(line, header, lines.next().unwrap_or_default().1)?;
        }
        self.row.push(scope, out);
        Ok(1)
    }

    /// Takes the wanted values of one pair of lines, the first of which is `line`.
    fn pair(&mut self, line: usize, header: &[u8], values: &[u8]) -> Result<(), Broken> {
        let at = self.header(line, header)?;
        self.next = at + 1;
        let known = &self.headers[at];
        let values = same_group(line + 1, &known.line[..known.group], values)?;
        let (mut fields, mut place) = (text::fields(values), 0);
        for &(wanted, index) in &known.wanted {
            let value = fields.nth(wanted - place).ok_or_else(|| {
                let key = text::fields(&header[known.group..]).nth(wanted).unwrap_or_default();
                Broken::no_value(line + 1, row::name(&header[..known.group - 1], key))
            })?;
            self.row.set(index, line + 1, value)?;
            place = wanted + 1;
        }
        Ok(())
    }

    /// Where `line` is among the remembered headers.
    fn header(&mut self, number: usize, line: &[u8]) -> Result<usize, Broken> {
        let same = |header: &Header| *header.line == *line;
        if self.headers.get(self.next).is_some_and(same) {
            return Ok(self.next);
        }
        if let Some(at) = self.headers.iter().position(same) {
            return Ok(at);
        }
        if self.headers.len() == HEADERS {
            self.headers.clear();
        }
        let (group, keys) = text::group(line).ok_or_else(|| Broken::format(number, "header", line))?;
        let wanted = text::fields(keys)
            .enumerate()
            .filter_map(|(place, key)| Some((place, self.row.find(group, key)?)))
            .collect();
        self.headers.push(Header { line: line.into(), group: group.len() + 1, wanted });
        Ok(self.headers.len() - 1)
    }
}

/// What follows `group` (with its colon) in a line of values.
fn same_group<'a>(line: usize, group: &[u8], values: &'a [u8]) -> Result<&'a [u8], Broken> {
    values
        .strip_prefix(group)
        .ok_or_else(|| Broken::format(line, &format!("values of {}", text::excerpt(group)), values))
}

pub(super) fn entries<'a>(text: &'a [u8], visit: Visit<'a, '_>) -> Result<(), Broken> {
    let mut lines = text::Lines::new(text);
    while let Some((line, header)) = lines.next() {
        if header.is_empty() {
            continue;
        }
        let (group, keys) = text::group(header).ok_or_else(|| Broken::format(line, "header", header))?;
        let values = same_group(line + 1, &header[..group.len() + 1], lines.next().unwrap_or_default().1)?;
        let mut values = text::fields(values);
        for key in text::fields(keys) {
            let value = values.next().ok_or_else(|| Broken::no_value(line + 1, row::name(group, key)))?;
            if !visit(Entry { line: line + 1, group, key, value })? {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
impl Parser {
    pub(super) fn remembered(&self) -> usize {
        self.headers.len()
    }
}
