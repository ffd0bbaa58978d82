//! What the tests of sources begin with: namespaces, processes, and rows as lines.

use netsonde::{
    scope::netns::{self, Walk},
    source::table::TableRows,
};
use netsonde_core::{
    batch::{Column, Values},
    scope::{FoundNetns, Namespace, ScopeId},
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::{self, File},
    net::Ipv6Addr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

pub fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A short name that no other test and no other run has: also good for a device.
pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("nsx{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A named namespace, deleted at the end of the test, also of one that fails.
pub struct Netns(pub String);

impl Netns {
    pub fn new() -> Self {
        let name = unique();
        run(&format!("ip netns add {name}"));
        let netns = Self(name);
        netns.ip("link set lo up");
        netns
    }

    pub fn path(&self) -> PathBuf {
        Path::new(netns::NAMED).join(&self.0)
    }

    pub fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(self.path()).unwrap().ino()
    }

    pub fn ip(&self, arguments: &str) {
        run(&format!("ip -n {} {arguments}", self.0));
    }

    /// A file of `/proc/net`, as the kernel prints it inside.
    pub fn cat(&self, file: &str) -> String {
        run(&format!("ip netns exec {} cat /proc/net/{file}", self.0))
    }

    /// What `work` gives inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = File::open(self.path()).unwrap();
        let enter = || move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let inside = || {
            enter();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// A process that does nothing inside.
    pub fn process(&self) -> Process {
        Process::start(&format!("exec nsenter --net={} sleep 300", self.path().display()), |pid| {
            netns_of(pid) == Some(self.inode())
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).stderr(Stdio::null()).status();
    }
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Process {
    /// Starts `command` and waits until its process is `ready`.
    pub fn start(command: &str, ready: impl Fn(u32) -> bool) -> Self {
        let child = Command::new("sh").args(["-c", command]).stdin(Stdio::piped()).spawn().unwrap();
        let process = Self(child);
        assert!(eventually(|| ready(process.pid())), "{command} is not ready");
        process
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

/// Whether `condition` holds within ten seconds.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn netns_of(pid: u32) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// The namespace of the node's first process. Where that may not be looked at, the tests are taken to run in it.
pub fn host_inode() -> Option<u64> {
    netns_of(1).or_else(|| netns_of(std::process::id()))
}

pub fn walk() -> Walk {
    netns::walk(Path::new("/proc"), Path::new(netns::NAMED), None).unwrap()
}

/// What was found of `inode`; other tests' namespaces are on the node too.
pub fn found(inode: u64) -> Option<FoundNetns> {
    walk().found.into_iter().find(|found| found.inode == inode)
}

pub fn namespace(scope: ScopeId, found: FoundNetns) -> Namespace {
    let FoundNetns { inode, path, pids, host, .. } = found;
    Namespace { scope, inode, pids, path, host }
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Rows as lines, `NULL` where there is no value.
pub fn lines(table: &Result<TableRows, String>) -> Vec<String> {
    let batch = &table.as_ref().unwrap().batch;
    let cell = |row, column: &Column| match &column.values {
        _ if !column.has(row) => "NULL".to_owned(),
        Values::U32(values) => values[row].to_string(),
        Values::U64(values) => values[row].to_string(),
        Values::S64(values) => values[row].to_string(),
        Values::Address(bytes) => {
            let address = bytes[row * 16..].first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).to_canonical());
            address.unwrap().to_string()
        }
        _ => column.text(row).unwrap().to_owned(),
    };
    let line = |row| batch.columns.iter().map(|column| cell(row, column)).collect::<Vec<_>>().join(" ");
    (0..batch.rows).map(line).collect()
}

pub fn failed(table: &Result<TableRows, String>) -> &[(ScopeId, String)] {
    &table.as_ref().unwrap().failed
}
