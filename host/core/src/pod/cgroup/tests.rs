//! Cgroups as they are on the known distributions: what `/proc/PID/cgroup` says of a process there, with made-up ids.

use super::*;

/// A file's name, its text, the pod's uid and the container's id.
type Fixture = (&'static str, &'static str, Option<&'static str>, Option<&'static str>);

macro_rules! fixtures {
    ($($name:literal: $uid:expr, $id:expr;)*) => { &[$(($name, include_str!(concat!($name, ".txt")), $uid, $id)),*] };
}

const CONTAINERS: &[Fixture] = fixtures! {
    "kubeadm_containerd_v2": Some("a4c123b1-612d-4d27-b2d1-371c17149d43"), Some("9536b3216fdaeeb975729fae923d5a4fd12aabfe228f219e9cb0eb53f16947cc");
    "kubeadm_static_pod_v2": Some("f25ec84d8dbc74254770f58904dba41e"), Some("cccc3fc1626e53a13043b026c48bbf33feff9243a8f506b40928b5b7a767c76f");
    "kubeadm_containerd_cgroupfs_hybrid": Some("b008f86b-ebb2-4737-bf6a-6f0fb23c6f5d"), Some("a2cec255404e4fb440034d6608697a8d41bed440e50454f31af3176813e02ea6");
    "gke_cos_v1": Some("8ef786e4-d3ce-4a27-bd26-934b484e73cf"), Some("575dcad6ba2b0aee0ca923732881584d8c4fa2815d2802827283e0ad84173581");
    "eks_al2_docker_v1": Some("569969e5-8b08-4100-b6f7-e3dfc967a64c"), Some("b14028d512c9791e558e08baa7196b50ac2f86702824c1c099724caf4941d407");
    "eks_al2023_v2": Some("2014b3ce-107f-480e-b222-f828767efc2f"), Some("91624a8940f1f836f99eee3692f09e2e8c662248b483b7ffc050fec94dbca3a0");
    "driver_mismatch_v1": Some("aac36098-b2cc-42bd-b818-319478da6bd0"), Some("c621de49f145fda9988c79fc35526f7eaed46725a2a7b860dcd6c8a1f8b46287");
    "bottlerocket_v2": Some("cced9041-dff0-42ce-be73-7443e2104719"), Some("48d33296c87009e8a7f770d9106fd287db7f1adbc60926f6967e7893f57fd14c");
    "openshift_v2": Some("1604d115-cea3-425a-b65e-19cbae530282"), Some("bd36cb9d21f6be6abf0d7c1c1e21862ab8a18a8902073fec8df4f50947aaeb26");
    "openshift_v1": Some("c57d21fa-5d32-4826-b3df-e574de739988"), Some("b886e7577496a2c8773e130f7eb19731662b5e803b61ba4168160adb59261ff2");
    "crio_conmon_v2": Some("d3c425c8-d99d-419b-bdd0-b6cc60d5d32c"), None;
    "k3s_v1": Some("e7ee5fc3-24bd-4b2e-b114-2a21c402364f"), Some("9572b85a8e48f687ab165c58ac5831be38cb8cb4ba2e751989a01749ddb14f71");
    "k3s_v2": Some("010b93b7-d946-4bf5-b407-4e3248c801be"), Some("f750110c57513064d6d59291f0cde2e5738713a818d8962058765a6ca7cff00d");
    "rke2_v2": Some("796c2541-0335-4b40-b014-1212b62c3766"), Some("31129f34369aad80b891baf90d0d3bf16295d06910bf3f5fb85967f532f3ab3c");
    "microk8s_v2": Some("c2d0b698-d5c7-4e41-bba4-ea5ee874ae76"), Some("89447ab57a683536c4499d863386ce10cd79e048c07dd7753eda83d7c58dfe0d");
    "talos_v2": Some("5a0cf318-656b-43e6-bf0b-ade65c3b188c"), Some("c102ddb8379c7ce65426f74bde94fb78c8d5f08b79affd2b49c12a4b00629834");
    "aks_ubuntu_v2": Some("75eb46c5-296f-462e-b338-d74ff1fe4f7f"), Some("505aef9ebdd25b001a3ff416d4a3baf69dad8199bfca8b6f3a6a9421cc1c9301");
    "kind_v1": Some("6f1c4261-e535-41d3-b0b4-9895d1a0d1f1"), Some("3dce20c4fd32f640d0032634f087e51b429fe8110102c995f1abef543b5dfce8");
    "kind_v2": Some("fb3be24a-0b80-4316-bf68-8d3e481a65c2"), Some("011bef2c328a72c5e5b77518b1018f134a069e3fab8c3bfc5e740e61572b4e3c");
    "kind_from_within_v2": Some("bd1d6854575622f856469602d1ba9f20"), Some("df4875b15b0be23b7ac193fe04072755398003680e7e3b35183ef8333c4774ec");
    "minikube_docker_v2": Some("50cd1c1b-ac7a-4dac-b1a4-b7d0b352ad60"), Some("74dce1118813830d71939b53182e4e349d98729e7c6be9ff907a76cc0b57aaf8");
    "minikube_podman_v2": Some("d0018f99ddceb1be0273dbc46dfcea25"), Some("bab29539ad5966d513b1d00909c30065f846d34530325fed10a47b851832b6ec");
    "docker_cgroupfs_v1": None, Some("2684ee75bb6cc69f67e48eb7c64328c0490c257a632b96292794c9bce4850bbd");
    "docker_systemd_v2": None, Some("0e7cb3593871c15d694c1957f8db03911731a6b2dc782bdeae16d4f618557871");
    "docker_systemd_hybrid": None, Some("5bbd26944ff770e4b9447a3d54ec6390bf61189639e35aeeb95210ef2a83fdf6");
    "docker_rootless_v2": None, Some("a0b29872400c49b5539ac5ba7b4b87113c16fdf5924754ec21ef66b01d4921da");
    "docker_in_docker_v2": None, Some("2e055c90eb6f2aed4c21a9dbf49a067e24bdb7ec83756378368f7e732d2e433e");
    "docker_in_pod_v2": Some("a4ff1125-cf5e-4c72-bba6-94165beaecba"), Some("0afa707e1448c828b4136d3b97429ab7bca1aafb77b4460ecec9524998a26259");
    "ecs_v1": None, Some("4642bbdb4a78f19e8b8480f3b47c20431658b4550b7ef6bce6a0302cb17cdc70");
    "podman_v2": None, Some("80a1e9ad8cdadc4ccd4078c763211caeae0ffac7cb2c8a2788fbf742b65b754e");
    "podman_pod_v2": None, Some("51acbd3d48c3bb9e28c9e3ef5404bf7bac806081598a878e2f264d9b1ecb19dd");
    "podman_cgroupfs_v1": None, Some("882ac89cd1997cd896416bef4ba6e1a02da187e966ece6615d3142f505f79654");
    "podman_pod_cgroupfs_v2": None, Some("63e3621d78ed41415e97a498a647c1ac49726e45dac31b3629fb0f26f89264f8");
    "podman_rootless_v2": None, Some("9c64773031f6725480dc3932677172a31659a2e50add127454b4667a20f1fa22");
    "podman_quadlet_v2": None, Some("61bd2b5ff4891e5dc9328776e7f1ccacc27ad909f03fdd9e4a62bce19a285ed7");
    "podman_systemd_in_it_v2": None, Some("361c5c8a4b57bc9fa65c00537e8b3c48d2ae89b9c1ffb013ce94e1af408461c5");
    "nerdctl_v2": None, Some("8790dd2cfb8a5f1b461595919cb589f6aec38bcacf836ed5a148fd28cbc938e0");
    "crio_without_parent_v2": None, Some("19bb8723d39553ccaccfab54d946a2d207dc684477391c94c8286793b2b023a6");
    "namespaced_v2": None, Some("0e4e81e11e3f79aa766907508db2823ccd71ba82f4dee6a63c59620e66869002");
    "namespaced_far_v2": Some("b6d08b5a-b931-45bd-b0e3-a34bff2aaf43"), Some("8c6b8068dc5d44036c002e162aaef6076bc3346eee21f5c7ff43fc2770c71736");
    "ended_v2": Some("01e1c771-d814-4e0f-b335-45a3c0202219"), Some("ec0605e636d32b32732b89994fa6022136ced620104d159e8489b0ac35e5fa87");
};

