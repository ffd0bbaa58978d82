//! The page: families and samples as text.
//!
//! OpenMetrics: <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>, text:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. They differ in metadata, `_created`, and kinds that only one knows.

use super::{
    exemplar::{Exemplar, seconds},
    format::Format,
    histogram::Histogram,
    value::Value,
};
use crate::probe::MetricKind;
use std::time::Duration;

/// Writes one page. Families must not be repeated, nor the label sets within one: the caller sees to that.
pub struct Page<'a> {
    format: Format,
    out: &'a mut Vec<u8>,
    /// Text has no gauge histograms: `_gcount` and `_gsum` follow as gauges of their own, after all buckets.
    gauge_counts: Vec<u8>,
    gauge_sums: Vec<u8>,
}

impl<'a> Page<'a> {
    /// Appends to `out`.
    pub fn new(format: Format, out: &'a mut Vec<u8>) -> Self {
        Self { format, out, gauge_counts: Vec::new(), gauge_sums: Vec::new() }
    }

    /// A family, by its name with the unit but without `_total`, `_info`, ... It appears on the page with its first sample.
    pub fn family<'p>(
        &'p mut self,
        name: &'p str,
        kind: MetricKind,
        unit: &'p str,
        help: &'p str,
    ) -> FamilyPage<'p, 'a> {
        self.flush_gauges();
        let suffix = sample_suffix(kind);
        FamilyPage { page: self, name, suffix, kind, unit, help, begun: false, labels: String::new() }
    }

    /// A family of another system, by the name that its samples have there, which is theirs here too, whatever the kind (rule 13). Those of
    /// histograms have their endings besides.
    ///
    /// A gauge may end in `_total`: OpenMetrics advises against it and forbids only the clash with a counter, as Prometheus' own libraries
    /// understand it, too. A counter that does not end so is `unknown` in OpenMetrics, as it is there.
    pub fn foreign<'p>(&'p mut self, name: &'p str, kind: MetricKind, help: &'p str) -> FamilyPage<'p, 'a> {
        self.flush_gauges();
        let (name, suffix) = split(name, kind);
        FamilyPage { page: self, name, suffix, kind, unit: "", help, begun: false, labels: String::new() }
    }

    /// Ends the page: `# EOF` in OpenMetrics, by which a scraper knows that nothing was cut off.
    pub fn finish(mut self) {
        self.flush_gauges();
        if self.format.is_openmetrics() {
            self.out.extend_from_slice(b"# EOF\n");
        }
    }

    fn flush_gauges(&mut self) {
        self.out.append(&mut self.gauge_counts);
        self.out.append(&mut self.gauge_sums);
    }
}

/// One family of a page, for the time in which its samples are written.
pub struct FamilyPage<'p, 'a> {
    page: &'p mut Page<'a>,
    name: &'p str,
    /// What stands behind the name in its samples, but for those of histograms.
    suffix: &'static str,
    kind: MetricKind,
    unit: &'p str,
    help: &'p str,
    begun: bool,
    labels: String,
}

