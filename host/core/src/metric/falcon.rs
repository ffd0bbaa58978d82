//! Six numbers of sockets for open-falcon: of each pod, container or namespace, from the families of the page.
//!
//! An item is one of `MetricValue` in open-falcon's common/model/metric.go. Its agent says yes to any list of them; its transfer
//! (modules/transfer/receiver/rpc/rpc_transfer.go) throws away in silence what has no metric or endpoint, an unknown `counterType`, a `step`
//! that is not positive, or more than 510 bytes of metric and tags together. Tags have no spaces there, and nothing is escaped
//! (common/utils/tags.go).

use super::parse::{Data, Family, Labels};
use std::{collections::BTreeMap, io::Write, time::Duration};

/// Of metric and tags together, in bytes.
const MAX_NAME: usize = 510;
/// Items of one request. Its agent hands them on in one call, as it does with its own.
const MAX_ITEMS: usize = 1000;

/// What all items have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whose they are for open-falcon: the node.
    pub endpoint: String,
    /// What stands before the six names.
    pub prefix: String,
    /// How often they come.
    pub step: Duration,
}

/// The body of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub items: usize,
    /// A JSON list.
    pub body: Vec<u8>,
}

/// The six, in this order.
const NAMES: [&str; 6] = ["Establish", "InUse", "TimeWait", "Orphan", "Total", "UDP"];
const ESTABLISH: usize = 0;
const IN_USE: usize = 1;
const TIME_WAIT: usize = 2;
const ORPHAN: usize = 3;
const TOTAL: usize = 4;
const UDP: usize = 5;

/// Families of the probe `sockstat` whose series are one of the six, IPv4 and IPv6 together.
const SOCKSTAT: [(&str, usize); 5] = [
    ("netsonde_sockstat_tcp_established", ESTABLISH),
    ("netsonde_sockstat_tcp_inuse", IN_USE),
    ("netsonde_sockstat_tcp_time_wait", TIME_WAIT),
    ("netsonde_sockstat_sockets_used", TOTAL),
    ("netsonde_sockstat_udp_inuse", UDP),
];
/// The kernel counts orphans for the whole node only.
const NODE_ORPHANS: &str = "netsonde_sockstat_tcp_orphan";
/// Of the probe `tcp_state`: what no process holds, and what of that a listener will hand out yet. The rest are orphans.
const UNOWNED: &str = "netsonde_tcp_state_unowned";
const WAITING: &str = "netsonde_tcp_state_accept_queue";
/// Labels that tell series of one scope apart.
const WITHIN_SCOPE: [&str; 2] = ["family", "port"];

#[derive(Default)]
struct Sockets {
    six: [Option<f64>; 6],
    unowned: Option<f64>,
    waiting: f64,
}

/// The requests for what `families` have, of the moment `at`, since the Unix epoch. What they do not have is left out. Tells as well how many
/// items were left out as open-falcon would not take them, for the length of their tags.
pub fn batches(families: &[Family<'_>], shape: &Shape, at: Duration) -> (Vec<Batch>, u64) {
    let mut batches = Batches { shape, at: at.as_secs(), done: Vec::new(), too_long: 0 };
    if let Some(orphans) = find(families, NODE_ORPHANS).and_then(|family| family.series.first()) {
        value(&orphans.data).into_iter().for_each(|value| batches.add(ORPHAN, "", value));
    }
    for (tags, sockets) in &by_scope(families, shape) {
        for (index, value) in sockets.six.iter().enumerate() {
            value.iter().for_each(|value| batches.add(index, tags, *value));
        }
    }
    batches.finish()
}

fn find<'f, 'p>(families: &'f [Family<'p>], name: &str) -> Option<&'f Family<'p>> {
    families.iter().find(|family| family.name == name)
}

fn value(data: &Data) -> Option<f64> {
    match data {
        Data::Value(value) => Some(value.as_f64()).filter(|value| value.is_finite()),
        Data::Histogram(_) => None,
    }
}

