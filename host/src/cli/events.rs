//! `netsonde events`: what happened, asked of a running agent.

use super::{
    Failure,
    client::{self, Answer, ClientError},
    print,
};
use netsonde_core::event::{
    EventId,
    json::{self, Json},
    line,
};
use std::{thread, time::Duration};

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
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events of this probe; may be given several times
    #[arg(long = "probe", value_name = "PROBE")]
    probes: Vec<String>,
    /// Of the events that there are already, only the newest N
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where the agent listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:13119")]
    address: String,
}

impl Events {
    pub fn run(self) -> Result<(), Failure> {
        let mut seen = None;
        self.print(self.ask(seen)?, &mut seen)?;
        if !self.follow {
            return Ok(());
        }
        loop {
            // The agent closes a connection when it ends, and when the connection is old.
            thread::sleep(PAUSE);
            match self.ask(seen) {
                Ok(answer) => self.print(answer, &mut seen)?,
                Err(ClientError::NoAgent { .. }) => {
                    print::warn(&format!("the agent at {} has ended", self.address));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn ask(&self, seen: Option<EventId>) -> Result<Answer, ClientError> {
        client::get(&self.address, &self.path(seen), client::LINES, self.follow)
    }

    /// What is asked for: all there is at first, and later what came after the last event that was seen.
    fn path(&self, seen: Option<EventId>) -> String {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.types.iter().map(|ty| format!("type={}", encoded(ty))));
        parts.extend(self.probes.iter().map(|probe| format!("probe={}", encoded(probe))));
        match seen {
            Some(id) => parts.push(format!("since={id}")),
            None => parts.extend(self.limit.map(|limit| format!("limit={limit}"))),
        }
        parts.extend(self.follow.then(|| "follow".to_owned()));
        format!("/events?{}", parts.join("&"))
    }

    fn print(&self, answer: Answer, seen: &mut Option<EventId>) -> Result<(), Failure> {
        let mut text = Vec::new();
        for received in answer {
            let received = received?;
            match json::read(&received).map_err(|error| Failure::failed(format!("{}: {error}", self.address)))? {
                Json::Missed(missed) => print::warn(&format!("up to {missed} events were missed: they came too fast")),
                Json::Event(event) => {
                    *seen = Some(event.id);
                    if self.json {
                        print::out(received.trim_end());
                        continue;
                    }
                    text.clear();
                    line::write(&event, &mut text);
                    print::out(&coloured(String::from_utf8_lossy(&text).trim_end()));
                }
            }
        }
        Ok(())
    }
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

    #[test]
    fn what_is_asked_for_is_asked_again_from_where_it_ended() {
        let mut events = Events {
            follow: true,
            json: false,
            types: vec!["A b".into(), "B".into()],
            probes: vec!["é&".into()],
            limit: Some(3),
            address: String::new(),
        };
        assert_eq!(events.path(None), "/events?type=A%20b&type=B&probe=%C3%A9%26&limit=3&follow");
        let seen = EventId { run: 1, seq: 7 };
        assert_eq!(
            events.path(Some(seen)),
            "/events?type=A%20b&type=B&probe=%C3%A9%26&since=0000000000000001-7&follow"
        );
        (events.types, events.probes, events.limit, events.follow) = (vec![], vec![], None, false);
        assert_eq!(events.path(None), "/events?");
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
