//! `netsonde`: arguments to command, and its exit code.

use clap::Parser;
use netsonde::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::start_log();
    cli::run(Cli::parse())
}