/// By tags. What is nobody's is not there.
fn by_scope(families: &[Family<'_>], shape: &Shape) -> BTreeMap<String, Sockets> {
    let longest = NAMES.iter().map(|name| name.len()).max().unwrap_or_default();
    let room = MAX_NAME.saturating_sub(shape.prefix.len() + longest);
    let mut scopes: BTreeMap<String, Sockets> = BTreeMap::new();
    let mut each = |name: &str, take: &dyn Fn(&mut Sockets, f64)| {
        for series in find(families, name).iter().flat_map(|family| &family.series) {
            let tags = tags(series.labels, room);
            if let Some(value) = value(&series.data).filter(|_| !tags.is_empty()) {
                take(scopes.entry(tags).or_default(), value);
            }
        }
    };
    for (name, index) in SOCKSTAT {
        each(name, &|sockets, value| *sockets.six[index].get_or_insert(0.0) += value);
    }
    each(UNOWNED, &|sockets, value| sockets.unowned = Some(value));
    each(WAITING, &|sockets, value| sockets.waiting += value);
    // Without a single listener on the page nobody knows what waits.
    let listeners = find(families, WAITING).is_some();
    for sockets in scopes.values_mut() {
        // The two were not read at the same moment.
        let orphans = |unowned: &f64| (unowned - sockets.waiting).max(0.0);
        sockets.six[ORPHAN] = sockets.unowned.filter(|unowned| listeners || *unowned == 0.0).as_ref().map(orphans);
    }
    scopes
}

/// `namespace=a,pod=b`: labels that are not empty, in the page's order. Those that tell more than whose it is are left out where there is no
/// room for them.
fn tags(labels: Labels<'_>, room: usize) -> String {
    let mut tags = String::new();
    for (name, value) in labels.iter().filter(|(name, value)| !value.is_empty() && !WITHIN_SCOPE.contains(name)) {
        let comma = if tags.is_empty() { "" } else { "," };
        let is_whose = ["netns", "namespace", "pod", "container"].contains(&name);
        if is_whose || tags.len() + comma.len() + name.len() + 1 + value.len() <= room {
            tags.extend([comma, name, "="]);
            tags.extend(value.chars().map(clean));
        }
    }
    tags
}

/// What separates tags, and what transfer would take out, becomes `_`.
fn clean(character: char) -> char {
    if matches!(character, ',' | '=') || character.is_whitespace() || character.is_control() { '_' } else { character }
}

struct Batches<'s> {
    shape: &'s Shape,
    at: u64,
    done: Vec<Batch>,
    too_long: u64,
}

