//! The CRI: what is told, when, and how little is asked for it.

use crate::{
    Watch, only_cri, pod,
    scripted::{
        cri::{Pod, Runtime, event},
        serve::{Folder, Followers},
    },
};
use netsonde::scope::watch;
use netsonde_core::pod::{Network, Source};
use std::{
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn pods_are_told_with_their_network_and_their_containers() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.6.20~ds1");
    let mut web = Pod::new(1, "shop", "web-0");
    web.annotations = vec![("example.org/team".into(), "net".into()), ("huge".into(), "x".repeat(100_000))];
    let mut sidecar = web.containers[0].clone();
    (sidecar.id, sidecar.name, sidecar.running) = ("d".repeat(64), "done".into(), false);
    web.containers.push(sidecar);
    runtime.add(web);
    runtime.add(Pod { host: true, ip: "192.0.2.1".into(), ..Pod::new(2, "kube-system", "agent") });
    runtime.add(Pod { ready: false, pid: 0, ..Pod::new(3, "shop", "ended") });
    let _server = runtime.serve(&socket);
    let mut config = only_cri(&socket);
    config.labels = vec![("team".into(), "example.org/team".into())];
    let watched = watch::look_once(&config, PATIENCE);

    let [state] = watched.sources.as_slice() else { panic!("{watched:#?}") };
    assert_eq!((state.source, state.socket.as_path(), state.pods), (Source::Cri, socket.as_path(), 3));
    assert_eq!((state.runtime.as_deref(), state.error.as_deref()), (Some("containerd 1.6.20"), None));
    let names: Vec<_> = watched.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["agent", "ended", "web-0"], "by namespace and name");
    let web = pod(&watched, "web-0");
    assert_eq!((web.namespace.as_str(), web.uid.as_str(), web.ready), ("shop", "uid-web-0", true));
    assert_eq!(web.network, Network::Own { path: Some("/var/run/netns/cni-1".into()), pid: Some(10_001) });
    assert_eq!(web.ips, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(
        (web.label("app"), web.label("example.org/team"), web.label("huge")),
        (Some("web-0"), Some("net"), None)
    );
    let [done, running] = web.containers.as_slice() else { panic!("{web:#?}") };
    assert_eq!((done.name.as_str(), done.running, done.pid), ("done", false, None));
    assert_eq!(
        (running.pid, running.running, running.image.as_str()),
        (Some(50_001), true, "registry.example/web-0:1")
    );
    assert_eq!(running.cgroup, Some(format!("/kubepods/besteffort/{:064x}/c{:063x}", 1, 1)));
    let agent = pod(&watched, "agent");
    assert_eq!((&agent.network, agent.ips.len()), (&Network::Host, 0), "the node's address is not the pod's");
    assert!(!pod(&watched, "ended").ready);
}

#[test]
fn pods_come_and_go_and_each_is_asked_for_once() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.6.20");
    runtime.add(Pod::new(1, "shop", "web-0"));
    let _server = runtime.serve(&socket);
    let mut watch = Watch::start(&only_cri(&socket));
    watch.until_pod("web-0", true);
    let before = pod(&watch.last, "web-0").clone();
    // Its namespace is there before the runtime lists it.
    for number in 2..6 {
        let name = format!("new-{number}");
        let asked = Instant::now();
        watch.watcher.look_again();
        thread::sleep(Duration::from_millis(150));
        runtime.add(Pod::new(number, "shop", &name));
        let took = watch.until_pod(&name, true) - asked;
        assert!(took < Duration::from_millis(900), "{name} took {took:?}");
    }
    runtime.remove("new-2");
    watch.watcher.look_again();
    watch.until_pod("new-2", false);
    watch.until("details", |watched| watched.pods.iter().all(|pod| pod.containers[0].pid.is_some()));
    let after = pod(&watch.last, "web-0");
    assert_eq!(after.network, before.network);
    assert_eq!(runtime.asked("PodSandboxStatus"), 5);
    // A call that is under way when a listing is due is made again.
    assert!((5..=9).contains(&runtime.asked("ContainerStatus")), "{}", runtime.asked("ContainerStatus"));
    let [state] = watch.watcher.sources().try_into().unwrap();
    assert!(state.listings >= 6 && !state.follows && state.failures == 0, "{state:?}");
}

