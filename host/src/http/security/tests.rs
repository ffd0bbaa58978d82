use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::os::unix::fs::PermissionsExt;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netsonde-security-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn certificate(&self) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        self.write("cert.pem", cert.pem(), 0o644);
        self.write("key.pem", key.serialize_pem(), 0o600);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PAIR: &str = "cert_file: cert.pem, key_file: key.pem";
const TOKEN: &str = "0123456789abcdef";

#[test]
fn every_error_of_all_files_is_told_at_once() {
    let folder = Folder::new("errors");
    let web = folder.write("web.yml", "tls_server_config: { cert_file: no.pem, key_file: bad.pem }", 0o644);
    folder.write("bad.pem", "no key", 0o600);
    let tokens = folder.write("tokens", "short", 0o600);
    let Err(errors) = Security::open(Some(web), Some(tokens)) else { panic!("no error") };
    assert_eq!(errors.len(), 3, "{errors:?}");
    for (error, told) in errors.iter().zip([
        "no.pem: No such file",
        "bad.pem holds no key in PEM",
        "tokens:1:1: a token has 16 to 4096 characters",
    ]) {
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_key_of_another_certificate_is_told() {
    let folder = Folder::new("pair");
    folder.certificate();
    folder.write("key.pem", KeyPair::generate().unwrap().serialize_pem(), 0o600);
    let web = folder.write("web.yml", format!("tls_server_config: {{ {PAIR} }}"), 0o644);
    let Err(errors) = Security::open(Some(web), None) else { panic!("no error") };
    assert!(errors[0].contains("do not go together"), "{errors:?}");
}

#[test]
fn ciphers_versions_and_authorities_go_together() {
    let folder = Folder::new("tls");
    folder.certificate();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    folder.write("ca.pem", CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap().pem(), 0o644);
    folder.write("empty.pem", "", 0o644);
    for (more, right) in [
        ("min_version: TLS13", true),
        ("max_version: TLS12", true),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", true),
        ("max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]", true),
        ("curve_preferences: [CurveP384]", true),
        ("client_auth_type: RequireAnyClientCert", true),
        ("client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem", true),
        ("client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem, client_allowed_sans: [a]", true),
        ("client_auth_type: RequireAndVerifyClientCert, client_ca_file: empty.pem", false),
        ("client_auth_type: RequireAndVerifyClientCert, client_ca_file: key.pem", false),
    ] {
        let web = folder.write("web.yml", format!("tls_server_config: {{ {PAIR}, {more} }}"), 0o644);
        let result = Security::open(Some(web), None).map(|_| ());
        assert_eq!(result.is_ok(), right, "{more}: {result:?}");
    }
}

#[test]
fn tokens_that_everybody_can_read_are_refused() {
    let folder = Folder::new("mode");
    for (mode, right) in [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o602, false)] {
        let tokens = folder.write("tokens", TOKEN, mode);
        let result = Security::open(None, Some(tokens)).map(|_| ());
        assert_eq!(result.is_ok(), right, "{mode:o}: {result:?}");
    }
    let Err(errors) = Security::open(None, Some(folder.0.clone())) else { panic!("no error") };
    assert!(errors[0].contains("it is no file"), "{errors:?}");
}

#[test]
fn a_changed_file_is_read_anew_and_a_wrong_one_changes_nothing() {
    let folder = Folder::new("anew");
    folder.certificate();
    let web = folder.write("web.yml", format!("tls_server_config: {{ {PAIR} }}"), 0o644);
    let tokens = folder.write("tokens", TOKEN, 0o600);
    let security = Security::open(Some(web), Some(tokens)).unwrap();
    // As if the last look were old.
    let now = || {
        security.state.lock().unwrap().looked -= LOOK_AGAIN;
        security.now()
    };
    let first = now();
    assert!(Arc::ptr_eq(&first, &now()), "nothing has changed");
    let other = "fedcba9876543210";
    folder.write("tokens", other, 0o600);
    let second = now();
    assert!(second.knows(other.as_bytes()) && !second.knows(TOKEN.as_bytes()));
    // A certificate without its key, as when one is copied after the other.
    let before = fs::read(folder.0.join("key.pem")).unwrap();
    folder.certificate();
    let key = fs::read(folder.0.join("key.pem")).unwrap();
    folder.write("key.pem", before, 0o600);
    assert!(Arc::ptr_eq(&second, &now()));
    folder.write("key.pem", key, 0o600);
    let third = now();
    assert!(!Arc::ptr_eq(second.tls.as_ref().unwrap(), third.tls.as_ref().unwrap()));
    folder.write("web.yml", "{}", 0o644);
    assert!(Arc::ptr_eq(&third, &now()), "TLS stays on");
    fs::remove_file(folder.0.join("tokens")).unwrap();
    assert!(Arc::ptr_eq(&third, &now()));
}
