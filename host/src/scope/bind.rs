//! Which network namespace is a pod's own: the file that the runtime names holds it, or its process is in it.

use super::netns::{NSFS_MAGIC, process_netns_inode};
use netsonde_core::{
    pod::{By, Network, Pod, cgroup},
    scope::FoundNetns,
};
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where pods' namespaces are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    pub proc_root: &'a Path,
    /// Where `/run/netns` of the node is.
    pub netns_folder: &'a Path,
}

/// Pods by the inode of their own namespace, as it is now.
pub type Bindings = HashMap<u64, (Arc<Pod>, By)>;

impl Lookup<'_> {
    /// Looks for the namespaces of these pods. One whose namespace cannot be seen is left out.
    pub fn bindings(&self, pods: &[Arc<Pod>]) -> Bindings {
        let binding = |pod: &Arc<Pod>| self.inode(pod).map(|(inode, by)| (inode, (pod.clone(), by)));
        pods.iter().filter_map(binding).collect()
    }

    fn inode(&self, pod: &Pod) -> Option<(u64, By)> {
        let Network::Own { path, pid } = &pod.network else { return None };
        let of_file = path.as_deref().and_then(|path| self.files(path).find_map(|file| held(&file)));
        let of_process = || Some((self.of_process(pod, (*pid)?)?, By::Process));
        of_file.map(|inode| (inode, By::File)).or_else(of_process)
    }

    /// The file, and where it is if the agent is in a container that sees the node's folder elsewhere.
    fn files<'p>(&self, path: &'p Path) -> impl Iterator<Item = PathBuf> + use<'p> {
        let is_usual = ["/run/netns", "/var/run/netns"].iter().any(|folder| path.parent() == Some(Path::new(folder)));
        let here = path.file_name().filter(|_| is_usual).map(|name| self.netns_folder.join(name));
        [path.to_owned()].into_iter().chain(here)
    }

    /// Numbers of processes are used again: it must be one of the pod's.
    fn of_process(&self, pod: &Pod, pid: u32) -> Option<u64> {
        let text = fs::read_to_string(self.proc_root.join(pid.to_string()).join("cgroup")).ok()?;
        let member = cgroup::of_proc(&text).and_then(cgroup::member)?;
        let is_its = (!pod.uid.is_empty() && member.pod_uid.as_deref() == Some(&pod.uid))
            || member.container.is_some_and(|id| id == pod.id);
        is_its.then(|| process_netns_inode(self.proc_root, pid)).flatten()
    }
}

/// The inode of the namespace that a file holds.
fn held(file: &Path) -> Option<u64> {
    let system = rustix::fs::statfs(file).ok()?;
    (u64::try_from(system.f_type) == Ok(NSFS_MAGIC)).then(|| fs::metadata(file).ok())?.map(|file| file.ino())
}

/// Tells namespaces their pods. A pod counts only if it had the same namespace before and after they were found: an inode may be used again.
pub fn attach(found: &mut [FoundNetns], before: Bindings, after: &Bindings) {
    for found in found.iter_mut().filter(|found| !found.host) {
        let same = before.get(&found.inode).zip(after.get(&found.inode)).filter(|((a, _), (b, _))| a.id == b.id);
        found.pod = same.map(|(found, _)| found.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_core::pod::Source;
    use std::time::Duration;

    fn pod(id: &str, path: Option<&str>, pid: Option<u32>) -> Arc<Pod> {
        Arc::new(Pod {
            id: id.into(),
            source: Source::Cri,
            namespace: "shop".into(),
            name: id.into(),
            uid: String::new(),
            labels: vec![],
            annotations: vec![],
            network: Network::Own { path: path.map(PathBuf::from), pid },
            ips: vec![],
            created_unix: Duration::ZERO,
            ready: true,
            containers: vec![],
            cgroup: None,
            image: None,
        })
    }

    fn inodes(pods: &[Arc<Pod>]) -> Vec<u64> {
        let lookup = Lookup { proc_root: Path::new("/proc"), netns_folder: Path::new("/proc/self/ns") };
        lookup.bindings(pods).into_keys().collect()
    }

    #[test]
    fn a_namespace_is_found_by_its_file_here_or_in_the_nodes_folder_and_not_by_any_other_file() {
        let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert_eq!(inodes(&[pod("a", Some("/proc/self/ns/net"), None)]), [own]);
        assert_eq!(inodes(&[pod("a", Some("/var/run/netns/net"), None)]), [own], "in the folder of names");
        for path in ["/etc/passwd", "/no/such", "/elsewhere/net"] {
            assert!(inodes(&[pod("a", Some(path), None)]).is_empty(), "{path}");
        }
        let foreign = std::process::id();
        assert!(inodes(&[pod("a", None, Some(foreign))]).is_empty(), "that process is none of the pod's");
    }

    #[test]
    fn rule_29_a_pod_whose_namespace_changed_during_the_walk_is_not_taken() {
        let (a, b) = (pod("a", None, None), pod("b", None, None));
        let netns = |inode, host| FoundNetns { inode, host, ..FoundNetns::default() };
        let mut found = [netns(11, false), netns(12, false), netns(13, true), netns(14, false)];
        let by = |pod: &Arc<Pod>| (pod.clone(), By::File);
        let before = Bindings::from([(11, by(&a)), (12, by(&a)), (13, by(&a))]);
        let after = Bindings::from([(11, by(&a)), (12, by(&b)), (13, by(&a)), (14, by(&b))]);
        attach(&mut found, before, &after);
        let pods: Vec<Option<&str>> = found.iter().map(|found| found.pod.as_ref().map(|(pod, _)| &*pod.id)).collect();
        assert_eq!(pods, [Some("a"), None, None, None], "the node's is nobody's");
    }
}
