//! What the end-to-end tests are written with: the real binary, real network namespaces, real HTTP.
//!
//! The tests need root: they make network namespaces, and take them away again, also when they fail. Without root they say so and stop
//! with an error: a test that did not run has not passed.

pub mod agent;
pub mod certificates;
pub mod cri;
pub mod http;
pub mod netns;
pub mod page;
pub mod query;
pub mod receiver;
pub mod rotel;
pub mod ss;
pub mod traffic;
pub mod whose;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A folder for one test, removed at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(unique(&format!("netsonde-{name}")));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name that no other test, and no other run, has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The binary under test: beside the test's own, or where `NETSONDE_BIN` says.
pub fn binary() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("netsonde");
    let path = std::env::var_os("NETSONDE_BIN").map_or_else(beside, PathBuf::from);
    assert!(path.is_file(), "{} is not there: run the tests with `make test`", path.display());
    path
}

/// A component that `make guests` has built.
pub fn guest(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/target/wasm32-unknown-unknown/probe");
    let path = target.join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is not there: run `make guests`", path.display());
    path
}
