//! The files that containerd reads.

use super::image;
use serde_json::json;
use std::path::Path;

/// The plug-in that gives pods their addresses; where Debian has it.
pub const BRIDGE: &str = "/usr/lib/cni/bridge";

/// containerd's own, of version 1.6 and later ones.
pub fn containerd(folder: &Path, snapshotter: &str) -> String {
    let (folder, pause) = (folder.display(), image::PAUSE);
    // `restrict_oom_score_adj`: without CAP_SYS_RESOURCE the kernel refuses to lower it.
    // `SystemdCgroup`: there may be no systemd.
    format!(
        r#"version = 2
root = "{folder}/root"
state = "{folder}/run"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.nri.v1.nri",
]
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.sock.ttrpc"
[metrics]
  address = ""
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_unprivileged_ports = false
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
    max_conf_num = 1
"#
    )
}

/// The CNI's: a bridge in the node's network namespace.
pub fn network(folder: &Path, subnet: &str) -> String {
    json!({
        "cniVersion": "1.0.0",
        "name": "test",
        "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": folder.join("addresses"),
                "ranges": [[{ "subnet": subnet }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    })
    .to_string()
}
