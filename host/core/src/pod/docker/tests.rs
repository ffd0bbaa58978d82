use super::*;

fn id(pair: &str) -> String {
    pair.repeat(32)
}

fn details(json: &[&[u8]], ids: &[&str]) -> HashMap<String, Inspected> {
    json.iter().zip(ids).map(|(json, pair)| (id(pair), inspected(json).unwrap())).collect()
}

#[test]
fn containers_without_kubernetes_are_pods_without_a_name() {
    let listed = listed(include_bytes!("../testdata/docker-27-list.json")).unwrap();
    let known = details(
        &[
            include_bytes!("../testdata/docker-27-inspect.json"),
            include_bytes!("../testdata/docker-27-inspect-exited.json"),
        ],
        &["a1", "d4"],
    );
    let pods = pods(listed, &known, &[]);
    assert_eq!(pods.len(), 4);
    let [web, sidecar, agent, job] = pods.as_slice() else { panic!("{pods:#?}") };
    for pod in &pods {
        assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.source), ("", "", Source::Docker));
        assert_eq!((pod.containers.len(), &pod.containers[0].id), (1, &pod.id));
    }
    assert_eq!(web.network, Network::Own { path: Some("/var/run/docker/netns/3e2f9b7a51c4".into()), pid: Some(4711) });
    assert_eq!(
        web.ips,
        ["172.17.0.2".parse::<IpAddr>().unwrap(), "172.18.0.5".parse().unwrap(), "fd00::5".parse().unwrap()]
    );
    assert_eq!(web.label("com.docker.compose.service"), Some("web"));
    let container = &web.containers[0];
    assert_eq!((container.name.as_str(), container.image.as_str(), container.pid), ("web", "nginx:1.27", Some(4711)));
    assert_eq!(sidecar.network, Network::Of(id("a1")));
    assert_eq!((&agent.network, agent.ips.len(), agent.ready), (&Network::Host, 0, true));
    assert_eq!(
        (&job.network, job.ready, job.containers[0].running),
        (&Network::Own { path: None, pid: None }, false, false)
    );
}

#[test]
fn labels_of_cri_dockerd_make_pods() {
    let listed = listed(include_bytes!("../testdata/cri-dockerd-list.json")).unwrap();
    let known = details(&[include_bytes!("../testdata/cri-dockerd-inspect.json")], &["e5"]);
    let wanted = [("team".to_owned(), "example.org/team".to_owned())];
    let pods = pods(listed, &known, &wanted);
    let [api, proxy] = pods.as_slice() else { panic!("{pods:#?}") };
    assert_eq!((api.id.as_str(), api.namespace.as_str(), api.name.as_str()), (id("e5").as_str(), "shop", "api-0"));
    assert_eq!(api.uid, "0e2773d0-5790-5fac-88c8-92362cf3d1ad");
    assert_eq!(api.network, Network::Own { path: Some("/var/run/docker/netns/8b1a".into()), pid: Some(5120) });
    assert_eq!(api.labels, [("app".to_owned(), "api".to_owned())]);
    assert_eq!(api.annotations, [("example.org/team".to_owned(), "net".to_owned())]);
    let containers: Vec<_> =
        api.containers.iter().map(|one| (one.name.as_str(), one.id.clone(), one.running)).collect();
    assert_eq!(containers, [("api", id("e6"), true)]);
    assert_eq!((proxy.name.as_str(), &proxy.network), ("proxy", &Network::Host));
    let slice = "kubepods-burstable-pod0e2773d0_5790_5fac_88c8_92362cf3d1ad.slice";
    assert_eq!(known[&id("e5")].cgroup, Some(format!("{slice}:docker:{}", id("e5"))));
}

#[test]
fn a_container_whose_sandbox_is_not_listed_is_its_pods_all_the_same() {
    let mut listed = listed(include_bytes!("../testdata/cri-dockerd-list.json")).unwrap();
    listed.retain(|one| one.id == id("e6"));
    let pods = pods(listed, &HashMap::new(), &[]);
    assert_eq!(
        (pods.len(), pods[0].id.as_str(), pods[0].name.as_str(), pods[0].ready),
        (1, id("e5").as_str(), "api-0", false)
    );
}

#[test]
fn podman_leaves_things_out_and_says_null() {
    let listed = listed(include_bytes!("../testdata/podman-4.9-list.json")).unwrap();
    let known = details(&[include_bytes!("../testdata/podman-4.9-inspect.json")], &["f7"]);
    let pods = pods(listed, &known, &[]);
    assert_eq!(pods[0].containers[0].name, "db");
    assert_eq!(pods[0].network, Network::Own { path: Some("/run/netns/netns-1f0d2c".into()), pid: Some(902) });
    assert_eq!(pods[0].ips, ["10.88.0.9".parse::<IpAddr>().unwrap()]);
    assert_eq!(pods[1].containers[0].name, id("f8"), "what has no name is called by its id");
    assert_eq!(pods[1].network, Network::Own { path: Some("/run/netns/blue".into()), pid: None });
}

#[test]
fn nonsense_is_an_error() {
    for nonsense in ["", "{}", "[1]", r#"[{"Names":["/x"]}]"#, r#"{"message":"no"}"#, &"[".repeat(100_000)] {
        assert!(listed(nonsense.as_bytes()).is_err(), "{:.40}", nonsense);
    }
    for nonsense in ["", "[]", "{}", r#"{"Id":1}"#, r#"{"Id":"a","State":7}"#] {
        assert!(inspected(nonsense.as_bytes()).is_err(), "{nonsense}");
    }
    assert_eq!(inspected(br#"{"Id":"a","State":{"Pid":-1}}"#).unwrap(), Inspected::default());
}

#[test]
fn an_event_names_its_container() {
    for (line, expected) in [
        (r#"{"status":"start","id":"a","from":"x","Type":"container","Action":"start","Actor":{"ID":"b"}}"#, Some("b")),
        (r#"{"status":"start","id":"a"}"#, Some("a")),
        (r#"{"Type":"container"}"#, None),
        ("x", None),
    ] {
        assert_eq!(event_of(line.as_bytes()).as_deref(), expected, "{line}");
    }
}

#[test]
fn podman_says_that_it_is_not_docker() {
    for (json, expected) in [
        (
            r#"{"Platform":{"Name":"Docker Engine - Community"},"Components":[{"Name":"Engine"}],"Version":"27.1.0"}"#,
            "docker 27.1.0",
        ),
        (
            r#"{"Components":[{"Name":"Podman Engine","Version":"4.9.3"},{"Name":"Conmon"}],"Version":"4.9.3"}"#,
            "podman 4.9.3",
        ),
        (r#"{"Version":"1.12.6"}"#, "docker 1.12.6"),
    ] {
        assert_eq!(version(json.as_bytes()).unwrap(), expected);
    }
    assert!(version(b"{}").is_err());
}
