//! Events in Loki, as far as the tests' own receiver is one (see `receiver`): the real one is in no registry at hand.

use netsonde_tests::{
    Folder,
    agent::{Agent, command},
    netns::Pair,
    receiver::{Receiver, Say},
    traffic::Peer,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// A server named `localhost`, and the file of its authority.
fn tls(folder: &Folder) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    folder.write("ca.pem", issuer.pem());
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(builder.with_single_cert(vec![cert.der().clone()], key).unwrap())
}

#[test]
fn every_event_arrives_in_order_with_few_labels_and_all_there_is_to_know() {
    const EACH: usize = 300;
    let receiver = Receiver::start();
    let pair = Pair::new();
    let mut client = Peer::new(&pair.a);
    let agent = Agent::start(&format!(
        "node: node-7\nprobes: {{ tcp_reset: {{}} }}\n\
         sinks: [{{ loki: {{ url: '{}', tenant: ops, labels: {{ cluster: prod }} }} }}]\n",
        receiver.url()
    ));
    agent.until_attached(4);
    client.run(&format!("refused('10.199.0.2', 4711, {EACH})"));
    let ours = |agent: &Agent| agent.events_of("TCPRESET_NOSOCK", &pair.b.name);
    agent.wait_until("the resets are told", |agent| ours(agent).len() == EACH);
    let events: Vec<Value> = ours(&agent);
    let in_b = || -> Vec<_> {
        let entries = receiver.entries();
        entries.into_iter().filter(|entry| entry.metadata.get("netns") == Some(&pair.b.name)).collect()
    };
    agent.wait_until("all entries are there", |_| in_b().len() >= EACH);
    let entries = in_b();
    let ids =
        |events: &[Value]| events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        entries.iter().map(|entry| entry.id().to_owned()).collect::<Vec<_>>(),
        ids(&events),
        "in order, none twice"
    );

    let (entry, event) = (&entries[0], &events[0]);
    assert_eq!(
        json!(entry.labels),
        json!({
            "cluster": "prod", "job": "netsonde", "node": "node-7", "probe": "tcp_reset", "type": "TCPRESET_NOSOCK",
        })
    );
    assert_eq!((entry.tenant.as_str(), entry.unix_nanos), ("ops", event["unix_nanos"].as_u64().unwrap()));
    assert_eq!(serde_json::from_str::<Value>(&entry.line).unwrap(), *event);
    for (name, value) in [("saddr", "10.199.0.2"), ("sport", "4711"), ("daddr", "10.199.0.1"), ("protocol", "TCP")] {
        assert_eq!(entry.metadata[name], value);
    }
}

#[test]
fn the_check_says_of_each_sink_what_is_wrong_with_it() {
    let folder = Folder::new("check");
    let (open, basic, bearer) = (Receiver::start(), Receiver::start_with(Some(tls(&folder))), Receiver::start());
    basic.want("Basic bWU6c2VjcmV0");
    bearer.want("Bearer abc");
    for (name, text) in [("password", "secret\n"), ("token", "abc\n"), ("other", "abd\n")] {
        folder.write(name, text);
    }
    let file = folder.path().join("events.jsonl");
    let check = |sinks: &[String]| {
        let sinks: Vec<String> =
            sinks.iter().enumerate().map(|(i, sink)| sink.replacen(": { ", &format!(": {{ name: s{i}, "), 1)).collect();
        let config = folder.write("netsonde.yaml", format!("probes: {{}}\nsinks: [{}]\n", sinks.join(", ")));
        command(&["check", "--connect", "--config", config.to_str().unwrap()])
    };
    let loki = |receiver: &Receiver, more: &str| format!("{{ loki: {{ url: '{}'{more} }} }}", receiver.url());
    let right = [
        loki(&open, ""),
        loki(&basic, ", username: me, password_file: password, tls: { ca: ca.pem }"),
        loki(&bearer, ", token_file: token"),
        format!("{{ file: {{ path: '{}' }} }}", file.display()),
    ];
    let (code, out, errors) = check(&right);
    assert_eq!((code, out.matches("good").count()), (0, 4), "{out}{errors}");
    assert!(out.contains("ms") && out.contains(&basic.url()), "{out}");
    assert!([&open, &basic, &bearer].iter().all(|receiver| receiver.requests() == 1 && receiver.entries().is_empty()));

    for (sink, told) in [
        (loki(&bearer, ", token_file: other"), "401"),
        (loki(&bearer, ", token_file: missing"), "cannot read the credentials in"),
        (loki(&basic, ", username: me, password_file: password"), "UnknownIssuer"),
        ("{ loki: { url: 'http://127.0.0.1:1' } }".to_owned(), "is it running, and is the port right?"),
        ("{ loki: { url: 'http://no-such-host.invalid' } }".to_owned(), "no-such-host.invalid"),
        (format!("{{ loki: {{ url: '{}/x' }} }}", open.url()), "404"),
        ("{ file: { path: /no/such/folder/events.log } }".to_owned(), "its folder must exist"),
    ] {
        let (code, out, errors) = check(&[right[0].clone(), sink]);
        assert!(code == 1 && out.matches("good").count() == 1 && errors.contains(told), "{told}: {code} {out}{errors}");
        assert!(!errors.contains("abd"), "{errors}");
    }
    open.answer_with(Say::Nothing);
    let (code, _, errors) = check(&[loki(&open, ", timeout: 200ms")]);
    assert!(code == 1 && errors.contains("no answer within 200ms"), "{code} {errors}");
}

#[test]
fn the_receiver_fails_in_every_way_and_comes_back() {
    let receiver = Receiver::start();
    let folder = Folder::new("check");
    let config =
        folder.write("netsonde.yaml", format!("probes: {{}}\nsinks: [{{ loki: {{ url: '{}' }} }}]\n", receiver.url()));
    let check = || command(&["check", "--connect", "--config", config.to_str().unwrap()]);
    for (say, told) in [
        (Say::Status(429, "slow down"), "429 Too Many Requests: slow down"),
        (Say::After(503, 3), "503"),
        (Say::Status(500, "oh"), "500"),
        (Say::Garbage, "speaks no HTTP"),
        (Say::Close, "cannot deliver"),
    ] {
        receiver.answer_with(say);
        let (code, _, errors) = check();
        assert!(code == 1 && errors.contains(told), "{say:?}: {errors}");
    }
    receiver.away();
    assert!(check().2.contains("refused"));
    receiver.back();
    receiver.answer_with(Say::Well);
    assert_eq!(check().0, 0);
    receiver.wait_for(0, Duration::ZERO);
}
