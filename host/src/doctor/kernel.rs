//! The kernel's release and architecture.

use super::Check;

/// The first release with a BPF ring buffer, into which streams write.
const RING: (u32, u32) = (5, 8);

pub fn look() -> Vec<Check> {
    let names = rustix::system::uname();
    let (release, machine) = (names.release().to_string_lossy(), names.machine().to_string_lossy());
    vec![judge(&release, &machine)]
}

fn judge(release: &str, machine: &str) -> Check {
    let found = format!("Linux {release}, {machine}");
    match version(release) {
        Some(version) if version >= RING => Check::good("release", found),
        Some(_) => Check::partly(
            "release",
            found,
            "hook.*: before Linux 5.8 there is no ring into which a tracepoint's rows could be written",
            "run a newer kernel; proc.* works on this one",
        ),
        None => Check::partly(
            "release",
            found,
            "nothing that is known: its number is not understood",
            "see what the self-test says",
        ),
    }
}

/// Major and minor number: `6.18.44-fc` is (6, 18).
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Of the running kernel.
pub(super) fn running() -> Option<(u32, u32)> {
    version(&rustix::system::uname().release().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn releases_are_compared_by_number() {
        for (release, expected) in [
            ("6.18.44-fc-v445", Some((6, 18))),
            ("5.10.0-28-amd64", Some((5, 10))),
            ("7.0-rc1", Some((7, 0))),
            ("6", None),
            ("", None),
            ("x.y", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn what_is_too_old_for_streams_says_so() {
        for (release, expected) in [
            ("5.7.19", Verdict::Partly),
            ("5.8.0", Verdict::Good),
            ("5.15.0-1-generic", Verdict::Good),
            ("10.0", Verdict::Good),
            ("unknown", Verdict::Partly),
        ] {
            assert_eq!(judge(release, "x86_64").verdict, expected, "{release}");
        }
    }
}
