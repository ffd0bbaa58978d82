//! Which reasons to drop a packet are part of normal life, which are somebody's rule, and which are losses (rule 34).
//!
//! The names are those of `enum skb_drop_reason` without `SKB_DROP_REASON_`; what each means stands in the README. Decided from the comments
//! of include/net/dropreason-core.h and from the places that use them, as of Linux 6.18. When in doubt it is a loss, so the lists are short.

use netsonde_sdk::Result;
use std::collections::HashMap;

/// Nobody misses the packet.
pub const NORMAL: &[&str] = &[
    // Left over as a socket, a queue or a connection ends.
    "SOCKET_CLOSE",
    "QUEUE_PURGE",
    "TCP_CLOSE",
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
    // Here already.
    "DUP_FRAG",
    "TCP_OFOMERGE",
    "TCP_OFO_DROP",
    "TCP_OLD_DATA",
    "TCP_OLD_SEQUENCE",
    "TCP_RFC7323_PAWS_ACK",
    // For others.
    "IPV6_NDISC_NS_OTHERHOST",
    "OTHERHOST",
    // Dealt with, but freed by the function that is for drops: segments for TIME_WAIT, messages of nftables.
    "NOT_SPECIFIED@nfnetlink_rcv_batch",
    "NOT_SPECIFIED@tcp_v4_rcv",
    "NOT_SPECIFIED@tcp_v6_rcv",
    // QUEUE_PURGE and SOCKET_CLOSE before the kernel had these words (6.6, 6.14).
    "NOT_SPECIFIED@sk_stream_kill_queues",
    "NOT_SPECIFIED@skb_queue_purge",
    "NOT_SPECIFIED@unix_release_sock",
];

/// Somebody's rule said so.
pub const POLICY: &[&str] = &[
    "BPF_CGROUP_EGRESS",
    "NETFILTER_DROP",
    "SECURITY_HOOK",
    "SOCKET_FILTER",
    "TAP_FILTER",
    "TAP_TXFILTER",
    "TC_EGRESS",
    "TC_INGRESS",
    "XDP",
    "XFRM_POLICY",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Normal,
    Policy,
    Loss,
}

impl Class {
    pub fn label(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Policy => "policy",
            Self::Loss => "loss",
        }
    }
}

/// Class of each reason that is in a list, by place where the list names one.
#[derive(Default)]
pub struct Reasons(HashMap<String, Vec<(Option<String>, Class)>>);

impl Reasons {
    /// Reads the lists: `REASON` or `REASON@kernel_function`, also with `SKB_DROP_REASON_` before it, or a number as in `0x20003`.
    ///
    /// # Errors
    /// What cannot be a reason or a function; what is in both lists.
    pub fn new(normal: &[String], policy: &[String]) -> Result<Self> {
        let mut reasons = Self::default();
        for (setting, list, class) in [("normal", normal, Class::Normal), ("policy", policy, Class::Policy)] {
            for entry in list {
                let (reason, place) = parse(entry).ok_or_else(|| {
                    format!(
                        "settings: {setting}: `{entry}` is no reason: write it like NETFILTER_DROP, 0x20003, or \
                         NETFILTER_DROP@nf_hook_slow"
                    )
                })?;
                let have = reasons.0.entry(reason.to_owned()).or_default();
                match have.iter().find(|(other, _)| other.as_deref() == place) {
                    Some((_, other)) if *other != class => {
                        return Err(format!("settings: `{entry}` is in both lists, normal and policy"));
                    }
                    Some(_) => {}
                    None => have.push((place.map(str::to_owned), class)),
                }
            }
        }
        Ok(reasons)
    }

    /// Class of a drop: by its reason at this place if that is in a list, else by its reason, else a loss.
    pub fn class(&self, reason: Option<&str>, place: Option<&str>) -> Class {
        let Some(entries) = reason.and_then(|reason| self.0.get(reason)) else { return Class::Loss };
        // A symbol may come with the offset in it.
        let place = place.and_then(|place| place.split('+').next());
        let at = |wanted: Option<&str>| entries.iter().find(|(have, _)| have.as_deref() == wanted);
        at(place).or_else(|| at(None)).map_or(Class::Loss, |(_, class)| *class)
    }

    /// Names of the reasons that are normal wherever they happen, sorted: what a filter in the kernel can leave out.
    pub fn normal_names(&self) -> Vec<&str> {
        let everywhere = |entries: &[(Option<String>, Class)]| {
            entries.iter().any(|(place, _)| place.is_none()) && entries.iter().all(|(_, class)| *class == Class::Normal)
        };
        // A number has no name to filter by.
        let named = |&(reason, entries): &(&String, &Vec<_>)| !reason.starts_with("0x") && everywhere(entries);
        let mut names: Vec<&str> = self.0.iter().filter(named).map(|(reason, _)| reason.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// A reason without its prefix, and the place.
fn parse(entry: &str) -> Option<(&str, Option<&str>)> {
    let (reason, place) = match entry.split_once('@') {
        Some((reason, place)) => (reason, Some(place)),
        None => (entry, None),
    };
    let reason = reason.strip_prefix("SKB_DROP_REASON_").unwrap_or(reason);
    let is_name = reason.starts_with(|c: char| c.is_ascii_uppercase())
        && reason.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let is_number = reason.strip_prefix("0x").is_some_and(|digits| {
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    });
    let is_symbol = |place: &str| {
        !place.is_empty() && place.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'))
    };
    ((is_name || is_number) && place.is_none_or(is_symbol)).then_some((reason, place))
}
