//! How commands speak: aligned tables for people, JSON for scripts, colour only on a terminal.

use anstyle::{AnsiColor, Style};
use std::io::{IsTerminal, Write};
use unicode_width::UnicodeWidthStr;

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const SOME: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const HEAD: Style = Style::new().bold();
pub const PLAIN: Style = Style::new();

/// A text with its colour.
pub struct Text {
    text: String,
    style: Style,
}

impl Text {
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: PLAIN }
    }
}

/// Prints rows below a head, columns aligned, numbers to the right. The last column is as long as it is.
pub fn table(head: &[&str], rows: Vec<Vec<Text>>) {
    for line in lines(head, rows) {
        out(&line);
    }
}

pub(super) fn lines(head: &[&str], mut rows: Vec<Vec<Text>>) -> Vec<String> {
    for cell in rows.iter_mut().flatten() {
        cell.text = printable(&cell.text);
    }
    let columns: Vec<Column> = head.iter().enumerate().map(|(index, head)| Column::of(head, index, &rows)).collect();
    let head: Vec<Text> = head.iter().map(|text| Text::styled(printable(text), HEAD)).collect();
    let line = |cells: &Vec<Text>| {
        let cells = cells.iter().zip(&columns).enumerate();
        let line: String = cells.map(|(index, (cell, column))| column.cell(cell, index + 1 == columns.len())).collect();
        line.trim_end().to_owned()
    };
    std::iter::once(&head).chain(&rows).map(line).collect()
}

/// How a column is laid out.
struct Column {
    width: usize,
    numbers: bool,
}

impl Column {
    fn of(head: &str, index: usize, rows: &[Vec<Text>]) -> Self {
        let texts = || rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.text.as_str());
        let width = texts().map(UnicodeWidthStr::width).max().unwrap_or(0).max(head.width());
        let is_number = |text: &str| text.is_empty() || text == "NULL" || text.parse::<f64>().is_ok();
        Self { width, numbers: texts().all(is_number) && texts().any(|text| !text.is_empty()) }
    }

    fn cell(&self, cell: &Text, last: bool) -> String {
        let text = if cell.style == PLAIN { cell.text.clone() } else { paint(&cell.text, cell.style) };
        let room = " ".repeat(self.width - cell.text.width().min(self.width));
        match (self.numbers, last) {
            (true, true) => format!("{room}{text}"),
            (true, false) => format!("{room}{text}  "),
            (false, true) => text,
            (false, false) => format!("{text}{room}  "),
        }
    }
}

/// One line on standard output. A reader that has had enough (`| head`) ends the program; any other failure is one.
pub fn out(line: &str) {
    if let Err(failure) = writeln!(anstream::stdout(), "{line}") {
        if failure.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        error(&format!("cannot write to standard output: {failure}"));
        std::process::exit(1);
    }
}

/// One value as JSON, a line per element on the first level.
pub fn json(value: &serde_json::Value) {
    out(&format!("{value:#}"));
}

/// What a person must know, on standard error.
pub fn warn(message: &str) {
    let _ = writeln!(anstream::stderr(), "{}", paint(&printable(message), SOME));
}

/// What went wrong, on standard error.
pub fn error(message: &str) {
    let _ = writeln!(
        anstream::stderr(),
        "{} {}",
        paint("error:", BAD),
        message.lines().map(printable).collect::<Vec<_>>().join("\n")
    );
}

/// `text` in a style; [`out`] takes the codes away where they do not belong.
pub fn paint(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// Whether a person reads standard output.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Names and messages come from kernels and foreign modules: what would steer a terminal is shown, not sent.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let rows = vec![vec!["lo".into(), "7".into(), "é".into()], vec!["veth0".into(), "1234".into(), "".into()]];
        let plain: Vec<String> = lines(&["DEVICE", "N", "X"], rows).iter().map(|line| strip(line)).collect();
        assert_eq!(plain, ["DEVICE     N  X", "lo         7  é", "veth0   1234"]);
    }

    fn strip(line: &str) -> String {
        anstream::adapter::strip_str(line).to_string()
    }

    #[test]
    fn a_device_cannot_steer_the_terminal() {
        assert_eq!(printable("eth\u{1b}[2J0"), "eth\\u{1b}[2J0");
    }
}
