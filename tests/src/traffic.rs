//! Real traffic between namespaces, step by step, and what the agent says of it.

use crate::{agent::Agent, netns::Netns, netns::Process};
use serde_json::{Value, json};

/// A Python process in a namespace that does one thing after another, and keeps what it has opened.
pub struct Peer {
    process: Process,
}

/// What the steps are written with. Every wait has an end.
const PRELUDE: &str = r#"
import errno, json, os, socket, struct, sys, time

def family(address): return socket.AF_INET6 if ':' in address else socket.AF_INET
def any(address): return '::' if ':' in address else '0.0.0.0'

def tcp(address):
    s = socket.socket(family(address), socket.SOCK_STREAM); s.settimeout(20); return s

def listen(address, port):
    s = tcp(address); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((address, port)); s.listen(64); return s

def accept(l):
    c, _ = l.accept(); c.settimeout(20); return c

def connect(address, port):
    s = tcp(address); s.connect((address, port)); return s

def port(s): return s.getsockname()[1]

# Connections to a port where nobody listens: the ports that they came from.
def refused(address, port, count):
    ports = []
    for _ in range(count):
        s = tcp(address); s.bind((any(address), 0)); ports.append(s.getsockname()[1])
        assert s.connect_ex((address, port)) == errno.ECONNREFUSED
        s.close()
    return ports

# Datagrams from one socket: its port.
def send(address, port, count, size=8):
    s = socket.socket(family(address), socket.SOCK_DGRAM)
    s.bind((any(address), 0))
    for _ in range(count):
        try: s.sendto(b'x' * size, (address, port))
        except ConnectionRefusedError: pass
    return s.getsockname()[1]

def until(what, done):
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, 'waited in vain until ' + what
        time.sleep(0.01)

# Waits for the reset that the other side has sent, or will send: after its FIN it shows as EPIPE.
def until_reset(s):
    try:
        while s.recv(4096): pass
        until('the reset comes', lambda: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (errno.ECONNRESET, errno.EPIPE))
    except (ConnectionResetError, BrokenPipeError): pass
"#;

/// Runs each line that it is told, a text in JSON, and answers with what it gave.
const LOOP: &str = r#"
print('ready', flush=True)
for line in sys.stdin:
    try:
        text = json.loads(line)
        try: code, value = compile(text, 'step', 'eval'), None
        except SyntaxError: exec(text, globals()); print(json.dumps({'gave': None}), flush=True)
        else: print(json.dumps({'gave': eval(code, globals())}, default=lambda _: None), flush=True)
    except BaseException as error:
        print(json.dumps({'failed': repr(error)}), flush=True)
"#;

impl Peer {
    pub fn new(netns: &Netns) -> Self {
        Self { process: netns.python(&format!("{PRELUDE}{LOOP}")) }
    }

    /// The same, started by a command that is given Python's program as its last argument.
    pub fn run_by(program: &str, args: &[&str]) -> Self {
        let code = format!("{PRELUDE}{LOOP}");
        let mut process = Process::piped(program, &[args, &[&code]].concat());
        process.wait_for_line();
        Self { process }
    }

    /// Runs an expression, or some lines, and gives the expression's value.
    ///
    /// # Panics
    /// If it fails in there, or ends.
    pub fn run(&mut self, code: &str) -> Value {
        self.process.tell(&json!(code).to_string());
        let answer: Value = serde_json::from_str(&self.process.wait_for_line()).unwrap();
        assert!(answer.get("failed").is_none(), "{code}: {}", answer["failed"]);
        answer["gave"].clone()
    }

    /// The same, of a whole number.
    pub fn number(&mut self, code: &str) -> u64 {
        let value = self.run(code);
        value.as_u64().unwrap_or_else(|| panic!("{code} gives {value}"))
    }

    /// The same, of a list of them.
    pub fn numbers(&mut self, code: &str) -> Vec<u64> {
        self.run(code).as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// What the agent says of traffic.
impl Agent {
    /// Waits until so many queries over tracepoints have their program attached.
    pub fn until_attached(&self, hooks: usize) {
        self.wait_until(&format!("{hooks} programs are attached"), |agent| {
            agent.page().find("netsonde_hook_attached", &[]).filter(|sample| sample.value == 1.0).count() == hooks
        });
    }

    /// Waits until a counter has come to `want`, and makes sure that it stays there.
    pub fn until_counted(&self, name: &str, labels: &[(&str, &str)], want: f64) {
        self.wait_until(&format!("{name}{labels:?} is {want}"), |agent| {
            agent.page().get(name, labels).is_some_and(|value| value >= want)
        });
        assert_eq!(self.scrape().value(name, labels), want, "{name}{labels:?}");
    }

    /// All events that it still knows, of one type.
    pub fn events(&self, ty: &str) -> Vec<Value> {
        let response = self.get(&format!("/events?limit=4096&type={ty}"));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-type"), "application/x-ndjson");
        response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Those of one namespace.
    pub fn events_of(&self, ty: &str, netns: &str) -> Vec<Value> {
        self.events(ty).into_iter().filter(|event| event["netns"] == netns).collect()
    }

    /// How a probe is, as `/probes` says.
    pub fn probe(&self, name: &str) -> Value {
        let probes: Value = serde_json::from_slice(&self.get("/probes").body).unwrap();
        let found = probes["probes"].as_array().unwrap().iter().find(|probe| probe["name"] == name);
        found.unwrap_or_else(|| panic!("no probe {name} in {probes}")).clone()
    }
}
