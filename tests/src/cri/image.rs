//! The images of the pods, made by hand of this machine's busybox: there is no registry here.

use super::run;
use serde_json::json;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// What containers run: a shell with busybox's commands.
pub const BUSYBOX: &str = "test.local/busybox:1";
/// What holds a sandbox.
pub const PAUSE: &str = "test.local/pause:1";

pub const BINARY: &str = "/bin/busybox";

/// Writes an archive of both images, as `docker save` does, and gives its path.
pub fn archive(folder: &Path) -> Result<PathBuf, String> {
    let place = folder.join("images");
    let root = place.join("root");
    let failed = |error: std::io::Error| format!("make images in {}: {error}", place.display());
    for name in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(name)).map_err(failed)?;
    }
    fs::copy(BINARY, root.join("bin/busybox")).map_err(failed)?;
    for command in run(BINARY, &["--list"])?.lines().filter(|command| *command != "busybox") {
        symlink("busybox", root.join("bin").join(command)).map_err(failed)?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").map_err(failed)?;
    let path = |name: &str| place.join(name).to_string_lossy().into_owned();
    run("tar", &["--owner=0", "--group=0", "-C", &path("root"), "-cf", &path("layer.tar"), "."])?;
    let layer = sum(&path("layer.tar"))?;
    let mut manifest = Vec::new();
    let mut members = vec!["manifest.json".to_owned(), "layer.tar".to_owned()];
    for (tag, entry) in [(BUSYBOX, json!(["/bin/sh"])), (PAUSE, json!(["/bin/sleep", "2147483647"]))] {
        let config = json!({
            "architecture": architecture(), "os": "linux",
            "config": { "Entrypoint": entry, "Env": ["PATH=/bin"], "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        });
        let draft = path("config.json");
        fs::write(&draft, config.to_string()).map_err(failed)?;
        let name = format!("{}.json", sum(&draft)?);
        fs::rename(&draft, place.join(&name)).map_err(failed)?;
        manifest.push(json!({ "Config": name, "RepoTags": [tag], "Layers": ["layer.tar"] }));
        members.push(name);
    }
    fs::write(place.join("manifest.json"), json!(manifest).to_string()).map_err(failed)?;
    let (place_text, archive) = (place.to_string_lossy().into_owned(), path("images.tar"));
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    run("tar", &[&["-C", &place_text, "-cf", &archive], &members[..]].concat())?;
    Ok(archive.into())
}

fn sum(path: &str) -> Result<String, String> {
    Ok(run("sha256sum", &[path])?.split(' ').next().unwrap_or_default().to_owned())
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
