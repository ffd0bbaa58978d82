//! Who can tell of pods and containers.

use super::Check;
use crate::scope::{
    cgroup::Cgroups,
    watch::{self, SourceState, Watched},
};
use netsonde_core::config::{Config, Runtime};
use std::time::Duration;

/// How long a runtime may take to list its pods.
const PATIENCE: Duration = Duration::from_secs(3);

const LOST: &str = "names of pods: series and events bear those of network namespaces";

pub fn look(config: &Config) -> Vec<Check> {
    let Watched { sources, .. } = watch::look_once(&config.pods, PATIENCE);
    let mut checks: Vec<Check> = sources.iter().map(runtime).collect();
    if checks.is_empty() {
        let nobody = config.pods.cri == Runtime::None && config.pods.docker == Runtime::None;
        let found =
            if nobody { "none is wanted" } else { "none at the usual places: network namespaces bear their own names" };
        return vec![Check::good("runtime", found)];
    }
    checks.push(cgroups(config));
    checks
}

fn runtime(state: &SourceState) -> Check {
    let SourceState { source, socket, runtime, error, pods, .. } = state;
    let name = format!("runtime ({})", source.as_str());
    let socket = socket.display();
    match error {
        None => {
            let runtime = runtime.as_deref().unwrap_or("a runtime");
            Check::good(name, format!("{runtime} at {socket} lists {pods} pods"))
        }
        Some(error) => Check::missing(name, error.clone(), LOST, "let it run, and the agent speak to its socket"),
    }
}

fn cgroups(config: &Config) -> Check {
    const LOST: &str = "the container of a socket, and whose in the node's own network namespace it is";
    match Cgroups::open(&config.cgroup_root, &config.proc_root) {
        Ok(cgroups) if cgroups.is_whole() => Check::good("cgroups", format!("seen at {}", cgroups.root().display())),
        Ok(cgroups) => Check::partly(
            "cgroups",
            format!("{} shows only some of the node's", cgroups.root().display()),
            LOST,
            "mount the host's /sys/fs/cgroup into the agent's container, and name that by `cgroup_root`",
        ),
        Err(error) => {
            Check::partly("cgroups", error.to_string(), LOST, "mount version 2, or name where it is by `cgroup_root`")
        }
    }
}
