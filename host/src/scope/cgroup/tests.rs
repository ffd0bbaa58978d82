use super::*;
use std::collections::HashMap;

const UID: &str = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f0";
const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Cgroups of a test, below a folder of its own that goes with it.
struct Made {
    cgroups: Cgroups,
    name: String,
}

impl Made {
    fn new(test: &str) -> Self {
        let cgroups = Cgroups::open(Path::new(ROOT), Path::new("/proc")).expect("this test needs cgroups of version 2");
        let made = Self { name: format!("netsonde-test-{test}-{}", std::process::id()), cgroups };
        made.make("");
        made
    }

    fn path(&self, below: &str) -> PathBuf {
        self.cgroups.root().join(&self.name).join(below)
    }

    /// Makes a folder below, and gives its number.
    fn make(&self, below: &str) -> u64 {
        let path = self.path(below);
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("make {}: {error}; run this test as root", path.display()));
        fs::metadata(path).unwrap().ino()
    }

    /// What a walk tells of these alone.
    fn walked(&self, numbers: &[u64]) -> HashMap<u64, Member> {
        let found = self.cgroups.walk().unwrap();
        let count = found.len();
        let all: HashMap<u64, Member> = found.into_iter().collect();
        assert_eq!(all.len(), count, "each is told once");
        all.into_iter().filter(|(number, _)| numbers.contains(number)).collect()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        fn remove(path: &Path) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path());
                }
            }
            let _ = fs::remove_dir(path);
        }
        remove(&self.path(""));
    }
}

/// An ordinary folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netsonde-cgroup-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn owner(uid: Option<&str>, id: Option<&str>) -> Member {
    Member { pod_uid: uid.map(str::to_owned), container: id.map(str::to_owned) }
}

#[test]
fn cgroups_of_pods_and_containers_are_found_by_number() {
    let made = Made::new("walk");
    let slice =
        format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
    let other = ID.replace('0', "9");
    let expected: HashMap<u64, Member> = [
        (slice.clone(), owner(Some(UID), None)),
        (format!("{slice}/cri-containerd-{ID}.scope"), owner(Some(UID), Some(ID))),
        (format!("{slice}/cri-containerd-{ID}.scope/docker/{other}"), owner(Some(UID), Some(ID))),
        (format!("docker/{other}"), owner(None, Some(&other))),
        (format!("docker/{other}/system.slice/ssh.service"), owner(None, Some(&other))),
    ]
    .into_iter()
    .map(|(path, owner)| (made.make(&path), owner))
    .collect();
    let nobodys = [made.make("system.slice/ssh.service"), made.make("kubepods.slice"), made.make("")];
    let numbers: Vec<u64> = expected.keys().copied().chain(nobodys).collect();
    assert_eq!(made.walked(&numbers), expected);
    fs::remove_dir(made.path(&format!("docker/{other}/system.slice/ssh.service"))).unwrap();
    let again = made.make(&format!("docker/{other}/system.slice/ssh.service"));
    assert!(!numbers.contains(&again), "a number is never used again");
    assert_eq!(made.walked(&[again])[&again], owner(None, Some(&other)));
}

#[test]
fn a_walk_has_bounds_and_tells_what_it_found_within_them() {
    let made = Made::new("bounds");
    let deep = (0..MAX_DEPTH).map(|level| level.to_string()).collect::<Vec<_>>().join("/");
    // The folder of the test is the first level.
    let seen = made.make(&format!("docker/{ID}/{}", &deep[..deep.rfind("/13").unwrap()]));
    assert!(!made.cgroups.walk_within(MAX_FOLDERS).unwrap().left_out);
    let beyond = made.make(&format!("docker/{ID}/{deep}"));
    let walk = made.cgroups.walk_within(MAX_FOLDERS).unwrap();
    let has = |number| walk.found.iter().any(|(found, _)| *found == number);
    assert!(walk.left_out && has(seen) && !has(beyond));
    let walk = made.cgroups.walk_within(2).unwrap();
    assert!(walk.left_out && walk.found.len() <= 2);
    assert_eq!(made.cgroups.walk_within(0).unwrap().found, []);
}

#[test]
fn a_folder_that_is_none_of_version_2_is_not_taken() {
    let folder = Folder::new("none");
    fs::create_dir_all(folder.0.join("unified")).unwrap();
    fs::create_dir_all(folder.0.join("proc/self")).unwrap();
    let error = Cgroups::open(&folder.0, &folder.0.join("proc")).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("find cgroups of version 2: they are neither at /"), "{text}");
    assert!(text.contains("who owns a socket is not known then"), "{text}");
    // Wherever the agent itself has mounted them.
    let mounted = Cgroups::open(&folder.0, Path::new("/proc")).expect("this test needs cgroups of version 2");
    assert_eq!(inode_of_hierarchy(mounted.root()), Some(mounted.inode));
    assert!(mounted.is_whole());
}

#[test]
fn a_hierarchy_that_has_gone_is_an_error_with_its_place() {
    let root = PathBuf::from("/sys/fs/cgroup/netsonde-was-never-here");
    let gone = Cgroups { root, inode: 1, warned: AtomicBool::new(false) };
    let text = gone.walk().unwrap_err().to_string();
    assert!(text.starts_with("list the cgroups in /sys/fs/cgroup/netsonde-was-never-here: No such file"), "{text}");
}

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
";

#[test]
fn mounts_are_found_in_what_the_kernel_tells() {
    for (text, expected) in [
        ("", &[] as &[&str]),
        (HYBRID, &["/sys/fs/cgroup/unified"]),
        (
            "27 23 0:25 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n30 23 0:25 /a /b\\040c\\134d rw - cgroup2 none rw\n",
            &["/sys/fs/cgroup", "/b c\\d"],
        ),
        ("27 23 0:25 / /cgroup2 rw - ext4 cgroup2 rw\nrubbish - cgroup2\n1 2 - cgroup2 x\n", &[]),
        ("1 1 0:1 / /a\\9\\ rw - cgroup2 x rw", &["/a\\9\\"]),
    ] {
        assert_eq!(mounts_of_version_2(text), expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn the_usual_places_go_first_and_the_whole_hierarchy_before_a_part() {
    let folder = Folder::new("places");
    let proc = folder.0.as_path();
    for (process, text) in [("1", HYBRID), ("self", "27 23 0:25 / /own rw - cgroup2 cgroup2 rw\n")] {
        fs::create_dir(proc.join(process)).unwrap();
        fs::write(proc.join(process).join("mountinfo"), text).unwrap();
    }
    let within = proc.join("1/root/sys/fs/cgroup/unified");
    let all = candidates(Path::new("/host"), proc);
    let expected =
        ["/host", "/host/unified", "/sys/fs/cgroup/unified", within.to_str().unwrap(), "/own"].map(PathBuf::from);
    assert_eq!(all, expected);
    for (inodes, chosen) in [
        ([Some(1), Some(1), None, None, None], Some(0)),
        ([None, Some(1), Some(1), None, None], Some(1)),
        ([Some(77), None, None, Some(1), None], Some(3)),
        ([None, None, None, Some(78), Some(77)], Some(3)),
        ([None; 5], None),
    ] {
        let inode = |path: &Path| inodes[expected.iter().position(|other| other == path).unwrap()];
        let found = choose(all.clone(), inode).map(|(path, _)| path);
        assert_eq!(found, chosen.map(|at: usize| expected[at].clone()), "{inodes:?}");
    }
}
