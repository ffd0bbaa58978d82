//! From a request to a page.

use super::{
    Content, Page, Pages, accept,
    access::{self, Peer},
    body::{Body, Fed},
    query::EventsQuery,
    security::Security,
};
use http_body_util::{Either, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Body as _,
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
};
use std::sync::Arc;
use tokio::sync::watch;

const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

const NOT_FOUND: &str =
    "there is no such page; there are / /metrics /events /ledger /pods /probes /recorder /healthz /readyz";

/// Answers one request of `peer`, if it may see the page. An answer that goes on and on ends when `ending` says so.
pub async fn answer<B>(
    request: Request<B>,
    peer: Peer,
    security: &Security,
    pages: Arc<dyn Pages>,
    ending: watch::Receiver<bool>,
) -> Response<Body> {
    let (request, _) = request.into_parts();
    let mut response = match access::admit(security, request.uri.path(), &request.headers, peer).await {
        Ok(()) => admitted(request, pages, ending).await,
        Err(refused) => {
            let mut response = into_response(Page::text(refused.status, refused.text()), "", ending);
            for challenge in &refused.challenges {
                response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            response
        }
    };
    for (name, value) in &security.now().headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

async fn admitted(request: Parts, pages: Arc<dyn Pages>, ending: watch::Receiver<bool>) -> Response<Body> {
    let method = request.method;
    if method != Method::GET && method != Method::HEAD {
        let mut response = into_response(Page::text(405, "only GET and HEAD are answered here"), "", ending);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri.path();
    let query = request.uri.query().unwrap_or_default();
    let page = page(path, query, &request.headers, pages.as_ref()).await;
    let mut response = into_response(page, path, ending);
    if method == Method::HEAD {
        if let Some(length) = response.body().size_hint().exact() {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        *response.body_mut() = Either::Left(Full::default());
    }
    response
}

async fn page(path: &str, query: &str, headers: &HeaderMap, pages: &dyn Pages) -> Page {
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
        "/events" => match EventsQuery::parse(query) {
            Ok(query) => pages.events(query),
            Err(wrong) => Page::text(400, wrong.to_string()),
        },
        "/ledger" => Page::whole(200, "application/json", format!("{:#}\n", pages.ledger())),
        "/recorder" => pages.recorder(),
        "/pods" => Page::whole(200, "application/json", format!("{:#}\n", pages.pods())),
        "/probes" => Page::whole(200, "application/json", format!("{:#}\n", pages.probes())),
        "/" => Page::whole(200, "text/html; charset=utf-8", pages.index().html()),
        _ => Page::text(404, NOT_FOUND),
    }
}

fn into_response(page: Page, path: &str, ending: watch::Receiver<bool>) -> Response<Body> {
    let mut response = Response::new(match page.content {
        Content::Whole(bytes) => Either::Left(Full::new(bytes)),
        Content::Feed(feed) => Either::Right(Fed::start(feed, ending)),
    });
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
