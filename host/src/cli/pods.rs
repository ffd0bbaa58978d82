//! `netsonde pods`: who there is on the node, asked of a running agent.

use super::{
    Failure,
    client::{self, ClientArgs},
    print::{self, BAD, GOOD, SOME, Text},
};
use serde_json::Value;

#[derive(clap::Args)]
pub struct Pods {
    /// Print what the agent's page /pods says, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: ClientArgs,
}

const HEAD: [&str; 9] = ["NAMESPACE", "POD", "CONTAINER", "STATE", "PID", "IP", "NETNS", "SOURCE", "BY"];

impl Pods {
    pub fn run(self) -> Result<(), Failure> {
        let told = client::object(&self.agent, "/pods")?;
        if self.json {
            print::json(&told);
            return Ok(());
        }
        print::table(&HEAD, rows(&told));
        let sources = list(&told, "sources");
        sources.iter().filter_map(|source| source["error"].as_str()).for_each(print::warn);
        if sources.is_empty() {
            print::warn("no container runtime was found at the usual places; `pods: { cri: SOCKET }` names one");
        }
        Ok(())
    }
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A row for each container, for each pod without one, and for each namespace that is no pod's.
fn rows(told: &Value) -> Vec<Vec<Text>> {
    let of_pods = list(told, "pods").iter().flat_map(|pod| match list(pod, "containers") {
        [] => vec![row(pod, &Value::Null)],
        containers => containers.iter().map(|container| row(pod, container)).collect(),
    });
    of_pods.chain(list(told, "namespaces").iter().map(nameless)).collect()
}

fn row(pod: &Value, container: &Value) -> Vec<Text> {
    let runs = if container.is_null() { &pod["ready"] } else { &container["running"] };
    let is_host = pod["network"] == "host";
    vec![
        text(&pod["namespace"]).into(),
        text(&pod["pod"]).into(),
        text(&container["container"]).into(),
        if *runs == true { Text::styled("runs", GOOD) } else { Text::styled("ended", BAD) },
        text(&container["pid"]).into(),
        text(&pod["ips"][0]).into(),
        if is_host { "host".into() } else { text(&pod["netns"]).into() },
        text(&pod["source"]).into(),
        if is_host { "cgroup".into() } else { text(&pod["by"]).into() },
    ]
}

fn nameless(namespace: &Value) -> Vec<Text> {
    let mut cells: Vec<Text> = HEAD.iter().map(|_| "".into()).collect();
    if namespace["waits"] == true {
        cells[3] = Text::styled("waits", SOME);
    }
    cells[6] = format!("{} ({})", text(&namespace["netns"]), text(&namespace["inode"])).into();
    cells
}

/// A text or number; nothing for what is not there.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_pods_and_namespaces_have_a_row_each() {
        let web = json!([
            { "container": "web", "pid": 7, "running": true },
            { "container": "init", "pid": null, "running": false },
        ]);
        let told = json!({
            "pods": [
                { "namespace": "shop", "pod": "web-0", "source": "cri", "ready": true, "network": { "file": "/x" },
                  "netns": 11, "by": "netns file", "ips": ["10.0.0.2"], "containers": web },
                { "namespace": "kube-system", "pod": "agent", "source": "cri", "ready": true, "network": "host",
                  "netns": null, "by": null, "ips": [], "containers": [] },
            ],
            "namespaces": [{ "netns": "host", "inode": 10, "waits": false }],
        });
        let lines = print::lines(&HEAD, rows(&told));
        let words = |line: &String| {
            let plain = anstream::adapter::strip_str(line).to_string();
            plain.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        let want = [
            "NAMESPACE POD CONTAINER STATE PID IP NETNS SOURCE BY",
            "shop web-0 web runs 7 10.0.0.2 11 cri netns file",
            "shop web-0 init ended 10.0.0.2 11 cri netns file",
            "kube-system agent runs host cri cgroup",
            "host (10)",
        ];
        assert_eq!(lines.iter().map(words).collect::<Vec<_>>(), want);
    }
}
