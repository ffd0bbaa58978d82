//! Where runtimes listen.

use netsonde_core::{config::Runtime, pod::Source};
use std::{
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// The usual places, those of runtimes that serve Kubernetes first.
fn usual(source: Source) -> &'static [&'static str] {
    match source {
        Source::Cri => &[
            "/run/containerd/containerd.sock",
            "/run/crio/crio.sock",
            // rke2 listens there too.
            "/run/k3s/containerd/containerd.sock",
            "/run/k0s/containerd.sock",
            "/var/snap/microk8s/common/run/containerd.sock",
            "/run/cri-dockerd.sock",
        ],
        Source::Docker => &["/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock"],
    }
}

/// The sockets that may be asked: the configured one, whether it is there or not, or those at the usual places that are sockets.
pub(super) fn sockets(source: Source, runtime: &Runtime) -> Vec<PathBuf> {
    match runtime {
        Runtime::None => Vec::new(),
        Runtime::At(path) => vec![path.clone()],
        Runtime::Auto => {
            usual(source).iter().map(Path::new).filter(|path| is_socket(path)).map(Path::to_owned).collect()
        }
    }
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_socket_need_not_be_there_and_none_is_none() {
        let path = PathBuf::from("/nowhere/at.sock");
        assert_eq!(sockets(Source::Cri, &Runtime::At(path.clone())), [path]);
        assert_eq!(sockets(Source::Docker, &Runtime::None), Vec::<PathBuf>::new());
    }

    #[test]
    fn only_sockets_are_found() {
        assert!(sockets(Source::Cri, &Runtime::Auto).iter().all(|path| is_socket(path)));
        assert!(!is_socket(Path::new("/dev/null")) && !is_socket(Path::new("/")) && !is_socket(Path::new("/nowhere")));
    }
}
