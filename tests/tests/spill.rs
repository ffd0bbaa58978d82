//! Sinks that cannot take events: what waits on disk outlives the agent, and arrives in its order.

use netsonde_tests::{
    Folder,
    agent::Agent,
    netns::{Pair, run},
    traffic::Peer,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

const SERVER: &str = "10.199.0.2";
const WAITING: &str = "netsonde_sink_waiting";
const FILE: &[(&str, &str)] = &[("sink", "file")];

/// An agent that writes to this file, and spills into this folder.
fn agent(file: &Path, spill: &Path) -> Agent {
    let (file, spill) = (file.display(), spill.display());
    let agent = Agent::start(&format!(
        "node: node-7\nprobes: {{ tcp_reset: {{}} }}\nspill: {{ folder: {spill} }}\nsinks: [ {{ file: {{ path: {file} }} }} ]"
    ));
    agent.until_attached(4);
    agent
}

/// The ids of the refusals of this namespace in a text of JSON lines, of which the last may be written right now.
fn ids(text: &str, netns: &str) -> Vec<String> {
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let wanted = events.filter(|event| event["type"] == "TCPRESET_NOSOCK" && event["netns"] == netns);
    wanted.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn told(agent: &Agent, netns: &str, count: usize) -> Vec<String> {
    agent.wait_until("the events are there", |agent| agent.events_of("TCPRESET_NOSOCK", netns).len() == count);
    let events = agent.events_of("TCPRESET_NOSOCK", netns);
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn rule_16_what_was_spilled_arrives_after_a_kill_and_a_moved_file_is_opened_again() {
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    let mut client = Peer::new(&pair.a);
    let folder = Folder::new("spill");
    let (file, spill) = (folder.path().join("later/events.jsonl"), folder.path().join("spill"));

    let mut first = agent(&file, &spill);
    client.run(&format!("refused('{SERVER}', 4721, 20)"));
    let mut want = told(&first, b, 20);
    let segment = spill.join("file/0000000100000000.jsonl");
    first.wait_until("they are spilled", |_| {
        segments(&segment).iter().flat_map(|path| ids(&text(path), b)).count() == 20
    });
    let page = first.scrape();
    assert!(page.value(WAITING, FILE) >= 20.0);
    assert!(
        page.value("netsonde_sink_spill_bytes", FILE) > 0.0 && page.value("netsonde_sink_retries_total", FILE) > 0.0
    );
    assert!(first.log().contains("its folder must exist"), "{}", first.log());
    first.signal("KILL");
    first.wait();

    fs::create_dir(folder.path().join("later")).unwrap();
    let mut second = agent(&file, &spill);
    second.wait_until("what the first one left has arrived", |_| ids(&text(&file), b) == want);
    client.run(&format!("refused('{SERVER}', 4721, 5)"));
    want.extend(told(&second, b, 5));
    second.wait_until("so have its own", |_| ids(&text(&file), b) == want);
    second.wait_until("none waits", |agent| agent.page().value(WAITING, FILE) == 0.0);

    let moved = folder.path().join("later/moved");
    fs::rename(&file, &moved).unwrap();
    second.signal("HUP");
    second.wait_until("it has heard", |agent| agent.log().contains("opened anew"));
    client.run(&format!("refused('{SERVER}', 4721, 5)"));
    let all = told(&second, b, 10);
    second.wait_until("the new file has the new ones", |_| ids(&text(&file), b) == all[5..]);
    assert_eq!(ids(&text(&moved), b), want);
    second.signal("TERM");
    assert_eq!(second.wait(), Some(0));
}

/// Those beside this one.
fn segments(one: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(one.parent().unwrap()).map(|entries| entries.map(|entry| entry.unwrap().path()));
    let mut paths: Vec<_> = entries.map_or(Vec::new(), Iterator::collect);
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths
}

/// A small file system of its own.
struct Disk(PathBuf);

impl Disk {
    fn new(folder: &Folder) -> Self {
        let path = folder.path().join("disk");
        fs::create_dir(&path).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", path.to_str().unwrap()]);
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

#[test]
fn rule_17_events_wait_for_a_full_disk_and_are_there_once_when_it_has_room() {
    let pair = Pair::new();
    let b = pair.b.name.as_str();
    let mut client = Peer::new(&pair.a);
    let folder = Folder::new("spill");
    let disk = Disk::new(&folder);
    let (file, filler) = (disk.0.join("events.jsonl"), disk.0.join("filler"));
    let agent = agent(&file, &folder.path().join("spill"));
    client.run(&format!("refused('{SERVER}', 4722, 5)"));
    told(&agent, b, 5);
    agent.wait_until("the file has them", |_| ids(&text(&file), b).len() == 5);
    // All but one page.
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err(), "the disk is larger than it should be");
    client.run(&format!("refused('{SERVER}', 4722, 60)"));
    let want = told(&agent, b, 65);
    agent.wait_until("some wait", |agent| agent.page().value("netsonde_sink_retries_total", FILE) >= 1.0);
    assert!(ids(&text(&file), b).len() < 65);
    fs::remove_file(&filler).unwrap();
    agent.wait_until("all have arrived, once", |_| ids(&text(&file), b) == want);
    let whole = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    assert!(text(&file).lines().all(whole), "no line is torn");
}
