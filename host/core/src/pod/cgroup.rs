//! Whose a cgroup is: pod and container stand in its path, written differently by each runtime and driver.
//!
//! Kubelets make one folder a pod, `podUID` (driver cgroupfs) or `kubepods-burstable-podUID.slice` (driver systemd, which writes `_` for
//! `-`), and runtimes one a container in it: `ID`, or `PREFIX-ID.scope`. Without Kubernetes there is only the latter. Inside, a container may
//! do as it likes: have folders of its own, or runtimes that make further containers.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

/// Who a cgroup belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Member {
    /// With dashes; of a static pod 32 digits without. None: no pod of Kubernetes.
    pub pod_uid: Option<String>,
    /// 64 hexadecimal digits. A pod's sandbox has a container's form, too: its id is that of the pod. None: what the pod's containers have
    /// in common, or what a runtime does for one of them.
    pub container: Option<String>,
}

/// Digits of a container's id, in all runtimes (256 bits).
const ID_DIGITS: usize = 64;

/// Where Podman puts its containers with the driver cgroupfs, as `libpod-ID`.
const PODMAN: &str = "libpod_parent";

/// Whom a cgroup belongs to, by its path; None: to no container. It may be relative to a cgroup namespace (`/../../...`), or stand in
/// a mount or a container.
///
/// The outermost pod owns, and of its containers the first below it: what a container makes inside of itself is its own. Around a pod there
/// may be containers, as a node may be one (kind, minikube): they are not looked at. Without a pod the outermost container owns.
pub fn member(path: &str) -> Option<Member> {
    let (mut outermost, mut before) = (None, "");
    let mut components = path.split('/');
    while let Some(component) = components.next() {
        if let Some((uid, within)) = pod(component) {
            let container = within.or_else(|| components.find_map(container)).map(str::to_owned);
            return Some(Member { pod_uid: Some(uid), container });
        }
        // What has only an id there is one of Podman's own pods, with containers in it.
        if before != PODMAN || !is_id(component) {
            outermost = outermost.or_else(|| container(component));
        }
        before = component;
    }
    outermost.map(|id| Member { pod_uid: None, container: Some(id.to_owned()) })
}

/// The path to take of what `/proc/PID/cgroup` says: one that names a pod, else a container, else that of version 2, else the first one. Where
/// runtimes use version 1, the process is often somewhere else in version 2, such as in the runtime's own cgroup.
pub fn of_proc(text: &str) -> Option<&str> {
    /// The better, the greater.
    fn worth(hierarchy: &str, path: &str) -> u8 {
        match member(path) {
            Some(Member { pod_uid: Some(_), .. }) => 3,
            Some(_) => 2,
            None => u8::from(hierarchy == "0"),
        }
    }
    let mut best: Option<(u8, &str)> = None;
    for line in text.lines() {
        // A path may have colons in it.
        let mut fields = line.splitn(3, ':');
        let (Some(hierarchy), Some(_), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let worth = worth(hierarchy, path);
        if best.is_none_or(|(other, _)| worth > other) {
            best = Some((worth, path));
        }
    }
    best.map(|(_, path)| path)
}

/// The path of a cgroup that a runtime tells of (`linux.cgroupsPath` of the OCI's runtime specification): a path, or systemd's
/// `SLICE:PREFIX:ID`, whose slices each lie in that of the name before the last dash.
pub fn of_runtime(told: &str) -> Cow<'_, str> {
    match slice_prefix_id(told).and_then(|(slice, prefix, id)| Some((slices(slice)?, prefix, id))) {
        Some((slices, "", id)) => format!("{slices}/{id}.scope").into(),
        Some((slices, prefix, id)) => format!("{slices}/{prefix}-{id}.scope").into(),
        None if told.starts_with('/') => told.into(),
        None => format!("/{told}").into(),
    }
}

fn slice_prefix_id(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.split(':');
    let three = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && !three.2.is_empty() && !text.contains('/')).then_some(three)
}

/// `/a.slice/a-b.slice` of `a-b.slice`.
fn slices(slice: &str) -> Option<String> {
    // The runtime's own default.
    let name = if slice.is_empty() { "system" } else { slice.strip_suffix(".slice")? };
    if name == "-" {
        return Some(String::new());
    }
    if name.split('-').any(str::is_empty) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Some(ends.map(|end| format!("/{}.slice", &name[..end])).collect())
}

/// The uid of the pod that this component of a path is of, and the id of its container if that is in the same.
fn pod(component: &str) -> Option<(String, Option<&str>)> {
    // A driver of the one kind, a runtime of the other: `SLICE:PREFIX:ID` as the name of one folder.
    if let Some((slice, _, id)) = slice_prefix_id(component) {
        return Some((pod(slice)?.0, is_id(id).then_some(id)));
    }
    let name = component.strip_suffix(".slice").unwrap_or(component);
    let (before, uid) = name.rsplit_once("pod")?;
    let alone = before.is_empty() || before.ends_with('-');
    (alone && is_uid(uid)).then(|| (uid.replace('_', "-"), None))
}

/// Whether it is a uid (RFC 9562), with `_` for `-` or not, or that of a static pod: the digest of its manifest, as 32 digits.
fn is_uid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut groups = text.split(['-', '_']);
    let grouped = GROUPS.iter().all(|&digits| groups.next().is_some_and(|group| is_hex(group, digits)));
    grouped && groups.next().is_none() || is_hex(text, 32)
}

/// The id of the container that this component of a path is of: `ID`, `PREFIX-ID`, `PREFIX-ID.scope`, or `SLICE:PREFIX:ID`.
fn container(component: &str) -> Option<&str> {
    if let Some((_, _, id)) = slice_prefix_id(component) {
        return is_id(id).then_some(id);
    }
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let (prefix, id) = name.rsplit_once('-').unwrap_or(("", name));
    // The process that watches a container is none of it: `crio-conmon-ID.scope`, `libpod-conmon-ID.scope`.
    let watches = prefix == "conmon" || prefix.ends_with("-conmon");
    (is_id(id) && !watches).then_some(id)
}

fn is_id(text: &str) -> bool {
    is_hex(text, ID_DIGITS)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
