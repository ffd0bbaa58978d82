//! Network namespaces and processes that a test makes, and that end with it.

use crate::unique;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

/// A network namespace with a name, deleted at the end of the test.
pub struct Netns {
    pub name: String,
}

impl Netns {
    /// # Panics
    /// Without root: then nothing of this can be tested.
    pub fn new(label: &str) -> Self {
        let name = unique(&format!("nst-{label}"));
        run("ip", &["netns", "add", &name]);
        let netns = Self { name };
        netns.run("ip", &["link", "set", "lo", "up"]);
        netns
    }

    /// The file that holds it.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs a command in it and gives what it printed.
    ///
    /// # Panics
    /// If the command fails.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let mut all = vec!["netns", "exec", &self.name, program];
        all.extend(args);
        run("ip", &all)
    }

    /// Starts a command in it, to be ended with the test.
    pub fn spawn(&self, program: &str, args: &[&str]) -> Process {
        let mut all = vec!["netns", "exec", &self.name, program];
        all.extend(args);
        Process::spawn("ip", &all)
    }

    /// Starts a Python program in it and waits for the first line that it prints.
    pub fn python(&self, code: &str) -> Process {
        let mut process = Process::piped("ip", &["netns", "exec", &self.name, "python3", "-u", "-c", code]);
        process.wait_for_line();
        process
    }

    /// The number that a file of this namespace's `/proc/net` has for a key, as the kernel prints it there.
    pub fn kernel(&self, file: &str) -> String {
        self.run("cat", &[&format!("/proc/net/{file}")])
    }

    /// Has nftables drop what comes for this UDP port, over IPv4 and IPv6.
    pub fn drop_udp(&self, port: u64) {
        self.nft(&format!(
            "table inet rules {{\n chain in {{\n type filter hook input priority 0;\n udp dport {port} drop\n }}\n }}"
        ));
    }

    /// Has nftables take these lines.
    pub fn nft(&self, rules: &str) {
        let mut nft = Process::piped("ip", &["netns", "exec", &self.name, "nft", "-f", "-"]);
        nft.tell(rules);
        drop(nft.0.stdin.take());
        assert!(nft.0.wait().unwrap().success(), "nft refuses {rules}");
    }

    /// Removes the name now; without processes the namespace ends.
    pub fn delete(self) {}
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Does something in the network namespace that this file stands for, in a thread of its own. A socket stays there that is given back.
///
/// # Panics
/// If it cannot be entered.
pub fn within<T: Send>(file: &Path, act: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        let entered = File::open(file)
            .and_then(|opened| Ok(move_into_link_name_space(opened.as_fd(), Some(LinkNameSpaceType::Network))?));
        entered.unwrap_or_else(|error| panic!("cannot enter {}: {error}", file.display()));
        act()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// Two namespaces with a cable between them, both ends called `veth0`: 10.199.0.1 and fd99::1 in `a`, 10.199.0.2 and fd99::2 in `b`.
pub struct Pair {
    pub a: Netns,
    pub b: Netns,
}

impl Pair {
    pub fn new() -> Self {
        let (a, b) = (Netns::new("a"), Netns::new("b"));
        let macs = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
        let link = format!("link add veth0 address {} type veth peer name veth0 address {}", macs[0], macs[1]);
        a.run("ip", &[&link.split(' ').collect::<Vec<_>>()[..], &["netns", &b.name]].concat());
        for (netns, own, other) in [(&a, 1, 2), (&b, 2, 1)] {
            netns.run("ip", &["addr", "add", &format!("10.199.0.{own}/24"), "dev", "veth0"]);
            netns.run("ip", &["addr", "add", &format!("fd99::{own}/64"), "dev", "veth0", "nodad"]);
            netns.run("ip", &["link", "set", "veth0", "up"]);
            // They know each other: no packet waits for an answer, and none is sent to ask.
            for address in [format!("10.199.0.{other}"), format!("fd99::{other}")] {
                netns.run("ip", &["neigh", "replace", &address, "lladdr", macs[other - 1], "dev", "veth0"]);
            }
        }
        Self { a, b }
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Process {
    pub fn spawn(program: &str, args: &[&str]) -> Self {
        let child =
            Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("cannot start {program}: {error}")))
    }

    /// With a pipe for what it prints and one for what it is told.
    pub fn piped(program: &str, args: &[&str]) -> Self {
        let child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Self(child.unwrap_or_else(|error| panic!("cannot start {program}: {error}")))
    }

    /// The next line that it prints.
    ///
    /// # Panics
    /// If it ends instead.
    pub fn wait_for_line(&mut self) -> String {
        use std::io::Read;
        let out = self.0.stdout.as_mut().expect("started with a pipe");
        let mut line = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        assert!(!line.is_empty(), "the process ended without a word");
        String::from_utf8(line).unwrap()
    }

    /// Tells it to go on.
    pub fn tell(&mut self, line: &str) {
        use std::io::Write;
        writeln!(self.0.stdin.as_mut().expect("started with a pipe"), "{line}").unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command and gives what it printed.
///
/// # Panics
/// If it fails, with what it said.
pub fn run(program: &str, args: &[&str]) -> String {
    let output: Output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {}: {} (these tests need root)", args.join(" "), text(&output.stderr));
    text(&output.stdout)
}
