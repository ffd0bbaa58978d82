//! What the exposition writes is read back.

use super::*;
use crate::event::EventId;
use crate::metric::{
    exemplar,
    exposition::{Page, push_label},
    format::Format,
    histogram,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::sync::Arc;

const GOLDEN: &str = include_str!("../golden/openmetrics.txt");

#[test]
fn the_golden_page_is_read() {
    let families = parse(GOLDEN).unwrap();
    let told: Vec<_> = families.iter().map(|family| (family.sample_name(), family.unit, family.series.len())).collect();
    assert_eq!(
        told,
        [
            ("netsonde_x_sent_bytes_total".to_owned(), "bytes", 2),
            ("netsonde_x_in_use".to_owned(), "", 1),
            ("netsonde_x_delay_seconds".to_owned(), "seconds", 2),
            ("netsonde_x_age_seconds".to_owned(), "seconds", 2),
            ("netsonde_x_build_info".to_owned(), "", 1),
            ("netsonde_x_mystery".to_owned(), "", 1),
        ]
    );
    let sent = &families[0];
    assert_eq!(sent.help, "Bytes \"sent\" \\ with\nbreaks.");
    assert_eq!(sent.series[0].data, Data::Value(Value::U64(u64::MAX)));
    assert_eq!(sent.series[0].created, Some(Duration::from_millis(1_700_000_000_250)));
    let labels: Vec<_> = sent.series[1].labels.iter().collect();
    assert_eq!(labels, [("pod", "b\\c\"d\ne\u{fffd}f".into()), ("device", "größe".into())]);
    assert!(matches!(families[1].series[0].data, Data::Value(Value::F64(value)) if value.is_nan()));
    let histogram =
        Histogram { bounds: vec![0.0009765625, 1.0, 1048576.0], counts: vec![0, 1, 1, 0], count: 2, sum: 2.5 };
    for family in &families[2..4] {
        assert!(family.series.iter().all(|series| series.data == Data::Histogram(histogram.clone())), "{family:?}");
    }
    assert_eq!(families[5].series[0].data, Data::Value(Value::S64(-3)));
}

/// As a page with exemplars has them: behind a counter's value, and behind buckets.
#[test]
fn exemplars_are_read() {
    let page = "# TYPE a counter\n# HELP a Help.\n\
                a_total{pod=\"x # y\"} 7 # {event=\"16 # f\"} 1 1700000000.25\n\
                a_created{pod=\"x # y\"} 1600000000.5\n\
                # TYPE b histogram\n\
                b_bucket{le=\"1.0\"} 1 # {} 0.5\n\
                b_bucket{le=\"+Inf\"} 2 # {event=\"2\"} 3.5 1.7e9\n\
                b_sum 4\nb_count 2\n# EOF\n";
    let families = parse(page).unwrap();
    let counter = &families[0].series[0];
    assert_eq!(counter.labels.get("pod").as_deref(), Some("x # y"));
    assert_eq!(counter.created, Some(Duration::from_millis(1_600_000_000_500)));
    assert_eq!(counter.exemplars[0].labels.get("event").as_deref(), Some("16 # f"));
    assert_eq!(counter.exemplars[0].time, Some(Duration::from_millis(1_700_000_000_250)));
    let exemplars = &families[1].series[0].exemplars;
    assert_eq!(exemplars.len(), 2);
    assert_eq!((exemplars[0].value, exemplars[0].time), (0.5, None));
    assert_eq!((exemplars[1].value, exemplars[1].time), (3.5, Some(Duration::from_secs(1_700_000_000))));
}

#[test]
fn what_is_not_a_page_is_refused_with_its_line() {
    for (page, line) in [
        ("", 0),
        ("# TYPE a gauge\na 1\n", 0),
        ("a 1\n# EOF\n", 1),
        ("# TYPE a summary\n# EOF\n", 1),
        ("# TYPE a gauge\nb 1\n# EOF\n", 2),
        ("# TYPE a gauge\na\n# EOF\n", 2),
        ("# TYPE a gauge\na x\n# EOF\n", 2),
        ("# TYPE a gauge\na 1 1700000000\n# EOF\n", 2),
        ("# TYPE a gauge\na{b=\"c} 1\n# EOF\n", 2),
        ("# TYPE a gauge\na{b=\"c\\\n# EOF\n", 2),
        ("# TYPE a gauge\na{b=\"c\"d=\"e\"} 1\n# EOF\n", 2),
        ("# TYPE a gauge\n# HELP b c\n# EOF\n", 2),
        ("# TYPE a counter\na 1\n# EOF\n", 2),
        ("# TYPE a counter\na_created 1\n# EOF\n", 2),
        ("# TYPE a histogram\na_bucket 1\n# EOF\n", 2),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"2\"} 1\n# EOF\n", 3),
        ("# TYPE a histogram\na_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1\n# EOF\n", 3),
        ("# TYPE a histogram\na_sum 1\n# EOF\n", 2),
        ("# EOF\nmore", 1),
    ] {
        assert_eq!(parse(page).map(drop).map_err(|error| error.line), Err(line), "{page:?}");
    }
}

const KINDS: [MetricKind; 6] = [
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
    MetricKind::Info,
    MetricKind::Unknown,
];

