//! `netsonde query` of a tracepoint: what it prints from when its program is in the kernel.

use crate::{agent::command, binary};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Longer than anything here takes, also on a machine with other work.
const LIMIT: Duration = Duration::from_secs(30);

/// A query that runs.
pub struct Asked {
    sql: String,
    child: Child,
    lines: Receiver<String>,
}

impl Asked {
    /// Asks for rows without end.
    ///
    /// # Panics
    /// If the query is refused.
    pub fn rows_of(sql: &str) -> Self {
        Self::with(sql, &["--follow", "--json"])
    }

    /// The same with these arguments.
    pub fn with(sql: &str, args: &[&str]) -> Self {
        let command = Command::new(binary())
            .args(["query", sql])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = command.unwrap();
        let (send, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut asked = Self { sql: sql.to_owned(), child, lines };
        asked.wait_until_attached();
        asked
    }

    /// The kernel tells of each descriptor of a process what it is.
    fn wait_until_attached(&mut self) {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        // It also has one to ask the kernel's tasks, which is none to a tracepoint.
        let is_of_tracepoint = |line: &str| line.starts_with("link_type:") && !line.ends_with("iter");
        let is_link = |path| fs::read_to_string(path).is_ok_and(|text| text.lines().any(is_of_tracepoint));
        let began = Instant::now();
        while !fs::read_dir(&folder).into_iter().flatten().flatten().any(|entry| is_link(entry.path())) {
            if self.has_ended() {
                let errors = self.errors();
                panic!("{}: {errors}", self.sql);
            }
            assert!(began.elapsed() < LIMIT, "{} is not attached", self.sql);
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has said on standard error, when it has ended.
    fn errors(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{}: no more lines: {error}", self.sql))
    }

    /// The next row.
    pub fn row(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// All rows until one is the last one.
    pub fn until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut rows = Vec::new();
        loop {
            let row = self.row();
            if last(&row) {
                return rows;
            }
            rows.push(row);
        }
    }

    /// All that it has printed until it ended by itself, and its exit code.
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        let mut lines = Vec::new();
        let began = Instant::now();
        loop {
            match self.lines.recv_timeout(LIMIT.saturating_sub(began.elapsed())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return (self.child.wait().unwrap().code(), lines),
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end", self.sql),
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The groups of an aggregating query over what `act` does. On a slow machine it is asked and done again, for longer.
pub fn groups(sql: &str, mut act: impl FnMut()) -> Vec<Value> {
    for seconds in ["2s", "8s", "30s"] {
        let mut asked = Asked::with(sql, &["--json", "--for", seconds]);
        act();
        if asked.has_ended() {
            continue;
        }
        let (code, lines) = asked.end();
        assert_eq!(code, Some(0), "{sql}");
        return serde_json::from_str(&lines.join("\n")).unwrap();
    }
    panic!("{sql}: the act takes longer than 30 s");
}

/// Has a query refused: gives the exit code and what a person reads.
pub fn refused(sql: &str, args: &[&str]) -> (i32, String) {
    let (code, out, errors) = command(&[&["query", sql, "--for", "1ms"], args].concat());
    assert_ne!(code, 0, "{sql} is not refused: {out}");
    assert_eq!(out, "", "{sql}");
    (code, errors)
}

/// The rows of a query that is answered at once. Namespaces of others may go meanwhile.
///
/// # Panics
/// If it is not answered, or only with a warning of another kind.
pub fn answer(sql: &str) -> Vec<Value> {
    let (code, out, errors) = command(&["query", sql, "--json"]);
    let of_others = |line: &str| line.contains("no rows of the namespace");
    assert!(code == 0 && errors.lines().all(of_others), "{sql}: {code} {errors}");
    serde_json::from_str(&out).unwrap()
}
