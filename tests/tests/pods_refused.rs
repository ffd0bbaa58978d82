//! Sockets where a runtime should be, and is none that can be asked: the page is served by namespace, and it is said why.

use netsonde_tests::{Folder, agent::Agent, binary, netns::Netns, traffic::Peer};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

const PROBES: &str = "probes: { sockstat: {}, tcp_reset: {} }";

/// A socket that somebody listens to as long as this process lives, and does this with each connection.
fn listener(folder: &Folder, serve: fn(std::os::unix::net::UnixStream)) -> PathBuf {
    let path = folder.path().join("runtime.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || serve(stream)))));
    path
}

/// That all is served by namespace, also of a new one, and the socket is told where people look.
fn check(agent: &Agent, socket: &Path, words: &[&str]) {
    let netns = Netns::new("refused");
    let mut peer = Peer::new(&netns);
    let labels = [("netns", netns.name.as_str()), ("namespace", ""), ("pod", ""), ("container", "")];
    let began = Instant::now();
    agent.wait_until("the new namespace has its series", |agent| {
        agent.page().get("netsonde_sockstat_sockets_used", &labels).is_some()
    });
    // Rule 6: at most 2 s; the rest is for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(6), "it took {:?}", began.elapsed());
    assert!(agent.page().find("netsonde_sockstat_sockets_used", &[("netns", "host")]).count() > 0);
    if agent.probe("tcp_reset")["state"] == "running" {
        peer.run("refused('127.0.0.1', 4751, 3)");
        agent.until_counted("netsonde_tcp_reset_received_total", &labels, 3.0);
        agent.wait_until("its events are told", |agent| agent.events_of("TCPRESET_NOSOCK", &netns.name).len() == 3);
    }
    let socket = socket.to_str().unwrap();
    agent.wait_until("it is said why", |agent| {
        let said = |text: &str| text.contains(socket) && words.iter().any(|word| text.contains(word));
        said(&agent.log()) && said(&agent.get("/pods").text())
    });
    let pods: Value = serde_json::from_slice(&agent.get("/pods").body).unwrap();
    assert_eq!(pods["pods"].as_array().map(Vec::len), Some(0), "{pods:#}");
}

fn config(socket: &Path) -> String {
    format!("{PROBES}\npods: {{ cri: {}, docker: none }}", socket.display())
}

#[test]
fn a_socket_that_answers_garbage() {
    let folder = Folder::new("garbage");
    let socket = listener(&folder, |mut stream| {
        // Some of it looks like HTTP/2 at first.
        let _ = stream.write_all(b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff");
        let _ = stream.write_all(&[0xa5; 4096]);
        let _ = stream.read(&mut [0; 4096]);
    });
    let agent = Agent::start(&config(&socket));
    agent.until_attached(4);
    check(&agent, &socket, &[""]);
}

#[test]
fn a_socket_that_hangs() {
    let folder = Folder::new("hangs");
    let socket = listener(&folder, |mut stream| {
        // All is read, nothing answered.
        while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
    });
    let agent = Agent::start(&config(&socket));
    agent.until_attached(4);
    check(&agent, &socket, &[""]);
}

#[test]
fn a_socket_that_is_closed_at_once() {
    let folder = Folder::new("closed");
    let socket = listener(&folder, drop);
    let agent = Agent::start(&config(&socket));
    agent.until_attached(4);
    check(&agent, &socket, &[""]);
}

#[test]
fn a_file_that_is_no_socket_and_none_at_all() {
    let folder = Folder::new("file");
    for socket in [folder.write("file", "x"), folder.path().join("absent/x.sock")] {
        let agent = Agent::start(&config(&socket));
        agent.until_attached(4);
        check(&agent, &socket, &[""]);
    }
}

#[test]
fn a_socket_without_permission() {
    let folder = Folder::new("forbidden");
    let socket = listener(&folder, drop);
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    // The build folder may be closed to others.
    let copy = folder.path().join("netsonde");
    fs::copy(binary(), &copy).unwrap();
    let agent = Agent::start_with(&config(&socket), |file| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        // Enough for all namespaces, and not to pass over a file's mode.
        let capabilities = "-all,+bpf,+perfmon,+sys_ptrace,+sys_admin";
        command.args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")]);
        command.arg(&copy).args(["run", "--config"]).arg(file);
        command
    });
    check(&agent, &socket, &["ermission denied"]);
}
