//! A real Prometheus, and its own checker, on the real page.

use netsonde_tests::{
    Folder,
    agent::{Agent, command},
    http::{self, Response},
    netns::{Netns, Pair, Process},
    traffic::Peer,
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// What Prometheus 2.42 sends.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

fn accept(agent: &Agent, accept: &str) -> Response {
    http::get(&agent.address, "/metrics", &[("Accept", accept)])
}

#[test]
fn promtool_has_no_complaint() {
    let agent = Agent::start("");
    agent.scrape();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: `make setup` installs it");
    promtool.stdin.take().unwrap().write_all(&accept(&agent, "text/plain").body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_client_gets_the_format_that_it_asks_for() {
    let agent = Agent::start("");
    let cases = [
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8", true),
        (
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text; version=0.0.1; charset=utf-8",
            true,
        ),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8", false),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", false),
        ("text/html, garbage;;;q=x", "text/plain; version=0.0.4; charset=utf-8", false),
    ];
    for (asked, given, open) in cases {
        let response = accept(&agent, asked);
        assert_eq!(response.header("content-type"), given, "{asked}");
        assert_eq!(response.text().ends_with("# EOF\n"), open, "{asked}");
        assert_eq!(response.text().contains("# TYPE netsonde_traffic_receive_bytes counter"), open, "{asked}");
    }
    let text_1 = accept(&agent, "text/plain;version=1.0.0;escaping=allow-utf-8");
    assert!(
        text_1.header("content-type").starts_with("text/plain; version=1.0.0"),
        "{}",
        text_1.header("content-type")
    );
}

#[test]
fn gzip_is_the_same_page_and_smaller() {
    let agent = Agent::start("probes: { sockstat: {} }");
    let packed = http::get(&agent.address, "/metrics", &[("Accept-Encoding", "gzip")]);
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut page = String::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_string(&mut page).unwrap();
    assert!(
        page.contains("netsonde_sockstat_sockets_used{netns=\"host\",namespace=\"\",pod=\"\",container=\"\"}"),
        "{page}"
    );
    assert!(packed.body.len() * 3 < page.len());
    assert_eq!(http::get(&agent.address, "/metrics", &[]).header("content-encoding"), "");
}

/// A Prometheus server with one target that claims to be a pod itself, as the agent is under Kubernetes.
struct Prometheus {
    _process: Process,
    address: String,
    _folder: Folder,
}

impl Prometheus {
    fn start(target: &str) -> Self {
        let folder = Folder::new("prometheus");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = folder.write(
            "prometheus.yml",
            format!(
                "global: {{ scrape_interval: 1500ms, scrape_timeout: 1s }}\n\
                 scrape_configs:\n\
                 - job_name: netsonde\n\
                 \x20 honor_labels: true\n\
                 \x20 static_configs: [ {{ targets: ['{target}'], labels: {{ pod: agent-x, namespace: monitoring }} }} ]\n"
            ),
        );
        let process = Process::spawn(
            "prometheus",
            &[
                &format!("--config.file={}", config.display()),
                &format!("--storage.tsdb.path={}", folder.path().join("data").display()),
                &format!("--web.listen-address={address}"),
                "--enable-feature=exemplar-storage",
            ],
        );
        Self { _process: process, address, _folder: folder }
    }

    fn query(&self, promql: &str) -> Vec<Value> {
        let answer = self.ask(&format!("query?query={}", escaped(promql)));
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// Exemplars of the last minutes: the labels of their series, and their own.
    fn exemplars(&self, promql: &str) -> Vec<(Value, Value)> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let (start, end) = (now - 300, now + 300);
        let answer = self.ask(&format!("query_exemplars?query={}&start={start}&end={end}", escaped(promql)));
        let series = answer["data"].as_array().cloned().unwrap_or_default();
        let of = |series: &Value| -> Vec<(Value, Value)> {
            let exemplars = series["exemplars"].as_array().cloned().unwrap_or_default();
            exemplars.iter().map(|exemplar| (series["seriesLabels"].clone(), exemplar["labels"].clone())).collect()
        };
        series.iter().flat_map(of).collect()
    }

    fn ask(&self, path: &str) -> Value {
        let Ok(response) = http::try_get(&self.address, &format!("/api/v1/{path}"), &[]) else {
            return Value::Null;
        };
        let body = String::from_utf8_lossy(&response.body).into_owned();
        // The answer may come in chunks: what matters is the JSON in it.
        let (Some(start), Some(end)) = (body.find('{'), body.rfind('}')) else { return Value::Null };
        serde_json::from_str(&body[start..=end]).unwrap_or_default()
    }

    /// Asks until the answer is as `wanted`, at most 40 s.
    fn wait_for(&self, promql: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let answer = self.query(promql);
            if wanted(&answer) {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(40), "{promql} gives {answer:?}");
            thread::sleep(Duration::from_millis(300));
        }
    }
}

fn escaped(promql: &str) -> String {
    promql.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn number(answer: &[Value]) -> f64 {
    answer.first().and_then(|series| series["value"][1].as_str()).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

#[test]
fn prometheus_scrapes_it_and_answers_rate_rightly() {
    let netns = Netns::new("rate");
    let agent = Agent::start("probes: { sockstat: {}, traffic: { settings: { loopback: true } } }");
    let prometheus = Prometheus::start(&agent.address);
    prometheus.wait_for("up{job=\"netsonde\"}", |answer| number(answer) == 1.0);

    // 100 packets of 1,000 bytes each 100 ms: a rate that is known.
    let _sender = netns.python(
        "import socket, time\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         print('ready')\n\
         next = time.monotonic()\n\
         while True:\n\
         \x20   for i in range(100): s.sendto(b'x' * 972, ('127.0.0.1', 9))\n\
         \x20   next += 0.1\n\
         \x20   time.sleep(max(0, next - time.monotonic()))",
    );
    thread::sleep(Duration::from_secs(12));
    let labels = format!("netns=\"{}\", device=\"lo\"", netns.name);
    // Each datagram to a closed port is answered with an ICMP message on the same device: only their sum with the bytes is exact.
    let sent = format!("rate(netsonde_traffic_transmit_packets_total{{{labels}}}[8s])");
    let rate = number(&prometheus.wait_for(&sent, |answer| number(answer) > 0.0));
    assert!((900.0..2300.0).contains(&rate), "{rate} packets a second, 1,000 were sent and answered up to 1,000 times");
    let bytes = format!("rate(netsonde_traffic_transmit_bytes_total{{{labels}}}[8s])");
    let bytes = number(&prometheus.query(&bytes));
    assert!((900_000.0..2_000_000.0).contains(&bytes), "{bytes} bytes a second");

    // With honor_labels a namespace without a pod keeps its empty labels: it does not become the agent's own pod.
    let series = prometheus.query(&format!("netsonde_sockstat_sockets_used{{netns=\"{}\"}}", netns.name));
    assert_eq!(series.len(), 1);
    assert_eq!(series[0]["metric"].get("pod"), None, "{:?}", series[0]);
    assert_eq!(series[0]["metric"].get("exported_pod"), None);
    // What is of the node belongs to the agent's pod, as for any exporter.
    let node = prometheus.query("netsonde_sockstat_tcp_orphan");
    assert_eq!(node[0]["metric"]["pod"], "agent-x");
}

#[test]
fn two_prometheus_servers_at_once_see_the_same() {
    let agent = Agent::start("");
    let (one, two) = (Prometheus::start(&agent.address), Prometheus::start(&agent.address));
    for prometheus in [&one, &two] {
        prometheus.wait_for("up{job=\"netsonde\"}", |answer| number(answer) == 1.0);
        let answer = prometheus.wait_for("netsonde_sockstat_sockets_used{netns=\"host\"}", |answer| answer.len() == 1);
        assert!(number(&answer) > 0.0);
        assert_eq!(number(&prometheus.query("scrape_samples_post_metric_relabeling - scrape_samples_scraped")), 0.0);
    }
}

#[test]
fn a_series_leads_to_the_event_that_it_counted_last() {
    let pair = Pair::new();
    let (b, mut client) = (pair.b.name.as_str(), Peer::new(&pair.a));
    let agent = Agent::start("node: node-7\nprobes: { tcp_reset: {} }");
    agent.until_attached(4);
    let prometheus = Prometheus::start(&agent.address);
    client.run("refused('10.199.0.2', 4718, 3)");
    agent.wait_until("the events are there", |agent| agent.events_of("TCPRESET_NOSOCK", b).len() == 3);
    let last = agent.events_of("TCPRESET_NOSOCK", b).pop().unwrap()["id"].as_str().unwrap().to_owned();

    // A counter of the probe, and the agent's own of the events.
    for (series, labels) in [
        (format!("netsonde_tcp_reset_sent_total{{netns=\"{b}\"}}"), &[("kind", "nosock")][..]),
        ("netsonde_events_total{type=\"TCPRESET_NOSOCK\"}".into(), &[("probe", "tcp_reset")]),
    ] {
        let began = Instant::now();
        let found = loop {
            let found = prometheus.exemplars(&series);
            // Others on the machine may be refused, too, later.
            if let Some((labels, _)) = found.iter().find(|(_, own)| own["event_id"] == last.as_str()) {
                break labels.clone();
            }
            let is_own = !series.contains("netns");
            if is_own && found.iter().any(|(_, own)| own["event_id"].is_string()) {
                break found[0].0.clone();
            }
            assert!(began.elapsed() < Duration::from_secs(40), "{series}: {found:?}, wanted {last}");
            thread::sleep(Duration::from_millis(300));
        };
        for (name, value) in labels {
            assert_eq!(found[*name], *value, "{found}");
        }
    }
    assert!(!agent.get("/metrics").text().contains("event_id"), "Prometheus' text has no exemplars");

    let (code, whole, errors) = command(&["events", "--address", &agent.address, "--id", &last]);
    assert_eq!(code, 0, "{errors}");
    assert!(whole.starts_with(&format!("TCPRESET_NOSOCK  {last}\n")), "{whole}");
    let parts: Vec<Vec<&str>> = whole.lines().map(|line| line.split_whitespace().collect()).collect();
    for part in [["netns", b], ["saddr", "10.199.0.2"], ["sport", "4718"], ["daddr", "10.199.0.1"], ["node", "node-7"]]
    {
        assert!(parts.iter().any(|have| *have == part), "{part:?} in {whole}");
    }
    let gone = "0000000000000001-1";
    let (code, out, errors) = command(&["events", "--address", &agent.address, "--id", gone]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(errors.contains("has no event 0000000000000001-1") && errors.contains("Sinks"), "{errors}");
}