const OTHERS: &[Fixture] = fixtures! {
    "service_v2": None, None;
    "service_hybrid": None, None;
    "session_v2": None, None;
    "init_v2": None, None;
    "kernel_v2": None, None;
    "talos_runtime_v2": None, None;
    "bottlerocket_host_v2": None, None;
    "libpod_conmon_v2": None, None;
    "quadlet_runtime_v2": None, None;
    "lxc_v2": None, None;
    "nspawn_v2": None, None;
    "mount_v1": None, None;
};

fn whose(path: &str) -> Option<(Option<String>, Option<String>)> {
    member(path).map(|member| (member.pod_uid, member.container))
}

#[test]
fn processes_of_every_known_distribution() {
    for &(name, text, uid, id) in CONTAINERS {
        let path = of_proc(text).unwrap_or_else(|| panic!("{name} has no path"));
        let expected = Some((uid.map(str::to_owned), id.map(str::to_owned)));
        assert_eq!(whose(path), expected, "{name}: {path}");
    }
}

#[test]
fn processes_that_are_in_no_container() {
    for &(name, text, ..) in OTHERS {
        let path = of_proc(text).unwrap_or_else(|| panic!("{name} has no path"));
        assert_eq!(whose(path), None, "{name}: {path}");
        assert!(text.lines().any(|line| line.ends_with(path)), "{name}: {path}");
    }
}

