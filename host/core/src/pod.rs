//! Pods and their containers, as a container runtime tells of them.
//!
//! A container of the Docker engine on a node without Kubernetes is a pod without a name that has this one container.

pub mod cgroup;
pub mod cri;
pub mod docker;
pub mod index;
pub mod labels;
pub mod merge;
pub mod table;

use std::{net::IpAddr, path::PathBuf, time::Duration};

/// Who has told of a pod. The Kubernetes API would be one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The Container Runtime Interface: containerd, CRI-O, cri-dockerd.
    Cri,
    /// The Docker engine's API, which Podman has too.
    Docker,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Cri => "cri",
            Source::Docker => "docker",
        }
    }
}

/// How a pod was found to be who a scope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The file that holds its network namespace.
    File,
    /// A process of it in its network namespace.
    Process,
    /// The cgroup of a socket.
    Cgroup,
}

impl By {
    pub fn as_str(self) -> &'static str {
        match self {
            By::File => "netns file",
            By::Process => "process",
            By::Cgroup => "cgroup",
        }
    }
}

/// One sandbox: a pod that is made anew under the same name is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The runtime's name for the sandbox, mostly 64 hexadecimal digits; without Kubernetes the container's.
    pub id: String,
    pub source: Source,
    /// Kubernetes namespace; empty without Kubernetes, as are `name` and `uid`.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// By key, each key once.
    pub labels: Vec<(String, String)>,
    /// The same, but only those that somebody asks for: they can be long.
    pub annotations: Vec<(String, String)>,
    pub network: Network,
    /// Its own addresses; none if it is in the node's network namespace.
    pub ips: Vec<IpAddr>,
    /// When it was made, since the Unix epoch; zero if the runtime does not tell.
    pub created_unix: Duration,
    /// Whether its sandbox runs. One that has ended is listed until it is removed.
    pub ready: bool,
    pub containers: Vec<Container>,
    /// Its sandbox's, written as [`Container::cgroup`] is.
    pub cgroup: Option<String>,
    /// The image of its sandbox.
    pub image: Option<String>,
}

/// Which network namespace a pod is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The node's own (`hostNetwork`).
    Host,
    /// One of its own: the file that holds it, and a process in it, as far as they are known.
    Own { path: Option<PathBuf>, pid: Option<u32> },
    /// That of the pod with this id (Docker's `--network container:ID`).
    Of(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Mostly 64 hexadecimal digits, which are in the path of its cgroup.
    pub id: String,
    /// Within its pod.
    pub name: String,
    /// As its pod asked for it.
    pub image: String,
    /// Its first process; None if it does not run, or the runtime does not tell.
    pub pid: Option<u32>,
    /// As the runtime was told to make it: `/kubepods/besteffort/podUID/ID`, or systemd's `SLICE:PREFIX:ID`.
    pub cgroup: Option<String>,
    pub running: bool,
}

impl Pod {
    /// The value of a label, else of an annotation.
    pub fn label(&self, key: &str) -> Option<&str> {
        let find = |list: &'_ [(String, String)]| list.iter().position(|(known, _)| known == key);
        match (find(&self.labels), find(&self.annotations)) {
            (Some(at), _) => Some(&self.labels[at].1),
            (None, Some(at)) => Some(&self.annotations[at].1),
            (None, None) => None,
        }
    }
}
