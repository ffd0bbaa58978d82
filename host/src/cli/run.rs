//! `netsonde run`: the agent.

use super::{
    ConfigArgs, Failure, load,
    print::{self, BAD, GOOD, HEAD, SOME, Text},
};
use crate::agent::{Agent, StartError, board::Status, slot::Health};
use netsonde_core::config::{self, Config};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

#[derive(clap::Args)]
pub struct Run {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the effective configuration with its manual, and do nothing else
    #[arg(long)]
    print_config: bool,
}

impl Run {
    pub fn run(self) -> Result<(), Failure> {
        let config = load::config(&self.config)?;
        if self.print_config {
            print::out(config::print(&config).trim_end());
            return Ok(());
        }
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        runtime.block_on(serve(&config))
    }
}

async fn serve(config: &Config) -> Result<(), Failure> {
    let signal = |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut user = signal(SignalKind::user_defined1())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let agent = Agent::start(config).await.map_err(|error| match error {
        StartError::Security(errors) => Failure::wrong(errors),
        error => Failure::failed(error),
    })?;
    let url = agent.url();
    let probes = tokio::select! {
        probes = agent.first_collection() => probes,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    if print::is_terminal() {
        first_screen(&probes, &url);
    }
    tracing::info!("Serving {url}/metrics.");
    let (dump, reopen) = (agent.dump(), agent.reopen());
    agent
        .serve(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    Some(()) = user.recv() => dump(),
                    // Whoever closes a terminal means the agent, too.
                    Some(()) = hangup.recv() => if print::is_terminal() { break } else {
                        tracing::info!("Files of sinks are opened anew.");
                        reopen();
                    }
                }
            }
            tracing::info!("Ending: requests that run are finished first.");
        })
        .await;
    Ok(())
}

/// What a person sees who has just started the agent: is it well, and what now?
fn first_screen(probes: &[Status], url: &str) {
    print::out("");
    let rows = probes.iter().map(|probe| {
        let style = match probe.health {
            Health::Running => GOOD,
            Health::Degraded | Health::Starting => SOME,
            Health::Down => BAD,
        };
        let queries: Vec<&str> = probe.queries.iter().map(|query| query.name.as_str()).collect();
        vec![
            Text::styled(probe.name.clone(), HEAD),
            Text::styled(probe.health.as_str(), style),
            probe.series.to_string().into(),
            queries.join(" ").into(),
            probe.why.clone().into(),
        ]
    });
    print::table(&["PROBE", "STATE", "SERIES", "QUERIES", "WHY"], rows.collect());
    print::out("");
    print::out(&format!("metrics  {}", print::paint(&format!("{url}/metrics"), HEAD)));
    print::out(&format!("try      curl -s {url}/metrics | grep -v '^#' | head -20"));
    print::out("");
}