#[test]
fn every_fixture_is_tested() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pod/cgroup");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = files.filter_map(|name| Some(name.strip_suffix(".txt")?.to_owned())).collect();
    for name in &names {
        assert!(CONTAINERS.iter().chain(OTHERS).any(|(known, ..)| known == name), "{name}");
    }
    assert_eq!(names.len(), CONTAINERS.len() + OTHERS.len());
}

const UID: &str = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f0";
const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

#[test]
fn folders_on_the_way_to_a_container_and_in_it() {
    let slice =
        format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
    let both = Some((Some(UID.to_owned()), Some(ID.to_owned())));
    for (path, expected) in [
        ("/".to_owned(), None),
        (String::new(), None),
        ("/kubepods.slice".to_owned(), None),
        ("/kubepods/burstable".to_owned(), None),
        ("/kubepods.slice/kubepods-burstable.slice".to_owned(), None),
        (slice.clone(), Some((Some(UID.to_owned()), None))),
        (format!("/kubepods/pod{UID}"), Some((Some(UID.to_owned()), None))),
        (format!("/kubepods/pod{UID}/kata_{ID}"), Some((Some(UID.to_owned()), None))),
        (format!("{slice}/cri-containerd-{ID}.scope"), both.clone()),
        (format!("{slice}/cri-containerd-{ID}.scope/system.slice/nginx.service"), both.clone()),
        (format!("{slice}/crio-{ID}"), both.clone()),
        (format!("kubepods/kubepods-besteffort/kubepods-besteffort-pod{}/{ID}", UID.replace('-', "_")), both.clone()),
        (format!("/kubepods/pod{UID}/{ID}/kube-proxy"), both.clone()),
        // What a container makes inside of itself is its own.
        (format!("/kubepods/pod{UID}/{ID}/docker/{OTHER}"), both.clone()),
        (format!("/kubepods/pod{UID}/{ID}/kubepods/pod{}/{OTHER}", UID.replace('0', "9")), both.clone()),
        (format!("/sys/fs/cgroup/kubepods/pod{UID}/{ID}"), both.clone()),
        (format!("/docker/{OTHER}/kubepods/pod{UID}/{ID}"), both),
        (format!("/docker/{ID}/docker/{OTHER}"), Some((None, Some(ID.to_owned())))),
    ] {
        assert_eq!(whose(&path), expected, "{path}");
    }
}

