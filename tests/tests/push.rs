//! Metrics pushed to real receivers: what arrives is what the page shows.

use netsonde_tests::{
    Folder,
    agent::Agent,
    http,
    netns::{Netns, Process},
    page::Sample,
    rotel::Rotel,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// VictoriaMetrics, which takes OpenTelemetry over HTTP and answers Prometheus' queries.
struct Victoria {
    _process: Process,
    address: String,
    _folder: Folder,
}

impl Victoria {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/victoria-metrics/usr/bin/victoria-metrics");
        assert!(program.is_file(), "{} is not there: run `make setup`", program.display());
        let folder = Folder::new("victoria");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let process = Process::spawn(
            &program.display().to_string(),
            &[
                &format!("-httpListenAddr={address}"),
                &format!("-storageDataPath={}", folder.path().display()),
                // What has come is to be seen at once.
                "-search.latencyOffset=0s",
                "-search.disableCache",
                "-memory.allowedBytes=64MiB",
            ],
        );
        let victoria = Self { _process: process, address, _folder: folder };
        let began = Instant::now();
        while !http::try_get(&victoria.address, "/health", &[]).is_ok_and(|answer| answer.status == 200) {
            assert!(began.elapsed() < Duration::from_secs(30), "it does not start");
            thread::sleep(Duration::from_millis(100));
        }
        victoria
    }

    /// The last value of each series by its labels, with the name among them as `__name__`.
    fn query(&self, promql: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let escaped: String = promql.bytes().map(|byte| format!("%{byte:02x}")).collect();
        // What was written is searched once it is flushed.
        let _ = http::try_get(&self.address, "/internal/force_flush", &[]);
        let answer = http::get(&self.address, &format!("/api/v1/query?query={escaped}"), &[]);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let series = |series: &Value| {
            let labels = series["metric"].as_object().unwrap().iter();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
            (labels.collect(), series["value"][1].as_str().unwrap().parse().unwrap())
        };
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().map(series).collect()
    }
}

/// A namespace that holds some sockets, known by what they are for: 3 connections within it, 2 of them accepted, and 1 datagram socket.
const SOCKETS: &str = "import socket, time\n\
    listener = socket.create_server(('127.0.0.1', 7001))\n\
    clients = [socket.create_connection(('127.0.0.1', 7001)) for _ in range(3)]\n\
    accepted = [listener.accept()[0] for _ in range(2)]\n\
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
    udp.bind(('::1', 7002))\n";

/// Besides, 1 connection that was closed with data that its other end does not take.
const ORPHAN: &str = "full = socket.create_server(('127.0.0.1', 7003))\n\
    orphan = socket.create_connection(('127.0.0.1', 7003))\n\
    deaf = full.accept()[0]\n\
    orphan.setblocking(False)\n\
    try:\n\
    \x20   while True: orphan.send(b'x' * 65536)\n\
    except BlockingIOError: pass\n\
    orphan.close()\n";

fn holding(sockets: &str) -> (Netns, Process) {
    let netns = Netns::new("push");
    let process = netns.python(&format!("{sockets}print('ready')\ntime.sleep(1000)"));
    (netns, process)
}

/// Values that nothing changes any more: those of a namespace in which all is quiet, without the probes' own clocks.
fn of(samples: &[Sample], netns: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    let own = samples.iter().filter(|sample| sample.labels.get("netns").is_some_and(|own| own == netns));
    let labels = |sample: &Sample| sample.labels.clone().into_iter().filter(|(_, value)| !value.is_empty()).collect();
    own.map(|sample| ((sample.name.clone(), labels(sample)), sample.value)).collect()
}

