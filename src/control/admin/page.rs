//! `/`: the page for people.

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{Html, IntoResponse as _, Response};

/// The page.
pub(super) fn page() -> Response {
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(TEXT)).into_response()
}

/// It is one file and talks to nobody but us.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TEXT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>evenkeel</title>\
    <h1>evenkeel</h1><p>The state is at <a href=/api/status>/api/status</a>.</html>\n";