#[test]
fn what_has_not_changed_is_not_told_and_stays_in_place() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.6.20");
    runtime.add(Pod::new(1, "shop", "web-0"));
    let _server = runtime.serve(&socket);
    let mut watch = Watch::start(&only_cri(&socket));
    watch.until("details", |watched| watched.pods.iter().any(|pod| pod.containers[0].pid.is_some()));
    let before = runtime.asked("ListPodSandbox");
    watch.watcher.look_again();
    thread::sleep(Duration::from_millis(2000));
    let listings = runtime.asked("ListPodSandbox") - before;
    assert!((4..=6).contains(&listings), "{listings} listings after one who is unknown");
    assert!(watch.told.try_recv().is_err(), "nothing has changed");
    runtime.add(Pod::new(2, "shop", "web-1"));
    watch.watcher.look_again();
    let before = pod(&watch.last, "web-0").clone();
    watch.until_pod("web-1", true);
    assert!(std::sync::Arc::ptr_eq(&before, pod(&watch.last, "web-0")));
}

#[test]
fn a_sandbox_that_ends_is_asked_for_again() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.6.20");
    runtime.add(Pod::new(1, "shop", "web-0"));
    let _server = runtime.serve(&socket);
    let mut watch = Watch::start(&only_cri(&socket));
    watch.until_pod("web-0", true);
    {
        let mut world = runtime.world();
        let pod = &mut world.pods[0];
        (pod.ready, pod.pid, pod.containers[0].running) = (false, 0, false);
    }
    watch.watcher.look_again();
    let watched = watch.until("its end", |watched| !watched.pods[0].ready);
    assert_eq!(watched.pods[0].network, Network::Own { path: Some("/var/run/netns/cni-1".into()), pid: None });
    assert_eq!(watched.pods[0].containers[0].pid, None);
}

#[test]
fn events_are_followed_where_there_are_some() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "2.1.4");
    let followers = Followers::default();
    runtime.world().events = Some(followers.clone());
    let _server = runtime.serve(&socket);
    let mut watch = Watch::start(&only_cri(&socket));
    watch.until("to follow", |watched| watched.sources[0].follows);
    assert_eq!(followers.count(), 1);
    for number in 1..4 {
        let name = format!("web-{number}");
        runtime.add(Pod::new(number, "shop", &name));
        let sent = Instant::now();
        followers.send(event("x"));
        let took = watch.until_pod(&name, true) - sent;
        assert!(took < Duration::from_millis(700), "{name} took {took:?}");
    }
    // The stream ends, the runtime does not: it is followed again.
    followers.end();
    watch.until("no stream", |watched| !watched.sources[0].follows);
    watch.until("to follow again", |watched| watched.sources[0].follows);
    assert_eq!((runtime.asked("GetContainerEvents"), watch.watcher.sources()[0].failures), (2, 0));
}

#[test]
fn events_are_left_to_the_kubelet_where_only_one_gets_them() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.7.24");
    runtime.world().events = Some(Followers::default());
    runtime.add(Pod::new(1, "shop", "web-0"));
    let _server = runtime.serve(&socket);
    let mut watch = Watch::start(&only_cri(&socket));
    watch.until_pod("web-0", true);
    thread::sleep(Duration::from_millis(700));
    assert_eq!(runtime.asked("GetContainerEvents"), 0);
    assert!(!watch.watcher.sources()[0].follows);
}

#[test]
fn without_a_stream_it_is_asked_every_ten_seconds() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    // It may be followed, but its stream is not there.
    let runtime = Runtime::new("cri-o", "1.31.0");
    let _server = runtime.serve(&socket);
    let mut watch = Watch::start(&only_cri(&socket));
    watch.until("a first answer", |watched| watched.sources[0].runtime.as_deref() == Some("cri-o 1.31.0"));
    thread::sleep(Duration::from_millis(700));
    assert!(runtime.asked("GetContainerEvents") == 1 && !watch.watcher.sources()[0].follows);
    runtime.add(Pod::new(1, "shop", "web-0"));
    let added = Instant::now();
    let watched = watch.told.recv_timeout(Duration::from_secs(12)).unwrap();
    assert!(added.elapsed() > Duration::from_secs(7), "{:?}", added.elapsed());
    assert_eq!(watched.pods.len(), 1);
}
