//! Commands that only ask.

use serde::de::DeserializeOwned;

use super::client::{Answer, ApiPath};
use super::table::Paper;
use super::{CtlError, Desk, names, show, units};
use crate::api::{Backend, Explanation, Info, Sessions, Status};
use crate::cli::{Explain, Filter};

impl Desk {
    pub(super) fn status(&self) -> Result<(), CtlError> {
        self.tell("/api/status", show::status)
    }

    pub(super) fn backends(&self, pool: Option<&str>) -> Result<(), CtlError> {
        let answer = self.client.read("/api/backends")?;
        let mut all: Vec<Backend> = answer.value()?;
        let Some(pool) = pool else {
            return self.tell_answer(&answer, |all: &Vec<Backend>, paper| {
                show::backends(all, paper, units::now_ms())
            });
        };
        let mut pools: Vec<&str> = all.iter().map(|backend| backend.pool.as_str()).collect();
        pools.dedup();
        let pool = names::pool(Some(pool), &pools).map_err(CtlError::Cannot)?;
        all.retain(|backend| backend.pool == pool);
        if self.json {
            return self.print_part(serde_json::to_value(&all));
        }
        self.print(&show::backends(&all, self.paper, units::now_ms()))
    }

    pub(super) fn pools(&self) -> Result<(), CtlError> {
        self.part("pools", |status, paper| show::pools(&status.pools, paper))
    }

    pub(super) fn listeners(&self) -> Result<(), CtlError> {
        self.part("listeners", |status, paper| show::listeners(&status.listeners, paper))
    }

    pub(super) fn shards(&self) -> Result<(), CtlError> {
        self.part("shards", |status, paper| show::shards(&status.shards, paper))
    }

    pub(super) fn sessions(&self, filter: &Filter, limit: usize) -> Result<(), CtlError> {
        let path = self.filtered(filter)?.with("limit", &limit.to_string());
        self.tell(path, show::sessions)
    }

    pub(super) fn dump(&self, filter: &Filter) -> Result<(), CtlError> {
        let path = self.filtered(filter)?.with("limit", &ALL.to_string());
        self.tell(path, |sessions: &Sessions, _| show::dump(sessions))
    }

    pub(super) fn explain(&self, what: &Explain) -> Result<(), CtlError> {
        let path = match what {
            Explain::Backend { backend } => {
                let named = self.named(backend)?;
                let path = ApiPath::from("/api/explain/backend").with("pool", &named.pool);
                path.with("name", &named.name)
            }
            Explain::Session { id } => ApiPath::from("/api/explain/session").with("id", id),
            Explain::Client { address, listener } => ApiPath::from("/api/explain/client")
                .with("address", address)
                .with_some("listener", listener.as_deref()),
        };
        self.tell(path, |explanation: &Explanation, paper| show::explanation(explanation, paper))
    }

    pub(super) fn info(&self) -> Result<(), CtlError> {
        self.tell("/info", |info: &Info, paper| show::info(info, paper))
    }

    pub(super) fn health(&self, ready: bool, live: bool) -> Result<(), CtlError> {
        let path = match (ready, live) {
            (true, _) => "/readyz",
            (_, true) => "/livez",
            _ => "/healthz",
        };
        let answer = self.client.read(path)?;
        if self.json { self.print(&answer.body) } else { self.print("ok") }
    }

    pub(super) fn metrics(&self) -> Result<(), CtlError> {
        self.print(&self.client.read("/metrics")?.body)
    }

    /// The path of the sessions that are meant, names looked up.
    pub(super) fn filtered(&self, filter: &Filter) -> Result<ApiPath, CtlError> {
        let (mut pool, mut backend) = (filter.pool.clone(), None);
        if let Some(written) = &filter.backend {
            let mut all = self.all_backends()?;
            // A backend of another pool is not meant.
            all.retain(|one| pool.as_ref().is_none_or(|pool| one.pool == *pool));
            let named = names::backend(written, &all).map_err(CtlError::Cannot)?;
            (pool, backend) = (Some(named.pool), Some(named.name));
        }
        let time = |time: Option<std::time::Duration>| {
            time.map(|time| humantime::format_duration(time).to_string().replace(' ', ""))
        };
        Ok(ApiPath::from("/api/sessions")
            .with_some("pool", pool.as_deref())
            .with_some("backend", backend.as_deref())
            .with_some("listener", filter.listener.as_deref())
            .with_some("client", filter.client.as_deref())
            .with_some("state", filter.state.as_deref())
            .with_some("min_age", time(filter.min_age).as_deref())
            .with_some("min_idle", time(filter.min_idle).as_deref()))
    }

    /// The backend that is meant.
    pub(super) fn named(&self, written: &str) -> Result<names::Named, CtlError> {
        names::backend(written, &self.all_backends()?).map_err(CtlError::Cannot)
    }

    pub(super) fn all_backends(&self) -> Result<Vec<Backend>, CtlError> {
        Ok(self.client.value("/api/backends")?)
    }

    /// Asks, and prints what is said.
    pub(super) fn tell<T: DeserializeOwned>(
        &self,
        path: impl Into<ApiPath>,
        text: impl FnOnce(&T, Paper) -> String,
    ) -> Result<(), CtlError> {
        self.tell_answer(&self.client.read(path)?, text)
    }

    pub(super) fn tell_answer<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        text: impl FnOnce(&T, Paper) -> String,
    ) -> Result<(), CtlError> {
        // Also a program is told if this is something else.
        let value = answer.value()?;
        if self.json { self.print(&answer.body) } else { self.print(&text(&value, self.paper)) }
    }

    /// A part of the status.
    fn part(
        &self,
        name: &str,
        text: impl FnOnce(&Status, Paper) -> String,
    ) -> Result<(), CtlError> {
        let answer = self.client.read("/api/status")?;
        if self.json {
            let mut status: serde_json::Value = answer.value()?;
            return self.print_part(Ok(status[name].take()));
        }
        self.print(&text(&answer.value()?, self.paper))
    }

    fn print_part(&self, part: serde_json::Result<serde_json::Value>) -> Result<(), CtlError> {
        let part = part.expect("values of the API have only text as keys");
        self.print(&part.to_string())
    }
}

/// As many as the API tells at once.
const ALL: u32 = 10_000;
