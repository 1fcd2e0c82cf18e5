//! What changes something: understood here, done by the manager.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use tokio::sync::oneshot;

use super::auth::Peer;
use super::problem::Refusal;
use super::router::one_backend;
use super::said::{Asked, Forms, Named, Nothing, Told, Words};
use super::{App, Change, Done, Request};
use crate::api::{Backend, BackendChange, Event, NewBackend};
use crate::config::plan::{BackendConfig, Destination};
use crate::config::{new_backend, text};
use crate::core::wanted::AdminState;

type Here = State<Arc<App>>;
type From = Extension<Peer>;

/// `POST /api/pools/{pool}/backends`
pub(super) async fn add(
    State(app): Here,
    Extension(peer): From,
    Named(pool): Named<String>,
    Asked(Nothing {}): Asked<Nothing>,
    Told(new): Told<NewBackend>,
) -> Result<(StatusCode, Json<Backend>), Refusal> {
    let mut backend = understood(new)?;
    is_possible(&app, &pool, &backend.name)?;
    let listeners: Vec<_> = app.handle.world().listener_configs().collect();
    // Names are looked up, which may take seconds.
    let resolved = tokio::task::spawn_blocking(move || {
        new_backend(&mut backend, &listeners).map(|()| backend)
    });
    let backend = match resolved.await {
        Ok(Ok(backend)) => backend,
        Ok(Err(error)) => return Err(Refusal::unusable(error)),
        Err(error) => return Err(Refusal::failed(error.to_string())),
    };
    let name = backend.name.clone();
    let to = pool.clone();
    ask(&app, &peer, |done| Change::Add { pool: to, backend: Box::new(backend), done }).await?;
    Ok((StatusCode::CREATED, Json(one_backend(&app, &pool, &name)?)))
}

/// `PATCH /api/pools/{pool}/backends/{name}`
pub(super) async fn set(
    State(app): Here,
    Extension(peer): From,
    Named((pool, name)): Named<(String, String)>,
    Asked(Nothing {}): Asked<Nothing>,
    Told(change): Told<BackendChange>,
) -> Result<Json<Backend>, Refusal> {
    let BackendChange { weight, state } = change;
    if weight.is_none() && state.is_none() {
        return Err(Refusal::wrong("nothing is to be changed; write weight, state or both"));
    }
    let weight = weight.map(checked_weight).transpose()?;
    let state = state.map(|word| word.parse::<AdminState>()).transpose();
    let state = state.map_err(|error| Refusal::unusable(error.to_string()))?;
    one_backend(&app, &pool, &name)?;
    let of = (pool.clone(), name.clone());
    ask(&app, &peer, |done| Change::Set { pool: of.0, name: of.1, weight, state, done }).await?;
    one_backend(&app, &pool, &name).map(Json)
}

/// `DELETE /api/pools/{pool}/backends/{name}`
pub(super) async fn remove(
    State(app): Here,
    Extension(peer): From,
    Named((pool, name)): Named<(String, String)>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<StatusCode, Refusal> {
    one_backend(&app, &pool, &name)?;
    ask(&app, &peer, |done| Change::Remove { pool, name, done }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/reload`
pub(super) async fn reload(
    State(app): Here,
    Extension(peer): From,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Json<Event>, Refusal> {
    ask(&app, &peer, |done| Change::Reload { done }).await.map(Json)
}

/// Has the manager do it, and waits until it is done.
async fn ask<T>(
    app: &App,
    peer: &Peer,
    change: impl FnOnce(Done<T>) -> Change,
) -> Result<T, Refusal> {
    let (done, outcome) = oneshot::channel();
    let request = Request { by: peer.to_string(), change: change(done) };
    let ending = || Refusal::not_now("the program is ending; ask its successor");
    app.requests.send(request).await.map_err(|_| ending())?;
    outcome.await.unwrap_or_else(|_| Err(ending()))
}

/// Whether a backend of this name can be added to this pool, as things are.
fn is_possible(app: &App, pool: &str, name: &str) -> Result<(), Refusal> {
    let world = app.handle.world();
    let mut pools = world.pools().map(|(config, _)| config);
    let Some(config) = pools.find(|config| config.name == pool) else {
        return Err(Refusal::nothing_there(format!("there is no pool `{pool}`; see /api/status")));
    };
    if config.destination == Destination::OriginalDst {
        return Err(Refusal::conflict(format!(
            "pool `{pool}` goes where its clients wanted, and has no backends"
        )));
    }
    match config.backends.iter().any(|backend| backend.name == name) {
        true => Err(Refusal::conflict(format!(
            "pool `{pool}` has a backend `{name}` already; give another name, or change that one"
        ))),
        false => Ok(()),
    }
}

/// A backend as it was asked for, its name not looked up.
fn understood(new: NewBackend) -> Result<BackendConfig, Refusal> {
    let NewBackend { address, name, weight, backup, max_connections } = new;
    let target = text::backend(&address);
    let target = target.map_err(|error| Refusal::unusable(format!("address: {error}")))?;
    let mut backend = BackendConfig::at_run_time(target, name);
    // Also one that is an address: without a name for it nobody could remove it again.
    text::name(&backend.name).map_err(Refusal::unusable)?;
    if let Some(weight) = weight {
        backend.weight = checked_weight(weight)?;
    }
    backend.backup = backup.unwrap_or(backend.backup);
    if let Some(most) = max_connections {
        let most = std::num::NonZeroU32::new(most).ok_or_else(|| {
            Refusal::unusable("max_connections is 0; write 1 or more, or drain it")
        })?;
        backend.max_connections = Some(most);
    }
    Ok(backend)
}

impl Words for NewBackend {
    const WORDS: Forms = &[
        ("address", "\"host:port\" or \"unix:PATH\""),
        ("name", "a text in quotes, or leave it out"),
        ("weight", WEIGHT),
        ("backup", "true or false"),
        ("max_connections", "a whole number from 1 to 4294967295, or leave it out"),
    ];
}

impl Words for BackendChange {
    const WORDS: Forms = &[("weight", WEIGHT), ("state", "\"ready\", \"drain\" or \"maint\"")];
}

fn checked_weight(weight: u16) -> Result<u16, Refusal> {
    match weight {
        0..=256 => Ok(weight),
        _ => Err(Refusal::unusable(format!("weight is {weight}; write 0 to 256"))),
    }
}

const WEIGHT: &str = "a whole number from 0 to 256";
