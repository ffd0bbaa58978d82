//! The end of a runtime, by force: of all that its folder proves to be its own, whatever state it is in.

use super::cgroup;
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// In a runtime's folder: an empty file for each pod that was ever made, by uid.
pub const UIDS: &str = "uids";
/// Holds the name of its node's network namespace.
pub const NODE: &str = "node";

/// What the CNI's library keeps of each network that it has set up, wherever the runtime's folder is.
const NETWORKS: &str = "/var/lib/cni/results";

/// Ends all processes and removes all that was made, but the folder itself.
pub fn tear_down(folder: &Path) {
    let bundles = bundles(folder);
    let uids: Vec<String> = names(&folder.join(UIDS));
    // In this order nothing is there any more that would make new ones.
    kill(&processes_that_name(folder));
    let began = Instant::now();
    loop {
        let left: Vec<u32> = uids.iter().flat_map(|uid| cgroup::processes(uid)).collect();
        if left.is_empty() || began.elapsed() > Duration::from_secs(5) {
            break;
        }
        kill(&left);
        thread::sleep(Duration::from_millis(20));
    }
    uids.iter().for_each(|uid| cgroup::remove(uid));
    unmount_all(folder);
    for netns in networks_of(&uids) {
        remove_netns(&netns);
    }
    for bundle in &bundles {
        if let Some(netns) = netns_of(bundle) {
            remove_netns(&netns);
        }
        // Where the shim listened; it is not in our folder, whatever we tell the runtime.
        let address = fs::read_to_string(bundle.join("address")).unwrap_or_default();
        if let Some(path) = address.trim().strip_prefix("unix://") {
            let _ = fs::remove_file(path);
        }
    }
    if let Ok(node) = fs::read_to_string(folder.join(NODE)) {
        let _ = Command::new("ip").args(["netns", "del", &node]).output();
    }
}

/// Ends what earlier runs left that had no time for it: their process is no more.
pub fn sweep(prefix: &str) {
    for name in names(&std::env::temp_dir()) {
        let pid = name.strip_prefix(prefix).and_then(|rest| rest.split('-').find(|part| !part.is_empty()));
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            let folder = std::env::temp_dir().join(name);
            tear_down(&folder);
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What the runtime keeps of each container and sandbox that it has started.
fn bundles(folder: &Path) -> Vec<PathBuf> {
    let tasks = folder.join("run/io.containerd.runtime.v2.task/k8s.io");
    names(&tasks).into_iter().map(|name| tasks.join(name)).collect()
}

/// The file that holds a sandbox's network namespace, if the runtime has made it one.
fn netns_of(bundle: &Path) -> Option<PathBuf> {
    let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).ok()?).ok()?;
    let spaces = config["linux"]["namespaces"].as_array()?;
    let path = spaces.iter().find(|space| space["type"] == "network")?["path"].as_str()?;
    path.contains("/netns/cni-").then(|| path.into())
}

/// Removes what the CNI remembers of these pods, and gives the files of their network namespaces.
fn networks_of(uids: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names(Path::new(NETWORKS)) {
        let file = Path::new(NETWORKS).join(name);
        let text = fs::read_to_string(&file).unwrap_or_default();
        if uids.iter().any(|uid| text.contains(uid.as_str())) {
            let network: Value = serde_json::from_str(&text).unwrap_or_default();
            let interfaces = network["result"]["interfaces"].as_array().cloned().unwrap_or_default();
            found.extend(interfaces.iter().filter_map(|interface| interface["sandbox"].as_str()).map(PathBuf::from));
            let _ = fs::remove_file(&file);
        }
    }
    found
}

fn remove_netns(file: &Path) {
    if file.exists() {
        let _ = Command::new("umount").arg("-l").arg(file).output();
        let _ = fs::remove_file(file);
    }
}

/// The runtime and its shims: their command lines name a file of the folder.
fn processes_that_name(folder: &Path) -> Vec<u32> {
    let ours = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        let is_one = Path::new(OsStr::from_bytes(program)).file_name().is_some_and(|name| {
            let name = name.as_bytes();
            name == b"containerd" || name.starts_with(b"containerd-shim")
        });
        is_one && words.any(|word| Path::new(OsStr::from_bytes(word)).starts_with(folder))
    };
    names(Path::new("/proc")).iter().filter_map(|name| name.parse().ok()).filter(ours).collect()
}

fn kill(pids: &[u32]) {
    if !pids.is_empty() {
        let _ = Command::new("kill").arg("-KILL").args(pids.iter().map(u32::to_string)).output();
    }
}

/// What is mounted below the folder, the latest first.
fn unmount_all(folder: &Path) {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    for place in places.iter().rev().filter(|place| Path::new(place).starts_with(folder)) {
        let _ = Command::new("umount").args(["-l", place]).output();
    }
}
