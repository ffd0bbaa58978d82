//! What `ss` says of the sockets of a namespace.

use crate::netns::Netns;
use std::collections::BTreeMap;

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub state: String,
    /// Of LISTEN: connections that wait to be accepted, and how many may. Else bytes.
    pub receive_queue: u64,
    pub send_queue: u64,
    /// As it is printed.
    pub local: String,
    /// With `-m`: the values of `skmem`, by name.
    pub memory: BTreeMap<String, u64>,
    /// With `-i`: bytes that wait to be sent for the first time.
    pub not_sent: u64,
    /// With `-i`: whether it is a part of an MPTCP connection.
    pub carries_mptcp: bool,
    /// With `-e`: of the file that holds it; 0 without one.
    pub inode: u64,
    /// With `-o`: what its timer is for; empty without one.
    pub timer: String,
}

/// The sockets that `ss` shows with these options.
pub fn sockets(netns: &Netns, options: &[&str]) -> Vec<Socket> {
    let text = netns.run("ss", &[&["-H", "-O", "-n"], options].concat());
    let socket = |line: &str| parse(line).unwrap_or_else(|| panic!("no socket: {line}"));
    text.lines().filter(|line| !line.trim().is_empty()).map(socket).collect()
}

fn parse(line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    // Some kinds have a column before the state.
    let queue = words.iter().position(|word| word.parse::<u64>().is_ok())?;
    let behind = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
    let number = |key: &str| behind(key).map_or(Some(0), |number| number.parse().ok());
    Some(Socket {
        state: (*words.get(queue.checked_sub(1)?)?).to_owned(),
        receive_queue: words[queue].parse().ok()?,
        send_queue: words.get(queue + 1)?.parse().ok()?,
        local: (*words.get(queue + 2)?).to_owned(),
        memory: memory(&words).unwrap_or_default(),
        not_sent: number("notsent:")?,
        carries_mptcp: behind("tcp-ulp-mptcp").is_some(),
        inode: number("ino:")?,
        timer: behind("timer:(").and_then(|timer| timer.split(',').next()).unwrap_or_default().to_owned(),
    })
}

/// Of `skmem:(r0,rb131072,...)`.
fn memory(words: &[&str]) -> Option<BTreeMap<String, u64>> {
    let values = words.iter().find_map(|word| word.strip_prefix("skmem:("))?.strip_suffix(')')?;
    let value = |text: &str| {
        let digits = text.find(|char: char| char.is_ascii_digit())?;
        Some((text[..digits].to_owned(), text[digits..].parse().ok()?))
    };
    values.split(',').map(value).collect()
}
