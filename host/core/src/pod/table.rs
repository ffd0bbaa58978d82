//! `node.pods`: the pods of this node as a table.

use crate::{
    batch::{Batch, ColumnBuilder},
    pod::{Network, Pod},
    scope::{ScopeId, Scopes},
    table::{Logical, Per, Table, TableColumn, Type},
};
use serde_json::{Map, Value};

pub const TABLE: &str = "node.pods";

const COLUMNS: [(&str, Type, Logical, &str); 10] = [
    ("netns", Type::Scope, Logical::Scope, "the network namespace that it has for its own"),
    ("namespace", Type::Text, Logical::Name, "Kubernetes namespace; empty without Kubernetes"),
    ("pod", Type::Text, Logical::Name, "name of the pod; empty without Kubernetes"),
    ("uid", Type::Text, Logical::Name, "uid of the pod"),
    ("id", Type::Text, Logical::Name, "the runtime's name of its sandbox"),
    ("ip", Type::Address, Logical::Address, "its first address; NULL in the node's own network namespace"),
    ("host_network", Type::Bool, Logical::Bool, "whether it is in the node's own network namespace"),
    ("ready", Type::Bool, Logical::Bool, "whether its sandbox runs"),
    ("labels", Type::Text, Logical::Name, "its labels, as a JSON object"),
    ("source", Type::Text, Logical::Name, "who told of it: cri or docker"),
];

/// The table, for people and planners.
pub fn table() -> Table {
    let column =
        |(name, ty, logical, help): (&str, Type, Logical, &str)| TableColumn::new(name, ty, logical).help(help);
    let nullable = |column: TableColumn| match column.name.as_str() {
        "netns" | "ip" => column.nullable(),
        _ => column,
    };
    Table {
        name: TABLE.to_owned(),
        help: "the pods of this node, as its container runtime tells of them".to_owned(),
        source: "the container runtime's socket".to_owned(),
        per: Per::Node,
        columns: COLUMNS.into_iter().map(column).map(nullable).collect(),
        open_prefixes: Vec::new(),
        elsewhere: Vec::new(),
    }
}

/// A row for each pod of the last listing.
pub fn rows(scopes: &Scopes, columns: &[TableColumn]) -> Batch {
    let pods = scopes.pods().all();
    let bound = scopes.bound();
    let column = |wanted: &TableColumn| {
        let mut column = wanted.ty.builder();
        for pod in pods {
            push(&mut column, &wanted.name, pod, bound.get(pod.id.as_str()).copied());
        }
        column.finish()
    };
    Batch { rows: pods.len(), columns: columns.iter().map(column).collect() }
}

fn push(column: &mut ColumnBuilder, name: &str, pod: &Pod, netns: Option<ScopeId>) {
    match name {
        "netns" => match netns {
            Some(scope) => column.push_u64(scope.into()),
            None => column.push_null(),
        },
        "namespace" => column.push_text(pod.namespace.as_bytes()),
        "pod" => column.push_text(pod.name.as_bytes()),
        "uid" => column.push_text(pod.uid.as_bytes()),
        "id" => column.push_text(pod.id.as_bytes()),
        "ip" => match pod.ips.first() {
            Some(std::net::IpAddr::V4(ip)) => column.push_address(&ip.to_ipv6_mapped().octets()),
            Some(std::net::IpAddr::V6(ip)) => column.push_address(&ip.octets()),
            None => column.push_null(),
        },
        "host_network" => column.push_u64(u64::from(pod.network == Network::Host)),
        "ready" => column.push_u64(u64::from(pod.ready)),
        "labels" => {
            let labels: Map<String, Value> =
                pod.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
            column.push_text(Value::Object(labels).to_string().as_bytes());
        }
        "source" => column.push_text(pod.source.as_str().as_bytes()),
        _ => column.push_null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::Values,
        pod::{Source, index::Pods},
        query::{Asker, plan},
        table::Catalogue,
    };
    use std::{sync::Arc, time::Duration};

    fn pod(name: &str, network: Network, ips: &[&str]) -> Arc<Pod> {
        Arc::new(Pod {
            id: name.into(),
            source: Source::Cri,
            namespace: "shop".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
            labels: vec![("app".into(), "a \"b\"".into())],
            annotations: vec![],
            network,
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            created_unix: Duration::ZERO,
            ready: true,
            containers: vec![],
            cgroup: None,
            image: None,
        })
    }

    #[test]
    fn each_pod_is_a_row_of_what_is_asked() {
        let mut scopes = Scopes::default();
        let own = Network::Own { path: None, pid: None };
        let pods = vec![pod("web", own, &["10.0.0.2", "fd00::2"]), pod("agent", Network::Host, &[])];
        scopes.learn(Arc::new(Pods::new(pods)), Duration::ZERO);
        let catalogue = Catalogue { tables: vec![table()], ..Catalogue::default() };
        let query = plan(
            "SELECT pod, ip, host_network, labels, netns FROM node.pods WHERE namespace = 'shop' ORDER BY pod",
            &catalogue,
            Asker::Person,
        );
        let query = query.unwrap();
        let batch = rows(&scopes, &query.columns);
        let columns: Vec<_> = batch.columns.iter().collect();
        let answer = query.run(batch.rows, &columns, &scopes).batch;
        assert_eq!(answer.rows, 2);
        let Values::Code { codes, names } = &answer.columns[0].values else { panic!("names are codes") };
        assert_eq!(codes.iter().map(|&code| &*names[code as usize]).collect::<Vec<_>>(), ["agent", "web"]);
        let has = |column: usize| [0, 1].map(|row| answer.columns[column].has(row));
        assert_eq!((has(1), has(4)), ([false, true], [false, false]), "no address of its own; no namespace was seen");
        let Values::Code { names, .. } = &answer.columns[3].values else { panic!("labels are texts") };
        assert_eq!(names[0], r#"{"app":"a \"b\""}"#);
    }
}
