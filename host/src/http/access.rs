//! Who may see what: docs/access.md.
//!
//! What is asked for and by whom is decided here; what a page then does is not. A page that is not named here is guarded.

use super::{
    counts::Refusal,
    security::{Loaded, Security},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{HeaderMap, header};
use std::net::IpAddr;

/// Pages that tell no addresses, for those who scrape.
const OPEN: &str = "/metrics";

/// What a kubelet asks, which has no password: these tell nothing, and are open even where a name and password are asked for.
const PROBED: [&str; 2] = ["/healthz", "/readyz"];

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: IpAddr,
    /// Whether a certificate of the client's was verified.
    pub certified: bool,
}

/// What the answer is instead of the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub why: Refusal,
    /// Values of `WWW-Authenticate` (RFC 9110, 11.6.1).
    pub challenges: Vec<&'static str>,
}

impl Refused {
    /// What to do about it, for the one who asked.
    pub fn text(&self) -> &'static str {
        match self.why {
            Refusal::Unconfigured => {
                "netsonde shows this page to its own machine alone, as it tells addresses; for others, `access: { token_file: FILE }` or \
                 `web_config: FILE` in its configuration says who they are"
            }
            Refusal::NoCredentials => "netsonde shows this page to those who say who they are",
            Refusal::NoCertificate => "netsonde shows this page to clients with a certificate",
            Refusal::WrongToken => "netsonde does not know this token",
            Refusal::WrongPassword => "netsonde does not know this name with this password",
            Refusal::ForeignHost => {
                "netsonde shows this page to its own machine, asked by an IP address or as `localhost`: a page of another site could make a \
                 browser ask by a name"
            }
            Refusal::Busy => "netsonde compares too many passwords: ask again later",
        }
    }
}

/// Whether a request gets its page.
///
/// # Errors
/// What it gets instead; counted.
pub async fn admit(security: &Security, path: &str, headers: &HeaderMap, peer: Peer) -> Result<(), Refused> {
    let files = security.now();
    let result = decide(security, &files, path, headers, peer).await;
    result.map_err(|(status, why)| {
        security.counts.refused(why);
        tracing::debug!(%path, peer = %peer.address, "A request was refused: {}.", why.as_str());
        let mut challenges = Vec::new();
        if status == 401 {
            challenges.extend((!files.users.is_empty()).then_some("Basic realm=\"netsonde\", charset=\"UTF-8\""));
            challenges.extend(files.tokens.as_ref().map(|_| "Bearer realm=\"netsonde\""));
        }
        Refused { status, why, challenges }
    })
}

async fn decide(
    security: &Security,
    files: &Loaded,
    path: &str,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<(), (u16, Refusal)> {
    if PROBED.contains(&path) {
        return Ok(());
    }
    let mut without = Refusal::NoCredentials;
    // As in the toolkit, a password is asked for on every page, of everybody.
    if files.users.is_empty() {
        if path == OPEN || peer.certified {
            return Ok(());
        }
        if peer.address.to_canonical().is_loopback() {
            if is_own_host(headers) {
                return Ok(());
            }
            without = Refusal::ForeignHost;
        } else if !files.lets_others_in() {
            without = Refusal::Unconfigured;
        } else if files.tokens.is_none() {
            without = Refusal::NoCertificate;
        }
    }
    match credentials(headers) {
        Some(Credentials::Bearer(token)) if files.tokens.is_some() => {
            if files.knows(token) {
                Ok(())
            } else {
                Err((401, Refusal::WrongToken))
            }
        }
        Some(Credentials::Basic(name, password)) if !files.users.is_empty() => {
            let checked = security.passwords.check(&files.users, &name, &password).await;
            checked.map_err(|why| (if why == Refusal::Busy { 503 } else { 401 }, why))
        }
        _ if without == Refusal::NoCredentials => Err((401, without)),
        _ => Err((403, without)),
    }
}

/// What a client says of itself.
enum Credentials<'h> {
    Bearer(&'h [u8]),
    Basic(Vec<u8>, Vec<u8>),
}

/// The header `Authorization` (RFC 6750, 2.1; RFC 7617, 2), if it is there once and right.
fn credentials(headers: &HeaderMap) -> Option<Credentials<'_>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    if values.next().is_some() {
        return None;
    }
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Credentials::Bearer(rest));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let login = BASE64_STANDARD.decode(rest).ok()?;
    let colon = login.iter().position(|byte| *byte == b':')?;
    Some(Credentials::Basic(login[..colon].to_vec(), login[colon + 1..].to_vec()))
}

/// Whether the request was made to an address or `localhost`. A name of another site may be made to mean 127.0.0.1, and that site's page in
/// a browser on this machine would then read what the agent tells (DNS rebinding); an address is never another site's.
fn is_own_host(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    let host = match (values.next(), values.next()) {
        // By HTTP/1.0, and by no browser.
        (None, _) => return true,
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => return false,
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    // `localhost` and what is below it mean this machine in every browser (RFC 6761, 6.3).
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