#[test]
fn what_otlp_carries_is_what_the_page_shows() {
    let (victoria, (netns, _sockets)) = (Victoria::start(), holding(SOCKETS));
    let agent = Agent::start(&format!(
        "node: node-7\n\
         probes: {{ sockstat: {{}}, traffic: {{ settings: {{ loopback: true }} }}, tcp_state: {{ settings: {{ rtt: true }} }} }}\n\
         sinks: [ {{ otlp: {{ url: 'http://{}/opentelemetry', metrics: 1s }} }} ]",
        victoria.address
    ));
    let pushes = [("sink", "otlp"), ("result", "ok")];
    agent.wait_until("three pushes went well", |agent| {
        agent.page().get("netsonde_push_attempts_total", &pushes).is_some_and(|pushes| pushes >= 3.0)
    });

    // A segment or a neighbour's message may come between the page and a push: then it is tried again.
    let began = Instant::now();
    loop {
        let page = of(&agent.scrape().0, &netns.name);
        thread::sleep(Duration::from_millis(2500));
        let mut stored = BTreeMap::new();
        for (mut labels, value) in victoria.query(&format!("{{netns=\"{}\"}}", netns.name)) {
            let name = labels.remove("__name__").unwrap();
            assert_eq!(labels.remove("service.name").as_deref(), Some("netsonde"), "{labels:?}");
            assert_eq!(labels.remove("host.name").as_deref(), Some("node-7"), "{labels:?}");
            labels.retain(|name, _| !name.contains('.'));
            assert!(stored.insert((name, labels), value).is_none());
        }
        let names: Vec<_> = page.keys().map(|(name, _)| name.as_str()).collect();
        for name in [
            "netsonde_sockstat_tcp_inuse",
            "netsonde_traffic_transmit_bytes_total",
            "netsonde_tcp_state_rtt_seconds_gcount",
        ] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        // VictoriaMetrics keeps decimal numbers, of fewer digits than a float has.
        let same = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs();
        let is_stored = |(key, value): (&_, &f64)| stored.get(key).is_some_and(|stored| same(*value, *stored));
        if page.len() == stored.len() && page.iter().all(is_stored) {
            break;
        }
        let differ = |(key, value): (&_, &f64)| format!("{key:?}: page {value}, stored {:?}", stored.get(key));
        let told: Vec<String> = page.iter().filter(|entry| !is_stored(*entry)).map(differ).collect();
        let more: Vec<_> = stored.keys().filter(|key| !page.contains_key(key)).collect();
        assert!(began.elapsed() < Duration::from_secs(40), "{told:#?}, and not on the page: {more:#?}");
    }

    // A true histogram, and what is of the agent.
    let count = victoria.query("netsonde_collection_duration_seconds_count");
    assert!(count.len() == 1 && count[0].1 >= 3.0, "{count:?}");
    let all = victoria.query("netsonde_collection_duration_seconds_bucket{le=~\"[+]Inf\"}");
    assert_eq!(all.len(), 1, "{all:?}");
    let version = victoria.query("netsonde_build_info");
    assert_eq!((version.len(), version[0].1), (1, 1.0));
    assert!(agent.page().value("netsonde_push_samples_total", &[("sink", "otlp")]) > 500.0);
}

