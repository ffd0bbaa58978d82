//! The web configuration file of Prometheus and its exporters: TLS, headers and passwords.
//!
//! Source of the format: `docs/web-configuration.md` of prometheus/exporter-toolkit. What is not done here is refused with a message, never
//! ignored; so is what the toolkit takes and then does nothing with. Nothing here opens a file.

mod read;
#[cfg(test)]
mod tests;

use super::{ConfigError, MAX_FILE, yaml};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A web configuration file. Paths are resolved; what the file left out has the toolkit's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// None: HTTP without TLS.
    pub tls: Option<Tls>,
    /// Added to every answer: names and values.
    pub headers: Vec<(String, String)>,
    /// Who may see all pages; none: nobody is asked for a password.
    pub users: Vec<User>,
}

/// `tls_server_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate, and those that lead from it to its authority's.
    pub cert: Pem,
    pub key: Pem,
    pub client_auth: ClientAuth,
    /// Authorities of clients' certificates; there if and only if these are verified, or if the file names them anyway.
    pub client_ca: Option<Pem>,
    /// A client's certificate must have one of these alternative names, letter by letter; empty: any will do.
    pub client_sans: Vec<String>,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    /// For TLS 1.2, best first; those of TLS 1.3 are not for choice, as in Go. Empty: all.
    pub cipher_suites: Vec<Cipher>,
    /// Whether the order of ours counts, not the client's.
    pub server_order: bool,
    /// Best first. Empty: all.
    pub curves: Vec<Curve>,
}

/// Certificates or a key in PEM (RFC 7468).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    File(PathBuf),
    /// Written out in the configuration.
    Inline(Secret),
}

/// One of `basic_auth_users`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// Of the password, by bcrypt, in the form `$2y$10$` and 53 characters; checked.
    pub hash: Secret,
}

/// A text that no log should show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is asked of clients, by Go's names (`crypto/tls`, `ClientAuthType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `NoClientCert`: none is asked for.
    None,
    /// `RequestClientCert`: one is asked for, and any will do.
    Request,
    /// `RequireAnyClientCert`: any will do, but there must be one.
    RequireAny,
    /// `VerifyClientCertIfGiven`: one that is given must be good.
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether a certificate that was let in says who the client is.
    pub fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// A cipher suite for TLS 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    EcdheEcdsaAes128Gcm,
    EcdheEcdsaAes256Gcm,
    EcdheEcdsaChacha20,
    EcdheRsaAes128Gcm,
    EcdheRsaAes256Gcm,
    EcdheRsaChacha20,
    /// One of TLS 1.3: may be named, and changes nothing.
    Tls13,
}

/// A group for the exchange of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    X25519,
    P256,
    P384,
}

/// Reads the web configuration from `text`, all of the file.
///
/// `file` is only for the messages. Relative paths in the text are relative to `folder`, the file's own. On failure every error is in the
/// list, in the file's order.
pub fn parse(text: &str, file: &str, folder: &Path) -> Result<Web, Vec<ConfigError>> {
    let place =
        |(at, message): yaml::Fault| ConfigError { file: file.to_owned(), line: at.line, column: at.column, message };
    if text.len() > MAX_FILE {
        let message = format!("this file has {} bytes; a web configuration has {MAX_FILE} at most", text.len());
        return Err(vec![place((yaml::Position::START, message))]);
    }
    let (node, mut faults) = yaml::load(text);
    let web = read::web(&node, folder, &mut faults);
    if faults.is_empty() {
        return Ok(web);
    }
    faults.sort_by_key(|(at, _)| *at);
    Err(faults.into_iter().map(place).collect())
}
