//! Who has the sockets and the processes that are looked at: this program again, in network namespaces of its own, until it is dropped.
//!
//! The children end when their input does, so that nothing is left of a bench that was stopped.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
};

/// What one process holds at most: so many that its table of descriptors is as large as a busy server's.
const EACH: usize = 10_000;

/// Of so many sockets two are an established TCP connection, one is UDP's of IPv4 and one of IPv6, both bound. Every second connection is
/// of IPv6.
const GROUP: usize = 4;

/// How many processes are forked by one.
pub const FORKED: usize = 100;

pub struct Held(Vec<Child>);

impl Held {
    /// So many sockets in one namespace.
    pub fn sockets(count: usize) -> Self {
        let mut held = Self(vec![child(IN_NEW, &["sockets", "1", &count.min(EACH).to_string()])]).ready();
        let first = held.0[0].id().to_string();
        for (number, at) in (2..).zip((EACH..count).step_by(EACH)) {
            let count = (count - at).min(EACH).to_string();
            held.0.push(child(&["nsenter", "-n", "-t", &first], &["sockets", &number.to_string(), &count]));
        }
        held.ready()
    }

    /// So many namespaces with so many sockets each.
    pub fn namespaces(namespaces: usize, sockets: usize) -> Self {
        let mut held = Self(Vec::new());
        // Not all at once: each waits for the others in the kernel.
        for _ in 0..namespaces {
            held.0.push(child(IN_NEW, &["sockets", "1", &sockets.to_string()]));
            held = held.ready();
        }
        held
    }

    /// So many processes, in our namespace.
    pub fn processes(count: usize) -> Self {
        let each = || child(&["env"], &["processes"]);
        Self((0..count).step_by(FORKED).map(|_| each()).collect()).ready()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).collect()
    }

    /// Once all children say that they have what they are to have.
    fn ready(mut self) -> Self {
        for child in &mut self.0 {
            // The byte has been read already, if it was ready before.
            let Some(mut said) = child.stdout.take() else { continue };
            assert_eq!(said.read(&mut [0]).unwrap(), 1, "these benches need root, ip, nsenter and unshare");
        }
        self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.stdin.take());
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// Ports for all: what a child binds is any that is free.
const IN_NEW: &[&str] = &[
    "unshare",
    "-n",
    "sh",
    "-c",
    "ip link set lo up; echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range; exec \"$@\"",
    "sh",
];

fn child(command: &[&str], what: &[&str]) -> Child {
    Command::new(command[0])
        .args(&command[1..])
        .arg(std::env::current_exe().unwrap())
        .arg("hold")
        .args(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// As the child.
pub fn run(what: &[String]) {
    let number = |at: usize| what[at].parse::<usize>().unwrap();
    let _sockets = match what[0].as_str() {
        "sockets" => sockets(number(1), number(2)),
        _ => fork(),
    };
    std::io::stdout().write_all(b"!").unwrap();
    std::io::stdout().flush().unwrap();
    // Until whoever started this is gone.
    let _ = std::io::stdin().read(&mut [0]);
}

/// `number` tells children in one namespace apart: each has an address, as there are not ports enough for all at one.
fn sockets(number: usize, count: usize) -> Vec<OwnedFd> {
    let room = (count + 64) as u64;
    setrlimit(Resource::Nofile, Rlimit { current: Some(room), maximum: Some(room) }).unwrap();
    let (v4, v6) = (format!("127.0.{number}.1:0"), "[::1]:0");
    let listeners = [&v4, v6].map(|address| TcpListener::bind(address).unwrap());
    let mut sockets = Vec::with_capacity(count);
    for group in 0..count / GROUP {
        let listener = &listeners[group % 2];
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let udp = [&v4, v6].map(|address| UdpSocket::bind(address).unwrap());
        sockets.extend([client.into(), server.into()]);
        sockets.extend(udp.map(OwnedFd::from));
    }
    sockets.extend(listeners.map(OwnedFd::from));
    sockets
}

/// Processes that do nothing, and go with this one.
fn fork() -> Vec<OwnedFd> {
    for _ in 1..FORKED {
        // SAFETY: there is one thread, and the child does nothing but wait.
        if unsafe { libc::fork() } == 0 {
            let _ = std::io::stdin().read(&mut [0]);
            std::process::exit(0);
        }
    }
    Vec::new()
}
