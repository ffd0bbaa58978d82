//! Docker's API, alone and beside the CRI.

use crate::{
    Watch, only_docker,
    scripted::{cri, docker::Engine, serve::Folder},
};
use netsonde::scope::watch;
use netsonde_core::{
    config::{Pods, Runtime},
    pod::{Network, Source},
};
use std::time::Duration;

const LIST: &str = include_str!("../../core/src/pod/testdata/docker-27-list.json");
const INSPECT: &str = include_str!("../../core/src/pod/testdata/docker-27-inspect.json");
const PODS: &str = include_str!("../../core/src/pod/testdata/cri-dockerd-list.json");
const SANDBOX: &str = include_str!("../../core/src/pod/testdata/cri-dockerd-inspect.json");
const PATIENCE: Duration = Duration::from_secs(5);

fn id(pair: &str) -> String {
    pair.repeat(32)
}

fn engine() -> Engine {
    let engine = Engine::new();
    engine.page("/containers/json", LIST);
    engine.page(&format!("/containers/{}/json", id("a1")), INSPECT);
    engine
}

#[test]
fn containers_are_told_and_only_those_that_run_are_inspected() {
    let folder = Folder::new();
    let socket = folder.socket("docker.sock");
    let engine = engine();
    let _server = engine.serve(&socket);
    let watched = watch::look_once(&only_docker(&socket), PATIENCE);
    assert_eq!(watched.sources[0].runtime.as_deref(), Some("docker 27.1.0"));
    assert_eq!((watched.sources[0].error.as_deref(), watched.pods.len()), (None, 4));
    let web = &watched.pods[0];
    assert_eq!((web.source, web.containers[0].name.as_str()), (Source::Docker, "web"));
    assert_eq!(web.network, Network::Own { path: Some("/var/run/docker/netns/3e2f9b7a51c4".into()), pid: Some(4711) });
    assert_eq!(engine.asked(&format!("/containers/{}/json", id("d4"))), 0, "it has ended");
    // It is gone when it is asked for: told as it was listed.
    assert!(watched.pods[2].containers[0].running && watched.pods[2].containers[0].pid.is_none());
}

#[test]
fn a_container_that_starts_again_has_another_process() {
    let folder = Folder::new();
    let socket = folder.socket("docker.sock");
    let engine = engine();
    let _server = engine.serve(&socket);
    let mut watch = Watch::start(&only_docker(&socket));
    watch.until("to follow", |watched| watched.sources[0].follows);
    engine.page(&format!("/containers/{}/json", id("a1")), &INSPECT.replace("4711", "4822"));
    // In two parts: a chunk need not be a line.
    let event = format!("{{\"status\":\"start\",\"id\":\"{0}\",\"Actor\":{{\"ID\":\"{0}\"}}}}\n", id("a1"));
    let (start, end) = event.split_at(40);
    engine.world().events.send(start.to_owned());
    engine.world().events.send(end.to_owned());
    let watched = watch.until("its new process", |watched| watched.pods[0].containers[0].pid == Some(4822));
    assert!(matches!(&watched.pods[0].network, Network::Own { pid: Some(4822), .. }));
}

#[test]
fn of_what_cri_dockerd_and_docker_tell_the_cri_is_believed() {
    let folder = Folder::new();
    let (docker, cri) = (folder.socket("docker.sock"), folder.socket("cri.sock"));
    let engine = Engine::new();
    engine.page(
        "/containers/json",
        &format!("{},{}", PODS.trim_end().trim_end_matches(']'), LIST.trim_start_matches('[')),
    );
    engine.page(&format!("/containers/{}/json", id("e5")), SANDBOX);
    let runtime = cri::Runtime::new("docker", "27.1.0");
    let mut pod = cri::Pod::new(1, "shop", "api-0");
    (pod.id, pod.containers[0].id) = (id("e5"), id("e6"));
    runtime.add(pod);
    let _servers = (engine.serve(&docker), runtime.serve(&cri));
    let config = Pods { cri: Runtime::At(cri), docker: Runtime::At(docker), labels: Vec::new() };
    let watched = watch::look_once(&config, PATIENCE);
    let told: Vec<_> = watched.pods.iter().map(|pod| (pod.source, pod.id[..2].to_owned())).collect();
    let docker = |pair: &str| (Source::Docker, pair.to_owned());
    assert_eq!(
        told,
        [(Source::Cri, "e5".to_owned()), docker("e8"), docker("a1"), docker("b2"), docker("c3"), docker("d4"),]
    );
    assert_eq!((watched.sources[0].pods, watched.sources[1].pods), (1, 6));
}

#[test]
fn an_engine_that_refuses_is_quoted() {
    let folder = Folder::new();
    let socket = folder.socket("docker.sock");
    let engine = Engine::new();
    engine.world().pages.remove("/containers/json");
    let _server = engine.serve(&socket);
    let watched = watch::look_once(&only_docker(&socket), PATIENCE);
    let error = crate::error(&watched);
    assert!(error.contains("list the containers at") && error.contains("404 Not Found: "), "{error}");
    assert!(error.contains("No such container"), "{error}");
    engine.page("/containers/json", r#"{"message":"no list"}"#);
    let watched = watch::look_once(&only_docker(&socket), PATIENCE);
    assert!(crate::error(&watched).contains("the answer is not understood"), "{}", crate::error(&watched));
}

#[test]
fn an_endless_answer_is_cut_off() {
    let folder = Folder::new();
    let socket = folder.socket("docker.sock");
    let engine = Engine::new();
    engine.page("/containers/json", &" ".repeat(17 * 1024 * 1024));
    let _server = engine.serve(&socket);
    let watched = watch::look_once(&only_docker(&socket), PATIENCE);
    assert!(crate::error(&watched).contains("more than 16 MiB"), "{}", crate::error(&watched));
}
