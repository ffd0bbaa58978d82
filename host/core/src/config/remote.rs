//! Another machine that something is sent to: where it is, how it knows the agent, and how the agent knows it.

use super::{
    quantity::quoted,
    read::{Reader, joined, position_of},
    yaml::{Entry, Kind, Position},
};
use std::{fmt, path::PathBuf, time::Duration};

/// Who is spoken to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `http://` or `https://`, host, port and path, without a slash at its end. Empty: none was given.
    pub url: String,
    /// With `password_file`: basic authentication (RFC 7617).
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    /// Bearer authentication (RFC 6750); the file may change at any time.
    pub token_file: Option<PathBuf>,
    /// Further headers of each request, in the file's order.
    pub headers: Vec<(String, Secret)>,
    pub tls: Tls,
    /// Of one request, from looking up the name to the last byte of the answer.
    pub timeout: Duration,
}

/// How the two ends know each other. All files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate with those that lead to its authority, and its key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name that the other side's certificate must have. None: the URL's host.
    pub server_name: Option<String>,
    /// Whoever answers is trusted.
    pub insecure_skip_verify: bool,
}

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What is shown in its place.
    pub const SHOWN: &str = "***";

    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the other side.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::SHOWN)
    }
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: None,
            password_file: None,
            token_file: None,
            headers: Vec::new(),
            tls: Tls::default(),
            timeout: Duration::from_secs(10),
        }
    }
}

/// A table of keys: some of its own, and then those of the [`Remote`] that the field `remote` holds.
macro_rules! remote_keys {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            Key {
                path: "username",
                doc: "For basic authentication, with `password_file`.",
                example: "netsonde",
                value: Value::Text(|s| &mut s.remote.username),
            },
            Key {
                path: "password_file",
                doc: "A file with the password. It is read anew when it changes.",
                example: "/etc/netsonde/password",
                value: Value::OptionalPath(|s| &mut s.remote.password_file),
            },
            Key { path: "password", doc: "", example: "", value: Value::Elsewhere($crate::config::remote::NO_SECRETS) },
            Key {
                path: "token_file",
                doc: "A file with a bearer token, such as that of a Kubernetes service account. It is read anew when it changes.",
                example: "/var/run/secrets/kubernetes.io/serviceaccount/token",
                value: Value::OptionalPath(|s| &mut s.remote.token_file),
            },
            Key { path: "token", doc: "", example: "", value: Value::Elsewhere($crate::config::remote::NO_SECRETS) },
            Key {
                path: "headers",
                doc: "Further headers of each request. Their values are shown nowhere: a printed configuration has `***` for them.",
                example: "{ X-Region: east }",
                value: Value::Headers(|s| &mut s.remote.headers),
            },
            Key {
                path: "timeout",
                doc: "How long one request may take, until the last byte of its answer. 100ms to 5m.",
                example: "10s",
                value: Value::Time(|s| &mut s.remote.timeout, Duration::from_millis(100)..=Duration::from_secs(300)),
            },
            Key {
                path: "tls",
                doc: "For an `https` URL; all files are PEM.",
                example: "{ ca: /etc/netsonde/ca.pem }",
                value: Value::Section,
            },
            Key {
                path: "tls.ca",
                doc: "Certificates of authorities that are trusted besides the system's.",
                example: "/etc/netsonde/ca.pem",
                value: Value::OptionalPath(|s| &mut s.remote.tls.ca),
            },
            Key {
                path: "tls.cert",
                doc: "The agent's own certificate, and those that lead to its authority.",
                example: "/etc/netsonde/client.pem",
                value: Value::OptionalPath(|s| &mut s.remote.tls.cert),
            },
            Key {
                path: "tls.key",
                doc: "The key of the agent's certificate.",
                example: "/etc/netsonde/client.key",
                value: Value::OptionalPath(|s| &mut s.remote.tls.key),
            },
            Key {
                path: "tls.server_name",
                doc: "The name that the other side's certificate must have, instead of the URL's host.",
                example: "gateway.example.com",
                value: Value::Text(|s| &mut s.remote.tls.server_name),
            },
            Key {
                path: "tls.insecure_skip_verify",
                doc: "`true`: whoever answers is trusted, and gets the credentials. For trials only.",
                example: "false",
                value: Value::Bool(|s| &mut s.remote.tls.insecure_skip_verify),
            },
        ]
    };
}
pub(super) use remote_keys;

/// What is told of a secret in the configuration itself.
pub(super) const NO_SECRETS: &str =
    "is no key: many may read the configuration; put it into a file, and name that by `password_file` or `token_file`";

/// What a request's own working needs, and what gRPC keeps for itself (gRPC over HTTP/2, "Custom-Metadata").
const REFUSED_HEADERS: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

