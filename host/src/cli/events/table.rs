//! Events as an aligned table: what somebody wants to see first.

use crate::cli::print::{self, HEAD, SOME, Text};
use netsonde_core::event::{Event, FieldValue, Rfc3339};
use unicode_width::UnicodeWidthStr;

const HEADS: [&str; 9] = ["TIME", "TYPE", "WHO", "FROM", "TO", "PEER", "REASON", "ID", "MORE"];

/// Characters of the columns when events are followed, as nobody knows what is still to come. A longer text makes its column wider from
/// then on.
const WIDTHS: [usize; HEADS.len()] = [18, 16, 24, 18, 18, 12, 16, 20, 0];

/// Names of the fields with both ends' addresses and ports, by column.
const FROM: [[&str; 2]; 2] = [["saddr", "sport"], ["laddr", "lport"]];
const TO: [[&str; 2]; 2] = [["daddr", "dport"], ["raddr", "rport"]];

/// The table's rows, in the order in which they come.
pub(super) struct Table {
    /// None: they are kept until all are known.
    widths: Option<[usize; HEADS.len()]>,
    rows: Vec<[String; HEADS.len()]>,
    begun: bool,
}

impl Table {
    /// Who `follow`s sees each row at once.
    pub fn new(follow: bool) -> Self {
        Self { widths: follow.then_some(WIDTHS), rows: Vec::new(), begun: false }
    }

    pub fn add(&mut self, event: &Event) {
        let row = row(event);
        let Some(widths) = &mut self.widths else { return self.rows.push(row) };
        if !std::mem::replace(&mut self.begun, true) {
            print::out(&line(&HEADS.map(str::to_owned), widths, true));
        }
        print::out(&line(&row, widths, false));
    }

    /// All rows are known.
    pub fn finish(&mut self) {
        if self.widths.is_none() && !self.rows.is_empty() {
            let style = |index: usize, cell: String| if index == 1 { Text::styled(cell, SOME) } else { cell.into() };
            let row = |row: [String; HEADS.len()]| {
                row.into_iter().enumerate().map(|(index, cell)| style(index, cell)).collect()
            };
            print::table(&HEADS, self.rows.drain(..).map(row).collect());
        }
    }
}

/// One line of a table whose other lines are not known.
fn line(cells: &[String; HEADS.len()], widths: &mut [usize; HEADS.len()], head: bool) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let cell = print::printable(cell);
        *width = (*width).max(cell.width());
        let room = " ".repeat(*width - cell.width() + 2);
        match index {
            _ if head => line += &print::paint(&cell, HEAD),
            1 => line += &print::paint(&cell, SOME),
            _ => line += &cell,
        }
        line += &room;
    }
    line.trim_end().to_owned()
}

fn row(event: &Event) -> [String; HEADS.len()] {
    let time = Rfc3339(event.unix_nanos).to_string();
    let mut reason = text(event, "reason").unwrap_or_default();
    if let Some(repeats) = &event.repeats {
        reason += &format!("{}×{}", if reason.is_empty() { "" } else { " " }, repeats.count);
    }
    let peer = event.peer.as_ref().map(|peer| match (&*peer.namespace, &*peer.pod) {
        ("", "") => peer.container.to_string(),
        (namespace, pod) => format!("{namespace}/{pod}"),
    });
    let shown = |name: &str| name == "reason" || FROM.iter().chain(&TO).flatten().any(|shown| *shown == name);
    let more = event.fields.iter().filter(|(name, _)| !shown(name));
    let more: Vec<String> = more.map(|(name, value)| format!("{name}={}", plain(value))).collect();
    [
        // The year is not what one looks for.
        format!("{} {}", &time[5..10], &time[11..23]),
        event.ty.to_string(),
        event.scope.as_ref().map(ToString::to_string).unwrap_or_default(),
        end(event, &FROM),
        end(event, &TO),
        peer.unwrap_or_default(),
        reason,
        event.id.to_string(),
        more.join(" "),
    ]
}

