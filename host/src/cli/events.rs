//! `netsonde events`: what happened, asked of a running agent.

mod table;
mod whole;

use super::{
    Failure,
    client::{self, Answer, ClientArgs, ClientError},
    print,
};
use netsonde_core::{
    config::parse_time,
    event::{
        Event, EventId,
        filter::{Filter, FilterError, Key},
        json::{self, Json},
        line, parse_moment, recent,
    },
};
use std::{
    thread,
    time::{Duration, SystemTime},
};
use table::Table;

/// Between two connections, so that an agent that closes them at once is not asked without end.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub struct Events {
    /// Print each new event as it comes, too
    #[arg(long, short)]
    follow: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Print each as one line of key=value; what is not for a terminal is printed so anyway
    #[arg(long, conflicts_with = "json")]
    line: bool,
    /// Show this event whole, with its stack
    #[arg(long, value_name = "ID", conflicts_with = "follow")]
    id: Option<EventId>,
    /// Only events from this time on: as 2026-11-21T12:00:00Z, or as 10m for ten minutes ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Only events before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<u64>,
    #[command(flatten)]
    wanted: Wanted,
    /// Of the events that there are already, only the newest N
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    agent: ClientArgs,
}

/// What the events must be of. Each may be given several times.
#[derive(clap::Args, Default)]
struct Wanted {
    /// Only events of this type; may be given several times, as may all that follow
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events of this probe
    #[arg(long = "probe", value_name = "PROBE")]
    probes: Vec<String>,
    /// Only events of pods in this namespace
    #[arg(long = "namespace", short, value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Only events of this pod
    #[arg(long = "pod", value_name = "POD")]
    pods: Vec<String>,
    /// Only events of this container
    #[arg(long = "container", value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Only events of this network namespace, where that is no pod
    #[arg(long = "netns", value_name = "NETNS")]
    netns: Vec<String>,
    /// Only events of this node
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<String>,
    /// Only events with this reason
    #[arg(long = "reason", value_name = "REASON")]
    reasons: Vec<String>,
}

impl Wanted {
    fn filter(&self) -> Result<Filter, (Key, FilterError)> {
        let mut filter = Filter::default();
        for (key, values) in [
            (Key::Type, &self.types),
            (Key::Probe, &self.probes),
            (Key::Namespace, &self.namespaces),
            (Key::Pod, &self.pods),
            (Key::Container, &self.containers),
            (Key::Netns, &self.netns),
            (Key::Node, &self.nodes),
            (Key::Reason, &self.reasons),
        ] {
            values.iter().try_for_each(|value| filter.want(key, value).map_err(|error| (key, error)))?;
        }
        Ok(filter)
    }
}

/// What an event is printed as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Line,
    Table,
    /// One event, in many lines.
    Whole,
}

