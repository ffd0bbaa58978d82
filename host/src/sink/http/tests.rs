use super::*;
use crate::sink::server::{Authority, Heard, Say, Server, answer};
use netsonde_core::config::{Secret, Tls};
use std::{fs, net::TcpListener, time::Instant};

fn remote(scheme: &str, port: u16) -> Remote {
    Remote { url: format!("{scheme}://localhost:{port}"), timeout: Duration::from_secs(5), ..Remote::default() }
}

fn post(http: &mut Http) -> Result<Vec<u8>, Fault> {
    http.post(Content { kind: "text/plain", encoding: None, bytes: b"hello" })?.accepted()
}

/// `Ok`, or what is told and whether it may be tried again, and after how many seconds.
fn outcome(result: Result<Vec<u8>, Fault>) -> Result<Vec<u8>, (bool, Option<u64>, String)> {
    result.map_err(|fault| match fault {
        Fault::Later { why, after } => (true, after.map(|after| after.as_secs()), why),
        Fault::Never { why } => (false, None, why),
    })
}

#[test]
fn a_request_says_who_it_is_and_the_connection_is_kept() {
    let server = Server::start(None, |_| answer("200 OK", "", "yes"));
    let headers = vec![("X-Key".to_owned(), Secret::new("hunter2"))];
    let mut http = Http::new(&Remote { headers, ..remote("http", server.port) }, "/push").with("X-Scope-OrgID", "ops");
    for _ in 0..3 {
        assert_eq!(post(&mut http), Ok(b"yes".to_vec()));
    }
    let heard = server.heard();
    assert!(heard.iter().all(|heard| heard.connection == 0 && heard.body == b"hello"), "{heard:?}");
    let head = &heard[0].head;
    assert!(head.starts_with("post /push http/1.1\r\n"), "{head}");
    let version = env!("CARGO_PKG_VERSION");
    for line in
        ["x-key: hunter2", "x-scope-orgid: ops", "content-type: text/plain", &format!("user-agent: netsonde/{version}")]
    {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
}

#[test]
fn answers_tell_whether_the_same_may_be_sent_again() {
    for (status, more, body, want) in [
        ("204 No Content", "", "", None),
        ("429 Too Many Requests", "", "slow down\nplease", Some((true, None, "429 Too Many Requests: slow down"))),
        ("429 Too Many Requests", "retry-after: 7\r\n", "", Some((true, Some(7), "it answers 429 Too Many Requests"))),
        ("503 Service Unavailable", "retry-after: 99999\r\n", "", Some((true, Some(600), "503"))),
        ("503 Service Unavailable", "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n", "", Some((true, None, "503"))),
        ("500 Internal Server Error", "", "oh", Some((true, None, "500 Internal Server Error: oh"))),
        ("408 Request Timeout", "", "", Some((true, None, "408"))),
        ("400 Bad Request", "", "too old", Some((false, None, "400 Bad Request: too old"))),
        ("413 Payload Too Large", "", "", Some((false, None, "413"))),
        (
            "307 Temporary Redirect",
            "location: http://elsewhere/\r\n",
            "",
            Some((true, None, "sends us to http://elsewhere/")),
        ),
    ] {
        let server = Server::start(None, move |_| answer(status, more, body));
        let got = outcome(post(&mut Http::new(&remote("http", server.port), "")));
        match (got, want) {
            (Ok(_), None) => {}
            (Err((again, after, why)), Some((want_again, want_after, told))) => {
                assert_eq!((again, after), (want_again, want_after), "{status}: {why}");
                assert!(why.contains(told), "{status}: {why}");
            }
            (got, want) => panic!("{status}: {got:?}, not {want:?}"),
        }
        assert_eq!(server.heard().len(), 1, "{status}: nothing is sent twice, and no redirect is followed");
    }
}

#[test]
fn whoever_does_not_answer_well_may_be_tried_again_and_in_time() {
    let told = |say: fn(&Heard) -> Say| {
        let server = Server::start(None, say);
        let remote = Remote { timeout: Duration::from_millis(300), ..remote("http", server.port) };
        let began = Instant::now();
        let (again, _, why) = outcome(post(&mut Http::new(&remote, ""))).unwrap_err();
        assert!(again && began.elapsed() < Duration::from_secs(5), "{why}");
        why
    };
    assert!(told(|_| Say::Nothing).contains("no answer within 300ms"));
    assert!(!told(|_| Say::Close).is_empty());
    assert!(told(|_| Say::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())).contains("speaks no HTTP"));
    assert!(
        told(|_| Say::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab".to_vec())).contains("no answer within")
    );

    // Nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (again, _, why) = outcome(post(&mut Http::new(&remote("http", port), ""))).unwrap_err();
    assert!(again && why.contains("refused") && why.contains("is it running"), "{why}");
}

#[test]
fn an_answer_without_end_is_cut_and_a_connection_that_was_closed_is_made_anew() {
    let server = Server::start(None, |_| answer("200 OK", "", &"x".repeat(1 << 20)));
    assert_eq!(post(&mut Http::new(&remote("http", server.port), "")).map(|body| body.len()), Ok(64 << 10));

    let server = Server::start(None, |_| Say::Bytes(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_vec()));
    let mut http = Http::new(&remote("http", server.port), "");
    for _ in 0..3 {
        assert_eq!(post(&mut http), Ok(vec![]));
    }
}

#[test]
fn tls_knows_whom_it_speaks_to() {
    let (ours, others) = (Authority::new(), Authority::new());
    let server = Server::start(Some(ours.server("localhost", false, &[])), |_| answer("204 No Content", "", ""));
    let named = Server::start(Some(ours.server("gateway", false, &[])), |_| answer("204 No Content", "", ""));
    let ca = |authority: &Authority| Tls { ca: Some(authority.path("ca.pem")), ..Tls::default() };
    let name = |name: &str| Tls { server_name: Some(name.to_owned()), ..ca(&ours) };
    let blind = Tls { insecure_skip_verify: true, ..Tls::default() };
    for (port, tls, want) in [
        (server.port, ca(&ours), None),
        (server.port, ca(&others), Some("UnknownIssuer; see `tls.ca`")),
        (server.port, Tls::default(), Some("UnknownIssuer")),
        (server.port, name("other"), Some("not valid for name")),
        (named.port, ca(&ours), Some("not valid for name")),
        (named.port, name("gateway"), None),
        (named.port, blind, None),
        (server.port, Tls { ca: Some(ours.path("none.pem")), ..Tls::default() }, Some("cannot use `tls.ca`")),
        (server.port, Tls { ca: Some(ours.path("localhost.key")), ..Tls::default() }, Some("no certificate in it")),
    ] {
        let mut http = Http::new(&Remote { tls: tls.clone(), ..remote("https", port) }, "");
        match (outcome(post(&mut http)), want) {
            (Ok(_), None) => assert_eq!(post(&mut http), Ok(vec![]), "{tls:?}"),
            (Err((again, _, why)), Some(told)) => assert!(again && why.contains(told), "{tls:?}: {why}"),
            (got, want) => panic!("{tls:?}: {got:?}, not {want:?}"),
        }
    }
    assert!(server.heard().iter().all(|heard| heard.connection == 0), "the connection is kept");
}

#[test]
fn a_server_gets_the_agents_certificate_and_a_new_one_once_the_old_one_is_refused() {
    let (ours, others) = (Authority::new(), Authority::new());
    let server = Server::start(Some(ours.server("localhost", true, &[])), |_| answer("204 No Content", "", ""));
    let path = |name: &str| Some(ours.path(name));
    others.issue("agent");
    for file in ["agent.pem", "agent.key"] {
        fs::copy(others.path(file), ours.path(file)).unwrap();
    }
    let tls = Tls { ca: path("ca.pem"), cert: path("agent.pem"), key: path("agent.key"), ..Tls::default() };
    let mut http = Http::new(&Remote { tls: tls.clone(), ..remote("https", server.port) }, "");
    let (again, _, why) = outcome(post(&mut http)).unwrap_err();
    assert!(again, "{why}");
    ours.issue("agent");
    assert_eq!(post(&mut http), Ok(vec![]));

    ours.issue("another");
    let unlike = Tls { key: path("another.key"), ..tls };
    let (again, _, why) =
        outcome(post(&mut Http::new(&Remote { tls: unlike, ..remote("https", server.port) }, ""))).unwrap_err();
    assert!(again && why.contains("cannot use `tls.key`"), "{why}");
}
