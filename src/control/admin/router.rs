//! Which path is answered by whom. GET never changes anything.
//!
//! What is wrong with a path, a query or a body is said by [`super::said`]; that there is no such path or method,
//! by [`super::problem`]. A word in a query that is not known is an error, so that no filter is forgotten by a
//! typo.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::problem::Refusal;
use super::said::{Asked, Forms, Named, Nothing, Words};
use super::{App, changes, explain, health, info, metrics, page, sessions, status};
use crate::api::{Backend, Events, Info};

type Here = State<Arc<App>>;

/// All routes.
pub(super) fn routes(app: &Arc<App>) -> Router {
    Router::new()
        .route("/", get(async || page::page()))
        .route("/healthz", get(async |State(app): Here| health::live(&app).await))
        .route("/livez", get(async |State(app): Here| health::live(&app).await))
        .route("/readyz", get(async |State(app): Here| health::ready(&app).await))
        .route("/info", get(async |State(app): Here| -> Json<Info> { Json(info::info(&app)) }))
        .route(
            "/metrics",
            get(async |State(app): Here, headers: HeaderMap| {
                metrics::metrics(&app, &headers).await
            }),
        )
        .route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
        .route("/api/status", get(status))
        .route("/api/events", get(events))
        .route("/api/backends", get(backends))
        .route("/api/pools/{pool}/backends", post(changes::add))
        .route(
            "/api/pools/{pool}/backends/{name}",
            get(backend).patch(changes::set).delete(changes::remove),
        )
        .route("/api/sessions", get(sessions::list).delete(sessions::kill))
        .route("/api/sessions/{id}", get(sessions::one).delete(sessions::kill_one))
        .route("/api/explain/backend", get(explain::backend))
        .route("/api/explain/session", get(explain::session))
        .route("/api/explain/client", get(explain::client))
        .route("/api/reload", post(changes::reload))
        // The body has been read, and is small.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(app))
}

async fn status(State(app): Here, Asked(Nothing {}): Asked<Nothing>) -> Response {
    status::status(&app).await
}

async fn backends(State(app): Here, Asked(Nothing {}): Asked<Nothing>) -> Response {
    status::backends(&app).await
}

async fn backend(
    State(app): Here,
    Named((pool, name)): Named<(String, String)>,
) -> Result<Json<Backend>, Refusal> {
    one_backend(&app, &pool, &name).map(Json)
}

/// A backend as it is now.
pub(super) fn one_backend(app: &App, pool: &str, name: &str) -> Result<Backend, Refusal> {
    status::one_backend(app, pool, name).ok_or_else(|| nothing_such(pool, name))
}

/// There is no such backend.
pub(crate) fn nothing_such(pool: &str, name: &str) -> Refusal {
    Refusal::nothing_there(format!(
        "there is no backend `{name}` in a pool `{pool}`; see /api/backends"
    ))
}

/// `GET /api/events`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    #[serde(default)]
    after: u64,
    #[serde(default = "all_of_them")]
    limit: usize,
}

impl Words for Since {
    const WORDS: Forms = &[
        ("after", "the number of an event, as `next` gives it"),
        ("limit", "a whole number from 1 to 1024"),
    ];
}

fn all_of_them() -> usize {
    crate::control::events::MOST
}

async fn events(State(app): Here, Asked(since): Asked<Since>) -> Result<Json<Events>, Refusal> {
    let most = all_of_them();
    if !(1..=most).contains(&since.limit) {
        return Err(Refusal::wrong(format!("limit is {}; write 1 to {most}", since.limit)));
    }
    Ok(Json(app.events.after(since.after, since.limit)))
}

/// What all of this is, for programs.
const OPENAPI: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api;

    fn document() -> Value {
        serde_json::from_str(OPENAPI).expect("it is JSON")
    }

    /// The fields of a value of the API, and those that its schema has.
    fn fields<T: Default + serde::Serialize>(name: &str) -> [BTreeSet<String>; 2] {
        let value = serde_json::to_value(T::default()).expect("it has a form in JSON");
        let schema = document()["components"]["schemas"][name]["properties"].clone();
        [value, schema].map(|one| one.as_object().expect(name).keys().cloned().collect())
    }

    #[test]
    fn every_value_of_the_api_is_in_the_openapi_file_as_it_is() {
        macro_rules! check {
            ($($name:ident)*) => {
                let told = [$((stringify!($name), fields::<api::$name>(stringify!($name)))),*];
                for (name, [value, schema]) in &told {
                    assert_eq!(value, schema, "{name}");
                }
                let known: BTreeSet<_> = told.iter().map(|(name, _)| (*name).to_owned()).collect();
                let schemas = document()["components"]["schemas"].clone();
                let schemas = schemas.as_object().expect("there are some").keys().cloned();
                let schemas: BTreeSet<String> = schemas.filter(|name| name != "Health").collect();
                assert_eq!(known, schemas);
            };
        }
        check! {
            Backend BackendChange Banner Bottleneck Bytes Event Events Explanation Info Killed Latency
            Listener NewBackend Pool Problem Session Sessions Shard Status Tcp Waited
        }
    }
}
