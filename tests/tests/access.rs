//! Who may see what: the agent on a node of its own, asked from another one over a cable, by curl and by the real Prometheus.

use netsonde_tests::{
    Folder,
    agent::{Agent, command},
    binary,
    certificates::{Authority, secret},
    netns::{Pair, Process, run, within},
};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const ADDRESS: &str = "10.199.0.1:13119";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// `secret`, by bcrypt of cost 10.
const HASH: &str = "$2y$10$hhpJyL1pXi9O5K.ltc/O3eFjY8GXs/pS3wTvTSsAZRzqBE4u8gZ4K";

/// Two nodes; the agent listens to both.
struct World {
    pair: Pair,
    folder: Folder,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let (pair, folder, authority) = (Pair::new(), Folder::new("access"), Authority::default());
        authority.write(&folder, "ca.pem");
        authority.sign(&folder, "server", &["10.199.0.1", "127.0.0.1"]);
        authority.sign(&folder, "client", &["prometheus.example"]);
        secret(&folder, "tokens", TOKEN);
        Self { pair, folder, authority }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn tls(&self, more: &str) -> String {
        format!("tls_server_config: {{ cert_file: server.pem, key_file: server.key{more} }}\n")
    }

    /// Starts the agent, with a web configuration and with the file of tokens if that is asked for.
    fn agent(&self, web: Option<&str>, tokens: bool) -> Agent {
        let mut config = "probes: {}\n".to_owned();
        if let Some(web) = web {
            config += &format!("web_config: {}\n", self.folder.write("web.yml", web).display());
        }
        if tokens {
            config += &format!("access: {{ token_file: {} }}\n", self.file("tokens"));
        }
        let agent = Agent::spawn_at(&self.pair.a, "0.0.0.0:13119", &config);
        agent.wait_until("it answers", |_| matches!(self.status("/readyz", &[]).as_str(), "200" | "400"));
        agent
    }

    /// The status that curl sees on the other node, or 000 and its exit code.
    fn status(&self, path: &str, args: &[&str]) -> String {
        self.curl(&self.pair.b.name, &format!("http://{ADDRESS}{path}"), args).0
    }

    fn tls_status(&self, path: &str, args: &[&str]) -> String {
        let ca = self.file("ca.pem");
        let args = [&["--cacert", &ca], args].concat();
        self.curl(&self.pair.b.name, &format!("https://{ADDRESS}{path}"), &args).0
    }

    fn curl(&self, netns: &str, url: &str, args: &[&str]) -> (String, String) {
        let output = Command::new("ip")
            .args(["netns", "exec", netns, "curl", "-s", "-m", "10", "-i", "-w", "\n%{http_code}"])
            .args(args)
            .arg(url)
            .output()
            .expect("curl is there: `make setup` installs it");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (answer, status) = text.rsplit_once('\n').unwrap_or(("", &text));
        let status = match status {
            "000" => format!("000 {}", output.status.code().unwrap_or(-1)),
            status => status.to_owned(),
        };
        (status, answer.to_owned())
    }

    /// A count of the agent's, seen from its own node.
    fn count(&self, scheme: &str, series: &str) -> f64 {
        let ca = self.file("ca.pem");
        let (_, page) =
            self.curl(&self.pair.a.name, &format!("{scheme}://127.0.0.1:13119/metrics"), &["--cacert", &ca]);
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("{series} in {page}")).trim().parse().unwrap()
    }

    /// The binary on the other node.
    fn netsonde(&self, args: &[&str]) -> (bool, String) {
        let output =
            Command::new("ip").args(["netns", "exec", &self.pair.b.name]).arg(binary()).args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn without_configuration_other_machines_see_no_addresses() {
    let world = World::new();
    let agent = world.agent(None, false);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(world.status(path, &[]), "200", "{path}");
    }
    for path in ["/events", "/pods", "/probes", "/ledger", "/recorder", "/", "/no-such-page"] {
        let (status, said) = world.curl(&world.pair.b.name, &format!("http://{ADDRESS}{path}"), &[]);
        assert_eq!(status, "403", "{path}");
        assert!(said.contains("access: { token_file: FILE }"), "{said}");
    }
    let own = |host: &str| {
        let host = format!("Host: {host}");
        world.curl(&world.pair.a.name, "http://127.0.0.1:13119/events", &["-H", &host]).0
    };
    assert_eq!(
        (own("127.0.0.1:13119"), own("localhost"), own("evil.example")),
        ("200".into(), "200".into(), "403".into())
    );
    // This node by its outer address is any machine.
    assert_eq!(world.curl(&world.pair.a.name, &format!("http://{ADDRESS}/events"), &[]).0, "403");
    assert!(agent.log().contains("Other machines see /metrics, and neither /events nor /pods"), "{}", agent.log());
    assert_eq!(world.count("http", "netsonde_http_refused_requests_total{reason=\"unconfigured\"}"), 8.0);
    assert_eq!(world.count("http", "netsonde_http_refused_requests_total{reason=\"foreign_host\"}"), 1.0);
}

