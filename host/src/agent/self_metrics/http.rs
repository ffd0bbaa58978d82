//! Who was turned away by the HTTP server.

use crate::http::counts::Counts;
use netsonde_core::{metric::exposition::Page, probe::MetricKind::Counter};

pub fn write(counts: &Counts, page: &mut Page<'_>) {
    let help = "Requests that did not get their page, by reason";
    let mut requests = page.family("netsonde_http_refused_requests", Counter, "", help);
    for (reason, count) in counts.refusals() {
        requests.sample(&[("reason", reason)], count);
    }
    drop(requests);
    let help = "Connections that ended before TLS was agreed on, by reason";
    let mut handshakes = page.family("netsonde_http_failed_handshakes", Counter, "", help);
    for (reason, count) in counts.handshakes() {
        handshakes.sample(&[("reason", reason)], count);
    }
}