#[test]
fn what_only_looks_like_a_container_is_none() {
    for path in [
        format!("/system.slice/docker-{}.scope", &ID[1..]),
        format!("/system.slice/docker-{ID}0.scope"),
        format!("/docker/{}", ID.to_uppercase()),
        format!("/system.slice/var-lib-docker-containers-{ID}-mounts-shm.mount"),
        format!("/system.slice/docker-{ID}.service"),
        format!("/machine.slice/machine-libpod_pod_{ID}.slice"),
        format!("/libpod_parent/{ID}"),
        format!("/libpod_parent/conmon/libpod-conmon-{ID}"),
        format!("/podcast/pod{}", &UID[1..]),
        format!("/tripod{UID}/web"),
        "/kubepods/podweb-1/container".to_owned(),
        "/system.slice/podman.service".to_owned(),
        format!("/a:b:{}", &ID[2..]),
        format!("/a:b:c:{ID}"),
    ] {
        assert_eq!(whose(&path), None, "{path}");
    }
}

#[test]
fn of_a_process_the_line_that_tells_most_is_taken() {
    let pod = format!("/kubepods/pod{UID}/{ID}");
    for (text, expected) in [
        (String::new(), None),
        ("\n0\n1:cpu\nrubbish".to_owned(), None),
        ("0::/\n".to_owned(), Some("/".to_owned())),
        ("2:cpu:/a\n1:name=systemd:/b\n0::/c\n".to_owned(), Some("/c".to_owned())),
        ("2:cpu:/a\n1:name=systemd:/b\n".to_owned(), Some("/a".to_owned())),
        (format!("2:cpu:/\n1:name=systemd:{pod}\n0::/docker/{OTHER}\n"), Some(pod.clone())),
        (format!("2:cpu:/docker/{ID}\n0::/system.slice/x.service"), Some(format!("/docker/{ID}"))),
        (format!("0::/a:b:c{pod}"), Some(format!("/a:b:c{pod}"))),
    ] {
        assert_eq!(of_proc(&text).map(str::to_owned), expected, "{text}");
    }
}

#[test]
fn what_runtimes_tell_becomes_the_path() {
    for (told, path) in [
        ("/kubepods/besteffort/podUID/ID", "/kubepods/besteffort/podUID/ID"),
        ("default/web", "/default/web"),
        ("kubepods.slice:cri-containerd:ID", "/kubepods.slice/cri-containerd-ID.scope"),
        (
            "kubepods-burstable-podA_B.slice:crio:ID",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podA_B.slice/crio-ID.scope",
        ),
        ("machine.slice:libpod:ID", "/machine.slice/libpod-ID.scope"),
        ("system.slice:docker:ID", "/system.slice/docker-ID.scope"),
        (":docker:ID", "/system.slice/docker-ID.scope"),
        ("-.slice:docker:ID", "/docker-ID.scope"),
        ("user.slice::ID", "/user.slice/ID.scope"),
        // None of these is systemd's.
        ("kubepods:cri-containerd:ID", "/kubepods:cri-containerd:ID"),
        ("a--b.slice:x:ID", "/a--b.slice:x:ID"),
        ("a.slice:x:", "/a.slice:x:"),
        ("/a.slice:x:ID", "/a.slice:x:ID"),
        ("a.slice:x:y:ID", "/a.slice:x:y:ID"),
    ] {
        assert_eq!(of_runtime(told), path, "{told}");
    }
    let told = format!("kubepods-pod{}.slice:cri-containerd:{ID}", UID.replace('-', "_"));
    let expected = Some((Some(UID.to_owned()), Some(ID.to_owned())));
    assert_eq!((whose(&of_runtime(&told)), whose(&told)), (expected.clone(), expected));
}
