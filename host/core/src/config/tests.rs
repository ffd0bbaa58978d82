mod any;

use any::config;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Config, Vec<ConfigError>> {
    parse(text, "netsonde.yaml", Path::new("/etc/netsonde"))
}

/// All errors as they are shown.
fn errors(text: &str) -> Vec<String> {
    match read(text) {
        Ok(config) => panic!("no error in {text:?}: {config:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_empty_file_is_the_default() {
    for text in
        ["", "\n", "# only a comment\n", "---\n", "{}", "collection:\n", "\u{feff}# with a byte order mark\n", "\r\n"]
    {
        assert_eq!(read(text), Ok(Config::default()), "{text:?}");
    }
}

#[test]
fn every_key_lands_in_its_place() {
    let text = r#"
node: worker-3
listen: "[::]:9999"
web_config: web.yml
access: { token_file: /run/secrets/tokens }
probes:
  zeta:
  handshake:
    module: probes/handshake.wasm
    settings: { slow: 200ms, list: [1, -2.5, ~, true], "a b": "1" }
    limits: { memory: 1MiB, deadline: 50ms, wall: 2s, series: 5, events: 7/s, label: 64B }
    stack: true
    allow: [node.pods]
  alpha: { module: "builtin:sockstat" }
probe_folder: probes
cache_folder: /tmp/cache
proc_root: ../host/proc
netns_folder: /var/run/netns
host_netns: /run/netns/node
collection: { min_interval: 500ms, idle_interval: 1m, timeout: 2s }
btf: vmlinux.btf
hooks: { rate: 5/s, burst: 7, stacks: 9/s, cpu: 0.5%, ring: 1MiB }
compat: [cadvisor-traffic, cadvisor]
cgroup_root: /host/cgroup
pods: { cri: crio.sock, docker: none, labels: { app: app.kubernetes.io/name, team: team } }
drain: 0s
events: { fold: 10s }
recorder: { keep: 1m, events: 7, size: 1MiB, burst: 5, within: 2s, burst_type: PACKETLOSS, folder: dumps, files: 3 }
sinks:
  - stdout:
  - file: { path: events.jsonl }
  - stdout: { form: json, name: screen, spill: 1MiB }
  - file:
      path: /var/log/events
      form: line
      name: audit-2
      spill: 0B
      rotate: { size: 1MiB, age: 1h, keep: 2 }
spill: { folder: spill, size: 1GiB, max_age: 24h }
"#;
    let handshake = Probe {
        module: Some(Module::File("/etc/netsonde/probes/handshake.wasm".into())),
        settings: json!({"slow": "200ms", "list": [1, -2.5, null, true], "a b": "1"}),
        limits: Limits {
            memory: 1 << 20,
            deadline: Duration::from_millis(50),
            wall: Duration::from_secs(2),
            series: 5,
            events: 7,
            label: 64,
        },
        stack: true,
        allow: vec!["node.pods".to_owned()],
        ..Probe::named("handshake")
    };
    let alpha = Probe { module: Some(Module::Builtin("sockstat".to_owned())), ..Probe::named("alpha") };
    let label = |name: &str, key: &str| (name.to_owned(), key.to_owned());
    let common = |name: &str, spill| Common { name: Some(name.to_owned()), spill: Some(spill) };
    let expected = Config {
        cgroup_root: "/host/cgroup".into(),
        pods: Pods {
            cri: Runtime::At("/etc/netsonde/crio.sock".into()),
            docker: Runtime::None,
            labels: vec![label("app", "app.kubernetes.io/name"), label("team", "team")],
        },
        node: Some("worker-3".to_owned()),
        listen: "[::]:9999".parse().unwrap(),
        web_config: Some("/etc/netsonde/web.yml".into()),
        access: Access { token_file: Some("/run/secrets/tokens".into()) },
        probes: Some(vec![Probe::named("zeta"), handshake, alpha]),
        probe_folder: "/etc/netsonde/probes".into(),
        cache_folder: "/tmp/cache".into(),
        proc_root: "/etc/netsonde/../host/proc".into(),
        netns_folder: "/var/run/netns".into(),
        host_netns: Some("/run/netns/node".into()),
        collection: Collection {
            min_interval: Duration::from_millis(500),
            idle_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(2),
        },
        btf: "/etc/netsonde/vmlinux.btf".into(),
        hooks: Hooks { rate: 5, burst: 7, stacks: 9, cpu: 50, ring: 1 << 20 },
        compat: vec![Compat::CadvisorTraffic, Compat::Cadvisor],
        drain: Duration::ZERO,
        events: super::Events { fold: Duration::from_secs(10) },
        recorder: Recorder {
            keep: Duration::from_secs(60),
            events: 7,
            size: 1 << 20,
            burst: 5,
            within: Duration::from_secs(2),
            burst_type: Some("PACKETLOSS".to_owned()),
            folder: "/etc/netsonde/dumps".into(),
            files: 3,
        },
        sinks: vec![
            Sink::Stdout(StdoutSink::default()),
            Sink::File(FileSink { path: "/etc/netsonde/events.jsonl".into(), ..FileSink::default() }),
            Sink::Stdout(StdoutSink { common: common("screen", 1 << 20), form: Form::Json }),
            Sink::File(FileSink {
                common: common("audit-2", 0),
                path: "/var/log/events".into(),
                form: Form::Line,
                rotate: Rotate { size: Some(1 << 20), age: Some(Duration::from_secs(3600)), keep: 2 },
            }),
        ],
        spill: Spill { folder: "/etc/netsonde/spill".into(), size: 1 << 30, max_age: Duration::from_secs(24 * 3600) },
    };
    assert_eq!(read(text), Ok(expected));
}

#[test]
fn no_probes_is_not_the_built_in_ones() {
    assert_eq!(read("probes: {}").unwrap().probes, Some(vec![]));
    assert_eq!(read("").unwrap().probes, None);
}

#[test]
fn every_error_is_listed_with_its_position() {
    let text = "\
lisen: 127.0.0.1:80
listen: 13119
drain: 5
drain: 6s
probes:
  Bad-Name: {}
  process: {}
  sockstat:
    else: true
    limits: { memory: 4GiB, deadlin: 1s, series: many }
    setings: {}
collection:
  timeout: [5s]
sinks:
  - stdout: { from: json }
  - fiel: {}
  - open_falcon: { step: 90500ms, url: 'http://a' }
  - { stdout: {}, file: {} }
  - stdout
  - file:
  - file: { path: '' }
  - stdout: { form: jsn }
cache_folder:
";
    assert_eq!(
        errors(text),
        [
            "netsonde.yaml:1:1: unknown key `lisen`; did you mean `listen`?",
            "netsonde.yaml:2:9: `listen`: `13119` is no IP address with a port; to listen on all, `\"[::]:13119\"`; write it like `127.0.0.1:13119`",
            "netsonde.yaml:3:8: `drain`: `5` has no unit (ms, s, m or h); write it like `5s`",
            "netsonde.yaml:4:1: duplicate key `drain`; it is on line 3 already",
            "netsonde.yaml:6:3: `Bad-Name` is no name for a probe: a small letter, then small letters, digits and `_`, 64 at most",
            "netsonde.yaml:7:3: `process` is no name for a probe: the agent's own metrics begin with its first word; choose another",
            "netsonde.yaml:9:5: unknown key `else` in `probes.sockstat`; known here are `module`, `settings`, `limits`, `stack`, `allow`",
            "netsonde.yaml:10:23: `probes.sockstat.limits.memory`: 4GiB is out of bounds; from 64KiB to 1GiB is possible",
            "netsonde.yaml:10:29: unknown key `deadlin` in `probes.sockstat.limits`; did you mean `deadline`?",
            "netsonde.yaml:10:50: `probes.sockstat.limits.series`: must be a whole number such as `10000`; found the text `many`",
            "netsonde.yaml:11:5: unknown key `setings` in `probes.sockstat`; did you mean `settings`?",
            "netsonde.yaml:13:12: `collection.timeout`: must be a time such as `5s`; found a list",
            "netsonde.yaml:15:15: unknown key `from` in `sinks.stdout`; did you mean `form`?",
            "netsonde.yaml:16:5: unknown sink `fiel` in `sinks`; did you mean `file`?",
            "netsonde.yaml:17:5: `sinks.open_falcon.step` has a fraction of a second; open-falcon knows whole ones",
            "netsonde.yaml:18:5: each item of `sinks` is one sink, such as `- stdout: { form: line }`; found 2 keys",
            "netsonde.yaml:19:5: each item of `sinks` is one sink, such as `- stdout: { form: line }`; found the text `stdout`",
            "netsonde.yaml:20:5: `sinks.file` has no `path`; give it one, such as `path: /var/log/netsonde/events.jsonl`",
            "netsonde.yaml:21:19: `sinks.file.path`: must be a path such as `/var/log/netsonde/events.jsonl`; found the text ``",
            "netsonde.yaml:22:21: `sinks.stdout.form`: there is no form `jsn`; it is `line` or `json`; did you mean `json`?",
            "netsonde.yaml:23:1: `cache_folder` has no value; give it one, such as `/var/cache/netsonde`, or leave the key out",
        ]
    );
}

#[test]
fn one_error_says_what_was_found_and_what_is_right() {
    for (text, part) in [
        ("[probes]", "the configuration must be a mapping of `node`, `listen`"),
        ("sockstat", "found the text `sockstat`"),
        ("node: 5", "must be a text such as `worker-3`; found the number `5`; put it into quotes"),
        ("node: ''", "found the text ``"),
        ("node: \"a\\eb\"", "holds a control character"),
        ("probes: [sockstat]", "`probes`: must be a mapping of probe names such as `{ sockstat: {} }`; found a list"),
        ("probes:", "`probes` has no value"),
        ("probes: { sockstat: yes }", "`probes.sockstat` must be a mapping of `module`, `settings`, `limits`"),
        ("probes: { a: { module: 'oci://x/y' } }", "fetched from nowhere"),
        ("probes: { a: { module: 'builtin:' } }", "no name for a probe"),
        ("probes: { a: { limits: { wall: 50ms } } }", "(50ms) is shorter than its `deadline` (100ms)"),
        ("probes: { a: { limits: { events: 10 } } }", "write it like `1000/s`"),
        ("probes: { a: { limits: { label: 256 } } }", "`256` has no unit (B, KiB"),
        ("probes: { a: { limits: { series: 0 } } }", "from 1 to 1000000"),
        ("collection: { min_interval: 20s }", "`collection.idle_interval` is shorter"),
        ("collection.timeout: 1s", "unknown key `collection.timeout`"),
        ("collection: { idle_interval: 0s }", "0s is out of bounds; from 1s to 1h"),
        ("log: debug", "NETSONDE_LOG"),
        (
            "compat: cadvisor",
            "`compat`: must be a list of other systems such as `[cadvisor]`; found the text `cadvisor`",
        ),
        (
            "compat: [kubeskoop]",
            "`kubeskoop` in `compat` is not in this release; there is `cadvisor` and `cadvisor-traffic`",
        ),
        ("compat: [cadviser]", "unknown `cadviser` in `compat`; did you mean `cadvisor`"),
        ("compat: [cadvisor, x-y]", "unknown `x-y` in `compat`; there is `cadvisor` and `cadvisor-traffic`"),
        ("compat: [cadvisor, cadvisor]", "`cadvisor` is twice in `compat`"),
        (
            "compat: [{ cadvisor: {} }]",
            "each item of `compat` is a word, of `cadvisor` and `cadvisor-traffic`; found a mapping",
        ),
        ("compat:", "`compat` has no value"),
        (
            "probes: { a: { stack: yes } }",
            "`probes.a.stack`: must be `true` or `false`, such as `true`; found the text `yes`",
        ),
        ("probes: { a: { stack: 1 } }", "must be `true` or `false`, such as `true`; found the number `1`"),
        ("hooks: { stacks: 0/s }", "from 1/s to 100000/s"),
        ("probes: { a: { allow: node.pods } }", "`probes.a.allow`: must be a list of tables such as `[node.pods]`"),
        ("probes: { a: { allow: [node.tcp] } }", "in `probes.a.allow`"),
        ("sinks: stdout", "`sinks`: must be a list of sinks such as `[{ stdout: { form: line } }]`; found the text"),
        ("sinks: { stdout: {} }", "must be a list of sinks such as `[{ stdout: { form: line } }]`; found a mapping"),
        ("sinks:", "`sinks` has no value"),
        ("sinks: [{}]", "one sink, such as `- stdout: { form: line }`; found a mapping"),
        (
            "sinks: [{ kafka: {} }]",
            "unknown sink `kafka` in `sinks`; there are `stdout`, `file`, `loki`, `otlp` and `open_falcon`",
        ),
        (
            "sinks: [{ file: { path: a } }, { file: { path: b } }]",
            "two sinks are called `file`; give one of them a `name`",
        ),
        ("sinks: [{ stdout: {} }, { file: { path: b, name: stdout } }]", "two sinks are called `stdout`"),
        ("sinks: [{ stdout: { name: ../a } }]", "`../a` is no name for a sink: a small letter, then"),
        ("sinks: [{ file: { path: a, rotate: { size: 1B } } }]", "`sinks.file.rotate.size`: "),
        (
            "sinks: [{ file: { path: a } }, { file: { path: a, form: line } }]",
            "two sinks write to the file `/etc/netsonde/a`",
        ),
        ("listen: localhost:1", "no IP address"),
        ("cache_folder: ~", "no value"),
        ("\"\\e[31m\": 1", "unknown key `\\u{1b}[31m`"),
    ] {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].contains(part), "{text}: {errors:?}");
    }
}