#[test]
fn a_receiver_of_otlp_takes_all_by_each_way() {
    let rotel = Rotel::start("metrics");
    let (http, grpc) = (rotel.http(), rotel.grpc());
    let (netns, _sockets) = holding(SOCKETS);
    let agent = Agent::start(&format!(
        "node: node-7\nprobes: {{ sockstat: {{}}, traffic: {{}} }}\nsinks:\n  \
         - otlp: {{ name: way1, url: '{http}', logs: false, metrics: 2s, headers: {{ X-Way: '1' }} }}\n  \
         - otlp: {{ name: way2, url: '{http}/v1/metrics', compression: none, logs: false, metrics: 2s }}\n  \
         - otlp: {{ name: way3, url: '{grpc}', protocol: grpc, logs: false, metrics: 2s }}\n  \
         - otlp: {{ name: way4, url: '{grpc}', protocol: grpc, compression: none, logs: false, metrics: 2s }}\n"
    ));
    let pushes = |agent: &Agent, result| {
        let page = agent.page();
        let count = |way: &str| page.get("netsonde_push_attempts_total", &[("sink", way), ("result", result)]);
        ["way1", "way2", "way3", "way4"].map(|way| count(way).unwrap_or(0.0))
    };
    agent.wait_until("each has pushed twice", |agent| pushes(agent, "ok").iter().all(|count| *count >= 2.0));
    assert_eq!(
        (pushes(&agent, "failed"), pushes(&agent, "no_page")),
        ([0.0; 4], [0.0; 4]),
        "{}",
        agent.get("/probes").text()
    );
    let whole = [
        "-> service.name: Str(netsonde)",
        "-> host.name: Str(node-7)",
        "-> Name: netsonde_traffic_transmit_bytes_total",
    ];
    agent.wait_until("all is printed", |_| {
        let printed = rotel.printed();
        // The kernel's value of this namespace: a listener and both ends of three connections, all of IPv4.
        let inuse = printed.split("-> Name: netsonde_sockstat_tcp_inuse").skip(1).filter(|metric| {
            let metric = metric.split("-> Name: ").next().unwrap_or_default();
            let mut points = metric.split("NumberDataPoints #").skip(1);
            points.any(|point| point.contains(&netns.name) && point.contains("ipv4") && point.contains("Value: 7"))
        });
        inuse.count() >= 8 && whole.iter().all(|line| printed.contains(line))
    });
}

/// Answers as open-falcon's agent does (modules/agent/http/push.go of open-falcon/falcon-plus), which is in no registry at hand; `push/falcon`
/// has the tests of every answer. What it takes comes out of the channel, request by request.
fn falcon() -> (String, mpsc::Receiver<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (taken, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(items) = request(stream.unwrap()) else { continue };
            if taken.send(items).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

fn request(mut stream: TcpStream) -> std::io::Result<Vec<Value>> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::from("-"), 0);
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let items = serde_json::from_slice(&body).unwrap();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nsuccess")?;
    Ok(items)
}

#[test]
fn open_falcon_gets_the_six_of_each_namespace() {
    let (address, requests) = falcon();
    let (netns, _sockets) = holding(&[SOCKETS, ORPHAN].concat());
    let agent = Agent::start(&format!(
        "node: node-7\nprobes: {{ sockstat: {{}}, tcp_state: {{}} }}\n\
         sinks: [ {{ open_falcon: {{ url: 'http://{address}/v1/push', step: 10s }} }} ]"
    ));
    let items = requests.recv_timeout(Duration::from_secs(30)).expect("a push comes");
    let tags = format!("netns={}", netns.name);
    let mut six = BTreeMap::new();
    for item in &items {
        assert_eq!((&item["endpoint"], &item["counterType"]), (&"node-7".into(), &"GAUGE".into()), "{item}");
        assert_eq!(
            (item["step"].as_i64(), item["timestamp"].as_i64().map(|at| at % 10)),
            (Some(10), Some(0)),
            "{item}"
        );
        if item["tags"] == tags.as_str() {
            six.insert(item["metric"].as_str().unwrap(), item["value"].as_f64().unwrap());
        }
    }
    // Two ends of each of three connections, and the one that does not listen; besides, two listeners and the orphan. Total is of every kind of
    // socket that a process holds or is to be given.
    let total = six.remove("Total").unwrap();
    assert!(total >= 9.0, "{total}");
    let want = [("Establish", 7.0), ("InUse", 10.0), ("Orphan", 1.0), ("TimeWait", 0.0), ("UDP", 1.0)];
    assert_eq!(six.into_iter().collect::<Vec<_>>(), want);
    // The kernel's own count is of the node.
    let of_node = |item: &&Value| item["tags"] == "" && item["metric"] == "Orphan";
    assert_eq!(items.iter().filter(of_node).count(), 1);
    let page = agent.page();
    assert_eq!(page.value("netsonde_push_samples_total", &[("sink", "open_falcon")]), items.len() as f64);
}