/// What one family is made of: kind, whether it is another system's, unit, help, series.
type Given = (MetricKind, bool, bool, String, Vec<(Vec<String>, Value, Vec<u64>, Option<u32>)>);

fn given() -> impl Strategy<Value = Given> {
    let text = "[a-z\\\\\"\n #{},=ö]{0,6}";
    let value = prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e300..1e300f64).prop_map(Value::F64),
    ];
    let series = (vec(text, 0..4), value, vec(0u64..9, 4), option::of(any::<u32>()));
    (select(&KINDS), any::<bool>(), any::<bool>(), text, vec(series, 1..6))
}

/// The name that the page gets for the family of this index: a foreign one may end as another kind does.
fn name(index: usize, foreign: bool) -> String {
    format!("f{index}_{}", ["total", "bytes", "x_info"][if foreign { index % 3 } else { 1 }])
}

/// Of an event at this time, to the millisecond.
fn exemplar(time: Duration) -> exemplar::Exemplar {
    let unix_nanos = time.as_nanos() as u64;
    exemplar::Exemplar { event: EventId { run: 7, seq: unix_nanos / 1_000_000 }, unix_nanos }
}

proptest! {
    #[test]
    fn what_the_exposition_writes_is_what_is_read(all in vec(given(), 0..5)) {
        let bounds = Arc::new(histogram::Bounds::new(&[0.5, 1.0, 1e9]));
        let mut out = Vec::new();
        let mut page = Page::new(Format::OpenMetrics1_0_0(None), &mut out);
        for (index, (kind, foreign, unit, help, series)) in all.iter().enumerate() {
            let (name, unit) = (name(index, *foreign), if *unit { "bytes" } else { "" });
            let mut family = match foreign {
                true => page.foreign(&name, *kind, help),
                false => page.family(&name, *kind, unit, help),
            };
            for (labels, value, counts, created) in series {
                let mut text = String::new();
                labels.iter().zip('a'..).for_each(|(value, name)| push_label(&mut text, &name.to_string(), value));
                // Only these have a beginning.
                let begins = matches!(kind, MetricKind::Counter | MetricKind::Histogram);
                let created = created.filter(|_| begins).map(|millis| Duration::from_millis(millis.into()));
                if matches!(kind, MetricKind::Histogram | MetricKind::GaugeHistogram) {
                    let counts = counts.clone().into();
                    let histogram = histogram::Histogram { bounds: bounds.clone(), counts, sum: value.as_f64() };
                    family.histogram_of(&text, &histogram, created);
                } else {
                    // Whatever has a beginning has an event here.
                    let exemplar = created.map(self::exemplar);
                    family.sample_of(&text, *value, created, exemplar);
                }
            }
        }
        page.finish();
        let page = String::from_utf8(out).unwrap();
        let families = parse(&page).unwrap();
        prop_assert_eq!(families.len(), all.len());
        for (index, (family, (kind, foreign, unit, help, series))) in families.iter().zip(&all).enumerate() {
            // Samples have the name that they have for Prometheus.
            let is_histogram = matches!(kind, MetricKind::Histogram | MetricKind::GaugeHistogram);
            if *foreign && !is_histogram {
                prop_assert_eq!(family.sample_name(), name(index, true));
            }
            prop_assert_eq!(family.unit, if *unit && !foreign { "bytes" } else { "" });
            prop_assert_eq!(&family.help, help);
            prop_assert_eq!(family.series.len(), series.len());
            for (read, (labels, value, counts, created)) in family.series.iter().zip(series) {
                let values: Vec<_> = read.labels.iter().map(|(_, value)| value.into_owned()).collect();
                prop_assert_eq!(&values, labels);
                if is_histogram {
                    let (count, sum) = (counts.iter().sum(), value.as_f64());
                    let histogram = Histogram { bounds: vec![0.5, 1.0, 1e9], counts: counts.clone(), count, sum };
                    prop_assert_eq!(&read.data, &Data::Histogram(histogram));
                } else {
                    prop_assert_eq!(&read.data, &Data::Value(*value));
                }
                // A counter of another name is `unknown`, which has none.
                let begins = matches!(family.kind, MetricKind::Counter | MetricKind::Histogram);
                let created = created.filter(|_| begins).map(|millis| Duration::from_millis(millis.into()));
                prop_assert_eq!(read.created, created);
                let events = |time: Duration| {
                    let id = self::exemplar(time).event.to_string();
                    vec![(Some(id), 1.0, Some(time))]
                };
                let events = created.filter(|_| !is_histogram).map_or_else(Vec::new, events);
                let told = |exemplar: &super::Exemplar<'_>| {
                    (exemplar.labels.get("event_id").map(Cow::into_owned), exemplar.value, exemplar.time)
                };
                prop_assert_eq!(read.exemplars.iter().map(told).collect::<Vec<_>>(), events);
            }
        }
    }

    /// Of whatever text: an answer, never a panic.
    #[test]
    fn any_text_is_read_or_refused(lines in vec("(# (TYPE|HELP|UNIT) a (counter|histogram|x)|a(_total|_bucket|_created|)[{}a=\",le\\\\]{0,12}( [0-9.e+#]{0,4}){0,3}|[ -~ö]{0,12})", 0..8)) {
        let _ = parse(&(lines.join("\n") + "\n# EOF\n"));
    }
}
