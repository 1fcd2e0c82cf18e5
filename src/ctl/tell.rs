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
            Explain::Backend { backend } => return self.explain_backend(backend),
            Explain::Session { id } => return self.explain_session(id),
            Explain::Client { address, listener } => ApiPath::from("/api/explain/client")
                .with("address", address)
                .with_some("listener", listener.as_deref()),
        };
        self.tell(path, show::explanation)
    }

    /// One that there is, or one that was removed, as long as anything is known of it.
    fn explain_backend(&self, written: &str) -> Result<(), CtlError> {
        let why = match names::backend(written, &self.all_backends()?) {
            Ok(named) => return self.tell(ApiPath::explain_backend(&named), show::explanation),
            Err(why) => why,
        };
        for named in names::spelt_out(written, None) {
            match self.client.read(ApiPath::explain_backend(&named)) {
                Ok(answer) => return self.tell_answer(&answer, show::explanation),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
            // What removed it is forgotten; its sessions are not.
            if let Some(left @ 1..) = self.sessions_of(&named)? {
                return self.say_explanation(&Explanation {
                    answer: format!("{named} is not there any more."),
                    because: vec![format!("It still has {}.", units::many(left, "session"))],
                    events: Vec::new(),
                });
            }
        }
        Err(CtlError::Cannot(why))
    }

    fn explain_session(&self, id: &str) -> Result<(), CtlError> {
        let path = ApiPath::from("/api/explain/session").with("id", id);
        match self.tell(path, show::explanation) {
            Err(CtlError::Client(error)) if error.is_not_found() => Err(CtlError::Cannot(format!(
                "there is no session `{id}`, or no more; see `evenkeel ctl sessions`"
            ))),
            done => done,
        }
    }

    fn say_explanation(&self, explanation: &Explanation) -> Result<(), CtlError> {
        if self.json {
            return self.print_part(serde_json::to_value(explanation));
        }
        self.print(&show::explanation(explanation, self.paper))
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
