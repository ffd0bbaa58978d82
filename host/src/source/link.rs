//! What kind each device is, by rtnetlink. Asked seldom: kinds change only when devices do.

use super::netlink::{ATTEMPTS, Netlink, PATIENCE};
use netsonde_core::{
    netlink::DumpError,
    proc::{
        Kinds,
        link::{Dump, request},
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
/// Kinds of the namespaces of the last collection.
#[derive(Debug, Default)]
pub(super) struct KindCache(HashMap<ScopeId, Answer>);

#[derive(Debug)]
struct Answer {
    fingerprint: u64,
    asked: Instant,
    /// None: it could not be asked.
    kinds: Option<Kinds>,
}

impl KindCache {
    /// Forgets all namespaces but these.
    pub(super) fn keep(&mut self, namespaces: &[Namespace]) {
        if self.0.is_empty() {
            return;
        }
        let mut living: Vec<ScopeId> = namespaces.iter().map(|namespace| namespace.scope).collect();
        living.sort_unstable();
        self.0.retain(|scope, _| living.binary_search(scope).is_ok());
    }

    /// The kinds in a namespace whose devices have this fingerprint; `ask` is called if they are not known or too old. None if it may not
    /// be asked.
    pub(super) fn get(
        &mut self,
        scope: ScopeId,
        fingerprint: u64,
        now: Instant,
        ask: impl FnOnce() -> Option<Kinds>,
    ) -> Option<&Kinds> {
        let is_fresh =
            |answer: &Answer| answer.fingerprint == fingerprint && now.saturating_duration_since(answer.asked) < FRESH;
        if !self.0.get(&scope).is_some_and(is_fresh) {
            self.0.insert(scope, Answer { fingerprint, asked: now, kinds: ask() });
        }
        self.0.get(&scope)?.kinds.as_ref()
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("ask rtnetlink for the devices: {0}")]
    Socket(#[from] Errno),
    #[error("ask rtnetlink for the devices: {0}")]
    Dump(#[from] DumpError),
}

/// The kinds of all devices in the namespace of the calling thread.
pub(super) fn kinds() -> Result<Kinds, LinkError> {
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

    #[test]
    fn kinds_are_asked_again_when_devices_change_or_time_has_passed() {
        let mut cache = KindCache::default();
        let start = Instant::now();
        let mut asked = 0;
        let mut get = |scope, fingerprint, seconds| {
            let before = asked;
            cache.get(scope, fingerprint, start + Duration::from_secs(seconds), || {
                asked += 1;
                Some(Kinds::new())
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
        let mut cache = KindCache::default();
        let now = Instant::now();
        assert!(cache.get(1, 7, now, || None).is_none());
        assert!(cache.get(1, 7, now, || unreachable!("asked again")).is_none());
    }

    #[test]
    fn the_kernel_answers() {
        // Every namespace has `lo`, which has no kind.
        assert!(!kinds().unwrap().contains_key(b"lo".as_slice()));
    }
}
