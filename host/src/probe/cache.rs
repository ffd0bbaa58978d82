//! Compiled modules on disk, so that an agent compiles each only once.
//!
//! Compiled code is trusted input: a folder that somebody else could write to is refused.

use rustix::process::getuid;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, DirBuilder, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use wasmtime::component::Component;

/// Compiled modules that are kept; the oldest go first.
const MAX_FILES: usize = 64;

/// Why nothing is cached. The agent works all the same, and compiles at each start.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cannot make the cache folder {path}: {source}")]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot look at the cache folder {path}: {source}")]
    Look { path: PathBuf, source: io::Error },
    #[error(
        "the cache folder {path} belongs to user {owner} with mode {mode:o}: it must belong to user {user} with mode 700, \
         as compiled code in it is run as it is"
    )]
    NotOurs { path: PathBuf, owner: u32, user: u32, mode: u32 },
}

/// A folder of compiled modules, or none.
pub struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// Without a folder: every module is compiled.
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// The cache in `folder`, which is made if need be.
    ///
    /// # Errors
    /// If there is no such folder of ours, and none can be made.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let path = || folder.to_owned();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| CacheError::Make { path: path(), source })?;
        let about = fs::symlink_metadata(folder).map_err(|source| CacheError::Look { path: path(), source })?;
        let (owner, user, mode) = (about.uid(), getuid().as_raw(), about.mode() & 0o7777);
        if !about.is_dir() || owner != user || mode != 0o700 {
            return Err(CacheError::NotOurs { path: path(), owner, user, mode });
        }
        Ok(Self { folder: Some(folder.to_owned()) })
    }

    /// The compiled form of `bytes`: from the folder if it is there, else compiled now and put there.
    ///
    /// # Errors
    /// If it does not compile.
    pub fn component(&self, engine: &wasmtime::Engine, digest: &str, bytes: &[u8]) -> wasmtime::Result<Component> {
        let Some(folder) = &self.folder else { return Component::new(engine, bytes) };
        let file = folder.join(format!("{digest}-{:016x}.cwasm", compatibility(engine)));
        if file.is_file() {
            // SAFETY: the folder belongs to this user alone (checked in `open`), so the file is what `Component::serialize` wrote; the
            // name holds the digest of the module and the hash of engine version and settings.
            match unsafe { Component::deserialize_file(engine, &file) } {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::warn!(file = %file.display(), "Compiling again, as the cached module does not load: {error:#}")
                }
            }
        }
        let component = Component::new(engine, bytes)?;
        let stored = component.serialize().map_err(io::Error::other).and_then(|code| store(folder, &file, &code));
        if let Err(error) = stored {
            tracing::warn!(file = %file.display(), "Cannot cache a compiled module: {error}");
        }
        Ok(component)
    }
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What compiled code depends on besides the module: the engine's version and settings, and this processor's features.
fn compatibility(engine: &wasmtime::Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Writes beside the place and renames: a reader sees the whole file or none.
fn store(folder: &Path, file: &Path, code: &[u8]) -> io::Result<()> {
    let new = folder.join(format!("new-{}-{}", std::process::id(), file.file_name().unwrap_or_default().display()));
    let mut out = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let written = out.write_all(code).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    drop_oldest(folder)
}

fn drop_oldest(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let surplus = files.len().saturating_sub(MAX_FILES);
    for (_, path) in &files[..surplus] {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("netsonde-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = folder("open");
        Cache::open(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Cache::open(&folder).err().unwrap().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(error.contains("mode 777") && error.contains("700"), "{error}");
    }

    #[test]
    fn the_oldest_files_go_first() {
        let folder = folder("oldest");
        Cache::open(&folder).unwrap();
        for number in 0..MAX_FILES + 3 {
            store(&folder, &folder.join(format!("{number:03}")), b"x").unwrap();
        }
        let left = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, MAX_FILES);
    }
}