/// Address and port, as far as they are known.
fn end(event: &Event, names: &[[&str; 2]]) -> String {
    let found = names.iter().find_map(|[address, port]| Some((text(event, address)?, text(event, port))));
    match found {
        None => String::new(),
        Some((address, None)) => address,
        Some((address, Some(port))) if address.contains(':') => format!("[{address}]:{port}"),
        Some((address, Some(port))) => format!("{address}:{port}"),
    }
}

fn text(event: &Event, name: &str) -> Option<String> {
    event.fields.iter().find(|(have, _)| **have == *name).map(|(_, value)| plain(value))
}

/// A value for people.
pub(super) fn plain(value: &FieldValue) -> String {
    match value {
        FieldValue::U64(value) => value.to_string(),
        FieldValue::S64(value) => value.to_string(),
        FieldValue::F64(value) => value.to_string(),
        FieldValue::Bool(value) => value.to_string(),
        FieldValue::Address(value) => value.to_string(),
        FieldValue::Text(value) => value.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use netsonde_core::{
        event::{EventId, Peer, Repeats},
        scope::Name,
    };
    use std::sync::Arc;

    /// A reset of `shop/web-1` by `shop/db-0`, for 3.
    pub fn reset() -> Event {
        let text = |text: &str| FieldValue::Text(text.into());
        let fields: Vec<(&str, FieldValue)> = vec![
            ("protocol", text("TCP")),
            ("saddr", text("10.0.0.1")),
            ("sport", FieldValue::U64(80)),
            ("daddr", text("fd00::2")),
            ("dport", FieldValue::U64(51_234)),
            ("reason", text("NO_SOCKET")),
        ];
        Event {
            id: EventId { run: 0x1f, seq: 42 },
            unix_nanos: 1_795_262_400_123_456_789,
            node: "worker-3".into(),
            probe: "tcp_reset".into(),
            ty: "TCPRESET_NOSOCK".into(),
            scope: Some(Arc::new(Name { namespace: "shop".into(), pod: "web-1".into(), ..Name::default() })),
            peer: Some(Peer { namespace: "shop".into(), pod: "db-0".into(), container: "".into() }),
            fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            stack: Some(["kfree_skb+0x1 [veth]", "tcp_v4_rcv+0xa3"].map(Into::into).into()),
            repeats: Some(Repeats { count: 3, last_unix_nanos: 1_795_262_401_000_000_000 }),
        }
    }

    #[test]
    fn a_row_says_when_what_who_whence_where_and_why() {
        let want = [
            "11-21 12:00:00.123",
            "TCPRESET_NOSOCK",
            "shop/web-1",
            "10.0.0.1:80",
            "[fd00::2]:51234",
            "shop/db-0",
            "NO_SOCKET ×3",
            "000000000000001f-42",
            "protocol=TCP",
        ];
        assert_eq!(row(&reset()), want);
        let bare = Event { scope: None, peer: None, fields: vec![], repeats: None, ..reset() };
        assert_eq!(row(&bare).concat(), "11-21 12:00:00.123TCPRESET_NOSOCK000000000000001f-42");
    }

    #[test]
    fn the_columns_of_those_who_follow_stay_where_they_are_until_one_is_too_narrow() {
        let plain = |line: String| anstream::adapter::strip_str(&line).to_string();
        let (mut widths, mut row) = (WIDTHS, row(&reset()));
        let head = plain(line(&HEADS.map(str::to_owned), &mut widths, true));
        let at = |line: &str, text: &str| line.find(text).unwrap();
        let first = plain(line(&row, &mut widths, false));
        // Behind the last one nothing stands.
        assert_eq!((&widths[..8], at(&head, "WHO")), (&WIDTHS[..8], at(&first, "shop/web-1")));
        row[2] = "a-very-long-namespace/and-a-pod\u{1b}[2J".into();
        let wide = plain(line(&row, &mut widths, false));
        assert!(wide.contains("pod\\u{1b}[2J"), "{wide}");
        row[2] = "x".into();
        let after = plain(line(&row, &mut widths, false));
        assert_eq!(at(&after, "10.0.0.1"), at(&wide, "10.0.0.1"));
    }
}
