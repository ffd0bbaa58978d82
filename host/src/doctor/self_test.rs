//! The live self-test: resets and drops of known ports, in a network namespace made for it, have to arrive through the same programs as any
//! probe's rows, and have to be counted exactly.

mod acts;
mod loopback;
mod room;
mod watch;

use super::{Check, Outcome};
use crate::{
    bpf::{
        BpfError, LoadError,
        capability::{Capabilities, Capability},
    },
    source::hook::HookError,
};
use netsonde_core::table::{Catalogue, Hooks};
use rustix::io::Errno;
use std::path::Path;
use watch::{Expected, Watched};

/// Programs, a namespace, and a device that is brought up in it.
const NEEDED: [Capability; 4] = [Capability::Bpf, Capability::Perfmon, Capability::SysAdmin, Capability::NetAdmin];

const LOST: &str = "the proof that rows arrive; what is wrong with single parts stands above";

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// This node, or whoever runs this, does not let it run: nothing is wrong with the agent.
    #[error("{0}")]
    Skipped(String),
    #[error("{0}")]
    Failed(String),
}

impl From<BpfError> for Trouble {
    fn from(error: BpfError) -> Self {
        let text = error.to_string();
        if matches!(error, BpfError::MapNotPermitted { .. }) { Self::Skipped(text) } else { Self::Failed(text) }
    }
}

impl From<HookError> for Trouble {
    fn from(error: HookError) -> Self {
        let text = error.to_string();
        match error {
            HookError::Load(LoadError::NotPermitted { .. }) => Self::Skipped(text),
            _ => Self::Failed(text),
        }
    }
}

/// It was not wanted.
pub fn left_out(why: &str) -> (Vec<Check>, Outcome) {
    let check = Check::partly("rows", format!("left out: {why}"), LOST, "run it without that");
    (vec![check], Outcome::Skipped)
}

/// Runs it; takes some tenths of a second, or [`watch::PATIENCE`] if rows do not arrive.
pub fn run(proc_root: &Path, hooks: Hooks, capabilities: &Result<Capabilities, Errno>) -> (Vec<Check>, Outcome) {
    let missing = capabilities.as_ref().map_or_else(|_| Vec::new(), |there| there.missing(&NEEDED));
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|capability| capability.name()).collect();
        let names = names.join(", ");
        let check = Check::missing(
            "rows",
            format!("skipped: not there: {names}"),
            LOST,
            format!("run it with {names}, or as root"),
        );
        return (vec![check], Outcome::Skipped);
    }
    if let Hooks::Absent(why) = &hooks {
        let check = Check::missing("rows", format!("skipped: {why}"), LOST, "see BTF");
        return (vec![check], Outcome::Skipped);
    }
    let catalogue = Catalogue { hooks, ..Catalogue::default() };
    match watch::watch(proc_root, &catalogue) {
        Ok((netns, watched)) => {
            let namespace =
                Check::good("namespace", format!("net:[{netns}], made for the test; its only thread has ended"));
            let checks = std::iter::once(namespace).chain(checks(&watched)).collect();
            (checks, outcome(&watched))
        }
        Err(Trouble::Skipped(why)) => {
            let check = Check::missing("rows", format!("skipped: {why}"), LOST, "allow it what the message names");
            (vec![check], Outcome::Skipped)
        }
        Err(Trouble::Failed(why)) => (vec![failed("rows", why)], Outcome::Failed),
    }
}

fn failed(name: &str, found: String) -> Check {
    let lost = "trust in hook.*: rows or counts of probes may be missing, too";
    Check::missing(name, found, lost, "run it again on a quiet node; if it fails again, please report this with --json")
}

fn outcome(watched: &[Watched]) -> Outcome {
    let is_wrong =
        |one: &Watched| one.absent.is_none() && (one.unseen() > 0 || one.counted != one.expected.len() as u64);
    match (watched.iter().any(is_wrong), watched.iter().any(|one| one.absent.is_none())) {
        (true, _) => Outcome::Failed,
        (false, true) => Outcome::Passed,
        (false, false) => Outcome::Skipped,
    }
}