#[test]
fn a_file_without_end_is_refused() {
    let errors = errors(&" ".repeat(MAX_FILE + 1));
    assert!(errors[0].starts_with("netsonde.yaml:1:1: this file has 1048577 bytes"), "{errors:?}");
}

/// The scanner must not need quadratic time for any text of the largest size.
#[test]
fn the_largest_files_are_read_in_no_time() {
    for piece in [
        "a",
        "[",
        "{",
        "- ",
        "? ",
        "\"",
        "'\n",
        "a: \n ",
        "a: [b, c]\n",
        "#\n",
        "&a ",
        "*a ",
        "!",
        "|\n ",
        "%\n",
        "\t",
        "a\n\n",
    ] {
        let text = piece.repeat(MAX_FILE / piece.len());
        let start = std::time::Instant::now();
        let _ = read(&text);
        assert!(start.elapsed() < Duration::from_secs(10), "{piece:?} took {:?}", start.elapsed());
    }
}

#[test]
fn the_printed_default_explains_every_key() {
    let text = print(&Config::default());
    assert_eq!(read(&text), Ok(Config::default()), "{text}");
    for key in [
        "# node: worker-3",
        "listen: 127.0.0.1:13119",
        "compat: []",
        "# probes:",
        "#     settings: {}",
        "#       memory: 16MiB",
        "  timeout: 5s",
        "drain: 5s",
        "# sinks:",
        "#       form: line",
        "#       path: /var/log/netsonde/events.jsonl",
        "#       url: \"http://loki:3100\"",
        "#       # tenant: ops",
        "#         insecure_skip_verify: false",
        "#       protocol: http",
        "#       # metrics: 15s",
        "#       step: 1m",
    ] {
        assert!(text.lines().any(|line| line.starts_with(key)), "{key} is missing:\n{text}");
    }
    let commented_in: String = text.lines().map(|line| format!("{}\n", uncommented(line))).collect();
    let examples = read(&commented_in).expect("the examples are right");
    assert_eq!((examples.probes.map(|probes| probes.len()), examples.sinks.len()), (Some(1), 5));
}

