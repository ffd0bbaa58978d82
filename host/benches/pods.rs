//! What it costs to learn of a node's pods: a scripted runtime in a process of its own tells as much as containerd does. Beside it, what the
//! two lists alone cost.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

mod measure;
#[path = "../tests/scripted/mod.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod scripted;

use measure::{spent::Spent, table::Table};
use netsonde::scope::watch::{self, Watched};
use netsonde_core::config::{Pods, Runtime};
use scripted::{
    cri,
    serve::{Folder, Server},
};
use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

/// Bytes that are added to each verbose status: with them it has as many as those of containerd 1.6.
const SANDBOX: usize = 4_000;
/// More than a node has.
const MANY: usize = 1000;
/// What there is must be known within this time.
const LIMIT: Duration = Duration::from_secs(2);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, word, socket, pods] = args.as_slice()
        && word == "serve"
    {
        return serve(Path::new(socket), pods.parse().unwrap());
    }
    let mut table = Table::new(&["pods", "known", "with details", "CPU", "one listing more, CPU", "memory a pod"]);
    for pods in [100, 300, MANY] {
        let folder = Folder::new();
        let runtime = Served::start(&folder.socket("cri.sock"), pods);
        table.row(measure(&folder.socket("cri.sock"), pods));
        drop(runtime);
    }
    table.print();
}

/// One run: a watcher that starts, and then lists again.
fn measure(socket: &Path, pods: usize) -> Vec<String> {
    let config = Pods { cri: Runtime::At(socket.to_owned()), docker: Runtime::None, labels: Vec::new() };
    let before = resident();
    let (sender, told) = channel();
    let (mut known, mut complete) = (Duration::ZERO, Duration::ZERO);
    let mut watcher = None;
    let spent = Spent::by(|| {
        let began = Instant::now();
        watcher = Some(watch::start(&config, move |watched| drop(sender.send(watched))).unwrap());
        while complete.is_zero() {
            let watched: Watched = told.recv_timeout(Duration::from_secs(30)).unwrap();
            assert_eq!((watched.pods.len(), watched.sources[0].error.as_deref()), (pods, None));
            if known.is_zero() {
                known = began.elapsed();
            }
            if watched.pods.iter().flat_map(|pod| &pod.containers).all(|one| one.pid.is_some()) {
                complete = began.elapsed();
            }
        }
    });
    let memory = resident().saturating_sub(before) / pods as u64;
    let watcher = watcher.unwrap();
    let listings = || watcher.sources()[0].listings;
    // What is asked for again while the details come is over by then.
    thread::sleep(Duration::from_millis(500));
    let first = listings();
    let again = Spent::by(|| {
        for _ in 0..4 {
            watcher.look_again();
            thread::sleep(Duration::from_millis(1600));
        }
    });
    let each = again.cpu / u32::try_from(listings() - first).unwrap();
    assert!(known < LIMIT, "{pods} pods were known after {known:?}");
    assert!(spent.cpu < Duration::from_secs(1), "{pods} pods took {:?} of a CPU", spent.cpu);
    // Of few pods, most is what a connection takes.
    assert!(pods < MANY || memory < 20_000, "a pod takes {memory} bytes");
    let time = |time: Duration| format!("{time:.1?}");
    vec![pods.to_string(), time(known), time(complete), time(spent.cpu), time(each), format!("{memory} B")]
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// The runtime's process. It ends with its input.
struct Served(Child);

impl Served {
    fn start(socket: &Path, pods: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("serve").arg(socket).arg(pods.to_string());
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        while !socket.exists() {
            thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn serve(socket: &Path, pods: u32) {
    let runtime = cri::Runtime::new("containerd", "1.6.20");
    for number in 0..pods {
        let mut pod = cri::Pod::new(number, &format!("ns{}", number % 10), &format!("app-{number}"));
        let mut second = pod.containers[0].clone();
        (second.id, second.name) = (format!("d{number:063x}"), "sidecar".to_owned());
        pod.containers.push(second);
        let more = (0..12).map(|label| (format!("app.kubernetes.io/label-{label}"), format!("value-{number}")));
        pod.labels.extend(more);
        runtime.add(pod);
    }
    runtime.world().padding = SANDBOX;
    let _server: Server = runtime.serve(socket);
    let _ = std::io::stdin().read(&mut [0]);
}
