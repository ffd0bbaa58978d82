//! `netsonde doctor`: what this node offers, in words, and whether rows arrive.

use super::{
    ConfigArgs, Failure, load,
    print::{self, BAD, GOOD, HEAD, SOME, Text},
};
use crate::doctor::{self, Check, Group, Outcome, Report, Verdict};
use anstyle::Style;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    config: ConfigArgs,
    /// The kernel's types, instead of the configuration's
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Leave the live self-test out
    #[arg(long)]
    no_self_test: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(self) -> Result<(), Failure> {
        let mut config = load::config(&self.config)?;
        config.btf = self.btf.unwrap_or(config.btf);
        let report = doctor::examine(&config, !self.no_self_test);
        if self.json {
            print::json(&report_json(&report))
        } else {
            tell(&report)
        }
        match (&report.useless, report.self_test) {
            (Some(why), _) => Err(Failure::failed(why)),
            (None, Outcome::Failed) => Err(Failure::failed("the self-test has failed")),
            (None, Outcome::Passed | Outcome::Skipped) => Ok(()),
        }
    }
}

fn tell(report: &Report) {
    let rows = report.groups.iter().flat_map(|group| {
        // The subject stands once, beside its first check.
        let subjects = std::iter::once(group.subject).chain(std::iter::repeat(""));
        group.checks.iter().zip(subjects).map(|(check, subject)| {
            vec![
                Text::styled(subject, HEAD),
                check.name.clone().into(),
                Text::styled(check.verdict.as_str(), style(check.verdict)),
                check.found.clone().into(),
            ]
        })
    });
    print::table(&["SUBJECT", "CHECK", "VERDICT", "FOUND"], rows.collect());
    for (group, check) in not_good(&report.groups) {
        let head = format!("{}: {}", group.subject, check.name);
        print::out("");
        let verdict = print::paint(check.verdict.as_str(), style(check.verdict));
        print::out(&format!("{} {verdict}", print::paint(&print::printable(&head), HEAD)));
        print::out(&format!("  takes away  {}", print::printable(&check.lost)));
        print::out(&format!("  to do       {}", print::printable(&check.todo)));
    }
    let outcome = match report.self_test {
        Outcome::Passed => GOOD,
        Outcome::Skipped => SOME,
        Outcome::Failed => BAD,
    };
    print::out("");
    print::out(&format!("self-test {}", print::paint(report.self_test.as_str(), outcome)));
}

fn not_good(groups: &[Group]) -> impl Iterator<Item = (&Group, &Check)> {
    let all = groups.iter().flat_map(|group| group.checks.iter().map(move |check| (group, check)));
    all.filter(|(_, check)| check.verdict != Verdict::Good)
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Good => GOOD,
        Verdict::Partly => SOME,
        Verdict::Missing => BAD,
    }
}

fn report_json(report: &Report) -> Value {
    let check = |check: &Check| {
        json!({
            "name": check.name,
            "verdict": check.verdict.as_str(),
            "found": check.found,
            "takes_away": check.lost,
            "to_do": check.todo,
        })
    };
    let group = |group: &Group| json!({ "subject": group.subject, "checks": group.checks.iter().map(check).collect::<Vec<_>>() });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "self_test": report.self_test.as_str(),
        "useless": report.useless,
        "groups": report.groups.iter().map(group).collect::<Vec<_>>(),
    })
}
