//! The ledger as metrics; what was dropped, and why, is in `netsonde_dropped` with all that is lost.

use netsonde_core::{
    ledger::{Account, Accounts},
    metric::exposition::Page,
    probe::MetricKind::{Counter, Gauge},
};

/// Writes the families onto the page.
pub fn write(accounts: &Accounts, page: &mut Page<'_>) {
    type Family = (&'static str, &'static str, fn(&Account) -> u64);
    let counters: [Family; 2] = [
        ("netsonde_ledger_produced", "Rows and events that a stage was given", |account| account.produced),
        ("netsonde_ledger_delivered", "Rows and events that a stage has handed on", |account| account.delivered),
    ];
    for (name, help, value) in counters {
        let mut family = page.family(name, Counter, "", help);
        each(accounts, |labels, account| family.sample(labels, value(account)));
    }
    let help = "Rows and events that a stage still has";
    let mut waiting = page.family("netsonde_ledger_waiting", Gauge, "", help);
    each(accounts, |labels, account| waiting.sample(labels, account.waiting));
    drop(waiting);
    let help = "Rows and events that nobody has counted; in the kernel's stage, those on their way";
    let mut difference = page.family("netsonde_ledger_difference", Gauge, "", help);
    each(accounts, |labels, account| difference.sample(labels, account.difference() as f64));
}

fn each(accounts: &Accounts, mut write: impl FnMut(&[(&str, &str)], &Account)) {
    for ((probe, stage), account) in accounts {
        let sink = stage.sink().unwrap_or_default();
        write(&[("probe", probe), ("stage", stage.as_str()), ("sink", sink)], account);
    }
}
