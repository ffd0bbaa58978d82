//! What kind each device is and where a veth's other end is, by rtnetlink. Asked seldom: that changes only when devices do.

use super::netlink::{ATTEMPTS, Netlink, PATIENCE};
use netsonde_core::{
    netlink::DumpError,
    proc::{
        Peers,
        link::{Devices, Dump, request},
    },
    scope::{Namespace, ScopeId},
};
use rustix::io::Errno;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long an answer is believed while the devices' names stay the same: one may be replaced by another of the same name.
const FRESH: Duration = Duration::from_secs(60);
/// Devices of the namespaces of the last collection.
#[derive(Debug, Default)]
pub(super) struct LinkCache(HashMap<ScopeId, Answer>);

#[derive(Debug)]
struct Answer {
    fingerprint: u64,
    asked: Instant,
    /// None: it could not be asked.
    devices: Option<Devices>,
}

impl Answer {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) < FRESH
    }
}

impl LinkCache {
    /// Forgets all namespaces but these.
    pub(super) fn keep(&mut self, namespaces: &[Namespace]) {
        if self.0.is_empty() {
            return;
        }
        let mut living: Vec<ScopeId> = namespaces.iter().map(|namespace| namespace.scope).collect();
        living.sort_unstable();
        self.0.retain(|scope, _| living.binary_search(scope).is_ok());
    }

    /// The devices of a namespace where they have this fingerprint; `ask` is called if they are not known or too old. None if it may not be
    /// asked.
    pub(super) fn get(
        &mut self,
        scope: ScopeId,
        fingerprint: u64,
        now: Instant,
        ask: impl FnOnce() -> Option<Devices>,
    ) -> Option<&Devices> {
        let is_same = |answer: &Answer| answer.fingerprint == fingerprint && answer.is_fresh(now);
        if !self.0.get(&scope).is_some_and(is_same) {
            self.0.insert(scope, Answer { fingerprint, asked: now, devices: ask() });
        }
        self.known(scope)
    }

    /// What `get` gave last of a namespace.
    pub(super) fn known(&self, scope: ScopeId) -> Option<&Devices> {
        self.0.get(&scope)?.devices.as_ref()
    }

    /// The pairs of veths, by all answers that are not too old: one may be of a namespace that could not be read this time.
    pub(super) fn peers(&self, now: Instant) -> Peers {
        let fresh = self.0.iter().filter(|(_, answer)| answer.is_fresh(now));
        Peers::new(fresh.filter_map(|(scope, answer)| Some((*scope, answer.devices.as_ref()?))))
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("ask rtnetlink for the devices: {0}")]
    Socket(#[from] Errno),
    #[error("ask rtnetlink for the devices: {0}")]
    Dump(#[from] DumpError),
}

/// All devices in the namespace of the calling thread.
pub(super) fn devices() -> Result<Devices, LinkError> {
    let mut netlink = Netlink::open(None, PATIENCE)?;
    let mut sequence = 1;
    loop {
        let mut dump = Dump::new(sequence);
        netlink.ask(&request(sequence), |datagram| Ok::<_, LinkError>(dump.take(datagram)?))?;
        match dump.finish() {
            Err(DumpError::Interrupted) if sequence < ATTEMPTS => sequence += 1,
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_core::proc::link::{Device, Veth};

    #[test]
    fn devices_are_asked_again_when_devices_change_or_time_has_passed() {
        let mut cache = LinkCache::default();
        let start = Instant::now();
        let mut asked = 0;
        let mut get = |scope, fingerprint, seconds| {
            let before = asked;
            cache.get(scope, fingerprint, start + Duration::from_secs(seconds), || {
                asked += 1;
                Some(Devices::new())
            });
            asked > before
        };
        for (scope, fingerprint, seconds, expected) in [
            (1, 7, 0, true),
            (1, 7, 59, false),
            (2, 7, 59, true),
            (1, 7, 60, true),
            (1, 8, 61, true),
            (1, 8, 62, false),
            (1, 7, 63, true),
        ] {
            assert_eq!(get(scope, fingerprint, seconds), expected, "scope {scope}, {fingerprint} at {seconds} s");
        }
        let namespace = Namespace { scope: 2, inode: 0, pids: vec![], path: None, host: false };
        cache.keep(&[namespace]);
        assert_eq!(cache.0.keys().collect::<Vec<_>>(), [&2]);
    }

    #[test]
    fn where_it_may_not_be_asked_it_is_not_asked_again_at_once() {
        let mut cache = LinkCache::default();
        let now = Instant::now();
        assert!(cache.get(1, 7, now, || None).is_none());
        assert!(cache.get(1, 7, now, || unreachable!("asked again")).is_none());
    }

    #[test]
    fn an_end_that_was_asked_too_long_ago_is_in_no_pair() {
        let end = |index, other| {
            let veth = Some(Veth { index, other, elsewhere: true });
            Some(Devices::from([(b"v".to_vec(), Device { kind: "veth".into(), veth })]))
        };
        let mut cache = LinkCache::default();
        let start = Instant::now();
        let second = start + Duration::from_secs(30);
        cache.get(1, 7, start, || end(7, 2));
        cache.get(2, 7, second, || end(2, 7));
        let peer = |now| cache.peers(now).of(2, Veth { index: 2, other: 7, elsewhere: true });
        assert_eq!(peer(second), Some(1));
        assert_eq!(peer(start + FRESH), None);
    }

    #[test]
    fn the_kernel_answers() {
        // Every namespace has `lo`, which has no kind.
        assert!(!devices().unwrap().contains_key(b"lo".as_slice()));
    }
}
