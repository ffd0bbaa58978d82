//! The text formats of the page, and which of them a client wants.

/// A format of the page. Names on it are plain ASCII, so every escaping of names that we offer leaves them as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus text 0.0.4: what everything reads.
    #[default]
    Text0_0_4,
    Text1_0_0(Option<Escaping>),
    OpenMetrics0_0_1(Option<Escaping>),
    OpenMetrics1_0_0(Option<Escaping>),
}

/// How a server may treat names beyond `[a-zA-Z0-9_:]`; repeated in the answer, as Prometheus 3 expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    AllowUtf8,
    Underscores,
    Values,
}

impl Format {
    /// The format to answer with. `accept` is the request's header, if it has one; several are joined by commas.
    ///
    /// The highest `q` wins, among equals the first. What is not understood is passed over, and where nothing is left it is text 0.0.4:
    /// a scraper is better served with a page than with an error.
    pub fn negotiate(accept: Option<&str>) -> Format {
        let mut best = (0.0, Format::default());
        for range in accept.unwrap_or_default().split(',') {
            if let Some((quality, format)) = media_range(range)
                && quality > best.0
            {
                best = (quality, format);
            }
        }
        best.1
    }

    /// Whether it is one of the OpenMetrics formats.
    pub fn is_openmetrics(self) -> bool {
        matches!(self, Format::OpenMetrics0_0_1(_) | Format::OpenMetrics1_0_0(_))
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> String {
        let (media, escaping) = match self {
            Format::Text0_0_4 => ("text/plain; version=0.0.4", None),
            Format::Text1_0_0(escaping) => ("text/plain; version=1.0.0", escaping),
            Format::OpenMetrics0_0_1(escaping) => ("application/openmetrics-text; version=0.0.1", escaping),
            Format::OpenMetrics1_0_0(escaping) => ("application/openmetrics-text; version=1.0.0", escaping),
        };
        let escaping = escaping.map_or("", |escaping| match escaping {
            Escaping::AllowUtf8 => "; escaping=allow-utf-8",
            Escaping::Underscores => "; escaping=underscores",
            Escaping::Values => "; escaping=values",
        });
        format!("{media}; charset=utf-8{escaping}")
    }
}

/// One element of `Accept`: its quality and the format, if it is one of ours. (RFC 9110, 12.5.1)
fn media_range(range: &str) -> Option<(f32, Format)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut quality, mut version, mut escaping) = (1.0, None, None);
    for part in parts {
        let (key, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            "version" => version = Some(value),
            "escaping" => escaping = escaping_of(value),
            _ => {}
        }
    }
    let format = match (media.as_str(), version) {
        ("application/openmetrics-text", Some("1.0.0")) => Format::OpenMetrics1_0_0(escaping),
        ("application/openmetrics-text", Some("0.0.1") | None) => Format::OpenMetrics0_0_1(escaping),
        ("text/plain", Some("1.0.0")) => Format::Text1_0_0(escaping),
        ("text/plain", Some("0.0.4") | None) | ("text/*" | "*/*", _) => Format::Text0_0_4,
        _ => return None,
    };
    Some((quality, format))
}

fn escaping_of(text: &str) -> Option<Escaping> {
    match text {
        "allow-utf-8" => Some(Escaping::AllowUtf8),
        // `dots` would double every underscore of a plain name; names as they are is `underscores`.
        "underscores" | "dots" => Some(Escaping::Underscores),
        "values" => Some(Escaping::Values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_gets_what_it_wants_most() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let utf8 = Some(Escaping::AllowUtf8);
        for (accept, want) in [
            (None, Format::Text0_0_4),
            (Some(""), Format::Text0_0_4),
            (Some(prometheus_2), Format::OpenMetrics1_0_0(None)),
            (Some(prometheus_3), Format::OpenMetrics1_0_0(utf8)),
            (Some("text/plain;version=1.0.0;escaping=allow-utf-8, */*;q=0.2"), Format::Text1_0_0(utf8)),
            (Some("text/plain; version=1.0.0; escaping=dots"), Format::Text1_0_0(Some(Escaping::Underscores))),
            (Some("text/plain; version=1.0.0; escaping=rot13"), Format::Text1_0_0(None)),
            (Some("application/openmetrics-text"), Format::OpenMetrics0_0_1(None)),
            (Some("Application/OpenMetrics-Text; Version=\"1.0.0\""), Format::OpenMetrics1_0_0(None)),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Format::Text0_0_4),
            (Some("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0"), Format::Text0_0_4),
            (Some("*/*;q=0.1,application/openmetrics-text;version=1.0.0;q=0.2"), Format::OpenMetrics1_0_0(None)),
            (Some("application/openmetrics-text;version=9.9.9"), Format::Text0_0_4),
            (Some("application/openmetrics-text;q=nan"), Format::Text0_0_4),
            (Some(";;;=,,q=1;\u{1f980}"), Format::Text0_0_4),
        ] {
            assert_eq!(Format::negotiate(accept), want, "{accept:?}");
        }
    }

    #[test]
    fn the_answer_names_version_and_escaping() {
        for (format, want) in [
            (Format::Text0_0_4, "text/plain; version=0.0.4; charset=utf-8"),
            (
                Format::Text1_0_0(Some(Escaping::Underscores)),
                "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
            ),
            (Format::OpenMetrics0_0_1(None), "application/openmetrics-text; version=0.0.1; charset=utf-8"),
            (
                Format::OpenMetrics1_0_0(Some(Escaping::AllowUtf8)),
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            ),
        ] {
            assert_eq!(format.content_type(), want);
        }
    }
}
