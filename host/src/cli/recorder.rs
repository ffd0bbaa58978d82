//! `netsonde recorder`: what the flight recorder of a running agent has.

use super::{
    Failure,
    client::{self, ClientArgs},
    print,
};

/// Prints every event of the last minutes, as JSON lines.
#[derive(clap::Args)]
pub struct Recorder {
    #[command(flatten)]
    agent: ClientArgs,
}

impl Recorder {
    pub fn run(self) -> Result<(), Failure> {
        for line in client::get(&self.agent, "/recorder", client::LINES, false)? {
            print::out(line?.trim_end());
        }
        Ok(())
    }
}
