//! The files that say who may see what, and how it is sent: read at the start, and anew when one of them has changed.

use super::{counts::Counts, password::Passwords, tls};
use hyper::header::{HeaderName, HeaderValue};
use netsonde_core::config::{
    self,
    web::{self, Pem, User, Web},
};
use rustls::ServerConfig;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// How often the files are looked at, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Handshakes at once: fewer than connections, so that those who begin one and say no more do not take all places.
const MAX_HANDSHAKES: usize = 128;

/// TLS, and who may see what.
pub struct Security {
    web_config: Option<PathBuf>,
    token_file: Option<PathBuf>,
    state: Mutex<State>,
    pub counts: Arc<Counts>,
    pub(super) passwords: Passwords,
    pub(super) handshakes: Semaphore,
}

struct State {
    loaded: Arc<Loaded>,
    seen: Seen,
    looked: Instant,
}

/// What the files say.
#[derive(Default)]
pub struct Loaded {
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether a certificate that was let in says who the client is.
    pub certifies: bool,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub users: Vec<User>,
    /// Digests of tokens. None: none are known here.
    pub tokens: Option<Vec<[u8; 32]>>,
}

impl Loaded {
    /// Whether other machines may see the pages that tell addresses, somehow.
    pub fn lets_others_in(&self) -> bool {
        self.certifies || !self.users.is_empty() || self.tokens.is_some()
    }

    /// Whether this is one of the tokens. Compares with each, by digests, so that the time tells nothing.
    pub(super) fn knows(&self, token: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let differs = |known: &[u8; 32]| known.iter().zip(digest).fold(0, |bits, (a, b)| bits | (a ^ b));
        self.tokens.iter().flatten().fold(false, |found, known| found | (differs(known) == 0))
    }
}

impl Security {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them, in words.
    pub fn open(web_config: Option<PathBuf>, token_file: Option<PathBuf>) -> Result<Self, Vec<String>> {
        let mut seen = Seen::default();
        let loaded = load(web_config.as_deref(), token_file.as_deref(), &mut seen)?;
        let state = State { loaded: Arc::new(loaded), seen, looked: Instant::now() };
        Ok(Self {
            web_config,
            token_file,
            state: Mutex::new(state),
            counts: Arc::default(),
            passwords: Passwords::default(),
            handshakes: Semaphore::new(MAX_HANDSHAKES),
        })
    }

    /// What the files say now. As long as they are wrong, what they said before.
    pub fn now(&self) -> Arc<Loaded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_AGAIN {
            state.looked = Instant::now();
            if state.seen.has_changed() {
                self.read_anew(&mut state);
            }
        }
        state.loaded.clone()
    }

    /// A fault is logged once: only a further change is a reason to try again.
    fn read_anew(&self, state: &mut State) {
        let mut seen = Seen::default();
        let mut result = load(self.web_config.as_deref(), self.token_file.as_deref(), &mut seen);
        if let Ok(loaded) = &result
            && loaded.tls.is_some() != state.loaded.tls.is_some()
        {
            result = Err(vec!["TLS is switched on and off only by a new start of the agent".to_owned()]);
        }
        state.seen = seen;
        match result {
            Ok(loaded) => {
                state.loaded = Arc::new(loaded);
                tracing::info!("Certificates, tokens and passwords were read anew.");
            }
            Err(errors) => {
                let all = errors.join("; ");
                tracing::warn!(
                    "What the files for TLS and access said before stays in force, as they are wrong now: {all}"
                );
            }
        }
    }
}

fn load(web_config: Option<&Path>, token_file: Option<&Path>, seen: &mut Seen) -> Result<Loaded, Vec<String>> {
    let mut errors = Vec::new();
    let mut loaded = Loaded::default();
    if let Some(file) = web_config {
        match web(file, seen) {
            Ok(web) => take(web, seen, &mut loaded, &mut errors),
            Err(wrong) => errors.extend(wrong),
        }
    }
    if let Some(file) = token_file {
        match tokens(file, seen) {
            Ok(tokens) => loaded.tokens = Some(tokens),
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(loaded) } else { Err(errors) }
}

fn web(file: &Path, seen: &mut Seen) -> Result<Web, Vec<String>> {
    let (text, _) = seen.text(file, "web_config").map_err(|error| vec![error])?;
    let folder = file.parent().unwrap_or(Path::new("."));
    web::parse(&text, &file.display().to_string(), folder).map_err(in_words)
}

fn take(web: Web, seen: &mut Seen, loaded: &mut Loaded, errors: &mut Vec<String>) {
    if let Some(tls) = &web.tls {
        let read = |pem: &Pem| match pem {
            Pem::File(path) => seen.read(path, "web_config").map(|(bytes, _)| bytes),
            Pem::Inline(text) => Ok(text.reveal().as_bytes().to_vec()),
        };
        match tls::server(tls, read) {
            Ok(config) => loaded.tls = Some(config),
            Err(wrong) => errors.extend(wrong),
        }
        loaded.certifies = tls.client_auth.verifies();
    }
    let header = |(name, value): &(String, String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    loaded.headers = web.headers.iter().filter_map(header).collect();
    loaded.users = web.users;
}

fn tokens(file: &Path, seen: &mut Seen) -> Result<Vec<[u8; 32]>, Vec<String>> {
    let (text, metadata) = seen.text(file, "access.token_file").map_err(|error| vec![error])?;
    let file = file.display();
    if metadata.mode() & 0o007 != 0 {
        return Err(vec![format!(
            "`access.token_file`: {file} is open to every user (mode {:04o}): `chmod 600 {file}`; in Kubernetes, `defaultMode: 0400` for the \
             volume of the Secret",
            metadata.mode() & 0o7777
        )]);
    }
    let tokens = config::token::parse(&text, &file.to_string()).map_err(in_words)?;
    Ok(tokens.into_iter().map(|token| Sha256::digest(token).into()).collect())
}

fn in_words(errors: Vec<config::ConfigError>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Files as they were just before they were read.
#[derive(Default)]
struct Seen(Vec<(PathBuf, Option<Stamp>)>);

/// By which a file is known to be the same: device and inode, as a Secret of Kubernetes is replaced by a link; times, and size.
#[derive(PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64, i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    Some(Stamp(data.dev(), data.ino(), data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec(), data.size()))
}

impl Seen {
    fn has_changed(&self) -> bool {
        self.0.iter().any(|(path, before)| stamp(path) != *before)
    }

    /// The file's bytes, and what it was when it was opened. `key` is the configuration's, for messages.
    fn read(&mut self, path: &Path, key: &str) -> Result<(Vec<u8>, Metadata), String> {
        self.0.push((path.to_owned(), stamp(path)));
        let read = || -> io::Result<_> {
            // A pipe would keep us waiting.
            if !fs::metadata(path)?.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            let mut bytes = Vec::new();
            if file.take(config::MAX_FILE as u64 + 1).read_to_end(&mut bytes)? > config::MAX_FILE {
                return Err(io::Error::other(format!("it has more than {} bytes", config::MAX_FILE)));
            }
            Ok((bytes, metadata))
        };
        read().map_err(|error| format!("`{key}`: cannot read {}: {error}", path.display()))
    }

    fn text(&mut self, path: &Path, key: &str) -> Result<(String, Metadata), String> {
        let (bytes, metadata) = self.read(path, key)?;
        let text = String::from_utf8(bytes).map_err(|_| format!("`{key}`: {} is no text", path.display()))?;
        Ok((text, metadata))
    }
}

#[cfg(test)]
mod tests;
