//! The receiver's end of HTTP: connections, requests, answers.

use super::{Say, State, loki, otlp};
use flate2::read::GzDecoder;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A port that is listened on, or not.
pub struct Serving {
    tls: Option<Arc<ServerConfig>>,
    state: Arc<State>,
    port: u16,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Serving {
    pub fn start(tls: Option<Arc<ServerConfig>>, state: Arc<State>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let running = Mutex::new(Some(accept(listener, tls.clone(), state.clone())));
        Self { tls, state, port, running }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn away(&self) {
        let Some(running) = self.running.lock().unwrap().take() else { return };
        running.stop.store(true, Ordering::Relaxed);
        running.accepting.join().unwrap();
        // Whoever is asked at this moment has no answer either.
        for stream in running.open.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn back(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        *self.running.lock().unwrap() = Some(accept(listener, self.tls.clone(), self.state.clone()));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.away();
    }
}

fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, state: Arc<State>) -> Running {
    let (stop, open) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<TcpStream>>>::default());
    listener.set_nonblocking(true).unwrap();
    let (stopped, connections) = (stop.clone(), open.clone());
    let accepting = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            stream.set_nodelay(true).unwrap();
            connections.lock().unwrap().push(stream.try_clone().unwrap());
            let (state, tls, stop) = (state.clone(), tls.clone(), stopped.clone());
            thread::spawn(move || match tls {
                Some(tls) => serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &state, &stop),
                None => serve(stream, &state, &stop),
            });
        }
    });
    Running { stop, open, accepting }
}

struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(have, _)| have == name).map_or("", |(_, value)| value)
    }
}

fn serve(stream: impl Stream, state: &State, stop: &AtomicBool) {
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    // The client may go at any time.
    while let Some(request) = read(&mut stream) {
        state.requests.fetch_add(1, Ordering::Relaxed);
        let answer = answer(&request, state, stop);
        let stream = stream.get_mut();
        let written = answer.as_ref().map(|(bytes, _)| stream.write_all(bytes).and_then(|()| stream.flush()));
        if !matches!((answer, written), (Some((_, true)), Some(Ok(())))) {
            return;
        }
    }
}

/// None at the connection's end.
fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    let mut next = |stream: &mut dyn BufRead| {
        line.clear();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let path = next(stream)?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = next(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { path, headers, body: Vec::new() };
    request.body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// What is written, and whether the connection lives on; none: it just ends.
fn answer(request: &Request, state: &State, stop: &AtomicBool) -> Option<(Vec<u8>, bool)> {
    loop {
        match state.say() {
            Say::Nothing if stop.load(Ordering::Relaxed) => return None,
            Say::Nothing => {
                let said = state.say.lock().unwrap();
                drop(state.changed.wait_timeout(said, Duration::from_millis(50)).unwrap());
            }
            Say::Well => return Some((well(request, state), true)),
            Say::Status(status, text) => return Some((written(status, "", text), true)),
            Say::After(status, seconds) => {
                return Some((written(status, &format!("retry-after: {seconds}\r\n"), ""), true));
            }
            Say::Garbage => return Some((b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n".to_vec(), false)),
            Say::Close => return None,
            Say::KeepAndClose => {
                well(request, state);
                return None;
            }
        }
    }
}

fn written(status: u16, more: &str, text: &str) -> Vec<u8> {
    let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", text.len()) };
    format!("HTTP/1.1 {status} As told\r\ncontent-type: text/plain\r\n{length}{more}\r\n{text}").into_bytes()
}

fn well(request: &Request, state: &State) -> Vec<u8> {
    let want = state.authorization.lock().unwrap().clone();
    if want.is_some_and(|want| want != request.header("authorization")) {
        return written(401, "", "no such user");
    }
    if request.path == "/loki/api/v1/push" {
        let (status, text, entries) = loki::push(&request.body, request.header("x-scope-orgid"));
        state.entries().extend(entries);
        return written(status, "", &text);
    }
    if request.path.ends_with("/v1/logs") {
        let mut body = request.body.clone();
        if request.header("content-encoding") == "gzip" {
            body.clear();
            if let Err(error) = GzDecoder::new(request.body.as_slice()).read_to_end(&mut body) {
                return written(400, "", &error.to_string());
            }
        }
        return match otlp::export(&body) {
            Ok(entries) => {
                state.entries().extend(entries);
                written(200, "", "")
            }
            Err(error) => written(400, "", &error),
        };
    }
    written(404, "", "page not found")
}
