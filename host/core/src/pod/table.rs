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
