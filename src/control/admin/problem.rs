//! What is said when something cannot be done: always JSON, whoever noticed it.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::api::Problem;

/// Why a request is not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    /// With the cause and the cure.
    #[must_use]
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// Something in the request cannot be meant.
    #[must_use]
    pub fn wrong(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// What is asked about is not there.
    #[must_use]
    pub fn nothing_there(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// It does not go together with what is there.
    #[must_use]
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, text)
    }

    /// The words are understood, and what they ask for cannot be had.
    #[must_use]
    pub fn unusable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, text)
    }

    /// We could not.
    #[must_use]
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// It cannot be done now.
    #[must_use]
    pub fn not_now(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(Problem { error: self.text })).into_response()
    }
}

/// The same answer, and if it is an error that somebody else noticed, with their words as a
/// [`Problem`].
pub(super) async fn with_problem(response: Response) -> Response {
    let status = response.status();
    let is_json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
    let is_told = response.headers().get(CONTENT_TYPE).is_some_and(is_json);
    if !(status.is_client_error() || status.is_server_error()) || is_told {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let said = to_bytes(body, LONGEST).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let error = match (status, said.as_str()) {
        (StatusCode::NOT_FOUND, "") => "there is no such path; see /openapi.json".to_owned(),
        (StatusCode::METHOD_NOT_ALLOWED, "") => {
            "this path does not know the method; the Allow header has those that it knows"
                .to_owned()
        }
        (_, "") => status.canonical_reason().unwrap_or("it did not work").to_owned(),
        _ => said,
    };
    let told = Json(Problem { error }).into_response();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(head, Body::new(told.into_body()))
}

/// Nobody says more about a mistake.
const LONGEST: usize = 64 << 10;
