//! The agent as its users run it, from outside: its CPU time by the scheduler's account, and what it says of itself.

use crate::load::{DROPS, Done, Load, RESETS, TRAFFIC};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

struct Agent {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Agent {
    /// `config` is what the file says besides the port and the folders.
    fn start(config: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join("netsonde-bench-hook");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("netsonde.yaml");
        let config = format!(
            "listen: {address}\ncache_folder: {0}-cache\nsinks: [{{ file: {{ path: {0}/events, form: json }} }}]\n{config}",
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

    fn page(&self) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }

    /// The sum of a family's series that have `with` among their labels.
    fn sum(&self, name: &str, with: &str) -> f64 {
        sum(&self.page(), name, with)
    }

    /// CPU time of all its threads.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten();
        let nanos = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Until nothing more comes out.
    fn quiet(&self) {
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

fn sum(page: &str, name: &str, with: &str) -> f64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = rest.starts_with(['{', ' ']) && rest.contains(with);
        value.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    };
    page.lines().filter_map(of).sum()
}

/// Rows of a stream, from the ring to a file.
pub fn rows() {
    let agent = Agent::start(
        "hooks: { rate: 100000/s, burst: 100000, cpu: 10000%, ring: 256MiB }\n\
         probes: { packet_loss: { limits: { events: 100000/s } } }\n",
    );
    agent.quiet();
    let probe = "probe=\"packet_loss\"";
    let (page, cpu) = (agent.page(), agent.cpu());
    let done = Load::start(DROPS, 4000).wait();
    agent.quiet();
    let (cpu, after) = (agent.cpu() - cpu, agent.page());
    let more = |name, with| sum(&after, name, with) - sum(&page, name, with);
    let rows = more("netsonde_sink_events_total", "");
    let wasm = more("netsonde_probe_cpu_seconds_total", probe);
    println!(
        "rows of packet_loss from the ring to a file: {rows:.0} of {} drops at {:.0}/s, {:.2} us of CPU each, {:.0} % of it in the probe",
        done.count,
        done.rate(),
        1e6 * cpu.as_secs_f64() / rows,
        100.0 * wasm / cpu.as_secs_f64(),
    );
    println!(
        "  kept back {:.0}, ring full {:.0}, dropped later {:.0}",
        more("netsonde_hook_suppressed_total", ""),
        more("netsonde_hook_lost_total", ""),
        more("netsonde_dropped_total", ""),
    );
}

/// Resets as fast as they go, with the default set and without.
pub fn flood() {
    let agent = || Agent::start("");
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        without.push(Load::start(RESETS, 2000).wait());
        let agent = agent();
        agent.quiet();
        let (page, cpu) = (agent.page(), agent.cpu());
        let done = Load::start(RESETS, 2000).wait();
        let (cpu, after) = (agent.cpu() - cpu, agent.page());
        let more = |name, with| sum(&after, name, with) - sum(&page, name, with);
        let seconds = done.wall.as_secs_f64();
        println!(
            "RST flood, {:.0}/s: agent {:.2} % of a core, its programs {:.2} %; {} were sent, counted {:.0}, missed {:.0}",
            done.rate(),
            100.0 * cpu.as_secs_f64() / seconds,
            100.0 * more("netsonde_hook_cpu_seconds_total", "") / seconds,
            done.count,
            more("netsonde_hook_runs_total", "query=\"sent\""),
            more("netsonde_hook_missed_total", ""),
        );
        with.push(done);
        // The first agent had its modules to compile, perhaps.
        if with.len() == 3 {
            println!(
                "resident memory of the agent {} KiB, of its programs {:.0} KiB",
                agent.resident(),
                sum(&after, "netsonde_hook_memory_bytes", "") / 1024.0
            );
        }
    }
    slower("the flood", without, with);
}

/// Traffic that is none of the default set's business.
pub fn traffic() {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        without.push(Load::start(TRAFFIC, 1500).wait());
        let agent = Agent::start("");
        agent.quiet();
        with.push(Load::start(TRAFFIC, 1500).wait());
    }
    slower("UDP over loopback", without, with);
}

/// By CPU time of the one who sends: a wall clock would tell of the machine's other work.
fn slower(what: &str, without: Vec<Done>, with: Vec<Done>) {
    let median = |done: Vec<Done>| {
        let mut each: Vec<f64> = done.iter().map(|done| 1e9 * done.cpu.as_secs_f64() / done.count as f64).collect();
        each.sort_by(f64::total_cmp);
        each[each.len() / 2]
    };
    let (without, with) = (median(without), median(with));
    println!(
        "{what}: {with:.0} ns of CPU each with the default set, {without:.0} ns without   ratio {:.3}",
        with / without
    );
}
