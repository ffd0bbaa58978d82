//! YAML text → a tree of nodes that know where they stand.
//!
//! The tree is built from the parser's events, not by a loader: so every duplicate key is found, not the first alone, and nothing in a file
//! can make the tree larger or deeper than the file. Of YAML 1.2 it takes what JSON has, in either style: one document; no anchors and
//! aliases, no merge keys, no tags.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use super::quantity::quoted;

/// More than any configuration needs, and few enough for the recursion over the tree.
const MAX_DEPTH: usize = 64;

/// Line and column, from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl Position {
    pub const START: Self = Self { line: 1, column: 1 };
}

impl From<&Marker> for Position {
    fn from(mark: &Marker) -> Self {
        Self { line: mark.line().max(1), column: mark.col() + 1 }
    }
}

/// What is wrong, and where.
pub type Fault = (Position, String);

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: Position,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Null,
    Bool(bool),
    /// A number, and how it is written.
    Number(Number, String),
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
    /// Was there, but its fault has been told already.
    Refused,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub at: Position,
    pub value: Node,
}

impl Node {
    /// For messages: "found ...".
    pub fn found(&self) -> String {
        match &self.kind {
            Kind::Null | Kind::Refused => "nothing".to_owned(),
            Kind::Bool(yes) => format!("the boolean {yes}"),
            Kind::Number(_, written) => format!("the number {}", quoted(written)),
            Kind::Text(text) => format!("the text {}", quoted(text)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
        }
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null | Kind::Refused => Value::Null,
            Kind::Bool(yes) => Value::Bool(*yes),
            Kind::Number(number, _) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(nodes) => nodes.iter().map(Node::to_json).collect(),
            Kind::Mapping(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<Map<_, _>>())
            }
        }
    }
}

/// The one document of `text`, `Null` for an empty one, and all that is wrong with it. After a syntax error there is no tree (`Refused`),
/// and the text behind it is not looked at.
pub fn load(text: &str) -> (Node, Vec<Fault>) {
    let mut tree = Tree::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => tree.event(event, Position::from(&span.start)),
            Err(error) => tree.fault(Position::from(error.marker()), format!("this is no YAML: {}", error.info())),
        }
        if tree.stop {
            break;
        }
    }
    let kind = if tree.stop { Kind::Refused } else { Kind::Null };
    (tree.root.filter(|_| !tree.stop).unwrap_or(Node { at: Position::START, kind }), tree.faults)
}

/// The tree while it grows: the open lists and mappings, outermost first.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<Open>,
    documents: usize,
    faults: Vec<Fault>,
    stop: bool,
}

struct Open {
    at: Position,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        lines: HashMap<String, usize>,
        /// The key that waits for its value; the inner None is a key that was refused.
        key: Option<Option<(String, Position)>>,
    },
}

impl Tree {
    fn event(&mut self, event: Event<'_>, at: Position) {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.fault(at, "a second document begins here; the configuration is one document".to_owned());
                }
            }
            Event::Alias(_) => {
                self.faults.push((at, "aliases (`*name`) are not understood; write the value out".to_owned()));
                self.refused(at);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_marks(at, anchor, tag.is_some());
                self.scalar(&text, style == ScalarStyle::Plain, at);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_marks(at, anchor, tag.is_some());
                self.open(at, Inside::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_marks(at, anchor, tag.is_some());
                self.open(at, Inside::Mapping { entries: Vec::new(), lines: HashMap::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    /// Notes what is wrong. A reader that has lost its way in the document stops there: what it would say next helps nobody.
    fn fault(&mut self, at: Position, message: String) {
        self.faults.push((at, message));
        self.stop = true;
    }

    fn refuse_marks(&mut self, at: Position, anchor: usize, tag: bool) {
        if anchor > 0 {
            self.faults.push((at, "anchors (`&name`) are not understood; remove it".to_owned()));
        }
        if tag {
            self.faults.push((at, "tags (`!name`) are not understood; remove it, and quote what is text".to_owned()));
        }
    }

    /// Takes the place of a key or a value that was no good.
    fn refused(&mut self, at: Position) {
        match self.open.last_mut() {
            Some(Open { inside: Inside::Mapping { key: key @ None, .. }, .. }) => *key = Some(None),
            _ => self.push(Node { at, kind: Kind::Refused }),
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, at: Position) {
        if let Some(Open { inside: Inside::Mapping { lines, key: key @ None, .. }, .. }) = self.open.last_mut() {
            if plain && text == "<<" {
                self.faults.push((at, "merge keys (`<<`) are not understood; write the keys out".to_owned()));
                *key = Some(None);
            } else if let Some(line) = lines.get(text) {
                self.faults.push((at, format!("duplicate key {}; it is on line {line} already", quoted(text))));
                *key = Some(None);
            } else {
                lines.insert(text.to_owned(), at.line);
                *key = Some(Some((text.to_owned(), at)));
            }
            return;
        }
        let kind = if plain { resolve(text) } else { Ok(Kind::Text(text.to_owned())) };
        match kind {
            Ok(kind) => self.push(Node { at, kind }),
            Err(message) => {
                self.faults.push((at, message));
                self.push(Node { at, kind: Kind::Refused });
            }
        }
    }

    fn open(&mut self, at: Position, inside: Inside) {
        if let Some(Open { inside: Inside::Mapping { key: None, .. }, .. }) = self.open.last() {
            return self.fault(at, "a key must be text; found a list or a mapping".to_owned());
        }
        if self.open.len() >= MAX_DEPTH {
            return self.fault(at, format!("lists and mappings are more than {MAX_DEPTH} deep here"));
        }
        self.open.push(Open { at, inside });
    }

    fn close(&mut self) {
        let Some(Open { at, inside }) = self.open.pop() else { return };
        let kind = match inside {
            Inside::List(nodes) => Kind::List(nodes),
            Inside::Mapping { entries, .. } => Kind::Mapping(entries),
        };
        self.push(Node { at, kind });
    }

    fn push(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::List(nodes)) => nodes.push(node),
            Some(Inside::Mapping { entries, key, .. }) => {
                if let Some(Some((key, at))) = key.take() {
                    entries.push(Entry { key, at, value: node });
                }
            }
        }
    }
}

/// What an unquoted scalar is by the core schema (YAML 1.2.2, 10.3.2).
fn resolve(text: &str) -> Result<Kind, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ => match number(text)? {
            Some(number) => Kind::Number(number, text.to_owned()),
            None => Kind::Text(text.to_owned()),
        },
    })
}