#[test]
fn a_token_opens_what_is_guarded_and_a_new_one_is_read() {
    let world = World::new();
    let agent = world.agent(None, true);
    assert!(agent.log().contains("Tokens and passwords pass the network"), "{}", agent.log());
    let (status, said) = world.curl(&world.pair.b.name, &format!("http://{ADDRESS}/events"), &[]);
    assert!(status == "401" && said.to_lowercase().contains("www-authenticate: bearer"), "{said}");
    assert_eq!(world.status("/events", &["-H", &bearer(TOKEN)]), "200");
    assert_eq!(world.status("/events", &["-H", &bearer("0123456789abcdef")]), "401");
    assert_eq!(world.status("/events", &["-u", "alice:secret"]), "401");
    assert_eq!(world.status("/metrics", &[]), "200");
    assert_eq!(world.curl(&world.pair.a.name, "http://127.0.0.1:13119/events", &[]).0, "200");
    let other = "fedcba9876543210fedcba9876543210";
    secret(&world.folder, "tokens", other);
    agent.wait_until("the new token is known", |_| world.status("/events", &["-H", &bearer(other)]) == "200");
    assert_eq!(world.status("/events", &["-H", &bearer(TOKEN)]), "401");
    // A wrong file changes nothing.
    secret(&world.folder, "tokens", "short");
    agent.wait_until("it is told", |agent| {
        world.status("/metrics", &[]);
        agent.log().contains("tokens:1:1: a token has 16 to 4096 characters")
    });
    assert_eq!(world.status("/events", &["-H", &bearer(other)]), "200");
}

#[test]
fn a_verified_certificate_opens_what_is_guarded() {
    let world = World::new();
    let stranger = Authority::default();
    stranger.sign(&world.folder, "stranger", &["prometheus.example"]);
    world.authority.sign(&world.folder, "other", &["grafana.example"]);
    let ask = ", client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem, client_allowed_sans: [prometheus.example]";
    let _agent = world.agent(Some(&world.tls(ask)), false);
    let with = |name: &str, more: &[&str]| {
        let (cert, key) = (world.file(&format!("{name}.pem")), world.file(&format!("{name}.key")));
        world.tls_status("/events", &[&["--cert", &cert, "--key", &key], more].concat())
    };
    assert_eq!(with("client", &[]), "200");
    assert_eq!(with("client", &["--tls-max", "1.2"]), "200");
    assert_eq!(world.tls_status("/events", &[]), "403");
    assert_eq!(world.tls_status("/metrics", &[]), "200");
    for name in ["stranger", "other"] {
        assert!(with(name, &[]).starts_with("000 "), "{name}: {}", with(name, &[]));
    }
    assert!(world.count("https", "netsonde_http_failed_handshakes_total{reason=\"tls\"}") >= 2.0);
    assert_eq!(world.count("https", "netsonde_http_refused_requests_total{reason=\"no_certificate\"}"), 1.0);
}

#[test]
fn any_certificate_is_no_word_of_who_asks() {
    let world = World::new();
    let _agent = world.agent(Some(&world.tls(", client_auth_type: RequireAnyClientCert")), true);
    Authority::default().sign(&world.folder, "stranger", &["x"]);
    let (cert, key) = (world.file("stranger.pem"), world.file("stranger.key"));
    let own = ["--cert", cert.as_str(), "--key", key.as_str()];
    assert_eq!(world.tls_status("/metrics", &own), "200");
    assert_eq!(world.tls_status("/events", &own), "401");
    assert_eq!(world.tls_status("/events", &[&own[..], &["-H", &bearer(TOKEN)]].concat()), "200");
    assert!(world.tls_status("/metrics", &[]).starts_with("000 "));
}

