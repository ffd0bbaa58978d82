//! Pods get their namespaces, containers their pods, and both their names in time.

use super::*;
use crate::pod::{By, Container, Network, Source, cgroup::Member};

const SECOND: Duration = Duration::from_secs(1);

fn container(id: &str, name: &str) -> Container {
    let (id, name) = (id.into(), name.into());
    Container { id, name, image: "i".into(), pid: None, cgroup: None, running: true }
}

fn pod(id: &str, name: &str, network: Network, containers: &[&str]) -> Arc<Pod> {
    Arc::new(Pod {
        id: id.into(),
        source: Source::Cri,
        namespace: if name.is_empty() { "" } else { "shop" }.into(),
        name: name.into(),
        uid: format!("uid-of-{id}"),
        labels: vec![("app".into(), "web".into())],
        annotations: vec![],
        network,
        ips: vec![],
        created_unix: Duration::ZERO,
        ready: true,
        containers: containers.iter().map(|name| container(&format!("{id}.{name}"), name)).collect(),
        cgroup: None,
        image: None,
    })
}

fn own() -> Network {
    Network::Own { path: None, pid: None }
}

/// Waits for names, with a label; its host is scope 1.
fn node() -> Scopes {
    let mut scopes = Scopes::default();
    scopes.label_pods(&[("app".into(), "app".into())]);
    scopes.expect_pods();
    see(&mut scopes, &[], 1);
    scopes
}

/// A walk that finds the host and these, with their pods.
fn see(scopes: &mut Scopes, others: &[(u64, Option<&Arc<Pod>>)], now: u64) -> Vec<ScopeId> {
    let host = FoundNetns { host: true, cookie: Some(1), ..found(10, None) };
    let other = |(inode, pod): &(u64, Option<&Arc<Pod>>)| FoundNetns {
        cookie: Some(*inode + 1000),
        pod: pod.map(|pod| (pod.clone(), By::File)),
        ..found(*inode, Some("cni-1"))
    };
    let found = [host].into_iter().chain(others.iter().map(other)).collect();
    scopes.observe(found, SECOND * now as u32, SECOND).iter().skip(1).map(|namespace| namespace.scope).collect()
}

fn name(scopes: &Scopes, id: ScopeId) -> String {
    let scope = scopes.get(id).unwrap();
    let labels: String = scope.name.labels.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    format!("{}{labels}{}", scope.name, if scope.held.is_some() { " held" } else { "" })
}

fn learn(scopes: &mut Scopes, pods: &[&Arc<Pod>], now: u64) {
    scopes.learn(Arc::new(Pods::new(pods.iter().map(|pod| (*pod).clone()).collect())), SECOND * now as u32);
}

#[test]
fn rule_6_a_new_namespace_waits_two_seconds_for_its_pod() {
    let mut scopes = node();
    assert_eq!(name(&scopes, 1), "host app=", "the host waits for nobody");
    assert_eq!(see(&mut scopes, &[(11, None), (12, None)], 10), [2, 3]);
    assert_eq!(name(&scopes, 2), "cni-1 app= held");
    assert_eq!(scopes.next_settling(SECOND * 10), Some(SECOND * 2));
    let web = pod("s1", "web-0", own(), &[]);
    assert_eq!(see(&mut scopes, &[(11, Some(&web)), (12, None)], 11), [2, 3], "the same scope, with its name");
    assert_eq!((name(&scopes, 2), scopes.take_settled()), ("shop/web-0 app=web".into(), vec![2]));
    scopes.give_up(SECOND * 11);
    assert_eq!(name(&scopes, 3), "cni-1 app= held");
    scopes.give_up(SECOND * 12);
    assert_eq!((name(&scopes, 3), scopes.take_settled()), ("cni-1 app=".into(), vec![3]));
    assert_eq!((scopes.next_settling(SECOND * 12), scopes.take_gone()), (None, vec![]));
}

#[test]
fn a_name_that_comes_too_late_is_that_of_a_new_scope() {
    let mut scopes = node();
    see(&mut scopes, &[(11, None)], 10);
    scopes.give_up(SECOND * 12);
    let web = pod("s1", "web-0", own(), &[]);
    assert_eq!(see(&mut scopes, &[(11, Some(&web))], 13), [3]);
    assert_eq!((name(&scopes, 2), name(&scopes, 3)), ("cni-1 app=".into(), "shop/web-0 app=web".into()));
    assert_eq!(scopes.take_gone(), [2]);
    assert_eq!(scopes.of_row(key(1011, 11), SECOND * 14), Some(3), "rows go to the new one");
    assert_eq!(see(&mut scopes, &[(11, Some(&web))], 14), [3]);
    assert_eq!(see(&mut scopes, &[(11, None)], 15), [3], "what was known of it stays known");
}

