//! What makes tracepoints fire: this program again, in a network namespace of its own, as its CPU time is not the agent's.

use rustix::time::{ClockId, clock_gettime};
use std::{
    io::Read,
    net::{TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Datagrams to a port that nobody listens at: each is a drop, and an ICMP message.
pub const DROPS: &str = "drops";
/// Connections that are refused: each is a reset sent, and one received.
pub const RESETS: &str = "resets";
/// Datagrams that arrive, one after the other.
pub const TRAFFIC: &str = "traffic";

/// Nobody listens there.
const CLOSED: &str = "127.0.0.1:9";

pub struct Load(Child);

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub count: u64,
    pub wall: Duration,
    pub cpu: Duration,
}

impl Done {
    pub fn rate(self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }
}

impl Load {
    pub fn start(what: &str, millis: u64) -> Self {
        let child = Command::new("unshare")
            .args(["-n", "sh", "-c", "ip link set lo up; exec \"$0\" load \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args([what, &millis.to_string()])
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    pub fn wait(mut self) -> Done {
        let mut line = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut line).unwrap();
        assert!(self.0.wait().unwrap().success(), "these benches need root, and ip");
        let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [count, wall, cpu] = numbers[..] else { panic!("{line}") };
        Done { count, wall: Duration::from_nanos(wall), cpu: Duration::from_nanos(cpu) }
    }
}

/// As the child.
pub fn run(what: &str, millis: u64) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let me = socket.local_addr().unwrap();
    let mut once: Box<dyn FnMut()> = match what {
        DROPS => Box::new(move || drop(socket.send_to(&[0; 64], CLOSED))),
        RESETS => Box::new(|| assert!(TcpStream::connect(CLOSED).is_err())),
        _ => Box::new(move || {
            socket.send_to(&[0; 1400], me).unwrap();
            socket.recv(&mut [0; 1500]).unwrap();
        }),
    };
    let began = Instant::now();
    let mut count = 0_u64;
    while began.elapsed() < Duration::from_millis(millis) {
        (0..64).for_each(|_| once());
        count += 64;
    }
    let wall = began.elapsed().as_nanos();
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    println!("{count} {wall} {}", cpu.tv_sec as u128 * 1_000_000_000 + cpu.tv_nsec as u128);
}
