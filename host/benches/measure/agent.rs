//! The agent as its users run it, from outside: its CPU time by the scheduler's account, and what it says of itself.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

pub struct Agent {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Agent {
    /// `config` is what the file says besides the port and the folders.
    pub fn start(config: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join("netsonde-bench");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("netsonde.yaml");
        let config = format!(
            "listen: {address}\ncache_folder: {0}-cache\nspill: {{ folder: {0}/spill }}\nsinks: [{{ file: {{ path: {0}/events, form: json }} }}]\n{config}",
            folder.display()
        );
        fs::write(&file, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_netsonde"))
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let agent = Self { child: child.unwrap(), address, folder };
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        // The first page comes when all probes run.
        while agent.sum("netsonde_probe_up", "") == 0.0 {
            thread::sleep(Duration::from_millis(5));
        }
        agent
    }

    pub fn page(&self) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }

    /// The sum of a family's series that have `with` among their labels.
    pub fn sum(&self, name: &str, with: &str) -> f64 {
        sum(&self.page(), name, with)
    }

    /// CPU time of all its threads.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten();
        let nanos = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// In KiB.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Until nothing more comes out.
    pub fn quiet(&self) {
        let mut before = -1.0;
        loop {
            thread::sleep(Duration::from_millis(1100));
            let now = self.sum("netsonde_sink_events_total", "");
            if now == before {
                return;
            }
            before = now;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn sum(page: &str, name: &str, with: &str) -> f64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = rest.starts_with(['{', ' ']) && rest.contains(with);
        value.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    };
    page.lines().filter_map(of).sum()
}
