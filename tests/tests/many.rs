//! Ten thousand sockets: more rows than the kernel hands out at once. A row that did not fit comes again, and is still told once; also
//! if the reader sleeps in between, and sockets come and go.

use netsonde_tests::{
    binary,
    netns::{Netns, run},
    query::answer,
    ss::sockets,
    traffic::Peer,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const MANY: usize = 10_000;
const FIRST_PORT: usize = 20_000;

const ROWS: &str = "SELECT fd, pid, lport FROM iter.socket";

/// Opens so many UDP sockets, half of which a second process has, too: gives its pid as well. They end together.
fn many(netns: &Netns) -> (Peer, u64) {
    let mut peer = Peer::new(netns);
    peer.run(&format!(
        "import ctypes, resource, signal
resource.setrlimit(resource.RLIMIT_NOFILE, (15000, 15000))
kept = {{}}
def made(port):
    kept[port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kept[port].bind(('127.0.0.1', port))
for port in range({FIRST_PORT}, {FIRST_PORT} + {MANY} // 2): made(port)
r, w = os.pipe()
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.write(w, b'x')
    while True: signal.pause()
os.read(r, 1)
for port in range({FIRST_PORT} + {MANY} // 2, {FIRST_PORT} + {MANY}): made(port)"
    ));
    let child = peer.number("child");
    (peer, child)
}

fn ports(rows: &[Value]) -> BTreeSet<u64> {
    rows.iter().map(|row| row["lport"].as_u64().unwrap()).collect()
}

/// The ports of UDP sockets there, as the kernel says.
fn kernels_ports(netns: &Netns) -> BTreeSet<u64> {
    let sockets = sockets(netns, &["-uan"]);
    sockets.iter().map(|socket| socket.local.rsplit_once(':').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn each_of_ten_thousand_sockets_is_told_once() {
    let netns = Netns::new("many");
    let (peer, child) = many(&netns);
    let rows = answer(&format!("{ROWS} WHERE name(netns) = '{}'", netns.name));
    let want = kernels_ports(&netns);
    assert_eq!((rows.len(), want.len()), (MANY, MANY));
    assert!(ports(&rows) == want, "these are not told: {:?}", want.difference(&ports(&rows)).collect::<Vec<_>>());
    let holder = |row: &Value| (row["pid"].as_u64().unwrap(), row["fd"].as_u64().unwrap());
    assert_eq!(rows.iter().map(holder).collect::<BTreeSet<_>>().len(), MANY, "each has a descriptor of its own");
    for row in &rows {
        let shared = row["lport"].as_u64() < Some((FIRST_PORT + MANY / 2) as u64);
        assert!(row["pid"] == peer.pid() || shared && row["pid"] == child, "{row}");
    }

    let sums =
        answer("SELECT name(netns) AS netns, count(*) AS sockets, sum(lport) AS ports FROM iter.socket GROUP BY netns");
    let sum = sums.iter().find(|row| row["netns"] == *netns.name).unwrap();
    assert_eq!((sum["sockets"].as_u64(), sum["ports"].as_u64()), (Some(MANY as u64), Some(want.iter().sum())));
}

/// `netsonde query` that was stopped between two reads of a pass over many sockets.
struct Stopped(Child);

impl Stopped {
    /// Where each of the process's passes is, in bytes: the kernel tells of each descriptor.
    fn passes(pid: u32) -> Vec<u64> {
        let position = |entry: fs::DirEntry| {
            let link = fs::read_link(entry.path()).ok()?;
            if link.to_str() != Some("anon_inode:bpf_iter") {
                return None;
            }
            let about = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", entry.file_name().to_str()?)).ok()?;
            about.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok())
        };
        fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().filter_map(position).collect()
    }

    /// None if it was too quick.
    fn catch(sql: &str) -> Option<Self> {
        let mut command = Command::new(binary());
        command.args(["query", sql, "--json"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = child.id();
        let stopped = Self(child);
        // Beyond the passes that are made first, and not yet at the half of the sockets that come and go.
        let window = 48 << 10..160 << 10;
        let midway = || Self::passes(pid).into_iter().any(|position| window.contains(&position));
        let began = Instant::now();
        while !midway() {
            // One that is missed ends, or waits until somebody takes its rows.
            let is_late = Self::passes(pid).into_iter().any(|position| position >= window.end);
            if is_late || began.elapsed() > Duration::from_millis(500) {
                return None;
            }
        }
        run("kill", &["-STOP", &pid.to_string()]);
        while !fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ") {
            assert!(began.elapsed() < Duration::from_secs(10), "it does not stop");
        }
        midway().then_some(stopped)
    }

    fn go_on(mut self) -> Vec<Value> {
        run("kill", &["-CONT", &self.0.id().to_string()]);
        serde_json::from_reader(self.0.stdout.take().unwrap()).unwrap()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sockets_that_stay_are_told_once_while_others_come_and_go_and_the_reader_sleeps() {
    let netns = Netns::new("sleep");
    let (mut peer, _) = many(&netns);
    let sql =
        format!("SELECT fd, lport, file.f_inode.i_ino AS inode FROM iter.socket WHERE name(netns) = '{}'", netns.name);
    let stopped = (0..300).find_map(|_| Stopped::catch(&sql)).expect("a pass is caught between two reads");
    // Of the half that only one process has, every fourth goes, and for each a new one comes.
    let (middle, end) = (FIRST_PORT + MANY / 2, FIRST_PORT + MANY);
    peer.run(&format!("for port in range({middle}, {end}, 4): kept.pop(port).close(); made(port - {middle} + {end})"));
    let rows = stopped.go_on();
    let inodes: BTreeSet<_> = rows.iter().map(|row| row["inode"].as_u64().unwrap()).collect();
    assert_eq!(inodes.len(), rows.len(), "some are told twice");
    let have = ports(&rows);
    let has = |port: &usize| have.contains(&(*port as u64));
    let stay = (FIRST_PORT..middle).chain((middle..end).filter(|port| !(port - middle).is_multiple_of(4)));
    let lost: Vec<usize> = stay.filter(|port| !has(port)).collect();
    assert!(lost.is_empty(), "not told: {lost:?}");
    let gone = (middle..end).step_by(4).filter(has).count();
    let new = (end..).step_by(4).take(MANY / 8).filter(has).count();
    assert!(
        new > 0 && gone < MANY / 8,
        "{gone} of those that went are told, and {new} that came: nothing was stopped in the middle"
    );
    assert_eq!(rows.len(), MANY - MANY / 8 + gone + new);
}
