//! Lists of words: what each may be, and what is told of one that it may not be.

use super::{
    quantity::quoted,
    read::Reader,
    yaml::{Kind, Node},
};
use crate::nearest::did_you_mean;

/// Another system under whose names the agent serves metrics, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// What cAdvisor has of TCP and UDP, and a kubelet leaves at zero.
    Cadvisor,
    /// What cAdvisor has of devices, as every kubelet does.
    CadvisorTraffic,
}

impl Compat {
    pub const ALL: [Compat; 2] = [Compat::Cadvisor, Compat::CadvisorTraffic];

    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Compat::Cadvisor => "cadvisor",
            Compat::CadvisorTraffic => "cadvisor-traffic",
        }
    }

    /// The built-in probe that makes them.
    pub fn probe(self) -> &'static str {
        match self {
            Compat::Cadvisor => "cadvisor",
            Compat::CadvisorTraffic => "cadvisor_traffic",
        }
    }
}

/// Systems that people look for under `compat`.
const LATER: &[&str] = &["kubeskoop"];

/// Tables that a probe may ask only if its entry says so.
pub const GUARDED_TABLES: &[&str] = &["node.pods"];

impl Reader<'_> {
    /// The list under `compat`, which is called `name` in messages.
    pub(super) fn compat(&mut self, name: &str, nodes: &[Node]) -> Vec<Compat> {
        let words = self.words(name, nodes, &Compat::ALL.map(Compat::as_str), LATER);
        words.into_iter().filter_map(|word| Compat::ALL.into_iter().find(|compat| compat.as_str() == word)).collect()
    }

    /// The list under a probe's `allow`.
    pub(super) fn tables(&mut self, name: &str, nodes: &[Node]) -> Vec<String> {
        self.words(name, nodes, GUARDED_TABLES, &[]).into_iter().map(str::to_owned).collect()
    }

    /// Those of the `known` words that are in a list, in its order, each once.
    fn words(&mut self, name: &str, nodes: &[Node], known: &[&'static str], later: &[&str]) -> Vec<&'static str> {
        let there_are = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and ");
        let mut words = Vec::new();
        for node in nodes {
            let text = match &node.kind {
                Kind::Refused => continue,
                Kind::Text(text) => text.as_str(),
                _ => {
                    let found = node.found();
                    self.fault(node.at, format!("each item of `{name}` is a word, of {there_are}; found {found}"));
                    continue;
                }
            };
            match known.iter().find(|word| **word == text) {
                Some(word) if words.contains(word) => {
                    self.fault(node.at, format!("`{word}` is twice in `{name}`; remove one"));
                }
                Some(word) => words.push(*word),
                None if later.contains(&text) => {
                    self.fault(node.at, format!("`{text}` in `{name}` is not in this release; there is {there_are}"));
                }
                None => {
                    let near = did_you_mean(text, known.iter().copied());
                    let help = if near.is_empty() { format!("; there is {there_are}") } else { near };
                    self.fault(node.at, format!("unknown {} in `{name}`{help}", quoted(text)));
                }
            }
        }
        words
    }
}
