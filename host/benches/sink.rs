//! What it costs to send events over the network: CPU of the sink's own thread, a server on this machine beside it. The reference is the JSON
//! line alone, which every sink that writes lines has to make.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

mod measure;

use measure::table::Table;
use netsonde::sink::{Sink, loki, otlp};
use netsonde_core::{
    config::{Compression, Form, LokiSink, OtlpSink, Remote},
    event::{Event, EventId, FieldValue, json},
    scope::Name,
};
use rustix::time::{ClockId, clock_gettime};
use std::{
    hint::black_box,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Events of one delivery, and deliveries of one pass.
const BATCH: u64 = 1000;
const BATCHES: u64 = 50;
const PASSES: usize = 5;
/// Different pods in turn, as on a node.
const PODS: u64 = 50;

fn main() {
    let batches: Vec<Vec<Event>> = (0..BATCHES).map(batch).collect();
    let port = serve();
    let mut table = Table::new(&["", "events a CPU second", "ns of CPU an event", "events a second", "ratio"]);
    let mut reference = None;
    let mut measure = |what: &str, run: &mut dyn FnMut(&[Event])| {
        let (cpu, wall) = median(&batches, run);
        let reference = *reference.get_or_insert(cpu);
        let events = (BATCH * BATCHES) as f64;
        table.row([
            what.to_owned(),
            format!("{:.0}", events / cpu),
            format!("{:.0}", cpu / events * 1e9),
            format!("{:.0}", events / wall),
            format!("{:.2}", cpu / reference),
        ]);
    };
    let mut text = Vec::new();
    measure("JSON lines", &mut |events| {
        text.clear();
        events.iter().for_each(|event| json::write(event, &mut text));
        black_box(&text);
    });
    let mut encoder = loki::encode::Encoder::new(Form::Json, &[]);
    measure("Loki, encoded", &mut |events| {
        black_box(encoder.encode(events).len());
    });
    let mut encoder = loki::encode::Encoder::new(Form::Line, &[]);
    measure("Loki, encoded, lines", &mut |events| {
        black_box(encoder.encode(events).len());
    });
    let mut sink = loki::Loki::new("loki", &LokiSink { remote: remote(port), ..LokiSink::default() });
    measure("Loki, delivered", &mut |events| sink.deliver(events).unwrap());
    measure("OTLP, records made", &mut |events| drop(black_box(otlp::records::resource_logs(events, 0))));
    for (what, compression) in
        [("OTLP over HTTP, delivered", Compression::None), ("the same with gzip", Compression::Gzip)]
    {
        let mut sink = otlp::Otlp::new("otlp", &OtlpSink { remote: remote(port), compression, ..OtlpSink::default() });
        measure(what, &mut |events| sink.deliver(events).unwrap());
    }
    table.print();
}

fn remote(port: u16) -> Remote {
    Remote { url: format!("http://127.0.0.1:{port}"), ..Remote::default() }
}

/// Seconds that all batches take: of this thread's CPU time, and that pass.
fn median(batches: &[Vec<Event>], run: &mut dyn FnMut(&[Event])) -> (f64, f64) {
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let mut passes: Vec<(Duration, Duration)> = (0..=PASSES)
        .map(|_| {
            let (began, before) = (Instant::now(), cpu());
            batches.iter().for_each(|batch| run(batch));
            (cpu() - before, began.elapsed())
        })
        .skip(1)
        .collect();
    passes.sort();
    let (cpu, wall) = passes[PASSES / 2];
    (cpu.as_secs_f64(), wall.as_secs_f64())
}

/// As `tcp_reset` makes them, in pods.
fn batch(number: u64) -> Vec<Event> {
    let scopes: Vec<Arc<Name>> = (0..PODS)
        .map(|pod| Name { namespace: "shop".into(), pod: format!("web-{pod}").into(), ..Name::default() })
        .map(Arc::new)
        .collect();
    let [node, probe, ty] = ["worker-3", "tcp_reset", "TCPRESET_NOSOCK"].map(Arc::<str>::from);
    let [protocol, saddr, sport, daddr, dport, reason] =
        ["protocol", "saddr", "sport", "daddr", "dport", "reason"].map(Arc::<str>::from);
    let [tcp, no_socket] = ["TCP", "NO_SOCKET"].map(|text| FieldValue::Text(text.into()));
    let event = |index: u64| Event {
        id: EventId { run: 0x0123_4567_89ab_cdef, seq: number * BATCH + index },
        unix_nanos: 1_795_262_400_123_456_789 + (number * BATCH + index) * 10_000,
        node: node.clone(),
        probe: probe.clone(),
        ty: ty.clone(),
        scope: Some(scopes[(index % PODS) as usize].clone()),
        peer: None,
        fields: vec![
            (protocol.clone(), tcp.clone()),
            (saddr.clone(), FieldValue::Address([10, 0, 0, 1].into())),
            (sport.clone(), FieldValue::U64(443)),
            (daddr.clone(), FieldValue::Address([10, 0, 1, (index % 250) as u8].into())),
            (dport.clone(), FieldValue::U64(30_000 + index)),
            (reason.clone(), no_socket.clone()),
        ],
        stack: None,
        repeats: None,
    };
    (0..BATCH).map(event).collect()
}

/// Reads whatever comes, and says yes.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    port
}

fn answer(stream: TcpStream) -> Option<()> {
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).ok()?;
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}
