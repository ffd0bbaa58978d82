//! One namespace with very many sockets.

use crate::{
    hold::Held,
    measure::kernel::catalogue,
    namespaces::Dumps,
    ways::{self, Pass, Way},
};
use std::{
    fs::File,
    io::Read,
    process::{Command, Stdio},
};

pub fn one() {
    let counts = match std::env::var("SOCKETS") {
        Ok(count) => vec![count.parse().unwrap()],
        Err(_) => vec![10_000, 100_000],
    };
    counts.into_iter().for_each(with);
}

fn with(count: usize) {
    let passes = Pass::all(&catalogue());
    let idle: Vec<_> = passes.iter().map(Pass::idle).collect();
    let held = Held::sockets(count);
    println!(
        "{count} sockets in one namespace, held by {} processes: a half established TCP, a half bound UDP, IPv4 and IPv6",
        held.pids().len()
    );
    let pid = held.pids()[0];
    let tcp = lines(&mut ss(pid, "-tnaH"));
    let udp = lines(&mut ss(pid, "-unaH"));
    let mut dumps = Dumps::of(&held);
    let all = (tcp + udp) as f64;
    let mut ways: Vec<Way<'_>> = passes.iter().map(|pass| pass.way(all)).collect();
    let read = |what: &str, files: [&'static str; 2], sockets: usize| {
        Way::new(what, sockets as f64, move || files.iter().for_each(|file| drain(&format!("/proc/{pid}/net/{file}"))))
    };
    ways.extend([
        Way::new("netlink.sock_diag", tcp as f64, || assert!(dumps.dump() >= tcp)),
        Way::new("ss -tna", tcp as f64, || run(&mut ss(pid, "-tna"))),
        Way::new("ss -una", udp as f64, || run(&mut ss(pid, "-una"))),
        read("/proc/PID/net/tcp, tcp6", ["tcp", "tcp6"], tcp),
    ]);
    // It takes seconds for more: with each line the kernel begins at the top of its table.
    if count <= 10_000 {
        ways.push(read("/proc/PID/net/udp, udp6", ["udp", "udp6"], udp));
    }
    ways::go(&mut ways, &passes);
    ways::print(&ways, &idle);
}

/// `ss` in the namespace of a process.
pub fn ss(pid: u32, options: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-n", "-t", &pid.to_string(), "ss", options]);
    command
}

pub fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

fn lines(command: &mut Command) -> usize {
    let output = command.output().unwrap();
    assert!(output.status.success(), "these benches need ss");
    output.stdout.iter().filter(|byte| **byte == b'\n').count()
}

fn drain(path: &str) {
    let mut buffer = vec![0; 1 << 16];
    let mut file = File::open(path).unwrap();
    while file.read(&mut buffer).unwrap() > 0 {}
}