impl FamilyPage<'_, '_> {
    /// A counter's, gauge's, info's (value 1) or unknown's value.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.sample_with(labels, value, None);
    }

    /// The same of a counter, one of whose events is known.
    pub fn sample_with(&mut self, labels: &[(&str, &str)], value: impl Into<Value>, exemplar: Option<Exemplar>) {
        let text = self.render(labels);
        self.sample_of(&text, value.into(), None, exemplar);
        self.labels = text;
    }

    /// A histogram or gauge histogram.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let text = self.render(labels);
        self.histogram_of(&text, histogram, None);
        self.labels = text;
    }

    fn render(&mut self, labels: &[(&str, &str)]) -> String {
        let mut text = std::mem::take(&mut self.labels);
        text.clear();
        for (name, value) in labels {
            push_label(&mut text, name, value);
        }
        text
    }

    /// The same as `sample` with labels that `push_label` has rendered; `created` since the Unix epoch.
    pub(super) fn sample_of(
        &mut self,
        labels: &str,
        value: Value,
        created: Option<Duration>,
        exemplar: Option<Exemplar>,
    ) {
        self.begin();
        begin_line(self.page.out, self.name, self.suffix, labels);
        value.write(self.page.out);
        if let Some(exemplar) = exemplar
            && self.kind == MetricKind::Counter
            && self.is_openmetrics()
        {
            exemplar.write(self.page.out);
        }
        self.page.out.push(b'\n');
        self.created(labels, created);
    }

    pub(super) fn histogram_of(&mut self, labels: &str, histogram: &Histogram, created: Option<Duration>) {
        self.begin();
        let mut count = 0u64;
        let bounds = histogram.bounds.texts().iter().map(String::as_str).chain(["+Inf"]);
        for (bucket, le) in histogram.counts.iter().zip(bounds) {
            count = count.saturating_add(*bucket);
            self.bucket(labels, le, count);
        }
        if self.kind == MetricKind::GaugeHistogram {
            self.gauges(labels, count, histogram.sum);
        } else {
            line(self.page.out, self.name, "_sum", labels, Value::F64(histogram.sum));
            line(self.page.out, self.name, "_count", labels, Value::U64(count));
            self.created(labels, created);
        }
    }

    fn bucket(&mut self, labels: &str, le: &str, count: u64) {
        let out = &mut *self.page.out;
        let comma = if labels.is_empty() { "" } else { "," };
        for text in [self.name, "_bucket{", labels, comma, "le=\"", le, "\"} "] {
            out.extend_from_slice(text.as_bytes());
        }
        Value::U64(count).write(out);
        out.push(b'\n');
    }

    /// Count and sum of a gauge histogram.
    fn gauges(&mut self, labels: &str, count: u64, sum: f64) {
        let (count, sum) = (Value::U64(count), Value::F64(sum));
        if self.page.format.is_openmetrics() {
            line(self.page.out, self.name, "_gcount", labels, count);
            line(self.page.out, self.name, "_gsum", labels, sum);
            return;
        }
        for (out, suffix, value) in
            [(&mut self.page.gauge_counts, "_gcount", count), (&mut self.page.gauge_sums, "_gsum", sum)]
        {
            if out.is_empty() {
                metadata(out, "HELP", &[self.name, suffix], |out| escape_help(out, self.help, false));
                metadata(out, "TYPE", &[self.name, suffix], |out| out.extend_from_slice(b"gauge"));
            }
            line(out, self.name, suffix, labels, value);
        }
    }

    fn created(&mut self, labels: &str, created: Option<Duration>) {
        if let Some(created) = created
            && self.is_openmetrics()
        {
            begin_line(self.page.out, self.name, "_created", labels);
            seconds(self.page.out, created);
            self.page.out.push(b'\n');
        }
    }

    /// Whether it is one of OpenMetrics, with all that is its own. A counter without its ending is none there.
    fn is_openmetrics(&self) -> bool {
        self.page.format.is_openmetrics() && self.suffix == sample_suffix(self.kind)
    }

    /// Writes the family's metadata before its first sample.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let openmetrics = self.page.format.is_openmetrics();
        // OpenMetrics describes the family, text the name of its samples.
        let name = [self.name, if openmetrics { "" } else { self.suffix }];
        let kind = match self.kind {
            MetricKind::Counter if self.suffix.is_empty() => "unknown",
            MetricKind::Info if self.suffix.is_empty() => "gauge",
            kind => openmetrics_type(kind),
        };
        let out = &mut *self.page.out;
        if openmetrics {
            metadata(out, "TYPE", &name, |out| out.extend_from_slice(kind.as_bytes()));
            if !self.unit.is_empty() {
                metadata(out, "UNIT", &name, |out| out.extend_from_slice(self.unit.as_bytes()));
            }
            metadata(out, "HELP", &name, |out| escape_help(out, self.help, true));
        } else {
            metadata(out, "HELP", &name, |out| escape_help(out, self.help, false));
            metadata(out, "TYPE", &name, |out| out.extend_from_slice(text_type(self.kind).as_bytes()));
        }
    }
}