impl Batches<'_> {
    fn add(&mut self, index: usize, tags: &str, value: f64) {
        let (name, prefix) = (NAMES[index], &self.shape.prefix);
        if prefix.len() + name.len() + tags.len() > MAX_NAME {
            self.too_long += 1;
            return;
        }
        if self.done.last().is_none_or(|batch| batch.items == MAX_ITEMS) {
            self.done.push(Batch { items: 0, body: Vec::new() });
        }
        let Some(batch) = self.done.last_mut() else { return };
        batch.body.push(if batch.items == 0 { b'[' } else { b',' });
        batch.items += 1;
        let [endpoint, metric, tags] =
            [&self.shape.endpoint, &format!("{prefix}{name}"), tags].map(serde_json::Value::from);
        let (at, step) = (self.at, self.shape.step.as_secs().max(1));
        // Writing to a vector cannot fail.
        let _ = write!(
            batch.body,
            "{{\"endpoint\":{endpoint},\"metric\":{metric},\"timestamp\":{at},\"step\":{step},\"value\":{value},\
             \"counterType\":\"GAUGE\",\"tags\":{tags}}}"
        );
    }

    fn finish(mut self) -> (Vec<Batch>, u64) {
        self.done.iter_mut().for_each(|batch| batch.body.push(b']'));
        (self.done, self.too_long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::parse::parse;

    fn shape() -> Shape {
        Shape { endpoint: "node \"1\"".into(), prefix: String::new(), step: Duration::from_secs(60) }
    }

    /// Items as `metric{tags} value`, and how many were too long.
    fn items(page: &str, shape: &Shape) -> (Vec<String>, u64) {
        let page = format!("{page}# EOF\n");
        let (batches, too_long) = batches(&parse(&page).unwrap(), shape, Duration::from_millis(1_700_000_040_900));
        let mut told = Vec::new();
        for batch in &batches {
            let list: serde_json::Value = serde_json::from_slice(&batch.body).unwrap();
            assert_eq!(list.as_array().unwrap().len(), batch.items);
            for item in list.as_array().unwrap() {
                assert_eq!(item["endpoint"], shape.endpoint);
                assert_eq!((item["timestamp"].as_i64(), item["step"].as_i64()), (Some(1_700_000_040), Some(60)));
                assert_eq!(item["counterType"], "GAUGE");
                let [metric, tags] = ["metric", "tags"].map(|key| item[key].as_str().unwrap());
                told.push(format!("{metric}{{{tags}}} {}", item["value"]));
            }
        }
        (told, too_long)
    }

    fn gauge(name: &str, series: &[(&str, &str)]) -> String {
        let lines: String = series.iter().map(|(labels, value)| format!("{name}{{{labels}}} {value}\n")).collect();
        format!("# TYPE {name} gauge\n{lines}")
    }

    const POD: &str = r#"namespace="a",pod="b",container="""#;

    #[test]
    fn a_pod_has_the_six() {
        let (v4, v6) = (format!(r#"{POD},family="ipv4""#), format!(r#"{POD},family="ipv6""#));
        let (web, ssh) = (format!(r#"{POD},port="80",family="ipv4""#), format!(r#"{POD},port="22",family="ipv4""#));
        let page = [
            gauge("netsonde_sockstat_tcp_inuse", &[(&v4, "5"), (&v6, "2")]),
            gauge("netsonde_sockstat_udp_inuse", &[(&v4, "3"), (&v6, "4")]),
            gauge("netsonde_sockstat_sockets_used", &[(POD, "20")]),
            gauge("netsonde_sockstat_tcp_time_wait", &[(POD, "6")]),
            gauge("netsonde_sockstat_tcp_established", &[(POD, "1")]),
            gauge("netsonde_tcp_state_unowned", &[(POD, "7")]),
            gauge("netsonde_tcp_state_accept_queue", &[(&web, "3"), (&ssh, "1")]),
        ];
        let want = [
            "Establish{namespace=a,pod=b} 1",
            "InUse{namespace=a,pod=b} 7",
            "TimeWait{namespace=a,pod=b} 6",
            "Orphan{namespace=a,pod=b} 3",
            "Total{namespace=a,pod=b} 20",
            "UDP{namespace=a,pod=b} 7",
        ];
        assert_eq!(items(&page.concat(), &shape()), (want.map(str::to_owned).to_vec(), 0));
    }

    /// The kernel's count of orphans is of the whole node: it is never a pod's.
    #[test]
    fn what_is_not_known_of_a_pod_is_left_out() {
        let page = format!(
            "# TYPE netsonde_sockstat_tcp_orphan gauge\nnetsonde_sockstat_tcp_orphan 9\n{}",
            gauge("netsonde_sockstat_sockets_used", &[(POD, "20"), (r#"namespace="",pod="",container="""#, "1")])
        );
        let node = ["Orphan{} 9".to_owned(), "Total{namespace=a,pod=b} 20".to_owned()];
        assert_eq!(items(&page, &shape()).0, node);

        // Without listeners on the page nobody knows how many of these are yet to be accepted.
        let unowned = |value| gauge("netsonde_tcp_state_unowned", &[(POD, value)]);
        assert_eq!(items(&unowned("2"), &shape()).0, [""; 0]);
        assert_eq!(items(&unowned("0"), &shape()).0, ["Orphan{namespace=a,pod=b} 0"]);
        let gone = gauge("netsonde_sockstat_sockets_used", &[(POD, "NaN")]);
        assert_eq!(items(&gone, &shape()).0, [""; 0]);
    }

    #[test]
    fn tags_are_such_that_open_falcon_reads_them() {
        let name = "netsonde_sockstat_sockets_used";
        let long = "x".repeat(490);
        let cases = [
            (r#"netns="a b,c=d\n",namespace="",pod="""#.to_owned(), Some("netns=a_b_c_d_".to_owned())),
            (format!(r#"{POD},app="/web""#), Some("namespace=a,pod=b,app=/web".to_owned())),
            (format!(r#"{POD},app="{long}",tier="x""#), Some("namespace=a,pod=b,tier=x".to_owned())),
            (format!(r#"netns="{long}{long}""#), None),
        ];
        for (labels, tags) in cases {
            let (told, too_long) = items(&gauge(name, &[(&labels, "1")]), &shape());
            let want: Vec<String> = tags.iter().map(|tags| format!("Total{{{tags}}} 1")).collect();
            assert_eq!((told, too_long), (want, tags.is_none().into()), "{labels}");
        }
    }

    #[test]
    fn requests_have_a_thousand_items_at_most_and_names_a_prefix() {
        let labels: Vec<String> = (0..2500).map(|index| format!("netns=\"{index}\"")).collect();
        let series: Vec<(&str, &str)> = labels.iter().map(|labels| (labels.as_str(), "1")).collect();
        let page = gauge("netsonde_sockstat_sockets_used", &series) + "# EOF\n";
        let shape = Shape { prefix: "net.".into(), ..shape() };
        let (batches, _) = batches(&parse(&page).unwrap(), &shape, Duration::ZERO);
        assert_eq!(batches.iter().map(|batch| batch.items).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert!(batches[2].body.starts_with(b"[{\"endpoint\":\"node \\\"1\\\"\",\"metric\":\"net.Total\""));
    }
}
