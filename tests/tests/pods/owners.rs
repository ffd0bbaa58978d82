//! Traffic, resets, losses and sockets in pods of every kind: each is its pod's, and its container's where that can be known.

use crate::until_known;
use netsonde_tests::{
    agent::Agent,
    cri::{Containerd, IDLE, PodSpec, Sandbox},
    page::Page,
    traffic::Peer,
    whose::{of_event, peer_of},
};
use serde_json::Value;
use std::{fs, thread, time::Duration};

const SENT: &str = "netsonde_tcp_reset_sent_total";
const RECEIVED: &str = "netsonde_tcp_reset_received_total";
const PACKETS: &str = "netsonde_packet_loss_packets_total";
const CLOSED: u64 = 4721;

/// A pod with two containers, one of its name in another namespace, and one in the node's network namespace.
struct Pods {
    web: Sandbox,
    db: Sandbox,
    node: Sandbox,
    containerd: Containerd,
}

impl Pods {
    fn new() -> Self {
        let containerd = Containerd::start();
        let web = PodSpec::new("shop", "web-0").container("web", IDLE).container("sidecar", IDLE);
        let db = PodSpec::new("data", "web-0").container("db", IDLE);
        let node = PodSpec::new("kube-system", "agent-x").container("agent", IDLE).host_network();
        let [web, db, node] = containerd.pods(vec![web, db, node]).try_into().unwrap();
        Self { web, db, node, containerd }
    }

    fn agent(&self, probes: &str, hooks: usize) -> Agent {
        let agent = self.containerd.agent(&format!("node: node-7\nprobes: {{ {probes}, sockstat: {{}} }}"));
        agent.until_attached(hooks);
        until_known(&agent, &["shop/web-0/", "data/web-0/"]);
        agent
    }
}

/// Events from or to a port and among neighbours of this pod's address, once there are so many. Other tests have pods of their own.
fn events(agent: &Agent, near: &str, ty: &str, port: u64, count: usize) -> Vec<Value> {
    let (network, _) = near.rsplit_once('.').unwrap();
    let is_near = |event: &Value| event["fields"]["saddr"].as_str().is_some_and(|address| address.starts_with(network));
    let of_port = |event: &Value| event["fields"]["sport"] == port || event["fields"]["dport"] == port;
    let told = || agent.events(ty).into_iter().filter(|event| of_port(event) && is_near(event)).collect::<Vec<_>>();
    agent.wait_until(&format!("{count} of {ty} are told"), |_| told().len() >= count);
    thread::sleep(Duration::from_millis(300));
    let told = told();
    assert_eq!(told.len(), count, "{ty}: {told:?}");
    told
}

/// That all of these are of one owner, and of one at the other end.
fn check(events: &[Value], owner: &str, peer: &str) {
    for event in events {
        assert_eq!((of_event(event).as_str(), peer_of(event).as_str()), (owner, peer), "{event}");
    }
}

/// A connection from `client` to `server` that the server resets; the ports of both.
fn reset(client: &mut Peer, server: &mut Peer, address: &str, port: u64) {
    server.run(&format!("l = listen('0.0.0.0', {port})"));
    client.run(&format!("s = connect('{address}', {port})"));
    server.run("c = accept(l); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()");
    client.run("until_reset(s); s.close()");
    server.run("l.close()");
}

