//! Real pods on a node of the test's own: Debian's containerd and runc, without a registry, without a kubelet.
//!
//! The node is a network namespace, in which containerd runs. Pods get their addresses from the CNI's bridge in there. Everything is in
//! one folder, and ends with the test, also when it fails.

mod api;
mod cgroup;
mod client;
mod config;
mod image;
mod sandbox;
mod teardown;
mod trial;

pub use sandbox::{IDLE, PodSpec, Sandbox};
pub use trial::{run_trials, trial};

use crate::{Folder, agent::Agent, binary, netns::Netns, unique};
use client::Client;
use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// So many calls are under way at once when many pods are made or removed.
const AT_ONCE: usize = 4;

/// How folders are called, before the number of their process.
const LABEL: &str = "cri";

/// A node with a running containerd.
pub struct Containerd {
    pub node: Netns,
    child: Option<Child>,
    snapshotter: &'static str,
    /// The first address of those of its pods.
    network: Ipv4Addr,
    /// Gone before the folder is.
    _living: Living,
    folder: Folder,
}

impl Containerd {
    /// # Panics
    /// If this machine cannot run pods: ask [`unavailable`] before.
    pub fn start() -> Self {
        Self::with_prefix(20)
    }

    /// The same with a range of addresses for the pods that has a prefix of so many bits, 20 at least: in a small one they are given
    /// anew soon.
    pub fn with_prefix(bits: u8) -> Self {
        let snapshotter = snapshotter().as_ref().unwrap_or_else(|reason| panic!("no pods here: {reason}"));
        Self::try_start(snapshotter, bits).unwrap_or_else(|reason| panic!("{reason}"))
    }

    fn try_start(snapshotter: &'static str, bits: u8) -> Result<Self, String> {
        let living = Living::new();
        let folder = Folder::new(LABEL);
        let node = Netns::new("node");
        let network = new_network();
        let mut containerd = Self { node, child: None, snapshotter, network, _living: living, folder };
        containerd.prepare(bits).map_err(|error| format!("make the files of containerd: {error}"))?;
        containerd.launch()?;
        containerd.import()?;
        Ok(containerd)
    }

    fn prepare(&self, bits: u8) -> std::io::Result<()> {
        let subnet = format!("{}/{bits}", self.network);
        let folder = self.folder.path();
        for name in ["cni", "logs", teardown::UIDS] {
            fs::create_dir_all(folder.join(name))?;
        }
        fs::write(folder.join(teardown::NODE), &self.node.name)?;
        fs::write(folder.join("config.toml"), config::containerd(folder, self.snapshotter))?;
        fs::write(folder.join("cni/10-test.conflist"), config::network(folder, &subnet))
    }

