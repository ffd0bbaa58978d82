//! rotel, a real receiver of OTLP, which prints what it gets.

use crate::{Folder, unique};
use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// As in `tools/install-rotel.sh`.
const VERSION: &str = "0.0.1a15";

/// A running receiver, ended with the test.
pub struct Rotel {
    child: Child,
    folder: Folder,
    http: u16,
    grpc: u16,
}

impl Rotel {
    /// One that prints this kind of telemetry: `logs`, `metrics`.
    ///
    /// # Panics
    /// If it was not installed, or does not listen within 10 s.
    pub fn start(kind: &str) -> Self {
        let binary = binary();
        let folder = Folder::new("rotel");
        let log = File::create(folder.path().join("log")).unwrap();
        // Nobody else here takes ports at random.
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (http, grpc) = (port(), port());
        let child = Command::new(binary)
            .args(["start", "--exporter", "blackhole", "--debug-log", kind, "--debug-log-verbosity", "detailed"])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .arg("--pid-file")
            .arg(folder.path().join(unique("pid")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let rotel = Self { child, folder, http, grpc };
        let began = Instant::now();
        while [http, grpc].iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            assert!(began.elapsed() < Duration::from_secs(10), "rotel does not listen:\n{}", rotel.printed());
            thread::sleep(Duration::from_millis(20));
        }
        rotel
    }

    /// For the configuration.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// All that it has printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The text of each log record.
    pub fn records(&self) -> Vec<String> {
        let printed = self.printed();
        // A record ends with its flags; what follows is a head of its own, or another record.
        let whole = printed.rfind("\nFlags:").map_or("", |end| &printed[..end]);
        whole.split("\nLogRecord #").skip(1).map(str::to_owned).collect()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let path = target.join(format!("rotel-{VERSION}/rotel/rotel-agent"));
    assert!(path.is_file(), "{} is not there: run `make setup`", path.display());
    path
}
