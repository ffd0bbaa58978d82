//! The page about events names what there is, and nothing else.

use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../../../docs/events.md");

/// An event that has everything.
fn whole() -> Event {
    let labels = vec![("app".into(), "front".into())];
    let text = |text: &str| Arc::<str>::from(text);
    let name =
        Name { netns: Some(text("host")), namespace: text("shop"), pod: text("web-1"), container: text("web"), labels };
    let peer = Peer { namespace: text("shop"), pod: text("db-0"), container: text("db") };
    let repeats = Some(Repeats { count: 3, last_unix_nanos: 7 });
    let stack = Some([text("kfree_skb+0x1")].into());
    Event { scope: Some(Arc::new(name)), peer: Some(peer), stack, repeats, ..event(1) }
}

/// The words in backticks of a cell.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the table of members: the words of their first two cells.
fn rows() -> Vec<[Vec<String>; 2]> {
    let section = PAGE.split_once("\n## Members\n").unwrap().1.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(words);
        [cells.next().unwrap(), cells.next().unwrap()]
    })
    .collect()
}

#[test]
fn every_member_of_an_object_is_on_the_page_and_no_other() {
    let object: Value = serde_json::from_str(&json_of(&whole())).unwrap();
    let mut members: BTreeSet<String> = object.as_object().unwrap().keys().cloned().collect();
    members.extend(object["repeats"].as_object().unwrap().keys().map(|name| format!("repeats.{name}")));
    let told: BTreeSet<String> = rows().into_iter().flat_map(|[json, _]| json).collect();
    assert_eq!(told, members);
}

#[test]
fn every_key_of_a_line_is_on_the_page_and_no_other() {
    let line = line_of(&whole());
    let own = ["app", "sport"];
    let keys = line.trim_end().split(' ').map(|part| match part.split_once('=') {
        Some((key, _)) => key.to_owned(),
        None => part.split_inclusive(':').next().unwrap().to_owned(),
    });
    let keys: BTreeSet<String> = keys.filter(|key| !own.contains(&key.as_str())).collect();
    let told: BTreeSet<String> = rows().into_iter().flat_map(|[_, line]| line).collect();
    assert_eq!(told, keys);
}

#[test]
fn every_key_of_a_filter_is_on_the_page() {
    let section = PAGE.split_once("\n## Which ones\n").unwrap().1;
    for key in filter::Key::ALL.map(filter::Key::as_str).into_iter().chain(["after", "before"]) {
        assert!(section.contains(&format!("`{key}`")), "{key}");
    }
}