fn number(text: &str) -> Result<Option<Number>, String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("{} is no number that JSON has; quote it, or leave it out", quoted(text)));
    }
    let radix = match text.get(..2) {
        Some("0x") => Some(16),
        Some("0o") => Some(8),
        _ => None,
    };
    if let Some(radix) = radix {
        // `from_str_radix` would take a sign behind the prefix.
        let digits = &text[2..];
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Ok(None);
        }
        return match u64::from_str_radix(digits, radix) {
            Ok(number) => Ok(Some(number.into())),
            Err(_) => Err(format!("the number {} is too large", quoted(text))),
        };
    }
    if let Ok(number) = text.parse::<u64>() {
        return Ok(Some(number.into()));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Some(number.into()));
    }
    // Rust also reads `inf` and `nan`, which are texts here; `e` and `.` alone it refuses by itself.
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(number) => match Number::from_f64(number) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("the number {} is too large", quoted(text))),
        },
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquoted_scalars_are_what_the_core_schema_says() {
        for (text, json) in [
            ("5", "5"),
            ("-5", "-5"),
            ("+5", "5"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1.5", "1.5"),
            ("1e3", "1000.0"),
            (".5", "0.5"),
            ("18446744073709551615", "18446744073709551615"),
            ("true", "true"),
            ("yes", "\"yes\""),
            ("inf", "\"inf\""),
            ("nan", "\"nan\""),
            ("1_000", "\"1_000\""),
            ("0x", "\"0x\""),
            ("0x-5", "\"0x-5\""),
            ("--5", "\"--5\""),
            ("~", "null"),
            ("10ms", "\"10ms\""),
            ("'5'", "\"5\""),
            ("\"null\"", "\"null\""),
            ("[a, 1, {b: ~}]", r#"["a",1,{"b":null}]"#),
        ] {
            let (node, faults) = load(text);
            assert_eq!(faults, [], "{text}");
            assert_eq!(node.to_json().to_string(), json, "{text}");
        }
    }

    #[test]
    fn what_json_does_not_have_is_refused_where_it_stands() {
        for (text, line, column, part) in [
            ("a: 1\nb: 2\na: 3\n", 3, 1, "duplicate key `a`; it is on line 1 already"),
            ("a: 1\n'a': 3\n", 2, 1, "duplicate key"),
            ("a: &x 1\n", 1, 4, "anchors"),
            ("a: !!str 1\n", 1, 4, "tags"),
            ("a: {<<: {b: 1}}\n", 1, 5, "merge keys"),
            ("? [a]\n: 1\n", 1, 3, "a key must be text"),
            ("a: 1\n---\nb: 1\n", 2, 1, "a second document"),
            ("a: .inf\n", 1, 4, "no number"),
            ("a: 1e999\n", 1, 4, "too large"),
            ("a: 0xfffffffffffffffff\n", 1, 4, "too large"),
            ("a: [1, 2\nb: 3", 2, 2, "no YAML"),
        ] {
            let (_, faults) = load(text);
            let (at, message) = &faults[0];
            assert_eq!((at.line, at.column), (line, column), "{text}: {message}");
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn several_duplicates_are_all_found() {
        let (_, faults) = load("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3\n");
        let lines: Vec<_> = faults.iter().map(|(at, _)| at.line).collect();
        assert_eq!(lines, [2, 3, 4]);
    }

    #[test]
    fn aliases_cannot_multiply_and_depth_cannot_overflow_the_stack() {
        let bomb = "a: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\n";
        assert!(load(bomb).1.iter().any(|(_, m)| m.contains("aliases")));
        for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000), "? ".repeat(100_000)] {
            assert_eq!(load(&deep).1.len(), 1);
        }
        let fine = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(load(&fine).1, []);
    }
}