impl Events {
    pub fn run(self) -> Result<(), Failure> {
        let filter = self.filter()?;
        let (mut seen, mut printer) = (None, Printer::new(self.form(), self.follow));
        self.print(self.ask(&filter, seen)?, &mut seen, &mut printer)?;
        printer.finish();
        match self.id {
            Some(id) if seen.is_none() => return Err(Failure::failed(no_longer(id, &self.agent.address))),
            _ if !self.follow => return Ok(()),
            _ => {}
        }
        loop {
            // The agent closes a connection when it ends, and when the connection is old.
            thread::sleep(PAUSE);
            match self.ask(&filter, seen) {
                Ok(answer) => self.print(answer, &mut seen, &mut printer)?,
                Err(ClientError::NoAgent { .. }) => {
                    print::warn(&format!("the agent at {} has ended", self.agent.address));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn filter(&self) -> Result<Filter, Failure> {
        let wrong = |(key, error): (Key, FilterError)| Failure::wrong([format!("--{} has {error}", key.as_str())]);
        let mut filter = self.wanted.filter().map_err(wrong)?;
        if let Some(id) = self.id {
            filter.want(Key::Id, &id.to_string()).map_err(|error| wrong((Key::Id, error)))?;
        }
        (filter.after_nanos, filter.before_nanos) = (self.since, self.until);
        Ok(filter)
    }

    fn form(&self) -> Form {
        match self.id {
            _ if self.json => Form::Json,
            _ if self.line => Form::Line,
            Some(_) => Form::Whole,
            None if print::is_terminal() => Form::Table,
            None => Form::Line,
        }
    }

    fn ask(&self, filter: &Filter, seen: Option<EventId>) -> Result<Answer, ClientError> {
        client::get(&self.agent, &self.path(filter, seen), client::LINES, self.follow)
    }

    /// What is asked for: all there is at first, and later what came after the last event that was seen.
    fn path(&self, filter: &Filter, seen: Option<EventId>) -> String {
        let part = |(key, value): (&str, String)| format!("{key}={}", encoded(&value));
        let mut parts: Vec<String> = filter.parts().into_iter().map(part).collect();
        match seen {
            Some(id) => parts.push(format!("since={id}")),
            None => parts.extend(self.limit.map(|limit| format!("limit={limit}"))),
        }
        parts.extend(self.follow.then(|| "follow".to_owned()));
        format!("/events?{}", parts.join("&"))
    }

    fn print(&self, answer: Answer, seen: &mut Option<EventId>, printer: &mut Printer) -> Result<(), Failure> {
        for received in answer {
            let received = received?;
            match json::read(&received).map_err(|error| Failure::failed(format!("{}: {error}", self.agent.address)))? {
                Json::Missed(missed) => print::warn(&format!("up to {missed} events were missed: they came too fast")),
                Json::Event(event) => {
                    *seen = Some(event.id);
                    printer.print(&event, &received);
                }
            }
        }
        Ok(())
    }
}

/// Prints events one after the other.
struct Printer {
    form: Form,
    text: Vec<u8>,
    table: Table,
}

impl Printer {
    fn new(form: Form, follow: bool) -> Self {
        Self { form, text: Vec::new(), table: Table::new(follow) }
    }

    /// An event, and as what it was received.
    fn print(&mut self, event: &Event, received: &str) {
        match self.form {
            Form::Json => print::out(received.trim_end()),
            Form::Line => {
                self.text.clear();
                line::write(event, &mut self.text);
                print::out(&coloured(String::from_utf8_lossy(&self.text).trim_end()));
            }
            Form::Table => self.table.add(event),
            Form::Whole => whole::print(event),
        }
    }

    /// All that the agent had is printed.
    fn finish(&mut self) {
        if self.form == Form::Table {
            self.table.finish();
        }
    }
}

/// An event that the agent does not have.
fn no_longer(id: EventId, address: &str) -> String {
    format!(
        "the agent at {address} has no event {id}: it keeps the last {} of its run, in at most {} MiB. Sinks have what they were \
         sent: look there for \"id\":\"{id}\" (JSON) or id={id} (lines).",
        recent::MAX_EVENTS,
        recent::MAX_BYTES >> 20
    )
}

/// A moment in nanoseconds since the Unix epoch: itself, or so long ago.
fn moment(text: &str) -> Result<u64, String> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let ago = |ago: Duration| now.saturating_sub(ago).as_nanos() as u64;
    let told = || {
        format!(
            "`{}` is neither a moment, like 2026-11-21T12:00:00Z, nor a time that has passed since, like 10m (ms, s, m or h)",
            print::printable(text)
        )
    };
    parse_moment(text).or_else(|| parse_time(text).ok().map(ago)).ok_or_else(told)
}

/// The line with its type in colour, which [`print::out`] takes away where it does not belong.
fn coloured(line: &str) -> String {
    let ty = line.strip_prefix("type=").and_then(|rest| rest.split_once(' '));
    match ty {
        Some((ty, rest)) => format!("type={} {rest}", print::paint(ty, print::SOME)),
        None => line.to_owned(),
    }
}

/// As it may stand in a URL's query (RFC 3986, 2.3).
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        events: Events,
    }

    fn events(arguments: &[&str]) -> Events {
        Line::try_parse_from([&["events"], arguments].concat()).map(|line| line.events).unwrap()
    }

    #[test]
    fn what_is_asked_for_is_asked_again_from_where_it_ended() {
        let following = ["--follow", "--type", "A b", "--type", "B", "--probe", "é&", "--limit", "3"];
        let seen = EventId { run: 1, seq: 7 };
        let events = events(&following);
        let filter = events.filter().ok().unwrap();
        assert_eq!(events.path(&filter, None), "/events?type=A%20b&type=B&probe=%C3%A9%26&limit=3&follow");
        assert_eq!(
            events.path(&filter, Some(seen)),
            "/events?type=A%20b&type=B&probe=%C3%A9%26&since=0000000000000001-7&follow"
        );
    }

    #[test]
    fn every_filter_is_asked_for() {
        let id = "0000000000000001-7";
        for (arguments, want) in [
            (&[][..], ""),
            (&["--id", id], "id=0000000000000001-7"),
            (&["-n", "shop", "--pod", "a", "--pod", "b", "--container", "c"], "namespace=shop&pod=a&pod=b&container=c"),
            (&["--netns", "host", "--node", "n", "--reason", "R"], "netns=host&node=n&reason=R"),
            (
                &["--since", "2026-11-21T13:00:00+01:00", "--until", "1795262401.5"],
                "after=1795262400.000000000&before=1795262401.500000000",
            ),
        ] {
            let events = events(arguments);
            let filter = events.filter().ok().unwrap();
            assert_eq!(events.path(&filter, None), format!("/events?{want}"));
        }
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let since = events(&["--since", "10m"]).since.unwrap();
        assert!(since.abs_diff(now - 600_000_000_000) < 60_000_000_000, "{since} {now}");
        for wrong in [&["--since", "yesterday"][..], &["--id", "7"], &["--json", "--line"], &["--id", id, "--follow"]] {
            assert!(Line::try_parse_from([&["events"], wrong].concat()).is_err(), "{wrong:?}");
        }
        let refused = events(&["--pod", ""]).filter().err().map(|failure| failure.messages);
        assert_eq!(refused, Some(vec!["--pod has no value".to_owned()]));
    }

    #[test]
    fn only_the_type_is_coloured() {
        assert_eq!(
            anstream::adapter::strip_str(&coloured("type=A netns=host id=1")).to_string(),
            "type=A netns=host id=1"
        );
        assert!(coloured("type=A netns=host").contains("m netns=host"));
    }
}
