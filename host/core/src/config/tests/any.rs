//! Any configuration there may be.

use super::*;

fn settings() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        proptest::num::f64::NORMAL.prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
        "[ -~]{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[ -~]{0,6}|\\PC{0,3}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn probe()(
        module in prop_oneof![
            Just(None),
            Just(Some(Module::Builtin("traffic".to_owned()))),
            "/[ -~]{1,20}".prop_filter("not a URL", |path| !path.contains("://")).prop_map(|path| Some(Module::File(path.into()))),
        ],
        settings in settings(),
        memory in 65_536u64..=1 << 30,
        deadline in 1u64..=10_000,
        more in 0u64..=50_000,
        series in 1u64..=1_000_000,
        events in 1u64..=100_000,
        label in 8u64..=4096,
        guarded in any::<bool>(),
        stack in any::<bool>(),
    ) -> Probe {
        let deadline = Duration::from_millis(deadline);
        let allow = if guarded { GUARDED_TABLES.iter().map(|table| table.to_string()).collect() } else { Vec::new() };
        let limits = Limits { memory, deadline, wall: deadline + Duration::from_millis(more), series, events, label };
        // No settings and empty ones are the same.
        let settings = if settings.is_null() { json!({}) } else { settings };
        Probe { module, settings, limits, stack, allow, ..Probe::named("") }
    }
}

fn sink() -> impl Strategy<Value = Sink> {
    let form = || prop_oneof![Just(Form::Line), Just(Form::Json)];
    let spill = || prop::option::of(0u64..=1 << 40);
    let common = |spill| Common { name: None, spill };
    let second = Duration::from_secs(1);
    let rotate = (prop::option::of(65_536u64..=1 << 40), prop::option::of(1u32..=31_536_000), 1u64..=1000)
        .prop_map(move |(size, age, keep)| Rotate { size, age: age.map(|age| age * second), keep });
    prop_oneof![
        // Without a key it is none.
        (form(), 0u64..=1 << 40)
            .prop_map(move |(form, spill)| Sink::Stdout(StdoutSink { common: common(Some(spill)), form })),
        ("/[ -~]{8,20}", form(), spill(), rotate).prop_map(move |(path, form, spill, rotate)| {
            Sink::File(FileSink { common: common(spill), path: path.into(), form, rotate })
        }),
        (remote(), prop::option::of("[ -~é☃]{1,20}"), form(), labels(), spill()).prop_map(
            move |(remote, tenant, form, labels, spill)| {
                Sink::Loki(LokiSink { common: common(spill), remote, tenant, form, labels })
            },
        ),
        (remote(), any::<[bool; 3]>(), prop::option::of(1u64..=3600), spill()).prop_map(
            move |(remote, [grpc, gzip, logs], metrics, spill)| {
                let protocol =
                    if grpc && remote.url.matches('/').count() == 2 { Protocol::Grpc } else { Protocol::Http };
                let compression = if gzip { Compression::Gzip } else { Compression::None };
                let metrics = metrics.map(Duration::from_secs);
                Sink::Otlp(OtlpSink { common: common(spill), remote, protocol, compression, logs, metrics })
            }
        ),
        (remote(), 10u64..=3600, prop::option::of("[!-~é☃]{1,20}"), prop::option::of("[!-~]{1,20}")).prop_map(
            |(remote, step, prefix, endpoint)| {
                let step = Duration::from_secs(step);
                Sink::OpenFalcon(OpenFalconSink { common: Common::default(), remote, step, prefix, endpoint })
            }
        ),
    ]
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map("[a-z][a-z0-9_]{9,12}", "[ -~é☃]{1,20}", 0..4).prop_map(|map| map.into_iter().collect())
}

prop_compose! {
    /// Without headers: their values are not printed.
    fn remote()(
        host in "https://([a-z]{1,9}|\\[::1\\])(:[1-9][0-9]{0,3})?(/[a-z%.]{1,9}){0,2}",
        user in prop::option::of(("[ -~é☃]{1,20}", "/[ -~]{0,20}")),
        token in "/[ -~]{0,20}",
        ca in prop::option::of("/[ -~]{0,20}"),
        pair in prop::option::of("/[ -~]{0,20}"),
        server_name in prop::option::of("[a-z.]{1,9}"),
        insecure_skip_verify in any::<bool>(),
        timeout in 100u64..=300_000,
    ) -> Remote {
        let (username, password_file) = user.map(|(name, file)| (name, PathBuf::from(file))).unzip();
        let token_file = username.is_none().then(|| token.into());
        let (cert, key) = (pair.clone().map(PathBuf::from), pair.map(PathBuf::from));
        let tls = Tls { ca: ca.map(PathBuf::from), cert, key, server_name, insecure_skip_verify };
        let timeout = Duration::from_millis(timeout);
        Remote { url: host, username, password_file, token_file, headers: Vec::new(), tls, timeout }
    }
}

