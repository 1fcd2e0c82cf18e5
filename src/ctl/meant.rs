//! What is meant by what was typed. Backends, pools and listeners that are gone are meant as well, as
//! long as sessions of theirs go on.

use std::time::Duration;

use super::client::{ApiPath, ClientError};
use super::names::Named;
use super::{CtlError, Desk, names};
use crate::api::{Backend, Sessions, Status};
use crate::cli::Filter;

impl Desk {
    /// The path of the sessions that are meant, names looked up.
    pub(super) fn filtered(&self, filter: &Filter) -> Result<ApiPath, CtlError> {
        self.look_up(filter)?;
        let (mut pool, mut backend) = (filter.pool.clone(), None);
        if let Some(written) = &filter.backend {
            let named = self.named_or_gone(written, pool.as_deref())?;
            (pool, backend) = (Some(named.pool), Some(named.name));
        }
        let time = |time: Option<Duration>| {
            time.map(|time| humantime::format_duration(time).to_string().replace(' ', ""))
        };
        Ok(ApiPath::from(SESSIONS)
            .with_some("pool", pool.as_deref())
            .with_some("backend", backend.as_deref())
            .with_some("listener", filter.listener.as_deref())
            .with_some("client", filter.client.as_deref())
            .with_some("state", filter.state.as_deref())
            .with_some("min_age", time(filter.min_age).as_deref())
            .with_some("min_idle", time(filter.min_idle).as_deref()))
    }

    /// A pool or a listener that nobody knows is a mistake: the API would say that no session fits.
    fn look_up(&self, filter: &Filter) -> Result<(), CtlError> {
        if filter.pool.is_none() && filter.listener.is_none() {
            return Ok(());
        }
        let status: Status = self.client.value("/api/status")?;
        if let Some(pool) = &filter.pool {
            let pools: Vec<&str> = status.pools.iter().map(|pool| pool.name.as_str()).collect();
            self.or_gone(names::pool(Some(pool), &pools), "pool", pool)?;
        }
        if let Some(listener) = &filter.listener {
            let listeners = status.listeners.iter().map(|listener| listener.name.as_str());
            let mut listeners: Vec<&str> = listeners.collect();
            // A name with several addresses is there several times.
            listeners.dedup();
            self.or_gone(names::listener(listener, &listeners), "listener", listener)?;
        }
        Ok(())
    }

    /// What was not found may be gone, while sessions that have its name go on.
    fn or_gone(
        &self,
        found: Result<String, String>,
        what: &str,
        written: &str,
    ) -> Result<(), CtlError> {
        let Err(why) = found else { return Ok(()) };
        match self.how_many(ApiPath::from(SESSIONS).with(what, written))? {
            Some(0) => Err(CtlError::Cannot(why)),
            _ => Ok(()),
        }
    }

    /// The backend that is meant, of this pool if one was named: one that there is, or one that is gone
    /// while sessions of it go on.
    fn named_or_gone(&self, written: &str, pool: Option<&str>) -> Result<Named, CtlError> {
        let mut all = self.all_backends()?;
        // A backend of another pool is not meant.
        all.retain(|one| pool.is_none_or(|pool| one.pool == pool));
        let why = match names::backend(written, &all) {
            Ok(named) => return Ok(named),
            Err(why) => why,
        };
        for named in names::spelt_out(written, pool) {
            if self.sessions_of(&named)? != Some(0) {
                return Ok(named);
            }
        }
        Err(CtlError::Cannot(why))
    }

    /// The same, or one whose end is remembered: who waits for it to be empty need not know how far it is.
    pub(super) fn named_or_remembered(&self, written: &str) -> Result<Named, CtlError> {
        let why = match self.named_or_gone(written, None) {
            Err(CtlError::Cannot(why)) => why,
            done => return done,
        };
        for named in names::spelt_out(written, None) {
            match self.client.read(ApiPath::explain_backend(&named)) {
                Ok(_) => return Ok(named),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CtlError::Cannot(why))
    }

    /// The backend that is meant.
    pub(super) fn named(&self, written: &str) -> Result<Named, CtlError> {
        names::backend(written, &self.all_backends()?).map_err(CtlError::Cannot)
    }

    pub(super) fn all_backends(&self) -> Result<Vec<Backend>, CtlError> {
        Ok(self.client.value("/api/backends")?)
    }

    /// How many sessions this backend has, whether it is still there or not.
    pub(super) fn sessions_of(&self, named: &Named) -> Result<Option<u64>, ClientError> {
        let path = ApiPath::from(SESSIONS).with("pool", &named.pool);
        self.how_many(path.with("backend", &named.name))
    }

    /// How many sessions fit. Nothing is known where none was found and a shard did not answer.
    fn how_many(&self, path: ApiPath) -> Result<Option<u64>, ClientError> {
        let sessions: Sessions = self.client.value(path.with("limit", "1"))?;
        let known = sessions.matched > 0 || !sessions.incomplete;
        Ok(known.then_some(sessions.matched))
    }
}

const SESSIONS: &str = "/api/sessions";
