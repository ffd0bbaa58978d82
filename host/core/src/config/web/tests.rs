use super::*;

const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
const PAIR: &str = "cert_file: a, key_file: b";

fn read(text: &str) -> Result<Web, Vec<ConfigError>> {
    parse(text, "web.yml", Path::new("/etc/web"))
}

fn errors(text: &str) -> Vec<String> {
    match read(text) {
        Ok(web) => panic!("no error in {text:?}: {web:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_says_nothing_is_plain_http_for_all() {
    for text in ["", "{}", "tls_server_config: {}", "tls_server_config:", "basic_auth_users: {}", "http_server_config:"]
    {
        assert_eq!(read(text), Ok(Web::default()), "{text:?}");
    }
}

#[test]
fn every_key_lands_in_its_place() {
    let text = format!(
        "tls_server_config:\n  cert_file: tls/cert.pem\n  key_file: /keys/key.pem\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: ca.pem\n  client_allowed_sans: [prometheus.example, 10.0.0.1]\n  min_version: TLS12\n  max_version: TLS12\n  \
         cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]\n  prefer_server_cipher_suites: false\n  \
         curve_preferences: [CurveP384, X25519]\nhttp_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n    \
         X-XSS-Protection: ''\nbasic_auth_users:\n  alice: {HASH}\n"
    );
    let tls = Tls {
        cert: Pem::File("/etc/web/tls/cert.pem".into()),
        key: Pem::File("/keys/key.pem".into()),
        client_auth: ClientAuth::RequireAndVerify,
        client_ca: Some(Pem::File("/etc/web/ca.pem".into())),
        client_sans: vec!["prometheus.example".into(), "10.0.0.1".into()],
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls12,
        cipher_suites: vec![Cipher::EcdheRsaAes256Gcm, Cipher::Tls13],
        server_order: false,
        curves: vec![Curve::P384, Curve::X25519],
    };
    let users = vec![User { name: "alice".into(), hash: Secret(HASH.into()) }];
    let web = Web { tls: Some(tls), headers: vec![("X-Frame-Options".into(), "deny".into())], users };
    assert_eq!(read(&text), Ok(web));
}

#[test]
fn defaults_are_the_toolkits() {
    let tls = read(&format!("tls_server_config: {{ {PAIR} }}")).unwrap().tls.unwrap();
    assert_eq!((tls.client_auth, tls.server_order), (ClientAuth::None, true));
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls12, TlsVersion::Tls13));
    assert!(tls.cipher_suites.is_empty() && tls.curves.is_empty() && tls.client_sans.is_empty());
    assert!(!ClientAuth::RequireAny.verifies() && ClientAuth::VerifyIfGiven.verifies());
}

#[test]
fn pem_may_stand_in_the_file_and_is_not_shown() {
    let pem = "|\n    -----BEGIN CERTIFICATE-----\n    AAAA\n    -----END CERTIFICATE-----\n";
    let web = read(&format!("tls_server_config:\n  cert: {pem}  key: {pem}")).unwrap();
    let shown = format!("{web:?}");
    assert!(shown.contains("Inline((secret))") && !shown.contains("AAAA"), "{shown}");
    let Some(Tls { key: Pem::Inline(key), .. }) = web.tls else { panic!("no key") };
    assert!(key.reveal().starts_with("-----BEGIN CERTIFICATE-----\nAAAA\n"));
}

#[test]
fn every_error_is_listed_with_its_position() {
    let text = "\
tls_server_config:
  cert_fil: x
  client_auth_type: RequireAndVerifyClientCerts
  min_version: TLS11
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_X]
  curve_preferences: [CurveP521]
  key_file:
