//! One event with all that is known of it.

use super::table::plain;
use crate::cli::print::{self, HEAD, SOME};
use netsonde_core::event::{Event, Rfc3339};

pub(super) fn print(event: &Event) {
    print::out(&format!("{}  {}", print::paint(&print::printable(&event.ty), SOME), event.id));
    lines(event).iter().for_each(|line| print::out(line));
}

fn lines(event: &Event) -> Vec<String> {
    let mut parts = vec![("time", Rfc3339(event.unix_nanos).to_string())];
    if let Some(repeats) = &event.repeats {
        let last = Rfc3339(repeats.last_unix_nanos);
        parts.push(("repeats", format!("{} in all, the last at {last}", repeats.count)));
    }
    parts.extend([("node", event.node.to_string()), ("probe", event.probe.to_string())]);
    if let Some(name) = &event.scope {
        parts.extend(name.netns.iter().map(|netns| ("netns", netns.to_string())));
        let pod = [("namespace", &name.namespace), ("pod", &name.pod), ("container", &name.container)];
        let labels = name.labels.iter().map(|(label, value)| (&**label, value));
        let said = pod.into_iter().chain(labels).filter(|(_, text)| !text.is_empty());
        parts.extend(said.map(|(key, text)| (key, text.to_string())));
    }
    if let Some(peer) = &event.peer {
        let peer = [("peer_namespace", &peer.namespace), ("peer_pod", &peer.pod), ("peer_container", &peer.container)];
        let said = peer.into_iter().filter(|(_, text)| !text.is_empty());
        parts.extend(said.map(|(key, text)| (key, text.to_string())));
    }
    parts.extend(event.fields.iter().map(|(name, value)| (&**name, plain(value))));
    let width = parts.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let line = |(key, value): &(&str, String)| {
        let room = " ".repeat(width - key.len());
        format!("  {}{room}  {}", print::paint(&print::printable(key), HEAD), print::printable(value))
    };
    let mut lines: Vec<String> = parts.iter().map(line).collect();
    if let Some(stack) = &event.stack {
        lines.push(format!("  {}", print::paint("stack, innermost first", HEAD)));
        lines.extend(stack.iter().map(|frame| format!("    {}", print::printable(frame))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::events::table::tests::reset;

    #[test]
    fn all_that_is_known_stands_there_and_a_frame_a_line() {
        let lines = lines(&reset());
        let plain: Vec<String> = lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        let want = [
            "  time            2026-11-21T12:00:00.123456789Z",
            "  repeats         3 in all, the last at 2026-11-21T12:00:01.000000000Z",
            "  node            worker-3",
            "  probe           tcp_reset",
            "  namespace       shop",
            "  pod             web-1",
            "  peer_namespace  shop",
            "  peer_pod        db-0",
            "  protocol        TCP",
            "  saddr           10.0.0.1",
            "  sport           80",
            "  daddr           fd00::2",
            "  dport           51234",
            "  reason          NO_SOCKET",
            "  stack, innermost first",
            "    kfree_skb+0x1 [veth]",
            "    tcp_v4_rcv+0xa3",
        ];
        assert_eq!(plain, want);
    }
}
