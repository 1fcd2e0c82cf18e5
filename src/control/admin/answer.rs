//! From a request to its answer: who may ask, what body there is, the routes, and that every answer
//! has the form and the headers that it should have.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tower_service::Service as _;

use crate::config::admin::AdminEndpoint;

use super::App;
use super::auth::{Peer, Policy, Verdict, judge};
use super::problem::{Refusal, with_problem};
use super::serve::{Tally, count};

/// What one endpoint answers with.
#[derive(Clone, Debug)]
pub(super) struct Answering {
    app: Arc<App>,
    routes: Router,
    public_read: bool,
    names: Arc<[String]>,
}

impl Answering {
    pub(super) fn new(app: &Arc<App>, routes: &Router, endpoint: &AdminEndpoint) -> Self {
        let (public_read, written) = match endpoint {
            AdminEndpoint::Unix { .. } => (true, None),
            AdminEndpoint::Tcp { public_read, host, .. } => (*public_read, Some(host.clone())),
        };
        let names = uring::sysctl("kernel/hostname");
        let names = names.into_iter().chain(written).collect();
        Self { app: Arc::clone(app), routes: routes.clone(), public_read, names }
    }

    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.app.tally
    }

    /// What is answered.
    pub(super) async fn answer(self, peer: Peer, request: Request<Incoming>) -> Response {
        count(&self.app.tally.requests);
        let response = match self.admit(peer, request).await {
            Ok(request) => {
                let mut routes = self.routes;
                routes.call(request).await.unwrap_or_else(|never| match never {})
            }
            Err(refusal) => refusal.into_response(),
        };
        with_headers(with_problem(response).await)
    }

    /// The request with its whole body, and with who sent it.
    async fn admit(
        &self,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Request<Body>, Response> {
        let (head, body) = request.into_parts();
        let token = self.app.token.load();
        let (token, public_read) = (token.as_ref().as_ref(), self.public_read);
        match judge(&peer, Policy { token, public_read, names: &self.names }, &head) {
            Verdict::Allowed => {}
            Verdict::Unknown => {
                count(&self.app.tally.refused);
                let text = "the token is missing or wrong; send `Authorization: Bearer TOKEN`";
                let refusal = Refusal::new(StatusCode::UNAUTHORIZED, text);
                return Err(([(WWW_AUTHENTICATE, "Bearer")], refusal).into_response());
            }
            Verdict::Forbidden(why) => {
                count(&self.app.tally.refused);
                return Err(Refusal::new(StatusCode::FORBIDDEN, why).into_response());
            }
        }
        let body = whole(body).await.map_err(|refusal| {
            // What comes after it on this connection is not to be understood.
            ([(CONNECTION, "close")], refusal).into_response()
        })?;
        let mut request = Request::from_parts(head, Body::from(body));
        request.extensions_mut().insert(peer);
        Ok(request)
    }
}

/// A body that is small and comes soon. What the head says of its size decides at once: nobody is asked to go on
/// with one that is too large.
async fn whole(body: Incoming) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIME, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            let text = format!("the body cannot be read: {error}; send it whole");
            Err(Refusal::new(StatusCode::BAD_REQUEST, text))
        }
        Err(_) => {
            let text = "the body did not come in time; send it at once";
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}

fn too_large() -> Refusal {
    let text = format!("the body has more than {BODY_BYTES} bytes; nothing here needs as many");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// Nothing is kept, guessed at, or shown inside of another page.
fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let is_page =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_page {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.entry(axum::http::header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    }
    response
}

/// A change is a few words.
const BODY_BYTES: usize = 64 << 10;

/// All of a body.
const BODY_TIME: Duration = Duration::from_secs(10);

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