impl Reader<'_> {
    /// What keys say together: `remote` is what was read of `entry`, which is called `name` in messages.
    pub(super) fn check_remote(&mut self, name: &str, entry: &Entry, remote: &Remote, example: &str) {
        let at = |key: &str| position_of(&entry.value, key);
        if remote.url.is_empty() {
            return self.fault(entry.at, format!("`{name}` has no `url`; give it one, such as `url: {example}`"));
        }
        match (&remote.username, &remote.password_file, &remote.token_file) {
            (Some(_), None, _) => {
                self.fault(at("username"), format!("`{name}` has a `username`, but no `password_file`; give both"));
            }
            (None, Some(_), _) => {
                self.fault(
                    at("password_file"),
                    format!("`{name}` has a `password_file`, but no `username`; give both"),
                );
            }
            (Some(_), Some(_), Some(_)) => {
                self.fault(
                    at("token_file"),
                    format!("`{name}` has a `username` and a `token_file`; one of both is right"),
                );
            }
            _ => {}
        }
        let known = remote.username.is_some() || remote.token_file.is_some();
        if known && remote.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case("authorization")) {
            let message = format!("`{name}` has credentials and a header `Authorization`; one of both is right");
            self.fault(at("headers"), message);
        }
        if remote.tls.cert.is_some() != remote.tls.key.is_some() {
            self.fault(at("tls"), format!("`{name}.tls` has one of `cert` and `key`; give both"));
        }
        if remote.tls != Tls::default() && remote.url.starts_with("http://") {
            self.fault(at("tls"), format!("`{name}.tls` is of no use with an `http` URL; make that `https`"));
        }
    }

    /// The entries of a mapping of headers. No message holds a value.
    pub(super) fn headers(&mut self, section: &str, entries: &[Entry]) -> Vec<(String, Secret)> {
        let mut headers: Vec<(String, Secret)> = Vec::new();
        for Entry { key, at, value } in entries {
            let name = joined(section, key);
            if headers.iter().any(|(before, _)| before.eq_ignore_ascii_case(key)) {
                self.fault(
                    *at,
                    format!("the header {} is there twice; upper and lower case are the same", quoted(key)),
                );
            } else if !is_header_name(key) {
                self.fault(*at, format!("{} is no header that can be set here", quoted(key)));
            } else if let Some(secret) = self.header_value(&name, value.at, &value.kind) {
                headers.push((key.clone(), secret));
            }
        }
        headers
    }

    fn header_value(&mut self, name: &str, at: Position, kind: &Kind) -> Option<Secret> {
        let visible = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
        let wrong = match kind {
            Kind::Refused => return None,
            Kind::Text(text) if text == Secret::SHOWN => {
                "is what a printed configuration shows instead of the value; write the value itself"
            }
            Kind::Text(text) if !text.is_empty() && visible(text) => return Some(Secret::new(text)),
            Kind::Number(..) | Kind::Bool(_) => "must be a text; put it into quotes",
            _ => "must be a text of visible ASCII characters, with no space at its ends",
        };
        self.fault(at, format!("`{name}` {wrong}"));
        None
    }
}

/// Whether it is a token (RFC 9110, 5.6.2) that may be given.
fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let taken = REFUSED_HEADERS.contains(&lower.as_str()) || lower.starts_with("grpc-") || lower.ends_with("-bin");
    !name.is_empty() && name.bytes().all(token) && !taken
}

/// A URL (RFC 3986) with scheme, host, and perhaps port and path; without slashes at its end.
///
/// # Errors
/// What is wrong, and what would be right. A URL with a password in it is not quoted.
pub(super) fn url(text: &str) -> Result<String, String> {
    if text.contains('@') {
        return Err("a user and password do not belong into a URL; there are `username` and `password_file`".to_owned());
    }
    let wrong = |what: &str| Err(format!("{} {what}", quoted(text)));
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme)) else {
        return wrong("begins with neither `http://` nor `https://`");
    };
    if rest.contains(['?', '#']) {
        return wrong("has a part behind `?` or `#`, which is of no use here");
    }
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    if !is_authority(authority) {
        return wrong("has no host, or a wrong one, or a wrong port");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
        return wrong("has a character that must be written with `%` in a URL");
    }
    let whole = format!("{scheme}://{authority}/{path}");
    Ok(whole.trim_end_matches('/').to_owned())
}

/// A name or an IPv4 address, or an IPv6 address in brackets; and perhaps a port.
fn is_authority(text: &str) -> bool {
    let (host_is_right, rest) = match text.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((address, rest)) => (address.parse::<std::net::Ipv6Addr>().is_ok(), rest),
        None => {
            let (host, _) = text.split_once(':').unwrap_or((text, ""));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (!host.is_empty() && host.bytes().all(plain), &text[host.len()..])
        }
    };
    let digits =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    host_is_right && (rest.is_empty() || rest.strip_prefix(':').is_some_and(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_urls_pass_without_the_slash_at_their_end() {
        for (text, want) in [
            ("http://loki:3100", "http://loki:3100"),
            ("https://logs.example.com/", "https://logs.example.com"),
            ("http://10.0.0.1:80/a/b%20c/", "http://10.0.0.1:80/a/b%20c"),
            ("http://[2001:db8::1]:3100/x", "http://[2001:db8::1]:3100/x"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(url(text).as_deref(), Ok(want));
        }
    }

    #[test]
    fn wrong_urls_say_why_and_no_password_is_told() {
        for (text, told) in [
            ("loki:3100", "neither `http://` nor"),
            ("ftp://loki", "neither `http://` nor"),
            ("HTTP://loki", "neither `http://` nor"),
            ("http://", "no host"),
            ("http://:3100", "no host"),
            ("http:///push", "no host"),
            ("http://lo ki", "no host"),
            ("http://loki:", "wrong port"),
            ("http://loki:0", "wrong port"),
            ("http://loki:70000", "wrong port"),
            ("http://loki:+80", "wrong port"),
            ("http://[::1", "wrong one"),
            ("http://[10.0.0.1]", "wrong one"),
            ("http://loki/a b", "must be written with `%`"),
            ("http://loki/ä", "must be written with `%`"),
            ("http://loki?tenant=a", "behind `?`"),
            ("http://me:hunter2@loki", "`password_file`"),
            ("me:hunter2@loki", "`password_file`"),
        ] {
            let error = url(text).unwrap_err();
            assert!(error.contains(told) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let remote = Remote { headers: vec![("X-Key".into(), Secret::new("hunter2"))], ..Remote::default() };
        assert!(format!("{remote:?}").contains(r#"("X-Key", ***)"#), "{remote:?}");
    }
}
