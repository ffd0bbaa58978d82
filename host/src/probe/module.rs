//! From bytes to compiled code: what is no probe is told so, in words, before anything of it runs.

use super::{
    INTERFACE, builtin,
    cache::Cache,
    engine::Engine,
    v0_1_0::{EXPORT, IMPORTS},
};
use netsonde_core::nearest::did_you_mean;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use wasmtime::component::Component;

/// The largest module: an interpreter with a whole language inside has 10-20 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Where a probe's module comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Builtin(String),
    File(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Builtin(name) => write!(f, "builtin:{name}"),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a module cannot be a probe here.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    #[error("no built-in probe `{name}`{near}")]
    NoBuiltin { name: String, near: String },
    #[error("cannot read the module {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the module {path} has {bytes} bytes; at most {MAX_BYTES} are loaded")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{module} is no WebAssembly: it begins with {start}, not with `\\0asm`")]
    NotWasm { module: String, start: String },
    #[error(
        "{module} is a core module, not a component: build it for wasm32-unknown-unknown with `linker = \"wasm-component-ld\"`"
    )]
    CoreModule { module: String },
    #[error("{module} does not compile: {message}")]
    Compile { module: String, message: String },
    #[error("{module} is built for `{found}`; this host serves {INTERFACE}")]
    OtherVersion { module: String, found: String },
    #[error("{module} exports no `{EXPORT}`, only {found}: it is no netsonde probe")]
    NoExport { module: String, found: String },
    #[error("{module} wants to import `{import}`; a probe gets nothing but `netsonde:probe/host@0.1.0`")]
    Import { module: String, import: String },
}

/// Compiled code that may be instantiated as a probe.
#[derive(Clone)]
pub struct Module {
    component: Component,
    /// SHA-256 of the bytes, in hexadecimal.
    pub digest: String,
}

impl Module {
    /// Reads, checks and compiles a module, or takes it from the cache.
    ///
    /// # Errors
    /// See [`ModuleError`]; each names the module and what was expected.
    pub fn load(engine: &Engine, source: &Source, cache: &Cache) -> Result<Self, ModuleError> {
        match source {
            Source::Builtin(name) => {
                let names = builtin::all().map(|(name, ..)| *name);
                let bytes = builtin::module(name)
                    .ok_or_else(|| ModuleError::NoBuiltin { name: name.clone(), near: did_you_mean(name, names) })?;
                Self::from_bytes(engine, &source.to_string(), bytes, cache)
            }
            Source::File(path) => Self::from_bytes(engine, &source.to_string(), &read(path)?, cache),
        }
    }

    /// The same for bytes that are at hand; `module` is what messages call them.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(engine: &Engine, module: &str, bytes: &[u8], cache: &Cache) -> Result<Self, ModuleError> {
        check_header(module, bytes)?;
        let digest = super::cache::digest(bytes);
        let component = cache
            .component(engine.wasm(), &digest, bytes)
            .map_err(|error| ModuleError::Compile { module: module.to_owned(), message: format!("{error:#}") })?;
        check_interface(engine, module, &component)?;
        Ok(Self { component, digest })
    }

    pub fn component(&self) -> &Component {
        &self.component
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let failed = |source| ModuleError::Read { path: path.to_owned(), source };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_BYTES {
        return Err(ModuleError::TooLarge { path: path.to_owned(), bytes });
    }
    fs::read(path).map_err(failed)
}

/// The eight bytes that every module begins with: magic, version, layer (0: core module, 1: component).
fn check_header(module: &str, bytes: &[u8]) -> Result<(), ModuleError> {
    let module = module.to_owned();
    match bytes {
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err(ModuleError::CoreModule { module }),
        _ => {
            let start = format!("`{}`", bytes[..bytes.len().min(8)].escape_ascii());
            Err(ModuleError::NotWasm { module, start })
        }
    }
}

fn check_interface(engine: &Engine, module: &str, component: &Component) -> Result<(), ModuleError> {
    let module = module.to_owned();
    let ty = component.component_type();
    let exports: Vec<String> = ty.exports(engine.wasm()).map(|(name, _)| name.to_owned()).collect();
    if !exports.iter().any(|name| name == EXPORT) {
        return Err(match exports.iter().find(|name| name.starts_with("netsonde:probe/guest")) {
            Some(found) => ModuleError::OtherVersion { module, found: found.clone() },
            None if exports.is_empty() => ModuleError::NoExport { module, found: "nothing".into() },
            None => ModuleError::NoExport { module, found: format!("`{}`", exports.join("`, `")) },
        });
    }
    match ty.imports(engine.wasm()).find(|(name, _)| !IMPORTS.contains(name)) {
        Some((import, _)) => Err(ModuleError::Import { module, import: import.to_owned() }),
        None => Ok(()),
    }
}