/// A check for each row that has to arrive, and one for the counts, of each table.
fn checks(watched: &[Watched]) -> Vec<Check> {
    let mut checks = Vec::new();
    for one in watched {
        let table = one.table;
        if let Some(why) = &one.absent {
            checks.push(Check::partly(
                table,
                format!("not tested: {why}"),
                "the proof that its rows arrive",
                "see tracepoints",
            ));
            continue;
        }
        checks.extend(one.expected.iter().map(|expected| row(table, expected, one.missed)));
        let all = one.expected.len() as u64;
        let found = format!("counted {} of {all}", one.counted);
        checks.push(match one.counted == all {
            true => Check::good(format!("{table} counts"), found),
            false => failed(&format!("{table} counts"), format!("{found}{}", missed(one.missed))),
        });
    }
    checks
}

fn row(table: &str, expected: &Expected, passed_over: u64) -> Check {
    let act = &expected.act;
    match &expected.seen {
        Some(seen) => {
            let found = format!("{act}: in the kernel after {:.1?}, here after {:.0?}", seen.in_kernel, seen.here);
            Check::good(table, found)
        }
        None => failed(table, format!("{act}: not seen within {:?}{}", watch::PATIENCE, missed(passed_over))),
    }
}

/// A program that interrupts itself is passed over by the kernel: on a very busy node that may be why.
fn missed(missed: u64) -> String {
    if missed == 0 {
        String::new()
    } else {
        format!("; the kernel passed {missed} runs over, as they interrupted another one")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::Verdict,
        acts::{Act, What},
        watch::Seen,
        *,
    };
    use std::{net::Ipv4Addr, time::Duration};

    fn watched(seen: &[bool], counted: u64) -> Watched {
        let expected = |&seen: &bool| Expected {
            act: Act { what: What::Datagram, address: Ipv4Addr::LOCALHOST.into(), from: 1, to: 2, at: 0 },
            seen: seen.then_some(Seen { in_kernel: Duration::from_micros(30), here: Duration::from_millis(110) }),
        };
        let expected = seen.iter().map(expected).collect();
        Watched { table: "hook.kfree_skb", absent: None, expected, counted, missed: 0 }
    }

    #[test]
    fn it_passes_only_if_every_row_was_seen_and_each_was_counted_once() {
        let absent = Watched { absent: Some("no such tracepoint".into()), ..watched(&[], 0) };
        for (all, expected) in [
            (vec![watched(&[true, true], 2)], Outcome::Passed),
            (vec![watched(&[true, false], 2)], Outcome::Failed),
            (vec![watched(&[true, true], 1)], Outcome::Failed),
            (vec![watched(&[true, true], 3)], Outcome::Failed),
            (vec![absent.clone(), watched(&[true], 1)], Outcome::Passed),
            (vec![absent.clone(), watched(&[false], 1)], Outcome::Failed),
            (vec![absent], Outcome::Skipped),
        ] {
            assert_eq!(outcome(&all), expected, "{all:?}");
            let all_good = checks(&all).iter().all(|check| check.verdict != Verdict::Missing);
            assert_eq!(all_good, expected != Outcome::Failed, "{all:?}");
        }
    }

    #[test]
    fn what_was_done_and_when_it_came_is_told() {
        let found: Vec<String> = checks(&[watched(&[true, false], 1)]).into_iter().map(|check| check.found).collect();
        assert!(found[0].ends_with("in the kernel after 30.0µs, here after 110ms"), "{}", found[0]);
        assert!(found[1].contains("not seen within 5s"), "{}", found[1]);
        assert_eq!(found[2], "counted 1 of 2");
        assert!(missed(3).contains("passed 3 runs over"));
    }
}