/// A commented-out key comes in; prose stays a comment.
fn uncommented(line: &str) -> &str {
    let inner = line.strip_prefix("# ").unwrap_or(line);
    let first = inner.split_whitespace().find(|word| *word != "-").unwrap_or_default();
    let is_key = first.ends_with(':') && first.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == ':');
    if is_key { inner } else { line }
}

#[test]
fn sockets_are_named_as_the_kubelet_names_them_too() {
    let pods = |text: &str| read(text).map(|config| config.pods);
    let at = |path: &str| Runtime::At(path.into());
    assert_eq!(pods("pods: { cri: 'unix:///run/x.sock' }").unwrap().cri, at("/run/x.sock"));
    assert_eq!(pods("pods: { docker: d.sock }").unwrap().docker, at("/etc/netsonde/d.sock"));
    assert_eq!(pods("pods: { cri: none }").unwrap(), Pods { cri: Runtime::None, ..Pods::default() });
    for (text, told) in [
        ("pods: { cri: 'tcp://10.0.0.1:80' }", "by its Unix socket only"),
        ("pods: { labels: { pod: app } }", "`pod` is no name for a label of pods"),
        ("pods: { labels: { 9a: app } }", "is no name for a label"),
        ("pods: { labels: { app: [] } }", "must be a key of pods' labels"),
        ("pods: { labels: app }", "must be a mapping of labels"),
        ("pods: { criu: x }", "cri"),
    ] {
        let errors = read(text).unwrap_err();
        assert!(errors.len() == 1 && errors[0].to_string().contains(told), "{text}: {errors:?}");
    }
}

