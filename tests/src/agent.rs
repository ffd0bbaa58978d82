//! The agent as an operator runs it: a configuration file, a port, signals.

use crate::{
    Folder, binary,
    http::{self, Response},
    netns::Netns,
    page::Page,
};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running agent, ended with the test.
pub struct Agent {
    child: Child,
    pub address: String,
    pub folder: Folder,
    /// The file of the network namespace that it runs in, if that is not this process's.
    netns: Option<PathBuf>,
}

impl Agent {
    /// Starts it with this configuration (without `listen` and `cache_folder`, which are added, as are a folder for spills and no pods unless
    /// they are there) and waits until it is ready.
    ///
    /// # Panics
    /// If it ends, or is not ready within 30 s, with its log.
    pub fn start(config: &str) -> Self {
        Self::spawn(config).ready()
    }

    /// The same by another command, which is given the configuration's file. The folder is open to every user.
    pub fn start_with(config: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        Self::spawn_with(config, command).ready()
    }

    /// The same in another network namespace: a node.
    pub fn start_on(node: &Netns, config: &str) -> Self {
        Self::spawn_on(node, config).ready()
    }

    /// The same without waiting.
    pub fn spawn_on(node: &Netns, config: &str) -> Self {
        Self::spawn_at(node, &free_address(), config)
    }

    /// The same at this address, without waiting.
    pub fn spawn_at(node: &Netns, address: &str, config: &str) -> Self {
        let netns = node.path();
        // `ip netns exec` would mount a new /sys, and hide the cgroups.
        let mut agent = Self::spawn_with_at(address.to_owned(), config, |file| {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", netns.display())).arg(binary()).args(["run", "--config"]).arg(file);
            command
        });
        agent.netns = Some(netns);
        agent
    }

    /// Waits until it is ready.
    pub fn ready(self) -> Self {
        let agent = self;
        agent.wait_until("it is ready", |agent| agent.try_get("/readyz").is_ok_and(|response| response.status == 200));
        agent
    }

    /// The same without waiting.
    pub fn spawn(config: &str) -> Self {
        Self::spawn_with(config, |file| {
            let mut command = Command::new(binary());
            command.args(["run", "--config"]).arg(file);
            command
        })
    }

    fn spawn_with(config: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        Self::spawn_with_at(free_address(), config, command)
    }

    fn spawn_with_at(address: String, config: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = Folder::new("agent");
        let cache = binary().with_file_name("test-cache");
        // A runtime of this machine is not a part of the test.
        let pods = if config.contains("pods:") { "" } else { "pods: { cri: none, docker: none }\n" };
        // Nor is what another agent has spilled.
        let spill = if config.contains("spill: {") { "" } else { "spill: { folder: spill }\n" };
        let text = format!("listen: {address}\ncache_folder: {}\n{pods}{spill}{config}\n", cache.display());
        let file = folder.write("netsonde.yaml", text);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = command(&file).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Self { child, address, folder, netns: None }
    }

    /// What it has logged and printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn get(&self, path: &str) -> Response {
        self.try_get(path).unwrap_or_else(|error| panic!("GET http://{}{path}: {error}", self.address))
    }

    fn try_get(&self, path: &str) -> std::io::Result<Response> {
        match &self.netns {
            Some(netns) => http::try_get_within(netns, &self.address, path),
            None => http::try_get(&self.address, path, &[]),
        }
    }

    /// A fresh page: the collection is younger than this call.
    pub fn scrape(&self) -> Page {
        // Rule 1: a page younger than a second is taken again.
        thread::sleep(Duration::from_millis(1100));
        self.page()
    }

    /// The page as a scraper gets it.
    pub fn page(&self) -> Page {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        Page::parse(&response.text())
    }

    /// Waits until `done`, at most 30 s.
    pub fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < Duration::from_secs(30), "waited in vain until {what}; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        crate::netns::run("kill", &[&format!("-{signal}"), &self.pid().to_string()]);
    }

    /// Waits for its end, at most 10 s, and gives the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < Duration::from_secs(10), "it does not end; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The port is free now, and nobody else here takes ports at random.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

/// Runs a command of the binary and gives its exit code, output and errors.
pub fn command(args: &[&str]) -> (i32, String, String) {
    let output: Output = Command::new(binary()).args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
