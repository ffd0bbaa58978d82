//! Keeps some real pods running until Enter is pressed: `cargo run --release -p netsonde-tests --example pods -- 4`.

use netsonde_tests::cri::{Containerd, IDLE, PodSpec, unavailable};

fn main() {
    if let Some(reason) = unavailable() {
        eprintln!("this machine cannot run pods: {reason}");
        std::process::exit(1);
    }
    let count: usize = std::env::args().nth(1).map_or(4, |count| count.parse().expect("how many pods: a number"));
    let containerd = Containerd::start();
    // The first ones are of all kinds; all others have one container.
    let first = [
        PodSpec::new("shop", "web-0")
            .container("web", "while :; do echo ok | nc -l -p 8080; done")
            .container("sidecar", IDLE),
        PodSpec::new("data", "web-0").container("db", IDLE).label("app.kubernetes.io/name", "db"),
        PodSpec::new("kube-system", "agent-x").container("agent", IDLE).host_network(),
    ];
    let more = (0..count.saturating_sub(first.len()))
        .map(|index| PodSpec::new(&format!("ns{}", index % 10), &format!("load-{index}")).container("main", IDLE));
    let pods = containerd.pods(first.into_iter().chain(more).take(count).collect());
    for pod in &pods {
        let ip = pod.ip.map_or("the node's address".to_owned(), |ip| ip.to_string());
        println!("{}/{}: {ip}, namespace {}, process {}", pod.spec.namespace, pod.spec.name, pod.inode, pod.pid);
        for (name, _) in &pod.spec.containers {
            println!("  {name}: process {}, {}", pod.container_pid(name), pod.container_id(name));
        }
    }
    println!("\nfor the agent's configuration:\n\n{}", containerd.agent_config(""));
    println!("to be started by: nsenter --net={} netsonde run --config FILE", containerd.node.path().display());
    println!("Enter ends all of it.");
    let _ = std::io::stdin().read_line(&mut String::new());
}
