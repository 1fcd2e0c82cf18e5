//! `/metrics`.

use axum::response::{IntoResponse as _, Response};

use super::App;
use super::problem::Refusal;

/// Everything that a scraper wants to know.
pub(super) fn metrics(_app: &App) -> Response {
    Refusal::nothing_there("there are no metrics yet; see /api/status").into_response()
}