pub fn each_reset_is_told_by_container_with_both_ends() {
    let pods = Pods::new();
    let (web, db, host) = (pods.web.address(), pods.db.address(), pods.containerd.address());
    let agent = pods.agent("tcp_reset: {}", 4);
    let [mut front, mut side] = ["web", "sidecar"].map(|container| pods.web.peer(container));
    let (mut db_peer, mut node) = (pods.db.peer("db"), pods.node.peer("agent"));

    // Where no socket is, there is no container; who is refused has one.
    db_peer.run(&format!("refused('{web}', {CLOSED}, 5)"));
    check(&events(&agent, &web, "TCPRESET_NOSOCK", CLOSED, 5), "shop/web-0/", "data/web-0");
    check(&events(&agent, &web, "TCPRESET_RECEIVE", CLOSED, 5), "data/web-0/db", "shop/web-0");
    side.run(&format!("refused('{db}', {}, 3)", CLOSED + 1));
    check(&events(&agent, &web, "TCPRESET_NOSOCK", CLOSED + 1, 3), "data/web-0/", "shop/web-0");
    check(&events(&agent, &web, "TCPRESET_RECEIVE", CLOSED + 1, 3), "shop/web-0/sidecar", "data/web-0");

    // Each container's own.
    for (port, container, server) in [(7101, "web", &mut front), (7102, "sidecar", &mut side)] {
        reset(&mut db_peer, server, &web, port);
        check(&events(&agent, &web, "TCPRESET_ACTIVE", port, 1), &format!("shop/web-0/{container}"), "data/web-0");
        check(&events(&agent, &web, "TCPRESET_RECEIVE", port, 1), "data/web-0/db", "shop/web-0");
    }

    // The pod in the node's namespace is told from the node by its cgroup.
    reset(&mut db_peer, &mut node, &host, 7103);
    check(&events(&agent, &web, "TCPRESET_ACTIVE", 7103, 1), "kube-system/agent-x/agent", "data/web-0");
    let told = events(&agent, &web, "TCPRESET_RECEIVE", 7103, 1);
    assert_eq!(of_event(&told[0]), "data/web-0/db");
    node.run(&format!("refused('{web}', {}, 2)", CLOSED + 2));
    check(&events(&agent, &web, "TCPRESET_NOSOCK", CLOSED + 2, 2), "shop/web-0/", "");
    check(&events(&agent, &web, "TCPRESET_RECEIVE", CLOSED + 2, 2), "kube-system/agent-x/agent", "shop/web-0");
    db_peer.run(&format!("refused('{host}', {}, 4)", CLOSED + 3));
    check(&events(&agent, &web, "TCPRESET_NOSOCK", CLOSED + 3, 4), "netns=host", "data/web-0");

    // And a process of the node itself.
    Peer::new(&pods.containerd.node).run(&format!("refused('{web}', {}, 6)", CLOSED + 4));
    check(&events(&agent, &web, "TCPRESET_NOSOCK", CLOSED + 4, 6), "shop/web-0/", "");
    check(&events(&agent, &web, "TCPRESET_RECEIVE", CLOSED + 4, 6), "netns=host", "shop/web-0");

    let page = agent.scrape();
    page.check_unique();
    for (name, owner, want) in [
        (SENT, "shop/web-0/", 5 + 2 + 2 + 6),
        (SENT, "data/web-0/", 3),
        (RECEIVED, "data/web-0/", 5 + 1 + 1 + 1 + 4),
        (RECEIVED, "shop/web-0/", 3),
    ] {
        assert_eq!(page.sum_of(name, owner, &[]), f64::from(want), "{name} of {owner}");
    }
}

pub fn each_lost_packet_is_told_by_pod_with_both_ends() {
    let pods = Pods::new();
    let (web, db, host) = (pods.web.address(), pods.db.address(), pods.containerd.address());
    let agent = pods.agent("packet_loss: {}", 2);
    let (mut side, mut db_peer) = (pods.web.peer("sidecar"), pods.db.peer("db"));
    let mut node = pods.node.peer("agent");

    db_peer.run(&format!("send('{web}', {CLOSED}, 9)"));
    check(&events(&agent, &web, "PACKETLOSS", CLOSED, 9), "shop/web-0/", "data/web-0");
    side.run(&format!("send('{db}', {}, 6)", CLOSED + 1));
    check(&events(&agent, &web, "PACKETLOSS", CLOSED + 1, 6), "data/web-0/", "shop/web-0");
    node.run(&format!("send('{db}', {}, 4)", CLOSED + 2));
    check(&events(&agent, &web, "PACKETLOSS", CLOSED + 2, 4), "data/web-0/", "");
    db_peer.run(&format!("send('{host}', {}, 3)", CLOSED + 3));
    check(&events(&agent, &web, "PACKETLOSS", CLOSED + 3, 3), "netns=host", "data/web-0");
    let page = agent.scrape();
    let labels = [("reason", "NO_SOCKET"), ("protocol", "UDP")];
    assert_eq!(page.sum_of(PACKETS, "shop/web-0/", &labels), 9.0);
    assert_eq!(page.sum_of(PACKETS, "data/web-0/", &labels), 6.0 + 4.0);

    // A socket without room for more: there, the container is known.
    for (port, owner, address, server, client) in [
        (7201, "shop/web-0/sidecar", &web[..], &mut side, &mut db_peer),
        (7202, "kube-system/agent-x/agent", &host, &mut node, &mut pods.db.peer("db")),
    ] {
        server.run("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)");
        server.run(&format!("u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304); u.bind(('0.0.0.0', {port}))"));
        client.run(&format!("send('{address}', {port}, 50, 500)"));
        server.run("n = 0\ntry:\n    while u.recv(9999, socket.MSG_DONTWAIT): n += 1\nexcept BlockingIOError: pass");
        let lost = 50 - server.number("n") as usize;
        assert!(lost > 0);
        check(&events(&agent, &web, "PACKETLOSS", port, lost), owner, "data/web-0");
    }
    page.check_unique();
}

