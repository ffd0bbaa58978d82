//! The kernel's types, from the file in which it gives them.

use netsonde_core::bpf::btf::{Btf, BtfError};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why there are no types.
#[derive(Debug, thiserror::Error)]
pub enum NoBtf {
    #[error("read the kernel's types from {}: {source}; the kernel must be built with CONFIG_DEBUG_INFO_BTF, or `btf` name a file of its types", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Unusable { path: PathBuf, source: BtfError },
}

/// Reads all types, some five megabytes.
///
/// # Errors
/// If this kernel gives none, or the file is another one.
pub fn read(path: &Path) -> Result<Arc<Btf>, NoBtf> {
    let data = fs::read(path).map_err(|source| NoBtf::Unreadable { path: path.to_owned(), source })?;
    let btf = Btf::parse(data).map_err(|source| NoBtf::Unusable { path: path.to_owned(), source })?;
    Ok(Arc::new(btf))
}
