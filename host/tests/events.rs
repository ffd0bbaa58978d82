//! `/events` over a real socket: the log and the server of the agent, events made by the test.

#![allow(clippy::unwrap_used)]

use netsonde::{
    agent::{
        board::Shared,
        events::{EventLog, Made},
        pages::AgentPages,
    },
    http::{self, security::Security},
    sink::Sinks,
};
use netsonde_core::{
    batch::{Column, Values},
    config::Config,
    event::Origins,
    output::{Shape, check},
    probe::{Call, CallKind, EventType, Events, Field, Output, Plan},
    scope::Scopes,
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// A server with an empty log.
struct Server {
    log: Arc<EventLog>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let log = Arc::new(EventLog::new(&Config::default(), "n", Duration::from_secs(1), Sinks::default(), None));
        let clock = || (Duration::ZERO, Duration::ZERO);
        let shared = Arc::new(Shared::new(Arc::new(Mutex::new(Scopes::default())), log.clone(), None, clock));
        let (requests, _) = mpsc::sync_channel(1);
        let pages = Arc::new(AgentPages::new(shared, Arc::default(), requests, Duration::from_secs(1), "n".into()));
        let (stop, stopped) = oneshot::channel();
        let (address_to, address) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
                address_to.send(listener.local_addr().unwrap()).unwrap();
                let stop = async { drop(stopped.await) };
                let security = Arc::new(Security::open(None, None).unwrap());
                http::serve(listener, pages, security, stop, Duration::from_secs(5)).await;
            });
        });
        Self { log, address: address.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// Sends a request by HTTP/1.0: its answer ends with the connection.
    fn ask(&self, method: &str, path: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        BufReader::new(stream)
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut answer = String::new();
        self.ask("GET", path).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// The field `n` of each event that the page has; a missed one as its negative count.
    fn numbers(&self, path: &str) -> Vec<i64> {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{body}");
        body.lines().map(number).collect()
    }

    /// Follows the events, from after the head.
    fn follow(&self, path: &str) -> BufReader<TcpStream> {
        let mut answer = self.ask("GET", path);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(answer.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.contains("200 OK") && head.contains("content-type: application/x-ndjson"), "{head}");
        answer
    }

    /// `TICK` and `TOCK` by turns, of `probe`, with these numbers.
    fn add(&self, probe: &str, numbers: std::ops::Range<u32>) {
        let field = Field { name: "n".into(), logical: "count".into(), nullable: false, attributes: vec![] };
        let ty = |name: &str| EventType {
            name: name.into(),
            help: String::new(),
            fields: vec![field.clone()],
            attributes: vec![],
        };
        let plan = Plan { events: vec![ty("TICK"), ty("TOCK")], ..Plan::default() };
        let event = |number: u32| Events {
            ty: number % 2,
            count: 1,
            answer: None,
            rows: vec![],
            scopes: None,
            fields: vec![Column::full(Values::U32(vec![number]))],
        };
        let output = Output { events: numbers.map(event).collect(), ..Output::default() };
        let call = Call {
            kind: CallKind::Collection,
            id: 1,
            monotonic_nanos: 0,
            unix_nanos: 0,
            answers: vec![],
            gone: vec![],
        };
        let (scopes, origins) = (Scopes::default(), Origins::new(&call, vec![]));
        let checked = check(&output, &plan, &Shape::from(&call), &scopes).unwrap();
        let made = Made { probe, per_second: 100_000, plan: &plan, output: checked, origins: &origins };
        assert_eq!(self.log.add(&made, &scopes, Duration::ZERO), 0);
    }

    fn stop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            stop.send(()).unwrap();
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn number(line: &str) -> i64 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    match value["missed"].as_i64() {
        Some(missed) => -missed,
        None => value["fields"]["n"].as_i64().unwrap_or_else(|| panic!("{line}")),
    }
}

fn next(answer: &mut BufReader<TcpStream>) -> i64 {
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    number(&line)
}

#[test]
fn the_recent_ones_are_there_and_can_be_chosen() {
    let server = Server::start();
    assert!(server.numbers("/events").is_empty());
    server.add("a", 1..5);
    server.add("b", 5..9);
    for (path, want) in [
        ("/events", (1..9).collect()),
        ("/events?type=TOCK", vec![1, 3, 5, 7]),
        ("/events?type=TOCK&type=TICK&probe=b", vec![5, 6, 7, 8]),
        ("/events?type=NONE", vec![]),
        ("/events?limit=3", vec![6, 7, 8]),
        ("/events?limit=3&type=TICK", vec![4, 6, 8]),
        ("/events?limit=0", vec![]),
        ("/events?since=6", vec![7, 8]),
        ("/events?since=2&limit=4&probe=a", vec![3, 4]),
        ("/events?since=99", (1..9).collect()),
        ("/events?since=0000000000000000-6", (1..9).collect()),
        (&format!("/events?since={:016x}-6", server.log.run()), vec![7, 8]),
    ] {
        assert_eq!(server.numbers(path), want, "{path}");
    }
    let (status, message) = server.get("/events?typ=A");
    assert!(status == 400 && message.contains("allowed are id, type, probe"), "{status} {message}");
    let mut head = String::new();
    server.ask("HEAD", "/events?follow").read_to_string(&mut head).unwrap();
    assert!(head.contains("200 OK") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn whoever_follows_gets_the_head_at_once_and_each_event_as_it_comes() {
    let mut server = Server::start();
    let mut all = server.follow("/events?follow");
    server.add("a", 1..4);
    assert_eq!([next(&mut all), next(&mut all), next(&mut all)], [1, 2, 3]);
    let mut ticks = server.follow("/events?follow&type=TICK&limit=1");
    assert_eq!(next(&mut ticks), 2);
    server.add("a", 4..6);
    server.add("a", 6..7);
    assert_eq!([next(&mut ticks), next(&mut ticks)], [4, 6]);
    assert_eq!([next(&mut all), next(&mut all), next(&mut all)], [4, 5, 6]);
    // The end of the agent is the end of the answer, and holds up nobody.
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(all.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn rule_17_whoever_is_too_slow_is_told_how_many_are_missed() {
    let server = Server::start();
    server.add("a", 0..10_000);
    assert_eq!(server.numbers("/events").len(), 4096, "nobody asked for those before");
    let told = server.numbers("/events?since=1000");
    assert_eq!(told[..2], [-(10_000 - 4096 - 1000), 10_000 - 4096]);
    assert_eq!(told.len(), 4097);

    // One that reads nothing while more comes than the sockets' buffers and the log can hold.
    let mut slow = server.follow("/events?follow&limit=0");
    for _ in 0..8 {
        server.add("a", 0..10_000);
        thread::sleep(Duration::from_millis(50));
    }
    let (mut events, mut missed) = (0, 0);
    while events + missed < 80_000 {
        match next(&mut slow) {
            number if number < 0 => missed -= number,
            _ => events += 1,
        }
    }
    assert_eq!(events + missed, 80_000, "{events} events, {missed} missed");
    assert!(missed > 0 && events >= 4096, "{events} events, {missed} missed");
}

#[test]
fn so_many_may_follow_at_once_and_a_place_is_free_when_one_goes() {
    let server = Server::start();
    let mut following: Vec<_> = (0..32).map(|_| server.follow("/events?follow")).collect();
    let (status, message) = server.get("/events?follow");
    assert!(status == 503 && message.contains("32 clients"), "{status} {message}");
    assert_eq!(server.get("/events").0, 200, "those who do not follow need no place");
    following.pop();
    let began = Instant::now();
    while server.log_has_no_place() {
        assert!(began.elapsed() < Duration::from_secs(10), "the place was not given back");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Server {
    fn log_has_no_place(&self) -> bool {
        let mut line = String::new();
        self.ask("GET", "/events?follow").read_line(&mut line).unwrap();
        line.contains("503")
    }
}
