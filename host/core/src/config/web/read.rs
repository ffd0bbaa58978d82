//! The decoder of the web configuration: a tree of nodes → a [`Web`], and all that is wrong.

use super::{Cipher, ClientAuth, Curve, Pem, Secret, Tls, TlsVersion, User, Web};
use crate::{
    config::{
        quantity::quoted,
        yaml::{Entry, Fault, Kind, Node, Position},
    },
    nearest::did_you_mean,
};
use std::path::Path;

/// One key of a section, and what takes its value in.
struct Key<T: 'static> {
    name: &'static str,
    take: fn(&mut Reader, &str, &Entry, &mut T),
}

/// What TLS is as the file says it, before it is looked at as a whole.
#[derive(Default)]
struct Said {
    cert: Option<Pem>,
    key: Option<Pem>,
    client_ca: Option<Pem>,
    client_auth: Option<ClientAuth>,
    client_sans: Vec<String>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
    cipher_suites: Vec<Cipher>,
    server_order: Option<bool>,
    curves: Vec<Curve>,
}

static FILE: &[Key<Web>] = &[
    Key { name: "tls_server_config", take: |reader, name, entry, web| web.tls = reader.tls(name, entry) },
    Key { name: "http_server_config", take: |reader, name, entry, web| reader.section(HTTP, name, entry, web) },
    Key { name: "basic_auth_users", take: |reader, name, entry, web| web.users = reader.users(name, entry) },
    Key {
        name: "rate_limit",
        take: |reader, name, entry, _| {
            let message = format!("`{name}` is not done here: the agent bounds connections by itself; remove it");
            reader.fault(entry.at, message);
        },
    },
];

static TLS: &[Key<Said>] = &[
    Key { name: "cert", take: |reader, name, entry, tls| reader.pem(name, entry, false, &mut tls.cert) },
    Key { name: "cert_file", take: |reader, name, entry, tls| reader.pem(name, entry, true, &mut tls.cert) },
    Key { name: "key", take: |reader, name, entry, tls| reader.pem(name, entry, false, &mut tls.key) },
    Key { name: "key_file", take: |reader, name, entry, tls| reader.pem(name, entry, true, &mut tls.key) },
    Key { name: "client_ca", take: |reader, name, entry, tls| reader.pem(name, entry, false, &mut tls.client_ca) },
    Key { name: "client_ca_file", take: |reader, name, entry, tls| reader.pem(name, entry, true, &mut tls.client_ca) },
    Key {
        name: "client_auth_type",
        take: |reader, name, entry, tls| tls.client_auth = reader.word(name, &entry.value, CLIENT_AUTH, &[]),
    },
    Key {
        name: "client_allowed_sans",
        take: |reader, name, entry, tls| {
            tls.client_sans = reader.list(name, entry, |reader, node| reader.text(name, node, "an alternative name"));
        },
    },
    Key {
        name: "min_version",
        take: |reader, name, entry, tls| tls.min_version = reader.word(name, &entry.value, VERSIONS, OLD_VERSIONS),
    },
    Key {
        name: "max_version",
        take: |reader, name, entry, tls| tls.max_version = reader.word(name, &entry.value, VERSIONS, OLD_VERSIONS),
    },
    Key {
        name: "cipher_suites",
        take: |reader, name, entry, tls| {
            tls.cipher_suites = reader.list(name, entry, |reader, node| reader.word(name, node, CIPHERS, OLD_CIPHERS));
        },
    },
    Key {
        name: "prefer_server_cipher_suites",
        take: |reader, name, entry, tls| tls.server_order = reader.switch(name, &entry.value),
    },
    Key {
        name: "curve_preferences",
        take: |reader, name, entry, tls| {
            tls.curves = reader.list(name, entry, |reader, node| reader.word(name, node, CURVES, &["CurveP521"]));
        },
    },
];

static HTTP: &[Key<Web>] = &[
    // Either is right: what is offered is HTTP/1.1 alone, and every client of HTTP/2 has that too.
    Key { name: "http2", take: |reader, name, entry, _| _ = reader.switch(name, &entry.value) },
    Key { name: "headers", take: |reader, name, entry, web| reader.section(HEADERS, name, entry, web) },
];

