//! Builds the built-in probes as WASM components, to be embedded.
//!
//! Cargo inside cargo, in a target folder of its own: a probe is an ordinary crate for another target, which cargo cannot express yet.

use std::{env, error::Error, fs, path::PathBuf, process::Command};

const PROBES: &[&str] =
    &["cadvisor", "cadvisor_traffic", "packet_loss", "socket_memory", "sockstat", "tcp_reset", "tcp_state", "traffic"];
const TARGET: &str = "wasm32-unknown-unknown";

/// What the outer cargo, or a wrapper around it, says of the host's build and must not say of the guests'.
const CLEAR: &[&str] = &[
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_TARGET_DIR",
    "LLVM_PROFILE_FILE",
    "MAKEFLAGS",
    "RUSTC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];
const CLEAR_PREFIXES: &[&str] = &["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PKG_", "CARGO_PROFILE_"];

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["build.rs", "../probes", "../sdk", "../wit", "../.cargo/config.toml", "../Cargo.toml", "../Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let target = out.join("probes");

    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--profile", "probe", "--target", TARGET, "--target-dir"])
        .arg(&target);
    for probe in PROBES {
        cargo.args(["-p", &format!("netsonde-probe-{}", probe.replace('_', "-"))]);
    }
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if CLEAR.contains(&name.as_str()) || CLEAR_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    if !cargo.status()?.success() {
        return Err(format!(
            "cannot build the probes for {TARGET}: does `tools/install-wasm-std.sh` say that its std is there?"
        )
        .into());
    }
    for probe in PROBES {
        fs::copy(target.join(TARGET).join("probe").join(format!("{probe}.wasm")), out.join(format!("{probe}.wasm")))?;
    }
    Ok(())
}
