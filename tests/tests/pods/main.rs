//! Real pods: whose each series and each event is.

mod life;
mod owners;
mod runtime;

use netsonde_tests::{
    agent::Agent,
    cri::{Containerd, IDLE, PodSpec, run_trials, trial},
};
use std::process::ExitCode;

fn main() -> ExitCode {
    run_trials(vec![
        trial("pods_come_up_are_listed_and_reach_each_other", pods_come_up_are_listed_and_reach_each_other),
        trial("each_reset_is_told_by_container_with_both_ends", owners::each_reset_is_told_by_container_with_both_ends),
        trial("each_lost_packet_is_told_by_pod_with_both_ends", owners::each_lost_packet_is_told_by_pod_with_both_ends),
        trial("traffic_and_sockets_of_each_pod_are_its_own", owners::traffic_and_sockets_of_each_pod_are_its_own),
        trial("pods_are_listed_with_their_containers", owners::pods_are_listed_with_their_containers),
        trial("a_command_lists_them_too", owners::a_command_lists_them_too),
        trial("labels_of_pods_are_on_series_and_events", owners::labels_of_pods_are_on_series_and_events),
        trial(
            "rule_5_a_pod_made_anew_goes_on_with_its_counters",
            life::rule_5_a_pod_made_anew_goes_on_with_its_counters,
        ),
        trial("rule_5_a_container_started_anew_too", life::rule_5_a_container_started_anew_too),
        trial(
            "rule_6_no_series_of_a_pod_is_first_without_its_name",
            life::rule_6_no_series_of_a_pod_is_first_without_its_name,
        ),
        trial("rule_29_a_reused_inode_is_another_pod", life::rule_29_a_reused_inode_is_another_pod),
        trial(
            "rule_30_a_pods_namespace_ends_while_the_agent_looks",
            life::rule_30_a_pods_namespace_ends_while_the_agent_looks,
        ),
        trial("a_runtime_stopped_and_started_again_is_asked_again", runtime::stopped_and_started_again),
        trial("a_runtime_killed_and_started_again_is_asked_again", runtime::killed_and_started_again),
        trial("an_agent_older_than_its_runtime_learns_of_its_pods", runtime::later_than_the_agent),
    ])
}

/// Waits until the page has series of all of these.
fn until_known(agent: &Agent, owners: &[&str]) {
    agent.wait_until(&format!("there are series of {owners:?}"), |agent| {
        let known = agent.page().owners();
        owners.iter().all(|owner| known.iter().any(|known| known.starts_with(owner)))
    });
}

fn pods_come_up_are_listed_and_reach_each_other() {
    let mut containerd = Containerd::start();
    let web = PodSpec::new("shop", "web-0").container("web", IDLE).container("sidecar", IDLE);
    let db = PodSpec::new("data", "web-0").container("db", IDLE);
    let node = PodSpec::new("kube-system", "agent-x").container("agent", IDLE).host_network();
    let [web, db, node] = containerd.pods(vec![web, db, node]).try_into().unwrap();
    assert_eq!(
        containerd.list(),
        [
            ("data/web-0".to_owned(), db.address()),
            ("kube-system/agent-x".to_owned(), String::new()),
            ("shop/web-0".to_owned(), web.address())
        ]
    );
    assert!(web.netns.is_some() && node.netns.is_none() && node.ip.is_none());

    let (mut server, mut client) = (web.peer("sidecar"), db.peer("db"));
    server.run("l = listen('0.0.0.0', 7000)");
    client.run(&format!("s = connect('{}', 7000)", web.address()));
    server.run("c = accept(l)");
    assert_eq!(server.run("c.getpeername()[0]"), db.address());
    // A process of the container, as the kernel sees it.
    let cgroup = server.run("open('/proc/self/cgroup').read()");
    assert!(cgroup.as_str().unwrap().contains(web.container_id("sidecar")), "{cgroup}");

    // The pods live on without their runtime.
    containerd.stop();
    client.run("s.send(b'x')");
    assert_eq!(server.number("len(c.recv(1))"), 1);
    containerd.start_again();
    assert_eq!(containerd.list().len(), 3);
    drop((server, client));
    containerd.remove(vec![web, db, node]);
    assert_eq!(containerd.list(), []);
}
