//! Headers of a request that change the answer.

use std::time::Duration;

/// Whether a client takes gzip: named, or as `*`, with a quality above zero (RFC 9110, 12.5.3).
pub fn takes_gzip(accept_encoding: &str) -> bool {
    let quality = |name: &str| {
        accept_encoding.split(',').find_map(|part| {
            let mut words = part.split(';');
            let coding = words.next()?.trim();
            if !coding.eq_ignore_ascii_case(name) {
                return None;
            }
            let quality = words.find_map(|word| word.trim().to_ascii_lowercase().strip_prefix("q=").map(str::to_owned));
            Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
        })
    };
    quality("gzip").or_else(|| quality("*")).is_some_and(|quality: f64| quality > 0.0)
}

/// How long the scraper waits, from `X-Prometheus-Scrape-Timeout-Seconds`. Nonsense is as if it had said nothing.
pub fn scrape_timeout(header: &str) -> Option<Duration> {
    let seconds: f64 = header.trim().parse().ok()?;
    if seconds > 0.0 { Duration::try_from_secs_f64(seconds).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_only_where_it_is_taken() {
        for (header, takes) in [
            ("gzip", true),
            ("GZIP", true),
            ("deflate, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; Q=0", false),
            ("gzip;q=0, *", false),
            ("br", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(header), takes, "{header:?}");
        }
    }

    #[test]
    fn rule_1_the_scrapers_timeout_is_read_and_nonsense_ignored() {
        assert_eq!(scrape_timeout("10.000000"), Some(Duration::from_secs(10)));
        assert_eq!(scrape_timeout("0.5"), Some(Duration::from_millis(500)));
        for nonsense in ["", "x", "-1", "NaN", "inf", "1e400", "0"] {
            assert_eq!(scrape_timeout(nonsense), None, "{nonsense}");
        }
    }
}