#[test]
fn names_and_passwords_guard_every_page_but_those_of_the_kubelet() {
    let world = World::new();
    let web = format!(
        "http_server_config: {{ http2: true, headers: {{ X-Frame-Options: deny }} }}\nbasic_auth_users: {{ alice: '{HASH}' }}\n"
    );
    let _agent = world.agent(Some(&web), true);
    assert_eq!(world.status("/healthz", &[]), "200");
    for path in ["/metrics", "/events"] {
        assert_eq!(world.status(path, &[]), "401", "{path}");
        assert_eq!(world.status(path, &["-u", "alice:secret"]), "200", "{path}");
        assert_eq!(world.status(path, &["-u", "alice:wrong"]), "401", "{path}");
        assert_eq!(world.status(path, &["-u", "bob:secret"]), "401", "{path}");
        assert_eq!(world.status(path, &["-H", &bearer(TOKEN)]), "200", "{path}");
    }
    let (status, said) = world.curl(&world.pair.a.name, "http://127.0.0.1:13119/events", &[]);
    let said = said.to_lowercase();
    assert!(
        status == "401" && said.contains("www-authenticate: basic") && said.contains("x-frame-options: deny"),
        "{said}"
    );
    // What was right once is not compared again.
    let began = Instant::now();
    (0..5).for_each(|_| assert_eq!(world.status("/healthz", &[]), "200"));
    let bare = began.elapsed();
    let began = Instant::now();
    (0..5).for_each(|_| assert_eq!(world.status("/events", &["-u", "alice:secret"]), "200"));
    eprintln!("five requests: {bare:?} without a password, {:?} with one that is known", began.elapsed());
}

#[test]
fn a_certificate_is_renewed_while_the_agent_runs() {
    let world = World::new();
    let agent = world.agent(Some(&world.tls("")), true);
    assert_eq!(world.tls_status("/events", &["-H", &bearer(TOKEN)]), "200");
    let next = Authority::default();
    next.write(&world.folder, "ca.pem");
    assert_eq!(world.tls_status("/metrics", &[]), "000 60", "the old certificate is not the new authority's");
    // The key is written first: for a moment the two do not go together.
    next.sign(&world.folder, "server", &["10.199.0.1", "127.0.0.1"]);
    agent.wait_until("the new certificate is shown", |_| world.tls_status("/metrics", &[]) == "200");
    let good = fs::read(world.file("server.pem")).unwrap();
    world.folder.write("server.pem", "nonsense");
    agent.wait_until("the fault is told", |agent| {
        world.tls_status("/metrics", &[]);
        agent.log().contains("server.pem holds no certificate")
    });
    assert_eq!(world.tls_status("/metrics", &[]), "200", "the old pair stays");
    thread::sleep(Duration::from_millis(2100));
    assert_eq!(world.tls_status("/metrics", &[]), "200");
    assert_eq!(agent.log().matches("server.pem holds no certificate").count(), 1, "{}", agent.log());
    world.folder.write("server.pem", good);
    assert_eq!(world.tls_status("/metrics", &[]), "200");
}

