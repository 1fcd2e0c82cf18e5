//! What the operator asks for through the admin API: done here, one after the other, and kept in the
//! state file if there is one before it is said to be done.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::plan::{BackendConfig, PoolConfig};
use crate::control::admin::{Change, Done, Refusal, Request};
use crate::control::events::{Kind, News};
use crate::control::overrides::{Changed, Overrides};
use crate::control::state_file::{StateError, encode, save, version};
use crate::core::wanted::AdminState;

use super::Manager;

/// The state file, and who writes it.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    /// Held while it is written: who comes later waits, and writes later. The version that this
    /// program wrote or read last.
    turn: Arc<Mutex<Option<u64>>>,
}

impl Keeper {
    pub(super) fn new(path: PathBuf) -> Self {
        let known = version(&path);
        Self { path, turn: Arc::new(Mutex::new(known)) }
    }

    /// Writes all of it, away from the control thread; whether what was there was somebody else's.
    async fn keep(self, text: String) -> Result<bool, String> {
        let mut known = self.turn.lock().await;
        let last = *known;
        let saved = tokio::task::spawn_blocking(move || {
            let found = version(&self.path);
            save(&self.path, &text)?;
            Ok::<_, StateError>((found.is_some() && found != last, version(&self.path)))
        });
        match saved.await {
            Ok(Ok((others, written))) => {
                *known = written;
                Ok(others)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Manager {
    /// Does it, and says whether it was done.
    pub(super) async fn on_request(&mut self, request: Request) {
        let Request { by, change } = request;
        if self.is_leaving() {
            return refuse(change);
        }
        match change {
            Change::Add { pool, backend, done } => self.add(&by, &pool, *backend, done),
            Change::Set { pool, name, weight, state, done } => {
                self.set(&by, &pool, &name, Changed { weight, state }, done);
            }
            Change::Remove { pool, name, done } => self.remove(&by, &pool, &name, done),
            Change::Reload { done } => {
                // Whoever asked may be gone.
                let _ = done.send(self.reload(&by).await);
            }
        }
    }

    fn add(&mut self, by: &str, pool: &str, backend: BackendConfig, done: Done<()>) {
        // Others may have been faster while its name was looked up.
        let pools = self.overrides.over(&self.config.pools);
        let known = pools.iter().find(|config| config.name == pool);
        let refusal = match known.map(|config| &config.backends) {
            None => Some(Refusal::nothing_there(format!("there is no pool `{pool}` any more"))),
            Some(backends) if backends.iter().any(|one| one.name == backend.name) => {
                let text = format!("pool `{pool}` has a backend `{}` already", backend.name);
                Some(Refusal::conflict(text))
            }
            Some(backends) if backends.len() >= MOST_BACKENDS => Some(Refusal::conflict(format!(
                "pool `{pool}` has {MOST_BACKENDS} backends, and has room for no more"
            ))),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            let _ = done.send(Err(refusal));
            return;
        }
        let subject = format!("{pool}/{}", backend.name);
        let text = format!("backend {subject} was added, weight {}", backend.weight);
        let mut overrides = self.overrides.clone();
        overrides.add(pool, backend);
        self.change(overrides, News::info(Kind::BackendAdded, subject, text).because(by), done);
    }

    fn set(&mut self, by: &str, pool: &str, name: &str, to: Changed, done: Done<()>) {
        let Some(before) = self.backend(pool, name) else {
            let _ = done.send(Err(gone(pool, name)));
            return;
        };
        let subject = format!("{pool}/{name}");
        let weight = to.weight.filter(|&weight| weight != before.weight);
        let state = to.state.filter(|&state| state != before.state);
        let weight = weight.map(|weight| format!("weight {weight} instead of {}", before.weight));
        let state = state.map(|state| match state {
            AdminState::Ready => "ready: it serves".to_owned(),
            AdminState::Drain => "drain: only sticky clients come".to_owned(),
            AdminState::Maint => "maint: nobody comes, nothing is checked".to_owned(),
        });
        let what: Vec<_> = weight.into_iter().chain(state).collect();
        if what.is_empty() {
            // It is so already, which is no news.
            let _ = done.send(Ok(()));
            return;
        }
        let text = format!("backend {subject} was changed: {}", what.join(", "));
        let mut overrides = self.overrides.clone();
        overrides.set(pool, name, to, &self.config.pools);
        self.change(overrides, News::info(Kind::BackendChanged, subject, text).because(by), done);
    }

    fn remove(&mut self, by: &str, pool: &str, name: &str, done: Done<()>) {
        if self.backend(pool, name).is_none() {
            let _ = done.send(Err(gone(pool, name)));
            return;
        }
        let subject = format!("{pool}/{name}");
        let text = format!("backend {subject} was removed; sessions that it has go on");
        let mut overrides = self.overrides.clone();
        overrides.remove(pool, name);
        self.change(overrides, News::info(Kind::BackendRemoved, subject, text).because(by), done);
    }

    fn backend(&self, pool: &str, name: &str) -> Option<BackendConfig> {
        let pools: Vec<PoolConfig> = self.overrides.over(&self.config.pools);
        let pool = pools.into_iter().find(|config| config.name == pool)?;
        pool.backends.into_iter().find(|backend| backend.name == name)
    }

    /// Puts the changes in force, tells of the last one, and keeps them.
    fn change(&mut self, overrides: Overrides, news: News, done: Done<()>) {
        let pools = overrides.over(&self.config.pools);
        if let Err(error) = self.balancer.apply(&self.config.listeners, &pools) {
            let _ = done.send(Err(Refusal::failed(error.to_string())));
            return;
        }
        self.overrides = overrides;
        self.keep_in_step();
        info!("{}: {}", news.evidence, news.message);
        self.app.events.push(news);
        match self.keep() {
            None => drop(done.send(Ok(()))),
            // Changes are said to be done in their order.
            Some(keeping) => drop(tokio::task::spawn_local(async move {
                let kept = keeping.await.unwrap_or_else(|error| Err(error.to_string()));
                let _ = done.send(kept.map_err(|problem| {
                    Refusal::failed(format!("it is in force, but not kept: {problem}"))
                }));
            })),
        }
    }

    /// Writes the changes that are in force into the state file, if there is one; what goes wrong is
    /// told. The control thread goes on meanwhile; changes are written in their order.
    pub(super) fn keep(&self) -> Option<JoinHandle<Result<(), String>>> {
        let keeper = self.keeper.clone()?;
        let (text, events) = (encode(&self.overrides), Arc::clone(&self.app.events));
        Some(tokio::task::spawn_local(async move {
            let path = keeper.path.display().to_string();
            let kept = keeper.keep(text).await;
            if let Err(problem) = &kept {
                warn!("what was changed is in force, but not kept: {problem}");
                let text = "what was changed is in force, but not kept";
                events.push(News::error(Kind::State, path, text).because(problem.clone()));
            } else if kept == Ok(true) {
                let text = "the state file was somebody else's, and is overwritten";
                let cure =
                    "it was changed since this program wrote it; two programs need two files";
                warn!("{text}: {path}: {cure}");
                events.push(News::warning(Kind::State, path, text).because(cure));
            }
            kept.map(drop)
        }))
    }
}

fn gone(pool: &str, name: &str) -> Refusal {
    Refusal::nothing_there(format!("there is no backend `{name}` in a pool `{pool}` any more"))
}

fn refuse(change: Change) {
    let refusal =
        || Refusal::not_now("it is stopping or handing over: nothing is changed any more");
    match change {
        Change::Add { done, .. } | Change::Set { done, .. } | Change::Remove { done, .. } => {
            let _ = done.send(Err(refusal()));
        }
        Change::Reload { done } => {
            let _ = done.send(Err(refusal()));
        }
    }
}

/// As many as a pool has in a file.
const MOST_BACKENDS: usize = crate::config::MOST_BACKENDS;