    /// Starts the process and waits for its answer.
    fn launch(&mut self) -> Result<(), String> {
        let folder = self.folder.path();
        let log = fs::OpenOptions::new().append(true).create(true).open(folder.join("log"));
        let log = log.map_err(|error| format!("open the log of containerd: {error}"))?;
        let second = log.try_clone().map_err(|error| format!("open the log of containerd: {error}"))?;
        // `ip netns exec` would mount a new /sys, and hide the cgroups.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.node.path().display())).args(["containerd", "-c"]);
        command.arg(folder.join("config.toml")).stdin(Stdio::null()).stdout(log).stderr(second);
        let child = command.spawn().map_err(|error| format!("start nsenter: {error}"))?;
        self.child = Some(child);
        let client = self.client();
        let began = Instant::now();
        loop {
            match client.version() {
                Ok(_) => return Ok(()),
                Err(error) => {
                    let ended = self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|end| end.is_some()));
                    if ended || error.contains("unknown service") || began.elapsed() > Duration::from_secs(30) {
                        return Err(format!(
                            "containerd does not serve pods: {error}; its log ends with\n{}",
                            self.log()
                        ));
                    }
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn import(&self) -> Result<(), String> {
        let archive = image::archive(self.folder.path())?;
        let (socket, archive) = (self.socket(), archive.to_string_lossy().into_owned());
        let socket = socket.to_string_lossy();
        let args = ["-a", &socket, "-n", "k8s.io", "images", "import", "--snapshotter", self.snapshotter, &archive];
        run("ctr", &args)?;
        // The part of it that serves pods hears of images a little later.
        let began = Instant::now();
        loop {
            let images = self.client().images()?;
            if [image::BUSYBOX, image::PAUSE].iter().all(|want| images.iter().any(|have| have == want)) {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(10) {
                return Err(format!("the images are imported, and the runtime knows only {images:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn client(&self) -> Client {
        Client::new(&self.socket())
    }

    /// Where it serves the Container Runtime Interface.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("containerd.sock")
    }

    /// The node's address, as its pods see it.
    pub fn address(&self) -> String {
        Ipv4Addr::from_bits(self.network.to_bits() + 1).to_string()
    }

    /// Its own folder, removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The last lines that it has logged.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Stops the runtime as an operator does; its pods live on.
    pub fn stop(&mut self) {
        self.end("-TERM");
    }

    /// Ends the runtime without giving it time for anything; its pods live on, and its socket's file stays.
    pub fn kill(&mut self) {
        self.end("-KILL");
    }

    fn end(&mut self, signal: &str) {
        let mut child = self.child.take().expect("the runtime runs");
        crate::netns::run("kill", &[signal, &child.id().to_string()]);
        child.wait().unwrap();
    }

    /// Starts the runtime that was stopped or killed, and waits until it answers.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the runtime runs");
        self.launch().unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Makes a pod and starts its containers.
    ///
    /// # Panics
    /// If the runtime refuses.
    pub fn pod(&self, spec: PodSpec) -> Sandbox {
        self.try_pod(spec).unwrap_or_else(|reason| panic!("{reason}; the runtime's log ends with\n{}", self.log()))
    }

    fn try_pod(&self, spec: PodSpec) -> Result<Sandbox, String> {
        Sandbox::run(self.client(), self.folder.path(), spec)
    }

    /// Makes pods, several at once, and gives them in the same order.
    pub fn pods(&self, specs: Vec<PodSpec>) -> Vec<Sandbox> {
        let jobs: Vec<_> = specs.into_iter().map(|spec| move || self.pod(spec)).collect();
        at_once(jobs)
    }

    /// Stops and removes pods, several at once.
    pub fn remove(&self, sandboxes: Vec<Sandbox>) {
        at_once(sandboxes.into_iter().map(|sandbox| move || sandbox.remove()).collect());
    }

    /// All sandboxes that the runtime lists, as `NAMESPACE/NAME`, with their address if they run and have one of their own.
    pub fn list(&self) -> Vec<(String, String)> {
        let client = self.client();
        let one = |sandbox: api::PodSandbox| {
            let metadata = sandbox.metadata.unwrap_or_default();
            let network = client.sandbox(&sandbox.id).unwrap().0.network.unwrap_or_default();
            (format!("{}/{}", metadata.namespace, metadata.name), network.ip)
        };
        let mut all: Vec<_> = client.sandboxes().unwrap().into_iter().map(one).collect();
        all.sort();
        all
    }

    /// An agent on this node that asks this runtime, and has these lines in its configuration besides.
    pub fn agent(&self, config: &str) -> Agent {
        Agent::start_on(&self.node, &self.agent_config(config))
    }

    /// The configuration of such an agent.
    pub fn agent_config(&self, config: &str) -> String {
        let (socket, node) = (self.socket(), self.node.path());
        let pods = format!("pods: {{ cri: {}, docker: none }}", socket.display());
        format!("{pods}\nhost_netns: {}\n{config}", node.display())
    }

    /// What a command of the binary says when it is run on this node.
    pub fn command(&self, args: &[&str]) -> (i32, String, String) {
        let netns = format!("--net={}", self.node.path().display());
        let output = Command::new("nsenter").arg(netns).arg(binary()).args(args).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the runtime's log ends with\n{}", self.log());
        }
        teardown::tear_down(self.folder.path());
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Why this machine cannot run pods, if it cannot: found out once, with a pod.
pub fn unavailable() -> Option<&'static str> {
    snapshotter().as_ref().err().map(String::as_str)
}

/// Which plug-in for the containers' file systems works here.
fn snapshotter() -> &'static Result<&'static str, String> {
    static FOUND: OnceLock<Result<&str, String>> = OnceLock::new();
    FOUND.get_or_init(|| {
        teardown::sweep(&format!("netsonde-{LABEL}"));
        for needed in ["containerd", "runc", "ctr", image::BINARY, config::BRIDGE, "nsenter", "tar", "sha256sum"] {
            let there = ["", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
            if !there.iter().any(|folder| Path::new(folder).join(needed).is_file()) {
                return Err(format!("{needed} is not there: run tools/install-packages.sh"));
            }
        }
        let mut reasons = Vec::new();
        for snapshotter in ["overlayfs", "native"] {
            match Containerd::try_start(snapshotter, 20).and_then(|containerd| {
                containerd.try_pod(PodSpec::new("default", "probe").container("first", IDLE)).map(drop)
            }) {
                Ok(()) => return Ok(snapshotter),
                Err(reason) => reasons.push(format!("with {snapshotter}: {reason}")),
            }
        }
        Err(reasons.join("; "))
    })
}

/// How many runtimes of this process have pods: the last one removes the cgroup that holds them all.
struct Living;

static LIVING: Mutex<usize> = Mutex::new(0);

impl Living {
    fn new() -> Self {
        *LIVING.lock().unwrap() += 1;
        Self
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let mut living = LIVING.lock().unwrap();
        *living -= 1;
        if *living == 0 {
            cgroup::remove_parents();
        }
    }
}

/// Does all of this, some at once, and gives what it gave in the same order.
fn at_once<T: Send>(jobs: Vec<impl FnOnce() -> T + Send>) -> Vec<T> {
    let jobs = Mutex::new(jobs.into_iter().enumerate().collect::<std::collections::VecDeque<_>>());
    let work = || {
        let mut done = Vec::new();
        loop {
            // The lock is not held while the job is done.
            let next = jobs.lock().unwrap().pop_front();
            let Some((at, job)) = next else { return done };
            done.push((at, job()));
        }
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs a command and gives what it printed.
fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("start {program}: {error}"))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{program} {}: {}", args.join(" "), text(&output.stderr)))
}

/// 4096 addresses, as far as can be none that another node of this machine has: an agent hears the events of all of them.
fn new_network() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = (std::process::id().wrapping_mul(64) + NEXT.fetch_add(1, Ordering::Relaxed)) % 1024;
    // 10.64.0.0/10.
    Ipv4Addr::from_bits((10 << 24) | (64 << 16) | (number << 12))
}

/// A uid as Kubernetes gives them, that no other pod has, on this machine.
fn new_uid() -> String {
    let salt = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let own = unique("");
    let mut parts = own.split('-').skip(1).map(|part| part.parse::<u64>().unwrap_or_default());
    let (process, number) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let salt = salt as u64;
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        process,
        number & 0xffff,
        salt >> 48 & 0xfff,
        0,
        salt & 0xffff_ffff_ffff
    )
}
