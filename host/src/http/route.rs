//! From a request to a page.

use super::{Page, Pages, accept};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use std::sync::Arc;

const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

const NOT_FOUND: &str = "there is no such page; there are / /metrics /probes /healthz /readyz";

/// Answers one request.
pub async fn answer<B>(request: Request<B>, pages: Arc<dyn Pages>) -> Response<Full<Bytes>> {
    let (request, _) = request.into_parts();
    let method = request.method;
    if method != Method::GET && method != Method::HEAD {
        let mut response = into_response(Page::text(405, "only GET and HEAD are answered here"), "");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri.path();
    let page = page(path, &request.headers, pages.as_ref()).await;
    let mut response = into_response(page, path);
    if method == Method::HEAD {
        let length = HeaderValue::from(response.body().size());
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
        *response.body_mut() = Full::default();
    }
    response
}

async fn page(path: &str, headers: &HeaderMap, pages: &dyn Pages) -> Page {
    // A header that comes in several lines is one list (RFC 9110, 5.3).
    let header = |name: HeaderName| {
        let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!lines.is_empty()).then(|| lines.join(","))
    };
    match path {
        "/metrics" => {
            let gzip = header(header::ACCEPT_ENCODING).is_some_and(|text| accept::takes_gzip(&text));
            let timeout = header(SCRAPE_TIMEOUT).and_then(|text| accept::scrape_timeout(&text));
            pages.metrics(header(header::ACCEPT), timeout, gzip).await
        }
        "/healthz" => Page::text(200, "ok"),
        "/readyz" => match pages.ready() {
            Ok(()) => Page::text(200, "ready"),
            Err(why) => Page::text(503, why),
        },
        "/probes" => Page {
            status: 200,
            content_type: "application/json".into(),
            encoding: None,
            body: format!("{:#}\n", pages.probes()).into(),
        },
        "/" => Page {
            status: 200,
            content_type: "text/html; charset=utf-8".into(),
            encoding: None,
            body: pages.index().html().into(),
        },
        _ => Page::text(404, NOT_FOUND),
    }
}

fn into_response(page: Page, path: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page.body));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(&page.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    if let Some(encoding) = page.encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if path == "/metrics" {
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

trait Size {
    fn size(&self) -> u64;
}

impl Size for Full<Bytes> {
    fn size(&self) -> u64 {
        hyper::body::Body::size_hint(self).exact().unwrap_or(0)
    }
}