#[test]
fn without_anybody_to_ask_nothing_waits() {
    let mut scopes = Scopes::default();
    assert_eq!(see(&mut scopes, &[(11, None)], 10), [2]);
    assert_eq!((name(&scopes, 2), scopes.next_settling(SECOND)), ("cni-1".into(), None));
    scopes.learn_cgroups(vec![(7, Member { pod_uid: None, container: Some("c".into()) })], 7);
    assert_eq!(scopes.of_owner(2, 7, SECOND, SECOND), (2, false));
}

#[test]
fn rule_29_a_sandbox_made_anew_is_a_new_scope_of_the_same_name() {
    let mut scopes = node();
    let (old, new) = (pod("s1", "web-0", own(), &[]), pod("s2", "web-0", own(), &[]));
    assert_eq!(see(&mut scopes, &[(11, Some(&old))], 10), [2]);
    // Its namespace has the old one's inode, and another cookie.
    let again = FoundNetns { cookie: Some(5), pod: Some((new, By::Process)), ..found(11, Some("cni-1")) };
    let seen = scopes.observe(vec![again], SECOND * 11, SECOND);
    assert_eq!((seen[0].scope, name(&scopes, 3)), (3, "shop/web-0 app=web".into()));
    assert!(scopes.take_gone().contains(&2));
}

#[test]
fn only_pods_without_a_scope_are_looked_for() {
    let mut scopes = node();
    let (web, agent) = (pod("s1", "web-0", own(), &[]), pod("s2", "agent", Network::Host, &[]));
    let ended = Arc::new(Pod { ready: false, ..(*pod("s3", "job", own(), &[])).clone() });
    learn(&mut scopes, &[&web, &agent, &ended], 10);
    assert_eq!(scopes.unbound(), std::slice::from_ref(&web));
    see(&mut scopes, &[(11, Some(&web))], 10);
    assert_eq!((scopes.unbound(), scopes.of_pod("s1").map(|(inode, _)| inode)), (vec![], Some(11)));
}

fn member(uid: Option<&str>, container: Option<&str>) -> Member {
    Member { pod_uid: uid.map(str::to_owned), container: container.map(str::to_owned) }
}

/// A pod with two containers in scope 2, one in the host's namespace, and their cgroups 71, 72 and 73; 74 is the sandbox's, 75 the second pod's, 76 the
/// first one's.
fn owners() -> (Scopes, [Arc<Pod>; 2]) {
    let mut scopes = node();
    let (web, agent) = (pod("s1", "web-0", own(), &["web", "sidecar"]), pod("s2", "agent", Network::Host, &["agent"]));
    learn(&mut scopes, &[&web, &agent], 10);
    assert_eq!(see(&mut scopes, &[(11, Some(&web)), (12, None)], 10), [2, 3]);
    scopes.give_up(SECOND * 12);
    let members = [
        (71, member(Some("uid-of-s1"), Some("s1.web"))),
        (72, member(Some("uid-of-s1"), Some("s1.sidecar"))),
        (73, member(None, Some("s2.agent"))),
        (74, member(Some("uid-of-s1"), Some("s1"))),
        (75, member(Some("uid-of-s2"), None)),
        (76, member(Some("uid-of-s1"), None)),
    ];
    scopes.learn_cgroups(members.to_vec(), 99);
    (scopes, [web, agent])
}

fn owner(scopes: &mut Scopes, netns: ScopeId, cgroup: u64, now: u64) -> (ScopeId, String) {
    let (scope, _) = scopes.of_owner(netns, cgroup, SECOND * now as u32, SECOND);
    (scope, name(scopes, scope))
}

#[test]
fn rule_28_the_owner_is_the_container_of_the_pod_that_the_namespace_is_of() {
    let (mut scopes, _) = owners();
    for (netns, cgroup, want) in [
        (2, 71, "shop/web-0/web app=web"),
        (2, 72, "shop/web-0/sidecar app=web"),
        (2, 74, "shop/web-0 app=web"),
        (2, 76, "shop/web-0 app=web"),
        (1, 73, "shop/agent/agent app=web"),
        (1, 75, "shop/agent app=web"),
        // Somebody else's socket is the namespace's: a socket that was handed over, a program of the node in a pod.
        (1, 71, "host app="),
        (2, 73, "shop/web-0 app=web"),
        (3, 71, "cni-1 app="),
        // No container.
        (1, 99, "host app="),
        (2, 99, "shop/web-0 app=web"),
        (1, 1234, "host app="),
    ] {
        assert_eq!(owner(&mut scopes, netns, cgroup, 12).1, want, "{cgroup} in {netns}");
    }
    assert!(scopes.knows_cgroup(99) && !scopes.knows_cgroup(1234));
    let first = owner(&mut scopes, 2, 71, 12).0;
    assert_eq!(owner(&mut scopes, 2, 71, 13).0, first, "a scope stays what it is");
}

