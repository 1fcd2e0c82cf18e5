//! `/`: the page for people.

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{Html, IntoResponse as _, Response};

use crate::control::page::{content_security_policy, html};

/// The page, with what the browser may do with it.
pub(super) fn page() -> Response {
    ([(CONTENT_SECURITY_POLICY, content_security_policy())], Html(html())).into_response()
}
