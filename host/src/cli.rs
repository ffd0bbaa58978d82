//! The command line: one file a command. Exit codes: 0 it went well, 1 it did not, 2 what was asked for is wrong.

mod check;
mod client;
mod doctor;
mod events;
mod ledger;
mod load;
mod pods;
pub mod print;
mod probe;
mod query;
mod recorder;
mod run;
mod tables;

use clap::{Args, Parser, Subcommand};
use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, process::ExitCode};
use tracing_subscriber::{EnvFilter, fmt};

/// A probe host for Linux nodes: the kernel as tables, probes as queries, series and events out.
///
/// Probes are sandboxed WASM modules. Each names queries over tables of kernel data; the agent answers them for every network namespace of
/// the node, and serves what the probes make of the rows to Prometheus.
///
/// The log goes to standard error; NETSONDE_LOG sets its level (error, warn, info, debug).
#[derive(Parser)]
#[command(name = "netsonde", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent: load the probes, answer their queries, serve /metrics
    ///
    /// Without a configuration it runs every built-in probe and listens on 127.0.0.1:13119.
    Run(run::Run),
    /// Check a configuration, its modules and their queries, without starting anything
    Check(check::Check),
    /// Say what this node offers: kernel, types, capabilities, limits; and test live that rows arrive
    ///
    /// Each check has a verdict: good, partly (it does, with less than there could be) or missing; where it is not good, what that takes
    /// away and what to do stand below. Run it as the user that the agent runs as, with the same capabilities, in the same container.
    ///
    /// The self-test makes a network namespace, is refused connections and loses datagrams in it, and waits for the kernel's rows and
    /// counts of just these: at most 5 s. It needs CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN and CAP_NET_ADMIN, and leaves nothing behind.
    ///
    /// Exit code 1: the self-test has failed, or the agent would be of no use with this configuration. What is merely missing is no failure.
    Doctor(doctor::Doctor),
    /// Ask the live kernel
    ///
    /// For example: netsonde query "SELECT netns, TCP.inuse, TCP.tw FROM proc.net.sockstat ORDER BY TCP.inuse DESC LIMIT 5"
    Query(query::Query),
    /// List the tables that can be asked here, or the columns of one
    Tables(tables::Tables),
    /// Show what happened lately, of a running agent
    ///
    /// For example: netsonde events --follow --type TCPRESET_NOSOCK
    Events(Box<events::Events>),
    /// Show what became of every row and event, stage by stage, of a running agent
    ///
    /// For each probe and stage: produced = delivered + dropped + waiting. DIFFERENCE is what nobody counted; it is 0, but for rows that are on
    /// their way out of the kernel.
    Ledger(ledger::Ledger),
    /// Print what the flight recorder of a running agent has, as JSON lines
    ///
    /// Every event of the last minutes (`recorder: { keep: 5m }`), before folding, and those over their probe's limit: `fate` says what
    /// became of each. The agent writes the same into a file on SIGUSR1, and on a burst if it is configured.
    Recorder(recorder::Recorder),
    /// List the pods and containers of the node, and how each was found, of a running agent
    ///
    /// BY tells how a pod was found to be whose it is: by the file of its network namespace, by its process, or by the cgroup of sockets.
    Pods(pods::Pods),
    /// List probes, or look into a module
    #[command(subcommand)]
    Probe(probe::Probe),
}

/// Where the configuration is, and what overrides it.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The configuration file (YAML); `netsonde run --print-config` prints one with its manual
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node, instead of the host's
    #[arg(long)]
    node: Option<String>,
    /// Where to listen, instead of the configuration's
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where compiled modules are kept
    #[arg(long, value_name = "FOLDER")]
    cache_folder: Option<PathBuf>,
    #[command(flatten)]
    places: PlaceArgs,
}

/// Where the kernel is looked at.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    /// Where procfs is mounted: in a container, the host's
    #[arg(long, value_name = "FOLDER")]
    proc_root: Option<PathBuf>,
    /// Where `ip netns` keeps its names
    #[arg(long, value_name = "FOLDER")]
    netns_folder: Option<PathBuf>,
    /// The container runtime's socket (CRI), instead of the one at a usual place
    #[arg(long, value_name = "SOCKET")]
    cri: Option<PathBuf>,
}

/// It did not go well: what to say, and the exit code.
pub struct Failure {
    code: u8,
    messages: Vec<String>,
}

impl Failure {
    /// What was asked for is wrong.
    fn wrong(messages: impl IntoIterator<Item = impl ToString>) -> Self {
        Self { code: 2, messages: messages.into_iter().map(|message| message.to_string()).collect() }
    }

    /// What was asked for was right, and failed.
    fn failed(message: impl ToString) -> Self {
        Self { code: 1, messages: vec![message.to_string()] }
    }
}

/// Runs a command.
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Run(run) => run.run(),
        Command::Check(check) => check.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Query(query) => query.run(),
        Command::Tables(tables) => tables.run(),
        Command::Events(events) => events.run(),
        Command::Ledger(ledger) => ledger.run(),
        Command::Recorder(recorder) => recorder.run(),
        Command::Pods(pods) => pods.run(),
        Command::Probe(probe) => probe.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.messages.iter().for_each(|message| print::error(message));
            ExitCode::from(failure.code)
        }
    }
}

/// Starts the log on standard error.
pub fn start_log() {
    let level = EnvFilter::try_from_env("NETSONDE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    fmt().with_env_filter(level).with_writer(std::io::stderr).with_ansi(colour).with_target(false).init();
}
