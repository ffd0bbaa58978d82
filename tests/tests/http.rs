//! Clients that the server must survive, and the pages beside `/metrics`.

use netsonde_tests::{agent::Agent, http};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

fn send(agent: &Agent, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&agent.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn each_page_is_there_and_others_are_told() {
    let agent = Agent::start("node: worker-3\nprobes: { sockstat: {} }");
    for (path, kind, told) in [
        ("/", "text/html", "worker-3"),
        ("/healthz", "text/plain", "ok"),
        ("/readyz", "text/plain", "ready"),
        ("/probes", "application/json", "\"state\": \"running\""),
        ("/events", "application/x-ndjson", ""),
        ("/metrics", "text/plain", "netsonde_build_info{version="),
    ] {
        let response = agent.get(path);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.header("content-type").starts_with(kind), "{path}: {}", response.header("content-type"));
        assert!(response.text().contains(told), "{path}: {}", response.text());
    }
    let missing = agent.get("/metric");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("/metrics"));
    assert!(
        send(&agent, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .contains("405")
    );
    let head = send(&agent, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.contains("200 OK") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn rubbish_and_stalled_clients_do_not_touch_others() {
    let agent = Agent::start("probes: { sockstat: {} }");
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(&agent.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost").unwrap();
        stalled.push(stream);
    }
    for rubbish in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let answer = send(&agent, rubbish);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    let huge = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(!send(&agent, huge.as_bytes()).contains("200 OK"));
    let began = Instant::now();
    assert_eq!(agent.get("/metrics").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn connections_beyond_the_limit_are_closed_and_counted() {
    let agent = Agent::start("probes: {}");
    let mut held: Vec<TcpStream> = (0..256).map(|_| TcpStream::connect(&agent.address).unwrap()).collect();
    // One more is accepted by the kernel and closed by the agent.
    agent.wait_until("a connection is refused", |agent| http::try_get(&agent.address, "/healthz", &[]).is_err());
    held.clear();
    agent.wait_until("there is room again", |agent| {
        http::try_get(&agent.address, "/healthz", &[]).is_ok_and(|response| response.status == 200)
    });
    assert!(agent.page().value("netsonde_http_refused_connections_total", &[]) >= 1.0);
}

#[test]
fn rule_1_a_scraper_that_waits_shortly_is_answered_within_its_time() {
    let agent = Agent::start("");
    let began = Instant::now();
    let response = http::get(&agent.address, "/metrics", &[("X-Prometheus-Scrape-Timeout-Seconds", "2")]);
    assert!(response.status == 200 && began.elapsed() < Duration::from_secs(2));
    let response = http::get(&agent.address, "/metrics", &[("X-Prometheus-Scrape-Timeout-Seconds", "nonsense")]);
    assert_eq!(response.status, 200);
}