/// With a name for each.
fn sinks() -> impl Strategy<Value = Vec<Sink>> {
    prop::collection::vec(sink(), 0..4).prop_map(|mut sinks| {
        for (index, sink) in sinks.iter_mut().enumerate() {
            let common = match sink {
                Sink::Stdout(sink) => &mut sink.common,
                Sink::File(sink) => &mut sink.common,
                Sink::Loki(sink) => &mut sink.common,
                Sink::Otlp(sink) => &mut sink.common,
                Sink::OpenFalcon(sink) => &mut sink.common,
            };
            common.name = Some(format!("s-{index}"));
        }
        sinks
    })
}

prop_compose! {
    pub(super) fn config()(
        node in prop::option::of("[ -~é☃]{1,20}"),
        port in any::<u16>(),
        ip in any::<std::net::IpAddr>(),
        probes in prop::option::of(prop::collection::btree_map("[a-z][a-z0-9_]{6,9}", probe(), 0..4)),
        folders in prop::collection::vec("/[ -~]{0,20}", 6),
        runtimes in [runtime(), runtime()],
        labels in prop::collection::vec(("[a-z][a-z0-9_]{6,9}", "[ -~]{1,20}"), 0..3),
        (rate, burst, stacks, cpu, ring) in (1u64..=100_000, 1u64..=100_000, 1u64..=100_000, 1u64..=1_000_000, 65_536u64..=1 << 28),
        files in prop::collection::vec(prop::option::of("/[ -~]{0,20}"), 3),
        compat in proptest::sample::subsequence(Compat::ALL.to_vec(), 0..=Compat::ALL.len()),
        min in 0u64..=1000,
        idle in 1000u64..=3_600_000,
        timeout in 10u64..=60_000,
        (drain, fold) in (0u64..=300_000, 0u64..=3_600_000),
        recorder in recorder(),
        sinks in sinks(),
        (spill, size, max_age) in ("/[ -~]{0,20}", 0u64..=1 << 40, 60u64..=31_536_000),
    ) -> Config {
        let millis = Duration::from_millis;
        let probes = probes.map(|probes| probes.into_iter().map(|(name, probe)| Probe { name, ..probe }).collect());
        Config {
            node,
            listen: SocketAddr::new(ip, port),
            probes,
            probe_folder: folders[0].clone().into(),
            cache_folder: folders[1].clone().into(),
            proc_root: folders[2].clone().into(),
            netns_folder: folders[3].clone().into(),
            web_config: files[1].clone().map(PathBuf::from),
            access: Access { token_file: files[2].clone().map(PathBuf::from) },
            host_netns: files[0].clone().map(PathBuf::from),
            collection: Collection { min_interval: millis(min), idle_interval: millis(idle), timeout: millis(timeout) },
            btf: folders[4].clone().into(),
            hooks: Hooks { rate, burst, stacks, cpu, ring },
            compat,
            drain: millis(drain),
            events: super::Events { fold: millis(fold) },
            recorder,
            sinks,
            spill: Spill { folder: spill.into(), size, max_age: Duration::from_secs(max_age) },
            cgroup_root: folders[5].clone().into(),
            pods: {
                let [cri, docker] = runtimes;
                let mut labels: Vec<(String, String)> = labels;
                labels.sort();
                labels.dedup_by(|a, b| a.0 == b.0);
                Pods { cri, docker, labels }
            },
        }
    }
}

prop_compose! {
    fn recorder()(
        keep in 0u64..=3_600_000,
        events in 1u64..=1_000_000,
        share in 0u64..=100,
        size in 65_536u64..=1 << 30,
        within in 1000u64..=3_600_000,
        burst_type in prop::option::of("[A-Z_]{1,20}"),
        folder in "/[ -~]{0,20}",
        files in 1u64..=1000,
    ) -> Recorder {
        let (keep, within) = (Duration::from_millis(keep), Duration::from_millis(within));
        Recorder { keep, events, size, burst: events * share / 100, within, burst_type, folder: folder.into(), files }
    }
}

fn runtime() -> impl Strategy<Value = Runtime> {
    let at = "/[ -~]{0,20}".prop_map(|path| Runtime::At(path.into()));
    prop_oneof![Just(Runtime::Auto), Just(Runtime::None), at]
}
