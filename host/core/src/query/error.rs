//! Why a query was refused, and where in its text.

use std::fmt;

/// A query that cannot be answered. Displays as `line 1, column 15: no column ...`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", At(*position))]
pub struct QueryError {
    pub kind: Kind,
    /// None where the parser does not tell.
    pub position: Option<Position>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text is wrong, or asks for what no node supports.
    Text,
    /// This node has no such table or column: an optional query is absent here, and may run elsewhere.
    Absent,
}

/// A place in a query's text, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

impl QueryError {
    pub(super) fn text(position: Option<Position>, message: impl Into<String>) -> Self {
        Self::new(Kind::Text, position, message.into())
    }

    pub(super) fn absent(position: Option<Position>, message: impl Into<String>) -> Self {
        Self::new(Kind::Absent, position, message.into())
    }

    fn new(kind: Kind, position: Option<Position>, message: String) -> Self {
        // Names in it come from the query, the query from a foreign module, and the message goes to terminals.
        Self { kind, position, message: message.chars().map(printable).collect() }
    }

    /// The error for a terminal: itself, then the query's line with a caret under the position.
    ///
    /// Control characters of the query are shown as spaces; of a long line only the surroundings are shown.
    pub fn render(&self, sql: &str) -> String {
        let Some(position) = self.position else { return self.to_string() };
        let Some(line) = sql.split('\n').nth(position.line.saturating_sub(1) as usize) else { return self.to_string() };
        let line: Vec<char> = line.chars().map(printable).collect();
        let caret = (position.column.saturating_sub(1) as usize).min(line.len());
        let first = caret.saturating_sub(SHOWN_BEFORE);
        let last = line.len().min(caret + SHOWN_AFTER);
        let (before, after) = (if first > 0 { "..." } else { "" }, if last < line.len() { "..." } else { "" });
        let shown: String = line[first..last].iter().collect();
        let indent = before.len() + caret - first;
        format!("{self}\n  {before}{shown}{after}\n  {:indent$}^", "")
    }
}

/// How many characters of a line `render` shows around the caret, so that a terminal does not wrap it.
const SHOWN_BEFORE: usize = 60;
const SHOWN_AFTER: usize = 40;

fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

struct At(Option<Position>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Position { line, column }) => write!(f, "line {line}, column {column}: "),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u64, column: u64) -> QueryError {
        QueryError::text(Some(Position { line, column }), "no")
    }

    #[test]
    fn the_caret_stands_under_the_position() {
        let sql = "SELECT a,\n\tbcd FROM t";
        assert_eq!(at(2, 2).render(sql), "line 2, column 2: no\n   bcd FROM t\n   ^");
        assert_eq!(at(1, 8).render(sql), "line 1, column 8: no\n  SELECT a,\n         ^");
        assert_eq!(at(7, 1).render(sql), "line 7, column 1: no", "a position outside the text is harmless");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let sql = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let shown = at(1, 501).render(&sql);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].len() < 120, "{shown}");
        assert_eq!(lines[1].find('X'), lines[2].find('^'));
    }

    #[test]
    fn a_query_cannot_send_escape_sequences_to_a_terminal() {
        let error = QueryError::text(Some(Position { line: 1, column: 1 }), "no column `\u{1b}[2J`");
        assert!(!error.render("\u{1b}[2J").contains('\u{1b}'));
    }
}
