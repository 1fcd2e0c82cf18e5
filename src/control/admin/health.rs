//! Whether the program lives, and whether clients should come to it.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::config::plan::Destination;
use crate::core::BackendId;
use crate::core::balance::{Pool as _, Standing};
use crate::service::heartbeat::silent_shards as silent_shards_of;
use crate::shard::pool::{Pool, Present};

use super::App;
use super::status::{Now, state};

/// What an orchestrator is told.
#[derive(Debug, Serialize)]
struct Health {
    /// `ok` or `not ok`.
    status: &'static str,
    /// Why not.
    reasons: Vec<String>,
}

/// 200 without a reason against it.
fn answer(reasons: Vec<String>) -> Response {
    let ok = reasons.is_empty();
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let status = if ok { "ok" } else { "not ok" };
    (code, Json(Health { status, reasons })).into_response()
}

/// Whether every shard goes on turning.
pub(super) async fn live(app: &App) -> Response {
    answer(silent_shards(app).await)
}

/// Whether clients should come: not while it stops, nor while a pool that is used has nobody to serve
/// them.
pub(super) async fn ready(app: &App) -> Response {
    let mut reasons = silent_shards(app).await;
    if state(app) == "stopping" {
        reasons.push("it is stopping: no new client can come".to_owned());
    }
    let (now, snapshot) = (Now::read().moment, app.handle.shared().snapshot());
    let mut told: Vec<&str> = Vec::new();
    for pool in snapshot.listeners.iter().map(|listener| &listener.pool) {
        if !told.contains(&pool.name.as_str()) && !is_usable(pool, &Present { pool, now }) {
            told.push(&pool.name);
            reasons.push(format!("pool {} has no usable backend", pool.name));
        }
    }
    answer(reasons)
}

/// Whether somebody serves whoever comes now, or will in a moment.
fn is_usable(pool: &Pool, present: &Present<'_>) -> bool {
    pool.destination == Destination::OriginalDst
        || (0..).map(BackendId).zip(&pool.members).any(|(id, member)| {
            member.state.weight(member.weight) > 0
                && matches!(present.standing(id), Standing::Ready | Standing::Full)
        })
}

/// Shards that do not answer when they are woken.
async fn silent_shards(app: &App) -> Vec<String> {
    let silent = silent_shards_of(app.handle.shared(), TIME_TO_TURN).await;
    silent.iter().map(|shard| format!("shard {shard} does not turn")).collect()
}

/// A turn takes microseconds; one that takes this long does not end.
const TIME_TO_TURN: Duration = Duration::from_secs(1);