http_server_config: { http2: yes, headers: { Server: x, X-Frame-Options: allow } }
basic_auth_users: { alice: secret, 'b:b': x, carol: 7 }
rate_limit: { interval: 1s, burst: 20 }
tls_config: {}
";
    assert_eq!(
        errors(text),
        [
            "web.yml:2:3: unknown key `cert_fil` in `tls_server_config`; did you mean `cert_file`?",
            "web.yml:3:21: `tls_server_config.client_auth_type`: unknown is the text `RequireAndVerifyClientCerts`; did you mean `RequireAndVerifyClientCert`?",
            "web.yml:4:16: `tls_server_config.min_version`: `TLS11` is not offered here, as it is not safe enough, or not known to our TLS; there are `TLS12`, `TLS13`",
            "web.yml:5:19: `tls_server_config.cipher_suites`: `TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA` is not offered here, as it is not safe enough, or not known to our TLS; there are `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`, `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256`, `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`, `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`, `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256`, `TLS_AES_128_GCM_SHA256`, `TLS_AES_256_GCM_SHA384`, `TLS_CHACHA20_POLY1305_SHA256`",
            "web.yml:5:55: `tls_server_config.cipher_suites`: unknown is the text `TLS_X`; there are `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`, `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256`, `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`, `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`, `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256`, `TLS_AES_128_GCM_SHA256`, `TLS_AES_256_GCM_SHA384`, `TLS_CHACHA20_POLY1305_SHA256`",
            "web.yml:6:23: `tls_server_config.curve_preferences`: `CurveP521` is not offered here, as it is not safe enough, or not known to our TLS; there are `X25519`, `CurveP256`, `CurveP384`",
            "web.yml:7:11: `tls_server_config.key_file` must be a file; found nothing",
            "web.yml:8:30: `http_server_config.http2` must be `true` or `false`; found the text `yes`",
            "web.yml:8:46: unknown key `Server` in `http_server_config.headers`; known here are `Content-Security-Policy`, `X-Frame-Options`, `X-Content-Type-Options`, `X-XSS-Protection`, `Strict-Transport-Security`",
            "web.yml:8:74: `http_server_config.headers.X-Frame-Options` must be `deny` or `sameorigin`; found `allow`",
            "web.yml:9:28: `basic_auth_users.alice`: this is no bcrypt hash of a password (`$2y$10$` and 53 characters); `htpasswd -nBC 10 NAME` makes one",
            "web.yml:9:36: `b:b` is no name for a user: no colon, and not empty",
            "web.yml:9:53: `basic_auth_users.carol`: this is no bcrypt hash of a password (`$2y$10$` and 53 characters); `htpasswd -nBC 10 NAME` makes one",
            "web.yml:10:1: `rate_limit` is not done here: the agent bounds connections by itself; remove it",
            "web.yml:11:1: unknown key `tls_config`; did you mean `tls_server_config`?",
        ]
    );
}

#[test]
fn tls_is_looked_at_as_a_whole() {
    let ca = "client_ca_file: ca";
    for (inside, told) in [
        ("key_file: b".to_owned(), "has no certificate"),
        ("cert_file: a".to_owned(), "has no key"),
        ("min_version: TLS13".to_owned(), "has no certificate"),
        (format!("{PAIR}, {ca}"), "`client_auth_type` is missing"),
        (format!("{PAIR}, client_allowed_sans: [x]"), "`client_auth_type` is missing"),
        (format!("{PAIR}, client_auth_type: NoClientCert, {ca}"), "`client_auth_type` is missing"),
        (format!("{PAIR}, client_auth_type: VerifyClientCertIfGiven"), "no `client_ca_file`"),
        (format!("{PAIR}, client_auth_type: RequireAndVerifyClientCert"), "no `client_ca_file`"),
        (format!("{PAIR}, client_auth_type: RequireAnyClientCert, client_allowed_sans: []"), "list that is not empty"),
        (format!("{PAIR}, min_version: TLS13, max_version: TLS12"), "above its `max_version`"),
        (format!("{PAIR}, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]"), "of TLS 1.3 alone"),
        (format!("{PAIR}, cert: \"-----BEGIN CERTIFICATE-----\""), "say the same thing twice"),
        ("cert_file: a, key: hunter2".to_owned(), "must be PEM"),
    ] {
        let text = format!("tls_server_config: {{ {inside} }}");
        let all = errors(&text).join("\n");
        assert!(all.contains(told) && !all.contains("hunter2"), "{text}: {all}");
    }
}

#[test]
fn only_hashes_are_taken_for_passwords() {
    let body = &HASH[7..];
    for (hash, right) in [
        (HASH.to_owned(), true),
        (format!("$2a$04${body}"), true),
        (format!("$2b$16${body}"), true),
        (format!("$2b$17${body}"), false),
        (format!("$2b$03${body}"), false),
        (format!("$2b$+5${body}"), false),
        (format!("$2x$10${body}"), false),
        (format!("$2y$10${}", &body[1..]), false),
        (format!("$2y$10${}!", &body[1..]), false),
        ("hunter2".to_owned(), false),
        (String::new(), false),
    ] {
        let read = read(&format!("basic_auth_users: {{ alice: '{hash}' }}"));
        assert_eq!(read.is_ok(), right, "{hash}");
        if let Err(errors) = read {
            assert!(!errors[0].message.contains("hunter2"));
        }
    }
}
