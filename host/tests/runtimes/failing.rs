//! Runtimes that fail, in every way that was thought of.

use crate::{
    Watch, error, only_cri, only_docker, pod,
    scripted::{
        cri::{Pod, Runtime},
        serve::{Folder, Server},
    },
};
use netsonde::scope::watch::{self, Watched};
use netsonde_core::{
    config::{self, Pods},
    pod::Network,
};
use std::{
    fs, future,
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(8);

/// Asks once; no answer may take longer than its limit.
fn look(config: &Pods) -> Watched {
    let began = Instant::now();
    let watched = watch::look_once(config, PATIENCE);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((watched.sources.len(), watched.pods.len()), (1, 0), "{watched:#?}");
    watched
}

/// Both clients get this error, with their socket and something to do.
fn both_say(socket: &Path, expected: &str) {
    for config in [only_cri(socket), only_docker(socket)] {
        let watched = look(&config);
        let error = error(&watched);
        assert!(error.contains(expected) && error.contains(&socket.display().to_string()), "{expected}: {error}");
        assert_eq!(watched.sources[0].failures, 1);
    }
}

#[test]
fn nobody_is_there() {
    let folder = Folder::new();
    both_say(&folder.socket("absent.sock"), "there is no socket; start the runtime");
    // The file of a runtime that was killed.
    let socket = folder.socket("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    both_say(&socket, "nobody listens; is the runtime running?");
    let file = folder.socket("file");
    fs::write(&file, "").unwrap();
    both_say(&file, "nobody listens");
}

#[test]
fn one_may_not() {
    assert!(rustix::process::geteuid().is_root(), "only root can become somebody who may not: run these tests as root");
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let _server = Runtime::new("containerd", "1.6.20").serve(&socket);
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    // Of this thread alone; nobody has the capabilities of root.
    let asked = thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        both_say(&socket, "permission denied; run the agent as root, or in the group");
    });
    asked.join().unwrap();
}

#[test]
fn it_answers_nothing() {
    let folder = Folder::new();
    let socket = folder.socket("mute.sock");
    let _server = Server::start(&socket, |stream| async move {
        let _stream = stream;
        future::pending().await
    });
    both_say(&socket, "no answer within 2s; does the runtime hang?");
}

#[test]
fn it_answers_garbage() {
    let folder = Folder::new();
    for (name, answer) in
        [("zeros", vec![0; 4096]), ("text", b"hello, world\r\n\r\n".repeat(50)), ("ones", vec![0xff; 4096])]
    {
        let socket = folder.socket(name);
        let _server = Server::start(&socket, move |mut stream| {
            let answer = answer.clone();
            async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.read(&mut [0; 1024]).await;
            }
        });
        both_say(&socket, "is it the socket of such a runtime?");
    }
    let socket = folder.socket("closed");
    let _server = Server::start(&socket, |_| future::ready(()));
    both_say(&socket, "the connection broke");
}

#[test]
fn it_is_no_runtime_for_pods() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.6.20");
    let _server = runtime.serve(&socket);
    let watched = look(&only_docker(&socket));
    assert!(error(&watched).contains("is it the socket of such a runtime?"), "{}", error(&watched));
    runtime.world().failing = vec!["ListPodSandbox".to_owned()];
    let watched = look(&only_cri(&socket));
    assert!(error(&watched).contains("list the pods' sandboxes at"), "{}", error(&watched));
    assert!(error(&watched).contains("it answers Unknown: it was told to fail"), "{}", error(&watched));
}

#[test]
fn its_answer_is_too_large() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.6.20");
    let mut huge = Pod::new(1, "shop", "huge");
    huge.annotations = vec![("a".to_owned(), "x".repeat(17 * 1024 * 1024))];
    runtime.add(huge);
    let _server = runtime.serve(&socket);
    assert!(error(&look(&only_cri(&socket))).contains("more than 16 MiB"));
}

#[test]
fn patience_ends_before_its_answer() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.6.20");
    runtime.world().hanging = vec!["ListContainers".to_owned()];
    let _server = runtime.serve(&socket);
    let watched = watch::look_once(&only_cri(&socket), Duration::from_millis(200));
    assert!(error(&watched).contains("no answer within 200ms"), "{}", error(&watched));
}

#[test]
fn a_sandbox_without_an_answer_is_told_and_asked_for_again() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    for (hanging, failing) in
        [(vec![], vec!["PodSandboxStatus".to_owned()]), (vec!["PodSandboxStatus".to_owned()], vec![])]
    {
        let runtime = Runtime::new("containerd", "1.6.20");
        runtime.add(Pod::new(1, "shop", "web-0"));
        (runtime.world().hanging, runtime.world().failing) = (hanging, failing);
        let _server = runtime.serve(&socket);
        let mut watch = Watch::start(&only_cri(&socket));
        watch.until_pod("web-0", true);
        assert_eq!(pod(&watch.last, "web-0").network, Network::Own { path: None, pid: None });
        (runtime.world().hanging, runtime.world().failing) = (vec![], vec![]);
        watch.until("its network", |watched| pod(watched, "web-0").network != Network::Own { path: None, pid: None });
    }
}

#[test]
fn a_runtime_that_is_away_keeps_its_pods() {
    let folder = Folder::new();
    let socket = folder.socket("cri.sock");
    let runtime = Runtime::new("containerd", "1.6.20");
    runtime.add(Pod::new(1, "shop", "web-0"));
    let mut watch = Watch::start(&only_cri(&socket));
    watch.until("that it is not there", |watched| error(watched).contains("there is no socket"));
    let server = runtime.serve(&socket);
    watch.until_pod("web-0", true);
    drop(server);
    watch.watcher.look_again();
    let watched = watch.until("that it is gone", |watched| watched.sources[0].error.is_some());
    assert_eq!((watched.pods.len(), watched.sources[0].pods), (1, 1));
    runtime.remove("web-0");
    runtime.add(Pod::new(2, "shop", "web-1"));
    let _server = runtime.serve(&socket);
    watch.until_pod("web-1", true);
    watch.until_pod("web-0", false);
    let [state] = watch.watcher.sources().try_into().unwrap();
    assert!(state.error.is_none() && state.failures >= 2 && state.listings >= 2, "{state:?}");
}

#[test]
fn without_any_runtime_that_is_told_once() {
    let config = Pods { cri: config::Runtime::None, docker: config::Runtime::None, labels: Vec::new() };
    let mut watch = Watch::start(&config);
    assert_eq!(watch.until("nothing", |_| true), &Watched::default());
    assert_eq!(watch::look_once(&config, PATIENCE), Watched::default());
}
