use super::*;
use hyper::header::{HeaderName, HeaderValue};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

const TOKEN: &str = "0123456789abcdef";
const BASIC: &str = "Basic YWxpY2U6c2VjcmV0"; // alice:secret

/// A folder with a file of tokens, and one of names and passwords.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("netsonde-access-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        let hash = bcrypt::hash("secret", 4).unwrap();
        fs::write(files.web(), format!("basic_auth_users: {{ alice: '{hash}' }}")).unwrap();
        fs::write(files.tokens(), TOKEN).unwrap();
        fs::set_permissions(files.tokens(), fs::Permissions::from_mode(0o600)).unwrap();
        files
    }

    fn web(&self) -> PathBuf {
        self.0.join("web.yml")
    }

    fn tokens(&self) -> PathBuf {
        self.0.join("tokens")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let header =
        |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    list.iter().map(header).collect()
}

/// What a request from there gets: 200, or status and reason.
async fn get(security: &Security, path: &str, from: &str, certified: bool, list: &[(&'static str, &str)]) -> String {
    let peer = Peer { address: from.parse().unwrap(), certified };
    match admit(security, path, &headers(list), peer).await {
        Ok(()) => "200".to_owned(),
        Err(refused) => format!("{} {} {}", refused.status, refused.why.as_str(), refused.challenges.len()),
    }
}

#[tokio::test]
async fn without_a_word_of_configuration_only_this_machine_sees_addresses() {
    let security = Security::open(None, None).unwrap();
    for (path, from, certified, want) in [
        ("/metrics", "10.0.0.1", false, "200"),
        ("/healthz", "10.0.0.1", false, "200"),
        ("/readyz", "10.0.0.1", false, "200"),
        ("/events", "10.0.0.1", false, "403 unconfigured 0"),
        ("/pods", "fd00::1", false, "403 unconfigured 0"),
        ("/", "10.0.0.1", false, "403 unconfigured 0"),
        ("/metrics/", "10.0.0.1", false, "403 unconfigured 0"),
        ("/what-comes-later", "10.0.0.1", false, "403 unconfigured 0"),
        ("/events", "127.0.0.1", false, "200"),
        ("/events", "127.1.2.3", false, "200"),
        ("/events", "::1", false, "200"),
        ("/events", "::ffff:127.0.0.1", false, "200"),
        ("/events", "::ffff:10.0.0.1", false, "403 unconfigured 0"),
        ("/events", "10.0.0.1", true, "200"),
    ] {
        assert_eq!(get(&security, path, from, certified, &[]).await, want, "{path} {from}");
    }
    let token = format!("Bearer {TOKEN}");
    let list = [("authorization", token.as_str())];
    assert_eq!(get(&security, "/events", "10.0.0.1", false, &list).await, "403 unconfigured 0");
    let counted: u64 = security.counts.refusals().map(|(_, count)| count).sum();
    assert_eq!(counted, 7);
}

#[tokio::test]
async fn another_sites_name_does_not_pass_for_this_machine() {
    let security = Security::open(None, None).unwrap();
    for (host, good) in [
        ("127.0.0.1:13119", true),
        ("[::1]:13119", true),
        ("10.0.0.1", true),
        ("localhost:13119", true),
        ("LOCALHOST.", true),
        ("agent.localhost", true),
        ("evil.example:13119", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("evillocalhost", false),
        ("", false),
        ("[", false),
    ] {
        let got = get(&security, "/events", "127.0.0.1", false, &[("host", host)]).await;
        assert_eq!(got, if good { "200" } else { "403 foreign_host 0" }, "{host}");
        assert_eq!(get(&security, "/metrics", "127.0.0.1", false, &[("host", host)]).await, "200");
    }
    let twice = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(get(&security, "/events", "127.0.0.1", false, &twice).await, "403 foreign_host 0");
}

#[tokio::test]
async fn a_token_opens_what_is_guarded() {
    let files = Files::new("token");
    let security = Security::open(None, Some(files.tokens())).unwrap();
    for (authorization, want) in [
        (&format!("Bearer {TOKEN}")[..], "200"),
        (&format!("bearer  {TOKEN} "), "200"),
        (&format!("Bearer {TOKEN}0"), "401 wrong_token 1"),
        (&format!("Bearer {}", &TOKEN[1..]), "401 wrong_token 1"),
        ("Bearer", "401 no_credentials 1"),
        ("Bearer ", "401 wrong_token 1"),
        ("Bearer x", "401 wrong_token 1"),
        (TOKEN, "401 no_credentials 1"),
        (BASIC, "401 no_credentials 1"),
    ] {
        let list = [("authorization", authorization)];
        assert_eq!(get(&security, "/events", "10.0.0.1", false, &list).await, want, "{authorization}");
        assert_eq!(get(&security, "/metrics", "10.0.0.1", false, &list).await, "200", "{authorization}");
    }
    assert_eq!(get(&security, "/events", "10.0.0.1", false, &[]).await, "401 no_credentials 1");
    assert_eq!(get(&security, "/events", "127.0.0.1", false, &[]).await, "200");
    let (right, foreign) = (format!("Bearer {TOKEN}"), "evil.example");
    let list = [("host", foreign), ("authorization", right.as_str())];
    assert_eq!(get(&security, "/events", "127.0.0.1", false, &list).await, "200");
    let twice = [("authorization", right.as_str()), ("authorization", right.as_str())];
    assert_eq!(get(&security, "/events", "10.0.0.1", false, &twice).await, "401 no_credentials 1");
}

#[tokio::test]
async fn users_are_asked_for_on_every_page_as_in_the_toolkit() {
    let files = Files::new("users");
    let security = Security::open(Some(files.web()), Some(files.tokens())).unwrap();
    let token = format!("Bearer {TOKEN}");
    for (authorization, want) in [
        (Some(BASIC), "200"),
        (Some(token.as_str()), "200"),
        (Some("Basic YWxpY2U6d3Jvbmc="), "401 wrong_password 2"),
        (Some("Basic Ym9iOnNlY3JldA=="), "401 wrong_password 2"),
        (Some("Basic !"), "401 no_credentials 2"),
        (Some("Basic YWxpY2U="), "401 no_credentials 2"),
        (None, "401 no_credentials 2"),
    ] {
        let list: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        for (path, from) in [("/metrics", "10.0.0.1"), ("/events", "10.0.0.1"), ("/events", "127.0.0.1")] {
            // A certificate is asked for besides, where the file says so; it is no password.
            assert_eq!(get(&security, path, from, true, &list).await, want, "{authorization:?} {path} {from}");
        }
        for path in PROBED {
            assert_eq!(get(&security, path, "10.0.0.1", false, &list).await, "200", "{authorization:?} {path}");
        }
    }
}