/// What samples of this kind end in, but for those of histograms.
pub(super) fn sample_suffix(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "_total",
        MetricKind::Info => "_info",
        _ => "",
    }
}

/// The name of another system's samples as that of the family, and their ending; that is empty where they do not end as this kind does.
pub(super) fn split(name: &str, kind: MetricKind) -> (&str, &'static str) {
    let suffix = sample_suffix(kind);
    match name.strip_suffix(suffix) {
        Some(family) if !family.is_empty() => (family, suffix),
        _ => (name, ""),
    }
}

fn openmetrics_type(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::GaugeHistogram => "gaugehistogram",
        MetricKind::Info => "info",
        MetricKind::Unknown => "unknown",
    }
}

/// Text knows fewer kinds; these are the ones that Prometheus' own client libraries choose.
fn text_type(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge | MetricKind::Info => "gauge",
        MetricKind::Histogram | MetricKind::GaugeHistogram => "histogram",
        MetricKind::Unknown => "untyped",
    }
}

fn metadata(out: &mut Vec<u8>, what: &str, name: &[&str; 2], value: impl FnOnce(&mut Vec<u8>)) {
    for text in ["# ", what, " ", name[0], name[1], " "] {
        out.extend_from_slice(text.as_bytes());
    }
    value(out);
    out.push(b'\n');
}

fn line(out: &mut Vec<u8>, name: &str, suffix: &str, labels: &str, value: Value) {
    begin_line(out, name, suffix, labels);
    value.write(out);
    out.push(b'\n');
}

/// All of a line but the value.
fn begin_line(out: &mut Vec<u8>, name: &str, suffix: &str, labels: &str) {
    out.reserve(name.len() + suffix.len() + labels.len() + 32);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    if !labels.is_empty() {
        out.push(b'{');
        out.extend_from_slice(labels.as_bytes());
        out.push(b'}');
    }
    out.push(b' ');
}

/// Appends `name="value"`, after a comma if something stands there already. Escapes are the same in all formats. NUL becomes U+FFFD: some
/// scrapers' lexers take it for the end of the page.
pub(super) fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n', '\0']) {
        labels.push_str(&rest[..at]);
        labels.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            b'\n' => "\\n",
            _ => "\u{fffd}",
        });
        rest = &rest[at + 1..];
    }
    labels.push_str(rest);
    labels.push('"');
}