/// Those that the toolkit lets be set.
static HEADERS: &[Key<Web>] = &[
    Key { name: "Content-Security-Policy", take: |reader, name, entry, web| reader.header(name, entry, &[], web) },
    Key {
        name: "X-Frame-Options",
        take: |reader, name, entry, web| reader.header(name, entry, &["deny", "sameorigin"], web),
    },
    Key {
        name: "X-Content-Type-Options",
        take: |reader, name, entry, web| reader.header(name, entry, &["nosniff"], web),
    },
    Key { name: "X-XSS-Protection", take: |reader, name, entry, web| reader.header(name, entry, &[], web) },
    Key { name: "Strict-Transport-Security", take: |reader, name, entry, web| reader.header(name, entry, &[], web) },
];

const CLIENT_AUTH: &[(&str, ClientAuth)] = &[
    ("NoClientCert", ClientAuth::None),
    ("RequestClientCert", ClientAuth::Request),
    ("RequireAnyClientCert", ClientAuth::RequireAny),
    ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven),
    ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify),
    // An older name that the toolkit still takes.
    ("RequireClientCert", ClientAuth::RequireAny),
];

const VERSIONS: &[(&str, TlsVersion)] = &[("TLS12", TlsVersion::Tls12), ("TLS13", TlsVersion::Tls13)];
const OLD_VERSIONS: &[&str] = &["TLS10", "TLS11"];

const CURVES: &[(&str, Curve)] = &[("X25519", Curve::X25519), ("CurveP256", Curve::P256), ("CurveP384", Curve::P384)];

/// By Go's names, which are those of IANA.
const CIPHERS: &[(&str, Cipher)] = &[
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Cipher::EcdheEcdsaAes128Gcm),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Cipher::EcdheEcdsaAes256Gcm),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", Cipher::EcdheEcdsaChacha20),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Cipher::EcdheRsaAes128Gcm),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Cipher::EcdheRsaAes256Gcm),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Cipher::EcdheRsaChacha20),
    ("TLS_AES_128_GCM_SHA256", Cipher::Tls13),
    ("TLS_AES_256_GCM_SHA384", Cipher::Tls13),
    ("TLS_CHACHA20_POLY1305_SHA256", Cipher::Tls13),
];