#[test]
fn sinks_over_the_network_are_read_whole() {
    let text = "\
sinks:
  - loki:
      url: https://loki.example.com/loki/api/v1/push
      tenant: ops
      form: line
      labels: { job: nodes, cluster: prod }
      username: me
      password_file: password
      tls: { ca: ca.pem, cert: c.pem, key: c.key, server_name: gateway }
      headers: { X-Region: hunter2 }
      timeout: 3s
  - otlp: { url: 'http://[::1]:4317/', protocol: grpc, compression: none, token_file: /token, logs: false }
  - otlp: { url: 'http://a/otel/v1/metrics', metrics: 15s, name: metrics }
  - open_falcon: { url: 'http://127.0.0.1:1988/v1/push', step: 30s, prefix: net., endpoint: host-7 }
";
    let path = |name: &str| Some(PathBuf::from(format!("/etc/netsonde/{name}")));
    let config = read(text).unwrap();
    let loki = LokiSink {
        common: Common::default(),
        remote: Remote {
            url: "https://loki.example.com".into(),
            username: Some("me".into()),
            password_file: path("password"),
            token_file: None,
            headers: vec![("X-Region".into(), Secret::new("hunter2"))],
            tls: Tls {
                ca: path("ca.pem"),
                cert: path("c.pem"),
                key: path("c.key"),
                server_name: Some("gateway".into()),
                insecure_skip_verify: false,
            },
            timeout: Duration::from_secs(3),
        },
        tenant: Some("ops".into()),
        form: Form::Line,
        labels: vec![("job".into(), "nodes".into()), ("cluster".into(), "prod".into())],
    };
    let otlp = OtlpSink {
        common: Common::default(),
        remote: Remote { url: "http://[::1]:4317".into(), token_file: Some("/token".into()), ..Remote::default() },
        protocol: Protocol::Grpc,
        compression: Compression::None,
        logs: false,
        metrics: None,
    };
    let at = |url: &str| Remote { url: url.into(), ..Remote::default() };
    let metrics = OtlpSink {
        common: Common { name: Some("metrics".into()), spill: None },
        remote: at("http://a/otel"),
        metrics: Some(Duration::from_secs(15)),
        ..OtlpSink::default()
    };
    let falcon = OpenFalconSink {
        common: Common::default(),
        remote: at("http://127.0.0.1:1988"),
        step: Duration::from_secs(30),
        prefix: Some("net.".into()),
        endpoint: Some("host-7".into()),
    };
    let want = [Sink::Loki(loki), Sink::Otlp(otlp), Sink::Otlp(metrics), Sink::OpenFalcon(falcon)];
    assert_eq!(config.sinks, want);
    for shown in [print(&config), format!("{config:?}")] {
        assert!(shown.contains("X-Region") && shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }
    let again = errors(&print(&config));
    assert!(again.len() == 1 && again[0].contains("write the value itself"), "{again:?}");
}

#[test]
fn what_is_wrong_in_a_sink_over_the_network_is_told_and_no_secret_with_it() {
    let wrong = [
        ("loki: {}", "`sinks.loki` has no `url`; give it one, such as `url: http://loki:3100`"),
        ("otlp:", "`sinks.otlp` has no `url`"),
        ("loki: { url: 'loki:3100' }", "neither `http://` nor `https://`; write it like `http://loki:3100`"),
        ("loki: { url: 'http://a:hunter2@loki' }", "do not belong into a URL"),
        ("loki: { url: 5 }", "`sinks.loki.url`: must be a URL; write it like"),
        ("otlp: { url: 'http://a', metrics: 2h }", "`sinks.otlp.metrics`: 2h is out of bounds"),
        ("open_falcon: { url: 'http://a', step: 1s }", "`sinks.open_falcon.step`: 1s is out of bounds"),
        ("open_falcon: { url: 'http://a', prefix: 'a b' }", "`sinks.open_falcon.prefix` has spaces"),
        ("open_falcon: {}", "`sinks.open_falcon` has no `url`"),
        ("otlp: { endpoint: 'http://a' }", "`sinks.otlp.endpoint` is no key here: it is called `url`"),
        ("loki: { url: 'http://a', password: hunter2 }", "`sinks.loki.password` is no key: many may read"),
        ("loki: { url: 'http://a', username: me }", "has a `username`, but no `password_file`"),
        ("loki: { url: 'http://a', password_file: p }", "has a `password_file`, but no `username`"),
        ("loki: { url: 'http://a', username: me, password_file: p, token_file: t }", "one of both is right"),
        ("loki: { url: 'http://a', token_file: t, headers: { authorization: hunter2 } }", "one of both is right"),
        ("loki: { url: 'https://a', tls: { cert: c } }", "has one of `cert` and `key`"),
        ("loki: { url: 'http://a', tls: { ca: c } }", "of no use with an `http` URL"),
        ("loki: { url: 'https://a', tls: { verify: false } }", "unknown key `verify` in `sinks.loki.tls`"),
        (
            "loki: { url: 'https://a', tls: { insecure_skip_verify: 'yes' } }",
            "must be `true` or `false`, such as `false`",
        ),
        ("loki: { url: 'http://a', headers: hunter2 }", "`sinks.loki.headers`: must be a mapping of names and values"),
        (
            "loki: { url: 'http://a', headers: { X-Key: \"hunter2\\n\" } }",
            "`sinks.loki.headers.X-Key` must be a text of visible",
        ),
        ("loki: { url: 'http://a', headers: { X-Key: [hunter2] } }", "must be a text of visible ASCII"),
        ("loki: { url: 'http://a', headers: { X-Key: 5 } }", "put it into quotes"),
        ("loki: { url: 'http://a', headers: { Host: hunter2 } }", "`Host` is no header that can be set here"),
        ("loki: { url: 'http://a', headers: { 'X Key': hunter2 } }", "`X Key` is no header"),
        ("loki: { url: 'http://a', headers: { X-Key: a, x-key: hunter2 } }", "is there twice"),
        ("loki: { url: 'http://a', labels: { node: a } }", "each stream has the label `node` by itself"),
        ("loki: { url: 'http://a', labels: { a-b: a } }", "`a-b` is no name for a label"),
        ("loki: { url: 'http://a', labels: { a: 5 } }", "`sinks.loki.labels.a`: must be a text of 1 to 256 bytes"),
        (
            "loki: { url: 'http://a', labels: { a: a, b: b, c: c, d: d, e: e, f: f, g: g, h: h, i: i, j: j } }",
            "more than 8 labels",
        ),
        ("loki: { url: 'http://a', timeout: 1h }", "1h is out of bounds"),
        ("loki: { url: 'http://a', form: jsn }", "did you mean `json`"),
        (
            "otlp: { url: 'http://a', protocol: https }",
            "there is no protocol `https`; it is `http` or `grpc`; did you mean",
        ),
        ("otlp: { url: 'http://a/b', protocol: grpc }", "`sinks.otlp.url` has a path, for which gRPC has no use"),
        ("otlp: { url: 'http://a', compression: zstd }", "there is no compression `zstd`; it is `none` or `gzip`"),
    ];
    for (sink, told) in wrong {
        let errors = errors(&format!("sinks: [{{ {sink} }}]"));
        assert!(errors.len() == 1 && errors[0].contains(told) && !errors[0].contains("hunter2"), "{sink}: {errors:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_printed_is_read_back(config in config()) {
        let text = print(&config);
        prop_assert_eq!(read(&text), Ok(config), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(
        text in "(probes|sinks|file|limits|listen|a|: |- |\\{|\\}|\\[|\\]|, |\n|  |#|&a |\\*a|!t |\"|'|\\||>|\\?|%|---|\\.\\.\\.|0x|1|é|\t|\r){0,40}"
    ) {
        if let Err(errors) = read(&text) {
            for error in errors {
                prop_assert!(error.line >= 1 && error.column >= 1 && !error.to_string().contains('\n'), "{}", error);
            }
        }
    }
}