/// Packets and bytes that a pod's own `eth0` has received and sent, by the kernel.
fn kernel(pod: &Sandbox) -> [f64; 4] {
    let text = fs::read_to_string(format!("/proc/{}/net/dev", pod.pid)).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
    let numbers: Vec<f64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
    [1, 0, 9, 8].map(|at| numbers[at])
}

fn told(page: &Page, owner: &str) -> [f64; 4] {
    ["receive_packets", "receive_bytes", "transmit_packets", "transmit_bytes"]
        .map(|name| page.sum_of(&format!("netsonde_traffic_{name}_total"), owner, &[("device", "eth0")]))
}

const UDP: &str = "netsonde_socket_memory_sockets";

fn sockets(page: &Page, owner: &str) -> f64 {
    page.sum_of(UDP, owner, &[("protocol", "udp"), ("family", "ipv4")])
}

pub fn traffic_and_sockets_of_each_pod_are_its_own() {
    let pods = Pods::new();
    let agent = pods.agent("traffic: {}, socket_memory: {}", 0);
    let before = sockets(&agent.page(), "netns=host");
    let [mut front, mut side] = ["web", "sidecar"].map(|container| pods.web.peer(container));
    let (mut db, mut node) = (pods.db.peer("db"), pods.node.peer("agent"));
    for (peer, count) in [(&mut front, 3), (&mut side, 5), (&mut db, 7), (&mut node, 11)] {
        peer.run(&format!("kept = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range({count})]"));
    }
    db.run("kept[0].bind(('0.0.0.0', 7300))");
    front.run(&format!("send('{}', 7300, 400, 1000)", pods.db.address()));

    // The kernel says the same before and after a page, and the page does: neighbours ask each other.
    agent.wait_until("traffic is what the kernel says", |agent| {
        let of_kernel = || [kernel(&pods.web), kernel(&pods.db)];
        let before = of_kernel();
        let page = agent.scrape();
        before == [told(&page, "shop/web-0/"), told(&page, "data/web-0/")] && before == of_kernel()
    });
    let page = agent.scrape();
    page.check_unique();
    let [received, ..] = told(&page, "data/web-0/");
    let [few, ..] = told(&page, "shop/web-0/");
    assert!(received >= 400.0 && few < 100.0, "{received} and {few} packets received");
    // A namespace's traffic cannot be split by container.
    assert_eq!(page.whose("netsonde_traffic_receive_packets_total", "shop/web-0/", &[("device", "eth0")]).count(), 1);
    assert!(page.owners().contains("shop/web-0/"));

    for (owner, count) in [
        ("shop/web-0/web", 3.0),
        ("shop/web-0/sidecar", 5.0),
        ("data/web-0/db", 7.0),
        ("kube-system/agent-x/agent", 11.0),
    ] {
        assert_eq!(sockets(&page, owner), count, "UDP sockets of {owner}");
    }
    assert_eq!(sockets(&page, "shop/web-0/"), 8.0, "all of the pod's are of a container");
    assert_eq!(sockets(&page, "netns=host"), before, "the node's own are those of its processes");
    // By namespace, `sockstat` says the same of pods, and has no containers.
    let inuse = |owner: &str| page.sum_of("netsonde_sockstat_udp_inuse", owner, &[("family", "ipv4")]);
    // Only bound ones are in use there.
    assert_eq!((inuse("shop/web-0/"), inuse("data/web-0/")), (0.0, 1.0));
}

