//! Families become what the specification says.

use super::*;
use netsonde_core::metric::parse::parse;

const NODE: &str = "node-1";

/// A page with every kind, as the exposition writes it.
const PAGE: &str = "\
# TYPE a_bytes counter
# UNIT a_bytes bytes
# HELP a_bytes Sent.
a_bytes_total{namespace=\"\",pod=\"x \\\"y\\\"\"} 18446744073709551615
a_bytes_total{pod=\"b\"} 7 # {event=\"16f\"} 1 1700000000.25
a_bytes_created{pod=\"b\"} 1600000000.500
# TYPE b gauge
# HELP b In use.
b -3
b{c=\"d\"} NaN
# TYPE c_seconds histogram
# UNIT c_seconds seconds
# HELP c_seconds Delay.
c_seconds_bucket{le=\"0.5\"} 1
c_seconds_bucket{le=\"1.0\"} 1
c_seconds_bucket{le=\"+Inf\"} 4 # {event=\"17\"} 9
c_seconds_sum 20.5
c_seconds_count 4
c_seconds_created 1600000000.000
# TYPE d_seconds gaugehistogram
# UNIT d_seconds seconds
# HELP d_seconds Age.
d_seconds_bucket{pod=\"b\",le=\"1.0\"} 2
d_seconds_bucket{pod=\"b\",le=\"+Inf\"} 3
d_seconds_gcount{pod=\"b\"} 3
d_seconds_gsum{pod=\"b\"} 4.5
# TYPE e info
# HELP e Version.
e_info{version=\"1\"} 1
# TYPE f unknown
# HELP f Theirs.
f 2.5
# EOF
";

fn all(page: &str) -> Vec<Request> {
    let mut all = Vec::new();
    let at = Duration::from_millis(1_700_000_000_500);
    requests(&parse(page).unwrap(), NODE, at, |request| {
        all.push(request);
        Ok::<(), ()>(())
    })
    .unwrap();
    all
}

fn metrics(request: &Request) -> &[Metric] {
    &request.message.resource_metrics[0].scope_metrics[0].metrics
}

fn told(attributes: &[KeyValue]) -> String {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => format!("{}={text}", attribute.key),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(value).collect::<Vec<_>>().join(" ")
}

fn number(point: &NumberDataPoint) -> String {
    let value = match point.value {
        Some(number_data_point::Value::AsInt(value)) => value.to_string(),
        Some(number_data_point::Value::AsDouble(value)) => format!("{value:?}"),
        None => panic!("no value"),
    };
    assert_eq!(point.time_unix_nano, 1_700_000_000_500_000_000);
    format!("[{}] {value}", told(&point.attributes))
}

#[test]
fn every_kind_is_what_the_specification_says() {
    let requests = all(PAGE);
    let [request] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!(request.points, 11);
    let resource = request.message.resource_metrics[0].resource.as_ref().unwrap();
    assert!(told(&resource.attributes).contains("service.name=netsonde"), "{resource:?}");
    assert!(told(&resource.attributes).contains("host.name=node-1"), "{resource:?}");
    let mut lines = Vec::new();
    for metric in metrics(request) {
        let (data, points) = match metric.data.as_ref().unwrap() {
            metric::Data::Sum(sum) => {
                assert_eq!(sum.aggregation_temporality, 2, "cumulative");
                (if sum.is_monotonic { "sum" } else { "up-down" }, sum.data_points.iter().map(number).collect())
            }
            metric::Data::Gauge(gauge) => ("gauge", gauge.data_points.iter().map(number).collect()),
            metric::Data::Histogram(_) => ("histogram", Vec::new()),
            other => panic!("{other:?}"),
        };
        let Metric { name, unit, description, .. } = metric;
        let kind = told(&metric.metadata);
        lines.push(format!("{name} {data} ({unit}) {description} {kind}: {}", points.join(", ")));
    }
    let want = [
        "a_bytes_total sum (By) Sent. prometheus.type=counter: [pod=x \"y\"] 1.8446744073709552e19, [pod=b] 7",
        "b gauge () In use. prometheus.type=gauge: [] -3, [c=d] NaN",
        "c_seconds histogram (s) Delay. prometheus.type=histogram: ",
        "d_seconds_bucket gauge () Age. prometheus.type=gaugehistogram: [pod=b le=1.0] 2, [pod=b le=+Inf] 3",
        "d_seconds_gcount gauge () Age. prometheus.type=gaugehistogram: [pod=b] 3",
        "d_seconds_gsum gauge (s) Age. prometheus.type=gaugehistogram: [pod=b] 4.5",
        "e_info up-down () Version. prometheus.type=info: [version=1] 1",
        "f gauge () Theirs. prometheus.type=unknown: [] 2.5",
    ];
    assert_eq!(lines, want);
}

#[test]
fn histograms_have_buckets_each_for_itself_and_exemplars_their_events() {
    let requests = all(PAGE);
    let Some(metric::Data::Sum(sum)) = &metrics(&requests[0])[0].data else { panic!("no sum") };
    assert_eq!(sum.data_points[0].start_time_unix_nano, 0, "unknown");
    assert_eq!(sum.data_points[1].start_time_unix_nano, 1_600_000_000_500_000_000);
    let exemplar = &sum.data_points[1].exemplars[0];
    assert_eq!(told(&exemplar.filtered_attributes), "event=16f");
    assert_eq!(exemplar.time_unix_nano, 1_700_000_000_250_000_000);
    assert_eq!(exemplar.value, Some(exemplar::Value::AsDouble(1.0)));

    let Some(metric::Data::Histogram(histogram)) = &metrics(&requests[0])[2].data else { panic!("no histogram") };
    assert_eq!(histogram.aggregation_temporality, 2, "cumulative");
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum, point.start_time_unix_nano), (4, Some(20.5), 1_600_000_000_000_000_000));
    assert_eq!((point.bucket_counts.as_slice(), point.explicit_bounds.as_slice()), (&[1, 0, 3][..], &[0.5, 1.0][..]));
    assert_eq!(told(&point.exemplars[0].filtered_attributes), "event=17");
}

#[test]
fn a_large_page_is_several_requests_and_no_point_is_lost() {
    let lines: String = (0..40_000).map(|index| format!("a{{netns=\"{index}\",pod=\"\"}} {index}\n")).collect();
    let requests = all(&format!("# TYPE a gauge\n# HELP a Help.\n{lines}# TYPE b gauge\nb 1\n# EOF\n"));
    assert!(requests.len() > 1);
    let mut next = 0;
    for request in &requests {
        assert!(request.message.encoded_len() < 2 * LARGEST, "{}", request.message.encoded_len());
        let mut points = 0;
        for metric in metrics(request) {
            let Some(metric::Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
            points += gauge.data_points.len() as u64;
            for point in gauge.data_points.iter().filter(|_| metric.name == "a") {
                assert_eq!(number(point), format!("[netns={next}] {next}"));
                next += 1;
            }
        }
        assert_eq!(points, request.points);
    }
    assert_eq!(next, 40_000);
}

#[test]
fn nothing_follows_what_was_not_sent() {
    let families = parse(PAGE).unwrap();
    let mut calls = 0;
    let result = requests(&families, NODE, Duration::ZERO, |_| {
        calls += 1;
        Err("no")
    });
    assert_eq!((result, calls), (Err("no"), 1));
    let empty = requests(&[], NODE, Duration::ZERO, |_| Err("a request without a point"));
    assert_eq!(empty, Ok(()));
}