/// What Go offers beyond that: with CBC, which our TLS has not.
const OLD_CIPHERS: &[&str] = &[
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

/// More is a slip: one comparison would take minutes, and they are made one after the other. Go takes 4 to 31.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// The defaults, with what `node` says put over them. Whatever is wrong is added to `faults`; the result is then of no use.
pub fn web(node: &Node, folder: &Path, faults: &mut Vec<Fault>) -> Web {
    let mut web = Web::default();
    let root = Entry { key: String::new(), at: node.at, value: node.clone() };
    Reader { folder, faults }.section(FILE, "", &root, &mut web);
    web
}

struct Reader<'a> {
    folder: &'a Path,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, at: Position, message: String) {
        self.faults.push((at, message));
    }

    fn section<T>(&mut self, table: &'static [Key<T>], name: &str, entry: &Entry, into: &mut T) {
        let known = || table.iter().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", ");
        for entry in self.entries(name, entry, known) {
            let Some(key) = table.iter().find(|key| key.name == entry.key) else {
                let near = did_you_mean(&entry.key, table.iter().map(|key| key.name));
                let help = if near.is_empty() { format!("; known here are {}", known()) } else { near };
                let inside = if name.is_empty() { String::new() } else { format!(" in `{name}`") };
                self.fault(entry.at, format!("unknown key {}{inside}{help}", quoted(&entry.key)));
                continue;
            };
            let name = if name.is_empty() { key.name.to_owned() } else { format!("{name}.{}", key.name) };
            (key.take)(self, &name, entry, into);
        }
    }

    /// The entries of a mapping, none if it is empty or something else.
    fn entries<'n>(&mut self, name: &str, entry: &'n Entry, known: impl Fn() -> String) -> &'n [Entry] {
        match &entry.value.kind {
            Kind::Null | Kind::Refused => &[],
            Kind::Mapping(entries) => entries,
            _ => {
                let what = if name.is_empty() { "the web configuration".to_owned() } else { format!("`{name}`") };
                let message = format!("{what} must be a mapping of {}; found {}", known(), entry.value.found());
                self.fault(entry.value.at, message);
                &[]
            }
        }
    }

    fn tls(&mut self, name: &str, entry: &Entry) -> Option<Tls> {
        let (mut said, before) = (Said::default(), self.faults.len());
        self.section(TLS, name, entry, &mut said);
        // An empty section is none, as in the toolkit. Of one with a fault the whole says nothing more.
        if matches!(&entry.value.kind, Kind::Mapping(entries) if entries.is_empty()) || self.faults.len() > before {
            return None;
        }
        let Kind::Mapping(_) = &entry.value.kind else { return None };
        let client_auth = said.client_auth.unwrap_or(ClientAuth::None);
        let (min_version, max_version) =
            (said.min_version.unwrap_or(TlsVersion::Tls12), said.max_version.unwrap_or(TlsVersion::Tls13));
        let mut wrong = |message: &str| self.fault(entry.at, format!("`{name}` {message}"));
        if said.cert.is_none() {
            wrong("has no certificate; name it by `cert_file`, or leave the section out");
        }
        if said.key.is_none() {
            wrong("has no key; name it by `key_file`, or leave the section out");
        }
        if client_auth == ClientAuth::None && (said.client_ca.is_some() || !said.client_sans.is_empty()) {
            wrong("says which certificates of clients are good, and asks for none: `client_auth_type` is missing");
        }
        if client_auth.verifies() && said.client_ca.is_none() {
            wrong("verifies clients' certificates, and has no `client_ca_file` with the authority that signs them");
        }
        if min_version > max_version {
            wrong("has a `min_version` above its `max_version`");
        }
        if max_version == TlsVersion::Tls12
            && !said.cipher_suites.is_empty()
            && said.cipher_suites.iter().all(|cipher| *cipher == Cipher::Tls13)
        {
            wrong("lets TLS 1.2 alone be spoken, and names ciphers of TLS 1.3 alone");
        }
        Some(Tls {
            cert: said.cert?,
            key: said.key?,
            client_auth,
            client_ca: said.client_ca,
            client_sans: said.client_sans,
            min_version,
            max_version,
            cipher_suites: said.cipher_suites,
            server_order: said.server_order.unwrap_or(true),
            curves: said.curves,
        })
    }

    /// A file with PEM, or the PEM itself; there may be one of both.
    fn pem(&mut self, name: &str, entry: &Entry, is_file: bool, into: &mut Option<Pem>) {
        let pem = if is_file {
            self.text(name, &entry.value, "a file").map(|path| Pem::File(self.folder.join(path)))
        } else {
            match &entry.value.kind {
                Kind::Text(text) if text.contains("-----BEGIN ") => Some(Pem::Inline(Secret(text.clone()))),
                Kind::Refused => None,
                // Never what was found: it may be the key.
                _ => {
                    let message = format!("`{name}` must be PEM, with a line `-----BEGIN ...-----`; or name its file");
                    self.fault(entry.value.at, message);
                    None
                }
            }
        };
        if into.is_some() && pem.is_some() {
            let other = name.strip_suffix("_file").map_or_else(|| format!("{name}_file"), str::to_owned);
            self.fault(entry.at, format!("`{name}` and `{other}` say the same thing twice; remove one"));
        }
        *into = pem.or(into.take());
    }

    fn text(&mut self, name: &str, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            Kind::Text(text) if !text.is_empty() && !text.chars().any(char::is_control) => Some(text.clone()),
            Kind::Refused => None,
            _ => {
                self.fault(node.at, format!("`{name}` must be {what}; found {}", node.found()));
                None
            }
        }
    }

    fn switch(&mut self, name: &str, node: &Node) -> Option<bool> {
        match &node.kind {
            Kind::Bool(yes) => Some(*yes),
            Kind::Refused => None,
            _ => {
                self.fault(node.at, format!("`{name}` must be `true` or `false`; found {}", node.found()));
                None
            }
        }
    }

    /// One of `known`; `not_here` are right for others who read such a file.
    fn word<W: Copy>(&mut self, name: &str, node: &Node, known: &[(&str, W)], not_here: &[&str]) -> Option<W> {
        if node.kind == Kind::Refused {
            return None;
        }
        let names = || known.iter().map(|(name, _)| *name);
        let text = match &node.kind {
            Kind::Text(text) => text.as_str(),
            _ => "",
        };
        if let Some((_, word)) = known.iter().find(|(name, _)| *name == text) {
            return Some(*word);
        }
        let all = || names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let message = if not_here.contains(&text) {
            format!(
                "`{name}`: {} is not offered here, as it is not safe enough, or not known to our TLS; there are {}",
                quoted(text),
                all()
            )
        } else {
            let near = did_you_mean(text, names());
            let help = if near.is_empty() { format!("; there are {}", all()) } else { near };
            format!("`{name}`: unknown is {}{help}", node.found())
        };
        self.fault(node.at, message);
        None
    }

    fn list<W>(&mut self, name: &str, entry: &Entry, mut item: impl FnMut(&mut Self, &Node) -> Option<W>) -> Vec<W> {
        match &entry.value.kind {
            Kind::List(nodes) if !nodes.is_empty() => nodes.iter().filter_map(|node| item(self, node)).collect(),
            Kind::Refused => Vec::new(),
            _ => {
                let found = entry.value.found();
                self.fault(entry.value.at, format!("`{name}` must be a list that is not empty; found {found}"));
                Vec::new()
            }
        }
    }

    fn header(&mut self, name: &str, entry: &Entry, allowed: &[&str], web: &mut Web) {
        // Unset if blank, as in the toolkit.
        if matches!(&entry.value.kind, Kind::Text(text) if text.is_empty()) && allowed.is_empty() {
            return;
        }
        let Some(text) = self.text(name, &entry.value, "a text") else { return };
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self
                .fault(entry.value.at, format!("`{name}` must be of ASCII characters; found {}", quoted(&text)));
        }
        if !allowed.is_empty() && !allowed.contains(&text.as_str()) {
            let allowed = allowed.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(" or ");
            return self.fault(entry.value.at, format!("`{name}` must be {allowed}; found {}", quoted(&text)));
        }
        web.headers.push((entry.key.clone(), text));
    }

    fn users(&mut self, name: &str, entry: &Entry) -> Vec<User> {
        let entries =
            self.entries(name, entry, || "names of users, each with the bcrypt hash of a password".to_owned());
        let mut users = Vec::new();
        for entry in entries {
            if entry.key.is_empty() || entry.key.chars().any(|c| c == ':' || c.is_control()) {
                let message = format!("{} is no name for a user: no colon, and not empty", quoted(&entry.key));
                self.fault(entry.at, message);
                continue;
            }
            let result = match &entry.value.kind {
                Kind::Refused => continue,
                Kind::Text(text) => check_hash(text).map(|()| Secret(text.clone())),
                // Never what was found: it may be the password itself.
                _ => Err(NO_HASH.to_owned()),
            };
            match result {
                Ok(hash) => users.push(User { name: entry.key.clone(), hash }),
                Err(message) => self.fault(entry.value.at, format!("`{name}.{}`: {message}", entry.key)),
            }
        }
        users
    }
}

const NO_HASH: &str =
    "this is no bcrypt hash of a password (`$2y$10$` and 53 characters); `htpasswd -nBC 10 NAME` makes one";

/// `$2y$COST$`, 22 characters of salt and 31 of the hash.
fn check_hash(hash: &str) -> Result<(), String> {
    let parts = || {
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|version| hash.strip_prefix(version))?;
        let (cost, rest) = rest.split_once('$')?;
        let digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
        (digits && rest.len() == 53 && rest.bytes().all(right)).then(|| cost.parse::<u32>().ok())?
    };
    let cost = parts().ok_or(NO_HASH)?;
    if COSTS.contains(&cost) {
        return Ok(());
    }
    Err(format!("a hash of cost {cost} is not taken, only of {} to {}; 10 is usual", COSTS.start(), COSTS.end()))
}