pub fn pods_are_listed_with_their_containers() {
    let pods = Pods::new();
    let agent = pods.agent("socket_memory: {}", 0);
    let response = agent.get("/pods");
    assert_eq!(response.status, 200, "{}", response.text());
    let all: Value = serde_json::from_slice(&response.body).unwrap();
    let listed = |namespace: &str| {
        let list = all["pods"].as_array().unwrap();
        let mut found = list.iter().filter(|pod| pod["namespace"] == namespace);
        let pod = found.next().unwrap_or_else(|| panic!("no pod of {namespace} in {all:#}"));
        assert!(found.next().is_none(), "{all:#}");
        pod.clone()
    };
    for (pod, name) in [(&pods.web, "web-0"), (&pods.db, "web-0"), (&pods.node, "agent-x")] {
        let found = listed(&pod.spec.namespace);
        assert_eq!(
            (&found["pod"], &found["uid"], &found["source"]),
            (&name.into(), &pod.uid.as_str().into(), &"cri".into())
        );
        let containers = found["containers"].as_array().unwrap();
        assert_eq!(containers.len(), pod.spec.containers.len(), "{found:#}");
        for (container, _) in &pod.spec.containers {
            let told = containers.iter().find(|told| told["container"] == container.as_str());
            assert!(told.is_some_and(|told| told["id"] == pod.container_id(container)), "{found:#}");
        }
        // How it was found out whose namespace it is.
        let text = found.to_string();
        assert_eq!(text.contains(&pod.inode.to_string()), pod.netns.is_some(), "{found:#}");
    }
}

pub fn a_command_lists_them_too() {
    let pods = Pods::new();
    let agent = pods.agent("socket_memory: {}", 0);
    let (code, out, errors) = pods.containerd.command(&["pods", "--address", &agent.address]);
    assert_eq!(code, 0, "{errors}");
    for word in ["shop", "data", "kube-system", "web-0", "agent-x", "sidecar", "cri"] {
        assert!(out.contains(word), "{word} is missing in\n{out}");
    }
}

pub fn labels_of_pods_are_on_series_and_events() {
    let containerd = Containerd::start();
    let web = PodSpec::new("shop", "web-0").container("web", IDLE).label("app.kubernetes.io/name", "front");
    let db = PodSpec::new("shop", "db-0").container("db", IDLE).annotation("example.org/team", "stores");
    let [web, db] = containerd.pods(vec![web, db]).try_into().unwrap();
    let labels = "labels: { app: app.kubernetes.io/name, team: example.org/team }";
    let config = containerd.agent_config("probes: { sockstat: {}, tcp_reset: {} }");
    let agent = Agent::start_on(&containerd.node, &config.replace("docker: none", &format!("docker: none, {labels}")));
    agent.until_attached(4);
    until_known(&agent, &["shop/web-0/", "shop/db-0/"]);
    let page = agent.scrape();
    for (owner, app, team) in [("shop/web-0/", "front", ""), ("shop/db-0/", "", "stores"), ("netns=host", "", "")] {
        let mut all = page.whose("netsonde_sockstat_sockets_used", owner, &[]);
        let sample = all.next().unwrap_or_else(|| panic!("nothing of {owner}"));
        assert_eq!((&sample.labels["app"][..], &sample.labels["team"][..]), (app, team), "{sample:?}");
        assert!(all.next().is_none());
    }
    db.peer("db").run(&format!("refused('{}', {CLOSED}, 1)", web.address()));
    let told = events(&agent, &web.address(), "TCPRESET_NOSOCK", CLOSED, 1);
    assert_eq!(told[0]["labels"]["app"], "front", "{}", told[0]);
    let told = events(&agent, &web.address(), "TCPRESET_RECEIVE", CLOSED, 1);
    assert_eq!(told[0]["labels"]["team"], "stores", "{}", told[0]);
}
