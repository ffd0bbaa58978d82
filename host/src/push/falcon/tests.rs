//! Against a server that answers as open-falcon's agent does, and checks what its transfer would: neither is in a registry at hand. Written
//! after modules/agent/http/push.go, common/model/metric.go and modules/transfer/receiver/rpc/rpc_transfer.go of open-falcon/falcon-plus.

use super::*;
use netsonde_core::{config::Remote, metric::parse::parse};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What it does with the next requests.
#[derive(Clone, Copy)]
enum Mood {
    Works,
    Fails,
    Says(u16, &'static str),
}

struct Server {
    address: String,
    mood: Arc<Mutex<Mood>>,
    /// The timestamp of each item that was taken.
    taken: Arc<Mutex<Vec<i64>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, mood: Arc::new(Mutex::new(Mood::Works)), taken: Arc::default() };
        let (mood, taken) = (server.mood.clone(), server.taken.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = serve(stream.unwrap(), *mood.lock().unwrap(), &taken);
            }
        });
        server
    }

    fn falcon(&self) -> Falcon {
        let remote = Remote { url: format!("http://{}", self.address), ..Remote::default() };
        Falcon::new("open_falcon", &OpenFalconSink { remote, ..OpenFalconSink::default() }, "node-1")
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn taken(&self) -> Vec<i64> {
        std::mem::take(&mut self.taken.lock().unwrap())
    }
}

/// Answers one request.
fn serve(mut stream: TcpStream, mood: Mood, taken: &Mutex<Vec<i64>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    assert_eq!(line, "POST /v1/push HTTP/1.1\r\n");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
        let (name, value) = line.split_once(':').unwrap_or_default();
        // Go's server hands a compressed body on as it is.
        assert!(!name.eq_ignore_ascii_case("content-encoding"), "{line}");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, text) = match mood {
        Mood::Fails => return Ok(()),
        Mood::Says(status, text) => (status, text),
        Mood::Works if body.is_empty() => (400, "body is blank\n"),
        Mood::Works => match decoded(&body) {
            None => (400, "connot decode body\n"),
            Some(items) => {
                taken.lock().unwrap().extend(items.iter().map(|item| item["timestamp"].as_i64().unwrap()));
                (200, "success")
            }
        },
    };
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
}

/// As Go decodes a `[]*model.MetricValue`.
fn decoded(body: &[u8]) -> Option<Vec<Value>> {
    let Value::Array(items) = serde_json::from_slice(body).ok()? else { return None };
    for item in &items {
        let texts = ["endpoint", "metric", "counterType", "tags"].map(|key| item[key].as_str());
        let [Some(endpoint), Some(metric), Some(kind), Some(tags)] = texts else { return None };
        let (step, at) = (item["step"].as_i64()?, item["timestamp"].as_i64()?);
        // What transfer would throw away in silence.
        assert!(!endpoint.is_empty() && !metric.is_empty() && kind == "GAUGE", "{item}");
        assert!(step > 0 && at > 0 && item["value"].is_number() && metric.len() + tags.len() <= 510, "{item}");
        assert!(tags.is_empty() || tags.split(',').all(|tag| tag.split('=').count() == 2), "{item}");
    }
    Some(items)
}

/// Of so many namespaces: one item each.
fn page(namespaces: usize) -> String {
    let line = |index| format!("netsonde_sockstat_sockets_used{{netns=\"{index}\",namespace=\"\"}} 1\n");
    let lines: String = (0..namespaces).map(line).collect();
    format!("# TYPE netsonde_sockstat_sockets_used gauge\n# HELP netsonde_sockstat_sockets_used Help.\n{lines}# EOF\n")
}

fn push(falcon: &mut Falcon, namespaces: usize, at: u64, counts: &Counts) -> Result<(), Fault> {
    let (page, until) = (page(namespaces), Instant::now() + Duration::from_secs(20));
    falcon.push(&parse(&page).unwrap(), Duration::from_secs(at), until, counts)
}

#[test]
fn what_is_pushed_arrives_and_an_empty_list_is_a_check() {
    let (server, counts) = (Server::start(), Counts::default());
    let mut falcon = server.falcon();
    falcon.check().unwrap();
    assert_eq!(server.taken(), [0; 0]);
    push(&mut falcon, 2100, 60, &counts).unwrap();
    assert_eq!(server.taken(), [60; 2100]);
    let figures = &counts.now()["open_falcon"];
    assert_eq!((figures.samples, figures.waiting, figures.dropped.len()), (2100, 0, 0));
}

#[test]
fn steps_of_an_outage_are_sent_later_oldest_first_and_what_is_too_old_is_counted() {
    let (server, counts) = (Server::start(), Counts::default());
    let mut falcon = server.falcon();
    for (mood, at) in [(Mood::Fails, 60), (Mood::Says(500, "no"), 120), (Mood::Says(200, "<html>"), 180)] {
        server.set(mood);
        let fault = push(&mut falcon, 2, at, &counts).unwrap_err();
        assert!(matches!(fault, Fault::Later { .. }), "{fault}");
    }
    assert_eq!(counts.now()["open_falcon"].waiting, 6);
    server.set(Mood::Works);
    push(&mut falcon, 2, 240, &counts).unwrap();
    assert_eq!(server.taken(), [60, 60, 120, 120, 180, 180, 240, 240]);

    server.set(Mood::Fails);
    (5..17).for_each(|step| drop(push(&mut falcon, 2, step * 60, &counts)));
    server.set(Mood::Works);
    push(&mut falcon, 2, 1020, &counts).unwrap();
    let want: Vec<i64> = (8..18).flat_map(|step| [step * 60; 2]).collect();
    assert_eq!(server.taken(), want, "the last ten steps");
    let figures = &counts.now()["open_falcon"];
    assert_eq!((figures.samples, figures.waiting), (28, 0));
    assert_eq!(figures.dropped.iter().collect::<Vec<_>>(), [(&"too_old", &6)]);
}

#[test]
fn what_it_does_not_want_is_not_sent_again() {
    let (server, counts) = (Server::start(), Counts::default());
    let mut falcon = server.falcon();
    server.set(Mood::Says(400, "connot decode body\n"));
    let fault = push(&mut falcon, 1500, 60, &counts).unwrap_err();
    assert!(matches!(fault, Fault::Never { .. }) && fault.to_string().contains("connot decode body"), "{fault}");
    server.set(Mood::Works);
    push(&mut falcon, 1, 120, &counts).unwrap();
    assert_eq!(server.taken(), [120]);
    assert_eq!(counts.now()["open_falcon"].dropped["refused"], 1500);
}

#[test]
fn what_there_was_no_time_for_waits_for_the_next_step() {
    let (server, counts) = (Server::start(), Counts::default());
    let mut falcon = server.falcon();
    let page = page(3);
    falcon.push(&parse(&page).unwrap(), Duration::from_secs(60), Instant::now(), &counts).unwrap_err();
    assert_eq!(counts.now()["open_falcon"].waiting, 3);
    push(&mut falcon, 3, 120, &counts).unwrap();
    assert_eq!(server.taken(), [60, 60, 60, 120, 120, 120]);
}
