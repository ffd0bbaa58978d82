//! Where the other ends of veths are: one says the other's number and that it is in another namespace, but not in which one.
//!
//! The kernel does have names for namespaces (`nsid`), but each namespace its own. So a pair is two ends that say each other's number.

use super::link::{Devices, Veth};
use crate::scope::ScopeId;

/// The ends of all namespaces of one collection.
#[derive(Debug, Default)]
pub struct Peers {
    /// Sorted.
    ends: Vec<End>,
}

/// Whether the other end is in another namespace, its own number, the other one's, and where it is.
type End = (bool, u32, u32, ScopeId);

impl Peers {
    /// Those of these namespaces. One that is missing here is nobody's peer.
    pub fn new<'a>(namespaces: impl IntoIterator<Item = (ScopeId, &'a Devices)>) -> Self {
        let of = |(scope, devices): (ScopeId, &'a Devices)| {
            let veths = devices.values().filter_map(|device| device.veth);
            veths.map(move |veth| (veth.elsewhere, veth.index, veth.other, scope))
        };
        let mut ends: Vec<End> = namespaces.into_iter().flat_map(of).collect();
        ends.sort_unstable();
        Self { ends }
    }

    /// The namespace of the other end of `veth`, which is in `scope`. None if it is in no namespace that is known, or could be in several
    /// (containers within containers may have the same numbers).
    pub fn of(&self, scope: ScopeId, veth: Veth) -> Option<ScopeId> {
        let Veth { index, other, elsewhere } = veth;
        if !elsewhere {
            return self.ends.binary_search(&(false, other, index, scope)).is_ok().then_some(scope);
        }
        let there = self.only(other, index, scope)?;
        // Another one that could be the pair of that end is as good as this one.
        (self.only(index, other, there)? == scope).then_some(there)
    }

    /// The only namespace but `here` with an end of these numbers.
    fn only(&self, index: u32, other: u32, here: ScopeId) -> Option<ScopeId> {
        let first = self.ends.partition_point(|end| *end < (true, index, other, 0));
        let same = self.ends[first..].iter().take_while(|end| (end.0, end.1, end.2) == (true, index, other));
        let mut scopes = same.map(|end| end.3).filter(|&scope| scope != here);
        scopes.next().filter(|_| scopes.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::link::Device;

    fn elsewhere(index: u32, other: u32) -> Veth {
        Veth { index, other, elsewhere: true }
    }

    fn here(index: u32, other: u32) -> Veth {
        Veth { index, other, elsewhere: false }
    }

    fn peers(ends: &[(ScopeId, Veth)]) -> Peers {
        let devices = |veth: Veth| {
            let device = Device { kind: "veth".into(), veth: Some(veth) };
            Devices::from([(format!("v{}", veth.index).into_bytes(), device), (b"br0".to_vec(), bridge())])
        };
        let namespaces: Vec<(ScopeId, Devices)> = ends.iter().map(|(scope, veth)| (*scope, devices(*veth))).collect();
        Peers::new(namespaces.iter().map(|(scope, devices)| (*scope, devices)))
    }

    fn bridge() -> Device {
        Device { kind: "bridge".into(), veth: None }
    }

    #[test]
    fn a_pair_is_two_ends_that_say_each_others_number() {
        for (what, ends, expected) in [
            // The host is 1. Every pod's end has the number 2.
            (
                "a node",
                &[(1, elsewhere(7, 2)), (1, elsewhere(9, 2)), (5, elsewhere(2, 7)), (6, elsewhere(2, 9))][..],
                &[Some(5), Some(6), Some(1), Some(1)][..],
            ),
            ("equal numbers", &[(1, elsewhere(2, 2)), (5, elsewhere(2, 2))], &[Some(5), Some(1)]),
            ("equal numbers, three", &[(1, elsewhere(2, 2)), (5, elsewhere(2, 2)), (6, elsewhere(2, 2))], &[None; 3]),
            ("within one namespace", &[(5, here(2, 3)), (5, here(3, 2)), (6, here(2, 4))], &[Some(5), Some(5), None]),
            ("the other end is not known", &[(1, elsewhere(7, 2)), (5, elsewhere(2, 8)), (6, here(2, 7))], &[None; 3]),
            ("itself is not its other end", &[(1, elsewhere(7, 2)), (1, elsewhere(2, 7))], &[None; 2]),
            (
                "the same numbers in two nodes within this one",
                &[(5, elsewhere(3, 2)), (6, elsewhere(3, 2)), (7, elsewhere(2, 3)), (8, elsewhere(2, 3))],
                &[None; 4],
            ),
            (
                "the same numbers, and one end is not known: 7 is of 5 or of 6",
                &[(5, elsewhere(3, 2)), (6, elsewhere(3, 2)), (7, elsewhere(2, 3))],
                &[None; 3],
            ),
        ] {
            let peers = peers(ends);
            let found: Vec<Option<ScopeId>> = ends.iter().map(|(scope, veth)| peers.of(*scope, *veth)).collect();
            assert_eq!(found, expected, "{what}");
        }
    }
}
