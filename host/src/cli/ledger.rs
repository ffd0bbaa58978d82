//! `netsonde ledger`: where rows and events have gone, asked of a running agent.

use super::{
    Failure,
    client::{self, ClientArgs},
    print::{self, BAD, GOOD, HEAD, Text},
};
use serde_json::Value;

#[derive(clap::Args)]
pub struct Ledger {
    /// Print what the agent's page /ledger says, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: ClientArgs,
}

const COLUMNS: [&str; 9] =
    ["PROBE", "STAGE", "OF", "PRODUCED", "DELIVERED", "DROPPED", "WAITING", "DIFFERENCE", "DROPPED FOR"];

impl Ledger {
    pub fn run(self) -> Result<(), Failure> {
        let told = client::object(&self.agent, "/ledger")?;
        if self.json {
            print::json(&told);
            return Ok(());
        }
        let stages = told["stages"].as_array().map_or(&[][..], Vec::as_slice);
        print::table(&COLUMNS, stages.iter().map(row).collect());
        if stages.is_empty() {
            print::warn("no probe has had a row of a tracepoint, or made an event, yet");
        }
        Ok(())
    }
}

fn row(stage: &Value) -> Vec<Text> {
    let name = |name: &str| stage[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| stage[name].to_string();
    let dropped: Vec<(&String, u64)> = stage["dropped"]
        .as_object()
        .map(|reasons| reasons.iter().map(|(reason, count)| (reason, count.as_u64().unwrap_or(0))).collect())
        .unwrap_or_default();
    let all: u64 = dropped.iter().map(|(_, count)| count).sum();
    let why: Vec<String> = dropped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let style = if stage["difference"] == 0 { GOOD } else { BAD };
    vec![
        Text::styled(name("probe"), HEAD),
        format!("{} {}", name("stage"), name("sink")).trim_end().into(),
        name("of").into(),
        number("produced").into(),
        number("delivered").into(),
        all.to_string().into(),
        number("waiting").into(),
        Text::styled(number("difference"), style),
        why.join(", ").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stage_is_a_row_with_the_reasons_for_which_it_dropped() {
        let stage = json!({
            "probe": "tcp_reset", "stage": "sink", "sink": "loki", "of": "events", "produced": 10, "delivered": 5,
            "dropped": { "refused": 2, "spill_full": 1 }, "waiting": 1, "difference": 1,
        });
        let lines = print::lines(&COLUMNS, vec![row(&stage)]);
        let plain = anstream::adapter::strip_str(&lines[1]).to_string();
        let words: Vec<&str> = plain.split_whitespace().collect();
        assert_eq!(words.join(" "), "tcp_reset sink loki events 10 5 3 1 1 refused 2, spill_full 1");
    }
}