#[test]
fn what_is_no_good_tls_is_refused() {
    let world = World::new();
    let _agent = world
        .agent(Some(&world.tls(", min_version: TLS12, max_version: TLS12, curve_preferences: [CurveP256]")), false);
    assert_eq!(world.tls_status("/metrics", &[]), "200");
    assert_eq!(world.tls_status("/metrics", &["--http2"]), "200", "a client of HTTP/2 takes HTTP/1.1");
    assert_eq!(world.tls_status("/metrics", &["--tlsv1.3"]), "000 35");
    let ca = world.file("ca.pem");
    let old = Command::new("ip")
        .args(["netns", "exec", &world.pair.b.name, "openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])
        .args(["-CAfile", &ca, "-connect", ADDRESS])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[old.stdout, old.stderr].concat()).into_owned();
    assert!(!old.status.success() && said.contains(" alert "), "{said}");
    let (status, said) = world.curl(&world.pair.b.name, &format!("http://{ADDRESS}/metrics"), &[]);
    assert!(status == "400" && said.contains("ask by https://"), "{status} {said}");
    assert!(world.count("https", "netsonde_http_failed_handshakes_total{reason=\"plain_http\"}") >= 1.0);
}

#[test]
fn those_who_begin_a_handshake_and_say_no_more_hold_nobody_up() {
    let world = World::new();
    let agent = world.agent(Some(&world.tls("")), false);
    let connect = || within(&world.pair.b.path(), || TcpStream::connect(ADDRESS).unwrap());
    let mut idle: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    // Half of them say a little.
    idle.iter_mut().step_by(2).for_each(|stream| stream.write_all(&[22, 3, 1]).unwrap());
    let began = Instant::now();
    assert_eq!(world.tls_status("/metrics", &[]), "200");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Beyond the bound they are closed at once; scrapes go on as soon as there is room.
    idle.extend((0..60).map(|_| connect()));
    agent.wait_until("those beyond the bound are gone", |_| {
        world.tls_status("/metrics", &[]) == "200"
            && world.count("https", "netsonde_http_failed_handshakes_total{reason=\"too_many\"}") >= 20.0
    });
    for stream in &mut idle {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
    }
    assert!(began.elapsed() < Duration::from_secs(40), "every one was ended after its time: {:?}", began.elapsed());
    assert!(world.count("https", "netsonde_http_failed_handshakes_total{reason=\"timeout\"}") >= 100.0);
}

#[test]
fn our_own_commands_say_which_flag_is_missing_and_follow_over_tls() {
    let world = World::new();
    let ask = ", client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem";
    let mut agent = world.agent(Some(&world.tls(ask)), true);
    let url = format!("https://{ADDRESS}");
    let (ca, tokens) = (world.file("ca.pem"), world.file("tokens"));
    let wrong = secret(&world.folder, "wrong", "fedcba9876543210").display().to_string();
    let (cert, key) = (world.file("client.pem"), world.file("client.key"));
    for (args, good, told) in [
        (&["--address", ADDRESS][..], false, "ask by https://"),
        (&["--address", &url], false, "--ca names the authority"),
        (&["--address", &url, "--ca", &ca], false, "answers 401"),
        (&["--address", &url, "--ca", &ca], false, "--token-file"),
        (&["--address", &url, "--ca", &ca, "--token-file", &wrong], false, "does not know this token"),
        (&["--address", ADDRESS, "--ca", &ca], false, "write --address https://"),
        (&["--address", &url, "--ca", &ca, "--token-file", &tokens], true, "NAMESPACE"),
        (&["--address", &url, "--insecure", "--token-file", &tokens], true, "NAMESPACE"),
        (&["--address", &url, "--ca", &ca, "--cert", &cert, "--key", &key], true, "NAMESPACE"),
    ] {
        let (success, said) = world.netsonde(&[&["pods"], args].concat());
        assert!(success == good && said.contains(told), "{args:?}: {said}");
    }
    let mut follower = Process(
        Command::new("ip")
            .args(["netns", "exec", &world.pair.b.name])
            .arg(binary())
            .args(["events", "--follow", "--address", &url, "--ca", &ca, "--token-file", &tokens])
            .spawn()
            .unwrap(),
    );
    thread::sleep(Duration::from_secs(1));
    assert!(follower.0.try_wait().unwrap().is_none(), "it waits for events");
    agent.signal("TERM");
    assert_eq!(agent.wait(), Some(0));
    let began = Instant::now();
    while follower.0.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "the follower has not ended with its agent");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn events_come_over_tls_as_they_happen() {
    let world = World::new();
    let web = world.folder.write("web.yml", world.tls(""));
    let config = format!(
        "probes: {{ tcp_reset: {{}} }}\nweb_config: {}\naccess: {{ token_file: {} }}\n",
        web.display(),
        world.file("tokens")
    );
    let agent = Agent::spawn_at(&world.pair.a, "0.0.0.0:13119", &config);
    agent.wait_until("it is ready", |_| world.tls_status("/readyz", &[]) == "200");
    let (url, ca, tokens) = (format!("https://{ADDRESS}"), world.file("ca.pem"), world.file("tokens"));
    let args = ["events", "--follow", "--json", "--address", &url, "--ca", &ca, "--token-file", &tokens];
    let name = binary().display().to_string();
    let mut follower =
        Process::piped("ip", &[&["netns", "exec", &world.pair.b.name, name.as_str()], &args[..]].concat());
    thread::sleep(Duration::from_secs(1));
    for _ in 0..3 {
        // Nobody listens there: a reset.
        let _ = within(&world.pair.b.path(), || TcpStream::connect("10.199.0.1:9"));
        assert!(follower.wait_for_line().contains("TCPRESET"));
    }
}

#[test]
fn prometheus_scrapes_with_tls_a_token_and_a_certificate() {
    let world = World::new();
    let ask = ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans: [prometheus.example]";
    let web = format!("{}basic_auth_users: {{ alice: '{HASH}' }}\n", world.tls(ask));
    let _agent = world.agent(Some(&web), true);
    let tls = "tls_config: { ca_file: ca.pem, cert_file: client.pem, key_file: client.key }";
    let job = |name: &str, who: &str| {
        format!(
            "- {{ job_name: {name}, scheme: https, {tls}, {who}, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{{ targets: ['{ADDRESS}'] }}] }}\n"
        )
    };
    let config = format!(
        "scrape_configs:\n{}{}{}",
        job("token", &format!("authorization: {{ credentials_file: {} }}", world.file("tokens"))),
        job("password", "basic_auth: { username: alice, password: secret }"),
        job("wrong", "basic_auth: { username: alice, password: wrong }"),
    );
    let file = world.folder.write("prometheus.yml", config);
    run("promtool", &["check", "config", &file.display().to_string()]);
    let _prometheus = world.pair.b.spawn(
        "prometheus",
        &[
            &format!("--config.file={}", file.display()),
            &format!("--storage.tsdb.path={}", world.file("data")),
            "--web.listen-address=127.0.0.1:9090",
        ],
    );
    let up = |job: &str| {
        let query = format!("http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22{job}%22%7D");
        let (_, answer) = world.curl(&world.pair.b.name, &query, &[]);
        answer.contains(",\"1\"]").then_some(1).or(answer.contains(",\"0\"]").then_some(0))
    };
    let began = Instant::now();
    while [up("token"), up("password"), up("wrong")] != [Some(1), Some(1), Some(0)] {
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", [up("token"), up("password"), up("wrong")]);
        thread::sleep(Duration::from_millis(300));
    }
}

/// What our reader and Prometheus' own say of the same file.
#[test]
fn promtool_and_we_agree_on_web_configurations() {
    let world = World::new();
    let pair = "cert_file: server.pem, key_file: server.key";
    let verified = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem";
    let cases = [
        (String::new(), true),
        (format!("tls_server_config: {{ {pair} }}"), true),
        (format!("tls_server_config: {{ {pair}, {verified} }}"), true),
        (format!("tls_server_config: {{ {pair}, client_auth_type: RequestClientCert }}"), true),
        (format!("tls_server_config: {{ {pair}, client_auth_type: RequireAnyClientCert, min_version: TLS13 }}"), true),
        (format!("tls_server_config: {{ {pair}, max_version: TLS12, prefer_server_cipher_suites: false }}"), true),
        (format!("tls_server_config: {{ {pair}, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256] }}"), true),
        (format!("tls_server_config: {{ {pair}, curve_preferences: [CurveP256, X25519] }}"), true),
        ("http_server_config: { http2: false, headers: { X-Content-Type-Options: nosniff } }".to_owned(), true),
        (format!("basic_auth_users: {{ alice: {HASH}, bob: {HASH} }}"), true),
        (format!("tls_server_config: {{ {pair}, client_ca_file: ca.pem }}"), false),
        (format!("tls_server_config: {{ {pair}, {verified}s }}"), false),
        (format!("tls_server_config: {{ {pair}, client_auth_type: Some }}"), false),
        (format!("tls_server_config: {{ {pair}, cipher_suites: [TLS_NONE] }}"), false),
        (format!("tls_server_config: {{ {pair}, curve_preferences: [P256] }}"), false),
        (format!("tls_server_config: {{ {pair}, min_version: TLS14 }}"), false),
        (format!("tls_server_config: {{ {pair}, unknown: 1 }}"), false),
        ("tls_server_config: { cert_file: server.pem }".to_owned(), false),
        ("tls_server_config: { key_file: server.key }".to_owned(), false),
        ("tls_server_config: { cert_file: none.pem, key_file: server.key }".to_owned(), false),
        ("tls_server_config: { cert_file: server.pem, key_file: client.key }".to_owned(), false),
        ("tls_server_config: { cert_file: server.key, key_file: server.key }".to_owned(), false),
        ("http_server_config: { headers: { Server: x } }".to_owned(), false),
        ("http_server_config: { headers: { X-Frame-Options: allow } }".to_owned(), false),
        ("basic_auth_users: { alice: secret }".to_owned(), false),
        ("unknown: {}".to_owned(), false),
        ("tls_server_config: [".to_owned(), false),
    ];
    for (index, (web, right)) in cases.iter().enumerate() {
        let file = world.folder.write(&format!("web-{index}.yml"), web);
        let promtool = Command::new("promtool").args(["check", "web-config"]).arg(&file).output().unwrap();
        assert_eq!(
            promtool.status.success(),
            *right,
            "promtool of {web}: {}",
            String::from_utf8_lossy(&promtool.stderr)
        );
        let (code, said) = check(&world.folder, &file);
        assert_eq!(code == 0, *right, "we of {web}: {said}");
    }
}

/// `netsonde check` of a configuration with this file.
fn check(folder: &Folder, web: &Path) -> (i32, String) {
    let cache = binary().with_file_name("test-cache");
    let text = format!("probes: {{}}\nweb_config: {}\ncache_folder: {}\n", web.display(), cache.display());
    let config = folder.write("netsonde.yaml", text).display().to_string();
    let (code, out, error) = command(&["check", "--config", &config]);
    (code, out + &error)
}
