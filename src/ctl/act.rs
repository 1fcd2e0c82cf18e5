//! Commands that change something. What was done is said in a sentence, or as the API says it.

use hyper::Method;

use super::client::ApiPath;
use super::table::{Tone, clean};
use super::{CtlError, Desk, names, show, units};
use crate::api::{Backend, BackendChange, Event, Killed, NewBackend};
use crate::cli::{Add, Kill};

impl Desk {
    pub(super) fn add(&self, add: &Add) -> Result<(), CtlError> {
        let (pool, address) = match &add.target[..] {
            [pool, address] => (Some(pool.as_str()), address),
            [address] => (None, address),
            _ => return Err(CtlError::Cannot("an address is needed".to_owned())),
        };
        let status: crate::api::Status = self.client.value("/api/status")?;
        let pools: Vec<&str> = status.pools.iter().map(|pool| pool.name.as_str()).collect();
        if pool.is_none() && pools.contains(&address.as_str()) {
            return Err(CtlError::Cannot(format!(
                "the address is missing: write `evenkeel ctl add {address} HOST:PORT`"
            )));
        }
        let pool = names::pool(pool, &pools).map_err(CtlError::Cannot)?;
        let new = NewBackend {
            address: address.clone(),
            name: add.name.clone(),
            weight: add.weight,
            backup: add.backup.then_some(true),
            max_connections: add.max_connections,
        };
        let answer = self.client.change(&Method::POST, ApiPath::backends_of(&pool), Some(&new))?;
        if self.json {
            return self.print(&answer.body);
        }
        self.say_state("added", &answer.value()?)
    }

    pub(super) fn remove(&self, written: &str) -> Result<(), CtlError> {
        let all = self.all_backends()?;
        let named = names::backend(written, &all).map_err(CtlError::Cannot)?;
        self.client.act(&Method::DELETE, ApiPath::backend(&named.pool, &named.name))?;
        if self.json {
            return Ok(());
        }
        let one = all.iter().find(|one| one.pool == named.pool && one.name == named.name);
        let left = one.map_or(0, |backend| backend.connections);
        let rest = match left {
            0 => String::new(),
            1 => "; its session goes on".to_owned(),
            many => format!("; its {} sessions go on", units::count(many.into())),
        };
        self.print(&format!("{} is removed{rest}", clean(&named.to_string())))
    }

    pub(super) fn weigh(&self, written: &str, weight: u16) -> Result<(), CtlError> {
        self.change(written, &BackendChange { weight: Some(weight), state: None })
    }

    pub(super) fn set_state(&self, written: &[String], state: &str) -> Result<(), CtlError> {
        // All names are looked up before anything is changed: a mistyped one changes nothing.
        let all = self.all_backends()?;
        let named = written.iter().map(|written| names::backend(written, &all));
        let named = named.collect::<Result<Vec<_>, _>>().map_err(CtlError::Cannot)?;
        let change = BackendChange { weight: None, state: Some(state.to_owned()) };
        named.iter().try_for_each(|named| self.change_named(named, &change))
    }

    fn change(&self, written: &str, change: &BackendChange) -> Result<(), CtlError> {
        self.change_named(&self.named(written)?, change)
    }

    fn change_named(&self, named: &names::Named, change: &BackendChange) -> Result<(), CtlError> {
        let path = ApiPath::backend(&named.pool, &named.name);
        let answer = self.client.change(&Method::PATCH, path, Some(change))?;
        if self.json {
            return self.print(&answer.body);
        }
        self.say_state("is", &answer.value()?)
    }

    /// `web/a is drain, weight 1, 12 connections`
    fn say_state(&self, verb: &str, backend: &Backend) -> Result<(), CtlError> {
        let name = clean(&format!("{}/{}", backend.pool, backend.name));
        let state = self.paper.paint(&backend.state, show::state_tone(&backend.state));
        let weight = backend.weight;
        let connections = units::many(backend.connections.into(), "connection");
        match verb {
            "added" => self.print(&format!("{name} is added: {state}, weight {weight}")),
            _ => self.print(&format!("{name} is {state}, weight {weight}, {connections}")),
        }
    }

    pub(super) fn kill(&self, kill: &Kill) -> Result<(), CtlError> {
        if kill.ids.is_empty() {
            let path = match kill.all {
                true => ApiPath::from("/api/sessions").with("all", "true"),
                false => self.filtered(&kill.filter)?,
            };
            let answer = self.client.act(&Method::DELETE, path)?;
            if self.json {
                return self.print(&answer.body);
            }
            let Killed { killed } = answer.value()?;
            return self.print(&match killed {
                0 => "no session fits".to_owned(),
                1 => "1 session is killed".to_owned(),
                many => format!("{} sessions are killed", units::count(many)),
            });
        }
        let mut gone = Vec::new();
        for id in &kill.ids {
            match self.client.act(&Method::DELETE, ApiPath::session(id)) {
                Ok(_) if self.json => {}
                Ok(_) => self.print(&format!("{} is killed", clean(id)))?,
                // The others are cut all the same.
                Err(error) if error.is_not_found() => gone.push(id.as_str()),
                Err(error) => return Err(error.into()),
            }
        }
        match gone[..] {
            [] => Ok(()),
            [id] => Err(CtlError::Cannot(format!("there is no session {id}, or no more"))),
            _ => {
                let gone = gone.join(" ");
                Err(CtlError::Cannot(format!("there are no sessions {gone}, or no more")))
            }
        }
    }

    pub(super) fn reload(&self) -> Result<(), CtlError> {
        let answer = self.client.act(&Method::POST, "/api/reload")?;
        let event: Event = answer.value()?;
        if self.json {
            self.print(&answer.body)?;
        } else {
            let tone = if event.kind == "reload" { Tone::Plain } else { Tone::Bad };
            self.print(&self.paper.paint(&event.message, tone))?;
        }
        match event.kind.as_str() {
            "reload-failed" => Err(CtlError::Cannot("the old configuration stays".to_owned())),
            _ => Ok(()),
        }
    }
}
