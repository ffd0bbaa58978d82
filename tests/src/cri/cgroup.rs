//! The cgroups of pods: in version 1, in version 2, or in both at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where pods of the class that asks for nothing have theirs, with the driver `cgroupfs`.
pub const PARENT: &str = "/kubepods/besteffort";

/// A mounted hierarchy, and its controllers; none of version 2.
fn hierarchies() -> Vec<(PathBuf, Vec<String>)> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let parse = |line: &str| {
        let (mount, of) = line.split_once(" - ")?;
        let place = PathBuf::from(mount.split(' ').nth(4)?);
        let mut of = of.split(' ');
        match of.next()? {
            "cgroup2" => Some((place, Vec::new())),
            "cgroup" => Some((place, of.nth(1)?.split(',').map(str::to_owned).collect())),
            _ => None,
        }
    };
    text.lines().filter_map(parse).collect()
}

/// The files that take a process into all cgroups of this one.
pub fn members_of(pid: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let hierarchies = hierarchies();
    let file = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let first = controllers.split(',').next().unwrap_or_default();
        let (place, _) = hierarchies.iter().find(|(_, have)| {
            if first.is_empty() { have.is_empty() } else { have.iter().any(|controller| controller == first) }
        })?;
        Some(place.join(path.trim_start_matches('/')).join("cgroup.procs"))
    };
    text.lines().filter_map(file).collect()
}

fn folders(uid: &str) -> impl Iterator<Item = PathBuf> {
    let path = format!("{}/pod{uid}", PARENT.trim_start_matches('/'));
    hierarchies().into_iter().map(move |(place, _)| place.join(&path)).filter(|folder| folder.is_dir())
}

/// All processes of a pod.
pub fn processes(uid: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    for folder in folders(uid) {
        each(&folder, &mut |folder| {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
        });
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Removes what the runtime leaves of a pod; the kubelet does that on a real node. Those with processes stay.
pub fn remove(uid: &str) {
    for folder in folders(uid) {
        each(&folder, &mut |folder| drop(fs::remove_dir(folder)));
    }
}

/// Removes what holds the pods, if nobody has one.
pub fn remove_parents() {
    for (place, _) in hierarchies() {
        let parent = place.join(PARENT.trim_start_matches('/'));
        let _ = fs::remove_dir(&parent);
        let _ = parent.parent().map(fs::remove_dir);
    }
}

/// The folders in there, and this one last.
fn each(folder: &Path, act: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            each(&entry.path(), act);
        }
    }
    act(folder);
}
