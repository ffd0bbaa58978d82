//! What several commands begin with: the configuration, and a look at this node.

use super::{ConfigArgs, Failure, PlaceArgs, print};
use crate::{
    agent::{
        self,
        kernel::Places,
        namespaces::{Namespaces, Walked},
        tables::Tables,
    },
    scope::{
        cgroup::Cgroups,
        watch::{self, Watched},
    },
    source::{btf, iter},
};
use netsonde_core::{
    config::{self, Config, Runtime},
    scope::Scopes,
    table::{Catalogue, Hooks},
};
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// The configuration that is in force: the file, or the defaults, and what the arguments override.
pub fn config(args: &ConfigArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(file) => read(file)?,
        None => Config::default(),
    };
    if args.node.is_some() {
        config.node.clone_from(&args.node);
    }
    config.listen = args.listen.unwrap_or(config.listen);
    if let Some(folder) = &args.cache_folder {
        config.cache_folder.clone_from(folder);
    }
    override_places(&mut config, &args.places);
    Ok(config)
}

fn override_places(config: &mut Config, places: &PlaceArgs) {
    if let Some(folder) = &places.proc_root {
        config.proc_root.clone_from(folder);
    }
    if let Some(folder) = &places.netns_folder {
        config.netns_folder.clone_from(folder);
    }
    if let Some(socket) = &places.cri {
        config.pods.cri = Runtime::At(socket.clone());
    }
}

fn read(file: &Path) -> Result<Config, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::wrong([format!("cannot read the configuration {}: {error}", file.display())]))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    config::parse(&text, &file.display().to_string(), folder).map_err(Failure::wrong)
}

/// Where to look, for commands that need no configuration.
pub fn places(args: &PlaceArgs) -> Places {
    let mut config = Config::default();
    override_places(&mut config, args);
    Places { proc_root: config.proc_root, netns_folder: config.netns_folder, host_netns: None }
}

/// Where the kernel gives its types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Everything that can be asked here, tracepoints too.
pub fn catalogue(places: &Places, btf: &Path) -> Catalogue {
    {
        let hooks = iter::seeing(hooks(btf), &places.proc_root);
        Catalogue { hooks: hooks.clone(), ..tables(places, &hooks, Arc::default()).catalogue() }
    }
}

/// The tracepoints, if the kernel tells its types.
pub fn hooks(path: &Path) -> Hooks {
    btf::read(path).map_or_else(|error| Hooks::Absent(error.to_string()), Hooks::known)
}

/// Says on standard error what may not be seen.
pub fn warn_of(walked: &Walked) {
    if walked.hidden > 0 {
        print::warn(&crate::scope::netns::hidden_message(walked.hidden));
    }
    if let Some(why) = &walked.no_host {
        print::warn(why);
    }
}

/// Who there is on this node, with the names of its pods.
pub fn namespaces(places: Places, args: &PlaceArgs, hooks: &Hooks) -> Namespaces {
    namespaces_of(places, args, hooks, Arc::default())
}

/// The same, kept in `scopes`.
pub fn namespaces_of(places: Places, args: &PlaceArgs, hooks: &Hooks, scopes: Arc<Mutex<Scopes>>) -> Namespaces {
    let mut config = Config::default();
    override_places(&mut config, args);
    let cgroups = Cgroups::open(&config.cgroup_root, &places.proc_root).ok();
    let namespaces = Namespaces::new(places, scopes, agent::tasks(hooks), cgroups, clock);
    if watch::is_expected(&config.pods) {
        let Watched { pods, sources } = watch::look_once(&config.pods, PODS);
        sources.iter().filter_map(|source| source.error.as_deref()).for_each(print::warn);
        namespaces.learn(pods);
    }
    namespaces
}

/// How long a person waits for the names of pods.
const PODS: Duration = Duration::from_secs(2);

/// One clock for both: nothing waits, and nobody is gone for long.
fn clock() -> (Duration, Duration) {
    let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    (unix, unix)
}

/// What reads the tables; `scopes` know the pods.
pub fn tables(places: &Places, hooks: &Hooks, scopes: Arc<Mutex<Scopes>>) -> Tables {
    Tables::new(&places.proc_root, hooks).with_pods(scopes)
}