/// A help text; only OpenMetrics escapes quotes there.
fn escape_help(out: &mut Vec<u8>, help: &str, quotes: bool) {
    for &byte in help.as_bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::EventId, metric::histogram::Bounds};
    use std::sync::Arc;

    /// A page with every kind of family, and every character that needs care.
    fn example(format: Format) -> String {
        let mut out = Vec::new();
        let mut page = Page::new(format, &mut out);
        let mut histogram = Histogram::new(Arc::new(Bounds::new(&[0.0009765625, 1.0, 1048576.0])));
        histogram.observe(0.5);
        histogram.observe(2.0);
        let created = Some(Duration::from_millis(1_700_000_000_250));
        let event = EventId { run: 0x0123_4567_89ab_cdef, seq: u64::MAX };
        let exemplar = Some(Exemplar { event, unix_nanos: 1_700_000_007_004_999_999 });

        let mut family =
            page.family("netsonde_x_sent_bytes", MetricKind::Counter, "bytes", "Bytes \"sent\" \\ with\nbreaks.");
        family.sample_of("pod=\"a\"", Value::U64(u64::MAX), created, exemplar);
        family.sample(&[("pod", "b\\c\"d\ne\0f"), ("device", "größe")], 7u64);
        page.family("netsonde_x_in_use", MetricKind::Gauge, "", "In use.").sample(&[], f64::NAN);
        page.family("netsonde_x_empty", MetricKind::Gauge, "", "A family without samples is left out.");
        let mut family = page.family("netsonde_x_delay_seconds", MetricKind::Histogram, "seconds", "Delay.");
        family.histogram_of("pod=\"a\"", &histogram, created);
        family.histogram(&[], &histogram);
        let mut family =
            page.family("netsonde_x_age_seconds", MetricKind::GaugeHistogram, "seconds", "Age of sockets.");
        family.histogram(&[("pod", "a")], &histogram);
        family.histogram(&[("pod", "b")], &histogram);
        page.family("netsonde_x_build", MetricKind::Info, "", "Which one this is.")
            .sample(&[("version", "0.1.0")], 1u64);
        page.family("netsonde_x_mystery", MetricKind::Unknown, "", "Nobody knows.").sample(&[], -3i64);
        page.finish();
        String::from_utf8(out).unwrap()
    }

    /// `UPDATE_GOLDEN=1` writes the files anew.
    #[track_caller]
    fn compare(name: &str, page: &str) {
        let path = format!("{}/src/metric/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, page).unwrap();
        }
        assert_eq!(page, std::fs::read_to_string(&path).unwrap(), "{path}");
    }

    #[test]
    fn every_kind_in_openmetrics() {
        compare("openmetrics.txt", &example(Format::OpenMetrics1_0_0(None)));
        assert_eq!(example(Format::OpenMetrics0_0_1(None)), example(Format::OpenMetrics1_0_0(None)));
    }

    #[test]
    fn every_kind_in_prometheus_text() {
        compare("prometheus.txt", &example(Format::Text0_0_4));
        assert_eq!(example(Format::Text1_0_0(None)), example(Format::Text0_0_4));
    }

    #[test]
    fn rule_13_other_systems_samples_have_their_names_and_kinds() {
        for (name, kind, text, openmetrics) in [
            ("tcp_usage_total", MetricKind::Gauge, "tcp_usage_total gauge", "tcp_usage_total gauge"),
            ("rx_bytes_total", MetricKind::Counter, "rx_bytes_total counter", "rx_bytes counter"),
            ("rx_count", MetricKind::Counter, "rx_count counter", "rx_count unknown"),
            ("pod_info", MetricKind::Info, "pod_info gauge", "pod info"),
            ("pod", MetricKind::Info, "pod gauge", "pod gauge"),
            ("_total", MetricKind::Counter, "_total counter", "_total unknown"),
        ] {
            for (format, described) in [(Format::Text0_0_4, text), (Format::OpenMetrics1_0_0(None), openmetrics)] {
                let mut out = Vec::new();
                let mut page = Page::new(format, &mut out);
                let created = (kind == MetricKind::Counter).then_some(Duration::ZERO);
                let exemplar = Some(Exemplar { event: EventId::NONE, unix_nanos: 0 });
                page.foreign(name, kind, "Help.").sample_of("pod=\"a\"", Value::U64(7), created, exemplar);
                let page = String::from_utf8(out).unwrap();
                assert!(page.contains(&format!("# TYPE {described}\n")), "{page}");
                assert!(page.contains(&format!("\n{name}{{pod=\"a\"}} 7")), "{page}");
                for only in ["_created", " # {event_id=\"0000000000000000-0\"} 1 0.000\n"] {
                    assert_eq!(page.contains(only), described == "rx_bytes counter", "{page}");
                }
            }
        }
    }

    #[test]
    fn an_empty_page_is_complete() {
        for (format, want) in [(Format::Text0_0_4, ""), (Format::OpenMetrics1_0_0(None), "# EOF\n")] {
            let mut out = Vec::new();
            Page::new(format, &mut out).finish();
            assert_eq!(out, want.as_bytes());
        }
    }
}
