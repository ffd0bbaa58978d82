//! `netsonde recorder`: what the flight recorder of a running agent has.

use super::{Failure, client, print};

/// Prints every event of the last minutes, as JSON lines.
#[derive(clap::Args)]
pub struct Recorder {
    /// Where the agent listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:13119")]
    address: String,
}

impl Recorder {
    pub fn run(self) -> Result<(), Failure> {
        for line in client::get(&self.address, "/recorder", client::LINES, false)? {
            print::out(line?.trim_end());
        }
        Ok(())
    }
}