#[test]
fn rule_6_a_new_container_waits_for_its_name_too() {
    let (mut scopes, [web, agent]) = owners();
    scopes.learn_cgroups(vec![(81, member(None, Some("s1.new"))), (82, member(None, Some("never")))], 81);
    assert_eq!(scopes.of_owner(2, 81, SECOND * 20, SECOND), (4, true), "somebody should ask again");
    assert_eq!(scopes.of_owner(2, 81, SECOND * 20, SECOND), (4, false), "once");
    assert_eq!(name(&scopes, 4), "shop/web-0 app=web held");
    let grown = Pod { containers: vec![container("s1.new", "new")], ..(*web).clone() };
    learn(&mut scopes, &[&Arc::new(grown), &agent], 21);
    assert_eq!(name(&scopes, 4), "shop/web-0/new app=web");
    assert!(scopes.take_settled().contains(&4));
    // One that nobody knows counts as its namespace.
    assert_eq!(owner(&mut scopes, 1, 82, 22), (5, "host app= held".into()));
    scopes.give_up(SECOND * 24);
    assert_eq!((name(&scopes, 5), scopes.take_gone()), ("host app=".into(), vec![5]));
    assert_eq!(owner(&mut scopes, 1, 82, 25), (1, "host app=".into()));
    // It is named after all.
    let late = Pod { containers: vec![container("never", "late")], ..(*agent).clone() };
    learn(&mut scopes, &[&web, &Arc::new(late)], 26);
    assert_eq!(owner(&mut scopes, 1, 82, 27).1, "shop/agent/late app=web");
}

#[test]
fn a_container_of_a_pod_that_has_no_name_yet_gets_both_with_the_walk() {
    let mut scopes = node();
    let web = pod("s1", "web-0", own(), &["web"]);
    see(&mut scopes, &[(11, None)], 10);
    scopes.learn_cgroups(vec![(71, member(None, Some("s1.web")))], 71);
    let (container, _) = scopes.of_owner(2, 71, SECOND * 10, SECOND);
    learn(&mut scopes, &[&web], 11);
    assert_eq!(name(&scopes, container), "cni-1 app= held", "which namespace it has is not known yet");
    see(&mut scopes, &[(11, Some(&web))], 11);
    assert_eq!(name(&scopes, container), "shop/web-0/web app=web");
    assert_eq!(scopes.take_settled(), [2, container]);
}

#[test]
fn rule_7_a_container_that_has_ended_is_gone_and_its_late_rows_still_bear_its_name() {
    let (mut scopes, [web, agent]) = owners();
    let (web_scope, _) = owner(&mut scopes, 2, 71, 12);
    let (agent_scope, _) = owner(&mut scopes, 1, 73, 12);
    let mut ended = (*web).clone();
    ended.containers[0].running = false;
    learn(&mut scopes, &[&Arc::new(ended)], 30);
    assert_eq!(scopes.take_gone(), [web_scope, agent_scope]);
    assert_eq!(owner(&mut scopes, 2, 71, 31), (web_scope, "shop/web-0/web app=web".into()));
    assert_eq!(owner(&mut scopes, 1, 73, 31), (agent_scope, "shop/agent/agent app=web".into()));
    learn(&mut scopes, &[&web, &agent], 32);
    assert_ne!(owner(&mut scopes, 1, 73, 33).0, agent_scope, "listed again, it is another scope");
}

#[test]
fn without_kubernetes_the_container_gives_its_namespace_the_name() {
    let mut scopes = node();
    let bare = pod("d1", "", own(), &["db"]);
    let joined = pod("d2", "", Network::Of("d1".into()), &["backup"]);
    learn(&mut scopes, &[&bare, &joined], 10);
    see(&mut scopes, &[(11, Some(&bare))], 10);
    assert_eq!(name(&scopes, 2), "db app=web");
    scopes.learn_cgroups(vec![(71, member(None, Some("d1.db"))), (72, member(None, Some("d2.backup")))], 71);
    assert_eq!(owner(&mut scopes, 2, 71, 11).0, 2);
    assert_eq!(owner(&mut scopes, 2, 72, 11).1, "backup app=web");
}
